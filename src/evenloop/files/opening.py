"""Opening files: `open_file()` and `wrap_file()`."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar, overload

from evenloop.files.base import AsyncFile
from evenloop.files.buffered import BufferedFile
from evenloop.files.raw import RawFile
from evenloop.files.text import TextFile
from evenloop.files.transfer import in_thread_or
from evenloop.files.wrapped import WrappedFile

__all__ = ["Opening", "open_file", "wrap_file"]

_File = TypeVar("_File", bound="AsyncFile[Any]")
_Path = int | str | bytes | os.PathLike[str] | os.PathLike[bytes]
_Opener = Callable[[str, int], int]
_TextMode = Literal[
    "r", "r+", "+r", "rt", "tr", "rt+", "r+t", "+rt", "tr+", "t+r", "+tr",
    "w", "w+", "+w", "wt", "tw", "wt+", "w+t", "+wt", "tw+", "t+w", "+tw",
    "a", "a+", "+a", "at", "ta", "at+", "a+t", "+at", "ta+", "t+a", "+ta",
    "x", "x+", "+x", "xt", "tx", "xt+", "x+t", "+xt", "tx+", "t+x", "+tx",
]  # fmt: skip
_BinaryMode = Literal[
    "rb", "br", "rb+", "r+b", "+rb", "br+", "b+r", "+br",
    "wb", "bw", "wb+", "w+b", "+wb", "bw+", "b+w", "+bw",
    "ab", "ba", "ab+", "a+b", "+ab", "ba+", "b+a", "+ba",
    "xb", "bx", "xb+", "x+b", "+xb", "bx+", "b+x", "+bx",
]  # fmt: skip


class Opening(Generic[_File]):
    """A file about to be opened: await it, or use it in `async with`."""

    def __init__(self, *args: Any) -> None:
        self._args = args
        self._opened: _File | None = None

    async def _open(self) -> _File:
        # io.open() itself: its checks, errors, defaults and warnings are what everybody knows.
        file = await in_thread_or(_close, io.open, *self._args)
        buffering, newline = self._args[2], self._args[5]
        opened: Any
        if isinstance(file, io.TextIOWrapper):
            opened = TextFile(file, newline, buffering)
        elif isinstance(file, io.RawIOBase):
            opened = RawFile(file)
        else:
            opened = BufferedFile(file, buffering)
        return opened  # type: ignore[no-any-return]

    def __await__(self) -> Generator[Any, Any, _File]:
        return self._open().__await__()

    async def __aenter__(self) -> _File:
        self._opened = await self._open()
        return self._opened

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            await self._opened.close()


def _close(file: Any) -> None:
    file.close()


@overload
def open_file(
    file: _Path,
    mode: _TextMode = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: _Opener | None = None,
) -> Opening[TextFile]: ...


@overload
def open_file(  # type: ignore[overload-overlap]  # an int may be 0
    file: _Path,
    mode: _BinaryMode,
    buffering: Literal[0],
    encoding: None = None,
    errors: None = None,
    newline: None = None,
    closefd: bool = True,
    opener: _Opener | None = None,
) -> Opening[RawFile]: ...


@overload
def open_file(
    file: _Path,
    mode: _BinaryMode,
    buffering: int = -1,
    encoding: None = None,
    errors: None = None,
    newline: None = None,
    closefd: bool = True,
    opener: _Opener | None = None,
) -> Opening[BufferedFile]: ...


@overload
def open_file(
    file: _Path,
    mode: str,
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: _Opener | None = None,
) -> Opening[Any]: ...


def open_file(
    file: _Path,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: _Opener | None = None,
) -> Opening[Any]:
    """Open a file; the arguments and errors are those of the built-in `open()`.

    Use it as `async with open_file(...) as file` or as `file = await open_file(...)`. It gives a
    `TextFile`, or in binary mode a `BufferedFile`, or without a buffer (`buffering=0`) a
    `RawFile`, which can also read and write at positions of one's own.

    https://docs.python.org/3/library/functions.html#open
    """
    if "b" not in mode:
        # As open() does, so that a warning of the default encoding names the caller.
        encoding = io.text_encoding(encoding)
    return Opening(file, mode, buffering, encoding, errors, newline, closefd, opener)


def wrap_file(file: Any) -> AsyncFile[Any]:
    """Give an open file object asynchronous methods; it belongs to the result from then on.

    An `io.FileIO` becomes a `RawFile`. The methods of any other (a `GzipFile`, `TextIOWrapper`,
    `SpooledTemporaryFile`, ...) run in threads, one after another. Raises TypeError if `file` is
    no file object.
    """
    if type(file) is io.FileIO:
        return RawFile(file)
    if not hasattr(file, "close") or not (hasattr(file, "read") or hasattr(file, "write")):
        raise TypeError(f"file must be an open file object, got {file!r}")
    return WrappedFile(file)
