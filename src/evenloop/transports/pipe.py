"""Pipe transports: a stream of one direction, over a pipe, a socket or a terminal.

How pipes behave, and what follows:

- Their end is the end of the transport: there is no other half to keep open. `eof_received()`
  is called, whatever it returns, and `connection_lost(None)`.
- A write end is told of the reader's going (`POLLERR`, which engines report as readable), so it
  is watched for that. A terminal is not, nor a named pipe that is open both ways: such a one
  is readable when there is something to read, and never loses its reader.
- A terminal whose other side is gone fails with EIO, which is everyday and not reported.
- Regular files are always ready and yet block. They are read and written elsewhere (`regular`);
  on Windows a thread reads from whatever is not overlapped, and they are as good as pipes.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from evenloop.engines import engine as _engine
from evenloop.engines.descriptors import prepare_pipe, reader_is_gone, tells_of_hangup
from evenloop.engines.engine import POLL_READ
from evenloop.scheduler import logger
from evenloop.transports.base import LOG_THRESHOLD_FOR_CONNLOST_WRITES
from evenloop.transports.stream import StreamTransport

if TYPE_CHECKING:
    from evenloop.scheduler import Scheduler

__all__ = ["ReadPipeTransport", "WritePipeTransport"]

_T = TypeVar("_T", bound=type)


class _Absent:
    """A method of streams that a pipe of one direction does not have."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type) -> Any:
        raise AttributeError(f"{owner.__name__!r} object has no attribute {self.name!r}")


def _without(*names: str) -> Callable[[_T], _T]:
    def remove(owner: _T) -> _T:
        for name in names:
            setattr(owner, name, _Absent(name))
        return owner

    return remove


@_without(
    "write",
    "writelines",
    "write_eof",
    "can_write_eof",
    "get_write_buffer_size",
    "get_write_buffer_limits",
    "set_write_buffer_limits",
)
class ReadPipeTransport(StreamTransport):
    """An `asyncio.ReadTransport` over a pipe, socket or terminal."""

    __slots__ = ()

    _start_tls_compatible = False
    _sendfile_compatible = asyncio.constants._SendfileMode.UNSUPPORTED

    def __init__(
        self,
        loop: Scheduler,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        *,
        waiter: asyncio.Future[Any] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """Take ownership of `pipe`; ValueError if it is neither pipe, socket nor terminal."""
        self._file = None
        file, _ = prepare_pipe(pipe)
        super().__init__(loop, file, protocol, waiter=waiter, extra={**(extra or {}), "pipe": pipe})

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return asyncio.ReadTransport

    def _ended(self) -> None:
        super()._ended()
        self.close()

    def _fatal_error(
        self, exc: BaseException, message: str = "Fatal error on pipe transport"
    ) -> None:
        message = message.replace("socket", "pipe")
        if isinstance(exc, OSError) and exc.errno != errno.EIO:
            # As asyncio: to read from a pipe or terminal does not fail in everyday life.
            self._loop.call_exception_handler(
                {
                    "message": message,
                    "exception": exc,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )
            self._force_close(exc)
        else:
            super()._fatal_error(exc, message)

    def __repr__(self) -> str:
        info = _describe(self)
        if self._file is not None and not self._closing:
            info.append("paused" if self._paused else "reading")
        return f"<{' '.join(info)}>"


class _Hangup(_engine.Op):
    """The request to tell when the reader of a pipe goes away."""

    def __init__(self, transport: WritePipeTransport, fd: int, sock: Any) -> None:
        _engine.Op.__init__(self, POLL_READ, fd, sock)
        self.transport = transport

    def complete(self) -> None:
        """Have a look."""
        self.transport._reader_went()


@_without("pause_reading", "resume_reading", "is_reading")
class WritePipeTransport(StreamTransport):
    """An `asyncio.WriteTransport` over a pipe, socket or terminal."""

    __slots__ = ("_hangup", "_kind", "_late")

    _start_tls_compatible = False
    _sendfile_compatible = asyncio.constants._SendfileMode.UNSUPPORTED

    def __init__(
        self,
        loop: Scheduler,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        *,
        waiter: asyncio.Future[Any] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """Take ownership of `pipe`; ValueError if it is neither pipe, socket nor terminal."""
        self._file = None
        file, kind = prepare_pipe(pipe)
        super().__init__(loop, file, protocol, waiter=waiter, extra={**(extra or {}), "pipe": pipe})
        # Never to be read from.
        self._paused = True
        self._late = 0
        self._kind = kind
        self._hangup: _Hangup | None = None
        if tells_of_hangup(self._fd, kind):
            self._hangup = _Hangup(self, self._fd, self._sock)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return asyncio.WriteTransport

    def _begin(self, waiter: asyncio.Future[Any] | None) -> None:
        super()._begin(waiter)
        if self._hangup is not None and not self._lost:
            self._loop.engine.start(self._hangup)

    def _reader_went(self) -> None:
        """Close, unless it is only that somebody sends us something through a socket."""
        if self._lost or not reader_is_gone(self._fd, self._kind):
            return
        if self._loop.get_debug():
            logger.info("%r was closed by peer", self)
        self._force_close(BrokenPipeError() if self.get_write_buffer_size() else None)

    def write_eof(self) -> None:
        """Close once everything is written: a pipe has no other half."""
        self.close()

    def close(self) -> None:
        """Write what is pending, then close; `connection_lost(None)` follows."""
        if not self._closing:
            # Unlike a socket, a closing pipe takes no more; and write() has no time to look.
            me: Any = self
            me.write = me.writelines = self._too_late
            super().close()

    def _too_late(self, data: Any) -> None:
        if data:
            self._count_lost_write()

    def _count_lost_write(self) -> None:
        # Not in `_lost`: the pipe may still be about to deliver what came in time.
        self._late += 1
        if self._late > LOG_THRESHOLD_FOR_CONNLOST_WRITES:
            logger.warning("pipe closed by peer or os.write(pipe, data) raised exception.")

    def _release(self) -> None:
        super()._release()
        self._hangup = None
        # Stands in no reference cycle any more: a closed pipe is freed without the collector.
        self.__dict__.pop("write", None)
        self.__dict__.pop("writelines", None)

    def _fatal_error(
        self, exc: BaseException, message: str = "Fatal error on pipe transport"
    ) -> None:
        super()._fatal_error(exc, message.replace("socket", "pipe"))

    def __repr__(self) -> str:
        info = _describe(self)
        if self._file is not None:
            info.append(f"bufsize={self.get_write_buffer_size()}")
        return f"<{' '.join(info)}>"


def _describe(transport: ReadPipeTransport | WritePipeTransport) -> list[str]:
    info = [type(transport).__name__]
    if transport._file is None:
        info.append("closed")
    else:
        info.append("closing" if transport._closing else "open")
    info.append(f"fd={transport._fd}")
    return info
