"""TLS over any asyncio transport, with the user's own ``ssl.SSLContext``.

Three objects stand between the application and the wire::

    application  <->  TLSTransport  <->  TLSProtocol  <->  lower transport

``TLSProtocol`` is the lower transport's protocol: bytes from the wire go into one ``MemoryBIO``,
an ``SSLObject`` decrypts them, and what it encrypts is taken from a second ``MemoryBIO`` and
written to the lower transport. ``TLSTransport`` is what the application holds. Application data
moves in ``tls_records``; this file has the states around it.

The rules this file keeps:

* The states are UNWRAPPED -> HANDSHAKE -> WRAPPED -> FLUSHING -> SHUTDOWN -> UNWRAPPED. FLUSHING
  sends what was written before the close; SHUTDOWN exchanges close_notify. Losing, aborting or
  finishing the connection leads back to UNWRAPPED from anywhere.
* After the application's close() nothing more is delivered to it: what still arrives is
  decrypted and dropped, so that the peer's close_notify behind it is found.
* No close waits forever: ``ssl_shutdown_timeout`` seconds without progress abort the connection.
* ``connection_lost`` reaches the application exactly once, if it was ever told of a connection.
* The buffer that the wire is read into is held only between ``get_buffer`` and
  ``buffer_updated``: an idle connection owns none.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

try:
    import ssl
except ImportError:  # pragma: no cover - a Python built without OpenSSL
    ssl = None  # type: ignore[assignment]

from evenloop.transports.tls_records import AGAIN, TLSRecords, logger
from evenloop.transports.tls_transport import TLSTransport

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = ["TLSProtocol", "TLSTransport", "default_context", "start_tls", "wrap"]

HANDSHAKE_TIMEOUT = 60.0  # seconds, as asyncio
SHUTDOWN_TIMEOUT = 30.0  # seconds, as asyncio

# The states, as tls_records has them (C constants when compiled, so each module has its own).
UNWRAPPED = 0
HANDSHAKE = 1
WRAPPED = 2
FLUSHING = 3
SHUTDOWN = 4
APP_NEW = 0
APP_CONNECTED = 1
APP_EOF = 2
APP_LOST = 3

# Bytes asked of the lower transport at once: what WRITE_SLICE becomes, and a little more.
READ_SIZE = 136 * 1024

# Read buffers nobody is reading into. With a readiness engine one serves every connection; a
# transport that keeps reads in flight takes one for each. A list's pop and append are atomic,
# so loops in several threads may share it.
SPARE_BUFFERS = 4
_spare_buffers: list[memoryview] = []


def default_context(server_side: bool, server_hostname: str | None) -> SSLContext:
    """Return the context that stands for ``ssl=True``: the system's, with checks on.

    Raises ValueError on the server side, which needs a certificate of its own.
    """
    if server_side:
        raise ValueError("Server side SSL needs a valid SSLContext")
    sslcontext = ssl.create_default_context()
    if not server_hostname:
        sslcontext.check_hostname = False
    return sslcontext


def _timeout(name: str, value: float | None, default: float) -> float:
    """Check a timeout argument."""
    if value is None:
        return default
    if value <= 0:
        raise ValueError(f"{name} should be a positive number, got {value}")
    return value


class TLSProtocol(TLSRecords):
    """The lower transport's protocol (a BufferedProtocol): runs TLS between it and `transport`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        app_protocol: asyncio.BaseProtocol,
        sslcontext: SSLContext | bool | None,
        waiter: asyncio.Future[Any] | None,
        server_side: bool = False,
        server_hostname: str | None = None,
        call_connection_made: bool = True,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> None:
        if ssl is None:
            raise RuntimeError("Python ssl module is not available")
        self._handshake_timeout = _timeout(
            "ssl_handshake_timeout", ssl_handshake_timeout, HANDSHAKE_TIMEOUT
        )
        self._shutdown_timeout = _timeout(
            "ssl_shutdown_timeout", ssl_shutdown_timeout, SHUTDOWN_TIMEOUT
        )
        if not sslcontext or sslcontext is True:
            sslcontext = default_context(server_side, server_hostname)
        TLSRecords.__init__(self, loop, app_protocol, sslcontext, server_side, server_hostname)
        if not call_connection_made:
            self._app_state = APP_CONNECTED
        self._waiter = waiter
        self._timer: asyncio.TimerHandle | None = None  # of the handshake, then of the shutdown
        self._unsent = 0  # bytes left to send when the shutdown timer was last set
        self._started = 0.0
        self._error: BaseException | None = None  # why we aborted, for connection_lost()
        self._buffer: memoryview | None = None  # lent to the lower transport for one read
        self._app_transport = TLSTransport(self)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        # Transports ask isinstance(protocol, BufferedProtocol) to choose how they read.
        return asyncio.BufferedProtocol

    @property
    def transport(self) -> asyncio.Transport:
        """The application's transport (None when the connection is lost)."""
        return self._app_transport  # type: ignore[no-any-return]

    @property
    def app_protocol(self) -> asyncio.BaseProtocol:
        """The application's protocol (None when the connection is lost)."""
        return self._app_protocol  # type: ignore[no-any-return]

    def feed(self, data: bytes | bytearray) -> None:
        """Take bytes that another reader had already received, before connection_made()."""
        self._feed(data)

    def lower_was_paused(self) -> None:
        """The lower transport had paused the application's writing before it became ours."""
        self._lower_writing_paused = self._app_writing_paused = True

    # The lower transport's callbacks.

    def connection_made(self, transport: Any) -> None:
        """Begin the handshake."""
        self._transport = transport
        self._lower_write = transport.write
        if self._app_closed:
            # Closed before it was open, by a connect that was cancelled.
            transport.abort()
            return
        self._app_transport._closed = False
        self._state = HANDSHAKE
        if self._loop.get_debug():
            logger.debug("%r starts SSL handshake", self)
            self._started = self._loop.time()
        self._timer = self._loop.call_later(self._handshake_timeout, self._handshake_expired)
        self._do_handshake()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the application, once, and let go of everything."""
        if exc is None:
            exc = self._error
        app_protocol = self._app_protocol
        tell = self._app_state == APP_CONNECTED or self._app_state == APP_EOF
        self._app_state = APP_LOST
        self._state = UNWRAPPED
        self._cancel_timer()
        if self._app_transport is not None:
            self._app_transport._closed = True
        self._backlog.clear()
        self._backlog_bytes = self._backlog_done = 0
        self._take()
        self._transport = self._lower_write = None
        self._app_transport = self._app_protocol = self._app_feed = None
        self._buffer = None  # not spared: a read may still be in flight into it
        self._error = None
        if self._waiter is not None:
            self._wake_waiter(
                exc or ConnectionAbortedError("connection lost during the SSL handshake")
            )
        if tell:
            app_protocol.connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend a buffer for one read."""
        buffer = self._buffer
        if buffer is None:
            try:
                buffer = _spare_buffers.pop()
            except IndexError:
                buffer = memoryview(bytearray(READ_SIZE))
            self._buffer = buffer
        return buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read into the lent buffer, and go on from the state we are in."""
        buffer = self._buffer
        if buffer is None:
            return
        self._feed(buffer[:nbytes])
        self._buffer = None
        if len(_spare_buffers) < SPARE_BUFFERS:
            _spare_buffers.append(buffer)
        if self._state == WRAPPED:
            self._do_read()
        elif self._state == HANDSHAKE:
            self._do_handshake()
        elif self._state != UNWRAPPED:
            self._do_shutdown()

    def eof_received(self) -> bool:
        """End without close_notify: taken for the end of the data, as suppress_ragged_eofs.

        True keeps the lower transport open, while there is something to deliver or to send.
        """
        self._eof = True
        if self._loop.get_debug():
            logger.debug("%r received EOF", self)
        if self._state == HANDSHAKE:
            self._handshake_failed(
                ConnectionResetError("connection closed by the peer during the SSL handshake")
            )
        elif self._state != UNWRAPPED:
            if self._state == WRAPPED:
                self._state = FLUSHING
            self._do_shutdown()
        return self._state != UNWRAPPED

    def pause_writing(self) -> None:
        """The lower transport has enough: keep plain text here."""
        self._lower_writing_paused = True

    def resume_writing(self) -> None:
        """The lower transport has room again."""
        self._lower_writing_paused = False
        if self._state == FLUSHING or self._state == SHUTDOWN:
            self._do_shutdown()
        else:
            self._flush()

    # Handshake.

    def _do_handshake(self) -> None:
        try:
            self._sslobj.do_handshake()
        except AGAIN:
            self._flush()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._handshake_failed(exc)
        else:
            self._handshake_done()

    def _handshake_done(self) -> None:
        sslobj = self._sslobj
        try:
            self._extra.update(
                peercert=sslobj.getpeercert(),
                cipher=sslobj.cipher(),
                compression=sslobj.compression(),
                ssl_object=sslobj,
            )
        except Exception as exc:
            self._handshake_failed(exc)
            return
        self._cancel_timer()
        self._use_sslobj()
        self._state = WRAPPED
        if self._loop.get_debug():
            elapsed = (self._loop.time() - self._started) * 1e3
            logger.debug("%r: SSL handshake took %.1f ms", self, elapsed)
        if self._app_state == APP_NEW:
            self._app_state = APP_CONNECTED
            self._corked = True
            try:
                self._app_protocol.connection_made(self._app_transport)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self._fatal_error(exc, "Fatal error: protocol.connection_made() call failed.")
                self._wake_waiter(exc)
                return
            finally:
                self._corked = False
        self._wake_waiter(None)
        if self._state == WRAPPED:
            self._do_read()

    def _handshake_failed(self, exc: BaseException) -> None:
        self._flush()  # the alert that tells the peer why
        message = "SSL handshake failed"
        if isinstance(exc, ssl.CertificateError):
            message = "SSL handshake failed on verifying the certificate"
        self._fatal_error(exc, message)
        self._wake_waiter(exc)

    def _handshake_expired(self) -> None:
        self._timer = None
        if self._state == HANDSHAKE:
            self._fatal_error(
                ConnectionAbortedError(
                    f"SSL handshake is taking longer than {self._handshake_timeout} seconds: "
                    f"aborting the connection"
                ),
                "SSL handshake timed out",
            )

    def _wake_waiter(self, exc: BaseException | None) -> None:
        waiter = self._waiter
        self._waiter = None
        if waiter is None or waiter.done():
            return
        if exc is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(exc)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Closing.

    def _app_close(self) -> None:
        """The application's close(): deliver nothing more, send what is left, say goodbye."""
        self._app_closed = True
        if self._state == HANDSHAKE:
            self._abort(None)
        elif self._state == WRAPPED or self._state == FLUSHING:
            self._state = FLUSHING
            if self._lower_reading_paused:
                # The answer to our close_notify has to get through.
                self._lower_reading_paused = False
                self._transport.resume_reading()
            self._do_shutdown()

    def _peer_closed(self) -> None:
        """The peer's close_notify: no more data will come, and ours is to go out."""
        self._call_eof_received()
        if self._state == WRAPPED:
            self._state = FLUSHING
            self._do_shutdown()

    def _do_shutdown(self) -> None:
        """Take FLUSHING and SHUTDOWN as far as they go now."""
        if self._state == FLUSHING:
            if self._eof and not self._app_closed:
                if self._app_reading_paused:
                    return  # to be continued when it resumes
                self._do_read()
            self._app_transport_closed()
            self._flush()
            if self._state != FLUSHING:
                return
            if self._backlog_bytes:
                self._expect_progress()
                return
            self._state = SHUTDOWN
        if self._state == SHUTDOWN:
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        """Send close_notify and look for the peer's."""
        if not self._eof:
            try:
                if self._incoming.pending or self._undelivered():
                    self._discard()
                self._sslobj.unwrap()
            except AGAIN:
                self._flush()
                self._expect_progress()
                return
            except Exception as exc:
                self._fatal_error(exc, "Error during the SSL shutdown")
                return
        self._flush()
        self._call_eof_received()
        if self._state == SHUTDOWN:
            self._state = UNWRAPPED
            if self._unsent_bytes():
                self._expect_progress()
            # Not now: we may be inside the lower transport's own dealing with its buffer.
            self._loop.call_soon(self._transport.close)

    def _expect_progress(self) -> None:
        """See to it that a close does not wait for a peer that does nothing."""
        if self._timer is None:
            self._unsent = self._unsent_bytes()
            self._timer = self._loop.call_later(self._shutdown_timeout, self._shutdown_expired)

    def _shutdown_expired(self) -> None:
        self._timer = None
        if self._transport is None:
            return
        if self._unsent_bytes() < self._unsent:
            self._expect_progress()
        else:
            self._abort(TimeoutError("SSL shutdown timed out"))

    def _unsent_bytes(self) -> int:
        return self._write_size() + int(self._transport.get_write_buffer_size())

    def _app_transport_closed(self) -> None:
        if self._app_transport is not None:
            self._app_transport._closed = True

    def _call_eof_received(self) -> None:
        if self._app_state != APP_CONNECTED:
            return
        self._app_state = APP_EOF
        try:
            keep_open = self._app_protocol.eof_received()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Error calling eof_received()")
            return
        # Our own layer above this one asks for time to deliver, and does without it.
        if keep_open and type(self._app_protocol) is not TLSProtocol:
            logger.warning("returning true from eof_received() has no effect when using ssl")

    def _abort(self, exc: BaseException | None) -> None:
        self._state = UNWRAPPED
        self._app_closed = True
        self._error = exc
        self._cancel_timer()
        if self._transport is not None:
            self._transport.abort()

    def _fatal_error(self, exc: BaseException, message: str) -> None:
        """Abort and report: network and TLS errors in debug mode only, as asyncio does."""
        transport = self._transport
        self._app_transport_closed()
        self._abort(exc)
        if isinstance(exc, OSError):
            if self._loop.get_debug():
                logger.debug("%r: %s", self, message, exc_info=exc)
        elif not isinstance(exc, asyncio.CancelledError):
            self._loop.call_exception_handler(
                {
                    "message": message,
                    "exception": exc,
                    "transport": transport,
                    "protocol": self,
                }
            )


