"""What an application holds when its connection is encrypted."""

from __future__ import annotations

import asyncio
import warnings
from asyncio import constants as asyncio_constants
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evenloop.transports.tls_records import TLSRecords

__all__ = ["TLSTransport"]

_STATES = ("closed", "handshake", "open", "flushing", "shutdown")


class SSLTransport(asyncio.Transport):
    """The class a TLSTransport says it is, for isinstance() and for those who read its name."""


class TLSTransport:
    """The transport an application sees when its connection is encrypted.

    It has every method of :class:`asyncio.Transport`. ``write_eof()`` raises
    ``NotImplementedError`` and ``can_write_eof()`` is False, as TLS on asyncio documents.
    """

    def __init__(self, protocol: TLSRecords) -> None:
        self._ssl_protocol = protocol
        self._closed = True  # nothing to warn about until there is a connection

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        # A compiled class cannot inherit asyncio.Transport, yet isinstance() has to hold.
        return SSLTransport

    @property
    def _start_tls_compatible(self) -> bool:
        return True

    @property
    def _sendfile_compatible(self) -> object:
        return asyncio_constants._SendfileMode.FALLBACK

    @property
    def _protocol_paused(self) -> bool:
        # The sendfile fallback asks this before it takes over the protocol's flow control.
        return self._ssl_protocol._app_writing_paused

    def __repr__(self) -> str:
        protocol = self._ssl_protocol
        state = ("closed", "handshake", "open", "flushing", "shutdown")[protocol._state]
        return f"<{type(self).__name__} {state} over={protocol._transport!r}>"

    def __del__(self) -> None:
        if not self._closed:
            self._closed = True
            warnings.warn(f"unclosed transport {self!r}", ResourceWarning, 1, self)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return 'sslcontext', 'ssl_object', 'peercert', 'cipher', 'compression', or whatever
        the lower transport knows under this name."""
        return self._ssl_protocol._get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Change the application's protocol; the next data goes to it."""
        self._ssl_protocol._set_app_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the application's protocol."""
        return self._ssl_protocol._app_protocol  # type: ignore[no-any-return]

    def is_closing(self) -> bool:
        """Return True once the connection is closing or closed, for whatever reason."""
        return self._closed or self._ssl_protocol._is_lower_closing()

    def close(self) -> None:
        """Send what was written, say goodbye (close_notify), and close.

        The peer has ``ssl_shutdown_timeout`` seconds to answer; then the connection is aborted.
        No more data is delivered, and ``connection_lost()`` comes at the end.
        """
        self._closed = True
        self._ssl_protocol._app_close()

    def abort(self) -> None:
        """Close at once, dropping what was not yet sent."""
        self._closed = True
        self._ssl_protocol._abort(None)

    def _force_close(self, exc: BaseException | None) -> None:
        """Close at once; `exc` is given to the application's connection_lost()."""
        self._closed = True
        self._ssl_protocol._abort(exc)

    def is_reading(self) -> bool:
        """Return True unless reading is paused or the transport is closing."""
        return not self._closed and not self._ssl_protocol._app_reading_paused

    def pause_reading(self) -> None:
        """Deliver no data until resume_reading()."""
        self._ssl_protocol._app_reading_paused = True

    def resume_reading(self) -> None:
        """Deliver data again, from the next turn of the loop on."""
        self._ssl_protocol._resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the limits, in bytes, that decide when the protocol's pause_writing() and
        resume_writing() are called. The default is 512 KiB and a quarter of it.

        Raises ValueError unless ``high >= low >= 0``.
        """
        self._ssl_protocol._set_write_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the (low, high) limits in bytes."""
        return (self._ssl_protocol._write_low, self._ssl_protocol._write_high)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait here; the lower transport may hold more."""
        return self._ssl_protocol._write_size()

    def set_read_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set how many undelivered bytes (while reading is paused) pause the lower transport,
        and at how few it resumes. The default is 256 KiB and a quarter of it."""
        self._ssl_protocol._set_read_limits(high, low)

    def get_read_buffer_limits(self) -> tuple[int, int]:
        """Return the (low, high) limits in bytes."""
        return (self._ssl_protocol._read_low, self._ssl_protocol._read_high)

    def get_read_buffer_size(self) -> int:
        """Return how many received bytes wait to be decrypted."""
        return self._ssl_protocol._read_size()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send `data`, without blocking.

        Raises TypeError unless it is bytes, a bytearray or a memoryview.
        """
        if type(data) is not bytes:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"data: expecting a bytes-like instance, got {type(data).__name__}")
            if isinstance(data, memoryview) and (data.itemsize != 1 or not data.contiguous):
                data = data.tobytes()
        if data:
            self._ssl_protocol._app_write(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Write the pieces, as one TLS record where they are small."""
        data = b"".join(list_of_data)
        if data:
            self._ssl_protocol._app_write(data)

    def write_eof(self) -> None:
        """TLS here has no half-close: raises NotImplementedError."""
        raise NotImplementedError

    def can_write_eof(self) -> bool:
        """Return False."""
        return False

    def _test__append_write_backlog(self, data: bytes) -> None:
        # CPython's own tests fill the backlog this way.
        self._ssl_protocol._enqueue(data)
