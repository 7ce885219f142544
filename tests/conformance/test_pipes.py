"""connect_read_pipe and connect_write_pipe."""

# The transport closes the file it is given.
# ruff: noqa: SIM115

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import Any

import pytest

from tests.support.loops import until
from tests.support.protocols import Recorder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="os.pipe gives no pipes there")


class Writer(Recorder):
    """A write pipe gets no data; it may get the end of its reader."""


async def _reader() -> tuple[Recorder, int]:
    loop = asyncio.get_running_loop()
    read, write = os.pipe()
    transport, protocol = await loop.connect_read_pipe(Recorder, open(read, "rb", 0))
    assert isinstance(transport, asyncio.ReadTransport)
    return protocol, write


async def _writer() -> tuple[Writer, int]:
    loop = asyncio.get_running_loop()
    read, write = os.pipe()
    transport, protocol = await loop.connect_write_pipe(Writer, open(write, "wb", 0))
    assert isinstance(transport, asyncio.WriteTransport)
    os.set_blocking(read, False)
    return protocol, read


async def test_reading() -> None:
    protocol, write = await _reader()
    os.write(write, b"first ")
    assert await protocol.received(6) == b"first "
    os.write(write, b"second")
    assert await protocol.received(12) == b"first second"
    os.close(write)
    assert await protocol.closed is None
    assert protocol.events == ["made", "data", "eof", "lost"]


async def test_reading_of_much() -> None:
    protocol, write = await _reader()
    data = os.urandom(2_000_000)

    def write_all() -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(write, view) :]
        os.close(write)

    await asyncio.get_running_loop().run_in_executor(None, write_all)
    await protocol.closed
    assert protocol.data == data


async def test_reading_can_pause() -> None:
    protocol, write = await _reader()
    transport = protocol.transport
    assert transport.is_reading()
    transport.pause_reading()
    assert not transport.is_reading()
    os.write(write, b"held back")
    await asyncio.sleep(0.005)
    assert not protocol.data
    transport.resume_reading()
    assert await protocol.received(9) == b"held back"
    os.close(write)
    await protocol.closed


async def test_extra_info_of_a_pipe() -> None:
    loop = asyncio.get_running_loop()
    read, write = os.pipe()
    pipe = open(read, "rb", 0)
    transport, protocol = await loop.connect_read_pipe(Recorder, pipe)
    assert transport.get_extra_info("pipe") is pipe
    assert not os.get_blocking(read)
    assert not transport.is_closing()
    assert transport.get_protocol() is protocol
    transport.close()
    transport.close()
    assert transport.is_closing()
    assert await protocol.closed is None
    assert pipe.closed
    os.close(write)


async def test_writing() -> None:
    protocol, read = await _writer()
    protocol.transport.write(b"one ")
    protocol.transport.writelines([b"two ", bytearray(b"three "), memoryview(b"four")])
    assert os.read(read, 100) == b"one two three four"
    assert protocol.transport.can_write_eof()
    protocol.transport.write_eof()
    assert await protocol.closed is None
    assert os.read(read, 10) == b""
    os.close(read)


async def test_writing_of_much() -> None:
    protocol, read = await _writer()
    data = os.urandom(1_000_000)
    protocol.transport.write(data[:999_990])
    protocol.transport.write(data[999_990:])
    assert protocol.paused
    assert protocol.transport.get_write_buffer_size() > 64 * 1024
    protocol.transport.close()
    received = bytearray()
    while len(received) < len(data):
        try:
            received += os.read(read, 65536)
        except BlockingIOError:
            await asyncio.sleep(0)
    assert await protocol.closed is None
    assert received == data
    assert protocol.events == ["made", "pause", "resume", "lost"]
    os.close(read)


async def test_abort_of_a_writer() -> None:
    protocol, read = await _writer()
    protocol.transport.write(bytes(1_000_000))
    protocol.transport.abort()
    assert protocol.transport.is_closing()
    assert await protocol.closed is None
    os.close(read)


