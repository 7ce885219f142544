"""Faults of files: no lost byte, no leak, no hang."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import evenloop
from evenloop.files import transfer

Factory = Callable[[], asyncio.AbstractEventLoop]
WINDOWS = sys.platform == "win32"
#: Of the small disk, in bytes.
ROOM = 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a mebibyte."""
    if WINDOWS or not hasattr(os, "geteuid"):
        pytest.skip("no small disk can be made here: mounting a tmpfs is Linux's")
    if os.geteuid() != 0:
        pytest.skip("no small disk can be made here: only root mounts a tmpfs")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small disk can be made here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_full_disk_raw(new_loop: Factory, small_disk: Path) -> None:
    """A write is short, then fails; the file holds what was counted."""
    data = os.urandom(ROOM + 100_000)
    async with evenloop.open_file(small_disk / "file", "wb", 0) as file:
        written = 0
        with pytest.raises(OSError, match="No space left") as caught:
            while written < len(data):
                count = await file.write(data[written : written + 70_000])
                assert count > 0
                written += count
        assert caught.value.errno == errno.ENOSPC
        with pytest.raises(OSError, match="No space left"):
            await file.pwrite(b"x" * 100_000, ROOM)
    assert (small_disk / "file").read_bytes() == data[:written]


async def test_a_full_disk_buffered(new_loop: Factory, small_disk: Path) -> None:
    """The error is raised, and once there is room nothing is lost or doubled."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (ROOM - 300_000))
    data = os.urandom(600_000)
    file = await evenloop.open_file(small_disk / "file", "wb")
    assert await file.write(data) == len(data)
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            await file.flush()
    ballast.unlink()
    await file.flush()
    await file.close()
    assert (small_disk / "file").read_bytes() == data


async def test_a_full_disk_at_close(new_loop: Factory, small_disk: Path) -> None:
    """Closing raises, and closes all the same."""
    file = await evenloop.open_file(small_disk / "file", "w", encoding="ascii")
    await file.write("x" * (ROOM + 1))
    fd = file.fileno()
    with pytest.raises(OSError, match="No space left"):
        await file.close()
    assert file.closed
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    await file.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/mem") or WINDOWS, reason="there is no /proc")
async def test_a_disk_that_cannot_be_read(new_loop: Factory) -> None:
    """EIO, as nobody has memory at address 0."""
    async with evenloop.open_file("/proc/self/mem", "rb", 0) as file:
        for attempt in (file.pread(100, 0), file.read(100)):
            with pytest.raises(OSError, match="Input/output error") as caught:
                await attempt
            assert caught.value.errno == errno.EIO
    async with evenloop.open_file("/proc/self/mem", "rb") as buffered:
        with pytest.raises(OSError, match="Input/output error"):
            await buffered.read(100)
        assert await buffered.tell() == 0


async def test_a_file_that_is_truncated_while_it_is_read(new_loop: Factory, tmp_path: Path) -> None:
    """Reads end short at the new end; nothing waits for what is gone."""
    path = tmp_path / "file"
    content = os.urandom(4_000_000)
    path.write_bytes(content)
    async with evenloop.open_file(path, "rb") as file:
        got = await file.read(100_000)
        reads = asyncio.ensure_future(file.read())
        os.truncate(path, 1_000_000)
        got += await reads
        assert len(got) in (1_000_000, 4_000_000) or len(got) % 4096 == 0
        assert got == content[: len(got)]
        assert await file.read() == b""
        os.truncate(path, 0)
        assert await file.read(10) == b""
        await file.seek(0)
        assert await file.read() == b""


@pytest.mark.parametrize("cached", [True, False])
async def test_closing_while_reads_are_in_flight(
    new_loop: Factory, tmp_path: Path, cached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They end with their data, and the number is free only then."""
    monkeypatch.setattr(transfer.cached, "OFFERED", cached and transfer.cached.OFFERED)
    path = tmp_path / "file"
    content = os.urandom(400_000)
    path.write_bytes(content)
    for _ in range(10):
        file = await evenloop.open_file(path, "rb", 0)
        reads = [
            asyncio.ensure_future(file.pread(4096, place)) for place in range(0, 400_000, 5000)
        ]
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(file.close())
        await asyncio.sleep(0)
        # Something else gets the next free number at once.
        with open(os.devnull, "rb"):
            found = await asyncio.gather(*reads)
            await closing
        assert found == [content[place : place + 4096] for place in range(0, 400_000, 5000)]
        with pytest.raises(ValueError, match="closed file"):
            await file.pread(1, 0)


