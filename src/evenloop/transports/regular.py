"""Transports over regular files, where the system has threads or an engine read and write them.

To a protocol a file is a pipe: data comes until the end of file, which is the end of the
transport; what is written leaves in order. A file that grows is followed with `add_reader()`,
not with a transport. Reading and writing begin at the descriptor's position and move it.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

from evenloop.files.transfer import Transfer
from evenloop.scheduler import logger
from evenloop.transports.base import LOG_THRESHOLD_FOR_CONNLOST_WRITES

if TYPE_CHECKING:
    from evenloop.scheduler import Scheduler

__all__ = ["ReadFileTransport", "WriteFileTransport"]

# So much is read at a time, in bytes.
_PIECE = 256 * 1024
_HIGH_WATER = 64 * 1024


class _FileTransport(asyncio.BaseTransport):
    """What both directions share: a file, its protocol, and a task that moves the data."""

    def __init__(
        self,
        loop: Scheduler,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        *,
        waiter: asyncio.Future[Any] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """Take ownership of `pipe`, an open regular file."""
        super().__init__({**(extra or {}), "pipe": pipe})
        self._loop = loop
        self._file: Any = pipe
        self._fd: int = pipe.fileno()
        self._transfer = Transfer(pipe, appending="a" in str(getattr(pipe, "mode", "")))
        self._protocol: Any = protocol
        self._closing = False
        self._error: BaseException | None = None
        # What the task waits for when there is nothing to do.
        self._wanted = asyncio.Event()
        self._context = contextvars.copy_context()
        loop.engine.adopt(self._fd, self)
        self._task: asyncio.Task[None] = asyncio.Task(
            self._run(waiter),
            loop=loop,  # type: ignore[arg-type]
            context=self._context,
        )

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol that is bound to this transport."""
        return self._protocol  # type: ignore[no-any-return]

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand what happens from now on to another protocol."""
        self._protocol = protocol

    def is_closing(self) -> bool:
        """Return True if the transport is closing or closed."""
        return self._closing

    def close(self) -> None:
        """Close it; `connection_lost(None)` follows."""
        self._closing = True
        self._wanted.set()

    def _force_close(self, error: BaseException | None) -> None:
        self._closing = True
        self._error = self._error or error
        self._wanted.set()

    async def _run(self, waiter: asyncio.Future[Any] | None) -> None:
        try:
            try:
                self._protocol.connection_made(self)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                self._report("Exception in callback protocol.connection_made()", error)
            finally:
                if waiter is not None and not waiter.done():
                    waiter.set_result(None)
            await self._move()
        except OSError as error:
            # As on a pipe: everyday, and the protocol's to hear.
            if self._loop.get_debug():
                logger.debug("%r: Fatal error on file transport", self, exc_info=True)
            self._error = error
        except Exception as error:
            self._report("Fatal error on file transport", error)
            self._error = error
        finally:
            self._closing = True
            await self._end()

    async def _move(self) -> None:
        raise NotImplementedError

    async def _end(self) -> None:
        """Close the file, and tell the protocol."""
        protocol, file = self._protocol, self._file
        try:
            await self._transfer.idle()
            self._transfer.settle()
        finally:
            self._file = None
            self._loop.engine.forget(self._fd)
            file.close()
            try:
                protocol.connection_lost(self._error)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                self._report("Exception in callback protocol.connection_lost()", error)

    def _report(self, message: str, error: BaseException) -> None:
        self._loop.call_exception_handler(
            {
                "message": message,
                "exception": error,
                "transport": self,
                "protocol": self._protocol,
            }
        )

    def __repr__(self) -> str:
        state = "closed" if self._file is None else "closing" if self._closing else "open"
        return f"<{type(self).__name__} {state} fd={self._fd}>"


class ReadFileTransport(_FileTransport, asyncio.ReadTransport):
    """An `asyncio.ReadTransport` over a regular file."""

    _paused = False

    def is_reading(self) -> bool:
        """Return True if the transport hands on what it reads."""
        return not self._closing and not self._paused

    def pause_reading(self) -> None:
        """Stop calling `data_received()`; without effect if it is paused or closing."""
        if not self._closing:
            self._paused = True

    def resume_reading(self) -> None:
        """Call `data_received()` again; without effect unless it is paused."""
        self._paused = False
        self._wanted.set()

    async def _move(self) -> None:
        transfer = self._transfer
        where = transfer.tell()
        while True:
            while self._paused and not self._closing:
                self._wanted.clear()
                await self._wanted.wait()
            if self._closing:
                return
            data = await transfer.read_at(_PIECE, where)
            while self._paused and not self._closing:
                self._wanted.clear()
                await self._wanted.wait()
            if self._closing:
                return
            if not data:
                self._protocol.eof_received()
                return
            where += len(data)
            transfer.move_to(where)
            self._deliver(data)

    def _deliver(self, data: bytes) -> None:
        if not isinstance(self._protocol, asyncio.BufferedProtocol):
            self._protocol.data_received(data)
            return
        while data and not self._closing:
            buffer: Any = self._protocol.get_buffer(len(data))
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            data = data[count:]
            self._protocol.buffer_updated(count)


class WriteFileTransport(_FileTransport, asyncio.WriteTransport):
    """An `asyncio.WriteTransport` over a regular file."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._pending: list[bytes] = []
        self._size = 0
        self._paused = False
        self._high = _HIGH_WATER
        self._low = _HIGH_WATER // 4
        self._late = 0
        super().__init__(*args, **options)

    def write(self, data: Any) -> None:
        """Write `data` in its turn."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"data argument must be a bytes-like object, not {type(data).__name__!r}"
            )
        if not data:
            return
        if self._closing:
            self._late += 1
            if self._late > LOG_THRESHOLD_FOR_CONNLOST_WRITES:
                logger.warning("pipe closed by peer or os.write(pipe, data) raised exception.")
            return
        piece = bytes(data)
        self._pending.append(piece)
        self._size += len(piece)
        self._wanted.set()
        self._pause()

    def writelines(self, list_of_data: Any) -> None:
        """Write several pieces."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """Return True."""
        return True

    def write_eof(self) -> None:
        """Close once everything is written."""
        self.close()

    def abort(self) -> None:
        """Close at once; what waits to be written is lost."""
        self._pending.clear()
        self._size = 0
        self._force_close(None)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be written."""
        return self._size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high water mark, in bytes."""
        return (self._low, self._high)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the water marks, in bytes; see `asyncio.WriteTransport`."""
        if high is None:
            high = _HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low
        self._pause()

    def _pause(self) -> None:
        if not self._paused and self._size > self._high:
            self._paused = True
            self._tell(self._protocol.pause_writing, "protocol.pause_writing() failed")

    def _resume(self) -> None:
        if self._paused and self._size <= self._low:
            self._paused = False
            self._tell(self._protocol.resume_writing, "protocol.resume_writing() failed")

    def _tell(self, method: Any, message: str) -> None:
        try:
            method()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._report(message, error)

    async def _move(self) -> None:
        transfer = self._transfer
        while self._pending or not self._closing:
            if not self._pending:
                self._wanted.clear()
                await self._wanted.wait()
                continue
            pieces, self._pending = self._pending, []
            while pieces:
                where = -1 if transfer.appending else transfer.tell()
                count = await transfer.write_at(pieces, where)
                if where >= 0:
                    transfer.move_to(where + count)
                if not self._size:
                    return  # aborted meanwhile
                self._size -= count
                while pieces and count >= len(pieces[0]):
                    count -= len(pieces.pop(0))
                if count:
                    pieces[0] = pieces[0][count:]
                self._resume()
