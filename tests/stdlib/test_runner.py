"""The runner itself, on small modules made for it (CPython's suite has its own command)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.stdlib.__main__ import main
from tests.stdlib.runner import ModuleRun, Result
from tests.stdlib.verdict import Baseline, Entry, Verdict, judge, read_entries

PACKAGE = "suite_for_the_runner"

HEAD = """
import asyncio, os, sys, time, unittest

class Tests(unittest.TestCase):
    def loop(self):
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        return loop
"""


class Suite:
    """A package of test modules, and a way to run it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / PACKAGE
        self.directory.mkdir()
        (self.directory / "__init__.py").touch()
        self.json = directory / "result.json"

    def add(self, module: str, body: str) -> None:
        """Write a module: the methods of one test case, indented as such."""
        (self.directory / f"{module}.py").write_text(HEAD + body)

    def run(self, *words: str) -> tuple[int, dict[str, str]]:
        """Run everything on stock; the exit status, and each test's outcome."""
        status = main(["--loop", "stock", "--package", PACKAGE, "--json", str(self.json), *words])
        content = json.loads(self.json.read_text())
        return status, {test: about["outcome"] for test, about in content["tests"].items()}


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    return Suite(tmp_path)


def test_counts_what_makes_a_loop(suite: Suite, capsys: pytest.CaptureFixture[str]) -> None:
    suite.add(
        "test_good",
        """
    def test_new(self):
        self.loop().run_until_complete(asyncio.sleep(0))
    def test_run(self):
        asyncio.run(asyncio.sleep(0))
    def test_by_name(self):
        loop = asyncio.SelectorEventLoop()
        loop.close()
        self.assertEqual(type(loop).__name__, "StockLoop")
    def test_without(self):
        pass
    def test_skipped(self):
        self.loop()
        self.skipTest("not today")
""",
    )
    status, outcomes = suite.run()
    assert status == 0
    assert len(outcomes) == 5
    printed = capsys.readouterr().out
    assert "3 passed, 0 failed, 1 skipped" in printed


def test_a_hang_a_crash_and_a_failure_cost_one_test_each(
    suite: Suite, capsys: pytest.CaptureFixture[str]
) -> None:
    suite.add(
        "test_bad",
        """
    def test_1_fails(self):
        print("what it printed")
        self.loop()
        self.fail("what it said")
    def test_2_crashes(self):
        self.loop()
        os._exit(7)
    def test_3_hangs(self):
        self.loop()
        time.sleep(60)
    def test_4_subtests(self):
        self.loop()
        for i in range(3):
            with self.subTest(i=i):
                self.assertNotEqual(i, 1)
    def test_5_passes(self):
        self.loop()
""",
    )
    status, outcomes = suite.run("--timeout", "1")
    assert status == 1
    assert outcomes == {
        "test_bad.Tests.test_1_fails": "failed",
        "test_bad.Tests.test_2_crashes": "crash",
        "test_bad.Tests.test_3_hangs": "hang",
        "test_bad.Tests.test_4_subtests": "failed",
        "test_bad.Tests.test_5_passes": "passed",
    }
    printed = capsys.readouterr().out
    assert "1 passed, 4 failed, 0 skipped" in printed
    assert "what it printed" in printed and "what it said" in printed
    assert "ended with status 7" in printed
    assert "in test_3_hangs" in printed  # the stacks of the one that hung


def test_fixtures_that_fail_fail_their_tests(suite: Suite) -> None:
    suite.add(
        "test_fixture",
        """
    def test_fine(self):
        self.loop()

class Broken(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise OSError("no")
    def test_one(self):
        pass

class Absent(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise unittest.SkipTest("no")
    def test_one(self):
        pass
""",
    )
    status, outcomes = suite.run()
    assert status == 1
    assert outcomes == {
        "test_fixture.Tests.test_fine": "passed",
        "test_fixture.Broken.test_one": "failed",
        "test_fixture.Absent.test_one": "skipped",
    }


def test_trouble_outside_of_tests(suite: Suite, capsys: pytest.CaptureFixture[str]) -> None:
    suite.add("test_import", "\nraise RuntimeError('cannot be imported')\n")
    suite.add("test_exit", "\nimport atexit; atexit.register(os._exit, 5)\n")
    suite.add("test_skipped", "\nraise unittest.SkipTest('not on this system')\n")
    status, outcomes = suite.run()
    assert (status, outcomes) == (1, {})
    printed = capsys.readouterr().out
    assert "cannot be imported" in printed
    assert "problem: test_exit: the process ended with status 5" in printed
    assert "problem: test_skipped" not in printed


