"""Protocols that remember, and connected pairs of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from tests.support.loops import until


class _Remembering:
    """Events in order, and futures for those one waits for."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.events: list[str] = []
        self.data = bytearray()
        self.transport: Any = None
        self.connected: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[Exception | None] = loop.create_future()
        self.eof: asyncio.Future[None] = loop.create_future()
        self.paused = False

    def connection_made(self, transport: Any) -> None:
        self.events.append("made")
        self.transport = transport
        self.connected.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        assert "lost" not in self.events, "connection_lost twice"
        self.events.append("lost")
        if not self.closed.done():  # a test that was cancelled waits no more
            self.closed.set_result(exc)

    def pause_writing(self) -> None:
        self.events.append("pause")
        self.paused = True

    def resume_writing(self) -> None:
        self.events.append("resume")
        self.paused = False

    async def received(self, count: int) -> bytes:
        """All that came, once it is at least `count` bytes."""
        await until(lambda: len(self.data) >= count)
        return bytes(self.data)


class Recorder(_Remembering, asyncio.Protocol):
    """A stream protocol that remembers; `keep_open` is what eof_received returns."""

    keep_open = False

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes and data
        if self.events[-1] != "data":
            self.events.append("data")
        self.data += data

    def eof_received(self) -> bool:
        self.events.append("eof")
        self.eof.set_result(None)
        return self.keep_open


class Terse(Recorder):
    """Tells of no data among its events."""

    def data_received(self, data: bytes) -> None:
        self.data += data


class HalfOpen(Recorder):
    """Keeps its writing side when the peer ends its own."""

    keep_open = True


class Echo(Recorder):
    """Sends back what it gets."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(data)


class BufferedRecorder(_Remembering, asyncio.BufferedProtocol):
    """The same by way of get_buffer and buffer_updated."""

    size = 1000

    def __init__(self) -> None:
        super().__init__()
        self.buffer = bytearray(self.size)
        self.hints: list[int] = []

    def get_buffer(self, sizehint: int) -> Any:
        self.hints.append(sizehint)
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        assert 0 < nbytes <= self.size
        self.events.append("updated")
        self.data += self.buffer[:nbytes]

    def eof_received(self) -> bool:
        self.events.append("eof")
        self.eof.set_result(None)
        return False


class DatagramRecorder(asyncio.DatagramProtocol):
    """Datagrams and errors in order of arrival."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.transport: Any = None
        self.datagrams: list[tuple[bytes, Any]] = []
        self.errors: list[Exception] = []
        self.events: list[str] = []
        self.closed: asyncio.Future[Exception | None] = loop.create_future()

    def connection_made(self, transport: Any) -> None:
        self.events.append("made")
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.datagrams.append((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        assert "lost" not in self.events, "connection_lost twice"
        self.events.append("lost")
        if not self.closed.done():  # a test that was cancelled waits no more
            self.closed.set_result(exc)

    async def received(self, count: int) -> list[tuple[bytes, Any]]:
        await until(lambda: len(self.datagrams) >= count)
        return self.datagrams


C = TypeVar("C", bound=asyncio.BaseProtocol)
S = TypeVar("S", bound=asyncio.BaseProtocol)


@contextlib.asynccontextmanager
async def connected_pair(
    client: Callable[[], C],
    server: Callable[[], S],
    *,
    client_options: dict[str, Any] | None = None,
    server_options: dict[str, Any] | None = None,
) -> AsyncIterator[tuple[C, S]]:
    """Two protocols joined over TCP on the loopback; aborted and closed in the end."""
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[S] = loop.create_future()

    def make_server() -> S:
        protocol = server()
        accepted.set_result(protocol)
        return protocol

    listener = await loop.create_server(make_server, "127.0.0.1", 0, **(server_options or {}))
    host, port = listener.sockets[0].getsockname()
    transport, client_protocol = await loop.create_connection(
        client, host, port, **(client_options or {})
    )
    server_protocol = await accepted
    waiting = getattr(server_protocol, "connected", None)
    if waiting is not None:
        await waiting
    listener.close()
    try:
        yield client_protocol, server_protocol
    finally:
        if not transport.is_closing():
            transport.abort()
        for protocol in (client_protocol, server_protocol):
            closed = getattr(protocol, "closed", None)
            if closed is None or not closed.done():
                end = getattr(protocol, "transport", None)
                if end is not None:
                    end.abort()
            if closed is not None:
                await closed
        await listener.wait_closed()
