"""The raw layer: a descriptor, its position, and reads and writes at any other one."""

from __future__ import annotations

import io
import os
from typing import Any

from evenloop.files.base import AsyncFile, Serial
from evenloop.files.transfer import Transfer

__all__ = ["RawFile", "size_of"]

# A file whose size is not known is read to its end in pieces of this size, in bytes.
_PIECE = 256 * 1024
# How much is looked through for the end of a line at a time.
_LINE = 8192


def size_of(data: Any) -> int:
    """Return the length of a bytes-like object in bytes; TypeError if it is none."""
    if type(data) is bytes:
        return len(data)
    if isinstance(data, str):
        raise TypeError("a bytes-like object is required, not 'str'")
    with memoryview(data) as view:
        return view.nbytes


class RawFile(AsyncFile[bytes]):
    """A binary file without a buffer, as `io.FileIO` is; and with `pread()` and `pwrite()`."""

    def __init__(self, file: io.RawIOBase) -> None:
        """Take over an open `io.FileIO`."""
        super().__init__(file)
        mode = str(getattr(file, "mode", ""))
        # What is written to a file in append mode goes to its end, wherever one says.
        self._appending = "a" in mode or bool(_flags(file.fileno()) & getattr(os, "O_APPEND", 0))
        self._transfer = Transfer(file, self._appending)
        self._serial = Serial()
        # Bytes of a pipe or terminal that arrived after their reader was cancelled.
        self._kept = b""

    # ---- at a position of one's own --------------------------------------------------------

    async def pread(self, size: int, offset: int, /) -> bytes:
        """Read at most `size` bytes at `offset`; the file's position stays.

        Fewer come at the end of file alone. Any number of these may run at the same time.
        Raises ValueError for a negative size or offset, and OSError (ESPIPE) where there are no
        positions.
        """
        if self._closed or size < 0 or offset < 0:
            self._check_range(size, offset)
        if not self._readable:
            self._check_readable()
        return await self._transfer.read_at(size, offset)

    async def pwrite(self, data: Any, offset: int, /) -> int:
        """Write `data` at `offset`, and return how much went; the file's position stays.

        Raises as `pread()` does. In append mode most systems ignore the offset.
        """
        self._check_range(0, offset)
        self._check_writable()
        if not size_of(data):
            return 0
        return await self._transfer.write_at([_own(data)], offset)

    def _check_range(self, size: int, offset: int) -> None:
        self._check_open()
        if size < 0:
            raise ValueError(f"size must not be negative, got {size}")
        if offset < 0:
            raise ValueError(f"offset must not be negative, got {offset}")

    # ---- at the file's position ------------------------------------------------------------

    async def read(self, size: int | None = -1, /) -> bytes:
        """Read at most `size` bytes, b"" at the end of file; all the rest for -1 or None."""
        self._check_readable()
        if size is None or size < 0:
            return await self.readall()
        transfer = self._transfer
        if not transfer.seekable:
            return await self._read_on(size)
        if not size:
            return b""
        if transfer.exhausted():
            await transfer.turn()
        data = b""
        if self._serial.free:
            now = transfer.read_now(size, -1)
            if now is not None:
                if not now or len(now) == size:
                    return now
                data = now
        # Taken at once where it is free: nobody moves the position meanwhile.
        async with self._serial.lock:
            self._check_there()
            where = transfer.tell()
            try:
                rest = await transfer.read_at(size - len(data), where)
            except BaseException:
                transfer.move_to(where - len(data))
                raise
            transfer.move_to(where + len(rest))
        return data + rest if data else rest

    async def _read_on(self, size: int) -> bytes:
        while not self._kept:
            if not await self._serial.finish(self._keep(size)):
                return b""
        data, self._kept = self._kept[:size], self._kept[size:]
        return data

    async def _keep(self, size: int) -> int:
        """Read what comes; it stays if nobody waits for it any more."""
        if self._kept:
            return len(self._kept)
        data = await self._transfer.read_on(size)
        self._kept += data
        return len(data)

    async def readall(self) -> bytes:
        """Read the rest of the file."""
        self._check_readable()
        pieces: list[bytes] = []
        try:
            while data := await self.read(self._rest()):
                pieces.append(data)
        except BaseException:
            self._give_back(b"".join(pieces))
            raise
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _give_back(self, data: bytes) -> None:
        """Have the next read begin with `data`, which was read already."""
        if not self._transfer.seekable:
            self._kept = data + self._kept
        elif not self._file.closed:
            self._transfer.move_to(self._transfer.tell() - len(data))

    def _check_there(self) -> None:
        """Raise ValueError if the file was closed while the caller waited for its turn."""
        if self._file.closed:
            raise ValueError("I/O operation on closed file.")

    def _rest(self) -> int:
        """How much to ask for, to reach the end of file at once where it is known."""
        if not self._transfer.regular:
            return _PIECE
        left = os.fstat(self._transfer.fd).st_size - self._transfer.tell()
        return left if left > 0 else _PIECE

    async def readinto(self, buffer: Any, /) -> int:
        """Read at most as many bytes as `buffer` takes into it; return how many."""
        self._check_readable()
        # Not straight into it: what a cancelled read still writes to must be nobody else's.
        with memoryview(buffer) as view, view.cast("B") as target:
            if target.readonly:
                raise TypeError(
                    f"readinto() argument must be read-write bytes-like object, not {buffer!r}"
                )
            data = await self.read(target.nbytes)
            target[: len(data)] = data
            return len(data)

    async def readline(self, size: int | None = -1, /) -> bytes:
        """Read up to and with the next b"\\n", at most `size` bytes."""
        self._check_readable()
        if size is None:
            size = -1
        line = bytearray()
        try:
            while size < 0 or len(line) < size:
                if self._transfer.seekable:
                    data = await self.read(_LINE if size < 0 else min(size - len(line), _LINE))
                    end = data.find(b"\n") + 1
                    if end:
                        self._give_back(data[end:])
                        data = data[:end]
                else:
                    data = await self.read(1)
                line += data
                if not data or data.endswith(b"\n"):
                    break
        except BaseException:
            self._give_back(bytes(line))
            raise
        return bytes(line)

    async def write(self, data: Any, /) -> int:
        """Write what goes of `data`, and return how much that is.

        A write that has begun goes on although its caller is cancelled.
        """
        self._check_writable()
        if not size_of(data):
            return 0
        return await self._serial.finish(self._write([_own(data)]))

    async def write_pieces(self, pieces: list[bytes]) -> int:
        """Write what goes of several pieces; not part of the public interface."""
        return await self._serial.finish(self._write(pieces))

    async def _write(self, pieces: list[bytes]) -> int:
        self._check_there()
        transfer = self._transfer
        if self._appending or not transfer.seekable:
            return await transfer.write_at(pieces, -1)
        where = transfer.tell()
        count = await transfer.write_at(pieces, where)
        transfer.move_to(where + count)
        return count

    async def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Change the position, and return it."""
        self._check_open()
        async with self._serial.lock:
            self._check_there()
            return self._transfer.seek(offset, whence)

    async def tell(self) -> int:
        """Return the position."""
        self._check_open()
        if self._serial.free:
            return self._transfer.tell()
        async with self._serial.lock:
            self._check_there()
            return self._transfer.tell()

    async def truncate(self, size: int | None = None, /) -> int:
        """Make the file `size` bytes long, by default as long as the position; return that."""
        self._check_writable()
        return await self._serial.finish(self._truncate(size))

    async def _truncate(self, size: int | None) -> int:
        self._check_there()
        if size is None:
            size = self._transfer.tell()
        await self._transfer.call(os.ftruncate, self._transfer.fd, size)
        return size

    async def flush(self) -> None:
        """Do nothing: there is no buffer."""
        self._check_open()
        self._transfer.settle()

    async def fsync(self) -> None:
        """Have everything written on the disk before this returns."""
        self._check_open()
        await self._transfer.sync()

    async def close(self) -> None:
        """Close the descriptor, once no request is at it any more.

        It is closed in any case; if this is cancelled, a little later.
        """
        if self._closed:
            return
        self._closed = True
        await self._serial.finish(self._close())

    async def _close(self) -> None:
        await self._transfer.idle()
        self._transfer.settle()
        try:
            # Closing may wait, as for a server of files.
            await self._transfer.call(self._file.close)
        except RuntimeError:
            # The loop's executor was shut down.
            self._file.close()

    @property
    def _readable(self) -> bool:
        return bool(self._file.readable())


def _own(data: Any) -> bytes:
    """Return bytes that nobody changes while they are written."""
    return data if type(data) is bytes else bytes(data)


def _flags(fd: int) -> int:
    """Return how a descriptor was opened, as far as the system tells."""
    try:
        import fcntl
    except ImportError:
        return 0
    return fcntl.fcntl(fd, fcntl.F_GETFL)  # type: ignore[attr-defined,no-any-return,unused-ignore]