async def test_the_limits_of_a_write_pipe() -> None:
    protocol, read = await _writer()
    assert protocol.transport.get_write_buffer_limits() == (16384, 65536)
    protocol.transport.set_write_buffer_limits(high=10, low=5)
    assert protocol.transport.get_write_buffer_limits() == (5, 10)
    protocol.transport.close()
    await protocol.closed
    os.close(read)


async def test_the_reader_goes_away() -> None:
    protocol, read = await _writer()
    os.close(read)
    error = await protocol.closed
    assert error is None or isinstance(error, BrokenPipeError)


async def test_the_reader_goes_away_before_a_large_write_ends() -> None:
    protocol, read = await _writer()
    protocol.transport.write(bytes(1_000_000))
    os.close(read)
    assert isinstance(await protocol.closed, BrokenPipeError)


async def test_sockets_are_pipes_too() -> None:
    loop = asyncio.get_running_loop()
    a, b = socket.socketpair()
    b.setblocking(False)
    transport, protocol = await loop.connect_write_pipe(Writer, a)
    transport.write(b"through a socket")
    assert await loop.sock_recv(b, 100) == b"through a socket"
    b.close()
    await protocol.closed
    assert protocol.transport.is_closing()
    c, d = socket.socketpair()
    _, reading = await loop.connect_read_pipe(Recorder, c)
    d.send(b"x")
    await reading.received(1)
    d.close()
    await reading.closed


async def test_terminals() -> None:
    import tty

    loop = asyncio.get_running_loop()
    master, slave = os.openpty()
    tty.setraw(slave)
    _, reading = await loop.connect_read_pipe(Recorder, open(master, "rb", 0))
    os.write(slave, b"typed")
    assert await reading.received(5) == b"typed"
    reading.transport.close()
    await reading.closed
    os.close(slave)


async def test_a_terminal_both_ways() -> None:
    import tty

    loop = asyncio.get_running_loop()
    master, slave = os.openpty()
    tty.setraw(slave)
    _, reading = await loop.connect_read_pipe(Recorder, open(os.dup(master), "rb", 0))
    _, writing = await loop.connect_write_pipe(Writer, open(master, "wb", 0))
    os.write(slave, b"out")
    await reading.received(3)
    writing.transport.write(b"in")
    os.set_blocking(slave, False)
    got = bytearray()
    while len(got) < 2:
        try:
            got += os.read(slave, 10)
        except BlockingIOError:
            await asyncio.sleep(0.001)
    assert got == b"in"
    for protocol in (reading, writing):
        protocol.transport.close()
        await protocol.closed
    os.close(slave)


@pytest.mark.parametrize("method", ["connect_read_pipe", "connect_write_pipe"])
async def test_a_regular_file_stock_refuses(method: str, tmp_path: Any, new_loop: Any) -> None:
    """Stock says ValueError or PermissionError; evenloop may lift the limit."""
    loop = asyncio.get_running_loop()
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with path.open("r+b", 0) as file:
        if new_loop.is_stock:
            with pytest.raises((ValueError, PermissionError)):
                await getattr(loop, method)(Recorder, file)


async def test_a_protocol_that_raises() -> None:
    loop = asyncio.get_running_loop()
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))

    class Failing(Recorder):
        def data_received(self, data: bytes) -> None:
            raise LookupError("data_received")

    read, write = os.pipe()
    transport, protocol = await loop.connect_read_pipe(Failing, open(read, "rb", 0))
    os.write(write, b"x")
    await until(lambda: contexts)
    assert isinstance(contexts[0]["exception"], LookupError)
    transport.close()
    await protocol.closed
    os.close(write)


async def test_streams_over_pipes() -> None:
    loop = asyncio.get_running_loop()
    read, write = os.pipe()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), open(read, "rb", 0)
    )
    os.write(write, b"line\nrest")
    assert await reader.readline() == b"line\n"
    os.close(write)
    assert await reader.read() == b"rest"
    transport.close()
