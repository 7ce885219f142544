"""Every case of `evenloop bench` runs, with next to no work. Nothing is timed here."""

from __future__ import annotations

import shutil
import sys

import pytest

from evenloop.bench.case import MATRIX, CannotRun, Case, all_cases
from evenloop.bench.cases import ROWS
from evenloop.bench.contenders import LIMIT, Contender
from evenloop.bench.worker import measure

CASES = all_cases()
TINY = 0.0002

_LOADED = ("server-", "memory-", "growth-connections", "http-")


def run(case: Case, name: str) -> None:
    seen = []
    if case.name.startswith(_LOADED) and not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("its load is a C program, and there is no C compiler")
    try:
        sample = measure(case, Contender(name), TINY, seen.append)
    except CannotRun as reason:
        pytest.skip(str(reason))
    assert seen == [sample]
    value = sample.as_json()[case.measure]
    # So few connections may fit into memory that was there before, and Windows counts
    # processor time in steps of 16 ms, whatever resolution it claims.
    coarse = ("bytes", "cpu") if sys.platform == "win32" else ("bytes",)
    assert value > 0 or case.measure in coarse


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_on_evenloop(case: Case) -> None:
    run(case, "evenloop")


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.topic == MATRIX], ids=lambda case: case.name
)
def test_on_asyncio(case: Case) -> None:
    run(case, "asyncio")


@pytest.mark.parametrize(
    "name", ["server-protocol-1k-1", "server-unix-100k-100", "server-udp-10k-100"]
)
def test_the_limit_in_c(name: str) -> None:
    run(next(case for case in CASES if case.name == name), LIMIT)


def test_the_matrix_has_its_rows_in_order() -> None:
    rows = tuple(case.name for case in CASES if case.topic == MATRIX)
    assert rows == ROWS
    assert len(rows) == 23


def test_every_case_says_what_it_does() -> None:
    for case in CASES:
        assert case.title
        assert case.measure in ("wall", "cpu", "bytes")
        if case.topic == MATRIX:
            assert case.body.__doc__


def test_a_rehearsal_has_few_connections() -> None:
    from evenloop.bench.case import Bench
    from evenloop.bench.load import few

    assert few(Bench(1, Contender("evenloop"), TINY), 5000) == 5
    assert few(Bench(1, Contender("evenloop"), 0.25), 5000) == 5000


@pytest.mark.parametrize("name", ["server-tls-1k-1", "memory-tls"])
def test_tls_load_in_python(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where OpenSSL's headers are missing, the load is a Python program."""
    monkeypatch.setattr("evenloop.bench.native.tls_load_program", lambda: None)
    run(next(case for case in CASES if case.name == name), "evenloop")
