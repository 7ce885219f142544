"""The pytest plugin: a project's tests on evenloop, or under the limits of other platforms.

    pytest --evenloop
    pytest --evenloop-profile=windows-proactor,windows-selector

Whatever makes its loops through asyncio follows: pytest-asyncio, anyio's plugin, the standard
`unittest.IsolatedAsyncioTestCase`, `asyncio.run` in a test. With profiles the whole session
runs once for each, and a table at its end tells which tests met which row of the platform table.
`evenloop_pytest` imports this when one of its options is used.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from evenloop.cli import substitute
from evenloop.platforms import profiles
from evenloop.platforms.findings import Findings
from evenloop.platforms.table import ROWS

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["begin"]

_VARIABLE = "EVENLOOP_PROFILE"
_COLOURS = {"passed": "green", "skipped": "yellow", "failed": "red"}
_OUTCOMES = tuple(_COLOURS)  # from good to bad


def begin(config: pytest.Config, names: list[str]) -> None:
    """Put asyncio on evenloop, and run the tests once for each profile if there are any."""
    for name in names:
        try:
            profiles.check_name(name)
        except ValueError as error:
            raise pytest.UsageError(f"--evenloop-profile: {error}") from None
    substitute.everywhere()
    config.pluginmanager.register(_Header(names), "evenloop-header")
    if names:
        if getattr(config.option, "numprocesses", None):
            raise pytest.UsageError("--evenloop-profile runs in one process: leave out -n")
        config.pluginmanager.register(_Profiles(names), "evenloop-profiles")


class _Header:
    """Says what the tests run on."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def pytest_report_header(self) -> str:
        """One line."""
        from evenloop import __version__

        under = f", once under each profile: {', '.join(self._names)}" if self._names else ""
        return f"evenloop: asyncio runs on evenloop {__version__}{under}"


class _Profiles:
    """Runs the session once for each profile, and notes what is refused to whom."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._profile = ""
        self._findings = Findings()
        # (profile, test, its outcome, what it met), in the order of the run.
        self._met: list[tuple[str, str, str, list[Any]]] = []
        # The worst outcome of each test's phases, by profile and test.
        self._outcomes: dict[tuple[str, str], str] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """As pytest's own, with one more loop around it."""
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            raise session.Interrupted(f"{session.testsfailed} errors during collection")
        if session.config.option.collectonly:
            return True
        before = os.environ.get(_VARIABLE)
        try:
            with self._findings:
                for name in self._names:
                    os.environ[_VARIABLE] = self._profile = name
                    _begin_part(session.config, name)
                    self._run(session)
        finally:
            os.environ.pop(_VARIABLE, None)
            if before is not None:
                os.environ[_VARIABLE] = before
        return True

    def _run(self, session: pytest.Session) -> None:
        following: list[pytest.Item | None] = [*session.items[1:], None]
        for item, nextitem in zip(session.items, following, strict=False):
            if getattr(item, "_instance", item) is None:
                # pytest 8.2 would not make the instance of a unittest.TestCase once more.
                del item._instance  # type: ignore[attr-defined]
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, Any, None]:
        """Name the profile in the report, and take note of what was refused meanwhile."""
        outcome = yield
        report = outcome.get_result()
        if self._profile:
            report.nodeid = _with_profile(item.nodeid, self._profile)
            file, line, title = report.location
            report.location = file, line, _with_profile(title, self._profile)
            # Each line once: a test may try many times.
            met = list({(one.row, one.file, one.line): one for one in self._findings}.values())
            self._findings.clear()
            key = (self._profile, item.nodeid)
            self._outcomes[key] = max(
                self._outcomes.get(key, "passed"), report.outcome, key=_OUTCOMES.index
            )
            if met:
                self._met.append((self._profile, item.nodeid, report.outcome, met))

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        """Show the table: row, test, line; in colour where pytest writes in colour."""
        write = terminalreporter.write
        terminalreporter.section("evenloop: what tests meet on other platforms' asyncio")
        for name in self._names:
            rows = [one for one in self._met if one[0] == name]
            outcomes = [outcome for key, outcome in self._outcomes.items() if key[0] == name]
            passed, failed = outcomes.count("passed"), outcomes.count("failed")
            write(name, bold=True)
            write(f": {passed} passed, ")
            write(f"{failed} failed\n", red=bool(failed), bold=bool(failed))
            # By what was met: the tests that fail of it one by one, the others as one.
            places: dict[tuple[str, str, str], list[str]] = {}
            for _, test, outcome, met in rows:
                for one in met:
                    file = os.path.relpath(one.file, config.rootpath) if one.file else "?"
                    places.setdefault((outcome, one.row, f"{file}:{one.line}"), []).append(test)
            for (outcome, row_id, place), tests in sorted(places.items()):
                # What passes although something was refused knows what to do then.
                told = tests if outcome == "failed" else tests[:1]
                for test in told:
                    more = f" and {len(tests) - 1} more" if len(tests) > len(told) else ""
                    write(f"  {row_id:<15} ", yellow=True)
                    write(f"{outcome:<7} ", **{_COLOURS[outcome]: True})
                    write(f"{test}{more}  ")
                    write(f"{place}\n", cyan=True)
            if not rows:
                write("  no test met a limit\n")
        refused = {one.row for *_, findings in self._met for one in findings}
        for row in ROWS:
            if row.id in refused:
                write(row.id, yellow=True)
                write(f": {row.where}: {row.documented}\n")


def _with_profile(name: str, profile: str) -> str:
    """The name of a test as if the profile were the last of its parameters."""
    if name.endswith("]"):
        return f"{name[:-1]}-{profile}]"
    return f"{name}[{profile}]"


def _begin_part(config: pytest.Config, profile: str) -> None:
    """Say which profile is next, and count the tests from the beginning."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    if config.option.verbose >= 0:
        reporter.write_sep("-", f"profile {profile}")
    # There is no other way to it; without it every further test is said to be the last, at 100%.
    getattr(reporter, "_progress_nodeids_reported", set()).clear()
