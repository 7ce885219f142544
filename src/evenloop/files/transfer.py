"""How the data of a file moves, decided in one place.

1. A read that the system can serve from memory is made at once, where it can be asked so
   (`engines.cached`): no thread, no wake-up, not even a pass through the loop.
2. Otherwise the request goes to the engine, if it carries out requests on files; but not what is
   large and would be copied on the loop's thread: cached data, and pieces that are to be joined.
3. Otherwise a thread of the loop's default executor carries it out.

All three give the same results and errors. Short counts are made up for, so that a read of a
regular file ends short at the end of file alone.

- Every request has memory of its own: what a cancelled one still writes to is nobody else's.
- A descriptor is closed only when no request is at it any more, cancelled ones included: its
  number could be another file's by then.
- A task that reads cached data never waits, so it gives the others their turn by itself after
  a while.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import os
import stat
import threading
from collections.abc import Callable
from typing import Any

from evenloop.engines import cached, descriptors
from evenloop.engines import engine as _engine
from evenloop.engines.engine import READ_FILE, SYNC_FILE, WRITE_FILE

__all__ = ["Transfer", "describe_way", "in_thread", "in_thread_or"]

# Windows lacks pread and pwrite.
_os: Any = importlib.import_module("os")
_POSITIONAL = hasattr(_os, "pread")
_VECTORED = hasattr(_os, "writev") and hasattr(_os, "pwritev")
# So many pieces are written in one call; more are small, and cheaper to join.
_PIECES = 64

# Larger ones are copied elsewhere than on the loop's thread, in bytes.
_AT_ONCE = 256 * 1024
# So much may be read at once, in calls and in bytes, before other tasks have their turn: about
# as long as a hundred callbacks take.
_CALLS = 64
_BYTES = 1024 * 1024
# What a file system answers that cannot tell whether a read would wait.
_NOT_OFFERED = frozenset(
    getattr(errno, name, -1) for name in ("EOPNOTSUPP", "ENOTSUP", "ENOSYS", "EINVAL", "EPERM")
)


async def in_thread(func: Callable[..., Any], *args: Any) -> Any:
    """Run `func(*args)` in a thread of the running loop's default executor."""
    return await asyncio.get_running_loop().run_in_executor(None, func, *args)


async def in_thread_or(drop: Callable[[Any], None], func: Callable[..., Any], *args: Any) -> Any:
    """Run `func(*args)` in a thread; hand the result to `drop` if nobody waits for it any more."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def done(work: asyncio.Future[Any]) -> None:
        error = None if work.cancelled() else work.exception()
        if future.done():
            if error is None and not work.cancelled():
                drop(work.result())
        elif error is not None:
            future.set_exception(error)
        elif work.cancelled():
            future.cancel()
        else:
            future.set_result(work.result())

    loop.run_in_executor(None, func, *args).add_done_callback(done)
    return await future


class _Request(_engine.Op):
    """A request to an engine, and the future of who waits for it."""

    def __init__(self, transfer: Transfer, kind: int, buffer: Any, offset: int) -> None:
        _engine.Op.__init__(self, kind, transfer.number, None)
        self.buffer = buffer
        self.offset = offset
        self.transfer = transfer
        self.future: asyncio.Future[Any] | None = None

    def complete(self) -> None:
        """Hand the outcome on."""
        self.transfer._ended()
        future = self.future
        if future is not None and not future.done():
            if self.error is not None:
                future.set_exception(self.error)
            else:
                future.set_result(self.result)


class _Job:
    """A request that a thread carries out; called in that thread."""

    __slots__ = ("args", "call", "future", "loop", "transfer")

    def __init__(
        self,
        transfer: Transfer,
        loop: asyncio.AbstractEventLoop,
        call: Callable[..., Any],
        args: tuple[Any, ...],
    ) -> None:
        self.transfer = transfer
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.call = call
        self.args = args

    def __call__(self) -> Any:
        if self.future.cancelled():
            # Taken back before a thread came to it.
            return None
        return self.call(*self.args)

    def done(self, work: asyncio.Future[Any]) -> None:
        """Hand the outcome on; on the loop's thread."""
        self.transfer._ended()
        if work.cancelled():
            self.future.cancel()
            return
        error = work.exception()
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(work.result())


