"""Run modules of CPython's suite in processes of their own and gather what became of each test.

A test that hangs or crashes its process costs that one test: the module goes on with the rest
in a fresh process.  Everything the tests print is kept in a file, and what a failing one
printed is shown with it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "test.test_asyncio"
GRACE = 1.0  # seconds between a test's time limit, when it dumps its stacks, and its end
EXIT_LIMIT = 20.0  # seconds a worker may take to leave after its last test
LOG_LIMIT = 6000  # characters shown of what a test printed


@dataclass(frozen=True)
class Options:
    """What to run, on what."""

    loop: str = "evenloop"
    engine: str | None = None
    package: str = PACKAGE
    timeout: float = 30.0
    pattern: str | None = None
    jobs: int = 2


@dataclass
class Result:
    """What became of one test."""

    test: str
    outcome: str  # passed, failed, skipped, hang, crash
    detail: str = ""
    seconds: float = 0.0
    loop: bool = False  # it made a loop of the substituted class


@dataclass
class ModuleRun:
    """What became of one module."""

    module: str
    tests: list[str] = field(default_factory=list)
    results: dict[str, Result] = field(default_factory=dict)
    skipped: str = ""  # the reason why the whole module was skipped
    trouble: list[str] = field(default_factory=list)  # failures outside of any test
    loop: str = ""
    seconds: float = 0.0


def find_modules(package: str = PACKAGE) -> list[str]:
    """The names of the package's test modules, the longest sources first."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise LookupError(
            f"this interpreter has no {package}: install its test suite "
            f"(on Debian libpython3.{sys.version_info[1]}-testsuite)"
        )
    files = [
        path for place in spec.submodule_search_locations for path in Path(place).glob("test_*.py")
    ]
    return [path.stem for path in sorted(files, key=lambda path: -path.stat().st_size)]


def package_folder() -> str:
    """Where evenloop would be imported from: installed it may be, but else from the checkout."""
    spec = importlib.util.find_spec("evenloop")
    if spec is None or spec.origin is None:
        return str(ROOT / "src")
    return str(Path(spec.origin).parents[1])


class Worker:
    """One process running tests of one module."""

    def __init__(self, module: str, only: list[str] | None, options: Options, log: Path) -> None:
        self.log = log
        self.directory = tempfile.mkdtemp(prefix="stdlib-")
        paths = [str(ROOT), package_folder(), *(os.path.abspath(p) for p in sys.path if p)]
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
        with open(log, "ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.stdlib.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=self.directory,
                env=environment,
                start_new_session=True,
            )
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        assert self.process.stdin is not None and self.process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,))
        self._reader.daemon = True
        self._reader.start()
        task = {
            "module": module,
            "package": options.package,
            "only": only,
            "loop": options.loop,
            "engine": options.engine,
            "timeout": options.timeout,
        }
        with contextlib.suppress(BrokenPipeError), self.process.stdin as pipe:
            pipe.write(json.dumps(task).encode())

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                self._lines.put(line)
        self._lines.put(b"")

    def report(self, seconds: float) -> dict[str, Any] | None:
        """The next report; None at the end of the process; queue.Empty after `seconds`."""
        line = self._lines.get(timeout=seconds)
        return json.loads(line) if line else None

    def leave(self) -> int | None:
        """Wait for the process to end by itself; its exit status, or None: it had to be killed."""
        try:
            return self.process.wait(EXIT_LIMIT)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        """Kill the process and every child it left behind, and remove its directory."""
        if sys.platform == "win32":
            self.process.kill()
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(5)
        shutil.rmtree(self.directory, ignore_errors=True)

    def printed(self, offset: int) -> str:
        """The end of what was printed since `offset` of the log."""
        with open(self.log, "rb") as file:
            file.seek(offset)
            text = file.read().decode("utf-8", "replace").strip()
        return text if len(text) <= LOG_LIMIT else "[...] " + text[-LOG_LIMIT:]


