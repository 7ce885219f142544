"""The rows about the selector loop of Windows: 512 sockets, handles, pipes, child processes."""

# The transport closes the file it is given.
# ruff: noqa: SIM115

from __future__ import annotations

import asyncio
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import evenloop

from tests.platforms.conftest import Factory
from tests.platforms.handles import inherited, open_handles
from tests.support.loops import bounded, run, until
from tests.support.protocols import Recorder

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="rows about Windows")

# What only Windows has is looked up without the type checker.
_subprocess: Any = subprocess
_signal: Any = signal
_PYTHON = (sys.executable, "-I", "-S", "-c")


def _named_pipe(overlapped: tuple[bool, bool], duplex: bool = False) -> tuple[Any, Any]:
    """Return both ends of a named pipe, the reading one first."""
    from asyncio import windows_utils

    utils: Any = windows_utils
    reading, writing = utils.pipe(overlapped=overlapped, duplex=duplex)
    return utils.PipeHandle(reading), utils.PipeHandle(writing)


def _write(handle: Any, data: bytes) -> None:
    import _winapi

    system: Any = _winapi
    system.WriteFile(handle.fileno(), data)


# ---- WSEL-512 ----------------------------------------------------------------------------------


def _wait_once(loop: asyncio.AbstractEventLoop) -> None:
    """One turn, without a task that a broken selector would leave behind."""
    loop.call_soon(loop.stop)
    loop.run_forever()


def _many_sockets(factory: Any, count: int) -> None:
    loop = factory()
    sockets = []
    try:
        for _ in range(count):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sockets.append(sock)
            loop.add_reader(sock, print)
        _wait_once(loop)
    finally:
        for sock in sockets:
            loop.remove_reader(sock)
            sock.close()
        loop.close()


def test_wsel_512_stock(selector: Factory) -> None:
    with pytest.raises(ValueError, match="too many file descriptors"):
        _many_sockets(selector, 520)


def test_wsel_512() -> None:
    """The readiness loop without a selector of the user's; 1,500 sockets."""
    _many_sockets(evenloop.SelectorEventLoop, 1500)


def test_wsel_512_the_selector_that_is_given_is_honoured() -> None:
    """Its limit is its user's choice."""
    with pytest.raises(ValueError, match="too many file descriptors"):
        _many_sockets(lambda: evenloop.SelectorEventLoop(selectors.SelectSelector()), 520)


# ---- WSEL-HANDLE -------------------------------------------------------------------------------


def test_wsel_handle_stock(selector: Factory) -> None:
    loop = selector()
    reading, writing = os.pipe()
    try:
        loop.add_reader(reading, print)
        with pytest.raises(OSError) as caught:
            _wait_once(loop)
        # Not a socket; where another socket is in the set winsock may say "not supported".
        assert getattr(caught.value, "winerror", None) in (10038, 10045)
    finally:
        loop.remove_reader(reading)
        loop.close()
        os.close(reading)
        os.close(writing)


