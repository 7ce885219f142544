"""Colour on a terminal, and nowhere else."""

from __future__ import annotations

import io
import sys

import pytest

from evenloop.cli import paint


class Terminal(io.StringIO):
    """Takes what is written, as a terminal does."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


def written(monkeypatch: pytest.MonkeyPatch, out: io.StringIO) -> str:
    monkeypatch.setattr(sys, "stdout", out)
    write, _ = paint.writer()
    write("[row]", "bold red")
    write(" :smile: 12\n", "")
    return out.getvalue()


PLAIN = "[row] :smile: 12\n"


@pytest.mark.skipif(sys.platform == "win32", reason="colours are no characters in a console")
def test_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    text = written(monkeypatch, Terminal())
    assert text == "\x1b[1;31m[row]\x1b[0m :smile: 12\n"


def test_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert written(monkeypatch, io.StringIO()) == PLAIN


def test_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert written(monkeypatch, Terminal()) == PLAIN


def test_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert written(monkeypatch, Terminal()) == PLAIN
