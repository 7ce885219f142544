"""Commands whose reader goes away, as `evenloop doctor | head` does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "support" / "broken_pipe.py"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGPIPE and no EPIPE for pipes")
@pytest.mark.parametrize("words", [["bench", "--list"], ["doctor", "--json"]])
def test_nobody_reads(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "evenloop", *words],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGPIPE and no EPIPE for pipes")
def test_a_program_keeps_its_own_errors() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "evenloop", "run", str(PROGRAM)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "BrokenPipeError: mine" in done.stderr
