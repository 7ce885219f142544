"""The text layer: characters and lines over a buffered binary file."""

from __future__ import annotations

import codecs
import io
import os
from typing import Any

from evenloop.files.base import AsyncFile, Serial
from evenloop.files.buffered import BufferedFile

__all__ = ["TextFile"]

# So many bytes are decoded at a time, at least.
_CHUNK = 64 * 1024
_CLEAN = (b"", 0)


def _layout() -> list[tuple[int, int]]:
    """Return where `io.TextIOWrapper.tell()` packs what it needs to come back.

    A shift and a mask for each of: a position, the decoder's flags there, how many bytes to feed
    it, how many of the characters that come to skip, and whether the file ends there. The
    position has 64 bits; of the others CPython's numbers have 32 and PyPy's 64, so ask: here the
    last bit that is set is for the one character to skip.
    """
    with io.TextIOWrapper(io.BytesIO(b"\ra"), "ascii") as text:
        text.read(1)
        bits = (text.tell().bit_length() - 65) // 2
    mask = (1 << bits) - 1
    return [(0, (1 << 64) - 1), *[(64 + bits * place, mask) for place in range(4)]]


_LAYOUT = _layout()


class TextFile(AsyncFile[str]):
    """A text file, as `io.TextIOWrapper` is; `tell()` and `seek()` use the same numbers."""

    def __init__(self, file: io.TextIOWrapper, newline: str | None, buffering: int = -1) -> None:
        """Take over an open text file whose buffers are empty; the rest is as in `open()`."""
        super().__init__(file)
        self._buffer = BufferedFile(file.buffer, buffering)
        self._newline = newline
        self._line_buffering = file.line_buffering
        decoder: Any = codecs.getincrementaldecoder(file.encoding)(file.errors or "strict")
        if not newline:
            decoder = io.IncrementalNewlineDecoder(decoder, translate=newline is None)
        self._decoder = decoder
        self._encoder: Any = None
        # What "\n" is written as.
        self._ending = os.linesep if newline is None else newline or "\n"
        # What is decoded (from `_at` on not asked for yet), and what it was decoded from: bytes,
        # and the decoder's state before them.
        self._text = ""
        self._at = 0
        self._state: tuple[bytes, int] = _CLEAN
        self._source = b""
        self._serial = Serial()

    @property
    def buffer(self) -> BufferedFile:
        """The binary file under it."""
        return self._buffer

    @property
    def encoding(self) -> str:
        """The name of the encoding."""
        return self._file.encoding  # type: ignore[no-any-return]

    @property
    def errors(self) -> str | None:
        """How errors of the encoding are treated."""
        return self._file.errors  # type: ignore[no-any-return]

    @property
    def line_buffering(self) -> bool:
        """Whether each line is handed to the operating system."""
        return self._line_buffering

    @property
    def newlines(self) -> Any:
        """The line ends met so far, where all are translated: a string, a tuple or None."""
        return getattr(self._decoder, "newlines", None)

    # ---- reading ---------------------------------------------------------------------------

    async def _more(self) -> bool:
        """Decode more; False at the end of file. Nothing is lost if this is cancelled."""
        if self._closed:
            self._check_there()
        # Twice as much for what is long already: its time stays proportional to its length.
        data = await self._buffer.read1(max(_CHUNK, len(self._text) - self._at))
        if self._at == len(self._text):
            self._state = self._decoder.getstate()
            self._text = ""
            self._source = b""
            self._at = 0
        self._text += self._decoder.decode(data, not data)
        self._source += data
        return bool(data)

    def _check_there(self) -> None:
        if self._file.closed:
            raise ValueError("I/O operation on closed file.")

    async def read(self, size: int | None = -1, /) -> str:
        """Read `size` characters, fewer at the end of file alone; all the rest for -1 or None."""
        self._check_readable()
        async with self._serial.lock:
            if size is None or size < 0:
                self._check_there()
                data = await self._buffer.read()
                text: str = self._text[self._at :] + self._decoder.decode(data, True)
                self._forget()
                return text
            while len(self._text) - self._at < size and await self._more():
                continue
            text = self._text[self._at : self._at + size]
            self._at += len(text)
            return text

    def _forget(self) -> None:
        self._text = ""
        self._at = 0
        self._source = b""
        self._state = _CLEAN

    def _line_end(self, at: int) -> int:
        """Return where the line that begins at `at` ends, 0 if that is not there yet."""
        newline = self._newline
        if newline is None or newline == "\n":
            return self._text.find("\n", at) + 1
        if newline:
            end = self._text.find(newline, at)
            return end + len(newline) if end >= 0 else 0
        feed = self._text.find("\n", at) + 1
        back = self._text.find("\r", at, feed or len(self._text)) + 1
        if back and back + 1 != feed:
            return back
        return feed

    async def readline(self, size: int | None = -1, /) -> str:
        """Read up to and with the next line end, at most `size` characters."""
        if self._closed:
            self._check_open()
        at = self._at
        if size is None or size < 0:
            end = self._line_end(at)
            if end and self._serial.free:
                self._at = end
                return self._text[at:end]
            size = -1
        self._check_readable()
        async with self._serial.lock:
            while True:
                end = self._line_end(self._at)
                if end or 0 <= size <= len(self._text) - self._at or not await self._more():
                    break
            at = self._at
            end = self._line_end(at) or len(self._text)
            if size >= 0:
                end = min(end, at + size)
            self._at = end
            return self._text[at:end]

    # ---- writing ---------------------------------------------------------------------------

    async def write(self, text: str, /) -> int:
        """Take `text`, and return its length; wait only if there is much to write."""
        self._check_writable()
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self._encoder is None:
            await self._make_encoder()
        lines = "\n" in text
        written = text
        if lines and self._ending != "\n":
            written = text.replace("\n", self._ending)
        if self._text or self._source:
            self._forget()
            self._decoder.reset()
        await self._buffer.write(self._encoder.encode(written))
        if self._line_buffering and (lines or "\r" in text):
            await self._buffer.flush()
        return len(text)

    async def _make_encoder(self) -> None:
        position = await self._buffer.tell() if self._file.seekable() else 0
        encoder = codecs.getincrementalencoder(self.encoding)(self.errors or "strict")
        self._begin(encoder, position)
        self._encoder = encoder

    @staticmethod
    def _begin(encoder: Any, position: int) -> None:
        """No byte order mark but at the beginning."""
        if position:
            encoder.setstate(0)
        else:
            encoder.reset()

    async def flush(self) -> None:
        """Hand everything written to the operating system."""
        self._check_open()
        await self._buffer.flush()

    async def fsync(self) -> None:
        """Have everything written on the disk before this returns."""
        self._check_open()
        await self._buffer.fsync()

    # ---- the position ----------------------------------------------------------------------

    async def tell(self) -> int:
        """Return an opaque number for the position, which `seek()` understands."""
        self._check_open()
        if not self._file.seekable():
            raise io.UnsupportedOperation("underlying stream is not seekable")
        async with self._serial.lock:
            self._check_there()
            position = await self._buffer.tell()
            pending, flags = self._state
            if self._at == len(self._text):
                # All is used: what the decoder holds back counts, nothing else.
                pending, flags = self._decoder.getstate()
                return position - len(pending) | flags << 64 if pending or flags else position
            data = pending + self._source
            # The standard library finds out how many bytes so many characters were. Not from
            # position 0, where it would expect a byte order mark whatever the flags say.
            with io.TextIOWrapper(
                io.BytesIO(b"\0" + data), self.encoding, self.errors, self._newline
            ) as replay:
                replay.seek(1 | flags << 64)
                replay.read(self._at)
                return replay.tell() - 1 + position - len(data)

    async def seek(self, cookie: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position that `tell()` returned, to the beginning (0), or the end (0, 2)."""
        self._check_open()
        if not self._file.seekable():
            raise io.UnsupportedOperation("underlying stream is not seekable")
        if whence == os.SEEK_CUR:
            if cookie:
                raise io.UnsupportedOperation("can't do nonzero cur-relative seeks")
            cookie = await self.tell()
        elif whence == os.SEEK_END:
            if cookie:
                raise io.UnsupportedOperation("can't do nonzero end-relative seeks")
        elif whence != os.SEEK_SET:
            raise ValueError(f"invalid whence ({whence}, should be 0, 1 or 2)")
        elif cookie < 0:
            raise ValueError(f"negative seek position {cookie}")
        async with self._serial.lock:
            self._check_there()
            if whence == os.SEEK_END:
                cookie = await self._buffer.seek(0, os.SEEK_END)
            await self._go_to(cookie)
        return cookie

    async def _go_to(self, cookie: int) -> None:
        position, flags, feed, skip, final = (cookie >> shift & mask for shift, mask in _LAYOUT)
        await self._buffer.seek(position)
        self._forget()
        self._decoder.reset()
        if cookie:
            # Anywhere but at the beginning the order of bytes is known.
            self._decoder.setstate((b"", flags))
        if feed or skip:
            self._state = (b"", flags)
            data = await self._buffer.read(feed)
            self._text = self._decoder.decode(data, bool(final))
            self._source = data
            if len(self._text) < skip:
                raise OSError("can't restore logical file position")
            self._at = skip
        if self._encoder is not None:
            self._begin(self._encoder, cookie)

    async def truncate(self, size: int | None = None, /) -> int:
        """Make the file `size` bytes long, by default as long as the position; return that."""
        self._check_open()
        await self.flush()
        return await self._buffer.truncate(await self.tell() if size is None else size)

    async def close(self) -> None:
        """Write what is pending, then close; see `BufferedFile.close()`."""
        if not self._closed:
            self._closed = True
            await self._buffer.close()
