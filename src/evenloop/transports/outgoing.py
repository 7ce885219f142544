"""The writing half of a stream.

The first write of a turn goes out at once: the other side does not wait for our turn to end.
Whatever follows in the same turn is gathered and leaves in one vectored send at the end of it,
or as soon as it passes the high water mark. Nothing is copied that cannot change.
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
    from evenloop.engines.engine import SEND, Op
    from evenloop.transports.base import FlowControl

    def new_writer(transport: Outgoing) -> Writer:
        """Return the request that sends for a transport."""
        return Writer(transport)

    # Bytes gathered within a turn that do not wait for its end.
    GATHERED = 64 * 1024
    # Pieces handed to one vectored send.
    PIECES = 256

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Outgoing"]


class Writer(Op):
    """The request that sends."""

    def __init__(self, transport: Any) -> None:
        Op.__init__(self, SEND, transport._fd, transport._sock)
        self.transport = transport

    def complete(self) -> None:
        """Go on after something was sent."""
        transport = self.transport
        if transport is not None:
            transport._sent(False)

    def acquire(self) -> Any:
        """Return what waits to be sent."""
        transport = self.transport
        if transport is None:
            return []
        pending = transport._pending
        head = transport._head
        if head == 0 and len(pending) <= PIECES:
            return pending
        return pending[head : head + PIECES]


class Outgoing(FlowControl):
    """What a stream has yet to send, and how it is sent; the transport itself is built on it."""

    def _send_to(self, fd: int, sock: socket.socket | None) -> None:
        """Send to a descriptor, which is the socket's if there is one."""
        self._fd = fd
        self._sock: Any = sock
        self._engine = self._loop.engine
        self._writer = new_writer(self)
        # What was written and not sent: pieces from `_head` on.
        self._pending: list[Any] = []
        self._head = 0
        self._turn = 0
        # A completion engine keeps the buffer after start(): it must not change.
        self._copying = self._engine.model == "completion"
        self._gathering = False
        self._eof = False
        self._empty_waiter: asyncio.Future[None] | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`, now or as soon as the other side takes it.

        Raises TypeError if `data` is not bytes-like and RuntimeError after `write_eof()`.

        https://docs.python.org/3/library/asyncio-protocol.html#asyncio.WriteTransport.write
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"data argument must be a bytes-like object, not {type(data).__name__!r}"
            )
        if self._eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._empty_waiter is not None:
            raise RuntimeError("unable to write; sendfile is in progress")
        if not data:
            return
        if self._lost:
            self._count_lost_write()
            return
        if self._pending or (self._turn == self._loop.turn and self._loop._thread_id is not None):
            # Something is ahead of it, or this turn of a running loop has had its first write.
            self._queue(data if type(data) is bytes else bytes(data))
            return
        self._turn = self._loop.turn
        borrowed = type(data) is not bytes
        if not borrowed and self._send_one(data):
            return
        if borrowed:
            # Sent from where it lies if the engine is done with it at once.
            data = bytes(data) if self._copying else memoryview(data).cast("B")
        self._pending.append(data)
        self._pending_size = len(data)
        self._send()
        if self._pending:
            if borrowed:
                # The rest waits; the caller may change the original meanwhile.
                self._pending[0] = bytes(self._pending[0])
            self._maybe_pause()

    def _send_one(self, data: Any) -> bool:
        """Send at once, if the engine can, and keep the rest; False if it cannot."""
        sent = self._engine.send_now(self._writer, data)
        if sent == len(data):
            return True
        if sent < 0:
            return False
        error = self._writer.error
        if error is not None:
            self._writer.error = None
            self._fatal_error(error, "Fatal write error on socket transport")
            return True
        self._pending.append(memoryview(data)[sent:] if sent else data)
        self._pending_size = len(data) - sent
        self._send()
        if self._pending:
            self._maybe_pause()
        return True

    def _queue(self, data: bytes) -> None:
        """Gather for the end of the turn; sooner if it is much."""
        self._pending.append(data)
        self._pending_size += len(data)
        if self._writer.active:
            self._maybe_pause()
        elif self._pending_size > self._high or self._pending_size > GATHERED:
            self._send()
            self._maybe_pause()
        elif not self._gathering:
            self._gathering = True
            self._loop.flush_later(self)

    def flush(self) -> None:
        """Send what was gathered during the turn."""
        self._gathering = False
        if (
            self._pending
            and not self._writer.active
            and not self._lost
            and self._engine.start(self._writer)
        ):
            self._sent(False)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send an iterable of bytes-likes, in one call where that is possible.

        Raises as `write()` does.

        https://docs.python.org/3/library/asyncio-protocol.html#asyncio.WriteTransport.writelines
        """
        if self._eof:
            raise RuntimeError("Cannot call writelines() after write_eof()")
        if self._empty_waiter is not None:
            raise RuntimeError("unable to writelines; sendfile is in progress")
        pieces = []
        size = 0
        for data in list_of_data:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(
                    "writelines() takes bytes-like objects, "
                    f"got one of type {type(data).__name__!r}"
                )
            if data:
                pieces.append(data if type(data) is bytes else bytes(data))
                size += len(pieces[len(pieces) - 1])
        if not pieces:
            return
        if self._lost:
            self._count_lost_write()
            return
        self._pending.extend(pieces)
        self._pending_size += size
        if not self._writer.active:
            self._turn = self._loop.turn
            self._send()
        self._maybe_pause()

    def can_write_eof(self) -> bool:
        """Return True: a stream can be closed for writing alone."""
        return True

    def write_eof(self) -> None:
        """Close for writing once everything is sent; reading goes on."""
        if self._closing or self._eof:
            return
        self._eof = True
        if self._empty_waiter is None:
            self._send_now_or_later()

    def _send_now_or_later(self) -> None:
        if self._pending:
            if not self._writer.active:
                self._send()
        else:
            self._drained()

    def _send(self) -> None:
        """Send what is pending, as much as goes; the rest when it can."""
        if self._engine.start(self._writer):
            self._sent(True)

    def _sent(self, inside: bool) -> None:
        """Take note of what was sent, and go on with the rest; see `_maybe_resume`."""
        writer = self._writer
        while True:
            if writer.error is not None:
                error = writer.error
                writer.error = None
                self._fatal_error(error, "Fatal write error on socket transport")
                return
            self._consume(writer.result)
            if not self._pending:
                break
            if not self._engine.start(writer):
                if self._writing_paused:
                    self._maybe_resume(inside)
                return
        if self._writing_paused:
            self._maybe_resume(inside)
        # The protocol may have written again, or closed.
        if not self._pending and (self._closing or self._eof or self._empty_waiter is not None):
            self._drained()

    def _consume(self, count: int) -> None:
        """Drop `count` sent bytes from the head of what is pending."""
        self._pending_size -= count
        if self._pending_size == 0:
            del self._pending[:]
            self._head = 0
            return
        while count > 0:
            piece = self._pending[self._head]
            size = len(piece)
            if count < size:
                self._pending[self._head] = memoryview(piece)[count:]
                break
            count -= size
            self._pending[self._head] = None
            self._head += 1
        if self._head > 1024 and self._head * 2 > len(self._pending):
            del self._pending[: self._head]
            self._head = 0

    def _drained(self) -> None:
        """Everything is sent: do what waited for that."""
        if self._empty_waiter is not None:
            if not self._empty_waiter.done():
                self._empty_waiter.set_result(None)
            return
        if self._closing:
            if not self._lost:
                self._lost = 1
                self._loop.schedule(self._connection_lost, (None,), self._context)
        elif self._eof:
            self._shut_down()

    def _connection_lost(self, exc: BaseException | None) -> None:
        raise NotImplementedError

    def _shut_down(self) -> None:
        """Close for writing."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            # The other side is gone already; reading will tell the protocol.
            return

    # ---- for sendfile: the room net/ takes the descriptor over between writes --------------

    def _make_empty_waiter(self) -> asyncio.Future[None]:
        """Return a future that is done once everything is sent; writes are refused until reset."""
        if self._empty_waiter is not None:
            raise RuntimeError("Empty waiter is already set")
        self._empty_waiter = self._loop.create_future()
        if not self._pending:
            self._empty_waiter.set_result(None)
        elif not self._writer.active:
            self._send()
        return self._empty_waiter

    def _reset_empty_waiter(self) -> None:
        """Allow writes again, and do what was asked for meanwhile."""
        self._empty_waiter = None
        if (self._closing or self._eof) and not self._lost and not self._pending:
            self._drained()
