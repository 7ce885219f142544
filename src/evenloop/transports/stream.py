"""The stream transport: bytes in order, both ways, over a socket or a pair of pipe ends.

Reading. The transport is armed once and stays armed. What the engine reads goes straight to
the protocol, in the transport's context: no handle, no queue. A `BufferedProtocol` is asked
for its buffer at the moment when the engine needs it.

Writing. The first write of a turn goes out at once: the other side does not wait for our turn
to end. Whatever follows in the same turn is gathered and leaves in one vectored send at the
end of it, or as soon as it passes the high water mark. Nothing is copied that cannot change.

Closing. `close()` sends what was written, then tells the protocol; `abort()` does not wait.
`connection_lost()` is called exactly once, and the descriptor is closed after it.
"""

from __future__ import annotations

import asyncio
import socket
import time
import warnings
from typing import TYPE_CHECKING, Any

try:
    import cython
except ImportError:
    from evenloop import _cython as cython

from evenloop.streams import adopt
from evenloop.transports.base import describe_socket

if not cython.compiled:
    from evenloop._calls import call_none, call_one, copy_context
    from evenloop.engines.engine import RECV, RECV_INTO, SEND, Op
    from evenloop.transports.base import FlowControl

    def new_reader(transport: StreamTransport) -> Reader:
        """Return the reading half of a transport."""
        return Reader(transport)

    def new_writer(transport: StreamTransport) -> Writer:
        """Return the writing half of a transport."""
        return Writer(transport)

    # Bytes gathered within a turn that do not wait for its end.
    GATHERED = 64 * 1024
    # Pieces handed to one vectored send.
    PIECES = 256

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextvars import Context

    from evenloop.scheduler import Scheduler
    from evenloop.transports.feed import Feed

__all__ = ["StreamTransport", "open_stream"]

_Socket = socket.socket
_BufferedProtocol = asyncio.BufferedProtocol
_StreamProtocol = asyncio.StreamReaderProtocol
# The arguments of `_begin()` where nobody waits for it.
_UNAWAITED = (None,)


class Reader(Op):
    """The reading half of a stream."""

    def __init__(self, transport: Any) -> None:
        Op.__init__(self, RECV, transport._fd, transport._sock)
        self.transport = transport
        self.multishot = True

    def complete(self) -> None:
        """Hand on what was read."""
        transport = self.transport
        if transport is None:
            return
        if self.error is not None:
            error = self.error
            self.error: Any = None
            transport._fatal_error(error, "Fatal read error on socket transport")
        elif type(self.result) is bytes:
            data = self.result
            self.result: Any = None
            transport._deliver(data)
        else:
            transport._delivered_into(self.result)

    def acquire(self) -> Any:
        """Ask the protocol where to read to."""
        transport = self.transport
        return None if transport is None else transport._acquire()


class Writer(Op):
    """The writing half of a stream."""

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


