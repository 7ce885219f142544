"""Files that are in the system's memory: random reads, sequential ones, and writes.

On evenloop with `evenloop.open_file()`. The other loops have no files of their own, so each case
comes twice: beside `aiofiles` and beside `anyio` on them. Their files know one position only: a
task has a file of its own there, and a positional read is a seek and a read.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from evenloop.bench.case import Bench, CannotRun, Case, register

__all__: list[str] = []

_GIB = 1024 * 1024 * 1024
_MIB = 1024 * 1024
_PAGE = 4096
_PIECE = 64 * 1024
_STEP = 7_368_787  # a prime: strides over the whole file, no page twice in a row
# What opens files on other loops.
_OPENERS = {"aiofiles": "open", "anyio": "open_file"}

_Opener = Callable[..., Any]
_Body = Callable[[Bench, _Opener], Awaitable[None]]


def _case(name: str, title: str, n: int, **more: Any) -> Callable[[_Body], _Body]:
    """Make two cases of a body, which is given what opens files."""

    def add(body: _Body) -> _Body:
        for library in _OPENERS:
            run = partial(_run, body, library)
            register(Case(f"{name}-{library}", f"{title}; {library}", "files", n, run, **more))
        return body

    return add


async def _run(body: _Body, library: str, bench: Bench) -> None:
    opener = "open_file" if bench.contender.ours else _OPENERS[library]
    try:
        module = importlib.import_module("evenloop" if bench.contender.ours else library)
    except ImportError:
        raise CannotRun(f"{library} is not installed") from None
    await body(bench, getattr(module, opener))


@asynccontextmanager
async def _opened(opener: _Opener, path: str, mode: str, buffering: int) -> AsyncIterator[Any]:
    file = await opener(path, mode, buffering)
    try:
        yield file
    finally:
        await (file.aclose() if hasattr(file, "aclose") else file.close())


def _file(bench: Bench) -> str:
    """Return a file of a gibibyte (less in a rehearsal) that is in memory; it is kept."""
    size = _GIB if bench.scale >= 0.1 else 16 * _MIB
    path = Path(tempfile.gettempdir(), f"evenloop-bench-{size}")
    if not path.exists() or path.stat().st_size != size:
        block = os.urandom(_MIB)
        with path.open("wb") as new:
            for _ in range(size // len(block)):
                new.write(block)
    with path.open("rb", 0) as file:
        while file.read(_MIB):
            pass
    return str(path)


async def _random_reads(bench: Bench, opener: _Opener, depth: int) -> None:
    path = _file(bench)
    pages = os.path.getsize(path) // _PAGE
    places = itertools.islice(((n * _STEP) % pages * _PAGE for n in itertools.count()), bench.n)

    async def with_position(file: Any) -> None:
        for place in places:
            assert len(await file.pread(_PAGE, place)) == _PAGE

    async def with_seek(file: Any) -> None:
        for place in places:
            await file.seek(place)
            assert len(await file.read(_PAGE)) == _PAGE

    ours = bench.contender.ours
    read: Callable[[Any], Awaitable[None]] = with_position if ours else with_seek
    files = [_opened(opener, path, "rb", 0) for _ in range(1 if ours else depth)]
    opened = [await file.__aenter__() for file in files]
    try:
        with bench.watch:
            await asyncio.gather(*[read(opened[n % len(opened)]) for n in range(depth)])
    finally:
        for file in files:
            await file.__aexit__(None, None, None)


@_case("file-random-1", "4 KiB random reads of a cached GiB, one at a time", 10_000)
async def random_reads_one(bench: Bench, opener: _Opener) -> None:
    """One task reads pages all over the file."""
    await _random_reads(bench, opener, 1)


@_case("file-random-64", "4 KiB random reads of a cached GiB, 64 at a time", 10_000)
async def random_reads_many(bench: Bench, opener: _Opener) -> None:
    """Sixty-four tasks read pages all over the file."""
    await _random_reads(bench, opener, 64)


@_case("file-read", "1 GiB read in 64 KiB pieces", _GIB // _PIECE, rounds=3)
async def sequential_reads(bench: Bench, opener: _Opener) -> None:
    """The file from its beginning, with the buffer that open() gives it."""
    path = _file(bench)
    async with _opened(opener, path, "rb", -1) as file:
        with bench.watch:
            for _ in range(min(bench.n, os.path.getsize(path) // _PIECE)):
                assert len(await file.read(_PIECE)) == _PIECE


async def _write(bench: Bench, file: Any, pieces: int) -> None:
    piece = os.urandom(_PIECE)
    with bench.watch:
        for _ in range(pieces):
            assert await file.write(piece) == _PIECE
        await file.flush()


@_case("file-write", "1 GiB written in 64 KiB pieces over a file", _GIB // _PIECE, rounds=3)
async def sequential_writes(bench: Bench, opener: _Opener) -> None:
    """Over a file that is there already: what the disk has to find room for is not counted."""
    path = _file(bench)
    async with _opened(opener, path, "r+b", -1) as file:
        await _write(bench, file, min(bench.n, os.path.getsize(path) // _PIECE))


@_case("file-new", "256 MiB written in 64 KiB pieces to a new file", 256 * _MIB // _PIECE, rounds=3)
async def new_file(bench: Bench, opener: _Opener) -> None:
    """One as large is written and deleted just before: the memory that is free is in use.

    A virtual machine may have given back what nobody used for a while. To get it again takes
    several times as long as the write itself, and falls on whoever comes first.
    """
    with tempfile.TemporaryDirectory(prefix="evenloop-bench-") as folder:
        before = Path(folder, "before")
        with before.open("wb", 0) as file:
            for _ in range(bench.n):
                file.write(bytes(_PIECE))
        before.unlink()
        async with _opened(opener, str(Path(folder, "new")), "wb", -1) as new:
            await _write(bench, new, bench.n)
