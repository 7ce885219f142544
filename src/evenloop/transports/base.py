"""What every transport is: a protocol bound to a loop, and flow control, once for all.

To `isinstance` a transport is the class of asyncio's that its kind has. Inheriting is not
possible (asyncio's have slots, which a compiled layout cannot be joined to), so `__class__`
says it.

Documented at https://docs.python.org/3/library/asyncio-protocol.html#transports
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.trsock import TransportSocket
from typing import TYPE_CHECKING, Any

try:
    import cython
except ImportError:
    from evenloop import _cython as cython

from evenloop.scheduler import logger

if not cython.compiled:
    from evenloop._calls import call_none, copy_context, drop_dict
    from evenloop.scheduler import Flushable, Scheduler

if TYPE_CHECKING:
    import socket
    from contextvars import Context

__all__ = ["BaseTransport", "FlowControl", "describe_socket"]

# Writes to a dead transport that are passed over before each one is logged, as asyncio does.
LOG_THRESHOLD_FOR_CONNLOST_WRITES = 5

HIGH_WATER = 64 * 1024


def describe_socket(sock: socket.socket, extra: dict[str, Any]) -> None:
    """Note what `get_extra_info()` tells of a socket; a peer's name that is known is kept."""
    extra["socket"] = TransportSocket(sock)
    try:
        extra["sockname"] = sock.getsockname()
    except OSError:
        extra["sockname"] = None
    if "peername" not in extra:
        try:
            extra["peername"] = sock.getpeername()
        except OSError:
            extra["peername"] = None


class BaseTransport(Flushable):
    """A protocol bound to a loop; calls the protocol in the context it was made in."""

    def __init__(self, loop: Scheduler, extra: dict[str, Any] | None = None) -> None:
        self._set_up(loop, extra, copy_context())

    def _set_up(self, loop: Scheduler, extra: dict[str, Any] | None, context: Context) -> None:
        """What `__init__()` does, without the price of a call of Python's."""
        drop_dict(self)
        self._loop = loop
        self._extra: Any = extra
        # A socket whose facts are still to be told, and those that could be gone by then.
        self._untold: Any = None
        self._name: Any = None
        self._peer: Any = None
        self._context = context
        self._protocol: Any = None
        self._closing = False
        # Not zero once the connection is gone: how many writes came too late.
        self._lost = 0

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return asyncio.BaseTransport

    def __reduce__(self) -> Any:
        raise TypeError(f"{self!r} cannot be copied or pickled")

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known under `name`, or `default`.

        https://docs.python.org/3/library/asyncio-protocol.html#asyncio.BaseTransport.get_extra_info
        """
        if self._extra is None:
            if name not in ("socket", "sockname", "peername") or self._untold is None:
                return default
            self._tell()
        return self._extra.get(name, default)

    def _describe_later(self, sock: socket.socket, peer: Any) -> None:
        """Note of a socket what cannot be asked later; the rest waits until it is wanted."""
        if peer is None:
            try:
                peer = sock.getpeername()
            except OSError:
                # Not connected to anyone, or not any more.
                peer = None
        self._peer = peer
        self._untold = sock

    def _note_name(self) -> None:
        """Note a socket's own name, which can be asked for while it is open."""
        if self._untold is not None and self._name is None:
            self._name = self._loop.engine.name_of(self._untold)

    def _tell(self) -> None:
        """Make of the notes on a socket what `get_extra_info()` tells."""
        self._note_name()
        self._extra = {
            "socket": TransportSocket(self._untold),
            "sockname": self._name,
            "peername": self._peer,
        }
        self._untold = self._name = self._peer = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand what arrives from now on to another protocol."""
        self._bind(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol that is bound to this transport."""
        return self._protocol  # type: ignore[no-any-return]

    def is_closing(self) -> bool:
        """Return True if the transport is closing or closed."""
        return self._closing

    def abort(self) -> None:
        """Close at once; what waits to be sent is lost."""
        self._force_close(None)

    def _bind(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def _force_close(self, exc: BaseException | None) -> None:
        """Close at once and tell the protocol why."""
        raise NotImplementedError

    def _fatal_error(self, exc: BaseException, message: str = "Fatal error on transport") -> None:
        """Close after an error; one of the operating system's is everyday and not reported."""
        if isinstance(exc, OSError):
            if self._loop.get_debug():
                logger.debug("%r: %s", self, message, exc_info=True)
        else:
            self._loop.call_exception_handler(
                {
                    "message": message,
                    "exception": exc,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )
        self._force_close(exc)

    def _count_lost_write(self) -> None:
        if self._lost >= LOG_THRESHOLD_FOR_CONNLOST_WRITES:
            logger.warning("socket.send() raised exception.")
        self._lost += 1


class FlowControl(BaseTransport):
    """A transport that is written to: the water marks, and what waits below them."""

    def _set_up(self, loop: Scheduler, extra: dict[str, Any] | None, context: Context) -> None:
        """As that of every transport; and nothing waits."""
        BaseTransport._set_up(self, loop, extra, context)
        self._writing_paused = False
        self._high = HIGH_WATER
        self._low = HIGH_WATER // 4
        # Bytes that were written and are not with the operating system yet.
        self._pending_size = 0

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be sent."""
        return self._pending_size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high water mark, in bytes."""
        return (self._low, self._high)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the water marks, in bytes.

        `pause_writing()` is called above `high`, `resume_writing()` at `low` or below. By
        default `high` is 64 KiB, or four times `low`, and `low` a quarter of `high`. Raises
        ValueError unless `high >= low >= 0`.

        https://docs.python.org/3/library/asyncio-protocol.html#asyncio.WriteTransport.set_write_buffer_limits
        """
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high = min(int(high), sys.maxsize)
        self._low = min(int(low), sys.maxsize)
        self._maybe_pause()

    def _maybe_pause(self) -> None:
        """Ask the protocol to stop writing when too much waits."""
        if self._writing_paused or self._pending_size <= self._high:
            return
        self._writing_paused = True
        try:
            self._protocol.pause_writing()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._flow_failed(exc, "protocol.pause_writing() failed")

    def _maybe_resume(self, inside: bool = False) -> None:
        """Let the protocol write again when little enough waits.

        `inside` tells that a call of the application's led here: its context stays.
        """
        if not self._writing_paused or self._pending_size > self._low:
            return
        self._writing_paused = False
        try:
            if inside:
                self._protocol.resume_writing()
            else:
                call_none(self._context, self._protocol.resume_writing)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._flow_failed(exc, "protocol.resume_writing() failed")

    def _flow_failed(self, exc: BaseException, message: str) -> None:
        self._loop.call_exception_handler(
            {
                "message": message,
                "exception": exc,
                "transport": self,
                "protocol": self._protocol,
            }
        )
