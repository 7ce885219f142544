"""Files that are in the system's memory: random reads and sequential ones, and writes.

On evenloop with `evenloop.open_file()`. On the other loops with `aiofiles` or `anyio`, whichever
the variable EVENLOOP_BENCH_FILES names (default aiofiles), where it is installed: they have no
files of their own. Their files know one position only, so a task has a file of its own there,
and a positional read is a seek and a read.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from evenloop.bench.case import Bench, CannotRun, case

__all__: list[str] = []

_GIB = 1024 * 1024 * 1024
_PAGE = 4096
_PIECE = 64 * 1024
_STEP = 7_368_787  # a prime: strides over the whole file, no page twice in a row

_Opener = Callable[..., Any]


def _opener(bench: Bench) -> tuple[_Opener, bool]:
    """Return what opens files on this contender, and whether it is evenloop's."""
    if bench.contender.ours:
        import evenloop

        return evenloop.open_file, True
    name = os.environ.get("EVENLOOP_BENCH_FILES") or "aiofiles"
    try:
        module: Any = importlib.import_module(name)
    except ImportError:
        raise CannotRun(f"{name} is not installed") from None
    return (module.open if name == "aiofiles" else module.open_file), False


@asynccontextmanager
async def _opened(opener: _Opener, path: str, mode: str, buffering: int) -> AsyncIterator[Any]:
    file = await opener(path, mode, buffering)
    try:
        yield file
    finally:
        await (file.aclose() if hasattr(file, "aclose") else file.close())


def _file(bench: Bench) -> str:
    """Return a file of a gibibyte (less in a rehearsal) that is in memory; it is kept."""
    size = _GIB if bench.scale >= 1 else 16 * 1024 * 1024
    path = Path(tempfile.gettempdir(), f"evenloop-bench-{size}")
    if not path.exists() or path.stat().st_size != size:
        block = os.urandom(1024 * 1024)
        with path.open("wb") as new:
            for _ in range(size // len(block)):
                new.write(block)
    with path.open("rb", 0) as file:
        while file.read(1024 * 1024):
            pass
    return str(path)


async def _random_reads(bench: Bench, depth: int) -> None:
    opener, ours = _opener(bench)
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

    read: Callable[[Any], Awaitable[None]] = with_position if ours else with_seek
    files = [_opened(opener, path, "rb", 0) for _ in range(1 if ours else depth)]
    opened = [await file.__aenter__() for file in files]
    try:
        with bench.watch:
            await asyncio.gather(*[read(opened[n % len(opened)]) for n in range(depth)])
    finally:
        for file in files:
            await file.__aexit__(None, None, None)


@case("file-random-1", "4 KiB random reads of a cached GiB, one at a time", "files", 10_000)
async def random_reads_one(bench: Bench) -> None:
    """One task reads pages all over the file."""
    await _random_reads(bench, 1)


@case("file-random-64", "4 KiB random reads of a cached GiB, 64 at a time", "files", 10_000)
async def random_reads_many(bench: Bench) -> None:
    """Sixty-four tasks read pages all over the file."""
    await _random_reads(bench, 64)


@case("file-read", "1 GiB read in 64 KiB pieces", "files", _GIB // _PIECE, rounds=3)
async def sequential_reads(bench: Bench) -> None:
    """The file from its beginning, with the buffer that open() gives it."""
    opener, _ = _opener(bench)
    path = _file(bench)
    async with _opened(opener, path, "rb", -1) as file:
        with bench.watch:
            for _ in range(min(bench.n, os.path.getsize(path) // _PIECE)):
                assert len(await file.read(_PIECE)) == _PIECE


@case("file-write", "1 GiB written in 64 KiB pieces", "files", _GIB // _PIECE, rounds=3)
async def sequential_writes(bench: Bench) -> None:
    """Over a file that is there already: what the disk has to find room for is not counted."""
    opener, _ = _opener(bench)
    path = _file(bench)
    piece = os.urandom(_PIECE)
    async with _opened(opener, path, "r+b", -1) as file:
        with bench.watch:
            for _ in range(min(bench.n, os.path.getsize(path) // _PIECE)):
                assert await file.write(piece) == _PIECE
            await file.flush()
