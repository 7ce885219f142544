"""Small parts that several probes use."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING, Any

from evenloop.platforms.probe import Failed

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Echo", "Note", "check", "expect", "ms", "nonblocking", "pair", "plural", "port_of"]


def expect(what: str, seen: object, wanted: object) -> None:
    """Fail unless what was seen is what was wanted."""
    if seen != wanted:
        raise Failed(f"{what}: {seen!r} instead of {wanted!r}")


def check(truth: object, trouble: str) -> None:
    """Fail with a sentence unless something is true."""
    if not truth:
        raise Failed(trouble)


def ms(start: float) -> str:
    """The time since `start` (of `time.perf_counter`), for people."""
    return f"{(time.perf_counter() - start) * 1e3:.1f} ms"


def plural(count: int, thing: str) -> str:
    """`1 byte`, `2 bytes`."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def port_of(server: asyncio.AbstractServer) -> int:
    """The port that a server listens on."""
    port: int = server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    return port


def nonblocking(family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A socket as the sock_ methods want it."""
    made = socket.socket(family, kind)
    made.setblocking(False)
    return made


@contextlib.contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected non-blocking sockets."""
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        yield left, right


class Echo(asyncio.Protocol):
    """Sends back what it gets."""

    def __init__(self) -> None:
        self.bytes: int = 0

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        self.bytes += len(data)
        self.transport.write(data)


class Note(asyncio.Protocol):
    """Notes what happens to it; futures tell when."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.made: asyncio.Future[Any] = loop.create_future()
        self.lost: asyncio.Future[Exception | None] = loop.create_future()
        self.data: bytearray = bytearray()
        self.calls: list[str] = []
        self._wanted = 0
        self._arrived: asyncio.Future[None] | None = None

    def connection_made(self, transport: Any) -> None:
        """Note the transport."""
        self.calls.append("made")
        self.transport = transport
        self.made.set_result(transport)

    def data_received(self, data: bytes) -> None:
        """Keep the bytes."""
        self.data += data
        if self._arrived is not None and len(self.data) >= self._wanted:
            self._arrived.set_result(None)
            self._arrived = None

    def eof_received(self) -> None:
        """Note the end."""
        self.calls.append("eof")

    def connection_lost(self, error: Exception | None) -> None:
        """Note the loss."""
        self.calls.append("lost")
        self.lost.set_result(error)

    async def received(self, count: int) -> bytes:
        """Wait for so many bytes, counted from the first."""
        if len(self.data) < count:
            self._wanted = count
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        return bytes(self.data)