def test_selection(suite: Suite, capsys: pytest.CaptureFixture[str]) -> None:
    suite.add("test_a", "\n    def test_x(self): self.loop()\n    def test_y(self): self.loop()\n")
    suite.add("test_b", "\n    def test_x(self): self.loop()\n")
    assert suite.run("-k", "y$")[1] == {"test_a.Tests.test_y": "passed"}
    assert suite.run("--modules", "test_b")[1] == {"test_b.Tests.test_x": "passed"}
    with pytest.raises(SystemExit, match="no module test_c"):
        suite.run("--modules", "test_c")
    for words in (["--jobs", "0"], ["-k", "("], ["--engine", "epoll"]):
        with pytest.raises(SystemExit) as left:
            suite.run(*words)
        assert left.value.code == 2
    capsys.readouterr()


def one(outcome: str, loop: bool = True, test: str = "m.C.t") -> list[ModuleRun]:
    """A run of one module with one test."""
    return [ModuleRun("m", [test], {test: Result(test, outcome, loop=loop)})]


def entry(kind: str, *patterns: str) -> list[Entry]:
    """One entry of the lists."""
    return [Entry(kind, list(patterns), "because")]


def sums(verdict: Verdict) -> tuple[int, int, int, int]:
    """Passed, failed, not applicable, deviations."""
    total = verdict.total
    return total.passed, total.all_failed, total.not_applicable, total.deviations


def test_listed_tests_do_not_fail_the_run() -> None:
    verdict = judge(one("failed"), entry("not_applicable", "m.*.t"), None)
    assert verdict.good and sums(verdict) == (0, 0, 1, 0)
    verdict = judge(one("hang"), entry("deviation", "m.C.t"), None)
    assert verdict.good and sums(verdict) == (0, 0, 0, 1)


@pytest.mark.parametrize("kind", ["not_applicable", "deviation"])
def test_the_lists_are_honest(kind: str) -> None:
    passing = judge(one("passed"), entry(kind, "m.C.t"), None)
    assert not passing.good and "yet it passes" in passing.problems[0]
    unknown = judge(one("failed"), entry(kind, "m.C.t", "m.C.other"), None)
    assert not unknown.good and "no test has that name" in unknown.problems[0]
    elsewhere = judge(one("passed"), entry(kind, "other.C.t"), None)
    assert elsewhere.good  # a module that did not run says nothing of its entries
    selected = judge(one("passed"), entry(kind, "m.C.other"), None, selected="x")
    assert selected.good
    newer = judge(one("passed"), entry(kind, "m.C.other"), None, known={"m.C.other"})
    assert newer.good


def test_every_test_of_the_baseline_is_wanted() -> None:
    wanted = Baseline(sys.version.split()[0], {"m.C.t", "m.C.u"})
    assert any("m.C.u" in problem for problem in judge(one("passed"), [], wanted).problems)
    older = judge(one("passed"), [], Baseline("3.0.0", wanted.tests))
    assert older.good and "not in this version" in older.notes[0]
    only = Baseline(wanted.python, {"m.C.t"})
    assert judge(one("passed", loop=False), [], only).good
    assert "stock passes it" in judge(one("skipped"), [], only).problems[0]
    whole = judge([ModuleRun("m", skipped="no")], [], only)
    assert "skipped as a whole" in whole.problems[0]
    never = judge([ModuleRun("m", ["m.C.t"])], [], only)
    assert not never.good and sums(never) == (0, 1, 0, 0)


def test_a_failure_counts_without_a_loop_too() -> None:
    assert not judge(one("failed", loop=False), [], None).good
    assert sums(judge(one("passed", loop=False), [], None)) == (0, 0, 0, 0)


def test_baselines_survive_the_file(tmp_path: Path) -> None:
    wanted = Baseline("3.13.0", {"m.C.t", "m.D.u", "n.C.t"})
    wanted.save(tmp_path / "b" / "file.json")
    assert Baseline.load(tmp_path / "b" / "file.json") == wanted
    assert Baseline.load(tmp_path / "none.json") is None


def test_our_lists_can_be_read() -> None:
    assert all(found.reason and found.patterns for found in read_entries())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[[deviation]]\ntests = ["m.C.t"]\n', "needs tests and a reason"),
        ('[[deviation]]\nreason = "x"\n', "needs tests and a reason"),
        ('[[deviations]]\ntests = ["m.C.t"]\nreason = "x"\n', "unknown list"),
    ],
)
def test_faulty_lists_are_refused(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "lists.toml"
    file.write_text(dedent(text))
    with pytest.raises(ValueError, match=expected):
        read_entries(file)


def test_entries_of_other_versions_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "lists.toml"
    now = ".".join(map(str, sys.version_info[:2]))
    file.write_text(
        '[[deviation]]\ntests = ["m.old"]\nreason = "x"\nuntil = "3.10"\n'
        '[[deviation]]\ntests = ["m.new"]\nreason = "x"\nsince = "3.99"\n'
        f'[[deviation]]\ntests = ["m.now"]\nreason = "x"\nsince = "{now}"\nuntil = "{now}"\n'
    )
    assert [found.patterns for found in read_entries(file)] == [["m.now"]]
