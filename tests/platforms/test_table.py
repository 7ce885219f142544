"""Every row of the platform table: lifted by default, there under a profile, as it is in asyncio.

The rows are the parameters: one that is added to the table is tested.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import evenloop
from evenloop.cli import doctor
from evenloop.platforms import page, profiles, table
from evenloop.platforms.limits import ENOTSOCK
from evenloop.platforms.probe import Outcome, run_probe
from evenloop.platforms.rows import Refusal, Row
from evenloop.platforms.table import ROWS
from evenloop.platforms.trial import stock_loop, try_rows

NAMES = [name for name in profiles.NAMES if name != "stock"]
WORKS = ("ok", "not here")

by_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
by_profile = pytest.mark.parametrize("profile", NAMES)

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVENLOOP_PROFILE", raising=False)


def skip_if_not_here(outcome: Outcome) -> None:
    """What this system does not have can be neither lifted nor limited."""
    if outcome.status == "not here":
        pytest.skip(outcome.saw)


def fails_as_told(outcome: Outcome, refusal: Refusal) -> None:
    assert type(outcome.error) is refusal.exception, outcome.saw
    if refusal.errno is not None:
        assert outcome.error.errno == refusal.errno, outcome.saw  # type: ignore[union-attr]


@by_row
def test_lifted(row: Row) -> None:
    """The loop as everybody gets it."""
    outcome = run_probe(row.probe, evenloop.new_event_loop)
    if row.stays:
        assert outcome.status not in WORKS, f"{row.id} works: take it from the list that says not"
    else:
        assert outcome.status in WORKS, outcome.saw
    if outcome.status == "not here":
        assert row.platforms or sys.platform == "win32", outcome.saw
    skip_if_not_here(outcome)


@by_profile
@by_row
def test_profile(row: Row, profile: str) -> None:
    """The loop under a profile, on whatever system this is."""
    outcome = run_probe(row.probe, partial(evenloop.new_event_loop, profile=profile))
    refusal = row.refusals.get(profile)
    if sys.platform == "win32" or refusal is None:  # else it is played whatever the system has
        skip_if_not_here(outcome)
    if refusal is None or not refusal.played:
        assert outcome.status == "ok" or row.stays, outcome.saw
        return
    fails_as_told(outcome, refusal)
    if refusal.told:
        name = refusal.by or row.id
        assert f"row {name}, profile {profile}" in str(outcome.error)
        assert table.row(name).lifted in str(outcome.error)


@pytest.mark.leaks_allowed  # asyncio's own
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "profile", [one for one in NAMES if profiles.of(one).platform == sys.platform]
)
@by_row
def test_stock(row: Row, profile: str, asyncio_log: pytest.LogCaptureFixture) -> None:
    """asyncio's own loop on this system fails in the same way, or works where it says so."""
    if row.id == "WIN-CLOCK" and sys.version_info >= (3, 13):
        pytest.skip("CPython reads the performance counter from 3.13 on")
    outcome = run_probe(row.probe, stock_loop(profile))
    asyncio_log.clear()
    skip_if_not_here(outcome)
    refusal = row.refusals.get(profile)
    if refusal is None:
        assert outcome.status == "ok" or row.stays, outcome.saw
    elif refusal.errno == ENOTSOCK and getattr(outcome.error, "errno", None) == 10045:
        # select() there takes the descriptor's number for a handle; Wine may have one of another
        # kind under it, which it finds fault with in another way.
        assert profile == "windows-selector"
    else:
        fails_as_told(outcome, refusal)


# What each method is called with, by the names that asyncio gives its parameters.
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "create_unix_connection": (asyncio.Protocol, "path"),
    "create_unix_server": (asyncio.Protocol, "path"),
    "add_signal_handler": (signal.SIGINT, print),
    "remove_signal_handler": (signal.SIGINT,),
    "subprocess_exec": (asyncio.SubprocessProtocol, sys.executable),
    "subprocess_shell": (asyncio.SubprocessProtocol, "exit 0"),
    "connect_read_pipe": (asyncio.Protocol, sys.stdin),
    "connect_write_pipe": (asyncio.Protocol, sys.stdout),
    "add_reader": (0, print),
    "remove_reader": (0,),
    "add_writer": (1, print),
    "remove_writer": (1,),
}
MISSING = [
    (profile, name)
    for profile in NAMES
    for row in ROWS
    if profile in row.refusals and row.refusals[profile].exception is NotImplementedError
    for name in vars(row.refusals[profile].limit or object)
    if name in ARGUMENTS
]


