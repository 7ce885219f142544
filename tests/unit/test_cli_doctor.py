"""`evenloop doctor`, and the probes behind it."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stdout

import pytest

from evenloop.cli import doctor, main
from evenloop.platforms import probe as probing
from evenloop.platforms import table
from evenloop.platforms.probe import Bench, Failed, NotHere, Probe, Topic, probe, run_probe
from evenloop.runners import new_event_loop

TOPIC = Topic("A topic", "page.html")
METHODS = {name for name in dir(asyncio.AbstractEventLoop) if not name.startswith("_")}


def test_every_method_is_probed() -> None:
    probed = {method for one in probing.all_probes() for method in one.methods}
    assert probed == METHODS


def test_names_are_unique() -> None:
    names = [one.name for one in probing.all_probes()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("one", probing.all_probes(), ids=lambda one: one.name)
def test_probe(one: Probe) -> None:
    outcome = run_probe(one, new_event_loop)
    assert outcome.status in ("ok", "not here"), outcome.saw
    assert outcome.saw
    assert "\n" not in outcome.saw


def test_the_rivals_faults_are_found() -> None:
    """A probe that cannot fail proves nothing: stock asyncio drops empty datagrams on 3.11."""
    if sys.version_info >= (3, 12):
        pytest.skip("mended in 3.12")
    one = next(one for one in probing.all_probes() if one.name == "create_datagram_endpoint")
    outcome = run_probe(one, asyncio.SelectorEventLoop)
    assert outcome.status == "failed"
    assert outcome.saw == "a datagram of 0 bytes did not come back"


def outcome_of(function: object, limit: float = 5.0) -> probing.Outcome:
    made = probe("a probe", TOPIC, "call_soon")(function)  # type: ignore[arg-type]
    return run_probe(made, asyncio.SelectorEventLoop, limit=limit)


def test_verdicts() -> None:
    async def well(bench: Bench) -> str:
        return "all well"

    async def failed(bench: Bench) -> str:
        raise Failed("not so")

    async def raised(bench: Bench) -> str:
        raise OSError(5, "broken\nin two lines")

    async def missing(bench: Bench) -> str:
        raise NotImplementedError

    async def absent(bench: Bench) -> str:
        raise NotHere("no such thing")

    async def cancelled(bench: Bench) -> str:
        raise asyncio.CancelledError

    def plain(bench: Bench) -> str:
        with bench.own_loop() as loop:
            return str(loop.is_running())

    seen = [outcome_of(one) for one in (well, failed, raised, missing, absent, cancelled, plain)]
    assert [(outcome.status, outcome.saw) for outcome in seen] == [
        ("ok", "all well"),
        ("failed", "not so"),
        ("failed", "OSError: [Errno 5] broken in two lines"),
        ("missing", "NotImplementedError"),
        ("not here", "no such thing"),
        ("failed", "CancelledError"),
        ("ok", "False"),
    ]


def test_trouble_behind_its_back() -> None:
    async def careless(bench: Bench) -> str:
        bench.loop.call_soon(lambda: 1 // 0)
        await asyncio.sleep(0)
        return "all well"

    outcome = outcome_of(careless)
    assert outcome.status == "failed"
    assert outcome.saw.startswith("all well; Exception in callback")
    assert "ZeroDivisionError" in outcome.saw


def test_time_limit() -> None:
    async def slow(bench: Bench) -> str:
        await asyncio.sleep(60)
        return "late"

    outcome = outcome_of(slow, limit=0.05)
    assert (outcome.status, outcome.saw) == ("failed", "not done after 0.05 seconds")


@pytest.mark.timeout(method="signal")
def test_loop_that_hangs() -> None:
    """No timer of the loop's own can help: it is interrupted."""

    async def stuck(bench: Bench) -> str:
        time.sleep(20)
        return "late"

    start = time.monotonic()
    outcome = outcome_of(stuck, limit=-0.9)
    assert outcome.status == "failed"
    assert "hung" in outcome.saw
    assert time.monotonic() - start < 10


def facts() -> dict[str, object]:
    return doctor.facts()


def run_doctor(*words: str) -> tuple[int, str]:
    with redirect_stdout(io.StringIO()) as out:
        status = main(["doctor", *words])
    return status, out.getvalue()


def test_facts() -> None:
    known = facts()
    assert known["mode"] in ("compiled", "pure", "mixed")
    assert known["engine"] in {choice["name"] for choice in known["engines"]}  # type: ignore[attr-defined]
    assert "the rest" in str(known["files"]) or "by threads" in str(known["files"])
    assert all(known[name] for name in ("version", "mode_reason", "python", "system", "kernel"))


@pytest.fixture
def few_probes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Probe]]:
    @probe("works", TOPIC, "call_soon")
    async def works(bench: Bench) -> str:
        return "as promised"

    chosen = [works]
    monkeypatch.setattr(probing, "all_probes", lambda: tuple(chosen))
    monkeypatch.setattr(table, "ROWS", (table.row("WIN-UDP"),))
    yield chosen


def add_broken(probes: list[Probe]) -> None:
    @probe("breaks", TOPIC, "call_later")
    async def breaks(bench: Bench) -> str:
        raise Failed("not as promised")

    probes.append(breaks)


def test_all_is_well(few_probes: list[Probe]) -> None:
    status, text = run_doctor()
    assert status == 0
    assert "as promised" in text
    assert "1 of 1 probes ok" in text
    assert "1 rows of the platform table: 1 ok" in text
    assert "lifted: only evenloop does" in text


def test_a_probe_fails(few_probes: list[Probe]) -> None:
    add_broken(few_probes)
    status, text = run_doctor()
    assert status == 1
    assert "not as promised" in text
    assert "1 of 2 probes ok" in text
    assert "breaks" in text.splitlines()[-1]


def test_json(few_probes: list[Probe]) -> None:
    add_broken(few_probes)
    status, text = run_doctor("--json")
    assert status == 1
    report = json.loads(text)
    assert report["broken"] == ["breaks"]
    assert [one["status"] for one in report["probes"]] == ["ok", "failed"]
    first = report["probes"][0]
    assert first["name"] == "works"
    assert first["topic"] == "A topic"
    assert first["saw"] == "as promised"
    assert first["documentation"].endswith("asyncio-eventloop.html#asyncio.loop.call_soon")
    assert first["milliseconds"] >= 0
    assert report["engine"]


def test_without_rich() -> None:
    """The whole command as a newcomer has it: no other package installed."""
    text = (
        "import sys\nsys.modules['rich'] = None\nfrom evenloop.cli import main\n"
        "sys.exit(main(['doctor']))"
    )
    start = time.monotonic()
    seen = subprocess.run(
        [sys.executable, "-c", text],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONUTF8": "1"},
        timeout=30,
        check=False,
    )
    assert seen.returncode == 0, seen.stdout + seen.stderr
    assert seen.stderr == ""
    assert time.monotonic() - start < 10
    count = len(probing.all_probes())
    last = seen.stdout.splitlines()[-1]
    assert f"of {count} probes ok" in last
