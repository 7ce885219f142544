"""The scripts under tools/ that guard the project."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).parents[2] / "tools"

PXD = '''
# a comment
cimport cython
from libc.stdint cimport int64_t

cdef extern from *:
    """
    #define TWO 2
    """
    int TWO

cdef inline object helper(object a, int b=*):
    return a

@cython.final
cdef class Base:
    cdef readonly object name, other
    cdef dict[str, object] table
    cdef object __weakref__

cdef class Child(Base):
    cdef public Py_ssize_t size
    cpdef object work(self, Base first, bint flag=*)
    cdef bint _quiet(self) except -1
'''

PY = """
def helper(a, b=1):
    return a

class Base:
    def __init__(self):
        self.name = self.other = None
        self.table: dict[str, object] = {}

class Child(Base):
    label = "class attributes need no declaration"

    def __init__(self):
        super().__init__()
        self.size = 0

    def work(self, first, flag=False):
        first.whatever = self.name

    def _quiet(self):
        return True
"""


@pytest.fixture(scope="module")
def guard() -> dict[str, Any]:
    return runpy.run_path(str(TOOLS / "check_pxd.py"))


def problems(guard: dict[str, Any], pxd: str, py: str) -> list[str]:
    declared, written = guard["read_pxd"](pxd), guard["read_py"](py)
    found: list[str] = guard["compare"]("m", declared, written, (declared.classes, written.classes))
    return found


def test_files_that_agree(guard: dict[str, Any]) -> None:
    assert problems(guard, PXD, PY) == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("self.size = 0", "self.size = self.more = 0", "Child.more is set by the .py, not"),
        ("self.size = 0", "pass", "Child.size is declared in the .pxd, never set"),
        ("def _quiet(", "def _silent(", "Child._quiet is only in the .pxd"),
        ("work(self, first, flag=False)", "work(self, first)", "Child.work: ['self', 'first', "),
        ("def helper(a, b=1)", "def helper(a)", "helper: ['a', 'b'] in the .pxd"),
        ("class Base:", "class Basis:", "class Base is only in the .pxd"),
    ],
)
def test_drift_is_named(guard: dict[str, Any], old: str, new: str, complaint: str) -> None:
    assert old in PY
    found = problems(guard, PXD, PY.replace(old, new))
    assert any(complaint in each for each in found), found


def test_the_package_does_not_drift(
    guard: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(TOOLS.parent)
    assert guard["main"]() == 0, capsys.readouterr().out


def test_readme_commands_are_found_by_their_mark() -> None:
    commands = runpy.run_path(str(TOOLS / "readme_commands.py"))["commands"]
    text = "x\n<!-- ci: one -->\n\n```sh\n$ first\nsecond\n```\n```sh\nnot this\n```\n"
    assert commands(text, "one") == ["first\nsecond\n"]
    assert commands(text, "two") == []


@pytest.mark.parametrize("name", ["install", "tests"])
def test_the_readme_has_its_two_commands(name: str) -> None:
    commands = runpy.run_path(str(TOOLS / "readme_commands.py"))["commands"]
    readme = (TOOLS.parent / "README.md").read_text(encoding="utf-8")
    assert len(commands(readme, name)) == 1
