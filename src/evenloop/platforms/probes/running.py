"""Probes: a loop's life, and the work that it is given."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
import time
from typing import TYPE_CHECKING, Any

from evenloop.platforms.probe import Bench, Topic, probe
from evenloop.platforms.probes.parts import check, expect, ms, plural

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RUNNING = Topic(
    "Running and stopping the loop", "asyncio-eventloop.html#running-and-stopping-the-loop"
)
TASKS = Topic("Futures and tasks", "asyncio-eventloop.html#creating-futures-and-tasks")
THREADS = Topic(
    "Threads and pools", "asyncio-eventloop.html#executing-code-in-thread-or-process-pools"
)


@probe("run_until_complete", RUNNING)
def run_until_complete(bench: Bench) -> str:
    """Results and exceptions come out."""

    async def answer() -> int:
        await asyncio.sleep(0)
        return 42

    async def fail() -> None:
        raise LookupError("wanted")

    with bench.own_loop() as loop:
        expect("the result", loop.run_until_complete(answer()), 42)
        try:
            loop.run_until_complete(fail())
        except LookupError:
            return "returned 42, raised LookupError"
        raise AssertionError("the exception got lost")


@probe("run_forever, stop", RUNNING, "run_forever", "stop")
def run_forever(bench: Bench) -> str:
    """Stops after the turn in which it is told, and runs again."""
    seen: list[str] = []
    with bench.own_loop() as loop:
        for turn in ("first", "second"):
            loop.call_soon(seen.append, turn)
            loop.call_soon(loop.stop)
            loop.call_soon(seen.append, "same turn")
            loop.run_forever()
    expect("callbacks", seen, ["first", "same turn", "second", "same turn"])
    return "2 runs, each stopped after its turn"


@probe("is_running", RUNNING)
def is_running(bench: Bench) -> str:
    """True inside, False outside."""
    seen: list[bool] = []
    with bench.own_loop() as loop:
        seen.append(loop.is_running())
        loop.call_soon(lambda: seen.append(loop.is_running()))
        loop.call_soon(loop.stop)
        loop.run_forever()
        seen.append(loop.is_running())
    expect("before, inside, after", seen, [False, True, False])
    return "False, True, False: before, inside, after"


@probe("close, is_closed", RUNNING, "close", "is_closed")
def close(bench: Bench) -> str:
    """A closed loop refuses work."""
    loop = bench.new_loop()
    expect("is_closed", loop.is_closed(), False)
    loop.close()
    loop.close()
    expect("is_closed", loop.is_closed(), True)
    try:
        loop.call_soon(print)
    except RuntimeError as error:
        return f"closed twice, then RuntimeError: {error}"
    raise AssertionError("a closed loop took a callback")


@probe("shutdown_asyncgens", RUNNING)
async def shutdown_asyncgens(bench: Bench) -> str:
    """Generators that nobody finished are finished."""
    finished: list[int] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            finished.append(1)

    generator = numbers()
    expect("the first", await anext(generator), 1)
    await bench.loop.shutdown_asyncgens()
    check(finished, "the generator was not finished")
    return "1 generator finished"


@probe("create_future", TASKS)
async def create_future(bench: Bench) -> str:
    """Its result arrives in the task that waits."""
    future = bench.loop.create_future()
    bench.loop.call_soon(future.set_result, "here")
    expect("the result", await future, "here")
    check(future.get_loop() is bench.loop, "the future belongs to another loop")
    return "result arrived"


@probe("create_task", TASKS)
async def create_task(bench: Bench) -> str:
    """Name and context are kept."""
    place: contextvars.ContextVar[str] = contextvars.ContextVar("place", default="outside")
    context = contextvars.copy_context()
    context.run(place.set, "inside")

    async def where() -> str:
        return place.get()

    task = bench.loop.create_task(where(), name="probe", context=context)
    expect("the name", task.get_name(), "probe")
    expect("the context", await task, "inside")
    return "name and context kept"


@probe("task cancellation", TASKS, "create_task")
async def cancellation(bench: Bench) -> str:
    """A cancelled task ends, and cleans up."""
    cleaned: list[bool] = []

    async def forever() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            cleaned.append(True)

    task = bench.loop.create_task(forever())
    await asyncio.sleep(0)
    task.cancel()
    start = time.perf_counter()
    await asyncio.wait([task])
    check(task.cancelled() and cleaned, "the task was not cancelled")
    return f"cancelled and cleaned up in {ms(start)}"


@probe("task factory", TASKS, "set_task_factory", "get_task_factory")
async def task_factory(bench: Bench) -> str:
    """The factory makes the tasks, and gets the keywords of this Python."""
    seen: list[str] = []

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **keywords: Any) -> Any:
        seen.extend(sorted(keywords))
        return asyncio.Task(work, loop=loop, **keywords)

    bench.loop.set_task_factory(factory)
    check(bench.loop.get_task_factory() is factory, "the factory was not kept")
    context = contextvars.copy_context()
    await bench.loop.create_task(asyncio.sleep(0), context=context)
    bench.loop.set_task_factory(None)
    check("context" in seen, "the factory got no context")
    return f"1 task made, keywords {', '.join(seen)}"


@probe("call_soon_threadsafe", THREADS)
async def call_soon_threadsafe(bench: Bench) -> str:
    """A call from another thread wakes a loop that waits."""
    loop = bench.loop
    arrived = loop.create_future()

    def elsewhere() -> None:
        time.sleep(0.005)  # until the loop waits
        loop.call_soon_threadsafe(arrived.set_result, time.perf_counter())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    sent = await arrived
    late = ms(sent)
    thread.join()
    return f"woken after {late}"


@probe("run_in_executor", THREADS)
async def run_in_executor(bench: Bench) -> str:
    """Work is done in another thread."""
    there = await bench.loop.run_in_executor(None, threading.get_ident)
    check(there != threading.get_ident(), "it ran in the loop's own thread")
    return "1 call, in another thread"


@probe("set_default_executor", THREADS)
async def set_default_executor(bench: Bench) -> str:
    """The given pool is used."""
    pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="probe")
    bench.loop.set_default_executor(pool)
    name = await bench.loop.run_in_executor(None, lambda: threading.current_thread().name)
    check(name.startswith("probe"), f"it ran in {name!r}, not in the given pool")
    return f"1 call, in {name}"


@probe("shutdown_default_executor", THREADS)
async def shutdown_default_executor(bench: Bench) -> str:
    """Waits for the work that was given, then takes no more."""
    work = bench.loop.run_in_executor(None, time.sleep, 0.005)
    await bench.loop.shutdown_default_executor()
    await asyncio.sleep(0)
    check(work.done(), "the work was not finished")
    try:
        await bench.loop.run_in_executor(None, int)
    except RuntimeError:
        return f"finished {plural(1, 'call')}, then refused more"
    raise AssertionError("the executor took work after its shutdown")