class Transfer:
    """One descriptor, and its data's way."""

    def __init__(self, file: Any, appending: bool = False) -> None:
        """Take the descriptor of an open file, which stays its owner's."""
        fd: int = file.fileno()
        self.fd: int = fd
        #: What the engine calls it.
        self.number: int = descriptors.of_system(file, fd)
        try:
            where = os.lseek(fd, 0, os.SEEK_CUR)
            seekable = True
        except OSError:
            where = 0
            seekable = False
        self.seekable: bool = seekable
        kind = os.fstat(fd).st_mode
        #: Short reads mean the end of file.
        self.regular: bool = seekable and stat.S_ISREG(kind)
        self.appending = appending
        self._cached = cached.OFFERED and self.regular
        self._calls = _CALLS
        self._bytes = _BYTES
        #: Requests that are being carried out.
        self.in_flight: int = 0
        self._idle: asyncio.Future[None] | None = None
        # Where reads and writes cannot be told the position, it is kept here.
        self._position = where
        self._mutex = threading.Lock()

    # ---- the position ----------------------------------------------------------------------

    def tell(self) -> int:
        """Return the position; OSError (ESPIPE) if there is none."""
        if _POSITIONAL or not self.seekable:
            return os.lseek(self.fd, 0, os.SEEK_CUR)
        return self._position

    def move_to(self, position: int) -> None:
        """Set the position."""
        if _POSITIONAL:
            os.lseek(self.fd, position, os.SEEK_SET)
        else:
            self._position = position

    def seek(self, offset: int, whence: int) -> int:
        """Set the position as `os.lseek()` does, and return it."""
        if _POSITIONAL or not self.seekable:
            return os.lseek(self.fd, offset, whence)
        with self._mutex:
            os.lseek(self.fd, self._position, os.SEEK_SET)
            self._position = os.lseek(self.fd, offset, whence)
            return self._position

    def settle(self) -> None:
        """Have the descriptor itself stand at the position; in any thread."""
        if not _POSITIONAL and self.seekable:
            with self._mutex:
                os.lseek(self.fd, self._position, os.SEEK_SET)

    # ---- reading ---------------------------------------------------------------------------

    def read_now(self, size: int, offset: int) -> bytes | None:
        """Read what can be read without waiting, or None.

        `offset` -1 stands for the position, which moves. Whoever is about to call this awaits
        `turn()` first, when `exhausted()`: afterwards a cancellation would lose what was read.
        """
        if not self._cached or size > _AT_ONCE:
            return None
        self._calls -= 1
        self._bytes -= size
        try:
            return cached.read_cached(self.fd, size, offset)
        except OSError as error:
            if error.errno not in _NOT_OFFERED or offset < -1:
                raise
            self._cached = False
            return None

    def exhausted(self) -> bool:
        """Whether it is time to give other tasks their turn."""
        return self._calls <= 0 or self._bytes <= 0

    async def turn(self) -> None:
        """Give other tasks their turn."""
        self._calls = _CALLS
        self._bytes = _BYTES
        await asyncio.sleep(0)

    async def read_at(self, size: int, offset: int) -> bytes:
        """Read at most `size` bytes at `offset`, fewer of a regular file only at its end."""
        if self.exhausted():
            await self.turn()
        data = self.read_now(size, offset)
        if data is not None and (not data or len(data) == size):
            return data
        pieces = [data] if data else []
        missing = size - len(data or b"")
        # One request to whoever waits for the descriptor to be idle, from the first to the last.
        self.in_flight += 1
        try:
            while True:
                data = await self._read(missing, offset + size - missing)
                if not pieces and (len(data) == missing or not self.regular):
                    return data
                pieces.append(data)
                missing -= len(data)
                if not data or not missing:
                    return b"".join(pieces)
        finally:
            self._ended()

    async def read_on(self, size: int) -> bytes:
        """Read at most `size` bytes of a file that has no positions."""
        return await self._read(size, -1)

    async def _read(self, size: int, offset: int) -> bytes:
        loop = asyncio.get_running_loop()
        engine = _carrier(loop) if size <= _AT_ONCE or not self.regular else None
        if engine is None:
            return await self._by_thread(loop, self._read_blocking, size, offset)  # type: ignore[no-any-return]
        buffer = bytearray(size)
        count = await self._by_engine(loop, engine, READ_FILE, buffer, offset)
        if count < size:
            del buffer[count:]
        return bytes(buffer)

    def _read_blocking(self, size: int, offset: int) -> bytes:
        if offset < 0:
            return os.read(self.fd, size)
        if _POSITIONAL:
            return _os.pread(self.fd, size, offset)  # type: ignore[no-any-return]
        with self._mutex:
            os.lseek(self.fd, offset, os.SEEK_SET)
            return os.read(self.fd, size)

    # ---- writing ---------------------------------------------------------------------------

    async def write_at(self, pieces: list[bytes], offset: int) -> int:
        """Write what goes of `pieces` at `offset` (-1: where the descriptor stands)."""
        loop = asyncio.get_running_loop()
        small = len(pieces) == 1 or sum(map(len, pieces)) <= _AT_ONCE
        engine = _carrier(loop) if small else None
        if engine is None:
            return await self._by_thread(loop, self._write_blocking, pieces, offset)  # type: ignore[no-any-return]
        return await self._by_engine(loop, engine, WRITE_FILE, _joined(pieces), offset)  # type: ignore[no-any-return]

    def _write_blocking(self, pieces: list[bytes], offset: int) -> int:
        if 1 < len(pieces) <= _PIECES and _VECTORED:
            if offset < 0:
                return _os.writev(self.fd, pieces)  # type: ignore[no-any-return]
            return _os.pwritev(self.fd, pieces, offset)  # type: ignore[no-any-return]
        data = _joined(pieces)
        if offset < 0 and (_POSITIONAL or not self.seekable):
            return os.write(self.fd, data)
        if _POSITIONAL:
            return _os.pwrite(self.fd, data, offset)  # type: ignore[no-any-return]
        with self._mutex:
            if offset < 0:
                count = os.write(self.fd, data)
                self._position = os.lseek(self.fd, 0, os.SEEK_CUR)
                return count
            os.lseek(self.fd, offset, os.SEEK_SET)
            return os.write(self.fd, data)

    async def sync(self) -> None:
        """Have all that was written on the disk."""
        loop = asyncio.get_running_loop()
        engine = _carrier(loop)
        if engine is None:
            await self._by_thread(loop, os.fsync, self.fd)
        else:
            await self._by_engine(loop, engine, SYNC_FILE, None, 0)

    async def call(self, func: Callable[..., Any], *args: Any) -> Any:
        """Run what else is to be done with the descriptor in a thread."""
        return await self._by_thread(asyncio.get_running_loop(), func, *args)

    # ---- the ways --------------------------------------------------------------------------

    async def _by_thread(
        self, loop: asyncio.AbstractEventLoop, call: Callable[..., Any], *args: Any
    ) -> Any:
        job = _Job(self, loop, call, args)
        work = loop.run_in_executor(None, job)
        self.in_flight += 1
        work.add_done_callback(job.done)
        return await job.future

    async def _by_engine(
        self, loop: asyncio.AbstractEventLoop, engine: Any, kind: int, buffer: Any, offset: int
    ) -> Any:
        op = _Request(self, kind, buffer, offset)
        if engine.start(op):
            if op.error is not None:
                raise op.error
            return op.result
        self.in_flight += 1
        op.future = loop.create_future()
        try:
            return await op.future
        except asyncio.CancelledError:
            if op.active and engine.cancel(op):
                self._ended()
            raise

    def _ended(self) -> None:
        self.in_flight -= 1
        if self.in_flight == 0 and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def idle(self) -> None:
        """Wait until no request is being carried out."""
        while self.in_flight:
            if self._idle is None or self._idle.done():
                self._idle = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)


def _joined(pieces: list[bytes]) -> bytes:
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def describe_way(engine: Any) -> str:
    """Say for people how the data of files moves on an engine, and why."""
    if engine.files:
        rest = f"by io_uring on the {engine.name} engine"
    else:
        rest = f"by threads, as the {engine.name} engine carries no requests on files out"
        if engine.no_files:
            rest += f" ({engine.no_files})"
    if cached.OFFERED:
        return f"cached data at once (preadv2), the rest {rest}"
    return f"{rest}; this system does not tell cached data from other"


def _carrier(loop: asyncio.AbstractEventLoop) -> Any:
    """Return the loop's engine, if it carries out requests on files."""
    engine = getattr(loop, "engine", None)
    return engine if engine is not None and engine.files else None
