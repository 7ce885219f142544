"""Little programs for the tests of subprocesses."""

from __future__ import annotations

import sys

PYTHON = sys.executable
#: Isolated and without site: starts in a third of the time.
FAST = (PYTHON, "-I", "-S", "-c")

#: The shortest program there is; it says nothing and succeeds.
TRUE = ("cmd.exe", "/d", "/c", "exit 0") if sys.platform == "win32" else ("true",)
CAT = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
SLEEP = "import time; time.sleep(60)"


def program(source: str) -> tuple[str, ...]:
    """The command that runs these lines of Python."""
    return (*FAST, source)
