"""Subprocesses by way of asyncio's streams and of protocols."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from tests.support.loops import TrackedFactory, run, until
from tests.support.programs import CAT, SLEEP, TRUE, program

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
PIPE = asyncio.subprocess.PIPE


class Process(asyncio.SubprocessProtocol):
    """Remembers what a child did."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.events: list[str] = []
        self.output: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}
        self.exited: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[Exception | None] = loop.create_future()
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.events.append("made")
        self.transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        assert type(data) is bytes
        self.output[fd] += data

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self.events.append(f"pipe {fd}")

    def process_exited(self) -> None:
        self.events.append("exited")
        self.exited.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost")
        self.closed.set_result(exc)


# ---------------------------------------------------------------- streams


async def test_communicate() -> None:
    process = await asyncio.create_subprocess_exec(*program(CAT), stdin=PIPE, stdout=PIPE)
    assert await process.communicate(b"through the cat") == (b"through the cat", None)
    assert process.returncode == 0


async def test_output_and_errors() -> None:
    source = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"
    process = await asyncio.create_subprocess_exec(*program(source), stdout=PIPE, stderr=PIPE)
    out, err = await process.communicate()
    assert (out.strip(), err.strip()) == (b"out", b"err")
    assert process.returncode == 7
    assert await process.wait() == 7


async def test_a_shell() -> None:
    process = await asyncio.create_subprocess_shell("echo hello && exit 3", stdout=PIPE)
    out, _ = await process.communicate()
    assert out.strip() == b"hello"
    assert process.returncode == 3


async def test_much_through_the_pipes() -> None:
    data = os.urandom(3_000_000)
    process = await asyncio.create_subprocess_exec(*program(CAT), stdin=PIPE, stdout=PIPE)
    out, _ = await process.communicate(data)
    assert out == data


