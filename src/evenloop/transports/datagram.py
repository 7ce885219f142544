"""The datagram transport: messages, each whole or not at all, to and from many peers.

Receiving. One multishot request; each datagram, an empty one included, goes straight to the
protocol in the transport's context. What a protocol raises is reported, and the next datagram
is delivered all the same. What the network reports (a port that nobody listens on) goes to
`error_received()`.

Sending. A datagram goes out at once; only what the kernel has no room for is queued, in order,
one request at a time. What is queued counts with a header for each datagram, so that empty
ones are not free.

Closing. `close()` sends what is queued first; `abort()` does not. `connection_lost()` is called
exactly once, and the descriptor is closed after it.
"""

from __future__ import annotations

import asyncio
import collections
import socket
import time
import warnings
from typing import TYPE_CHECKING, Any

try:
    import cython
except ImportError:
    from evenloop import _cython as cython

from evenloop.transports.base import describe_socket

if not cython.compiled:
    from evenloop._calls import call_args, call_one
    from evenloop.engines.engine import RECVFROM, SENDTO, Op
    from evenloop.transports.base import FlowControl

if TYPE_CHECKING:
    from evenloop.scheduler import Scheduler

__all__ = ["DatagramTransport"]

# No datagram of the Internet's is larger; those of other families can be.
_LARGEST_INTERNET = 64 * 1024
_LARGEST = 256 * 1024
# What each queued datagram counts beside its data, as in asyncio.
_HEADER = 8


class _Likeness(asyncio.Transport, asyncio.DatagramTransport):
    """What asyncio's own datagram transports are instances of."""


class Receiver(Op):
    """The receiving half."""

    def __init__(self, transport: DatagramTransport, fd: int, sock: Any) -> None:
        Op.__init__(self, RECVFROM, fd, sock)
        self.transport = transport
        self.multishot = True

    def complete(self) -> None:
        """Hand on a datagram or an error."""
        self.transport._received()


class Sender(Op):
    """The sending half."""

    def __init__(self, transport: DatagramTransport, fd: int, sock: Any) -> None:
        Op.__init__(self, SENDTO, fd, sock)
        self.transport = transport

    def complete(self) -> None:
        """Go on after a datagram was sent."""
        self.transport._sent()


