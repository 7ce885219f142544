"""Readers of asyncio's streams: with evenloop's feed under them they are what they were."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable
from typing import Any
from unittest import mock

import pytest

from evenloop import streams

from tests.support import tls


class Valve:
    """A transport that keeps account of being paused."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")


def _reader(fed: bool, limit: int = 64 * 1024, transport: Any = None) -> Any:
    """Asyncio's own reader, or one that was given a feed."""
    loop = asyncio.get_running_loop()
    reader: Any = asyncio.StreamReader(limit=limit, loop=loop)
    if fed:
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        assert streams.adopt(protocol) is not None
        assert type(reader) is streams.StreamReader
    reader.set_transport(transport or Valve())
    return reader


async def _outcome(what: Awaitable[Any]) -> object:
    try:
        return await what
    except Exception as error:
        details = {key: getattr(error, key, None) for key in ("partial", "expected", "consumed")}
        return (type(error), error.args, details)


async def _play(fed: bool, seed: int) -> list[object]:
    """Do many things to a reader, the same ones for the same seed; return what was seen."""
    dice = random.Random(seed)
    valve = Valve()
    reader = _reader(fed, dice.choice((3, 6, 20, 100)), valve)
    seen: list[object] = []
    pending: asyncio.Task[object] | None = None

    def piece() -> bytes:
        return bytes(dice.choices(b"ab\r\n", (6, 6, 1, 2), k=dice.choice((0, 1, 2, 3, 5, 8, 40))))

    requests: list[Callable[[], Any]] = [
        lambda: reader.readline(),
        lambda: reader.readuntil(),
        lambda: reader.readuntil(dice.choice((b"\n", b"\r\n", b"ab", b"b\na", b""))),
        lambda: reader.readuntil(bytearray(b"\n")),
        lambda: reader.read(dice.choice((0, 1, 10, 1000))),
        lambda: reader.read(dice.choice((2**70, 50))),
        lambda: reader.read(-1),
        lambda: reader.readexactly(dice.choice((-1, 0, 1, 5, 30))),
        lambda: anext(reader, b"over"),
    ]
    ended = False
    for _ in range(150):
        step = dice.random()
        if step < 0.5 and not ended:
            reader.feed_data(piece())
        elif step < 0.51:
            ended = True
            reader.feed_eof()
        elif step < 0.515:
            reader.set_exception(ZeroDivisionError("lost"))
        elif step < 0.55 and pending is not None:
            pending.cancel()
        elif step < 0.57:
            seen.append(bytes(reader._buffer))
        elif step < 0.58:
            reader._buffer.extend(b"x\n")
        elif step < 0.6:
            # A second one may not wait beside the first.
            if pending is not None:
                seen.append(await asyncio.wait_for(_outcome(dice.choice(requests)()), 5))
        elif pending is None:
            pending = asyncio.ensure_future(_outcome(dice.choice(requests)()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if pending is not None and pending.done():
            seen.append("cancelled" if pending.cancelled() else pending.result())
            pending = None
        seen.append((list(valve.calls), reader.at_eof(), repr(reader.exception()), reader._paused))
    if pending is not None:
        pending.cancel()
        await asyncio.wait([pending])
    seen.append(bytes(reader._buffer))
    return seen


@pytest.mark.parametrize("seed", range(80))
async def test_all_is_as_in_asyncio(seed: int) -> None:
    assert await _play(True, seed) == await _play(False, seed)


async def _connected(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> tuple[asyncio.Server, asyncio.StreamReader, asyncio.StreamWriter]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    return server, reader, writer


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 20):
        writer.write(data)
    writer.close()


@pytest.mark.evenloop_only
async def test_tls_puts_into_the_feed_and_is_paused_by_it() -> None:
    data = random.Random(7).randbytes(1 << 20)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls.server_context())
    async with server:
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=tls.client_context(), limit=1000
        )
        assert type(reader) is streams.StreamReader
        with mock.patch.object(asyncio.StreamReaderProtocol, "data_received") as received:
            while not reader._paused:  # type: ignore[attr-defined]
                await asyncio.sleep(0.001)
            assert not writer.transport.is_reading()  # type: ignore[attr-defined]
            assert await reader.readexactly(len(data)) == data
            assert await reader.read() == b""
        assert not received.called
        writer.close()
        await writer.wait_closed()