def test_wsel_handle_anonymous_pipe(ours: Factory) -> None:
    """Runs for data, again while there is more, and for the end; then the threads are gone."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        threads = threading.active_count()
        reading, writing = os.pipe()
        got: list[bytes] = []

        def readable() -> None:
            got.append(os.read(reading, 4))
            if not got[-1]:
                loop.remove_reader(reading)

        loop.add_reader(reading, readable)
        await asyncio.sleep(0.1)
        assert got == []
        os.write(writing, b"12345678")
        await until(lambda: len(got) == 2)
        os.close(writing)
        await until(lambda: b"" in got)
        assert got == [b"1234", b"5678", b""]
        assert loop.remove_reader(reading) is False
        os.close(reading)
        await until(lambda: threading.active_count() == threads)

    run(ours, main())


def test_wsel_handle_taken_back_while_waiting(ours: Factory) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        loop.add_reader(reading, print)
        await asyncio.sleep(0.05)
        assert loop.remove_reader(reading) is True
        # Nothing holds it, and nothing has taken what comes now.
        os.write(writing, b"x")
        assert os.read(reading, 9) == b"x"
        os.close(reading)
        os.close(writing)

    run(ours, main())


@pytest.mark.parametrize("overlapped", [False, True])
def test_wsel_handle_named_pipe(ours: Factory, overlapped: bool) -> None:
    async def main() -> None:
        from evenloop.engines import winapi

        loop = asyncio.get_running_loop()
        reading, writing = _named_pipe((overlapped, False))
        with reading, writing:
            came = asyncio.Event()
            loop.add_reader(reading, came.set)
            await asyncio.sleep(0.05)
            assert not came.is_set()
            _write(writing, b"abc")
            await bounded(came.wait())
            assert winapi.peek(reading.fileno()) == 3
            assert loop.remove_reader(reading) is True

    run(ours, main())


def test_wsel_handle_writers_always_run(ours: Factory, tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        file = open(tmp_path / "file", "wb")
        for what in (writing, file):
            count = 0

            def writable() -> None:
                nonlocal count
                count += 1

            loop.add_writer(what, writable)
            await until(lambda: count >= 3)  # noqa: B023
            assert loop.remove_writer(what) is True
            before = count
            await asyncio.sleep(0.02)
            assert count == before
        file.close()
        os.close(reading)
        os.close(writing)

    run(ours, main())


def test_wsel_handle_file_that_grows(ours: Factory, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\n")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        lines: list[bytes] = []
        with open(path, "rb", 0) as file, open(path, "ab", 0) as log:
            loop.add_reader(file, lambda: lines.append(file.read(100)))
            await until(lambda: lines == [b"one\n"])
            await asyncio.sleep(0.1)
            assert lines == [b"one\n"]
            log.write(b"two\n")
            await until(lambda: lines == [b"one\n", b"two\n"])
            assert loop.remove_reader(file) is True

    run(ours, main())


def test_wsel_handle_that_is_none(ours: Factory) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in (7654, 65536):
            with pytest.raises(OSError):
                loop.add_reader(number, print)
            with pytest.raises(OSError):
                loop.add_writer(number, print)
            assert loop.remove_reader(number) is False

    run(ours, main())


# ---- WSEL-PIPE ---------------------------------------------------------------------------------


def test_wsel_pipe_stock(selector: Factory) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        with open(reading, "rb", 0) as source, open(writing, "wb", 0) as sink:
            with pytest.raises(NotImplementedError):
                await loop.connect_read_pipe(asyncio.Protocol, source)
            with pytest.raises(NotImplementedError):
                await loop.connect_write_pipe(asyncio.Protocol, sink)

    run(selector, main())


def _ends(kind: str) -> tuple[Any, Any]:
    if kind == "anonymous":
        reading, writing = os.pipe()
        return open(reading, "rb", 0), open(writing, "wb", 0)
    return _named_pipe((kind == "overlapped", kind == "overlapped"))


@pytest.mark.parametrize("kind", ["anonymous", "named", "overlapped"])
def test_wsel_pipe(ours: Factory, kind: str) -> None:
    """Much through a pipe, both ends the loop's, with flow control; then the end."""
    data = os.urandom(700_000)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        threads = threading.active_count()
        handles = open_handles()
        source, sink = _ends(kind)
        reader, received = await loop.connect_read_pipe(Recorder, source)
        writer, sent = await loop.connect_write_pipe(Recorder, sink)
        assert isinstance(reader, asyncio.ReadTransport)
        assert isinstance(writer, asyncio.WriteTransport)
        assert reader.get_extra_info("pipe") is source
        writer.write(data[:500_000])
        assert sent.paused
        reader.pause_reading()
        await asyncio.sleep(0.05)
        before = len(received.data)
        await asyncio.sleep(0.05)
        assert len(received.data) == before < 500_000
        reader.resume_reading()
        await until(lambda: not sent.paused)
        writer.writelines([data[500_000:600_000], data[600_000:]])
        writer.close()
        assert await sent.closed is None
        assert await received.closed is None
        assert bytes(received.data) == data
        assert received.events[-2:] == ["eof", "lost"]
        await until(lambda: threading.active_count() == threads)
        await until(lambda: not open_handles() - handles)

    run(ours, main())


