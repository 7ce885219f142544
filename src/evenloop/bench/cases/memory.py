"""Memory of a server per idle connection, as the process grows by it (not the kernel's share)."""

from __future__ import annotations

import gc
import os
import sys

from evenloop.bench.case import Bench, CannotRun, Case, Sample, register
from evenloop.bench.cases.servers import SERVERS
from evenloop.bench.load import few, hold, raise_limit

FIRST = 100  # connections that pay for what is made once


def resident() -> int:
    """Bytes of memory that this process has in use."""
    if not sys.platform.startswith("linux"):
        raise CannotRun("needs Linux's /proc")
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _case(name: str, server_name: str, title: str, connections: int, quick: bool) -> Case:
    _, server, kind = SERVERS[server_name]

    async def body(bench: Bench) -> None:
        wanted = few(bench, connections)
        first = few(bench, FIRST)
        number = min(wanted, raise_limit(wanted + first) - first)
        async with server() as address:
            async with hold(kind, address, first):
                before = resident()
                async with hold(kind, address, number):
                    grown = resident() - before
        limited = f"{bench.contender.name}: held {number + first:,}, the limit of open files"
        bench.sample = Sample(bytes=grown / number, note=limited if number < wanted else "")

    return Case(name, title, "memory", 1, body, measure="bytes", quick=quick, rounds=3, warm=False)


register(_case("memory-plain", "protocol", "idle connection, Protocol", 2000, True))
register(_case("memory-streams", "streams", "idle connection, streams", 2000, True))
register(_case("memory-tls", "tls", "idle connection, TLS", 1000, True))
register(_case("memory-20000", "protocol", "each of 20,000 idle connections", 20_000, False))
