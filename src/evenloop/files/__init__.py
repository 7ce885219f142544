"""Asynchronous files: `open_file()`, `wrap_file()` and `Path`.

- `transfer`: the one place that decides how data moves: at once, on the engine, or by a thread;
- `raw`, `buffered`, `text`: the three layers of a file, as `io` has them;
- `opening`: `open_file()`; `wrapped`: any other file object, its methods in threads;
- `path`: `pathlib.Path` with asynchronous methods.
"""

from __future__ import annotations

from evenloop.files.base import AsyncFile
from evenloop.files.buffered import BufferedFile
from evenloop.files.opening import open_file, wrap_file
from evenloop.files.path import Path
from evenloop.files.raw import RawFile
from evenloop.files.text import TextFile
from evenloop.files.wrapped import WrappedFile

__all__ = [
    "AsyncFile",
    "BufferedFile",
    "Path",
    "RawFile",
    "TextFile",
    "WrappedFile",
    "open_file",
    "wrap_file",
]