@pytest.mark.parametrize("kind", ["anonymous", "named", "overlapped"])
def test_wsel_pipe_closed_while_nothing_comes(ours: Factory, kind: str) -> None:
    """A read that waits in the system is ended, and so is a write into a full pipe."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        source, sink = _ends(kind)
        reader, received = await loop.connect_read_pipe(Recorder, source)
        await asyncio.sleep(0.05)
        reader.close()
        assert await bounded(received.closed) is None
        sink.close()
        source, sink = _ends(kind)
        writer, sent = await loop.connect_write_pipe(Recorder, sink)
        writer.write(bytes(1_000_000))
        await asyncio.sleep(0.05)
        writer.abort()
        assert await bounded(sent.closed) is None
        source.close()

    run(ours, main())


@pytest.mark.parametrize("kind", ["anonymous", "named", "overlapped"])
def test_wsel_pipe_whose_reader_goes(ours: Factory, kind: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        source, sink = _ends(kind)
        writer, sent = await loop.connect_write_pipe(Recorder, sink)
        source.close()
        writer.write(b"x")
        writer.write(b"y")
        error = await bounded(sent.closed)
        assert error is None or isinstance(error, (BrokenPipeError, ConnectionError))

    run(ours, main())


def test_wsel_pipe_into_a_buffered_protocol(ours: Factory) -> None:
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.space = bytearray(3)
            self.data = b""
            self.closed = asyncio.get_running_loop().create_future()

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.space

        def buffer_updated(self, nbytes: int) -> None:
            self.data += self.space[:nbytes]

        def connection_lost(self, exc: Exception | None) -> None:
            self.closed.set_result(exc)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        _, protocol = await loop.connect_read_pipe(Buffered, open(reading, "rb", 0))
        os.write(writing, b"0123456789")
        await until(lambda: len(protocol.data) == 10)
        os.close(writing)
        assert await bounded(protocol.closed) is None
        assert protocol.data == b"0123456789"

    run(ours, main())


# ---- WSEL-SUBPROC, WIN-SUBPROC -----------------------------------------------------------------


def test_wsel_subproc_stock(selector: Factory) -> None:
    async def main() -> None:
        with pytest.raises(NotImplementedError):
            await asyncio.create_subprocess_exec(sys.executable, "-c", "")
        with pytest.raises(NotImplementedError):
            await asyncio.create_subprocess_shell("exit 0")

    run(selector, main())


@pytest.mark.leaks_allowed  # asyncio's: an event handle, now and then
def test_win_subproc_stock(proactor: Factory) -> None:
    async def main() -> None:
        child = await asyncio.create_subprocess_exec(*_PYTHON, "raise SystemExit(3)")
        assert await child.wait() == 3

    run(proactor, main())


def test_wsel_subproc(ours: Factory) -> None:
    """All three pipes, the status, and communicate()."""

    async def main() -> None:
        script = (
            "import sys; sys.stderr.write('err'); sys.stdout.write(sys.stdin.read().upper());"
            "sys.exit(3)"
        )
        child = await asyncio.create_subprocess_exec(
            *_PYTHON, script, stdin=-1, stdout=-1, stderr=-1
        )
        assert await child.communicate(b"data") == (b"DATA", b"err")
        assert child.returncode == 3

    run(ours, main())


def test_wsel_subproc_much_data(ours: Factory) -> None:
    async def main() -> None:
        script = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
        child = await asyncio.create_subprocess_exec(*_PYTHON, script, stdin=-1, stdout=-1)
        data = os.urandom(1_000_000)
        assert await child.communicate(data) == (data, None)

    run(ours, main())


def test_wsel_subproc_shell_and_quoting(ours: Factory) -> None:
    """COMSPEC runs a command; arguments arrive as they were given (list2cmdline)."""

    async def main() -> None:
        child = await asyncio.create_subprocess_shell("echo hello&&exit 5", stdout=-1)
        assert await child.communicate() == (b"hello\r\n", None)
        assert child.returncode == 5
        arguments = ["a b", 'c"d', "e\\", "f\\ g", "", "h&i", "ä"]
        script = "import sys; print(ascii(sys.argv[1:]))"
        child = await asyncio.create_subprocess_exec(*_PYTHON, script, *arguments, stdout=-1)
        out, _ = await child.communicate()
        assert out.strip().decode() == ascii(arguments)

    run(ours, main())


def test_wsel_subproc_options(ours: Factory, tmp_path: Path) -> None:
    """startupinfo, creationflags, cwd, env and merged output are Popen's own."""

    async def main() -> None:
        info = _subprocess.STARTUPINFO()
        info.dwFlags |= _subprocess.STARTF_USESHOWWINDOW
        info.wShowWindow = _subprocess.SW_HIDE
        child = await asyncio.create_subprocess_exec(
            *_PYTHON[:1],
            "-S",
            "-c",
            "import os, sys; sys.stderr.write(os.environ['MARK'] + os.path.basename(os.getcwd()))",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            startupinfo=info,
            creationflags=_subprocess.CREATE_NEW_PROCESS_GROUP | _subprocess.CREATE_NO_WINDOW,
            cwd=tmp_path,
            env={**os.environ, "MARK": "marked "},
        )
        out, _ = await child.communicate()
        assert out.decode() == f"marked {tmp_path.name}"
        with pytest.raises(FileNotFoundError):
            await asyncio.create_subprocess_exec("no-such-program.exe")

    run(ours, main())


