"""Application data through TLS: decrypting, encrypting, and the flow control of both ways.

The rules this file keeps:

* Everything encrypted during one callback of the application leaves in one write of the lower
  transport. While the lower transport is paused, plain text waits here and is not encrypted:
  it is counted once, and memory stays bounded by the application's own flow control.
* Asking OpenSSL for bytes it does not have raises an exception that costs more than decrypting
  a small record, so nothing is asked when the incoming BIO is empty and the last record was
  taken whole.
* A piece of plain text that OpenSSL refused for now is offered again unchanged, as it demands.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

try:
    import ssl
except ImportError:  # pragma: no cover - a Python built without OpenSSL
    ssl = None  # type: ignore[assignment]

from evenloop.streams import adopt

if TYPE_CHECKING:
    from ssl import SSLContext

    from evenloop.transports.feed import Feed

__all__ = ["AGAIN", "TLSRecords", "logger"]

_StreamProtocol = asyncio.StreamReaderProtocol

logger: logging.Logger = logging.getLogger("asyncio")

# States of the TLS layer.
UNWRAPPED = 0
HANDSHAKE = 1
WRAPPED = 2
FLUSHING = 3
SHUTDOWN = 4

# What the application has been told so far.
APP_NEW = 0
APP_CONNECTED = 1
APP_EOF = 2
APP_LOST = 3

# What a look for records found.
MORE = 0  # there may be others
NOTHING = 1  # none is left, or only the beginning of one
END = 2  # the peer's close_notify

RECORD_SIZE = 16 * 1024  # the most plain text that one TLS record carries
# Plain text encrypted between two writes of the lower transport. It is copied half a dozen times
# on its way, which a processor's cache is to hold.
WRITE_SLICE = 128 * 1024
DELIVERY_SIZE = 128 * 1024  # decrypted records are joined up to about this size
WARN_AFTER_LOST_WRITES = 5

AGAIN: tuple[type[BaseException], ...] = ()
if ssl is not None:
    # With memory BIOs all three say "not now": feed the BIO and ask again.
    AGAIN = (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLSyscallError)


def _limits(high: int | None, low: int | None, default: int) -> tuple[int, int]:
    """Fill in flow control limits the way asyncio does."""
    if high is None:
        high = default if low is None else 4 * low
    if low is None:
        low = high // 4
    if not high >= low >= 0:
        raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
    return high, low


class TLSRecords:
    """The moving of application data; TLSProtocol adds the states around it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        app_protocol: asyncio.BaseProtocol,
        sslcontext: SSLContext,
        server_side: bool,
        server_hostname: str | None,
    ) -> None:
        self._loop = loop
        self._transport: Any = None  # the lower transport
        self._lower_write: Any = None
        self._state = UNWRAPPED
        self._app_state = APP_NEW
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._feed: Any = self._incoming.write
        self._take: Any = self._outgoing.read
        self._sslobj: Any = sslcontext.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_side,
            server_hostname=None if server_side or not server_hostname else server_hostname,
        )
        self._decrypt: Any = None
        self._encrypt: Any = None
        self._undelivered: Any = None
        # What ssl_object knows joins when the handshake is done.
        self._extra: dict[str, Any] = {"sslcontext": sslcontext}

        self._eof = False  # the lower transport has reached its end
        self._app_closed = False  # the application wants no more data
        self._partial = False  # OpenSSL may hold the beginning of a record
        self._corked = False  # inside a callback: what is encrypted leaves at its end
        self._corked_bytes = 0
        self._app_reading_paused = False
        self._lower_reading_paused = False
        self._app_writing_paused = False
        self._lower_writing_paused = False
        self._backlog: deque[Any] = deque()  # plain text that could not be encrypted yet
        self._backlog_bytes = 0
        self._backlog_done = 0  # how much of its first piece is encrypted
        self._lost_writes = 0
        self._write_high, self._write_low = _limits(None, None, 512 * 1024)
        self._read_high, self._read_low = _limits(None, None, 256 * 1024)

        self._app_transport: Any = None
        self._app_protocol: Any = None
        self._app_buffered = False
        self._app_feed: Feed | None = None
        self._set_app_protocol(app_protocol)

    # What TLSProtocol adds.

    def _fatal_error(self, exc: BaseException, message: str) -> None:
        raise NotImplementedError

    def _abort(self, exc: BaseException | None) -> None:
        raise NotImplementedError

    def _app_close(self) -> None:
        raise NotImplementedError

    def _peer_closed(self) -> None:
        raise NotImplementedError

    def _do_shutdown(self) -> None:
        raise NotImplementedError

    # What TLSTransport asks for.

    def _set_app_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._app_protocol = protocol
        # As a plain transport does: into asyncio's own reader without a call of Python's.
        self._app_feed = adopt(protocol) if type(protocol) is _StreamProtocol else None
        self._app_buffered = hasattr(protocol, "get_buffer") and isinstance(
            protocol, asyncio.BufferedProtocol
        )

    def _get_extra_info(self, name: str, default: Any) -> Any:
        if name in self._extra:
            return self._extra[name]
        if self._transport is not None:
            return self._transport.get_extra_info(name, default)
        return default

    def _is_lower_closing(self) -> bool:
        return self._transport is not None and bool(self._transport.is_closing())

    def _use_sslobj(self) -> None:
        """The handshake is done: choose the shortest way into OpenSSL."""
        sslobj = self._sslobj
        # SSLObject.read() and write() only pass the call on: go to what they call, unless a
        # context made an object of another kind.
        if type(sslobj) is ssl.SSLObject:
            sslobj = getattr(sslobj, "_sslobj", sslobj)
        self._decrypt = sslobj.read
        self._encrypt = sslobj.write
        self._undelivered = sslobj.pending

    # Reading.

    def _do_read(self) -> None:
        """Decrypt and deliver what has arrived, then send what that gave rise to."""
        found = MORE
        self._corked = True
        try:
            while (
                found == MORE
                and not self._app_reading_paused
                and (self._state == WRAPPED or (self._state == FLUSHING and not self._app_closed))
            ):
                found = self._read_into_buffer() if self._app_buffered else self._read_bytes()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, "Fatal error on SSL protocol")
            return
        finally:
            self._corked = False
        if found == END:
            self._peer_closed()
        elif self._state == WRAPPED:
            self._flush()
            self._control_reading()

    def _read_bytes(self) -> int:
        """Give a Protocol the records that have arrived, joined."""
        incoming = self._incoming
        decrypt = self._decrypt
        chunks: list[bytes] | None = None
        first: bytes | None = None
        found = MORE
        total = 0
        try:
            while True:
                # A record's plain text is shorter than the record, so asking for as much as
                # has arrived takes it whole without a larger allocation.
                want = incoming.pending
                if want > RECORD_SIZE or self._partial:
                    want = RECORD_SIZE
                elif want == 0:
                    want = self._undelivered()
                    if want == 0:
                        found = NOTHING
                        break
                chunk = decrypt(want)
                size = len(chunk)
                if size == 0:
                    found = END
                    break
                self._partial = False
                if first is None:
                    first = chunk
                elif chunks is None:
                    chunks = [first, chunk]
                else:
                    chunks.append(chunk)
                total += size
                if size < want and not incoming.pending:
                    found = NOTHING
                    break
                if total >= DELIVERY_SIZE:
                    break
        except AGAIN:
            self._partial = True
            found = NOTHING
        except ssl.SSLZeroReturnError:
            found = END
        if chunks is not None:
            first = b"".join(chunks)
        if first is not None:
            if self._app_feed is not None:
                self._app_feed.put(first)
            else:
                self._app_protocol.data_received(first)
        return found

    def _read_into_buffer(self) -> int:
        """Decrypt straight into a BufferedProtocol's buffer."""
        incoming = self._incoming
        decrypt = self._decrypt
        if not incoming.pending and not self._undelivered():
            return NOTHING
        buffer = self._app_protocol.get_buffer(incoming.pending)
        room = len(buffer)
        if room == 0:
            raise RuntimeError("get_buffer() returned an empty buffer")
        found = MORE
        filled = 0
        view: memoryview | None = None
        try:
            while filled < room:
                if filled == 0:
                    size = decrypt(room, buffer)
                else:
                    if view is None:
                        view = memoryview(buffer)
                    size = decrypt(room - filled, view[filled:])
                if size == 0:
                    found = END
                    break
                filled += size
                self._partial = False
                if not incoming.pending and not self._undelivered():
                    found = NOTHING
                    break
        except AGAIN:
            self._partial = True
            found = NOTHING
        except ssl.SSLZeroReturnError:
            found = END
        if filled:
            self._app_protocol.buffer_updated(filled)
        return found

    def _discard(self) -> None:
        """Take what still arrives after a close off OpenSSL's hands, until close_notify."""
        try:
            while self._decrypt(RECORD_SIZE):
                pass
        except AGAIN:
            pass
        except ssl.SSLZeroReturnError:
            pass

    def _resume_reading(self) -> None:
        if self._app_reading_paused:
            self._app_reading_paused = False
            self._loop.call_soon(self._read_again)

    def _read_again(self) -> None:
        """After a pause: deliver what waited, then finish a close that waited too."""
        if self._app_reading_paused:
            return
        if self._state == WRAPPED:
            self._do_read()
        elif self._state == FLUSHING or self._state == SHUTDOWN:
            self._do_shutdown()

    def _control_reading(self) -> None:
        """Pause the lower transport while more waits than the application wants."""
        if self._app_reading_paused:
            if not self._lower_reading_paused and self._incoming.pending >= self._read_high:
                self._lower_reading_paused = True
                self._transport.pause_reading()
        elif self._lower_reading_paused and self._incoming.pending <= self._read_low:
            self._lower_reading_paused = False
            self._transport.resume_reading()

    def _set_read_limits(self, high: int | None, low: int | None) -> None:
        self._read_high, self._read_low = _limits(high, low, 256 * 1024)
        if self._transport is not None and self._state == WRAPPED:
            self._control_reading()

    def _read_size(self) -> int:
        return self._incoming.pending

    # Writing.

    def _app_write(self, data: Any) -> None:
        """Encrypt and send, or keep for later what cannot be sent now."""
        if self._state == WRAPPED and not self._backlog_bytes and not self._lower_writing_paused:
            size = len(data)
            if size <= WRITE_SLICE:
                try:
                    done = self._encrypt(data)
                    if done < size:
                        self._enqueue(data[done:])
                except AGAIN:
                    self._enqueue(data)
                except Exception as exc:
                    self._fatal_error(exc, "Fatal error on SSL protocol")
                    return
                self._corked_bytes += size
                if not self._corked or self._corked_bytes >= WRITE_SLICE:
                    self._send()
                if self._backlog_bytes:
                    self._control_writing()
                return
        elif self._state != WRAPPED and self._state != HANDSHAKE:
            if self._lost_writes >= WARN_AFTER_LOST_WRITES:
                logger.warning("SSL connection is closed")
            self._lost_writes += 1
            return
        self._enqueue(data)
        if self._state == WRAPPED:
            self._flush()
        self._control_writing()

    def _enqueue(self, data: Any) -> None:
        """Keep plain text; what the caller could change later is copied."""
        self._backlog.append(data if type(data) is bytes else bytes(data))
        self._backlog_bytes += len(data)

    def _flush(self) -> None:
        """Encrypt the backlog while the lower transport takes it, and send what is encrypted."""
        if self._backlog_bytes and (self._state == WRAPPED or self._state == FLUSHING):
            try:
                self._encrypt_backlog()
            except Exception as exc:
                self._fatal_error(exc, "Fatal error on SSL protocol")
                return
        if self._outgoing.pending:
            self._send()
        if self._app_writing_paused:
            self._control_writing()

    def _encrypt_backlog(self) -> None:
        backlog = self._backlog
        try:
            while self._backlog_bytes and not self._lower_writing_paused:
                piece = backlog[0]
                start = self._backlog_done
                left = len(piece) - start
                if left > WRITE_SLICE:
                    done = self._encrypt(memoryview(piece)[start : start + WRITE_SLICE])
                else:
                    done = self._encrypt(memoryview(piece)[start:] if start else piece)
                if done == left:
                    backlog.popleft()
                    self._backlog_done = 0
                else:
                    self._backlog_done = start + done
                self._backlog_bytes -= done
                self._corked_bytes += done
                if self._corked_bytes >= WRITE_SLICE:
                    self._send()
        except AGAIN:
            pass

    def _send(self) -> None:
        """Pass what is encrypted to the lower transport, in one write."""
        self._corked_bytes = 0
        data = self._take()
        if data and self._transport is not None:
            try:
                self._lower_write(data)
            except Exception as exc:
                self._fatal_error(exc, "Fatal error on SSL protocol")

    def _control_writing(self) -> None:
        """Pause or resume the application's writing."""
        size = self._write_size()
        if self._app_writing_paused:
            if size <= self._write_low:
                self._app_writing_paused = False
                self._call_flow_control("resume_writing")
        elif size > self._write_high:
            self._app_writing_paused = True
            self._call_flow_control("pause_writing")

    def _call_flow_control(self, name: str) -> None:
        if self._app_protocol is None:
            return
        try:
            getattr(self._app_protocol, name)()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._loop.call_exception_handler(
                {
                    "message": f"protocol.{name}() failed",
                    "exception": exc,
                    "transport": self._app_transport,
                    "protocol": self._app_protocol,
                }
            )

    def _set_write_limits(self, high: int | None, low: int | None) -> None:
        self._write_high, self._write_low = _limits(high, low, 512 * 1024)
        self._control_writing()

    def _write_size(self) -> int:
        return self._outgoing.pending + self._backlog_bytes
