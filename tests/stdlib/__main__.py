"""Run CPython's own asyncio tests on a loop: ``python -m tests.stdlib --help``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import time
from pathlib import Path

from tests.stdlib.runner import PACKAGE, ModuleRun, Options, find_modules, run_modules
from tests.stdlib.substitute import LOOPS
from tests.stdlib.verdict import (
    DEVIATIONS,
    Baseline,
    Verdict,
    baseline_file,
    failed_in_any_manner,
    judge,
    passed_with_loop,
    read_entries,
    system,
    tests_of_all_versions,
)

COLUMNS = (
    "passed",
    "failed",
    "skipped",
    "not_applicable",
    "deviations",
    "as_stock",
    "hang",
    "crash",
)
TITLES = ("passed", "failed", "skipped", "n/a", "deviates", "as stock", "hang", "crash")


def arguments(words: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.stdlib", description=__doc__)
    add = parser.add_argument
    add("--loop", choices=LOOPS, default="evenloop")
    add("--engine", help="evenloop's engine for every loop (default: as the tests ask)")
    add("--modules", help="names of test modules, with commas (default: all)")
    add("--jobs", type=int, default=2, help="modules run at once (default 2)")
    add("--timeout", type=float, default=30.0, metavar="S", help="seconds for each test (30)")
    add("-k", dest="pattern", help="only tests whose module.Class.method matches this regex")
    add("-v", dest="verbose", action="store_true", help="name every test that counts")
    add("--json", type=Path, metavar="FILE", help="write the outcome of every test")
    add("--package", default=PACKAGE, help=argparse.SUPPRESS)
    add("--deviations", type=Path, help="another deviations file (default: ours, on evenloop)")
    add("--record-baseline", action="store_true", help="record what stock passes")
    options = parser.parse_args(words)
    if options.record_baseline and (options.loop, options.modules, options.pattern) != (
        "stock",
        None,
        None,
    ):
        parser.error("--record-baseline needs --loop stock and the whole suite")
    if options.engine is not None and options.loop != "evenloop":
        parser.error("--engine is for --loop evenloop")
    if options.jobs < 1 or options.timeout <= 0:
        parser.error("--jobs and --timeout must be positive")
    if options.pattern is not None:
        try:
            re.compile(options.pattern)
        except re.error as error:
            parser.error(f"-k {options.pattern!r}: {error}")
    return options


def choose_modules(wanted: str | None, package: str) -> list[str]:
    """The modules to run; SystemExit for a name that is not there."""
    try:
        modules = find_modules(package)
    except LookupError as error:
        sys.exit(str(error))
    if wanted is None:
        return modules
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    unknown = [name for name in names if name not in modules]
    if unknown:
        sys.exit(f"no module {', '.join(unknown)} in {package}; there are {', '.join(modules)}")
    return names


def tell(run: ModuleRun) -> None:
    """Say that a module has ended, as it happens."""
    bad = [r for r in run.results.values() if r.outcome not in ("passed", "skipped")]
    state = run.skipped and f"skipped: {run.skipped}"
    state = state or f"{len(run.results)} tests, {len(bad)} not passed"
    print(f"  {run.module:<26} {run.seconds:6.1f} s  {state}", flush=True)


def show(verdict: Verdict, runs: list[ModuleRun], verbose: bool) -> None:
    """Print the failures, the table and the final line."""
    if verbose:
        for run in runs:
            for result in run.results.values():
                if result.loop or result.outcome not in ("passed", "skipped"):
                    print(f"{result.outcome:8} {result.seconds:7.2f} s  {result.test}")
    for result in verdict.failures:
        print(f"\n{'=' * 78}\n{result.outcome.upper()}: {result.test}\n{result.detail}")
    print(f"\n{'module':<26}" + "".join(f"{title:>9}" for title in TITLES) + "  no loop")
    rows = {name: counts for name, counts in verdict.modules.items() if sum(vars(counts).values())}
    for name, counts in [*sorted(rows.items()), ("total", verdict.total)]:
        figures = "".join(f"{getattr(counts, column):>9}" for column in COLUMNS)
        print(f"{name:<26}{figures}{counts.no_loop:>9}")
    for result in verdict.failures:
        print(f"{result.outcome}: {result.test}")
    for note in verdict.notes:
        print(f"note: {note}")
    for problem in verdict.problems:
        print(f"problem: {problem}")
    total = verdict.total
    print(f"{total.passed} passed, {total.all_failed} failed, {total.skipped} skipped")


def write_json(file: Path, runs: list[ModuleRun], verdict: Verdict, about: str) -> None:
    """Write everything for machines."""
    content = {
        "about": about,
        "good": verdict.good,
        "total": vars(verdict.total),
        "problems": verdict.problems,
        "tests": {
            result.test: {
                "outcome": result.outcome,
                "loop": result.loop,
                "seconds": result.seconds,
                "detail": result.detail,
            }
            for run in runs
            for result in run.results.values()
        },
    }
    file.write_text(json.dumps(content, indent=1) + "\n")


def main(words: list[str] | None = None) -> int:
    """Run the suite; 0 when it succeeded."""
    given = arguments(words)
    modules = choose_modules(given.modules, given.package)
    options = Options(
        loop=given.loop,
        engine=given.engine,
        package=given.package,
        timeout=given.timeout,
        pattern=given.pattern,
        jobs=given.jobs,
    )
    engine = f" engine {given.engine}" if given.engine else ""
    mode = " EVENLOOP_PURE" if os.environ.get("EVENLOOP_PURE") else ""
    about = f"Python {platform.python_version()} on {sys.platform}: {given.loop}{engine}{mode}"
    print(about, flush=True)
    began = time.monotonic()
    runs = run_modules(modules, options, tell)
    own = given.package == PACKAGE
    listed = given.deviations or (DEVIATIONS if own and given.loop == "evenloop" else None)
    baseline = Baseline.load(baseline_file()) if own and not given.record_baseline else None
    if baseline is None and own and not given.record_baseline:
        print(f"note: no baseline for this Python ({baseline_file().name})")
    entries = read_entries(listed) if listed else []
    verdict = judge(runs, entries, baseline, given.pattern, tests_of_all_versions())
    show(verdict, runs, given.verbose)
    print(f"{about}; {time.monotonic() - began:.0f} s")
    if given.json is not None:
        write_json(given.json, runs, verdict, about)
    if given.record_baseline:
        failing = failed_in_any_manner(runs)
        if verdict.problems or (failing and system() != "wine"):
            print("not recorded: stock must pass every test first")
            return 1
        passed = passed_with_loop(runs)
        Baseline(platform.python_version(), passed, failing).save(baseline_file())
        return 0
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
