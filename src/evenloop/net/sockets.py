"""The `sock_*` methods: requests on sockets that are the user's own.

Each call is one op that completes its future directly from the engine. A request that can be
answered at once is, without a turn of the loop; one that waits leaves its watch in place for
the next call, so a conversation needs no system call but those that move data.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

try:
    import cython
except ImportError:
    from evenloop import _cython as cython

if not cython.compiled:
    from evenloop.engines.engine import (
        ACCEPT,
        CONNECT,
        RECV,
        RECV_INTO,
        RECVFROM,
        SEND,
        SENDTO,
        Op,
    )

if TYPE_CHECKING:
    from evenloop.scheduler import Scheduler

__all__ = ["SocketOp", "accept", "connect", "receive"]


class SocketOp(Op):
    """A request whose outcome is a future's."""

    def __init__(self, kind: int, sock: socket.socket) -> None:
        Op.__init__(self, kind, sock.fileno(), sock)
        self.future: asyncio.Future[Any] | None = None

    def complete(self) -> None:
        """Give the outcome to whoever awaits it."""
        future = self.future
        if future is None or future.done():
            return
        if self.error is not None:
            future.set_exception(self.error)
            # The traceback will hold the frames that hold this op.
            self.error: Any = None
        else:
            future.set_result(self.result)

    def check(self) -> None:
        """Raise what went wrong, if something did, and let go of it."""
        error = self.error
        if error is not None:
            self.error = None
            try:
                raise error
            finally:
                del error


class SendAll(SocketOp):
    """Sends until everything is sent."""

    def __init__(self, sock: socket.socket, data: Any) -> None:
        SocketOp.__init__(self, SEND, sock)
        self.rest: memoryview = memoryview(data).cast("B")
        self.engine: Any = None

    def acquire(self) -> list[Any]:
        """Return what is not sent yet."""
        return [self.rest]

    def advance(self) -> bool:
        """Take note of what was sent; True when there is nothing left to do."""
        if self.error is not None:
            return True
        self.rest = self.rest[self.result :]
        self.result: Any = None
        return not self.rest

    def complete(self) -> None:
        """Go on until everything is sent."""
        while not self.advance():
            if not self.engine.start(self):
                return
        SocketOp.complete(self)


async def _outcome(loop: Scheduler, op: SocketOp) -> Any:
    """Await an op that is in flight; take it back if the awaiting task is cancelled."""
    future = op.future = loop.create_future()
    try:
        return await future
    finally:
        # Break the cycle, and take back what a cancelled task no longer waits for.
        op.future = None
        del future
        if op.active:
            loop.engine.cancel(op)


async def _request(loop: Scheduler, op: SocketOp) -> Any:
    if loop.engine.start(op):
        op.check()
        return op.result
    return await _outcome(loop, op)


async def receive(loop: Scheduler, sock: socket.socket, size: int) -> Any:
    """Receive at most `size` bytes."""
    op = SocketOp(RECV, sock)
    op.size = size
    return await _request(loop, op)


async def receive_into(loop: Scheduler, sock: socket.socket, buffer: Any) -> Any:
    """Receive into a writable buffer; return how many bytes."""
    op = SocketOp(RECV_INTO, sock)
    op.buffer = buffer
    return await _request(loop, op)


async def receive_from(loop: Scheduler, sock: socket.socket, size: int, buffer: Any = None) -> Any:
    """Receive a datagram and its sender; into `buffer` if there is one."""
    op = SocketOp(RECVFROM, sock)
    op.size = size
    op.buffer = buffer
    return await _request(loop, op)


async def send_to(loop: Scheduler, sock: socket.socket, data: Any, address: Any) -> Any:
    """Send a datagram; return how many bytes."""
    op = SocketOp(SENDTO, sock)
    op.buffer = data
    op.address = address
    return await _request(loop, op)


async def send_all(loop: Scheduler, sock: socket.socket, data: Any) -> None:
    """Send everything."""
    op = SendAll(sock, data)
    if not op.rest:
        return
    op.engine = loop.engine
    while loop.engine.start(op):
        if op.advance():
            op.check()
            return
    await _outcome(loop, op)


async def connect(loop: Scheduler, sock: socket.socket, address: Any) -> None:
    """Connect to a resolved address."""
    op = SocketOp(CONNECT, sock)
    op.address = address
    await _request(loop, op)


async def accept(loop: Scheduler, sock: socket.socket) -> Any:
    """Accept a connection: the new, non-blocking socket and the peer's address."""
    return await _request(loop, SocketOp(ACCEPT, sock))
