"""Judge a run: which tests count, which were expected to fail, and what is missing.

A test counts when it made a loop of the substituted class, when the recorded baseline has it,
or when it failed.  A run succeeds when

- no counted test failed, hung or crashed, other than the listed ones and, on Wine, those that
  stock asyncio fails there too, which the baseline names;
- every test of the baseline (what stock asyncio passes on this version of Python, with a loop)
  passed, other than the listed ones: one that was skipped or vanished is a failure too;
- the lists are honest: each pattern matches a test of some version of Python, and no test listed
  passes.
"""

from __future__ import annotations

import fnmatch
import json
import platform
import sys
import tomllib
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.stdlib.runner import ModuleRun, Result

HERE = Path(__file__).resolve().parent
DEVIATIONS = HERE / "deviations.toml"
BAD = ("failed", "hang", "crash")


@dataclass
class Entry:
    """One entry of the deviations file: patterns of tests and why they do not pass."""

    kind: str  # not_applicable, deviation
    patterns: list[str]
    reason: str
    may_pass: bool = False

    def matches(self, test: str) -> bool:
        """Whether the entry speaks of `test`."""
        return any(fnmatch.fnmatchcase(test, pattern) for pattern in self.patterns)


def read_entries(file: Path = DEVIATIONS) -> list[Entry]:
    """The entries of a deviations file that hold for this version of Python."""
    with open(file, "rb") as opened:
        content = tomllib.load(opened)
    entries = []
    for kind in content:
        if kind not in ("not_applicable", "deviation"):
            raise ValueError(f"{file.name}: unknown list {kind!r}")
        for raw in content[kind]:
            unknown = set(raw) - {"tests", "reason", "since", "until", "may_pass"}
            if unknown or not raw.get("reason") or not raw.get("tests"):
                raise ValueError(f"{file.name}: an entry needs tests and a reason: {raw}")
            if (
                _version(raw.get("since", "3.0"))
                <= sys.version_info[:2]
                <= _version(raw.get("until", "3.999"))
            ):
                entry = Entry(kind, raw["tests"], raw["reason"], raw.get("may_pass", False))
                entries.append(entry)
    return entries


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


# The baseline: {"python": "3.13.0", "tests": {module: {class: [methods]}}}


def baseline_file() -> Path:
    """Where the baseline of this Python on this system is kept."""
    kind = "" if sys.implementation.name == "cpython" else sys.implementation.name + "-"
    version = ".".join(map(str, sys.version_info[:2]))
    return HERE / "baselines" / f"{kind}{version}-{system()}.json"


def system() -> str:
    """The platform, where Wine is one of its own: it fails where Windows does not."""
    if sys.platform == "win32":
        import ctypes

        if hasattr(ctypes.WinDLL("ntdll"), "wine_get_version"):
            return "wine"
    return sys.platform


@dataclass
class Baseline:
    """The tests with a loop that stock asyncio passes, and those that it fails on this system."""

    python: str
    tests: set[str]
    failing: set[str] = field(default_factory=set)

    @classmethod
    def load(cls, file: Path) -> Baseline | None:
        """Read it, if there is one."""
        if not file.exists():
            return None
        content: dict[str, Any] = json.loads(file.read_text())
        tests = {
            f"{module}.{owner}.{method}"
            for module, owners in content["tests"].items()
            for owner, methods in owners.items()
            for method in methods
        }
        return cls(content["python"], tests, set(content.get("failing", ())))

    def save(self, file: Path) -> None:
        """Write it, in an order that makes changes easy to see."""
        nested: dict[str, dict[str, list[str]]] = {}
        for test in sorted(self.tests):
            module, owner, method = test.split(".", 2)
            nested.setdefault(module, {}).setdefault(owner, []).append(method)
        content: dict[str, Any] = {"python": self.python, "count": len(self.tests)}
        if self.failing:
            content["failing"] = sorted(self.failing)
        content["tests"] = nested
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content, indent=1) + "\n")


def tests_of_all_versions() -> set[str]:
    """Every test that any recorded baseline names."""
    found = [Baseline.load(file) for file in baseline_file().parent.glob("*.json")]
    return {test for baseline in found if baseline is not None for test in baseline.tests}


def failed_in_any_manner(runs: list[ModuleRun]) -> set[str]:
    """What stock asyncio fails on this system."""
    return {result.test for run in runs for result in run.results.values() if result.outcome in BAD}