@pytest.mark.evenloop_only
async def test_both_ends_get_a_feed() -> None:
    types: list[type] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        types.append(type(reader))
        await _echo(reader, writer)

    server, reader, writer = await _connected(serve)
    async with server:
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        writer.close()
        await writer.wait_closed()
        assert [*types, type(reader)] == [streams.StreamReader] * 2
        assert isinstance(reader, asyncio.StreamReader)


async def test_a_method_replaced_on_the_class_is_called() -> None:
    fed: list[bytes] = []
    original = asyncio.StreamReader.feed_data

    def feed_data(self: asyncio.StreamReader, data: bytes) -> None:
        fed.append(data)
        original(self, data)

    with mock.patch.object(asyncio.StreamReader, "feed_data", feed_data):
        server, reader, writer = await _connected(_echo)
        async with server:
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.close()
            await writer.wait_closed()
    assert fed == [b"hello", b"hello"]


async def test_a_subclass_stays_what_it_is() -> None:
    class Reader(asyncio.StreamReader):
        fed = b""

        def feed_data(self, data: bytes) -> None:
            self.fed += data
            super().feed_data(data)

    loop = asyncio.get_running_loop()
    async with await asyncio.start_server(_echo, "127.0.0.1", 0) as server:
        reader = Reader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_connection(
            lambda: protocol, *server.sockets[0].getsockname()
        )
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        assert (type(reader), reader.fed) == (Reader, b"hello")
        writer.close()
        await writer.wait_closed()


async def test_the_buffer_is_there_to_be_seen_and_changed() -> None:
    server, reader, writer = await _connected(_echo)
    held: Any = reader
    async with server:
        writer.write(b"one\ntwo\nthree")
        assert await reader.readline() == b"one\n"
        while len(held._buffer) < 9:
            await asyncio.sleep(0.001)
        buffer = held._buffer
        assert buffer == b"two\nthree"
        assert "9 bytes" in repr(reader)
        buffer[:4] = b"2\n"
        assert await reader.readline() == b"2\n"
        assert buffer == b"three"
        writer.write(b" and more")
        assert await reader.readexactly(14) == b"three and more"
        assert held._buffer is buffer
        writer.close()
        await writer.wait_closed()


async def test_what_is_kept_with_the_reader_before_it_is_connected_stays() -> None:
    loop = asyncio.get_running_loop()
    async with await asyncio.start_server(_echo, "127.0.0.1", 0) as server:
        reader: Any = asyncio.StreamReader(loop=loop, limit=8)
        reader.note = "mine"
        reader.feed_data(b"early, ")
        waiting = loop.create_task(reader.readexactly(12))
        await asyncio.sleep(0)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_connection(
            lambda: protocol, *server.sockets[0].getsockname()
        )
        transport.write(b"later")
        assert await waiting == b"early, later"
        assert reader.note == "mine"
        assert reader._limit == 8
        transport.close()
        await protocol._get_close_waiter(None)  # type: ignore[attr-defined]


async def test_a_reader_that_is_gone_holds_nothing_up() -> None:
    loop = asyncio.get_running_loop()
    much = 1 << 20
    received = loop.create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(much))
        await writer.drain()
        received.set_result(None)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), loop=loop)
        transport, _ = await loop.create_connection(
            lambda: protocol, *server.sockets[0].getsockname()
        )
        await asyncio.wait_for(received, 10)
        transport.close()
        await protocol._get_close_waiter(None)  # type: ignore[attr-defined]


async def test_a_fast_sender_is_held_back() -> None:
    server, reader, writer = await _connected(_echo)
    held: Any = reader
    async with server:
        data = random.Random(1).randbytes(1 << 22)
        writer.write(data)
        while not held._paused:
            await asyncio.sleep(0.001)
        assert not writer.transport.is_closing()
        assert await reader.readexactly(len(data)) == data
        writer.close()
        await writer.wait_closed()


async def test_the_methods_are_coroutine_functions() -> None:
    server, reader, writer = await _connected(_echo)
    async with server:
        for name in ("read", "readline", "readuntil", "readexactly"):
            assert inspect.iscoroutinefunction(getattr(reader, name))
        coroutine = reader.readline()
        assert inspect.iscoroutine(coroutine)
        coroutine.close()
        writer.close()
        await writer.wait_closed()