async def test_errors_into_the_output() -> None:
    source = "import sys; print('out', flush=True); print('err', file=sys.stderr)"
    process = await asyncio.create_subprocess_exec(
        *program(source), stdout=PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, err = await process.communicate()
    assert out.split() == [b"out", b"err"]
    assert err is None


async def test_devnull_and_files(tmp_path: Any) -> None:
    path = tmp_path / "output"
    with path.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *program("print(repr(input()) if False else 'to a file')"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert await process.wait() == 0
    assert path.read_bytes().strip() == b"to a file"
    assert process.stdin is process.stdout is process.stderr is None


async def test_line_by_line() -> None:
    source = "import sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)"
    process = await asyncio.create_subprocess_exec(*program(source), stdin=PIPE, stdout=PIPE)
    assert process.stdin
    assert process.stdout
    for number in range(5):
        process.stdin.write(b"line %d\n" % number)
        await process.stdin.drain()
        line = await process.stdout.readline()
        assert line.replace(b"\r\n", b"\n") == b"LINE %d\n" % number
    process.stdin.close()
    assert await process.wait() == 0


@posix
async def test_signals_to_the_child() -> None:
    for send, number in (
        (lambda p: p.terminate(), signal.SIGTERM),
        (lambda p: p.kill(), signal.SIGKILL),
        (lambda p: p.send_signal(signal.SIGHUP), signal.SIGHUP),
    ):
        process = await asyncio.create_subprocess_exec(*program(SLEEP))
        assert process.returncode is None
        send(process)
        assert await process.wait() == -number
        with pytest.raises(ProcessLookupError):
            process.kill()


async def test_a_child_that_is_gone_before_we_look() -> None:
    for _ in range(10):
        process = await asyncio.create_subprocess_exec(*TRUE)
        await asyncio.sleep(0.003)
        assert await process.wait() == 0


async def test_many_children_at_once() -> None:
    async def one(number: int) -> int:
        process = await asyncio.create_subprocess_shell(f"exit {number}")
        return await process.wait()

    assert await asyncio.gather(*(one(number) for number in range(20))) == list(range(20))


async def test_a_cancelled_wait() -> None:
    process = await asyncio.create_subprocess_exec(*program(SLEEP))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(process.wait(), 0.005)
    process.kill()
    await process.wait()


async def test_several_waiters() -> None:
    process = await asyncio.create_subprocess_exec(*program(CAT), stdin=PIPE)
    waiters = [asyncio.create_task(process.wait()) for _ in range(3)]
    await asyncio.sleep(0.001)
    assert process.stdin
    process.stdin.close()
    assert await asyncio.gather(*waiters) == [0, 0, 0]


async def test_a_child_that_closes_its_input_early() -> None:
    process = await asyncio.create_subprocess_exec(*program("pass"), stdin=PIPE)
    await process.communicate(b"x" * 500_000)
    assert process.returncode == 0


# ---------------------------------------------------------------- protocols


async def test_a_protocol() -> None:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(
        Process, *program("import sys; print(sys.stdin.read()); sys.exit(4)")
    )
    assert isinstance(transport, asyncio.SubprocessTransport)
    assert isinstance(protocol, Process)
    assert transport.get_pid() > 0
    assert transport.get_returncode() is None
    assert isinstance(transport.get_pipe_transport(0), asyncio.WriteTransport)
    assert isinstance(transport.get_pipe_transport(1), asyncio.ReadTransport)
    assert isinstance(transport.get_pipe_transport(2), asyncio.ReadTransport)
    assert transport.get_pipe_transport(3) is None
    assert isinstance(transport.get_extra_info("subprocess"), subprocess.Popen)
    assert not transport.is_closing()
    transport.get_pipe_transport(0).write(b"given")
    transport.get_pipe_transport(0).write_eof()
    await protocol.exited
    assert transport.get_returncode() == 4
    assert await protocol.closed is None
    assert protocol.output[1].strip() == b"given"
    assert protocol.events[0] == "made"
    assert protocol.events[-1] == "lost"
    assert set(protocol.events[1:-1]) == {"exited", "pipe 0", "pipe 1", "pipe 2"}
    transport.close()


async def test_without_pipes() -> None:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(
        Process, *program("pass"), stdin=None, stdout=None, stderr=None
    )
    assert [transport.get_pipe_transport(fd) for fd in (0, 1, 2)] == [None] * 3
    await protocol.closed
    assert protocol.events == ["made", "exited", "lost"]
    transport.close()


async def test_a_shell_protocol() -> None:
    loop = asyncio.get_running_loop()
    command = "set /a 6*7" if sys.platform == "win32" else "echo $((6*7))"
    transport, protocol = await loop.subprocess_shell(Process, command)
    await protocol.closed
    assert protocol.output[1].strip() == b"42"
    assert transport.get_returncode() == 0
    transport.close()
    transport, protocol = await loop.subprocess_shell(
        Process, "exit 5" if sys.platform == "win32" else b"exit 5"
    )
    await protocol.closed
    assert transport.get_returncode() == 5
    transport.close()


@posix
async def test_the_transport_signals() -> None:
    loop = asyncio.get_running_loop()
    for name, args, number in (
        ("terminate", (), signal.SIGTERM),
        ("kill", (), signal.SIGKILL),
        ("send_signal", (signal.SIGINT,), signal.SIGINT),
    ):
        # The shell becomes the sleep: no interpreter to be interrupted while it starts.
        transport, protocol = await loop.subprocess_exec(Process, "sleep", "60")
        getattr(transport, name)(*args)
        await protocol.closed
        assert transport.get_returncode() == -number
        with pytest.raises(ProcessLookupError):
            transport.kill()
        transport.close()


async def test_close_kills() -> None:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(Process, *program(SLEEP))
    transport.close()
    assert transport.is_closing()
    await protocol.closed
    assert transport.get_returncode() is not None
    transport.close()


async def test_set_protocol() -> None:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(Process, *program(CAT))
    assert transport.get_protocol() is protocol
    second = Process()
    transport.set_protocol(second)
    assert transport.get_protocol() is second
    transport.get_pipe_transport(0).close()
    await second.closed
    assert second.events[-2:] == ["exited", "lost"] or "exited" in second.events
    transport.close()


async def test_a_protocol_that_raises() -> None:
    loop = asyncio.get_running_loop()
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))

    class Failing(Process):
        def process_exited(self) -> None:
            super().process_exited()
            raise LookupError("process_exited")

    transport, protocol = await loop.subprocess_exec(Failing, *program("pass"))
    await protocol.closed
    await until(lambda: contexts)
    assert isinstance(contexts[0]["exception"], LookupError)
    transport.close()


