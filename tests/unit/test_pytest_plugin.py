"""The pytest plugin, on a small project of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import pytest

TESTS = """\
import asyncio
import os
import unittest


class Cases(unittest.IsolatedAsyncioTestCase):
    async def test_kind(self):
        assert type(asyncio.get_running_loop()).__module__ == "evenloop.loop"

    async def test_child(self):
        child = await asyncio.create_subprocess_shell("exit 0")
        assert await child.wait() == 0


def test_reader():
    async def main():
        out, into = os.pipe()
        try:
            asyncio.get_running_loop().add_reader(out, print)
            asyncio.get_running_loop().remove_reader(out)
        finally:
            os.close(out)
            os.close(into)

    asyncio.run(main())
"""


COPES = """\
import asyncio
import pytest

SIGNAL = 15


@pytest.mark.parametrize("number", range(3))
def test_signal(number):
    async def main():
        loop = asyncio.get_running_loop()
        try:
            loop.add_signal_handler(SIGNAL, print)
        except NotImplementedError:
            return
        loop.remove_signal_handler(SIGNAL)

    asyncio.run(main())
"""

# By a plugin that runs coroutines, each in its own way.
MARKED = """\
import asyncio
import pytest


@pytest.mark.{mark}
async def test_kind():
    assert type(asyncio.get_running_loop()).__module__ == "evenloop.loop"


@pytest.mark.{mark}
async def test_child():
    child = await asyncio.create_subprocess_shell("exit 0")
    assert await child.wait() == 0
"""


def run(folder: Path, *options: str, tests: str = TESTS) -> subprocess.CompletedProcess[str]:
    (folder / "test_project.py").write_text(tests)
    # Wherever it is not installed as a plugin, it is one by name.
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    if not any(one.value == "evenloop_pytest" for one in entry_points(group="pytest11")):
        command += ["-p", "evenloop_pytest"]
    return subprocess.run(
        [*command, *options], cwd=folder, capture_output=True, text=True, timeout=50, check=False
    )


def test_on_evenloop(tmp_path: Path) -> None:
    seen = run(tmp_path, "--evenloop")
    assert seen.returncode == 0, seen.stdout
    assert "3 passed" in seen.stdout
    # Which is said where pytest says anything of itself.
    verbose = run(tmp_path, "--evenloop", "-v").stdout
    assert "\nevenloop: asyncio runs on evenloop " in verbose


def test_without_an_option(tmp_path: Path) -> None:
    """asyncio's own loop, and nothing of evenloop imported."""
    seen = run(tmp_path)
    assert "1 failed, 2 passed" in seen.stdout


def test_profiles(tmp_path: Path) -> None:
    seen = run(tmp_path, "--evenloop-profile=linux,windows-proactor,windows-selector")
    assert seen.returncode == 1, seen.stdout
    assert "3 failed, 6 passed" in seen.stdout
    table = seen.stdout.partition("what tests meet")[2]
    lines = [line.split() for line in table.splitlines() if line.startswith("  ")]
    assert [(line[0], line[1], line[-1]) for line in lines if len(line) == 4] == [
        ("WPRO-READER", "failed", "test_project.py:19"),
        ("WSEL-HANDLE", "failed", "test_project.py:19"),
        ("WSEL-SUBPROC", "failed", "test_project.py:11"),
    ]
    assert "no test met a limit" in table
    # What the rows are about comes last.
    assert [line.partition(":")[0] for line in table.splitlines() if ": Windows, " in line] == [
        "WSEL-HANDLE",
        "WSEL-SUBPROC",
        "WPRO-READER",
    ]


def test_who_copes_is_told_once(tmp_path: Path) -> None:
    seen = run(tmp_path, "--evenloop-profile=windows-proactor", tests=COPES)
    assert seen.returncode == 0, seen.stdout
    assert "3 passed" in seen.stdout
    line = "WIN-SIGNAL      passed  test_project.py::test_signal[0] and 2 more  test_project.py:12"
    assert line in seen.stdout


