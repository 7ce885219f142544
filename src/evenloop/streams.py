"""asyncio's streams, faster: what reads from a stream's `Feed`.

`asyncio.open_connection()` and `asyncio.start_server()` make their reader themselves, and hand
the loop its protocol. When a transport is given such a protocol (exactly asyncio's, unpatched),
the reader's class becomes `StreamReader` of this module: still an `asyncio.StreamReader`, with
its attributes, but what it holds is in a `Feed`, into which the transport puts what it reads.

The coroutines are Python's, and not compiled, on purpose: to make, await and end a coroutine of
the interpreter's costs half of what one costs that Cython makes. The work is done in `Feed`,
which is compiled. Whatever is not plain (errors, limits, separators other than bytes) is left
to asyncio's own methods, which find all they need in the attributes.
"""

from __future__ import annotations

import asyncio
from typing import Any

from evenloop.transports.feed import LARGEST_LIMIT, Feed

__all__ = ["StreamReader", "adopt"]

_Reader: Any = asyncio.StreamReader


class StreamReader(asyncio.StreamReader):
    """An `asyncio.StreamReader` whose bytes are in a `Feed`.

    https://docs.python.org/3/library/asyncio-stream.html#asyncio.StreamReader
    """

    _feed: Feed

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As `asyncio.StreamReader`."""
        self._feed = Feed(None, LARGEST_LIMIT)
        super().__init__(*args, **kwargs)

    async def read(self, n: int = -1) -> bytes:
        """Read up to `n` bytes; all until the end if it is negative."""
        feed = self._feed
        data: Any = feed.some(n, False)
        while data is None:
            waiter = feed.wait("read")
            if waiter is None:
                return await super().read(n)
            try:
                await waiter
            finally:
                feed._waiter = None
            data = feed.some(n, True)
        return data  # type: ignore[no-any-return]

    async def readexactly(self, n: int) -> bytes:
        """Read exactly `n` bytes; raises `asyncio.IncompleteReadError` if the end comes first."""
        feed = self._feed
        data: Any = feed.exactly(n, False)
        while data is None:
            waiter = feed.wait("readexactly")
            if waiter is None:
                return await super().readexactly(n)
            try:
                await waiter
            finally:
                feed._waiter = None
            data = feed.exactly(n, True)
        return data  # type: ignore[no-any-return]

    async def readline(self) -> bytes:
        """Read a line with its newline; what is left if the end comes first."""
        feed = self._feed
        line: Any = feed.line(False)
        while line is None:
            waiter = feed.wait("readuntil")
            if waiter is None:
                return await super().readline()
            try:
                await waiter
            finally:
                feed._waiter = None
            line = feed.line(True)
        return line  # type: ignore[no-any-return]

    async def readuntil(self, separator: Any = b"\n") -> bytes:
        """Read up to and with a separator; raises as asyncio's does."""
        feed = self._feed
        data: Any = feed.until(separator, False)
        while data is None:
            waiter = feed.wait("readuntil")
            if waiter is None:
                return await _Reader.readuntil(self, separator)  # type: ignore[no-any-return]
            try:
                await waiter
            finally:
                feed._waiter = None
            data = feed.until(separator, True)
        return data  # type: ignore[no-any-return]

    def feed_data(self, data: Any) -> None:
        """Take what came."""
        self._feed.put(data)

    def feed_eof(self) -> None:
        """Nothing more will come."""
        self._feed.put_eof()

    def at_eof(self) -> bool:
        """Return True if all was read, and nothing more will come."""
        return self._feed._eof and not len(self._feed)

    def exception(self) -> Any:
        """Return the error that reading ended with, or None."""
        return self._feed._exception

    def set_exception(self, exc: Any) -> None:
        """Let reading end with an error."""
        self._feed.fail(exc)

    def _wakeup_waiter(self) -> None:
        if self._feed._waiter is not None:
            self._feed._wake()

    def _maybe_resume_transport(self) -> None:
        self._feed.maybe_resume()

    @property
    def _buffer(self) -> bytearray:
        return self._feed.expose()

    @_buffer.setter
    def _buffer(self, data: bytearray) -> None:
        self._feed.replace(data)


def _forwarded(name: str) -> property:
    """An attribute of the reader that is one of its feed."""

    def get(self: StreamReader) -> Any:
        return getattr(self._feed, name)

    def put(self: StreamReader, value: Any) -> None:
        setattr(self._feed, name, value)

    return property(get, put)


_FORWARDED = ("_loop", "_limit", "_eof", "_waiter", "_exception", "_transport", "_paused")

for _name in _FORWARDED:
    setattr(StreamReader, _name, _forwarded(_name))


_Protocol: Any = asyncio.StreamReaderProtocol

# What is taken over from asyncio, and as what: were it patched, its patches would be lost.
_READER_METHODS = dict(vars(asyncio.StreamReader))
_PROTOCOL_METHODS = dict(vars(_Protocol))
_NAMES = {name for name, value in _READER_METHODS.items() if callable(value)}
_TAKEN_OVER = {*_FORWARDED, "_buffer"}


def adopt(protocol: Any) -> Feed | None:
    """Return the feed of a stream protocol's reader, or None if it must be called instead."""
    reader = protocol._stream_reader
    if type(reader) is StreamReader:
        feed: Feed = reader._feed
        return feed
    if type(reader) is not _Reader or _is_patched(protocol, reader):
        return None
    held: dict[str, Any] = vars(reader)
    limit = held["_limit"]
    if type(limit) is not int or limit > LARGEST_LIMIT:
        return None
    feed = Feed(held["_loop"], limit)
    for name in ("_transport", "_waiter", "_exception", "_eof", "_paused"):
        setattr(feed, name, held[name])
    if held["_buffer"]:
        feed.replace(held["_buffer"])
    feed._owner = protocol._stream_reader_wr
    kept = {"_feed": feed}
    for name in held.keys() - _TAKEN_OVER:
        kept[name] = held[name]
    reader.__class__ = StreamReader
    reader.__dict__ = kept
    if not protocol._drain_waiters:
        # A list does it, too, and an empty deque takes as much as all the rest of a stream.
        protocol._drain_waiters = []
    return feed


def _is_patched(protocol: Any, reader: Any) -> bool:
    """Whether somebody replaced what is passed over when a feed is used."""
    return (
        vars(_Reader) != _READER_METHODS
        or vars(_Protocol) != _PROTOCOL_METHODS
        or not vars(reader).keys().isdisjoint(_NAMES)
        or "data_received" in vars(protocol)
    )
