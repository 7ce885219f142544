"""Which line of a program meets a limit of a profile."""

from __future__ import annotations

import os
import sys
import sysconfig
from typing import NamedTuple

from evenloop.platforms import limits

__all__ = ["Finding", "Findings"]

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
