"""Every row of the platform table: lifted by default, there under a profile, as it is in asyncio.

The rows are the parameters: one that is added to the table is tested.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from functools import partial

import pytest

import evenloop
from evenloop.cli import doctor
from evenloop.platforms import page, profiles, table
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


def fails_as_told(outcome: Outcome, refusal: Refusal) -> None:
    assert type(outcome.error) is refusal.exception, outcome.saw
    if refusal.errno is not None:
        assert outcome.error.errno == refusal.errno, outcome.saw  # type: ignore[union-attr]


@by_row
def test_lifted(row: Row) -> None:
    """The loop as everybody gets it."""
    outcome = run_probe(row.probe, evenloop.new_event_loop)
    if sys.platform in row.beyond:
        assert outcome.status not in WORKS, f"{row.id} works: take it from the list that says not"
    else:
        assert outcome.status in WORKS, outcome.saw
    if outcome.status == "not here":
        assert row.platforms or sys.platform == "win32", outcome.saw


@by_profile
@by_row
def test_profile(row: Row, profile: str) -> None:
    """The loop under a profile, on whatever system this is."""
    outcome = run_probe(row.probe, partial(evenloop.new_event_loop, profile=profile))
    refusal = row.refusals.get(profile)
    if refusal is None or not refusal.played:
        if sys.platform not in row.beyond:
            assert outcome.status in WORKS, outcome.saw
    elif outcome.status != "not here":
        fails_as_told(outcome, refusal)
        if refusal.told:
            name = refusal.by or row.id
            assert f"row {name}, profile {profile}" in str(outcome.error)
            assert table.row(name).lifted in str(outcome.error)
    else:
        assert sys.platform == "win32", outcome.saw  # only there something may be missing


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
    refusal = row.refusals.get(profile)
    if refusal is None:
        assert outcome.status in WORKS or sys.platform in row.beyond, outcome.saw
    elif row.id == "WSEL-HANDLE" and getattr(outcome.error, "errno", None) == 10045:
        # select() there takes the descriptor's number for a handle; Wine may have one of another
        # kind under it, which it finds fault with in another way.
        assert profile == "windows-selector"
    elif outcome.status != "not here":
        fails_as_told(outcome, refusal)


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
