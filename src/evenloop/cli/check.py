"""`evenloop check`: on which platforms' own asyncio would a program run?

It runs the program once as it is, and once under each profile. A program that ends there as it does
without a profile would run there, even if something was refused: it knows what to do then. For one
that does not, another run lets what is refused through and only notes it, to find every line.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenloop.cli import paint
from evenloop.platforms.findings import REPORT, Finding, read_report

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Write = Callable[[str, str], None]

__all__ = ["Verdict", "add_command", "examine", "split"]

_WITH_VALUE = frozenset({"--profile", "--seconds"})
#: Seconds that a program which does not end is given.
_PATIENCE = 10.0


@dataclass(slots=True)
class Verdict:
    """What became of the program under one profile."""

    profile: str
    title: str
    runs: bool
    ended: str
    """How it ended, for people."""
    findings: list[Finding] = field(default_factory=list)
    """The calls that were refused, each line once, the first first."""
    last_words: str = ""
    """The last line that it wrote to standard error, if it does not run."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `check` to the commands."""
    parser = commands.add_parser(
        "check",
        help="tell on which platforms' asyncio a program would run",
        description="Run a program under the limits of each platform's own asyncio, and tell at "
        "which lines it meets them. Exit status 1 if there is a platform where it would not run. "
        "The program really runs, several times.",
        usage="evenloop check [--profile NAME] [--seconds N] [--json] "
        "FILE | -m MODULE | -- COMMAND [ARGS ...]",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--profile", action="append", metavar="NAME", help="only this one; may be given repeatedly"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=_PATIENCE,
        metavar="N",
        help="how long to watch a program that does not end (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.set_defaults(carry_out=carry_out)


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split `check`'s own words from the program's, which begin at FILE, -m MODULE or --."""
    at = 1
    while at < len(words) and words[at].startswith("--") and words[at] != "--":
        at += 2 if words[at] in _WITH_VALUE else 1
    if at < len(words) and words[at] in ("-h", "--help"):
        return list(words), []
    return list(words[:at]), list(words[at:])


def carry_out(options: Any) -> int:
    """Check, print, and tell by the exit status whether it runs everywhere."""
    from evenloop.cli import CommandError
    from evenloop.platforms import profiles

    if not options.program or options.program == ["--"]:
        raise CommandError("check what? Name a FILE, -m MODULE or -- COMMAND")
    names = options.profile or [name for name in profiles.NAMES if name != "stock"]
    for name in names:
        try:
            profiles.check_name(name)
        except ValueError as error:
            raise CommandError(str(error)) from None
    command = _command(options.program)
    plain = _run(command, None, options.seconds)
    if plain.status not in (0, None):
        raise CommandError(
            f"without any profile the program ends with status {plain.status} already: "
            f"{plain.last_words or 'it said nothing'}"
        )
    if plain.status is None and not options.json:
        print(
            f"evenloop: the program was still running after {options.seconds:g} seconds, so each "
            "profile takes as long (--seconds)",
            file=sys.stderr,
        )
    write, _ = paint.writer()
    verdicts = []
    for name in names:
        verdicts.append(examine(command, name, plain.status, options.seconds))
        if not options.json:
            _show(verdicts[-1], write)
    if options.json:
        print(json.dumps([_as_json(verdict) for verdict in verdicts], indent=2))
    else:
        _explain(verdicts, write)
        _conclude(verdicts, write)
    return 0 if all(verdict.runs for verdict in verdicts) else 1


@dataclass(slots=True)
class _Run:
    status: int | None
    """None if it did not end."""
    findings: list[Finding] | None
    """None if it made no loop."""
    last_words: str


def _command(program: Sequence[str]) -> list[str]:
    from evenloop.cli import CommandError

    if program[0] == "--":
        return list(program[1:])
    if not program[0].startswith("-") and not os.path.exists(program[0]):
        raise CommandError(f"there is no file {program[0]!r}; a command goes behind --")
    return [sys.executable, "-m", "evenloop", "run", *program]


def _run(command: list[str], profile: str | None, seconds: float, lenient: bool = False) -> _Run:
    """Run the program once; status None if it did not end within so many seconds."""
    from evenloop.cli import CommandError

    with tempfile.TemporaryDirectory(prefix="evenloop-") as folder:
        report = Path(folder, "report")
        environment = dict(os.environ)
        for name in ("EVENLOOP_PROFILE", "EVENLOOP_PROFILE_LENIENT"):
            environment.pop(name, None)
        if profile is not None:
            environment["EVENLOOP_PROFILE"] = profile
        if lenient:
            environment["EVENLOOP_PROFILE_LENIENT"] = "1"
        environment[REPORT] = str(report)
        with open(Path(folder, "errors"), "w+b") as errors:
            try:
                child = subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                )
            except OSError as error:
                raise CommandError(f"can't run {command[0]!r}: {error.strerror}") from None
            status = _wait(child, seconds)
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
        return _Run(status, read_report(report), said[-1].strip() if said else "")


def _wait(child: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        if sys.platform != "win32":
            child.send_signal(signal.SIGINT)  # it may have children of its own to end
        try:
            child.wait(2)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        return None
    except BaseException:
        child.kill()
        child.wait()
        raise


def examine(command: list[str], profile: str, plain: int | None, seconds: float) -> Verdict:
    """Find out what becomes of a program under a profile.

    Args:
        command: What runs it.
        profile: The name of the profile.
        plain: The exit status without a profile, None if it does not end.
        seconds: How long one that does not end is watched.

    Raises:
        CommandError: It never made a loop of evenloop's, which alone has a profile.
    """
    from evenloop.cli import CommandError
    from evenloop.platforms import profiles

    title = profiles.of(profile).title
    strict = _run(command, profile, seconds)
    if strict.findings is None:
        time = f" in {seconds:g} seconds" if strict.status is None else ""
        raise CommandError(
            f"nothing was checked: the program made no loop of evenloop's{time}. It must make its "
            "loops with evenloop, or ask asyncio for them under `evenloop run`, as FILE and "
            "-m MODULE do"
        )
    ended = "still running" if strict.status is None else f"exit status {strict.status}"
    if strict.status == plain:
        return Verdict(profile, title, True, ended, strict.findings)
    findings = _run(command, profile, seconds, lenient=True).findings or strict.findings
    return Verdict(profile, title, False, ended, findings, strict.last_words)


def _as_json(verdict: Verdict) -> dict[str, Any]:
    return {
        **asdict(verdict),
        "findings": [finding._asdict() for finding in verdict.findings],
    }


def _show(verdict: Verdict, write: Write) -> None:
    write(verdict.profile, "bold")
    write(f" ({verdict.title}): ", "")
    if verdict.runs:
        write("runs", "bold green")
        write(", and copes with what is refused:\n" if verdict.findings else "\n", "")
    else:
        write("does NOT run", "bold red")
        write(f" ({verdict.ended})\n", "")
    for number, one in enumerate(verdict.findings):
        write("  first " if not number and not verdict.runs else "        ", "bold")
        write(f"{_short(one.file)}:{one.line}" if one.file else "(no line)", "cyan")
        write(f"  {one.method} raises {one.error}  ", "")
        write(f"[{one.row}]\n", "yellow")
    if not verdict.runs and not verdict.findings:
        write(f"        {verdict.last_words or 'it met no limit, but ended otherwise'}\n", "")


def _short(file: str) -> str:
    here = os.getcwd() + os.sep
    return file[len(here) :] if file.startswith(here) else file


def _explain(verdicts: list[Verdict], write: Write) -> None:
    """Say what the rows that were met are about."""
    from evenloop.platforms import table

    met = {one.row for verdict in verdicts for one in verdict.findings}
    for row in table.ROWS:
        if row.id in met:
            write(row.id, "yellow")
            write(f": {row.where}: {row.documented}\n", "")


def _conclude(verdicts: list[Verdict], write: Write) -> None:
    bad = [verdict.profile for verdict in verdicts if not verdict.runs]
    if bad:
        write(f"It would not run on: {', '.join(bad)}.", "bold red")
        write(" On evenloop it does, everywhere.\n", "")
    else:
        write("It runs everywhere.\n", "bold green")
