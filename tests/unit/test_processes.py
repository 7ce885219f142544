"""Children: the ways to learn of their end, and what happens when others interfere."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import evenloop
from evenloop import children

from tests.support.leaks import children as living_children
from tests.support.loops import run, turns, until

PYTHON = sys.executable
WAYS = ["pidfd", "thread", "waitpid"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to learn of the end of a child, by force."""
    if request.param == "pidfd":
        if not children.use_pidfd:
            pytest.skip("no pidfds here")
    else:
        monkeypatch.setattr(children, "use_pidfd", False)
    if request.param == "waitpid":
        monkeypatch.delattr(os, "waitid", raising=False)
    return str(request.param)


class Recorder(asyncio.SubprocessProtocol):
    """Remembers what it is told, in order."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.events.append("made")

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if self.events[-1] != ("data", fd):
            self.events.append(("data", fd))

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self.events.append(("lost", fd))

    def process_exited(self) -> None:
        self.events.append("exited")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("closed")
        self.closed.set_result(None)


def test_exit_status(way: str) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec("sh", "-c", "exit 7")
        assert await process.wait() == 7
        process = await asyncio.create_subprocess_exec("sleep", "30")
        process.terminate()
        assert await process.wait() == -signal.SIGTERM
        with pytest.raises(ProcessLookupError):
            process.kill()

    run(evenloop.new_event_loop, main())


def test_order_of_callbacks(way: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(
            Recorder, "sh", "-c", "cat; echo err >&2; exit 3"
        )
        assert isinstance(transport, asyncio.SubprocessTransport)
        assert protocol.events == ["made"]
        stdin = transport.get_pipe_transport(0)
        assert isinstance(stdin, asyncio.WriteTransport)
        assert isinstance(transport.get_pipe_transport(1), asyncio.ReadTransport)
        assert transport.get_pipe_transport(3) is None
        stdin.write(b"x" * 300_000)
        stdin.write_eof()
        await protocol.closed
        events = protocol.events
        assert events[-1] == "closed" and events.count("closed") == 1
        assert set(events) == {
            "made",
            "exited",
            "closed",
            *(("lost", fd) for fd in range(3)),
            ("data", 1),
            ("data", 2),
        }
        assert events.index(("data", 1)) < events.index(("lost", 1))
        assert transport.get_returncode() == 3

    run(evenloop.new_event_loop, main())


def test_two_hundred_at_once(way: str) -> None:
    async def one(number: int) -> None:
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", f"read line; echo $line; exit {number}", stdin=-1, stdout=-1
        )
        out, _ = await process.communicate(b"%d\n" % number)
        assert (int(out), process.returncode) == (number, number)

    async def main() -> None:
        await asyncio.gather(*(one(number) for number in range(200)))

    run(evenloop.new_event_loop, main(), 50)


def test_two_loops_in_threads(way: str) -> None:
    failures: list[BaseException] = []

    async def one(number: int) -> None:
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", f"cat; exit {number}", stdin=-1, stdout=-1
        )
        out, _ = await process.communicate(b"a" * 1000)
        assert (out, process.returncode) == (b"a" * 1000, number)

    async def main() -> None:
        for _ in range(5):
            await asyncio.gather(*(one(number) for number in range(10)))

    def thread() -> None:
        try:
            run(evenloop.new_event_loop, main(), 40)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=thread) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failures


def test_collected_by_others(way: str, asyncio_log: Any) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec("sleep", "30")
        os.kill(process.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # the thread may have been faster
            os.waitpid(process.pid, 0)
            assert await process.wait() == 255
            asyncio_log.expect("Unknown child process pid")
        await process.wait()

    run(evenloop.new_event_loop, main())


def test_collected_by_popen_itself() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(Recorder, "sh", "-c", "exit 9")
        transport.get_extra_info("subprocess").wait()
        await protocol.closed
        assert transport.get_returncode() == 9

    run(evenloop.new_event_loop, main())


@pytest.mark.skipif(not children.use_pidfd, reason="no pidfds here")
def test_recycled_pid_gets_no_signal(monkeypatch: pytest.MonkeyPatch, asyncio_log: Any) -> None:
    """Others collected the child, and its number became another process: leave that alone."""
    sent: list[tuple[int, int]] = []

    async def main() -> None:
        process = await asyncio.create_subprocess_exec("sleep", "30")
        os.kill(process.pid, signal.SIGKILL)
        os.waitpid(process.pid, 0)
        monkeypatch.setattr(os, "kill", lambda *args: sent.append(args))
        process.kill()
        process.terminate()
        await process.wait()
        with pytest.raises(ProcessLookupError):
            process.kill()
        asyncio_log.expect("Unknown child process pid")

    run(evenloop.new_event_loop, main())
    assert not sent


@pytest.mark.parametrize("error", [OSError(38, "no such call"), PermissionError(1, "sandbox")])
def test_kernel_without_pidfds(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    calls = []

    def refuse(pid: int, flags: int = 0) -> int:
        calls.append(pid)
        raise error

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    monkeypatch.setattr(children, "use_pidfd", True)

    async def main() -> None:
        for status in (1, 2):
            process = await asyncio.create_subprocess_exec("sh", "-c", f"exit {status}")
            assert await process.wait() == status

    run(evenloop.new_event_loop, main())
    assert len(calls) == 1
    assert children.use_pidfd is False


def test_no_descriptor_left_for_a_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError(24, "too many open files")

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    monkeypatch.setattr(children, "use_pidfd", True)

    async def main() -> None:
        process = await asyncio.create_subprocess_exec("sh", "-c", "exit 5")
        assert await process.wait() == 5

    run(evenloop.new_event_loop, main())
    assert children.use_pidfd is True


@pytest.mark.skipif(not children.use_pidfd, reason="no pidfds here")
def test_engine_that_cannot_watch_pidfds() -> None:
    """What it answers is an error of the request: a thread takes over."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(Recorder, "sleep", "30")
        child = transport._child
        op = child._exit
        loop.engine.cancel(op)  # type: ignore[attr-defined]
        op.error = PermissionError(1, "not pollable")
        op.complete()
        transport.kill()
        await protocol.closed
        assert transport.get_returncode() == -signal.SIGKILL

    run(evenloop.new_event_loop, main())