# ---------------------------------------------------------------- failures


async def test_a_program_that_does_not_exist() -> None:
    for _ in range(3):
        with pytest.raises(FileNotFoundError):
            await asyncio.create_subprocess_exec(
                "/no/such/program", stdin=PIPE, stdout=PIPE, stderr=PIPE
            )


@posix
async def test_a_program_one_may_not_run(tmp_path: Any) -> None:
    path = tmp_path / "script"
    path.write_text("not executable")
    with pytest.raises(PermissionError):
        await asyncio.create_subprocess_exec(str(path))


async def test_a_working_directory_that_does_not_exist() -> None:
    with pytest.raises((FileNotFoundError, NotADirectoryError)):
        await asyncio.create_subprocess_exec(*program("pass"), cwd="/no/such/directory")


@pytest.mark.parametrize(
    "options",
    [
        {"text": True},
        {"universal_newlines": True},
        {"encoding": "utf-8"},
        {"errors": "strict"},
        {"bufsize": 100},
        {"shell": True},
    ],
)
async def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    (name,) = options
    name = {"encoding": "encoding", "errors": "errors"}.get(name, name)
    with pytest.raises(ValueError, match=name):
        await asyncio.create_subprocess_exec(*program("pass"), **options)


async def test_a_shell_takes_a_string_only() -> None:
    with pytest.raises(ValueError, match="cmd"):
        await asyncio.create_subprocess_shell(["echo"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shell"):
        await asyncio.create_subprocess_shell("echo", shell=False)


async def test_arguments_are_strings_or_paths() -> None:
    with pytest.raises(TypeError):
        await asyncio.create_subprocess_exec(*program("pass"), 5)  # type: ignore[arg-type]


# ---------------------------------------------------------------- loops and threads


def test_in_another_thread(new_loop: TrackedFactory) -> None:
    """Children are watched in any thread, with no loop in the main one."""
    results: list[int | None] = []

    async def work() -> None:
        process = await asyncio.create_subprocess_exec(*program("raise SystemExit(9)"))
        results.append(await process.wait())

    thread = threading.Thread(target=run, args=(new_loop, work()))
    thread.start()
    thread.join()
    assert results == [9]


def test_from_two_loops_in_two_threads(new_loop: TrackedFactory) -> None:
    results: list[bytes] = []
    barrier = threading.Barrier(2)

    async def work() -> None:
        barrier.wait(5)
        for _ in range(5):
            process = await asyncio.create_subprocess_shell("echo here", stdout=PIPE)
            out, _ = await process.communicate()
            results.append(out.strip())

    threads = [threading.Thread(target=run, args=(new_loop, work())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [b"here"] * 10


def test_a_loop_closed_before_its_child_ends(new_loop: TrackedFactory) -> None:
    """Closing the transport is enough: nothing is left and nothing complains."""

    async def work() -> int:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(
            Process, *program(SLEEP), stdin=None, stdout=None, stderr=None
        )
        transport.kill()
        await protocol.closed
        transport.close()
        return transport.get_returncode() or 0

    for _ in range(2):
        assert run(new_loop, work()) != 0


@posix
async def test_the_application_may_handle_sigchld() -> None:
    """Children are watched without taking SIGCHLD from the program."""
    before = signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        process = await asyncio.create_subprocess_exec(*TRUE)
        assert await process.wait() == 0
        assert signal.getsignal(signal.SIGCHLD) is not None
    finally:
        signal.signal(signal.SIGCHLD, before)