def passed_with_loop(runs: list[ModuleRun]) -> set[str]:
    """What a baseline records."""
    return {
        result.test
        for run in runs
        for result in run.results.values()
        if result.loop and result.outcome == "passed"
    }


@dataclass
class Counts:
    """The figures of one module, or of all."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    not_applicable: int = 0
    deviations: int = 0
    as_stock: int = 0
    hang: int = 0
    crash: int = 0
    no_loop: int = 0

    def add(self, other: Counts) -> None:
        """Add the figures of `other`."""
        for name in vars(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def all_failed(self) -> int:
        """Failed in any manner."""
        return self.failed + self.hang + self.crash


@dataclass
class Verdict:
    """What is to be said of a run."""

    modules: dict[str, Counts] = field(default_factory=dict)
    failures: list[Result] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # of the run and of the lists
    notes: list[str] = field(default_factory=list)

    @property
    def total(self) -> Counts:
        """The sum over the modules."""
        total = Counts()
        for counts in self.modules.values():
            total.add(counts)
        return total

    @property
    def good(self) -> bool:
        """Whether the run succeeded."""
        return not self.failures and not self.problems


def judge(
    runs: list[ModuleRun],
    entries: list[Entry],
    baseline: Baseline | None,
    selected: str | None = None,
    known: AbstractSet[str] = frozenset(),
) -> Verdict:
    """Judge `runs`; with `selected` (a pattern was given) only what ran is expected.

    `known` are tests of other versions of Python, which the lists may name too.
    """
    verdict = Verdict()
    expected = baseline.tests if baseline is not None else set()
    failing = baseline.failing if baseline is not None else set()
    for run in runs:
        counts = verdict.modules[run.module] = Counts()
        verdict.problems += [f"{run.module}: {what}" for what in run.trouble]
        for result in run.results.values():
            if not (result.loop or result.test in expected or result.outcome in BAD):
                counts.no_loop += 1
                continue
            if result.test in failing and result.outcome in BAD:
                counts.as_stock += 1
                continue
            entry = next((e for e in entries if e.matches(result.test)), None)
            _count(result, entry, result.test in expected, counts, verdict)
        if baseline is not None and selected is None:
            _missing(run, baseline, counts, verdict)
    if selected is None:
        _unused(runs, entries, known, verdict)
    return verdict


def _count(
    result: Result, entry: Entry | None, expected: bool, counts: Counts, verdict: Verdict
) -> None:
    if entry is not None and result.outcome != "passed":
        if entry.kind == "deviation":
            counts.deviations += 1
        else:
            counts.not_applicable += 1
        return
    if entry is not None and not entry.may_pass:
        kind = entry.kind.replace("_", " ")
        verdict.problems.append(f"{result.test}: listed as {kind}, yet it passes")
    setattr(counts, result.outcome, getattr(counts, result.outcome) + 1)
    if result.outcome in BAD:
        verdict.failures.append(result)
    elif result.outcome == "skipped" and expected:
        verdict.problems.append(f"{result.test}: skipped, stock passes it: {result.detail}")


def _missing(run: ModuleRun, baseline: Baseline, counts: Counts, verdict: Verdict) -> None:
    """Tests of the baseline that never ran."""
    own = {test for test in baseline.tests if test.startswith(run.module + ".")}
    if run.skipped and own:
        verdict.problems.append(f"{run.module}: skipped as a whole: {run.skipped}")
        return
    gone = own - set(run.tests)
    if gone and baseline.python != platform.python_version():
        verdict.notes.append(
            f"{run.module}: {len(gone)} tests of the baseline ({baseline.python}) "
            "are not in this version's suite"
        )
    elif gone:
        verdict.problems += [f"{test}: in the baseline, not in the suite" for test in sorted(gone)]
    for test in sorted(own - gone - set(run.results)):
        counts.failed += 1
        verdict.failures.append(Result(test, "failed", "it never ran"))


def _unused(
    runs: list[ModuleRun], entries: list[Entry], known: AbstractSet[str], verdict: Verdict
) -> None:
    """Patterns that match no test, neither of what ran nor of any version's baseline."""
    names = {run.module for run in runs if not run.skipped}
    tests = {test for run in runs for test in run.tests} | known
    for entry in entries:
        for pattern in entry.patterns:
            ran = pattern.split(".", 1)[0] in names
            if ran and not fnmatch.filter(tests, pattern):
                verdict.problems.append(f"{pattern}: listed, but no test has that name")