def test_no_thread_to_wait_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "use_pidfd", False)

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="new thread"):
                await asyncio.create_subprocess_exec("sleep", "30", stdin=-1, stdout=-1)

    run(evenloop.new_event_loop, main())


def test_closing_kills_and_collects(way: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(Recorder, "sleep", "30")
        transport.close()
        assert transport.is_closing()
        await protocol.closed
        assert transport.get_returncode() == -signal.SIGKILL
        transport.close()

    run(evenloop.new_event_loop, main())


def test_loop_closed_right_after_the_transport(way: str) -> None:
    """Nobody is left to collect the child, and yet no zombie remains."""
    loop = evenloop.new_event_loop()
    transport, _ = loop.run_until_complete(
        loop.subprocess_exec(
            asyncio.SubprocessProtocol, "sleep", "30", stdin=None, stdout=None, stderr=None
        )
    )
    transport.close()
    loop.close()
    assert transport.get_pid() not in living_children()
    del transport


def test_unclosed_transport_of_a_closed_loop(way: str) -> None:
    loop = evenloop.new_event_loop()
    transport, _ = loop.run_until_complete(
        loop.subprocess_exec(
            asyncio.SubprocessProtocol, "sleep", "30", stdin=None, stdout=None, stderr=None
        )
    )
    pid = transport.get_pid()
    loop.close()
    with pytest.warns(ResourceWarning, match="unclosed transport <ProcessTransport pid"):
        del transport, _
        gc.collect()
    assert pid not in living_children()


def test_cancelled_start_leaves_nothing(way: str) -> None:
    async def main() -> None:
        for patience in range(8):
            task = asyncio.create_task(
                asyncio.create_subprocess_exec("sleep", "30", stdin=-1, stdout=-1, stderr=-1)
            )
            for _ in range(patience):
                await asyncio.sleep(0)
            task.cancel()
            try:
                process = await task
            except asyncio.CancelledError:
                continue
            process.kill()
            await process.communicate()

    run(evenloop.new_event_loop, main())


def test_wait_ends_with_the_child_not_with_its_heirs() -> None:
    """A grandchild that holds the pipe does not hold up wait()."""

    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", "sleep 30 & echo $!; exit 4", stdout=-1
        )
        assert process.stdout is not None
        heir = int(await process.stdout.readline())
        assert await process.wait() == 4
        process.kill()  # no longer of any effect, but no error: the pipe is open still
        os.kill(heir, signal.SIGKILL)
        assert await process.stdout.read() == b""

    run(evenloop.new_event_loop, main())


