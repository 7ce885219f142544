"""Run the tests of one module in this process and report each as a line of JSON.

The runner writes the task to standard input; reports go to what was standard output when the
process began, and everything that tests print goes to standard error.  The lines:

    {"event": "hello", "tests": [...], "loop": "..."}   after the import
    {"event": "start", "test": id, "log": offset}       offset in the standard error file
    {"event": "loop", "test": id}                       the test made its first loop
    {"event": "end", "test": id, "outcome": ..., "detail": ..., "seconds": ..., "loop": bool}
    {"event": "fixture", "test": name, "outcome": ..., "detail": ...}
    {"event": "skipped", "detail": reason}              the whole module
    {"event": "done"}
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import signal
import sys
import time
import unittest
from collections.abc import Iterator
from types import TracebackType
from typing import Any, TextIO

from tests.stdlib.substitute import Recorder, ease_harness, substitute

ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class Reporter(unittest.TestResult):
    """Writes what happens as it happens, so that a crash loses one test at most."""

    def __init__(self, out: TextIO, recorder: Recorder, prefix: str, limit: float) -> None:
        super().__init__()
        self._out = out
        self._recorder = recorder
        self._prefix = prefix
        self._limit = limit
        self._outcome = "passed"
        self._detail = ""
        self._running: str | None = None
        self._began = 0.0

    def send(self, event: str, **fields: object) -> None:
        """Write one report."""
        self._out.write(json.dumps({"event": event, **fields}) + "\n")
        self._out.flush()

    def name(self, test: unittest.TestCase) -> str:
        """The identity of a test: module.Class.method."""
        return test.id().removeprefix(self._prefix)

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        super().startTest(test)
        name = self.name(test)
        self._running, self._outcome, self._detail = name, "passed", ""
        sys.stdout.flush()
        sys.stderr.flush()
        self.send("start", test=name, log=os.fstat(2).st_size)
        self._recorder.reset(lambda: self.send("loop", test=name))
        faulthandler.dump_traceback_later(self._limit, exit=False)
        self._began = time.monotonic()

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        seconds = time.monotonic() - self._began
        faulthandler.cancel_dump_traceback_later()
        super().stopTest(test)
        self.send(
            "end",
            test=self._running,
            outcome=self._outcome,
            detail=self._detail,
            seconds=round(seconds, 3),
            loop=self._recorder.made > 0,
        )
        self._running = None
        self._recorder.reset(None)

    def _note(self, test: Any, outcome: str, detail: str) -> None:
        if self._running is None:  # setUpClass and its like: no test is running
            self.send("fixture", test=str(test), outcome=outcome, detail=detail)
            return
        if outcome == "failed" or self._outcome == "passed":
            self._outcome = outcome
        self._detail = f"{self._detail}\n{detail}".strip()

    def _text(self, test: Any, err: ExcInfo) -> str:
        """The traceback without the frames of unittest itself."""
        return str(super()._exc_info_to_string(err, test))  # type: ignore[misc]

    def addError(self, test: Any, err: ExcInfo) -> None:  # noqa: N802
        self._note(test, "failed", self._text(test, err))

    def addFailure(self, test: Any, err: ExcInfo) -> None:  # noqa: N802
        self._note(test, "failed", self._text(test, err))

    def addSubTest(self, test: Any, subtest: Any, err: ExcInfo | None) -> None:  # noqa: N802
        if err is not None:
            self._note(test, "failed", f"{subtest}\n{self._text(test, err)}")

    def addSkip(self, test: Any, reason: str) -> None:  # noqa: N802
        self._note(test, "skipped", reason)

    def addExpectedFailure(self, test: Any, err: ExcInfo) -> None:  # noqa: N802
        self._note(test, "passed", "expected failure")

    def addUnexpectedSuccess(self, test: Any) -> None:  # noqa: N802
        self._note(test, "failed", "unexpected success")


def flat(suite: Any) -> Iterator[unittest.TestCase]:
    """The test cases of a suite in their order."""
    if isinstance(suite, unittest.TestCase):
        yield suite
        return
    for part in suite:
        yield from flat(part)


def main() -> None:
    """Run one task: see the module's description."""
    task: dict[str, Any] = json.load(sys.stdin)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")  # not inherited by the tests' children
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    faulthandler.enable()
    # A shell starts background jobs with SIGINT ignored, and some tests interrupt themselves.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    recorder = Recorder()
    marker = substitute(task["loop"], task["engine"], recorder)
    if task["package"] == "test.test_asyncio":
        ease_harness()
    prefix = task["package"] + "."
    reporter = Reporter(out, recorder, prefix, task["timeout"])
    try:
        module = importlib.import_module(prefix + task["module"])
    except unittest.SkipTest as why:
        reporter.send("skipped", detail=str(why))
        return
    base = marker.__mro__[1]
    cases = list(flat(unittest.defaultTestLoader.loadTestsFromModule(module)))
    names = [reporter.name(case) for case in cases]
    reporter.send("hello", tests=names, loop=f"{base.__module__}.{base.__qualname__}")
    wanted = None if task["only"] is None else set(task["only"])
    suite = unittest.TestSuite(
        case for case, name in zip(cases, names, strict=True) if wanted is None or name in wanted
    )
    suite.run(reporter)
    reporter.send("done")


if __name__ == "__main__":
    main()