def wrap(
    loop: asyncio.AbstractEventLoop,
    protocol: asyncio.BaseProtocol,
    sslcontext: SSLContext | bool | None,
    waiter: asyncio.Future[Any] | None,
    *,
    server_side: bool,
    server_hostname: str | None,
    call_connection_made: bool = True,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> TLSProtocol:
    """Make the protocol to put on a lower transport, so that `protocol` speaks TLS.

    `waiter` gets its result when the handshake is done, or the exception that ended it. The
    application's transport is the result's ``transport``. True or None for `sslcontext` stand
    for ``default_context()``. Timeouts are in seconds.

    Raises ValueError for a timeout that is not positive, or a server without a context.
    """
    return TLSProtocol(
        loop,
        protocol,
        sslcontext,
        waiter,
        server_side,
        server_hostname,
        call_connection_made,
        ssl_handshake_timeout,
        ssl_shutdown_timeout,
    )


async def start_tls(
    loop: asyncio.AbstractEventLoop,
    transport: Any,
    protocol: asyncio.BaseProtocol,
    sslcontext: SSLContext,
    *,
    server_side: bool = False,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> asyncio.Transport:
    """Upgrade an open connection to TLS; return the transport to use from now on.

    `transport` is any asyncio transport that says ``_start_tls_compatible``, a TLS transport
    included. Raises TypeError for another transport or context, ValueError for a timeout that is
    not positive, ConnectionError when the connection ends or the handshake takes longer than
    `ssl_handshake_timeout` seconds, and ssl.SSLError when it fails.
    """
    if ssl is None:
        raise RuntimeError("Python ssl module is not available")
    if not isinstance(sslcontext, ssl.SSLContext):
        raise TypeError(
            f"sslcontext is expected to be an instance of ssl.SSLContext, got {sslcontext!r}"
        )
    if not getattr(transport, "_start_tls_compatible", False):
        raise TypeError(f"transport {transport!r} is not supported by start_tls()")
    if transport.is_closing():
        raise ConnectionResetError("start_tls(): the transport is closing")
    waiter = loop.create_future()
    tls = TLSProtocol(
        loop,
        protocol,
        sslcontext,
        waiter,
        server_side,
        server_hostname,
        False,
        ssl_handshake_timeout,
        ssl_shutdown_timeout,
    )
    if getattr(transport, "_protocol_paused", False):
        tls.lower_was_paused()
    if server_side and isinstance(protocol, asyncio.StreamReaderProtocol):
        # A client may send its hello right behind the last line in the clear (PROXY protocol);
        # what the reader has already taken belongs to the handshake.
        reader = getattr(protocol, "_stream_reader", None)
        if reader is not None and reader._buffer:
            tls.feed(bytes(reader._buffer))
            reader._buffer.clear()
    app_transport = tls.transport
    try:
        transport.set_protocol(tls)
        tls.connection_made(transport)
        transport.resume_reading()
        await waiter
    except BaseException:
        transport.close()
        raise
    return app_transport
