"""The cost of an event as there is more of everything: it shall stay flat."""

from __future__ import annotations

import asyncio
import random

from evenloop.bench.case import Bench, CannotRun, Case, register
from evenloop.bench.cases.servers import SERVERS, c_server
from evenloop.bench.load import few, load, raise_limit

CONNECTIONS = (10, 100, 1000, 10_000)
ACTIVE = 10  # connections with a message under way, of however many there are
TIMERS = (10, 100, 1000, 10_000, 100_000, 1_000_000)
EVENTS = 20_000
SIZE = 1024
BATCH = 100


def _connections(total: int) -> Case:
    """Ten messages are under way, on as many connections as there are, by turns."""
    _, server, kind = SERVERS["protocol"]

    async def body(bench: Bench) -> None:
        number = _allowed(bench, total)
        async with server() as address:
            await load(bench, kind, address, SIZE, number, min(ACTIVE, number))
            await asyncio.sleep(0.01)

    async def limit(bench: Bench) -> None:
        number = _allowed(bench, total)
        async with c_server(kind) as (address, process):
            await load(bench, kind, address, SIZE, number, min(ACTIVE, number), process)

    return Case(
        f"growth-connections-{total}",
        f"a message, {total:,} connections",
        "growth",
        1,
        body,
        measure="cpu",
        quick=False,
        limit=limit,
        curve=("connections", total),
        rounds=3,
        warm=False,
        preparation=20,
    )


def _allowed(bench: Bench, total: int) -> int:
    number = few(bench, total)
    if raise_limit(number) < number:
        raise CannotRun("the limit of open files is too low")
    return number


def _timers(pending: int) -> Case:
    """Beside many timers that are pending, some are made and cancelled, and some fire."""

    async def body(bench: Bench) -> None:
        loop = bench.loop
        chance = random.Random(pending)
        fired = 0

        def nothing() -> None:
            nonlocal fired
            fired += 1

        others = few(bench, pending)
        kept = [loop.call_later(1000 + chance.random() * 1000, nothing) for _ in range(others)]
        delays = [1000 + chance.random() * 1000 for _ in range(bench.n)]
        await asyncio.sleep(0)
        with bench.watch:
            for start in range(0, bench.n, BATCH):
                made = [loop.call_later(delay, nothing) for delay in delays[start : start + BATCH]]
                for timer in made:
                    timer.cancel()
                    loop.call_later(0, nothing)
                await asyncio.sleep(0)
            while fired < bench.n:
                await asyncio.sleep(0)
        bench.sample = bench.outcome()
        bench.sample.wall = bench.watch.wall / bench.n
        bench.sample.cpu = bench.watch.cpu / bench.n
        for timer in kept:
            timer.cancel()

    return Case(
        f"growth-timers-{pending}",
        f"one timer cancelled and one fired, {pending:,} pending",
        "growth",
        EVENTS,
        body,
        measure="cpu",
        quick=False,
        curve=("pending timers", pending),
        rounds=3,
        warm=False,
    )


for _total in CONNECTIONS:
    register(_connections(_total))
for _pending in TIMERS:
    register(_timers(_pending))