def refused(make: Callable[[], asyncio.AbstractEventLoop], name: str) -> type[BaseException] | None:
    """The type of what a method raises."""

    async def main() -> None:
        answer = getattr(asyncio.get_running_loop(), name)(*ARGUMENTS[name])
        if inspect.isawaitable(answer):
            await answer

    with asyncio.Runner(loop_factory=make) as runner:
        try:
            runner.run(main())
        except Exception as error:
            return type(error)
    return None


def test_methods_that_are_missing_are_known() -> None:
    """Each row's probe meets only the first; here are all."""
    assert {name for _, name in MISSING} == set(ARGUMENTS)


@pytest.mark.parametrize(("profile", "name"), MISSING)
def test_every_missing_method(profile: str, name: str) -> None:
    """It raises what the real loop raises, where that is here."""
    seen = refused(partial(evenloop.new_event_loop, profile=profile), name)
    assert seen is NotImplementedError
    if profiles.of(profile).platform == sys.platform:
        assert refused(stock_loop(profile), name) is seen


@by_row
def test_record(row: Row) -> None:
    """What is said about it is complete."""
    assert all((row.where, row.documented, row.since, row.section, row.lifted, row.restriction))
    assert row.section.startswith(("asyncio-", "subprocess.html"))
    assert set(row.refusals) <= set(NAMES)
    for refusal in row.refusals.values():
        if refusal.by:
            assert refusal.by in {other.id for other in ROWS}


def test_ids_are_unique() -> None:
    assert len({row.id for row in ROWS}) == len(ROWS)


@pytest.mark.leaks_allowed  # asyncio's own
def test_a_row_that_changes_changes_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Page, doctor and profile are made of the rows: nothing else has to be edited."""
    old = table.row("WIN-UDP")
    new = dataclasses.replace(
        old,
        documented="datagrams were forbidden",
        refusals={"linux": Refusal(NotImplementedError, limit=table._NO_UNIX.limit)},
        probe=table.row("WIN-UNIX").probe,
    )
    monkeypatch.setattr(table, "ROWS", (new,))
    monkeypatch.setattr(profiles, "_made", {})
    assert "datagrams were forbidden" in page.markdown()
    assert "### WIN-UDP" in page.markdown()
    assert "### WIN-UNIX" not in page.markdown()
    (tried,) = try_rows(evenloop.new_event_loop)
    assert tried.row is new
    report = doctor.Report(doctor.facts(), [], 0.0, [tried])
    assert "datagrams were forbidden" in doctor.as_markdown(report)
    assert json.loads(json.dumps(doctor.as_json(report)))["rows"][0]["id"] == "WIN-UDP"
    outcome = run_probe(new.probe, partial(evenloop.new_event_loop, profile="linux"))
    assert type(outcome.error) is NotImplementedError
    free = run_probe(new.probe, partial(evenloop.new_event_loop, profile="windows-proactor"))
    assert free.status in WORKS


WITH_A_ROW_MORE = """\
import dataclasses, sys, pytest

class Plugin:
    def pytest_configure(self):  # not before: pytest warns of plugins that were imported already
        from evenloop.platforms import table
        from evenloop.platforms.rows import Refusal

        refusals = {"linux": Refusal(ValueError)} if sys.argv[1] == "wrong" else {}
        new = dataclasses.replace(table.row("WIN-UDP"), id="NEW-ROW", refusals=refusals)
        table.ROWS += (new,)

arguments = [sys.argv[2], "-k", "NEW-ROW", "-q", "-p", "no:cacheprovider"]
sys.exit(pytest.main(arguments, plugins=[Plugin()]))
"""


@pytest.mark.parametrize("kind", ["right", "wrong"])
def test_a_new_row_is_tested(kind: str) -> None:
    """These tests too are made of the rows: one that says what is not so fails."""
    seen = subprocess.run(
        [sys.executable, "-c", WITH_A_ROW_MORE, kind, __file__],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    here = sum(profiles.of(name).platform == sys.platform for name in NAMES)
    count = 1 + len(NAMES) + here + 1  # lifted, the profiles, asyncio's own, its record
    if kind == "right":
        assert f"{count} passed" in seen.stdout, seen.stdout
    else:
        assert "FAILED tests/platforms/test_table.py::test_profile[NEW-ROW-linux]" in seen.stdout, (
            seen.stdout
        )
        assert seen.returncode == 1


def test_a_broken_promise_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor's exit status: here a loop under a profile plays one that is broken."""
    monkeypatch.setattr(table, "ROWS", (table.row("WIN-SIGNAL"),))
    broken = partial(evenloop.new_event_loop, profile="windows-proactor")
    (tried,) = try_rows(broken)
    assert tried.broken
    assert tried.mark[0] == "BROKEN"
    (tried,) = try_rows(evenloop.new_event_loop)
    assert not tried.broken


def test_page() -> None:
    text = page.markdown()
    for row in ROWS:
        assert f"### {row.id}\n" in text
        assert row.section in text
