"""`evenloop check`: on which platforms a program would run, and the lines that say no."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from evenloop.cli import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs are for Unix")

UNIX = """\
import asyncio, os, signal, sys, tempfile

async def main():
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as folder:
        server = await asyncio.start_unix_server(lambda r, w: w.close(), folder + "/s")
        server.close()
    loop.add_signal_handler(signal.SIGTERM, print)
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "1")
    await child.wait()
    out, into = os.pipe()
    loop.add_reader(out, print)
    loop.remove_reader(out)

asyncio.run(main())
"""

TCP = """\
import asyncio

async def serve(reader, writer):
    writer.write(await reader.readline())
    writer.close()

async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"line\\n")
        assert await reader.readline() == b"line\\n"
        writer.close()

asyncio.run(main())
"""

COPES = """\
import asyncio, signal

async def main():
    try:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print)
    except NotImplementedError:
        pass

asyncio.run(main())
"""

# On evenloop by itself, in two ways.
OWN = """\
import asyncio, os, signal, sys, evenloop

async def main():
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, print)

evenloop.run(main())
loop = evenloop.EventLoop()
out, into = os.pipe()
loop.add_reader(out, print)
loop.close()
"""


def check(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = main(["check", *words])
    return status, capsys.readouterr().out


def test_each_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "program.py"
    program.write_text(UNIX)
    names = ("linux", "windows-proactor", "windows-selector")
    asked = [word for name in names for word in ("--profile", name)]
    status, text = check(capsys, *asked, "--json", str(program))
    assert status == 1
    verdicts = {one["profile"]: one for one in json.loads(text)}
    found = {
        name: [(one["line"], one["row"]) for one in verdicts[name]["findings"]] for name in names
    }
    assert verdicts["linux"]["runs"]
    assert not verdicts["windows-proactor"]["runs"]
    assert found == {
        "linux": [],
        "windows-proactor": [
            (6, "WIN-UNIX"),
            (8, "WIN-SIGNAL"),
            (12, "WPRO-READER"),
            (13, "WPRO-READER"),
        ],
        "windows-selector": [
            (6, "WIN-UNIX"),
            (8, "WIN-SIGNAL"),
            (9, "WSEL-SUBPROC"),
            (12, "WSEL-HANDLE"),
        ],
    }


def test_runs_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "program.py"
    program.write_text(TCP)
    status, text = check(capsys, str(program))
    assert status == 0
    assert text.splitlines()[-1] == "It runs everywhere."
    assert len(text.splitlines()) == 6


def test_a_program_that_copes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "program.py"
    program.write_text(COPES)
    command = ["--", sys.executable, "-m", "evenloop", "run", str(program)]
    status, text = check(capsys, "--profile", "windows-proactor", *command)
    assert status == 0
    assert "copes with what is refused" in text
    assert f"{program}:5" in text
    # What the row is about is said too.
    assert "\nWIN-SIGNAL: Windows, both loops: add_signal_handler() and " in text
    assert text.endswith("are not supported\nIt runs everywhere.\n")


def test_a_program_that_does_not_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said at once that this takes its time; and it runs."""
    program = tmp_path / "program.py"
    program.write_text("import asyncio\nasyncio.run(asyncio.sleep(100))\n")
    assert main(["check", "--seconds", "1", "--profile", "linux", str(program)]) == 0
    out, err = capsys.readouterr()
    assert "the program was still running after 1 seconds" in err
    assert out.startswith("linux (Linux): runs\n")


def test_no_such_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "nowhere.py"]) == 2
    assert "there is no file 'nowhere.py'" in capsys.readouterr().err


def test_a_program_that_fails_anyway(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "program.py"
    program.write_text("raise SystemExit(3)\n")
    assert main(["check", str(program)]) == 2
    assert "ends with status 3 already" in capsys.readouterr().err


def test_a_command_that_makes_evenloops_loops(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without `evenloop run`, and in a child of the command's."""
    program = tmp_path / "program.py"
    program.write_text(OWN)
    command = ["--", "sh", "-c", '"$@"; exit $?', "sh", sys.executable, str(program)]
    status, text = check(capsys, "--profile", "windows-proactor", "--json", *command)
    assert status == 1
    (verdict,) = json.loads(text)
    assert not verdict["runs"]
    assert [(one["file"], one["line"], one["row"]) for one in verdict["findings"]] == [
        (str(program), 5, "WIN-SIGNAL"),
        (str(program), 10, "WPRO-READER"),
    ]


def test_a_command_that_never_reaches_evenloop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """asyncio's own loop has no profile: nothing can be said of it."""
    program = tmp_path / "program.py"
    program.write_text(TCP)
    assert main(["check", "--", sys.executable, str(program)]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("evenloop: nothing was checked: the program made no loop of evenloop's. ")


def test_a_program_that_makes_no_loop_in_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "program.py"
    program.write_text("import time\ntime.sleep(100)\n")
    assert main(["check", "--seconds", "0.2", str(program)]) == 2
    assert "made no loop of evenloop's in 0.2 seconds" in capsys.readouterr().err