class ModuleRunner:
    """Runs one module to its end, with as many processes as that takes."""

    def __init__(self, module: str, options: Options, log: Path) -> None:
        self.options = options
        self.log = log
        self.run = ModuleRun(module)
        self._only: list[str] | None = None
        self._selected: set[str] | None = None
        self._current: dict[str, Any] | None = None
        self._progress = False

    def execute(self) -> ModuleRun:
        """Run it."""
        began = time.monotonic()
        if self.options.pattern is not None:
            self._select(self.options.pattern)
        while self._only is None or self._only:
            self._progress = False
            finished = self._attempt()
            self._only = [name for name in self.run.tests if name not in self.run.results]
            if self._selected is not None:
                self._only = [name for name in self._only if name in self._selected]
            if finished or not self._progress:
                break
        self.run.seconds = time.monotonic() - began
        return self.run

    def _select(self, pattern: str) -> None:
        """Learn the names of the module's tests, and keep those that match."""
        worker = Worker(self.run.module, [], self.options, self.log)
        try:
            self._follow(worker)
        except queue.Empty:
            self.run.trouble.append("the module does not import within the time limit")
        finally:
            worker.end()
        search = re.compile(pattern)
        self._only = [name for name in self.run.tests if search.search(name)]
        self._selected = set(self._only)

    def _attempt(self) -> bool:
        """One process; True when there is nothing left to run."""
        worker = Worker(self.run.module, self._only, self.options, self.log)
        self._current = None
        try:
            finished = self._follow(worker)
            status = worker.leave()
            if finished and status != 0:
                how = "did not exit after its last test" if status is None else ended(status)
                self.run.trouble.append(f"the process {how}\n{worker.printed(0)}")
            if not finished:
                self._lost(worker, "crash", ended(status))
        except queue.Empty:
            finished = False
            self._lost(worker, "hang", f"no end after {self.options.timeout:g} s")
        finally:
            worker.end()
        return finished

    def _follow(self, worker: Worker) -> bool:
        while True:
            report = worker.report(self.options.timeout + GRACE)
            if report is None:
                return False
            if self._take(report, worker):
                return True

    def _take(self, report: dict[str, Any], worker: Worker) -> bool:
        """Take in one report; True when it is the last."""
        event = report["event"]
        if event == "hello":
            self.run.tests, self.run.loop = report["tests"], report["loop"]
        elif event == "start":
            self._current = report
        elif event == "loop" and self._current is not None:
            self._current["loop"] = True
        elif event == "end":
            detail = report["detail"]
            if report["outcome"] == "failed" and self._current is not None:
                printed = worker.printed(self._current["log"])
                detail += f"\n--- printed ---\n{printed}" if printed else ""
            self._current = None
            self._set(report["test"], report["outcome"], detail, report)
        elif event == "fixture":
            self._fixture(report)
        elif event == "skipped":
            self.run.skipped = report["detail"] or "skipped"
            return True
        return bool(event == "done")

    def _set(self, test: str, outcome: str, detail: str, report: dict[str, Any]) -> None:
        self._progress = True
        seconds, loop = report.get("seconds", 0.0), report.get("loop", False)
        self.run.results[test] = Result(test, outcome, detail, seconds, loop)

    def _fixture(self, report: dict[str, Any]) -> None:
        """A class or module fixture failed or skipped: so did the tests that wait for it."""
        found = re.search(r"\((.+)\)$", report["test"])
        whole = self.options.package + "." + self.run.module
        owner = (found[1] if found else whole).removeprefix(self.options.package + ".")
        waiting = [
            name
            for name in (self.run.tests if self._only is None else self._only)
            if name.startswith(owner + ".") and name not in self.run.results
        ]
        detail = f"{report['test']}\n{report['detail']}"
        for name in waiting:
            self._set(name, report["outcome"], detail, {})
        if not waiting and report["outcome"] == "failed":
            self.run.trouble.append(detail)

    def _lost(self, worker: Worker, outcome: str, how: str) -> None:
        """The process hung or died: blame the test it was at."""
        if self._current is None:
            self.run.trouble.append(f"outside of any test: {how}\n{worker.printed(0)}")
            return
        printed = worker.printed(self._current["log"])
        self._set(self._current["test"], outcome, f"{how}\n{printed}".strip(), self._current)


def ended(status: int | None) -> str:
    """How a process ended, in words."""
    if status is not None and status < 0:
        with contextlib.suppress(ValueError):
            return f"died of {signal.Signals(-status).name}"
    return f"ended with status {status}"


def run_modules(
    modules: list[str], options: Options, tell: Callable[[ModuleRun], None]
) -> list[ModuleRun]:
    """Run `modules` on as many threads as jobs; `tell` hears of each as it ends."""
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for module in modules:
        waiting.put(module)
    runs: dict[str, ModuleRun] = {}
    lock = threading.Lock()

    def work(directory: str) -> None:
        while True:
            try:
                module = waiting.get_nowait()
            except queue.Empty:
                return
            run = ModuleRunner(module, options, Path(directory, module + ".log")).execute()
            with lock:
                runs[module] = run
                tell(run)

    with tempfile.TemporaryDirectory(prefix="stdlib-") as directory:
        threads = [threading.Thread(target=work, args=(directory,)) for _ in range(options.jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return [runs[module] for module in modules if module in runs]
