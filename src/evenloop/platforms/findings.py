"""Which line of a program meets a limit of a profile."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import sysconfig
from typing import TYPE_CHECKING, NamedTuple

from evenloop.platforms import limits

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["REPORT", "Finding", "Findings", "read_report", "report_if_asked"]

#: The environment variable that names the file to which a program's findings go.
REPORT = "EVENLOOP_PROFILE_REPORT"

_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PACKAGES = ("site-packages", "dist-packages")


class Finding(NamedTuple):
    """One call that was refused."""

    profile: str
    row: str
    method: str
    error: str
    """The name of the exception's type."""
    file: str
    line: int


class Findings(list[Finding]):
    """Collects what is refused, while it is used as a context manager."""

    def __enter__(self) -> Findings:
        limits.observers.append(self._observe)
        return self

    def __exit__(self, *error: object) -> None:
        limits.observers.remove(self._observe)

    def _observe(self, profile: str, row: str, method: str, error: BaseException) -> None:
        file, line = _place()
        self.append(Finding(profile, row, method, type(error).__name__, file, line))


def report_if_asked() -> None:
    """Write what is refused from now on where the environment asks for it.

    Every loop with a profile that is made asks for this, so that whatever makes one is observed,
    child processes included; the file is there as soon as there was such a loop.
    """
    path = os.environ.get(REPORT)
    if path:
        _report_to(path)


@functools.cache  # once in a process, and in what it forks
def _report_to(path: str) -> None:
    reporter = _Reporter(path)
    reporter.write("")
    reporter.__enter__()


class _Reporter(Findings):
    """Writes what is refused to a file at once: the program may end in any way."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def append(self, finding: Finding) -> None:
        """Write one line."""
        self.write(json.dumps(finding) + "\n")

    def write(self, text: str) -> None:
        """Add to the file, which a process that outlives its observer may find gone."""
        with (
            contextlib.suppress(FileNotFoundError),
            open(self._path, "a", encoding="utf-8") as file,
        ):
            file.write(text)


def read_report(path: Path) -> list[Finding] | None:
    """Return what a program reported, each line once; None if it never made a loop."""
    if not path.exists():
        return None
    found: dict[tuple[str, int, str], Finding] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        one = Finding(*json.loads(line))
        found.setdefault((one.file, one.line, one.row), one)
    return list(found.values())


def _place() -> tuple[str, int]:
    """The innermost line that is neither evenloop's nor the standard library's."""
    libraries = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        standard = any(file.startswith(folder + os.sep) for folder in libraries)
        installed = any(part in file for part in _PACKAGES)
        # Code objects of compiled modules name their sources as they were built.
        module = frame.f_globals.get("__name__", "")
        own = file.startswith(_OWN + os.sep) or module.partition(".")[0] == "evenloop"
        if not own and not file.startswith("<") and (installed or not standard):
            return file, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return "", 0
