"""asyncio's streams, end to end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest

from tests.support.loops import until

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HOST = "127.0.0.1"


async def _open(
    server: asyncio.Server, **options: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    port = server.sockets[0].getsockname()[1]
    return await asyncio.open_connection(HOST, port, **options)


async def _finish(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def test_echo() -> None:
    async with await asyncio.start_server(_echo, HOST, 0) as server:
        reader, writer = await _open(server)
        for number in range(50):
            line = b"line %d\n" % number
            writer.write(line)
            await writer.drain()
            assert await reader.readline() == line
        writer.write_eof()
        assert await reader.read() == b""
        await _finish(writer)


async def test_every_way_to_read() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"a line\nexactly nine|until|rest\nof it")
        writer.close()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        reader, writer = await _open(server)
        assert await reader.readline() == b"a line\n"
        assert await reader.readexactly(12) == b"exactly nine"
        assert await reader.readuntil(b"|") == b"|"
        assert await reader.readuntil(b"|") == b"until|"
        assert [line async for line in reader] == [b"rest\n", b"of it"]
        assert reader.at_eof()
        with pytest.raises(asyncio.IncompleteReadError):
            await reader.readexactly(1)
        await _finish(writer)


async def test_drain_waits_for_a_slow_reader() -> None:
    size = 8_000_000
    gate = asyncio.Event()
    received = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        while data := await reader.read(1 << 20):
            received.extend(data)
        writer.close()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        reader, writer = await _open(server)
        data = os.urandom(size)
        writer.write(data)
        draining = asyncio.create_task(writer.drain())
        await asyncio.sleep(0.005)
        assert not draining.done()
        gate.set()
        await draining
        writer.write_eof()
        assert await reader.read() == b""
        assert received == data
        await _finish(writer)


async def test_a_slow_stream_reader_pauses_its_transport() -> None:
    """A StreamReader's limit holds the sender back."""
    paused = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(10_000_000))
        try:
            await asyncio.wait_for(writer.drain(), 0.02)
        except TimeoutError:
            paused.set()
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        reader, writer = await _open(server, limit=1000)
        await paused.wait()
        assert len(await reader.read()) == 10_000_000
        await _finish(writer)


async def test_many_streams_at_once() -> None:
    async with await asyncio.start_server(_echo, HOST, 0) as server:

        async def one(number: int) -> None:
            reader, writer = await _open(server)
            data = b"%d" % number * 1000
            writer.write(data)
            assert await reader.readexactly(len(data)) == data
            await _finish(writer)

        await asyncio.gather(*(one(number) for number in range(60)))


async def test_the_writer_asks_its_transport() -> None:
    async with await asyncio.start_server(_echo, HOST, 0) as server:
        _reader, writer = await _open(server)
        assert writer.get_extra_info("peername") == server.sockets[0].getsockname()
        assert writer.transport.get_extra_info("socket").fileno() > 0
        assert writer.can_write_eof()
        assert not writer.is_closing()
        writer.writelines([b"a", b"b"])
        await _finish(writer)
        assert writer.is_closing()


async def test_a_line_too_long() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 5000 + b"\n")
        writer.close()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        reader, writer = await _open(server, limit=100)
        with pytest.raises(ValueError, match="limit"):
            await reader.readline()
        await _finish(writer)


async def test_a_connection_reset_reaches_the_reader() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.transport.abort()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        reader, writer = await _open(server)
        writer.write(b"go\nunread")
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            pass
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionResetError:
            pass


async def test_drain_after_the_loss_raises() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        reader, writer = await _open(server)
        await reader.read()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for _ in range(1000):
                writer.write(b"x" * 1000)
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()
        try:
            await writer.wait_closed()
        except (ConnectionResetError, BrokenPipeError):
            pass


async def test_a_cancelled_read_loses_nothing() -> None:
    gate = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(b"late")
        writer.close()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        reader, writer = await _open(server)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(10), 0.005)
        gate.set()
        assert await reader.read(10) == b"late"
        await _finish(writer)


async def test_the_handler_of_a_plain_function() -> None:
    calls: list[asyncio.StreamWriter] = []

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(writer)

    async with await asyncio.start_server(serve, HOST, 0) as server:
        _reader, writer = await _open(server)
        await until(lambda: calls)
        await _finish(calls[0])
        await _finish(writer)