async def test_closing_while_writes_are_in_flight(new_loop: Factory, tmp_path: Path) -> None:
    path = tmp_path / "file"
    file = await evenloop.open_file(path, "wb", 0)
    writes = [asyncio.ensure_future(file.write(b"%04d" % number)) for number in range(50)]
    await asyncio.sleep(0)
    await file.close()
    assert await asyncio.gather(*writes) == [4] * 50
    assert path.read_bytes() == b"".join(b"%04d" % number for number in range(50))


@pytest.mark.parametrize("cached", [True, False])
async def test_ten_thousand_reads_cancelled_at_random(
    new_loop: Factory, tmp_path: Path, cached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positional ones, into no memory but their own; those that end have the right bytes."""
    monkeypatch.setattr(transfer.cached, "OFFERED", cached and transfer.cached.OFFERED)
    chance = random.Random(5)
    path = tmp_path / "file"
    content = os.urandom(1_000_000)
    path.write_bytes(content)
    finished = cancelled = 0
    async with evenloop.open_file(path, "rb", 0) as file:

        async def read(place: int, size: int) -> None:
            nonlocal finished
            buffer = bytearray(size)
            if chance.random() < 0.5:
                assert await file.pread(size, place) == content[place : place + size]
            else:
                data = await file.pread(size, place)
                buffer[: len(data)] = data
                assert buffer == content[place : place + size]
            finished += 1

        for _ in range(100):
            tasks = [
                asyncio.ensure_future(read(chance.randrange(900_000), chance.randrange(1, 9000)))
                for _ in range(100)
            ]
            for task in chance.sample(tasks, 50):
                await asyncio.sleep(0)
                cancelled += task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome
    assert finished + cancelled == 10_000
    assert file._transfer.in_flight == 0


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("kind", ["raw", "buffered", "text"])
async def test_no_byte_is_lost_to_a_cancelled_read(
    new_loop: Factory, tmp_path: Path, kind: str, cached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the file's position: whoever reads next gets what the cancelled reader did not."""
    monkeypatch.setattr(transfer.cached, "OFFERED", cached and transfer.cached.OFFERED)
    chance = random.Random(kind)
    path = tmp_path / "file"
    content = "".join(f"{number} \u00e9\n" for number in range(40_000))
    path.write_text(content, encoding="utf-8", newline="\n")
    file: Any
    if kind == "text":
        file = await evenloop.open_file(path, encoding="utf-8")
    else:
        file = await evenloop.open_file(path, "rb", 0 if kind == "raw" else 512)
    pieces: list[Any] = []
    while True:
        size = chance.randrange(1, 3000)
        how = chance.choice([file.read, file.read, file.readline])
        task = asyncio.ensure_future(how(size))
        for _ in range(chance.randrange(6)):
            await asyncio.sleep(0)
        if chance.random() < 0.5:
            task.cancel()
        try:
            piece = await task
        except asyncio.CancelledError:
            continue
        if not piece:
            break
        pieces.append(piece)
    await file.close()
    read = "".join(pieces) if kind == "text" else b"".join(pieces).decode()
    assert read == content


async def test_no_byte_is_lost_or_doubled_by_a_cancelled_write(
    new_loop: Factory, tmp_path: Path
) -> None:
    """What `write()` was given is written once, in order, whoever is cancelled."""
    chance = random.Random(7)
    path = tmp_path / "file"
    file = await evenloop.open_file(path, "wb", 2000)
    expected = b""
    for number in range(600):
        piece = b"%d " % number * chance.randrange(1, 200)
        task = asyncio.ensure_future(file.write(piece))
        await asyncio.sleep(0)
        expected += piece
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        if chance.random() < 0.5:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await file.close()
    assert path.read_bytes() == expected


@pytest.mark.skipif(WINDOWS, reason="the gate is a named pipe")
async def test_an_open_that_is_cancelled_leaks_nothing(new_loop: Factory, tmp_path: Path) -> None:
    """The descriptor that arrives late is closed; the fixtures count."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)

    async def opening() -> None:
        await evenloop.open_file(gate, "rb")

    task = asyncio.ensure_future(opening())
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    os.close(os.open(gate, os.O_WRONLY))
    await asyncio.get_running_loop().shutdown_default_executor()
    await asyncio.sleep(0)
    gc.collect()


def test_without_a_thread_pool(new_loop: Factory, tmp_path: Path) -> None:
    """Where no thread can be had, the error says so, and the file is whole."""
    path = tmp_path / "file"
    path.write_bytes(b"there")
    before = threading.active_count()

    async def main() -> None:
        file = await evenloop.open_file(path, "rb", 0)
        await asyncio.get_running_loop().shutdown_default_executor()
        if not getattr(asyncio.get_running_loop(), "engine").files:  # noqa: B009
            with pytest.raises(RuntimeError, match="shutdown"):
                await file.fsync()
        await file.close()
        assert file._transfer.in_flight == 0

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
    assert threading.active_count() == before
