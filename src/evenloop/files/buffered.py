"""The buffered layer: a binary file that is read ahead and written behind.

- Reading ahead is `io`'s: at least a buffer's worth is read at a time.
- Writing behind goes further than `io`'s: once enough has gathered it is written in one piece
  while the program goes on, which waits only when it is a whole piece ahead. What was taken by
  `write()` is written once, in order, whoever is cancelled; an error of it comes with the next
  `write()`, `flush()`, `seek()` or `close()`, and what was not written is kept for another try.
"""

from __future__ import annotations

import asyncio
import io
import os
from typing import Any

from evenloop.files.base import AsyncFile, Serial
from evenloop.files.raw import RawFile, size_of

__all__ = ["BufferedFile"]

# So much gathers before it is written, in bytes. Measured on a new file, in pieces of 64 KiB:
# see docs/design.md.
_GATHER = 1024 * 1024
# So much is read at least, in bytes.
_AHEAD = 64 * 1024


class BufferedFile(AsyncFile[bytes]):
    """A binary file with a buffer, as `io.BufferedReader`, `BufferedWriter` and `BufferedRandom`.

    The file under it is `raw`, which has `pread()` and `pwrite()`; they know nothing of what
    is in the buffer.
    """

    def __init__(self, file: Any, buffering: int = -1) -> None:
        """Take over an open file of `io`'s, whose own buffers are empty.

        `buffering` is the size of the buffer in bytes; up to 1 it is evenloop's to choose.
        """
        super().__init__(file)
        self._raw = RawFile(file.raw)
        self._size = buffering if buffering > 1 else _AHEAD
        self._gather = buffering if buffering > 1 else _GATHER
        # Read, and not asked for yet: from `_at` on.
        self._chunk = b""
        self._at = 0
        # Taken, and not written yet.
        self._pending: list[bytes] = []
        self._waiting = 0
        # What is being written, and what went wrong with it.
        self._writing: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._serial = Serial()
        self._can_read: bool = file.readable()

    @property
    def raw(self) -> RawFile:
        """The file under the buffer."""
        return self._raw

    # ---- reading ---------------------------------------------------------------------------

    def _check_reading(self) -> None:
        self._check_open()
        if not self._can_read:
            raise io.UnsupportedOperation("read")

    async def read(self, size: int | None = -1, /) -> bytes:
        """Read `size` bytes, fewer at the end of file alone; all the rest for -1 or None."""
        if self._closed or not self._can_read:
            self._check_reading()
        if size is None or size < 0:
            async with self._serial.lock:
                return await self._read_all()
        at = self._at
        if at + size <= len(self._chunk) and self._serial.free:
            self._at = at + size
            return self._chunk[at : at + size]
        async with self._serial.lock:
            return await self._read(size)

    def _take(self) -> bytes:
        """Return what is in the buffer."""
        rest = self._chunk[self._at :]
        self._chunk = b""
        self._at = 0
        return rest

    async def _read_all(self) -> bytes:
        await self._prepare_to_read()
        rest = await self._raw.readall()
        return self._take() + rest

    async def _read(self, size: int) -> bytes:
        await self._prepare_to_read()
        pieces: list[bytes] = []
        missing = size
        try:
            while missing:
                if self._at == len(self._chunk):
                    if missing >= self._size:
                        data = await self._raw.read(missing)
                        if not data:
                            break
                        pieces.append(data)
                        missing -= len(data)
                        continue
                    if not await self._fill():
                        break
                data = self._chunk[self._at : self._at + missing]
                self._at += len(data)
                missing -= len(data)
                pieces.append(data)
        except BaseException:
            self._chunk = b"".join([*pieces, self._take()])
            raise
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _fill(self) -> bool:
        """Read more into the buffer; False at the end of file."""
        data = await self._raw.read(self._size)
        if self._at == len(self._chunk):
            self._chunk = data
            self._at = 0
        else:
            self._chunk = self._take() + data
        return bool(data)

    async def read1(self, size: int = -1, /) -> bytes:
        """Read at most `size` bytes with at most one read of the file under it."""
        self._check_reading()
        async with self._serial.lock:
            await self._prepare_to_read()
            if size < 0:
                size = self._size
            if self._at == len(self._chunk) and size:
                if size >= self._size:
                    return await self._raw.read(size)
                await self._fill()
            data = self._chunk[self._at : self._at + size]
            self._at += len(data)
            return data

    async def peek(self, size: int = 0, /) -> bytes:
        """Return what is in the buffer, filled if it was empty, without moving on."""
        self._check_reading()
        async with self._serial.lock:
            await self._prepare_to_read()
            if self._at == len(self._chunk):
                await self._fill()
            return self._chunk[self._at :]

    async def readinto(self, buffer: Any, /) -> int:
        """Read into `buffer` until it is full or the file ends; return how many bytes."""
        self._check_reading()
        return await self._read_into(buffer, self.read)

    async def readinto1(self, buffer: Any, /) -> int:
        """Read into `buffer` with at most one read of the file under it."""
        self._check_reading()
        return await self._read_into(buffer, self.read1)

    async def _read_into(self, buffer: Any, read: Any) -> int:
        with memoryview(buffer) as view, view.cast("B") as target:
            if target.readonly:
                raise TypeError(
                    f"readinto() argument must be read-write bytes-like object, not {buffer!r}"
                )
            data: bytes = await read(target.nbytes)
            target[: len(data)] = data
            return len(data)

    async def readline(self, size: int | None = -1, /) -> bytes:
        """Read up to and with the next b"\\n", at most `size` bytes."""
        if self._closed or not self._can_read:
            self._check_reading()
        if size is None or size < 0:
            at = self._at
            end = self._chunk.find(b"\n", at) + 1
            if end and self._serial.free:
                self._at = end
                return self._chunk[at:end]
            size = -1
        async with self._serial.lock:
            return await self._readline(size)

    async def _readline(self, size: int) -> bytes:
        await self._prepare_to_read()
        line = b""
        try:
            while size < 0 or len(line) < size:
                if self._at == len(self._chunk) and not await self._fill():
                    break
                end = self._chunk.find(b"\n", self._at) + 1
                stop = end or len(self._chunk)
                if size >= 0:
                    stop = min(stop, self._at + size - len(line))
                line += self._chunk[self._at : stop]
                self._at = stop
                if stop == end:
                    break
        except BaseException:
            self._chunk = line + self._take()
            raise
        return line

    async def _prepare_to_read(self) -> None:
        self._check_there()
        if self._pending or self._writing is not None:
            await self._write_out()

    def _check_there(self) -> None:
        if self._file.closed:
            raise ValueError("I/O operation on closed file.")

    # ---- writing ---------------------------------------------------------------------------

    def _check_writing(self) -> None:
        self._check_open()
        if not self._file.writable():
            raise io.UnsupportedOperation("write")

    async def write(self, data: Any, /) -> int:
        """Take `data`, and return its length in bytes; wait only if there is much to write."""
        self._check_writing()
        size = size_of(data)
        if self._error is not None:
            self._raise()
        if not size:
            return 0
        if self._at != len(self._chunk):
            async with self._serial.lock:
                await self._forget_read()
        self._chunk = b""
        self._at = 0
        self._pending.append(data if type(data) is bytes else bytes(data))
        self._waiting += size
        if self._waiting >= self._gather and self._serial.free:
            if self._writing is not None:
                await self._written()
            if self._error is not None:
                self._raise()
            if self._writing is None and self._waiting >= self._gather:
                self._begin_to_write()
        return size

    def _begin_to_write(self) -> None:
        """Write what has gathered, while the program goes on."""
        pieces, self._pending = self._pending, []
        size, self._waiting = self._waiting, 0
        self._writing = asyncio.ensure_future(self._put(pieces, size))

    async def _put(self, pieces: list[bytes], size: int) -> None:
        try:
            while size:
                count = await self._raw.write_pieces(pieces)
                size -= count
                while pieces and count >= len(pieces[0]):
                    count -= len(pieces.pop(0))
                if count:
                    pieces[0] = pieces[0][count:]
        except BaseException as error:
            self._pending[:0] = pieces
            self._waiting += size
            if not isinstance(error, asyncio.CancelledError):
                self._error = error
        finally:
            self._writing = None

    async def _written(self) -> None:
        """Wait for what is being written."""
        writing = self._writing
        if writing is not None:
            # It never fails: it leaves its error behind.
            await asyncio.shield(writing)

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    async def _write_out(self) -> None:
        """Write everything; raise what went wrong."""
        await self._written()
        self._raise()
        while self._pending:
            self._begin_to_write()
            await self._written()
            self._raise()

    async def flush(self) -> None:
        """Hand everything written to the operating system."""
        self._check_open()
        async with self._serial.lock:
            self._check_there()
            await self._write_out()
            await self._raw.flush()

    async def fsync(self) -> None:
        """Have everything written on the disk before this returns."""
        await self.flush()
        await self._raw.fsync()

    # ---- the position ----------------------------------------------------------------------

    async def _forget_read(self) -> None:
        """Have the file under it stand where the reader is."""
        unread = len(self._chunk) - self._at
        if unread:
            await self._raw.seek(-unread, os.SEEK_CUR)
        self._chunk = b""
        self._at = 0

    async def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Change the position, and return it."""
        self._check_open()
        async with self._serial.lock:
            self._check_there()
            await self._write_out()
            if whence == os.SEEK_CUR:
                offset -= len(self._chunk) - self._at
            position = await self._raw.seek(offset, whence)
            self._chunk = b""
            self._at = 0
            return position

    async def tell(self) -> int:
        """Return the position."""
        self._check_open()
        async with self._serial.lock:
            self._check_there()
            await self._written()
            return await self._raw.tell() - (len(self._chunk) - self._at) + self._waiting

    async def truncate(self, size: int | None = None, /) -> int:
        """Make the file `size` bytes long, by default as long as the position; return that."""
        self._check_open()
        if not self._file.writable():
            raise io.UnsupportedOperation("truncate")
        async with self._serial.lock:
            self._check_there()
            await self._write_out()
            await self._forget_read()
            return await self._raw.truncate(size)

    # ---- the end ---------------------------------------------------------------------------

    async def close(self) -> None:
        """Write what is pending, then close.

        It is closed in any case: also if writing fails, which is raised, or if this is
        cancelled.
        """
        if self._closed:
            return
        self._closed = True
        await self._serial.finish(self._close())

    async def _close(self) -> None:
        try:
            await self._write_out()
        finally:
            # What could not be written is given up, as `io` does.
            self._pending.clear()
            self._waiting = 0
            await self._raw.close()

    def __del__(self) -> None:
        pending = getattr(self, "_pending", None)
        if not pending or self._file.closed:
            return
        # Never closed: as `io` does, with a warning from the file itself.
        try:
            self._file.write(b"".join(pending))
        except (OSError, ValueError):
            return
