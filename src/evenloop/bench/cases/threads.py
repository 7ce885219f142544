"""Between threads: thread-safe wake-ups, executors, name resolution."""

from __future__ import annotations

import socket
import threading

from evenloop.bench.case import MATRIX, Bench, case, countdown


@case("call_soon_threadsafe", "100k call_soon_threadsafe", MATRIX, 100_000)
async def call_soon_threadsafe(bench: Bench) -> None:
    """Another thread schedules as fast as it can."""
    loop = bench.loop
    step, done = countdown(loop, bench.n)

    def other() -> None:
        for _ in range(bench.n):
            loop.call_soon_threadsafe(step)

    thread = threading.Thread(target=other)
    with bench.watch:
        thread.start()
        await done
    thread.join()


@case("run_in_executor", "10k run_in_executor", MATRIX, 10_000)
async def run_in_executor(bench: Bench) -> None:
    """A function that does nothing, called in a thread and waited for, one at a time."""
    loop = bench.loop

    def nothing() -> None:
        pass

    await loop.run_in_executor(None, nothing)
    with bench.watch:
        for _ in range(bench.n):
            await loop.run_in_executor(None, nothing)


@case("getaddrinfo", "3000 getaddrinfo of a literal address", MATRIX, 3000)
async def getaddrinfo(bench: Bench) -> None:
    """What every connection to an address asks first."""
    loop = bench.loop
    with bench.watch:
        for _ in range(bench.n):
            await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
