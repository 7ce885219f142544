"""`evenloop bench`: evenloop and every rival that is installed, measured in one run."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenloop.bench.case import Case
    from evenloop.bench.contenders import Contender
    from evenloop.bench.figures import Row, Run

__all__ = ["add_command"]

ROUNDS = 5
QUICK_ROUNDS = 3
QUICK_SCALE = 0.25

_EPILOG = """\
PATTERN is a topic (matrix, server, http, memory, start, growth), a part of a case's name or title,
or has wildcards: --case matrix --case 'server-tcp-*-1k-*'.
NAME is asyncio, uvloop, rloop, rsloop, zuvloop or winloop, which take part if they are installed;
C, the C server; or evenloop in another shape: evenloop:ENGINE, evenloop:pure, or evenloop@FOLDER,
the one in the src folder of another checkout.

Each measurement is a process of its own, in interleaved rounds; figures are medians. Let nothing
else run. The exit status is 1 if evenloop itself failed in a case. docs/performance.md has the
method.
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `bench` to the commands."""
    parser = commands.add_parser(
        "bench",
        help="measure evenloop beside the other event loops that are installed",
        description="Measure evenloop beside the other event loops that are installed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--case", metavar="PATTERN", action="append", default=[], help="only these; repeatable")
    add("--against", metavar="NAME,…", help="only these rivals (none: an empty text)")
    add("--engine", metavar="NAME", help="evenloop's engine (default: the best one here)")
    add("--rounds", metavar="N", type=int, help=f"default {ROUNDS}, with --quick {QUICK_ROUNDS}")
    add("--scale", metavar="X", type=float, help="do X times the work of each case")
    add("--quick", action="store_true", help="a quarter of the work, fewer cases and rounds")
    add(
        "--by",
        choices=["wall", "cpu"],
        help="compare all times by this one (on a busy machine: cpu)",
    )
    add("--json", metavar="FILE", help="store everything that was measured")
    add("--plot", metavar="FILE", help="draw it: .svg, .png or .pdf (needs matplotlib)")
    add("--from", metavar="FILE", dest="stored", help="measure nothing: show a stored --json")
    add("--list", action="store_true", help="the cases and the loops, then stop")
    parser.set_defaults(carry_out=carry_out)


def carry_out(options: Any) -> int:
    """Measure or load, show, store and draw."""
    from evenloop.bench import report
    from evenloop.cli import CommandError

    if options.plot:
        _check_plot(options.plot)
    if options.stored:
        run = _load(options.stored)
    else:
        cases, contenders = _choose(options)
        if options.list:
            _list(cases, contenders)
            return 0
        run = _measure(options, cases, contenders)
    if options.by:
        run.compare_by(options.by)
    report.show(run)
    try:
        if options.json:
            with open(options.json, "w", encoding="utf-8") as file:
                json.dump(run.as_json(), file, indent=1)
                file.write("\n")
        if options.plot:
            from evenloop.bench import plot

            for path in plot.draw(run, options.plot):
                print(f"drawn: {path}")
    except OSError as error:
        raise CommandError(str(error)) from None
    return 1 if run.failures() else 0


def _check_plot(path: str) -> None:
    """Refuse before measuring what would fail after it."""
    from evenloop.cli import CommandError

    if not path.endswith((".svg", ".png", ".pdf")):
        raise CommandError("--plot FILE ends in .svg, .png or .pdf")
    if importlib.util.find_spec("matplotlib") is None:
        raise CommandError("--plot needs matplotlib: pip install 'evenloop[bench]'")


def _load(path: str) -> Run:
    from evenloop.bench.figures import Run
    from evenloop.cli import CommandError

    try:
        with open(path, encoding="utf-8") as file:
            return Run.from_json(json.load(file))
    except OSError as error:
        raise CommandError(f"can't open file {path!r}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{path!r}: {error}") from None


def _choose(options: Any) -> tuple[list[Case], list[Contender]]:
    """The cases and who takes part, the subject first."""
    from evenloop.bench import contenders, runner
    from evenloop.bench.case import all_cases
    from evenloop.cli import CommandError
    from evenloop.cli.run import check_engine

    check_engine(options.engine)
    if options.rounds is not None and options.rounds < 1:
        raise CommandError("--rounds N: at least one")
    if options.scale is not None and options.scale <= 0:
        raise CommandError("--scale X: more than nothing")
    engine = options.engine or os.environ.get("EVENLOOP_ENGINE")
    subject = contenders.Contender(f"evenloop:{engine}" if engine else "evenloop")
    try:
        cases = runner.matching(all_cases(), options.case)
        if options.against is None:
            others = [*contenders.installed(), contenders.Contender(contenders.LIMIT)]
        else:
            names = [name.strip() for name in options.against.split(",")]
            others = contenders.named(list(dict.fromkeys(filter(None, names))))
    except LookupError as error:
        raise CommandError(error.args[0]) from None
    if options.quick and not options.case:
        cases = [one for one in cases if one.quick]
    return cases, [subject, *(one for one in others if one != subject)]


def _list(cases: list[Case], contenders: list[Contender]) -> None:
    from evenloop.bench.case import TOPICS

    topic = ""
    width = max(len(one.name) for one in cases)
    for one in cases:
        if one.topic != topic:
            topic = one.topic
            print(f"{TOPICS[topic]} (--case {topic})")
        print(f"  {one.name:<{width}}  {one.title}")
    print("\nLoops: " + ", ".join(f"{one.name} {one.version}".strip() for one in contenders))


def _measure(options: Any, cases: list[Case], contenders: Sequence[Contender]) -> Run:
    """Run everything, with a bar that shows how far it is."""
    from evenloop.bench import machine, runner
    from evenloop.bench.figures import Run

    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    scale = options.scale or (QUICK_SCALE if options.quick else 1.0)
    used = {"rounds": rounds, "scale": scale, "cases": options.case, "quick": options.quick}
    versions = {one.name: one.version for one in contenders}
    run = Run(contenders[0].name, versions, machine.describe(), used)
    total = sum(
        runner.rounds_of(one, rounds)
        * sum(one.limit is not None or c.name != "C" for c in contenders)
        for one in cases
    )
    with _Bar(total) as bar:
        for one in cases:

            def each(number: int, contender: Contender, case: Case = one) -> None:
                bar.step(f"{case.name}, round {number + 1}, {contender.name}")

            row = runner.measure_row(one, contenders, rounds, scale, each)
            run.rows.append(row)
            bar.tell(row, run)
    return run


class _Bar:
    """How far it is: rich's bar on a terminal, else a line per case on stderr."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.rich: Any = None
        if sys.stderr.isatty():
            try:
                self.rich = importlib.import_module("rich.progress")
            except ImportError:
                pass

    def __enter__(self) -> _Bar:
        if self.rich is not None:
            console = importlib.import_module("rich.console").Console(stderr=True)
            self.rich = self.rich.Progress(
                self.rich.BarColumn(),
                self.rich.MofNCompleteColumn(),
                self.rich.TimeRemainingColumn(),
                self.rich.TextColumn("{task.description}"),
                console=console,
                transient=True,
            )
            self.rich.start()
            self.task = self.rich.add_task("", total=self.total)
            self.started = False
        return self

    def __exit__(self, *error: object) -> None:
        if self.rich is not None:
            self.rich.stop()

    def step(self, text: str) -> None:
        """One more process is about to start."""
        if self.rich is None:
            return
        if self.started:
            self.rich.advance(self.task)
        self.started = True
        self.rich.update(self.task, description=text)

    def tell(self, row: Row, run: Run) -> None:
        """A case is done."""
        if self.rich is not None:
            return
        from evenloop.bench.report import amount

        best, lead = row.best_rival(run.subject), row.lead(run.subject)
        told = f"{amount(lead)} x {best}" if lead is not None else "no ratio"
        print(f"{row.name}: {told}", file=sys.stderr, flush=True)
