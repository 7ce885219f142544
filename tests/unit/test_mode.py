"""Compiled or pure: the switch, and what is said of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import evenloop
from evenloop import _mode

PACKAGE = Path(evenloop.__file__).parent


def run(code: str, **variables: str) -> str:
    """What a fresh interpreter prints, with these variables in its environment."""
    environment = {k: v for k, v in os.environ.items() if k != _mode.VARIABLE} | variables
    environment["PYTHONPATH"] = str(PACKAGE.parent)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


WHERE = "import evenloop.handles as m; print(m.__file__)"
MODE = "import evenloop; from evenloop._mode import mode; print(*mode()[:2], sep=': ')"


def test_the_variable_forces_the_sources() -> None:
    assert run(WHERE, EVENLOOP_PURE="1").endswith("handles.py")
    assert run(MODE, EVENLOOP_PURE="1") == "pure: EVENLOOP_PURE is set"


@pytest.mark.parametrize("value", ["", "0", "no", "False", " off "])
def test_the_variable_can_be_off(value: str) -> None:
    assert run(WHERE, EVENLOOP_PURE=value) == run(WHERE)


def test_the_mode_says_what_was_imported() -> None:
    compiled = not run(WHERE).endswith(".py")
    assert run(MODE).startswith("compiled: " if compiled else "pure: ")


def test_pure_mode_refuses_a_module_without_source() -> None:
    code = """if True:
        import evenloop
        try:
            import evenloop.engines.epoll
        except ModuleNotFoundError as error:
            print(error.name, error)
    """
    answer = run(code, EVENLOOP_PURE="1")
    assert answer.startswith("evenloop.engines.epoll ")
    assert "EVENLOOP_PURE" in answer


def test_pure_mode_leaves_other_packages_alone() -> None:
    code = "import evenloop, _ssl, json, math; print(json.__name__)"
    assert run(code, EVENLOOP_PURE="1") == "json"


def test_each_platform_has_its_modules() -> None:
    assert "evenloop.engines.epoll" in _mode.compilable("linux")
    assert "evenloop.engines.posix" in _mode.compilable("darwin")
    assert "evenloop.engines.epoll" not in _mode.compilable("darwin")
    assert "evenloop.engines.posix" not in _mode.compilable("win32")
    for platform in ("linux", "win32", "darwin"):
        assert set(_mode.EVERYWHERE) <= set(_mode.compilable(platform))


def test_a_build_that_stopped_halfway_is_called_mixed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    halves = iter([True, False] * len(_mode.compilable()))
    monkeypatch.setattr(_mode, "_is_extension", lambda name: next(halves))
    monkeypatch.delenv(_mode.VARIABLE, raising=False)
    now = _mode.mode()
    assert now.name == "mixed" and not now.compiled
    assert _mode.compilable()[1] in now.reason


def test_a_note_of_the_build_is_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "_why_pure.txt").write_text("no compiler\n")
    monkeypatch.setattr(_mode, "_FOLDER", tmp_path)
    assert _mode._why_pure() == "no compiler"


def test_extensions_for_another_python_are_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "handles.cpython-35m-x86_64-linux-gnu.so").touch()
    monkeypatch.setattr(_mode, "_FOLDER", tmp_path)
    if sys.implementation.name == "cpython":
        assert "cpython-35m" in _mode._why_pure()
