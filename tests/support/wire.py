"""A wire in memory, and the TLS layer at both of its ends."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from evenloop.transports import tls

from tests.support import tls as contexts
from tests.support.loops import until
from tests.support.protocols import Echo, Recorder


class Wire:
    """A lower transport in memory: what is written is delivered on a later turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop, chunk: int = 1 << 20) -> None:
        self.loop = loop
        self.peer: Wire
        self.chunk = chunk  # delivered in pieces of at most so many bytes
        self.protocol: Any = None
        self.queue: deque[bytes] = deque()  # what is on its way to us
        self.writes: list[int] = []
        self.reading = True
        self.held = False  # nothing arrives while this is set
        self.aborted = self.closed = self.lost = self.ended = False
        self.buffered = 0

    def write(self, data: bytes) -> None:
        assert data
        self.writes.append(len(data))
        if not self.closed and not self.peer.lost:
            self.peer.queue.append(bytes(data))
            self.loop.call_soon(self.peer.deliver)

    def deliver(self) -> None:
        while self.queue and self.reading and not self.held and not self.closed:
            buffer = self.protocol.get_buffer(-1)
            data = self.queue.popleft()
            size = min(self.chunk, len(buffer))
            if len(data) > size:
                self.queue.appendleft(data[size:])
                data = data[:size]
            buffer[: len(data)] = data
            self.protocol.buffer_updated(len(data))
        if self.ended and not self.queue and not self.closed and self.reading and not self.held:
            self.ended = False
            if not self.protocol.eof_received():
                self.close()

    def end(self) -> None:
        """The peer ends without a word of TLS."""
        self.ended = True
        self.loop.call_soon(self.deliver)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        self.loop.call_soon(self.deliver)

    def release(self) -> None:
        self.held = False
        self.loop.call_soon(self.deliver)

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": "memory"}.get(name, default)

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def abort(self) -> None:
        self.aborted = True
        self.close()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.loop.call_soon(self.lose)

    def lose(self) -> None:
        if not self.lost:
            self.lost = True
            self.protocol.connection_lost(None)
            if not self.peer.closed:
                self.peer.end()


class Pair:
    """A client and a server joined by a wire."""

    def __init__(
        self,
        client: Any,
        server: Any,
        *,
        client_context: ssl.SSLContext | None = None,
        server_context: ssl.SSLContext | None = None,
        chunk: int = 1 << 20,
        **timeouts: float,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.client, self.server = client, server
        self.wire, self.far_wire = Wire(loop, chunk), Wire(loop, chunk)
        self.wire.peer, self.far_wire.peer = self.far_wire, self.wire
        self.waiter: asyncio.Future[None] = loop.create_future()
        self.layer = self.wire.protocol = tls.wrap(
            loop,
            client,
            client_context or contexts.client_context(),
            self.waiter,
            server_side=False,
            server_hostname="localhost",
            ssl_handshake_timeout=timeouts.get("handshake"),
            ssl_shutdown_timeout=timeouts.get("shutdown"),
        )
        self.far_layer = self.far_wire.protocol = tls.wrap(
            loop,
            server,
            server_context or contexts.server_context(),
            None,
            server_side=True,
            server_hostname=None,
        )
        self.transport: Any = self.layer.transport

    def begin(self) -> None:
        self.far_layer.connection_made(self.far_wire)
        self.layer.connection_made(self.wire)

    def abort(self) -> None:
        self.wire.abort()
        self.far_wire.abort()


@contextlib.asynccontextmanager
async def joined(
    client: Callable[[], Any] = Recorder, server: Callable[[], Any] = Echo, **options: Any
) -> AsyncIterator[Pair]:
    """A pair whose handshake is done."""
    pair = Pair(client(), server(), **options)
    pair.begin()
    try:
        await pair.waiter
        await until(lambda: pair.server.transport is not None)
        yield pair
    finally:
        pair.abort()
        await until(lambda: pair.wire.lost and pair.far_wire.lost)


@contextlib.contextmanager
def reports() -> Iterator[list[dict[str, Any]]]:
    """What the exception handler of the running loop is told."""
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    try:
        yield told
    finally:
        loop.set_exception_handler(None)
