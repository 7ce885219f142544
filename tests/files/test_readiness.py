"""Row ALL-FILES: regular files can be watched, on every engine."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import evenloop
from evenloop import regular
from evenloop.engines.changes import Changes, News

from tests.support.loops import until

Factory = Callable[[], asyncio.AbstractEventLoop]
WINDOWS = sys.platform == "win32"
#: Long enough for a reader that ran without need to be seen, in seconds.
A_WHILE = 0.05


def opened(path: Path, mode: str) -> Any:
    """An open file without a buffer; the test closes it."""
    return open(path, mode, 0)


class Following:
    """A file that grows, and a reader of it."""

    def __init__(self, path: Path, content: bytes = b"") -> None:
        self.path = path
        self.writer = opened(path, "wb")
        self.writer.write(content)
        self.reader = opened(path, "rb")
        self.calls = 0
        self.data = b""
        self.loop = asyncio.get_running_loop()
        self.loop.add_reader(self.reader, self.readable)

    def readable(self) -> None:
        self.calls += 1
        self.data += self.reader.read(4)

    async def silent(self) -> None:
        """It is not called for a while, and the loop does not spin."""
        calls, turns = self.calls, self.loop.turn  # type: ignore[attr-defined]
        await asyncio.sleep(A_WHILE)
        assert self.calls == calls
        assert self.loop.turn - turns < 20  # type: ignore[attr-defined]

    def close(self) -> None:
        self.loop.remove_reader(self.reader)
        self.reader.close()
        self.writer.close()


async def test_it_runs_while_there_is_something_unread(new_loop: Factory, tmp_path: Path) -> None:
    file = Following(tmp_path / "file", b"0123456789")
    await until(lambda: file.data == b"0123456789")
    assert file.calls == 3
    await file.silent()
    assert file.calls == 3
    file.close()


async def test_it_is_silent_at_the_end_and_wakes_when_it_grows(
    new_loop: Factory, tmp_path: Path
) -> None:
    file = Following(tmp_path / "file")
    await file.silent()
    assert file.calls == 0
    for number in range(5):
        file.writer.write(b"%d" % number)
        await until(lambda number=number: file.calls == number + 1)
        await file.silent()
    assert file.data == b"01234"
    file.close()


async def test_it_wakes_once_when_it_is_truncated(new_loop: Factory, tmp_path: Path) -> None:
    file = Following(tmp_path / "file", b"content")
    await until(lambda: file.data == b"content")
    await file.silent()
    calls = file.calls
    file.writer.truncate(0)
    await until(lambda: file.calls == calls + 1)
    await file.silent()
    assert file.data == b"content"
    file.reader.seek(0)
    file.writer.seek(0)
    file.writer.write(b"new")
    await until(lambda: file.data == b"contentnew")
    file.close()


async def test_a_writer_always_runs(new_loop: Factory, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    calls: list[int] = []
    with open(tmp_path / "file", "wb") as file:
        loop.add_writer(file, calls.append, 1)
        await until(lambda: len(calls) > 3)
        assert loop.remove_writer(file)
        count = len(calls)
        await asyncio.sleep(0.005)
        assert len(calls) == count
        assert not loop.remove_writer(file)


async def test_reader_and_writer_of_one_file(new_loop: Factory, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    with open(tmp_path / "file", "w+b", 0) as file:
        lines: list[bytes] = []

        def write() -> None:
            where = file.tell()
            file.write(b"x")
            file.seek(where)
            loop.remove_writer(file)

        loop.add_writer(file, write)
        loop.add_reader(file, lambda: lines.append(file.read(1)))
        await until(lambda: lines == [b"x"])
        assert loop.remove_reader(file)


async def test_what_is_removed_is_silent(new_loop: Factory, tmp_path: Path) -> None:
    file = Following(tmp_path / "file", b"1234")
    await until(lambda: file.data == b"1234")
    assert file.loop.remove_reader(file.reader)
    assert not file.loop.remove_reader(file.reader)
    file.writer.write(b"more")
    await asyncio.sleep(A_WHILE)
    assert file.calls == 1
    file.loop.add_reader(file.reader, file.readable)
    await until(lambda: file.data == b"1234more")
    file.close()


async def test_a_second_reader_replaces_the_first(new_loop: Factory, tmp_path: Path) -> None:
    file = Following(tmp_path / "file")
    seen: list[bytes] = []
    file.loop.add_reader(file.reader, lambda: seen.append(file.reader.read(9)))
    file.writer.write(b"one")
    await until(lambda: seen == [b"one"])
    assert file.calls == 0
    file.close()


async def test_many_watches_of_one_file(new_loop: Factory, tmp_path: Path) -> None:
    """Each has its own position; one that goes takes nothing from the others."""
    loop = asyncio.get_running_loop()
    path = tmp_path / "file"
    with open(path, "wb", 0) as writer:
        readers = [opened(path, "rb") for _ in range(4)]
        seen: list[bytes] = [b""] * 4

        def read(number: int) -> None:
            seen[number] += readers[number].read(9)

        for number, reader in enumerate(readers):
            loop.add_reader(reader, read, number)
        writer.write(b"a")
        await until(lambda: seen == [b"a"] * 4)
        loop.remove_reader(readers[0])
        writer.write(b"b")
        await until(lambda: seen == [b"a", b"ab", b"ab", b"ab"])
        for reader in readers[1:]:
            loop.remove_reader(reader)
    for reader in readers:
        reader.close()


@pytest.mark.skipif(WINDOWS, reason="Windows keeps names of open files")
@pytest.mark.parametrize("what", ["renamed", "deleted", "replaced"])
async def test_it_is_the_open_file_that_is_watched(
    new_loop: Factory, tmp_path: Path, what: str
) -> None:
    file = Following(tmp_path / "file", b"1")
    await until(lambda: file.calls == 1)
    if what == "deleted":
        file.path.unlink()
    else:
        file.path.rename(tmp_path / "other")
        if what == "replaced":
            file.path.write_bytes(b"another file's")
    await file.silent()
    file.writer.write(b"2")
    await until(lambda: file.data == b"12")
    await file.silent()
    if what == "deleted":  # and one that has no name when it is first watched
        file.loop.remove_reader(file.reader)
        file.loop.add_reader(file.reader, file.readable)
        await file.silent()
        file.writer.write(b"3")
        await until(lambda: file.data == b"123")
    file.close()


@pytest.mark.skipif(WINDOWS, reason="there a handle does not tell which file it is of")
async def test_a_descriptor_that_is_closed_while_it_is_watched(
    new_loop: Factory, tmp_path: Path
) -> None:
    """It is no trouble of the loop's, nor of another file that gets the number."""
    loop = asyncio.get_running_loop()
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    file = Following(tmp_path / "file")
    await file.silent()
    number = file.reader.fileno()
    file.reader.close()
    with opened(tmp_path / "other", "w+b") as other:
        assert other.fileno() == number
        other.write(b"not for the reader")
        other.seek(0)
        file.writer.write(b"news")
        await until(lambda: contexts)
        await file.silent()
        assert file.calls == 0
        assert f"descriptor {number} can no longer be watched" in contexts[0]["message"]
        assert len(contexts) == 1
    file.writer.close()


