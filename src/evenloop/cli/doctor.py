"""`evenloop doctor`: what this evenloop is, and what it can do here, found by doing it."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import ssl
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from evenloop.platforms.probe import Outcome

__all__ = ["Report", "add_command", "as_json", "examine", "show"]

_MARKS = {
    "ok": ("ok", "green"),
    "missing": ("MISSING", "bold red"),
    "failed": ("FAILED", "bold red"),
    "not here": ("not here", "yellow"),
}
_BROKEN = ("missing", "failed")


@dataclass(frozen=True, slots=True)
class Report:
    """Facts about this installation, and the outcome of each probe."""

    facts: dict[str, Any]
    outcomes: list[Outcome]
    seconds: float

    @property
    def broken(self) -> list[Outcome]:
        """The outcomes that break a promise."""
        return [outcome for outcome in self.outcomes if outcome.status in _BROKEN]


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `doctor` to the commands."""
    parser = commands.add_parser(
        "doctor",
        help="show what evenloop is and can do on this machine",
        description="Show which evenloop this is, and probe every method of its event loop for "
        "real. Exit status 1 if a probe fails.",
        allow_abbrev=False,
    )
    parser.add_argument("--engine", metavar="NAME", help="probe this engine, not the default one")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.set_defaults(carry_out=carry_out)


def carry_out(options: Any) -> int:
    """Examine, print, and tell by the exit status whether all is well."""
    from evenloop.cli.run import check_engine

    check_engine(options.engine)
    if options.engine is not None:
        os.environ["EVENLOOP_ENGINE"] = options.engine
    if options.json:
        report = examine()
        print(json.dumps(as_json(report), indent=2))
    else:
        report = show()
    return 1 if report.broken else 0


def examine(each: Callable[[Outcome], None] = lambda outcome: None) -> Report:
    """Collect the facts and run every probe.

    Args:
        each: Called with each outcome as soon as it is known.
    """
    from evenloop.platforms.probe import run_probes
    from evenloop.runners import new_event_loop

    start = time.perf_counter()
    outcomes = []
    for outcome in run_probes(new_event_loop):
        outcomes.append(outcome)
        each(outcome)
    return Report(facts(), outcomes, time.perf_counter() - start)


def facts() -> dict[str, Any]:
    """Which evenloop, engine, mode, Python and system this is."""
    from evenloop import _mode, engines
    from evenloop._version import __version__
    from evenloop.files.transfer import describe_way
    from evenloop.runners import new_event_loop

    loop = new_event_loop()
    try:
        engine = loop.engine.name
        files = describe_way(loop.engine)
    finally:
        loop.close()
    how = _mode.mode()
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return {
        "version": __version__,
        "engine": engine,
        "files": files,
        "engines": [choice._asdict() for choice in engines.available()],
        "mode": how.name,
        "mode_reason": how.reason,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "gil": gil,
        "executable": sys.executable,
        "system": _system(),
        "kernel": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "openssl": ssl.OPENSSL_VERSION,
    }


def _system() -> str:
    """The operating system by the name that its users know."""
    if sys.platform == "win32":
        return f"Windows {platform.win32_ver()[1]}{_wine()}"
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _wine() -> str:
    """Name the Wine that plays Windows here; "" if that is real."""
    import ctypes

    windows: Any = ctypes
    version = getattr(windows.WinDLL("ntdll"), "wine_get_version", None)
    if version is None:
        return ""
    version.restype = ctypes.c_char_p
    return f", played by Wine {version().decode()}"


def as_json(report: Report) -> dict[str, Any]:
    """A report for machines."""
    from evenloop.platforms.probe import DOCUMENTATION

    return {
        **report.facts,
        "probes": [
            {
                "name": outcome.probe.name,
                "topic": outcome.probe.topic.title,
                "methods": list(outcome.probe.methods),
                "documentation": DOCUMENTATION + outcome.probe.section,
                "status": outcome.status,
                "saw": outcome.saw,
                "milliseconds": round(outcome.seconds * 1e3, 3),
            }
            for outcome in report.outcomes
        ],
        "broken": [outcome.probe.name for outcome in report.broken],
        "seconds": round(report.seconds, 3),
    }


def show() -> Report:
    """Examine, and print each row as it is known; in colour with rich on a terminal."""
    write, width = _writer()
    for name, value in _heading(facts()):
        write(f"{name:<9}", "bold")
        write(f"{value}\n", "")
    topic = ""
    column = 0

    def row(outcome: Outcome) -> None:
        nonlocal topic
        if outcome.probe.topic.title != topic:
            topic = outcome.probe.topic.title
            write(f"\n{topic}\n", "bold")
        mark, style = _MARKS[outcome.status]
        write(f"  {outcome.probe.name:<{column}}  ", "")
        write(f"{mark:<8}", style)
        write(f" {_fit(outcome.saw, outcome.status, width - column - 13)}\n", "")

    from evenloop.platforms.probe import all_probes

    column = max(len(one.name) for one in all_probes())
    report = examine(row)
    write("\n", "")
    well = sum(outcome.status == "ok" for outcome in report.outcomes)
    write(
        f"{well} of {len(report.outcomes)} probes ok, in {report.seconds:.1f} s\n",
        "bold red" if report.broken else "bold green",
    )
    if report.broken:
        write("evenloop does not keep its promise here: ", "bold red")
        write(", ".join(outcome.probe.name for outcome in report.broken) + "\n", "")
    return report


def _heading(known: dict[str, Any]) -> Iterable[tuple[str, str]]:
    yield "evenloop", f"{known['version']}, {known['mode']} ({known['mode_reason']})"
    yield "engine", known["engine"]
    for other in known["engines"]:
        if other["name"] != known["engine"]:
            can = "could run too" if other["usable"] else "cannot run here"
            yield "", f"{other['name']} {can}: {other['reason']}"
    yield "files", known["files"]
    gil = "" if known["gil"] else ", free-threaded"
    yield "Python", f"{known['implementation']} {known['python']}{gil}, {known['openssl']}"
    yield "system", f"{known['system']}, {known['kernel']}, {known['machine']}"


def _fit(text: str, status: str, width: int) -> str:
    """Cut what went well to the line; trouble is told in full."""
    if status in _BROKEN or width < 20 or len(text) <= width:
        return text
    return text[: width - 1] + "…"


def _writer() -> tuple[Callable[[str, str], None], int]:
    """Something that writes text in a style, and the width of the line (0: no end)."""
    try:
        rich = importlib.import_module("rich.console")
    except ImportError:
        return _plain, 0
    console = rich.Console(highlight=False, emoji=False, markup=False, soft_wrap=True)

    def styled(text: str, style: str) -> None:
        console.print(text, style=style or None, end="")

    return styled, console.width if console.is_terminal else 0


def _plain(text: str, style: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
