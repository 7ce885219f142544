"""`evenloop bench`: its arithmetic, its tables, its pictures, and how it copes with bad rivals."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from evenloop.bench import report, runner
from evenloop.bench.case import Bench, Case, all_cases
from evenloop.bench.contenders import Contender, named
from evenloop.bench.figures import Outcome, Row, Run, geometric_mean, spread, summary
from evenloop.cli import main

CASES = {case.name: case for case in all_cases()}
MACHINE = {
    "processor": "abacus",
    "cores": 2,
    "memory": 2**30,
    "system": "Linux",
    "python": "CPython 3.13.0",
    "openssl": "OpenSSL 3",
    "gil": True,
    "evenloop": "1.0",
    "mode": "compiled",
    "mode_reason": "",
    "commit": None,
    "date": "today",
    "load": [0.0, 0.0, 0.0],
}


def outcome(*seconds: float) -> Outcome:
    return Outcome([{"wall": one, "cpu": one / 2} for one in seconds])


def made_run() -> Run:
    rows = [
        Row(
            "one",
            "the first",
            "matrix",
            "wall",
            None,
            {
                "evenloop": outcome(0.2, 0.1, 0.3),
                "asyncio": outcome(0.8, 0.8, 0.8),
                "uvloop": outcome(0.4, 0.4, 0.4),
                "rloop": Outcome([], "hangs", "no answer after 80 s"),
            },
        ),
        Row(
            "two",
            "the second",
            "matrix",
            "wall",
            None,
            {
                "evenloop": outcome(0.2, 0.2, 0.2),
                "asyncio": outcome(0.4, 0.4, 0.4),
                "uvloop": outcome(1.6, 1.6, 1.6),
                "rloop": outcome(0.1, 0.1, 0.1),
            },
        ),
        Row(
            "three",
            "a server",
            "server",
            "cpu",
            None,
            {"evenloop": outcome(8e-6), "uvloop": outcome(12e-6), "C": outcome(7e-6)},
        ),
        Row("c10", "10", "growth", "cpu", ("connections", 10), {"evenloop": outcome(1e-6)}),
        Row("c99", "99", "growth", "cpu", ("connections", 99), {"evenloop": outcome(1e-6)}),
    ]
    names = {"evenloop": "1.0", "asyncio": "3.13.0", "uvloop": "0.23", "rloop": "0.5", "C": ""}
    return Run("evenloop", names, MACHINE, {"rounds": 3}, rows)


def test_medians_and_ratios() -> None:
    one, two, three, *_ = made_run().rows
    assert one.figure("evenloop") == 0.2
    assert one.figure("rloop") is None
    assert one.best_rival("evenloop") == "uvloop"
    assert one.lead("evenloop") == pytest.approx(2)
    assert two.best_rival("evenloop") == "rloop"
    assert two.lead("evenloop") == pytest.approx(0.5)
    assert three.best_rival("evenloop") == "uvloop"  # C is the limit, not a rival
    assert three.lead("evenloop") == pytest.approx(1.5)
    assert three.ratio("evenloop", "C") == pytest.approx(7 / 8)


def test_another_shape_of_ours_is_no_rival() -> None:
    row = Row("a", "b", "matrix", "wall")
    row.outcomes = {"evenloop": outcome(2), "evenloop:selector": outcome(1), "asyncio": outcome(4)}
    assert row.best_rival("evenloop") == "asyncio"


def test_an_error_in_a_later_round_leaves_no_figure() -> None:
    crashed = outcome(0.1, 0.1)
    crashed.error = "crashed"
    assert crashed.median("wall") is None


def test_compare_by() -> None:
    run = made_run()
    run.compare_by("cpu")
    assert run.rows[0].figure("evenloop") == 0.1


def test_spread() -> None:
    assert spread([0.1, 0.2, 0.3]) == pytest.approx(0.5)
    assert spread([0.2, 0.2]) == 0
    assert spread([0.2]) is None


def test_geometric_mean() -> None:
    assert geometric_mean([2.0, None, 8.0]) == pytest.approx(4)
    assert geometric_mean([None]) is None


def test_summary() -> None:
    told = summary(made_run(), "matrix")
    assert told["ratio_to_best_rival"] == pytest.approx(1)
    assert told["ratio_to"]["uvloop"] == pytest.approx(4)
    assert told["ratio_to"]["rloop"] == pytest.approx(0.5)
    assert told["behind"] == ["two"]


def test_json_and_back() -> None:
    run = made_run()
    stored = json.loads(json.dumps(run.as_json()))
    again = Run.from_json(stored)
    assert again == run
    assert stored["rows"][0]["ratio_to_uvloop"] == pytest.approx(2)
    with pytest.raises(ValueError, match="not a run"):
        Run.from_json({})


def test_tables() -> None:
    matrix, server, growth = report.tables(made_run())
    assert matrix.head == ["case", "evenloop", "asyncio", "uvloop", "rloop", "best rival", "uvloop"]
    first, second, means = matrix.rows
    assert [cell.text for cell in first][1:] == [
        "200 ±50%",
        "800 ±0%",
        "400 ±0%",
        "hangs",
        "2.00",
        "2.00",
    ]
    assert first[1].beside == "100"
    assert first[1].style and not second[1].style  # the best of a row stands out
    assert [cell.text for cell in means][1:] == ["1.00", "2.83", "4.00", "0.50", "1.00", "4.00"]
    assert server.head == ["case", "evenloop", "uvloop", "C", "best rival", "uvloop"]
    assert len(growth.rows) == 3
    notes = "\n".join(report.notes(made_run()))
    assert "behind in 1 of matrix: two" in notes
    assert "rloop: hangs (no answer after 80 s) in one" in notes


@pytest.mark.parametrize(
    ("value", "text"), [(1234.5, "1234"), (12.34, "12.3"), (1.234, "1.23"), (0.1234, "0.123")]
)
def test_amount(value: float, text: str) -> None:
    assert report.amount(value) == text


def test_patterns() -> None:
    everything = list(CASES.values())
    assert len(runner.matching(everything, ["matrix"])) == 23
    names = [case.name for case in runner.matching(everything, ["server-tls-*-100", "readline"])]
    assert names == ["readline", "server-tls-1k-100", "server-tls-10k-100", "server-tls-100k-100"]
    assert runner.matching(everything, []) == everything
    with pytest.raises(LookupError, match="no case fits"):
        runner.matching(everything, ["nonsense"])


def test_contenders() -> None:
    shapes = named(["asyncio", "evenloop:selector", "evenloop:pure"])
    assert [one.environment for one in shapes] == [
        {},
        {"EVENLOOP_ENGINE": "selector"},
        {"EVENLOOP_PURE": "1"},
    ]
    other = Contender("evenloop:epoll@some/folder")
    assert (other.package, other.variant, other.folder) == ("evenloop", "epoll", "some/folder")
    for wrong in ("tornado", "evenloop@/nowhere"):
        with pytest.raises(LookupError):
            named([wrong])


def test_rounds_are_interleaved(monkeypatch: pytest.MonkeyPatch) -> None:
    order = []

    def sample(case: Case, contender: Contender, scale: float) -> dict[str, Any]:
        order.append(contender.name)
        if contender.name == "rloop":
            return {"error": "hangs", "message": "no answer"}
        return {"wall": 1.0, "cpu": 1.0}

    monkeypatch.setattr(runner, "sample", sample)
    contenders = [Contender(name) for name in ("evenloop", "asyncio", "rloop", "C")]
    row = runner.measure_row(CASES["readline"], contenders, 3, 1.0)
    # C takes no part, each round starts with another one, and who failed is not asked again.
    assert order == ["evenloop", "asyncio", "rloop", "asyncio", "evenloop", "evenloop", "asyncio"]
    assert row.outcomes["rloop"] == Outcome([], "hangs", "no answer")
    assert len(row.outcomes["asyncio"].samples) == 3


def rival(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> Contender:
    """A loop of our own making, as bad as can be."""
    (folder / "rloop.py").write_text(source)
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    return Contender("rloop")


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("import os\ndef new_event_loop(): os.kill(os.getpid(), 9)", "crashed", "Killed"),
        ("def new_event_loop(): raise SystemExit(3)", "failed", "SystemExit: 3"),
        ("def new_event_loop(): raise NotImplementedError", "none", "NotImplementedError"),
        ("import time\ndef new_event_loop(): time.sleep(60)", "hangs", "no answer"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_bad_rivals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, error: str, message: str
) -> None:
    monkeypatch.setattr(runner, "_STARTING", 2.0 if error == "hangs" else 30.0)
    case = CASES["getaddrinfo"]
    short = Case(case.name, case.title, case.topic, case.n, case.body, patience=1.0)
    answer = runner.sample(short, rival(tmp_path, monkeypatch, source), 0.01)
    assert answer["error"] == error
    assert message in answer["message"]


def test_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # An engine that is asked for shows in the name of the contender.
    monkeypatch.delenv("EVENLOOP_ENGINE", raising=False)
    stored = tmp_path / "run.json"
    words = ["--case", "getaddrinfo", "--against", "asyncio", "--rounds", "2", "--scale", "0.01"]
    assert main(["bench", *words, "--json", str(stored)]) == 0
    shown = capsys.readouterr().out
    assert "3000 getaddrinfo of a literal address" in shown
    run = Run.from_json(json.loads(stored.read_text()))
    assert list(run.contenders) == ["evenloop", "asyncio"]
    assert [len(one.samples) for one in run.rows[0].outcomes.values()] == [2, 2]
    assert main(["bench", "--from", str(stored)]) == 0
    assert capsys.readouterr().out == shown


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--list", "--quick"]) == 0
    shown = capsys.readouterr().out
    assert "server-protocol-1k-100 " in shown
    assert "server-protocol-1k-5000 " not in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--case", "nonsense"], "no case fits 'nonsense'"),
        (["--against", "tornado"], "there is no contender 'tornado'"),
        (["--engine", "nonsense"], "nonsense"),
        (["--rounds", "0"], "at least one"),
        (["--scale", "0"], "more than nothing"),
        (["--from", "/nowhere"], "can't open file '/nowhere'"),
        (["--plot", "picture"], "ends in .svg, .png or .pdf"),
    ],
)
def test_mistakes(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *words]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_our_own_failure_is_the_exit_status() -> None:
    run = made_run()
    assert run.failures() == []
    run.rows[0].outcomes["evenloop"].error = "cannot"
    assert run.failures() == []
    run.rows[0].outcomes["evenloop"].error = "crashed"
    assert run.failures() == [(run.rows[0], run.rows[0].outcomes["evenloop"])]


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs matplotlib")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.leaks_allowed  # matplotlib keeps its fonts open
def test_pictures(tmp_path: Path) -> None:
    from evenloop.bench import plot

    drawn = plot.draw(made_run(), str(tmp_path / "speed.svg"))
    assert drawn == [str(tmp_path / "speed.svg"), str(tmp_path / "speed-growth.svg")]
    for path in drawn:
        assert "<svg" in Path(path).read_text()


def test_a_case_that_measures_nothing_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="measured nothing"):
        Bench(1, Contender("evenloop")).outcome()
