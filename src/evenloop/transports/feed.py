"""What a stream reader holds: bytes that have come and were not read yet.

A transport puts in whole pieces, without a call of Python's; the reader's coroutines (in
`streams`) take out lines and numbers of bytes. A piece is kept as it came, with the place up to
which it was read. Only what comes while a rest is there is joined to it, in a bytearray. So a
piece that is asked for as a whole is handed on as it is, and one that holds many lines is
copied once, line by line.

Programs that look at `reader._buffer` get a bytearray, which is the truth from then on.
"""

from __future__ import annotations

import operator
from typing import Any

try:
    import cython
except ImportError:
    from evenloop import _cython as cython

if not cython.compiled:

    def clipped(number: Any) -> int:
        """Return an integer; compiled, the nearest one that is a size."""
        return operator.index(number)

    def size_of(data: bytes | bytearray) -> int:
        """Return how many bytes there are."""
        return len(data)

    def piece_of(data: bytes | bytearray, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end`."""
        return bytes(data[start:end])

    def find_newline(data: bytes | bytearray, start: int) -> int:
        """Return where the first newline from `start` on is, or -1."""
        return data.find(b"\n", start)


__all__ = ["LARGEST_LIMIT", "Feed"]

# Twice a limit is still a size.
LARGEST_LIMIT = (1 << 30) - 1

_NEWLINE = b"\n"


class Feed:
    """The buffer of a stream reader.

    The methods that take something out return None if it is not there. Then `wait()` says what
    to do: wait for the future it returns, or, where it returns None, leave it to asyncio's own
    reader: it has the errors and the rare cases.
    """

    def __init__(self, loop: Any, limit: int) -> None:
        self._loop = loop
        self._limit = limit
        # What the reader's attributes of the same names are.
        self._transport: Any = None
        self._waiter: Any = None
        self._exception: Any = None
        self._eof = False
        self._paused = False
        # A weak reference to the reader: nobody hears what comes when it is gone.
        self._owner: Any = None
        # The bytes from `_start` on; in the first `_searched` of them `_sought` does not begin.
        self._data: Any = b""
        self._start = 0
        self._searched = 0
        self._sought: bytes | None = None
        self._exposed = False
        self._stuck = False

    def __reduce__(self) -> Any:
        raise TypeError(f"{self!r} cannot be copied or pickled")

    # ---- in --------------------------------------------------------------------------------

    def put(self, data: Any) -> None:
        """Take what came, wake the reader, and have the transport pause if it is too much."""
        if self._owner is not None and self._owner() is None:
            return
        assert not self._eof, "feed_data after feed_eof"
        if not data:
            return
        self._append(data)
        if self._waiter is not None:
            self._wake()
        size = size_of(self._data) - self._start
        if size > 2 * self._limit and not self._paused and self._transport is not None:
            try:
                self._transport.pause_reading()
            except NotImplementedError:
                # It cannot be paused, so all is kept, and it is not asked again.
                self._transport = None
            else:
                self._paused = True

    def _append(self, data: Any) -> None:
        if type(self._data) is bytearray:
            if self._start:
                del self._data[: self._start]
                self._start = 0
            self._data.extend(data)
        elif size_of(self._data) == self._start:
            self._data = data if type(data) is bytes else bytes(data)
            self._start = 0
        else:
            rest = bytearray(memoryview(self._data)[self._start :])
            rest.extend(data)
            self._data = rest
            self._start = 0

    def _wake(self) -> None:
        waiter = self._waiter
        self._waiter = None
        if not waiter.cancelled():
            waiter.set_result(None)

    def put_eof(self) -> None:
        """Nothing more will come."""
        self._eof = True
        if self._waiter is not None:
            self._wake()

    # ---- out -------------------------------------------------------------------------------

    def line(self, waited: bool) -> Any:
        """Take out all up to the first newline; at the end what is left."""
        if self._exception is not None and not waited:
            self._stuck = True
            return None
        place = find_newline(self._data, self._unsearched(_NEWLINE))
        if place >= 0:
            if place - self._start <= self._limit:
                return self._take(place + 1 - self._start)
            self._stuck = True
            return None
        size = size_of(self._data) - self._start
        if size > self._limit:
            self._stuck = True
        elif self._eof:
            return self._take(size)
        else:
            self._not_found(_NEWLINE, size)
        return None

    def until(self, separator: Any, waited: bool) -> Any:
        """Take out all up to and with a separator."""
        if (self._exception is not None and not waited) or type(separator) is not bytes:
            self._stuck = True
            return None
        length = len(separator)
        place = self._data.find(separator, self._unsearched(separator)) if length else -1
        if place >= 0 and place - self._start <= self._limit:
            return self._take(place + length - self._start)
        size = size_of(self._data) - self._start + 1 - length
        if place >= 0 or not length or self._eof or size > self._limit:
            self._stuck = True
        elif size > 0:
            self._not_found(separator, size)
        return None

    def _unsearched(self, separator: bytes) -> int:
        """Return from where on there may be a separator."""
        return self._start + self._searched if separator is self._sought else self._start

    def _not_found(self, separator: bytes, searched: int) -> None:
        # Who sees the buffer may change it.
        if not self._exposed:
            self._sought = separator
            self._searched = searched

    def some(self, count: Any, waited: bool) -> Any:
        """Take out what is there, `count` bytes at most; nothing at the end."""
        if self._exception is not None and not waited:
            self._stuck = True
            return None
        wanted = clipped(count)
        if wanted <= 0:
            if wanted == 0:
                return b""
            self._stuck = True
            return None
        size = size_of(self._data) - self._start
        if size > 0 or self._eof:
            return self._take(wanted if wanted < size else size)
        return None

    def exactly(self, count: Any, waited: bool) -> Any:
        """Take out `count` bytes."""
        wanted = clipped(count)
        if wanted < 0 or (self._exception is not None and not waited):
            self._stuck = True
            return None
        if size_of(self._data) - self._start >= wanted:
            return self._take(wanted) if wanted else b""
        self._stuck = self._eof
        return None

    def wait(self, name: str) -> Any:
        """Return a future for more, or None: asyncio's own reader is to do it.

        `name` is the method that asks; RuntimeError if another one waits already.
        """
        if self._stuck:
            self._stuck = False
            return None
        if self._waiter is not None:
            raise RuntimeError(
                f"{name}() called while another coroutine is already waiting for incoming data"
            )
        if self._paused:
            # More is wanted than the limit allows for.
            self._paused = False
            self._transport.resume_reading()
        waiter = self._loop.create_future()
        self._waiter = waiter
        return waiter

    def _take(self, count: int) -> Any:
        """Return so many bytes from the start, which are there."""
        whole = size_of(self._data)
        if count == whole and type(self._data) is bytes:
            # As it came.
            piece: Any = self._data
        else:
            piece = piece_of(self._data, self._start, self._start + count)
        self._consume(count)
        return piece

    def _consume(self, count: int) -> None:
        start = self._start + count
        end = size_of(self._data)
        self._searched = 0
        if self._exposed:
            del self._data[:count]
        elif start == end:
            self._data = b""
            self._start = 0
        else:
            self._start = start
        if self._paused and end - start <= self._limit:
            self._resume()

    def _resume(self) -> None:
        self._paused = False
        self._transport.resume_reading()

    # ---- for those who look inside ---------------------------------------------------------

    def __len__(self) -> int:
        return size_of(self._data) - self._start

    def expose(self) -> bytearray:
        """Return the buffer, which stays the same object from now on."""
        if not self._exposed:
            self.replace(bytearray(memoryview(self._data)[self._start :]))
        return self._data  # type: ignore[no-any-return]

    def replace(self, data: bytearray) -> None:
        """Make another object the buffer."""
        if type(data) is not bytearray:
            raise TypeError(f"the buffer must be a bytearray, got {data!r}")
        self._data = data
        self._start = 0
        self._searched = 0
        self._exposed = True

    def maybe_resume(self) -> None:
        """Have the transport go on if little enough waits."""
        if self._paused and len(self) <= self._limit:
            self._resume()

    def fail(self, error: BaseException) -> None:
        """Remember an error, and give it to who waits."""
        self._exception = error
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.cancelled():
                waiter.set_exception(error)