async def test_a_reader_that_raises(new_loop: Factory, tmp_path: Path) -> None:
    """The loop goes on, and the reader too: there is still something unread."""
    loop = asyncio.get_running_loop()
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with open(path, "rb", 0) as file:

        def fail() -> None:
            raise LookupError("reader")

        loop.add_reader(file, fail)
        await until(lambda: len(contexts) > 2)
        loop.remove_reader(file)
    assert isinstance(contexts[0]["exception"], LookupError)


async def test_a_reader_that_removes_another(new_loop: Factory, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    path = tmp_path / "file"
    path.write_bytes(b"x")
    ran: list[str] = []
    with open(path, "rb") as first, open(path, "rb") as second:

        def run(name: str, other: Any, own: Any) -> None:
            ran.append(name)
            loop.remove_reader(other)
            loop.remove_reader(own)

        loop.add_reader(first, run, "first", second, first)
        loop.add_reader(second, run, "second", first, second)
        await until(lambda: ran)
        await asyncio.sleep(0.01)
        assert ran == ["first"]


async def test_thousands_of_files(new_loop: Factory, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    count = 200 if WINDOWS else 900  # what a process may open everywhere
    seen: list[int] = []
    files = []
    for number in range(count):
        file = opened(tmp_path / str(number), "w+b")
        files.append(file)

        def read(number: int = number, file: Any = file) -> None:
            seen.append(number)
            assert file.read(9) == b"x"

        loop.add_reader(file, read)
    await asyncio.sleep(A_WHILE)
    assert seen == []
    for number in range(0, count, 7):
        with open(tmp_path / str(number), "ab", 0) as writer:
            writer.write(b"x")
    await until(lambda: len(seen) == len(range(0, count, 7)), 20)
    assert sorted(seen) == list(range(0, count, 7))
    for file in files:
        assert loop.remove_reader(file)
        file.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/status") or WINDOWS, reason="there is no /proc")
async def test_a_file_that_does_not_know_its_size(new_loop: Factory) -> None:
    """Files of /proc are of size 0, and inotify tells nothing of them."""
    loop = asyncio.get_running_loop()
    with open("/proc/self/status", "rb", 0) as file:
        assert os.fstat(file.fileno()).st_size == 0
        pieces: list[bytes] = []
        loop.add_reader(file, lambda: pieces.append(file.read(100)))
        await until(lambda: pieces and len(pieces[-1]) < 100)
        count = len(pieces)
        await asyncio.sleep(2 * regular.LOOK)
        assert len(pieces) == count
        assert b"".join(pieces).startswith(b"Name:")
        loop.remove_reader(file)


async def test_without_means_of_the_system_it_looks_from_time_to_time(
    new_loop: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regular, "new_changes", lambda wake: None)
    file = Following(tmp_path / "file", b"1")
    await until(lambda: file.data == b"1")
    await file.silent()
    file.writer.write(b"2")
    await until(lambda: file.data == b"12")
    file.writer.truncate(0)
    calls = file.calls
    await until(lambda: file.calls == calls + 1)
    file.close()


class _Scarce(Changes):
    """Means that are used up, lose what they had, and overflow."""

    def __init__(self) -> None:
        self.news = News([], [])
        self.number = 0

    def add(self, fd: int) -> tuple[int, bool]:
        self.number += 1
        if self.number > 2:
            raise OSError(28, "no more watches")
        return self.number, True

    def remove(self, key: object) -> None:
        return

    def fileno(self) -> int:
        return -1

    def collect(self) -> News:
        news, self.news = self.news, News([], [])
        return news

    def close(self) -> None:
        return


async def test_watches_that_run_out_or_are_lost(
    new_loop: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scarce = _Scarce()
    wakes: list[Callable[[], None]] = []
    monkeypatch.setattr(regular, "new_changes", lambda wake: wakes.append(wake) or scarce)
    files = [Following(tmp_path / str(number)) for number in range(3)]
    await files[0].silent()
    for file in files:
        file.writer.write(b"1")
    # The third has no watch, and is looked at; the others are told of.
    await until(lambda: files[2].data == b"1")
    assert not files[0].data and not files[1].data
    scarce.news = News([], [], True)
    wakes[0]()
    await until(lambda: files[0].data == files[1].data == b"1")
    scarce.news = News([], [1])
    wakes[0]()
    await asyncio.sleep(0.01)
    for file in files:
        file.writer.write(b"2")
    await until(lambda: files[0].data == files[2].data == b"12")
    assert files[1].data == b"1"
    for file in files:
        file.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_goes_on_and_so_does_its_parent(new_loop: Factory, tmp_path: Path) -> None:
    loop = new_loop()
    path = tmp_path / "file"
    writer, reader = opened(path, "wb"), opened(path, "rb")
    child_reader = opened(path, "rb")
    seen: list[bytes] = []

    def wait_for(expected: list[bytes]) -> bool:
        async def main() -> None:
            await until(lambda: seen == expected, 3)

        try:
            loop.run_until_complete(main())
        except TimeoutError:
            return False
        return True

    loop.add_reader(reader, lambda: seen.append(reader.read(9)))
    writer.write(b"1")
    assert wait_for([b"1"])
    pid = os.fork()
    if pid == 0:
        good = False
        try:
            loop.remove_reader(reader)  # its position is the parent's too
            child_reader.seek(0, os.SEEK_END)
            loop.add_reader(child_reader, lambda: seen.append(child_reader.read(9)))
            writer.write(b"2")
            good = wait_for([b"1", b"2"])
        finally:
            os._exit(0 if good else 1)
    assert wait_for([b"1", b"2"])
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    writer.write(b"3")
    assert wait_for([b"1", b"2", b"3"])
    loop.remove_reader(reader)
    loop.close()
    for file in (writer, reader, child_reader):
        file.close()


async def test_a_folder_is_still_refused(new_loop: Factory, tmp_path: Path) -> None:
    if WINDOWS:
        pytest.skip("Windows opens no folders")
    loop = asyncio.get_running_loop()
    if not isinstance(loop.engine, evenloop.engines.Engine):  # type: ignore[attr-defined]
        raise AssertionError(loop)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        if loop.engine.regular_files == "refused":  # type: ignore[attr-defined]
            with pytest.raises(PermissionError):
                loop.add_reader(fd, print)
    finally:
        os.close(fd)


def test_idle_watches_cost_nothing(new_loop: Factory, tmp_path: Path) -> None:
    """A thousand files at their end, and the loop sleeps: under 1 % of a core."""
    if WINDOWS:
        pytest.skip("Windows tells too little: files are looked at, which is measured elsewhere")
    loop = new_loop()
    files = [opened(tmp_path / str(number), "w+b") for number in range(300)]
    for file in files:
        assert stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        loop.add_reader(file, print)
    loop.run_until_complete(asyncio.sleep(0.05))
    before = time.process_time()
    loop.run_until_complete(asyncio.sleep(1))
    used = time.process_time() - before
    for file in files:
        loop.remove_reader(file)
        file.close()
    loop.close()
    assert used < 0.01