class StreamTransport(FlowControl):
    """An `asyncio.Transport` over one descriptor."""

    _start_tls_compatible = True
    _sendfile_compatible = asyncio.constants._SendfileMode.TRY_NATIVE

    def __init__(
        self,
        loop: Scheduler,
        file: Any,
        protocol: asyncio.BaseProtocol,
        *,
        waiter: asyncio.Future[Any] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """Take ownership of `file`, a non-blocking socket or pipe object, and begin.

        `protocol.connection_made()` is called at the next turn, reading starts after it and
        `waiter`, if given, gets None as its result.
        """
        self._take(loop, file, protocol, copy_context(), extra, None)
        self._loop.schedule(self._begin, (waiter,), self._context)

    def _take(
        self,
        loop: Scheduler,
        file: Any,
        protocol: asyncio.BaseProtocol,
        context: Context,
        extra: dict[str, Any] | None,
        peer: Any,
    ) -> None:
        """Take ownership of `file`; `_begin()` is to follow. `peer` is the other end's name."""
        self._set_up(loop, extra, context)
        self._file = file
        self._fd = file.fileno()
        self._sock: Any = None
        if type(file) is _Socket or isinstance(file, _Socket):
            self._sock = file
        self._engine = loop.engine
        self._engine.adopt(self._fd, self)
        self._reader = new_reader(self)
        self._writer = new_writer(self)
        # What was written and not sent: pieces from `_head` on.
        self._pending: list[Any] = []
        self._head = 0
        self._turn = 0
        # A completion engine keeps the buffer after start(): it must not change.
        self._copying = loop.engine.model == "completion"
        self._gathering = False
        self._eof = False
        self._paused = False
        self._begun = False
        self._data_received: Any = None
        self._empty_waiter: asyncio.Future[None] | None = None
        # The server that accepted the connection, and its note of it.
        self._server: Any = None
        self._entry: Any = None
        if self._sock is not None:
            if extra is None:
                self._describe_later(self._sock, peer)
            else:
                describe_socket(self._sock, extra)
        self._bind(protocol)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return asyncio.Transport

    def _bind(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        self._feed: Feed | None = None
        if type(protocol) is _StreamProtocol:
            self._feed = adopt(protocol)
        if isinstance(protocol, _BufferedProtocol):
            self._reader.kind = RECV_INTO
            self._data_received = protocol.buffer_updated
        else:
            self._reader.kind = RECV
            # A write-only protocol need not have the method.
            self._data_received = getattr(protocol, "data_received", None)

    def _begin(self, waiter: asyncio.Future[Any] | None) -> None:
        """Introduce the protocol; runs in the transport's context."""
        try:
            self._protocol.connection_made(self)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._loop.call_exception_handler(
                {
                    "message": "Exception in callback protocol.connection_made()",
                    "exception": exc,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )
        finally:
            self._begun = True
            if not self._closing and not self._paused:
                self._start_reading()
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    # ---- reading ---------------------------------------------------------------------------

    @property
    def _protocol_paused(self) -> bool:
        """Whether the protocol was asked to stop writing; asyncio's name for it."""
        return self._writing_paused

    def is_reading(self) -> bool:
        """Return True if the transport hands on what arrives."""
        return not self._closing and not self._paused

    def pause_reading(self) -> None:
        """Stop calling `data_received()`; without effect if it is paused or closing."""
        if not self.is_reading():
            return
        self._paused = True
        self._stop_reading()

    def resume_reading(self) -> None:
        """Call `data_received()` again; without effect unless it is paused."""
        if self._closing or not self._paused:
            return
        self._paused = False
        if self._begun:
            self._start_reading()

    def _start_reading(self) -> None:
        if not self._reader.active:
            self._engine.start(self._reader)

    def _stop_reading(self) -> None:
        if self._reader.active:
            self._engine.cancel(self._reader)

    def _deliver(self, data: bytes) -> None:
        """Hand on what was read; nothing means the end."""
        if self._lost:
            return
        if not data:
            self._ended()
            return
        started = time.monotonic() if self._loop._debug else 0.0
        try:
            if self._feed is not None:
                self._feed.put(data)
            else:
                call_one(self._context, self._data_received, data)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.data_received() call failed.")
        if started:
            self._loop._report_slow(self, time.monotonic() - started)

    def _acquire(self) -> Any:
        """Ask a BufferedProtocol for its buffer."""
        try:
            buffer = call_one(self._context, self._protocol.get_buffer, -1)
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
            return buffer
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.get_buffer() call failed.")
            return None

    def _delivered_into(self, count: int) -> None:
        """Tell a BufferedProtocol how much was read; nothing means the end."""
        if self._lost:
            return
        if count == 0:
            self._ended()
            return
        try:
            updated = self._data_received
            if self._reader.kind != RECV_INTO:
                # get_buffer() put another kind of protocol in its own place.
                updated = self._protocol.buffer_updated
            call_one(self._context, updated, count)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.buffer_updated() call failed.")

    def _ended(self) -> None:
        """The other side will send no more."""
        try:
            keep_open = call_none(self._context, self._protocol.eof_received)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error: protocol.eof_received() call failed.")
            return
        if keep_open:
            # Half closed: we may still write. End of file would be readable for ever.
            self._stop_reading()
        else:
            self.close()

    # ---- writing ---------------------------------------------------------------------------

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

    def _shut_down(self) -> None:
        """Close for writing."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            # The other side is gone already; reading will tell the protocol.
            return

    # ---- closing ---------------------------------------------------------------------------

    def close(self) -> None:
        """Send what was written, then close; `connection_lost(None)` follows."""
        if self._closing:
            return
        self._closing = True
        self._stop_reading()
        if self._pending:
            if not self._writer.active:
                self._send()
        else:
            self._drained()

    def _force_close(self, exc: BaseException | None) -> None:
        if self._lost:
            return
        if self._pending and not self._writer.active and exc is None:
            # abort(): gathered in this very turn, where asyncio would have sent it by now.
            self._engine.start(self._writer)
        self._pending.clear()
        self._head = 0
        self._pending_size = 0
        self._closing = True
        self._lost = 1
        self._stop_reading()
        if self._writer.active:
            self._engine.cancel(self._writer)
        self._loop.schedule(self._connection_lost, (exc,), self._context)

    def _connection_lost(self, exc: BaseException | None) -> None:
        """Tell the protocol, then close; runs in the transport's context."""
        try:
            self._protocol.connection_lost(exc)
        finally:
            if self._empty_waiter is not None and not self._empty_waiter.done():
                self._empty_waiter.set_exception(
                    exc or ConnectionError("Connection is closed by peer")
                )
            self._release()

    def _release(self) -> None:
        """Give the descriptor back and let go of everything."""
        self._note_name()
        self._engine.forget(self._fd)
        self._file.close()
        self._file = None
        self._sock = None
        reader, writer = self._reader, self._writer
        reader.sock = writer.sock = None
        # The ops and the transport refer to each other: part them, and it is freed at once.
        reader.transport = writer.transport = None
        self._data_received = self._feed = None
        self._protocol = None
        server = self._server
        if server is not None:
            self._server = None
            server._detach(self._entry)

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

    # ---- describing ------------------------------------------------------------------------

    def __repr__(self) -> str:
        info = [type(self).__name__]
        if self._file is None:
            info.append("closed")
        else:
            info.append("closing" if self._closing else "open")
        info.append(f"fd={self._fd}")
        if self._file is not None and not self._loop.is_closed():
            info.append("read=polling" if self._reader.active else "read=idle")
            state = "polling" if self._writer.active else "idle"
            info.append(f"write=<{state}, bufsize={self.get_write_buffer_size()}>")
        return f"<{' '.join(info)}>"

    def __del__(self) -> None:
        if self._file is not None:
            warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self)  # noqa: B028
            self._file.close()
            if self._server is not None:
                self._server._detach(self._entry)


def open_stream(
    loop: Scheduler, sock: socket.socket, protocol: asyncio.BaseProtocol, peer: Any
) -> StreamTransport:
    """Put a transport on a connected socket; the short way of its constructor.

    `peer` is the other end's name, or None where it is to be asked for.
    """
    transport = StreamTransport.__new__(StreamTransport)
    transport._take(loop, sock, protocol, copy_context(), None, peer)
    loop.schedule(transport._begin, _UNAWAITED, transport._context)
    return transport
