"""Pipe transports: every kind of file, and every way that a pipe can end."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import warnings
from typing import Any

import pytest

import evenloop

from tests.support.loops import run, turns, until
from tests.support.protocols import Terse


class Recorder(Terse):
    """A pipe closes even if it is asked to stay open."""

    keep_open = True


def end(file: Any, mode: str) -> Any:
    """An unbuffered file object over a descriptor or path, for a transport to own."""
    return open(file, mode, 0)


async def pipes() -> tuple[Any, Recorder, Any, Recorder]:
    """Both ends of one pipe as transports."""
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    reader = await loop.connect_read_pipe(Recorder, end(reading, "rb"))
    writer = await loop.connect_write_pipe(Recorder, end(writing, "wb"))
    return *reader, *writer


def test_data_and_the_end() -> None:
    async def main() -> None:
        read, reader, write, writer = await pipes()
        assert type(read.get_extra_info("pipe").fileno()) is int
        write.write(b"one")
        write.writelines([b"two", bytearray(b"three")])
        assert write.can_write_eof()
        write.write_eof()
        assert write.is_closing()
        assert await writer.closed is None
        assert await reader.closed is None
        assert reader.data == b"onetwothree"
        assert reader.events == ["made", "eof", "lost"]
        assert writer.events == ["made", "lost"]

    run(evenloop.new_event_loop, main())


def test_kinds() -> None:
    async def main() -> None:
        read, _, write, _ = await pipes()
        assert isinstance(read, asyncio.ReadTransport)
        assert not isinstance(read, asyncio.WriteTransport)
        assert isinstance(write, asyncio.WriteTransport)
        assert not isinstance(write, asyncio.ReadTransport)
        assert not hasattr(read, "write") and not hasattr(write, "resume_reading")
        assert repr(read).startswith("<ReadPipeTransport open fd=")
        assert repr(write).endswith("bufsize=0>")
        read.close()
        write.close()
        await turns()
        assert repr(read).startswith("<ReadPipeTransport closed")

    run(evenloop.new_event_loop, main())


def test_much_data_is_written_before_the_close() -> None:
    async def main() -> None:
        read, reader, write, writer = await pipes()
        read.pause_reading()
        payload = os.urandom(1_000_000)
        write.write(payload)
        write.write(b"end")
        assert writer.events == ["made", "pause"]
        write.close()
        write.write(b"too late")
        write.writelines([b"too late"])
        await turns()
        assert not writer.closed.done()
        read.resume_reading()
        assert await reader.closed is None
        assert reader.data == payload + b"end"
        assert await writer.closed is None

    run(evenloop.new_event_loop, main())


def test_writes_to_a_closed_pipe_are_counted(asyncio_log: Any) -> None:
    async def main() -> None:
        _read, reader, write, writer = await pipes()
        write.close()
        for _ in range(7):
            write.write(b"x")
        await writer.closed
        await reader.closed
        asyncio_log.expect("pipe closed by peer", 2)

    run(evenloop.new_event_loop, main())


def test_writer_learns_that_the_reader_goes() -> None:
    async def main() -> None:
        read, reader, _write, writer = await pipes()
        read.close()
        assert await writer.closed is None
        assert await reader.closed is None
        assert reader.events == ["made", "lost"]

    run(evenloop.new_event_loop, main())


def test_reader_goes_while_data_waits() -> None:
    async def main() -> None:
        read, reader, write, writer = await pipes()
        read.pause_reading()
        write.write(bytes(1_000_000))
        read.close()
        assert isinstance(await writer.closed, BrokenPipeError)
        await reader.closed

    run(evenloop.new_event_loop, main())


def test_abort_loses_what_waits() -> None:
    async def main() -> None:
        _read, reader, write, writer = await pipes()
        write.write(bytes(1_000_000))
        write.abort()
        assert await writer.closed is None
        await reader.closed
        assert len(reader.data) < 1_000_000

    run(evenloop.new_event_loop, main())


@pytest.mark.parametrize("as_file", [False, True])
def test_sockets(as_file: bool, asyncio_log: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        file: Any = end(ours.detach(), "wb") if as_file else ours
        write, writer = await loop.connect_write_pipe(Recorder, file)
        _read, reader = await loop.connect_read_pipe(Recorder, theirs)
        write.write(b"x")
        await until(lambda: reader.data == b"x")
        # What comes back is nobody's business, and not the end of the pipe.
        theirs.send(b"answer")
        await turns(5)
        assert not writer.closed.done()
        write.close()
        assert await writer.closed is None
        # The answer was not read when its socket was closed.
        assert isinstance(await reader.closed, ConnectionResetError)
        asyncio_log.expect("Fatal read error on pipe transport")

    run(evenloop.new_event_loop, main())


def test_socket_whose_peer_goes() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        write, writer = await loop.connect_write_pipe(Recorder, ours)
        theirs.close()
        assert await writer.closed is None
        assert write.is_closing()

    run(evenloop.new_event_loop, main())


def test_terminal() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        master, slave = os.openpty()
        read, reader = await loop.connect_read_pipe(Recorder, end(master, "rb"))
        write, writer = await loop.connect_write_pipe(Recorder, end(slave, "wb"))
        write.write(b"hello")
        await until(lambda: reader.data == b"hello")
        write.close()
        assert await writer.closed is None
        # The last writer is gone: the terminal hangs up, which is no cause for alarm.
        error = await reader.closed
        assert error is None or isinstance(error, OSError)
        assert read.is_closing()

    run(evenloop.new_event_loop, main())


def test_named_pipe_open_both_ways(tmp_path: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        path = tmp_path / "fifo"
        os.mkfifo(path)
        write, writer = await loop.connect_write_pipe(Recorder, end(path, "r+b"))
        write.write(b"for whoever comes")
        await turns(5)
        # There is something to read, and it is we who could: not the end.
        assert not writer.closed.done()
        _read, reader = await loop.connect_read_pipe(Recorder, end(path, "rb"))
        await until(lambda: reader.data == b"for whoever comes")
        write.close()
        await writer.closed
        await reader.closed

    run(evenloop.new_event_loop, main())


def test_other_files_are_refused(tmp_path: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        folder = os.open(tmp_path, os.O_RDONLY)

        class Folder:
            def fileno(self) -> int:
                return folder

        for connect in (loop.connect_read_pipe, loop.connect_write_pipe):
            with pytest.raises(ValueError, match="only for pipes"):
                await connect(Recorder, Folder())
        os.close(folder)
        with pytest.raises(AttributeError):
            await loop.connect_read_pipe(Recorder, 0)

    run(evenloop.new_event_loop, main())
    gc.collect()


def test_error_in_the_protocol(asyncio_log: Any) -> None:
    class Broken(Recorder):
        def data_received(self, data: bytes) -> None:
            raise ZeroDivisionError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        _read, reader = await loop.connect_read_pipe(Broken, end(reading, "rb"))
        os.write(writing, b"x")
        assert isinstance(await reader.closed, ZeroDivisionError)
        asyncio_log.expect("data_received() call failed")
        os.close(writing)

    run(evenloop.new_event_loop, main())


def test_buffered_protocol() -> None:
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.buffer = bytearray(10)
            self.data = b""
            self.closed = asyncio.get_running_loop().create_future()

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.data += self.buffer[:nbytes]

        def connection_lost(self, exc: Exception | None) -> None:
            self.closed.set_result(exc)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        _, reader = await loop.connect_read_pipe(Buffered, end(reading, "rb"))
        os.write(writing, b"twenty-five bytes of data")
        os.close(writing)
        await reader.closed
        assert reader.data == b"twenty-five bytes of data"

    run(evenloop.new_event_loop, main())


def test_unclosed_pipes_complain() -> None:
    loop = evenloop.new_event_loop()
    reading, writing = os.pipe()

    async def main() -> list[Any]:
        return [
            (await loop.connect_read_pipe(Recorder, end(reading, "rb")))[0],
            (await loop.connect_write_pipe(Recorder, end(writing, "wb")))[0],
        ]

    ends = loop.run_until_complete(main())
    loop.close()
    assert "open" in repr(ends[0]) and "open" in repr(ends[1])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ends.clear()
        gc.collect()
    messages = "\n".join(str(warning.message) for warning in caught)
    assert "unclosed transport <ReadPipeTransport open" in messages
    assert "unclosed transport <WritePipeTransport open" in messages


def test_cancelled_connect_closes_the_pipe() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        for connect, file in (
            (loop.connect_read_pipe, end(reading, "rb")),
            (loop.connect_write_pipe, end(writing, "wb")),
        ):
            task = asyncio.ensure_future(connect(Recorder, file))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda file=file: file.closed)  # type: ignore[misc]

    run(evenloop.new_event_loop, main())