def test_ids(tmp_path: Path) -> None:
    """The profile is the last parameter of a test, wherever pytest names it."""
    tests = """\
import pytest

@pytest.mark.parametrize("x", ["default"])
def test_x(x):
    assert 0

class TestCase:
    def test_y(self):
        assert 0
"""
    seen = run(tmp_path, "--evenloop-profile=windows-proactor,windows-selector", "-vv", tests=tests)
    ids = [
        "test_project.py::test_x[default-windows-proactor]",
        "test_project.py::TestCase::test_y[windows-proactor]",
        "test_project.py::test_x[default-windows-selector]",
        "test_project.py::TestCase::test_y[windows-selector]",
    ]
    lines = seen.stdout.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("FAILED ")] == ids
    told = [line.split() for line in lines if line.endswith("%]")]
    assert [words[0] for words in told] == ids
    assert [words[-1].strip("[]") for words in told] == ["50%", "100%", "50%", "100%"]
    assert [line.strip("_ ") for line in lines if line.startswith("____")] == [
        "test_x[default-windows-proactor]",
        "TestCase.test_y[windows-proactor]",
        "test_x[default-windows-selector]",
        "TestCase.test_y[windows-selector]",
    ]
    assert "windows-selector: 0 passed, 2 failed" in lines


def test_a_test_is_counted_once(tmp_path: Path) -> None:
    """By the worst of its phases."""
    tests = """\
import pytest

@pytest.fixture
def bad():
    yield
    assert 0

def test_bad(bad): ...

@pytest.mark.skip(reason="as it is")
def test_skipped(): ...
"""
    seen = run(tmp_path, "--evenloop-profile=linux", tests=tests)
    assert "linux: 0 passed, 1 failed" in seen.stdout


@pytest.mark.parametrize(
    ("plugin", "mark", "options"),
    [
        ("pytest_asyncio", "asyncio", ("-o", "asyncio_default_fixture_loop_scope=function")),
        ("anyio", "anyio", ("-p", "anyio", "-k", "not trio")),
    ],
)
def test_plugins_that_run_coroutines(
    tmp_path: Path, plugin: str, mark: str, options: tuple[str, ...]
) -> None:
    if find_spec(plugin) is None:
        pytest.skip(f"{plugin} is not installed: it comes with the extra `ecosystem`")
    tests = MARKED.format(mark=mark)
    assert run(tmp_path, *options, tests=tests).returncode == 1  # asyncio's own loop
    seen = run(tmp_path, "--evenloop", *options, tests=tests)
    assert seen.returncode == 0, seen.stdout
    assert "2 passed" in seen.stdout
    seen = run(tmp_path, "--evenloop-profile=windows-selector", *options, tests=tests)
    assert "WSEL-SUBPROC    failed  test_project.py::test_child" in seen.stdout


def test_colour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pytest writes in colour."""
    profile = "--evenloop-profile=windows-selector"
    monkeypatch.delenv("NO_COLOR", raising=False)
    plain = run(tmp_path, profile).stdout
    assert "\x1b" not in plain
    colourful = run(tmp_path, profile, "--color=yes").stdout.partition("what tests meet")[2]
    assert "\x1b[1mwindows-selector\x1b[0m: 1 passed, " in colourful
    assert "\x1b[31mfailed  \x1b[0m" in colourful


def test_no_tests(tmp_path: Path) -> None:
    seen = run(tmp_path, "--evenloop-profile=linux", tests="")
    assert seen.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, seen.stdout
    assert "linux: 0 passed, 0 failed" in seen.stdout


def test_a_wrong_name(tmp_path: Path) -> None:
    seen = run(tmp_path, "--evenloop-profile=beos")
    assert "no profile 'beos'" in seen.stderr
    assert seen.returncode == 4


def test_costs_nothing_unused() -> None:
    """pytest imports its door at every start: that brings nothing of evenloop with it."""
    text = (
        "import sys, evenloop_pytest; print([n for n in sys.modules if n.startswith('evenloop')])"
    )
    seen = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "['evenloop_pytest']"