def test_wait_lets_the_pipes_end_first() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(20):
            transport, protocol = await loop.subprocess_exec(Recorder, "sh", "-c", "echo hello")
            assert await transport._wait() == 0
            assert protocol.events[-1] == "closed"
            assert transport.is_closing()

    run(evenloop.new_event_loop, main())


def test_wait_does_not_hang_on_what_nobody_reads() -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", "head -c 150000 /dev/zero", stdout=-1
        )
        assert await process.wait() == 0
        assert process.stdout is not None
        assert len(await process.stdout.read()) == 150_000

    run(evenloop.new_event_loop, main())


def test_error_in_a_callback_is_reported_and_all_goes_on(asyncio_log: Any) -> None:
    class Broken(Recorder):
        def pipe_data_received(self, fd: int, data: bytes) -> None:
            raise ZeroDivisionError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(Broken, "echo", "x")
        await protocol.closed
        assert transport.get_returncode() == 0
        assert protocol.events[-1] == "closed"
        asyncio_log.expect("pipe_data_received")

    run(evenloop.new_event_loop, main())


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("universal_newlines", True),
        ("text", True),
        ("encoding", "utf-8"),
        ("errors", "strict"),
        ("bufsize", 4096),
        ("shell", None),
    ],
)
def test_refused_options(option: str, value: object) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for start, shell in ((loop.subprocess_exec, True), (loop.subprocess_shell, False)):
            given: Any = {option: shell if option == "shell" else value}
            with pytest.raises(ValueError, match=option):
                await start(Recorder, "true", **given)
        with pytest.raises(ValueError, match="cmd"):
            await loop.subprocess_shell(Recorder, ["true"])  # type: ignore[arg-type]
        with pytest.raises(FileNotFoundError):
            await loop.subprocess_exec(Recorder, "/no/such/program")

    run(evenloop.new_event_loop, main())


def test_options_of_popen(tmp_path: Any) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            PYTHON,
            "-c",
            "import os; print(os.getcwd(), os.umask(0), os.getpgid(0) == os.getpid(), "
            "os.environ['A'], os.getuid(), os.getgid())",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
            env={"A": "b"},
            umask=0o27,
            process_group=0,
            user=os.getuid(),
            group=os.getgid(),
            restore_signals=True,
            start_new_session=False,
        )
        out, _ = await process.communicate()
        expected = f"{tmp_path} {0o27} True b {os.getuid()} {os.getgid()}"
        assert out.decode().strip() == expected

    run(evenloop.new_event_loop, main())


@contextlib.contextmanager
def ignored_sigchld() -> Iterator[None]:
    previous = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, previous)


def test_children_that_the_kernel_collects(way: str, asyncio_log: Any) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec("sh", "-c", "exit 3")
        assert await process.wait() == 255
        asyncio_log.expect("Unknown child process pid")

    with ignored_sigchld():
        run(evenloop.new_event_loop, main())


def test_quick_children_are_not_missed(way: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(10):
            transport, protocol = await loop.subprocess_exec(
                Recorder, "true", stdin=None, stdout=None, stderr=None
            )
            time.sleep(0.01)  # it ends before the loop looks
            await protocol.closed
            assert protocol.events == ["made", "exited", "closed"]
            assert transport.get_returncode() == 0

    run(evenloop.new_event_loop, main())


def test_finished_processes_leave_no_garbage(way: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(Recorder, "cat")
        pipes = [transport.get_pipe_transport(fd) for fd in range(3)]
        pipes[0].close()
        await protocol.closed
        await turns()
        process, *references = [weakref.ref(transport), *map(weakref.ref, pipes)]
        gc.disable()
        try:
            del transport, pipes
            assert process() is None
        finally:
            gc.enable()
        gc.collect()
        assert [reference() for reference in references] == [None] * 3

    run(evenloop.new_event_loop, main())


def test_pid_is_known_until_the_end() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(Recorder, "cat")
        pid = transport.get_pid()
        assert f"pid={pid} running stdin=<WritePipeTransport" in repr(transport)
        transport.get_pipe_transport(0).close()
        await protocol.closed
        assert transport.get_pid() == pid
        assert f"closed pid={pid} returncode=0" in repr(transport)
        assert loop._children == set()  # type: ignore[attr-defined]
        await until(lambda: transport.get_pipe_transport(0).is_closing())

    run(evenloop.new_event_loop, main())