def test_wsel_subproc_ended_from_here(ours: Factory) -> None:
    async def main() -> None:
        for how in ("kill", "terminate", "send_signal"):
            child = await asyncio.create_subprocess_exec(*_PYTHON, "input()", stdin=-1)
            method = getattr(child, how)
            method(signal.SIGTERM) if how == "send_signal" else method()
            assert await bounded(child.wait()) == 1
        child = await asyncio.create_subprocess_exec(*_PYTHON, "input()", stdin=-1)
        with pytest.raises(ValueError, match="signal"):
            child.send_signal(_signal.SIGBREAK)
        assert child.stdin is not None
        child.stdin.close()
        assert await bounded(child.wait()) == 1

    run(ours, main())


def test_wsel_subproc_whose_stdin_is_closed_by_the_child(ours: Factory) -> None:
    """The transport learns of it at once, although nothing is written."""

    async def main() -> None:
        script = "import os, time; os.close(0); time.sleep(5)"
        child = await asyncio.create_subprocess_exec(*_PYTHON, script, stdin=-1)
        assert child.stdin is not None
        await bounded(until(child.stdin.is_closing), 4)
        child.kill()
        await child.wait()

    run(ours, main())


def test_wsel_subproc_handles_go_to_no_child(ours: Factory) -> None:
    """Whatever a loop has open is its own: sockets, pipes, and what the engine made."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        before = open_handles()
        server = await loop.create_server(Recorder, "127.0.0.1", 0)
        transport, _ = await loop.create_connection(Recorder, *server.sockets[0].getsockname())
        child = await asyncio.create_subprocess_exec(*_PYTHON, "input()", stdin=-1, stdout=-1)
        mine = open_handles() - before
        assert mine
        assert not [handle for handle in mine if inherited(handle)]
        transport.close()
        server.close()
        child.kill()
        await child.communicate()

    run(ours, main())


@pytest.mark.leaks_allowed  # a thread of the system's pool keeps an event; handles are counted here
def test_wsel_subproc_many_at_once() -> None:
    """200 with pipes, on the default engine; afterwards every handle and thread is back."""
    count = 200

    async def main() -> None:
        limit = asyncio.Semaphore(count)
        running = most = 0

        async def one(number: int) -> None:
            nonlocal running, most
            async with limit:
                child = await asyncio.create_subprocess_exec(
                    os.environ["COMSPEC"], "/q", "/c", f"set /p x=&echo {number}",
                    stdin=-1, stdout=-1, stderr=-1,
                )  # fmt: skip
                running += 1
                most = max(most, running)
                if most == count:
                    started.set()
                await started.wait()
                out, err = await child.communicate(b"go\r\n")
                running -= 1
                assert (out.strip(), err, child.returncode) == (b"%d" % number, b"", 0)

        started = asyncio.Event()
        started.set()
        await one(0)
        started.clear()
        most = 0
        threads = threading.active_count()
        handles = open_handles()
        await asyncio.gather(*map(one, range(count)))
        assert most == count
        await until(lambda: threading.active_count() <= threads)
        # Less than one for ten children: the run-time keeps a few for itself.
        await until(lambda: len(open_handles() - handles) < count // 10)

    run(evenloop.new_event_loop, main(), 55)


# ---- named pipes, which asyncio's proactor serves ----------------------------------------------


def _pipe_address() -> str:
    return rf"\\.\pipe\evenloop-{os.getpid()}-{time.perf_counter_ns()}"


async def _echo_through_named_pipes(loop: Any, count: int) -> None:
    address = _pipe_address()
    with pytest.raises(FileNotFoundError):
        await loop.create_pipe_connection(Recorder, address)
    served: list[Recorder] = []

    class Echo(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            served.append(self)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.write(data)

    (server,) = await loop.start_serving_pipe(Echo, address)
    pairs = await asyncio.gather(
        *(loop.create_pipe_connection(Recorder, address) for _ in range(count))
    )
    for number, (transport, _) in enumerate(pairs):
        assert isinstance(transport, asyncio.Transport)
        assert transport.get_extra_info("addr") == address
        assert transport.can_write_eof() is False
        transport.write(b"%d" % number * 20_000)
    for number, (transport, protocol) in enumerate(pairs):
        await protocol.received(len(b"%d" % number) * 20_000)
        assert bytes(protocol.data) == b"%d" % number * 20_000
        transport.close()
        assert await bounded(protocol.closed) is None
    for protocol in served:
        assert await bounded(protocol.closed) is None
    server.close()
    server.close()
    with pytest.raises(FileNotFoundError):
        await loop.create_pipe_connection(Recorder, address)


@pytest.mark.leaks_allowed  # asyncio's: an event handle, now and then
def test_named_pipe_server_stock(proactor: Factory, selector: Factory) -> None:
    """The proactor has it, the other loop has not."""

    async def main() -> None:
        await _echo_through_named_pipes(asyncio.get_running_loop(), 5)

    run(proactor, main())
    assert not hasattr(asyncio.SelectorEventLoop, "start_serving_pipe")


def test_named_pipe_server(ours: Factory) -> None:
    """Clients at once, echoed; and a server that still waits leaves nothing behind."""

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        await _echo_through_named_pipes(loop, 20)
        (waiting,) = await loop.start_serving_pipe(Recorder, _pipe_address())
        await asyncio.sleep(0.02)
        waiting.close()

    run(ours, main())


def test_named_pipe_clients_that_go_at_once(ours: Factory) -> None:
    async def main() -> None:
        import _overlapped
        import _winapi

        overlapped: Any = _overlapped
        system: Any = _winapi
        loop: Any = asyncio.get_running_loop()
        address = _pipe_address()
        (server,) = await loop.start_serving_pipe(Recorder, address)
        for _ in range(5):
            await asyncio.sleep(0)
            try:
                system.CloseHandle(overlapped.ConnectPipe(address))
            except OSError as error:
                assert getattr(error, "winerror", 0) == 231  # busy
        transport, protocol = await bounded(loop.create_pipe_connection(Recorder, address))
        transport.abort()
        assert await bounded(protocol.closed) is None
        server.close()

    run(ours, main())


def test_named_pipe_protocol_that_raises(ours: Factory) -> None:
    """The client is turned away, and the next one served."""

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        contexts: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: contexts.append(context))
        address = _pipe_address()

        def refuse() -> Any:
            raise LookupError("no")

        (server,) = await loop.start_serving_pipe(refuse, address)
        for number in (1, 2):
            _, protocol = await bounded(loop.create_pipe_connection(Recorder, address))
            await bounded(protocol.closed)
            assert len(contexts) == number
            assert isinstance(contexts[-1]["exception"], LookupError)
        server.close()

    run(ours, main())
