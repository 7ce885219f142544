"""`tail -f`: the example over a thousand files, and a file of a million lines."""

from __future__ import annotations

import asyncio
import random
import runpy
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.loops import until

Factory = Callable[[], asyncio.AbstractEventLoop]
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "tail_many.py"
WINDOWS = sys.platform == "win32"


def follow() -> Any:
    return runpy.run_path(str(EXAMPLE))["follow"]


def readers(loop: Any) -> list[Any]:
    """The files that the example opened, from its readers."""
    return [
        cell.cell_contents
        for watch in loop._watches.values()
        for cell in watch.handle._callback.__closure__
        if hasattr(cell.cell_contents, "fileno")
    ]


def stop(loop: Any) -> None:
    for file in readers(loop):
        loop.remove_reader(file)
        file.close()


@pytest.mark.timeout(60)
async def test_a_thousand_files(new_loop: Factory, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    count = 100 if WINDOWS else 900 if "Select" in repr(loop) else 1000
    if not WINDOWS:
        import resource

        count = min(count, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100)
        selector = getattr(loop.engine, "selector", None)  # type: ignore[attr-defined]
        if type(selector).__name__ == "SelectSelector":
            count = min(count, 900)
    chance = random.Random(1)
    paths = [tmp_path / f"{number}.log" for number in range(count)]
    seen: dict[Path, list[str]] = {path: [] for path in paths}
    tail = follow()
    for path in paths:
        path.write_text("before\n")
        tail(path, lambda path, line: seen[path].append(line))
    written: dict[Path, list[str]] = {path: [] for path in paths}
    for number in range(3000):
        path = chance.choice(paths)
        with open(path, "ab", 0) as file:
            file.write(b"line ")
            if number % 50 == 0:
                await asyncio.sleep(0)
            file.write(b"%d\n" % number)
        written[path].append(f"line {number}")
    await until(lambda: seen == written, 30)
    # A file that begins anew is followed from its beginning.
    with open(paths[0], "wb", 0) as file:
        await until(lambda: readers(loop)[0].tell() == 0)
        file.write(b"new\n")
    await until(lambda: seen[paths[0]][-1:] == ["new"])
    stop(loop)


WRITER = """
import sys, time
with open(sys.argv[1], "ab", 0) as file:
    data = b"".join(b"%d\\n" % number for number in range(1_000_000))
    step = 7919  # the end of a piece is hardly ever the end of a line
    for place in range(0, len(data), step):
        file.write(data[place:place + step])
"""


@pytest.mark.timeout(90)
def test_a_million_lines_and_then_none(new_loop: Factory, tmp_path: Path) -> None:
    """No line is lost or doubled while another process writes; then the loop sleeps."""
    loop: Any = new_loop()
    path = tmp_path / "file"
    path.touch()
    expected = 0

    def show(_: Path, line: str) -> None:
        nonlocal expected
        assert line == str(expected)
        expected += 1

    async def main() -> None:
        follow()(path, show)
        writer = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, str(path))
        assert await writer.wait() == 0
        await until(lambda: expected == 1_000_000, 60)

    loop.run_until_complete(main())
    before, began = time.process_time(), time.monotonic()
    loop.run_until_complete(asyncio.sleep(1.5))
    used = (time.process_time() - before) / (time.monotonic() - began)
    assert expected == 1_000_000
    stop(loop)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert used < 0.01, f"{used:.1%} of a core"


def test_the_program(tmp_path: Path) -> None:
    path = tmp_path / "file.log"
    path.touch()
    command = [sys.executable, "-m", "evenloop", "run", str(EXAMPLE), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        try:
            assert program.stdout.readline() == "following 1 files\n"
            with open(path, "ab", 0) as file:
                file.write(b"one\ntwo")
            assert program.stdout.readline() == f"{path}: one\n"
            with open(path, "ab", 0) as file:
                file.write(b"\n")
            assert program.stdout.readline() == f"{path}: two\n"
        finally:
            program.kill()
