"""Callbacks, tasks and timers: the loop itself, without a system call."""

from __future__ import annotations

import asyncio

from evenloop.bench.case import MATRIX, Bench, case, countdown

BATCH = 1000
TASKS = 100
FAR = 3600.0  # seconds: a timer that never fires here


@case("call_soon-chain", "300k call_soon in a chain", MATRIX, 300_000)
async def call_soon_chain(bench: Bench) -> None:
    """Each callback asks for the next one."""
    loop = bench.loop
    done = loop.create_future()
    left = bench.n

    def step() -> None:
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(step)
        else:
            done.set_result(None)

    with bench.watch:
        loop.call_soon(step)
        await done


@case("call_soon-batches", "300k call_soon in batches of 1000", MATRIX, 300_000)
async def call_soon_batches(bench: Bench) -> None:
    """A thousand callbacks that do nothing are ready at once."""
    loop = bench.loop

    def nothing() -> None:
        pass

    with bench.watch:
        for start in range(0, bench.n, BATCH):
            for _ in range(min(BATCH, bench.n - start)):
                loop.call_soon(nothing)
            await asyncio.sleep(0)


@case("task-switches", "200k task switches (sleep(0), 100 tasks)", MATRIX, 200_000)
async def task_switches(bench: Bench) -> None:
    """A hundred tasks take turns."""

    async def yielding(times: int) -> None:
        for _ in range(times):
            await asyncio.sleep(0)

    tasks = min(TASKS, bench.n)
    with bench.watch:
        await asyncio.gather(*(yielding(bench.n // tasks) for _ in range(tasks)))


@case("task-spawn", "100k tasks spawned and gathered", MATRIX, 100_000)
async def task_spawn(bench: Bench) -> None:
    """Tasks that have nothing to do, a thousand at a time."""

    async def nothing() -> None:
        pass

    with bench.watch:
        for start in range(0, bench.n, BATCH):
            await asyncio.gather(*(nothing() for _ in range(min(BATCH, bench.n - start))))


@case("timers-cancelled", "200k timers made and cancelled", MATRIX, 200_000)
async def timers_cancelled(bench: Bench) -> None:
    """A thousand timers are pending, then none: timeouts of requests that were answered."""
    loop = bench.loop

    def never() -> None:
        raise AssertionError("a cancelled timer fired")

    with bench.watch:
        for start in range(0, bench.n, BATCH):
            count = min(BATCH, bench.n - start)
            timers = [loop.call_later(FAR, never) for _ in range(count)]
            for timer in timers:
                timer.cancel()
            await asyncio.sleep(0)


@case("timers-fired", "100k timers fired", MATRIX, 100_000)
async def timers_fired(bench: Bench) -> None:
    """Timers of ten different delays, all due soon after the last one is made."""
    loop = bench.loop
    fire, done = countdown(loop, bench.n)
    with bench.watch:
        for number in range(bench.n):
            loop.call_later(number % 10 * 0.0001, fire)
        await done


@case("timeouts", "30k `asyncio.timeout` blocks", MATRIX, 30_000)
async def timeouts(bench: Bench) -> None:
    """A block that yields once and is left in time."""
    with bench.watch:
        for _ in range(bench.n):
            async with asyncio.timeout(FAR):
                await asyncio.sleep(0)
