"""`evenloop doctor`: what this evenloop is, and what it can do here, found by doing it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import ssl
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evenloop.cli import paint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from evenloop.platforms.probe import Outcome
    from evenloop.platforms.trial import Tried

__all__ = ["Report", "add_command", "as_json", "examine", "show"]

_MARKS = {
    "ok": ("ok", "green"),
    "missing": ("MISSING", "bold red"),
    "failed": ("FAILED", "bold red"),
    "not here": ("not here", "yellow"),
}
_BROKEN = ("missing", "failed")
_LEGEND = """\
  What asyncio's documentation says of a platform, and what asyncio's own loop and evenloop did
  just now, on this system. ok: both do it; lifted: only evenloop does; system: the system itself
  does not; not here: it is about something that this system lacks.
"""


@dataclass(frozen=True, slots=True)
class Report:
    """Facts about this installation, and the outcome of each probe."""

    facts: dict[str, Any]
    outcomes: list[Outcome]
    seconds: float
    tried: list[Tried]
    """The rows of the platform table, as they are here."""

    @property
    def broken(self) -> list[Outcome]:
        """The outcomes that break a promise."""
        return [outcome for outcome in self.outcomes if outcome.status in _BROKEN]

    @property
    def broken_rows(self) -> list[str]:
        """The ids of the rows of the platform table that break a promise."""
        return [tried.row.id for tried in self.tried if tried.broken]


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `doctor` to the commands."""
    parser = commands.add_parser(
        "doctor",
        help="show what evenloop is and can do on this machine",
        description="Show which evenloop this is, try every row of the platform table on asyncio's "
        "own loop and on evenloop, and probe every method of the loop for real. Exit status 1 if "
        "evenloop breaks a promise.",
        allow_abbrev=False,
    )
    parser.add_argument("--engine", metavar="NAME", help="probe this engine, not the default one")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument(
        "--markdown", action="store_true", help="the platform table of this machine, for a report"
    )
    parser.set_defaults(carry_out=carry_out)


def carry_out(options: Any) -> int:
    """Examine, print, and tell by the exit status whether all is well."""
    from evenloop.cli.run import check_engine

    check_engine(options.engine)
    if options.engine is not None:
        os.environ["EVENLOOP_ENGINE"] = options.engine
    # What is examined here is the loop without limits.
    os.environ.pop("EVENLOOP_PROFILE", None)
    if options.markdown:
        report = Report(facts(), [], 0.0, list(try_rows()))
        print(as_markdown(report))
    elif options.json:
        report = examine()
        print(json.dumps(as_json(report), indent=2))
    else:
        report = show()
    return 1 if report.broken or report.broken_rows else 0


def examine(
    each: Callable[[Outcome], None] = lambda outcome: None,
    each_row: Callable[[Tried], None] = lambda tried: None,
) -> Report:
    """Collect the facts, try every row of the platform table and run every probe.

    Args:
        each: Called with each outcome as soon as it is known.
        each_row: The same for the rows.
    """
    from evenloop.platforms.probe import run_probes
    from evenloop.runners import new_event_loop

    start = time.perf_counter()
    rows = []
    for tried in try_rows():
        rows.append(tried)
        each_row(tried)
    outcomes = []
    for outcome in run_probes(new_event_loop):
        outcomes.append(outcome)
        each(outcome)
    return Report(facts(), outcomes, time.perf_counter() - start, rows)


def try_rows() -> Iterable[Tried]:
    """Try every row of the platform table, here and now."""
    from evenloop.platforms.trial import try_rows
    from evenloop.runners import new_event_loop

    return try_rows(new_event_loop)


def as_markdown(report: Report) -> str:
    """The platform table of this machine, as Markdown."""
    lines = [
        *(f"{name or 'engines'}: {value}  " for name, value in _heading(report.facts)),
        "",
        "| row | documented | asyncio here | evenloop here | |",
        "|---|---|---|---|---|",
    ]
    for tried in report.tried:
        cells = (tried.row.id, tried.row.documented, tried.stock_saw, tried.ours.saw, tried.mark[0])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


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
        "rows": [tried.as_json() for tried in report.tried],
        "broken_rows": report.broken_rows,
        "broken": [outcome.probe.name for outcome in report.broken],
        "seconds": round(report.seconds, 3),
    }


def show() -> Report:
    """Examine, and print each row as it is known; in colour with rich on a terminal."""
    write, width = paint.writer()
    for name, value in _heading(facts()):
        write(f"{name:<9}", "bold")
        write(f"{value}\n", "")
    topic = ""
    column = 0
    write("\nPlatform table\n", "bold")
    write(_LEGEND, "")

    def table_row(tried: Tried) -> None:
        write(f"  {tried.row.id:<18}  ", "")
        write(f"{tried.mark[0]:<8} ", tried.mark[1])
        write(f"{_fit(tried.row.where, 'ok', width - 31)}\n", "")
        for name, text, status in (
            ("documented", tried.row.documented, "ok"),
            ("asyncio", tried.stock_saw, "ok"),
            ("evenloop", tried.ours.saw, tried.ours.status),
        ):
            write(f"      {name:<11} {_fit(text, status, width - 18)}\n", "")

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
    report = examine(row, table_row)
    write("\n", "")
    marks = Counter(tried.mark[0] for tried in report.tried)
    words = ", ".join(f"{count} {mark}" for mark, count in marks.most_common())
    write(
        f"{len(report.tried)} rows of the platform table: {words}\n",
        "bold red" if report.broken_rows else "bold green",
    )
    well = sum(outcome.status == "ok" for outcome in report.outcomes)
    write(
        f"{well} of {len(report.outcomes)} probes ok, in {report.seconds:.1f} s\n",
        "bold red" if report.broken else "bold green",
    )
    if report.broken or report.broken_rows:
        write("evenloop does not keep its promise here: ", "bold red")
        names = [*report.broken_rows, *(outcome.probe.name for outcome in report.broken)]
        write(", ".join(names) + "\n", "")
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