class DatagramTransport(FlowControl):
    """An `asyncio.DatagramTransport` over one socket."""

    def __init__(
        self,
        loop: Scheduler,
        sock: Any,
        protocol: asyncio.BaseProtocol,
        address: Any = None,
        *,
        waiter: asyncio.Future[Any] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """Take ownership of `sock`, a non-blocking datagram socket, and begin.

        `address` is the only one that can be sent to, if given. `protocol.connection_made()` is
        called at the next turn; then receiving starts and `waiter` gets None as its result.
        """
        FlowControl.__init__(self, loop, {} if extra is None else extra)
        self._sock = sock
        self._fd = sock.fileno()
        self._address = address
        self._engine = loop.engine
        self._engine.adopt(self._fd, self)
        self._receiver = Receiver(self, self._fd, sock)
        self._sender = Sender(self, self._fd, sock)
        if sock.family in (socket.AF_INET, getattr(socket, "AF_INET6", None)):
            self._receiver.size = _LARGEST_INTERNET
            self._receiver.family = self._sender.family = int(sock.family)
        else:
            self._receiver.size = _LARGEST
        # (data, address) of each datagram behind the one that the sender has.
        self._pending: collections.deque[tuple[bytes, Any]] = collections.deque()
        # A completion engine keeps the buffer after start(): it must not change.
        self._copying = loop.engine.model == "completion"
        describe_socket(sock, self._extra)
        self._connected = self._extra["peername"] is not None
        self._bind(protocol)
        self._loop.schedule(self._begin, (waiter,), self._context)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return _Likeness

    def _bind(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        # A protocol that only sends need not have the method.
        self._datagram_received: Any = getattr(protocol, "datagram_received", None)

    def _begin(self, waiter: asyncio.Future[Any] | None) -> None:
        """Introduce the protocol; runs in the transport's context."""
        try:
            self._protocol.connection_made(self)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._report(exc, "connection_made")
        if not self._closing:
            self._engine.start(self._receiver)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # ---- receiving -------------------------------------------------------------------------

    def _received(self) -> None:
        """Hand on a datagram, or what the network says of an earlier one of ours."""
        if self._lost:
            return
        receiver = self._receiver
        error = receiver.error
        result = receiver.result
        receiver.error = receiver.result = None
        if error is not None and not receiver.active:
            # The engine has given the descriptor up.
            self._fatal_error(error, "Fatal read error on datagram transport")
            return
        started = time.monotonic() if self._loop._debug else 0.0
        try:
            if error is None:
                call_args(self._context, self._datagram_received, result)
            else:
                call_one(self._context, self._protocol.error_received, error)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._report(exc, "datagram_received" if error is None else "error_received")
        if started:
            self._loop._report_slow(self, time.monotonic() - started)

    # ---- sending ---------------------------------------------------------------------------

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        """Send a datagram, which may be empty, to `addr`, now or when the kernel has room.

        `addr` may be left out (or None) if the endpoint has a remote address. Raises TypeError
        if `data` is not bytes-like and ValueError if `addr` is not the remote address.

        https://docs.python.org/3/library/asyncio-protocol.html#asyncio.DatagramTransport.sendto
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"data argument must be a bytes-like object, not {type(data).__name__!r}"
            )
        if self._address is not None:
            if addr is not None and addr != self._address:
                raise ValueError(f"Invalid address: must be None or {self._address}, got {addr!r}")
            addr = self._address
        if self._lost:
            self._count_lost_write()
            return
        if not self._sender.active and not self._pending:
            if self._copying:
                data = bytes(data)
            try:
                finished = self._start_sending(data, addr)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self._fatal_error(exc, "Fatal write error on datagram transport")
                return
            if finished:
                self._take_error()
                return
            # In flight: the caller may change the original meanwhile.
            data = self._sender.buffer = bytes(data)
        else:
            data = bytes(data)
            self._pending.append((data, addr))
        self._pending_size += len(data) + _HEADER
        self._maybe_pause()

    def _start_sending(self, data: Any, address: Any) -> bool:
        """Give a datagram to the engine; True if it is done with it."""
        sender = self._sender
        sender.buffer = data
        # A connected socket takes no address.
        sender.address = None if self._connected else address
        return self._engine.start(sender)

    def _take_error(self) -> None:
        """Tell the protocol of an error of the sender's, if there is one."""
        sender = self._sender
        error = sender.error
        sender.buffer = sender.address = sender.error = None
        if error is None:
            return
        try:
            # Not in the transport's context, which the caller of sendto() may be in.
            self._protocol.error_received(error)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._report(exc, "error_received")

    def _sent(self) -> None:
        """A queued datagram is sent: go on with the next."""
        if self._lost > 0:
            return
        self._pending_size -= len(self._sender.buffer) + _HEADER
        while True:
            self._take_error()
            if self._lost or self._sender.active or not self._pending:
                break
            data, address = self._pending.popleft()
            try:
                if not self._start_sending(data, address):
                    break
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self._fatal_error(exc, "Fatal write error on datagram transport")
                return
            self._pending_size -= len(data) + _HEADER
        if self._writing_paused:
            self._maybe_resume()
        if self._closing and not self._lost and not self._sender.active and not self._pending:
            self._drained()

    # ---- closing ---------------------------------------------------------------------------

    def close(self) -> None:
        """Send what is queued, then close; `connection_lost(None)` follows."""
        if self._closing:
            return
        self._closing = True
        self._engine.cancel(self._receiver)
        if not self._sender.active and not self._pending:
            self._drained()

    def _drained(self) -> None:
        """Nothing is left to send: tell the protocol that it is over."""
        self._lost = 1
        self._loop.schedule(self._connection_lost, (None,), self._context)

    def _force_close(self, exc: BaseException | None) -> None:
        if self._lost:
            return
        self._pending.clear()
        self._pending_size = 0
        self._closing = True
        self._lost = 1
        self._engine.cancel(self._receiver)
        self._engine.cancel(self._sender)
        self._loop.schedule(self._connection_lost, (exc,), self._context)

    def _connection_lost(self, exc: BaseException | None) -> None:
        """Tell the protocol, then close; runs in the transport's context."""
        try:
            self._protocol.connection_lost(exc)
        finally:
            self._engine.forget(self._fd)
            self._sock.close()
            self._sock = self._receiver.sock = self._sender.sock = None
            # Each refers to us: without them we go when the last reference does.
            self._receiver = self._sender = None  # type: ignore[assignment]
            self._protocol = self._datagram_received = None

    def _report(self, exc: BaseException, method: str) -> None:
        """A protocol raised: report it, and go on."""
        self._loop.call_exception_handler(
            {
                "message": f"Exception in callback protocol.{method}()",
                "exception": exc,
                "transport": self,
                "protocol": self._protocol,
            }
        )

    # ---- describing ------------------------------------------------------------------------

    def __repr__(self) -> str:
        info = [type(self).__name__]
        if self._sock is None:
            info.append("closed")
        elif self._closing:
            info.append("closing")
        info.append(f"fd={self._fd}")
        if self._sock is not None and not self._loop.is_closed():
            info.append("read=polling" if self._receiver.active else "read=idle")
            state = "polling" if self._sender.active else "idle"
            info.append(f"write=<{state}, bufsize={self.get_write_buffer_size()}>")
        return f"<{' '.join(info)}>"

    def __del__(self) -> None:
        if self._sock is not None:
            warnings.warn(
                f"unclosed transport {self!r}", ResourceWarning, stacklevel=1, source=self
            )
            self._sock.close()
