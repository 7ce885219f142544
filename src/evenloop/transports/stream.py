"""The stream transport: bytes in order, both ways, over a socket or a pair of pipe ends.

Reading. The transport is armed once and stays armed. What the engine reads goes straight to
the protocol, in the transport's context: no handle, no queue. A `BufferedProtocol` is asked
for its buffer at the moment when the engine needs it.

Writing. See `outgoing`.

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
    from evenloop.engines.engine import RECV, RECV_INTO, Op
    from evenloop.transports.outgoing import Outgoing

    def new_reader(transport: StreamTransport) -> Reader:
        """Return the reading half of a transport."""
        return Reader(transport)


if TYPE_CHECKING:
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


class StreamTransport(Outgoing):
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
        self._send_to(file.fileno(), file if isinstance(file, _Socket) else None)
        self._engine.adopt(self._fd, self)
        self._reader = new_reader(self)
        self._paused = False
        self._begun = False
        self._data_received: Any = None
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
