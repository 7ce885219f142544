"""Futures, tasks, task factories and executors."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import sys
import threading
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.support.loops import TrackedFactory

Loop = asyncio.AbstractEventLoop
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")
#: 3.13.3 passed name and context to factories even when None, 3.13.4 took it back, 3.14 passes on
#: what was given. Before, a factory got no name: the loop set it on the task.
PASSES_NAMES = sys.version_info >= (3, 14)


async def test_create_future() -> None:
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    assert isinstance(future, asyncio.Future)
    assert asyncio.isfuture(future)
    assert future.get_loop() is loop
    loop.call_soon(future.set_result, 3)
    assert await future == 3


async def test_create_task() -> None:
    loop = asyncio.get_running_loop()
    task = loop.create_task(asyncio.sleep(0, "result"))
    assert isinstance(task, asyncio.Task)
    assert task.get_loop() is loop
    assert task in asyncio.all_tasks()
    assert await task == "result"
    assert task not in asyncio.all_tasks()


async def test_the_name_of_a_task() -> None:
    loop = asyncio.get_running_loop()
    task = loop.create_task(asyncio.sleep(0), name="named")
    assert task.get_name() == "named"
    await task
    unnamed = loop.create_task(asyncio.sleep(0), name=None)
    assert unnamed.get_name().startswith("Task-")
    await unnamed


async def test_the_context_of_a_task() -> None:
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    context.run(VARIABLE.set, "given")

    async def look() -> str:
        value = VARIABLE.get()
        VARIABLE.set("changed")
        return value

    assert await loop.create_task(look(), context=context) == "given"
    assert context[VARIABLE] == "changed"
    VARIABLE.set("copied")
    assert await loop.create_task(look()) == "copied"
    assert VARIABLE.get() == "copied"


@pytest.mark.skipif(sys.version_info < (3, 14), reason="create_task(eager_start=) is new in 3.14")
async def test_eager_start() -> None:
    loop = asyncio.get_running_loop()
    seen: list[str] = []

    async def work() -> None:
        seen.append("started")
        await asyncio.sleep(0)
        seen.append("ended")

    task = loop.create_task(work(), eager_start=True)  # type: ignore[call-arg]
    assert seen == ["started"]
    await task
    lazy = loop.create_task(work(), eager_start=False)  # type: ignore[call-arg]
    assert seen == ["started", "ended"]
    await lazy


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager_task_factory is new in 3.12")
async def test_the_eager_task_factory() -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    seen: list[str] = []

    async def work() -> str:
        seen.append("at once")
        return "done"

    task = loop.create_task(work(), name="eager")
    assert seen == ["at once"]
    assert task.done()
    assert task.get_name() == "eager"
    assert await task == "done"
    loop.set_task_factory(None)


async def test_task_factories() -> None:
    loop = asyncio.get_running_loop()
    assert loop.get_task_factory() is None
    made: list[dict[str, Any]] = []

    class Special(asyncio.Task):  # type: ignore[type-arg]
        pass

    def factory(loop: Loop, coro: Coroutine[Any, Any, Any], **kwargs: Any) -> asyncio.Task[Any]:
        made.append(kwargs)
        return Special(coro, loop=loop, **kwargs)

    loop.set_task_factory(factory)  # type: ignore[arg-type]
    assert loop.get_task_factory() is factory
    context = contextvars.copy_context()
    plain = loop.create_task(asyncio.sleep(0, 1))
    named = loop.create_task(asyncio.sleep(0, 2), name="named")
    contextual = loop.create_task(asyncio.sleep(0, 3), context=context)
    assert all(isinstance(task, Special) for task in (plain, named, contextual))
    assert named.get_name() == "named"
    assert made[2]["context"] is context
    assert await asyncio.gather(plain, named, contextual) == [1, 2, 3]
    loop.set_task_factory(None)
    assert loop.get_task_factory() is None
    assert type(loop.create_task(asyncio.sleep(0))) is asyncio.Task
    await asyncio.sleep(0)


async def test_a_factory_that_takes_no_keywords() -> None:
    loop = asyncio.get_running_loop()

    def factory(loop: Loop, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=loop)

    loop.set_task_factory(factory)  # type: ignore[arg-type]
    assert await loop.create_task(asyncio.sleep(0, 1)) == 1
    if not PASSES_NAMES and sys.version_info[:3] != (3, 13, 3):
        task = loop.create_task(asyncio.sleep(0, 2), name="named")
        assert task.get_name() == "named"
        assert await task == 2
    loop.set_task_factory(None)


async def test_a_factory_that_raises() -> None:
    loop = asyncio.get_running_loop()

    def factory(loop: Loop, coro: Coroutine[Any, Any, Any], **kwargs: Any) -> asyncio.Task[Any]:
        coro.close()
        raise LookupError("no tasks today")

    loop.set_task_factory(factory)  # type: ignore[arg-type]
    try:
        with pytest.raises(LookupError, match="no tasks today"):
            loop.create_task(asyncio.sleep(0))
    finally:
        loop.set_task_factory(None)


async def test_a_factory_that_is_no_task_maker(new_loop: TrackedFactory) -> None:
    """The documentation asks for an object like a Future; its name may not be settable."""
    new_loop.skip_stock_if(
        (3, 13) <= sys.version_info[:3] < (3, 13, 3), "3.13.0 to 3.13.2 call set_name regardless"
    )
    loop = asyncio.get_running_loop()

    def factory(loop: Loop, coro: Coroutine[Any, Any, Any], **kwargs: Any) -> Any:
        coro.close()
        future = loop.create_future()
        future.set_result("future")
        return future

    loop.set_task_factory(factory)
    assert await loop.create_task(asyncio.sleep(0)) == "future"
    loop.set_task_factory(None)


def test_a_destroyed_pending_task_is_reported(loop: Loop) -> None:
    import gc

    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))

    async def wait(future: asyncio.Future[None]) -> None:
        await future

    task = loop.create_task(wait(loop.create_future()))
    loop.run_until_complete(asyncio.sleep(0))
    del task
    gc.collect()
    (context,) = contexts
    assert "Task was destroyed but it is pending" in context["message"]


def test_an_exception_nobody_fetched_is_reported(loop: Loop) -> None:
    import gc

    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    future = loop.create_future()
    future.set_exception(LookupError("never fetched"))
    del future
    gc.collect()
    (context,) = contexts
    assert context["message"] == "Future exception was never retrieved"
    assert isinstance(context["exception"], LookupError)
    assert "future" in context


async def test_structured_concurrency() -> None:
    seen: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        seen.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(work(number))
    assert seen == list(range(10))
    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(5))
            group.create_task(_fail())


async def _fail() -> None:
    raise LookupError("in a group")


async def test_locks_queues_and_barriers_run_on_it() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(2)
    lock, total = asyncio.Lock(), 0

    async def produce() -> None:
        for number in range(20):
            await queue.put(number)

    async def consume() -> None:
        nonlocal total
        for _ in range(10):
            number = await queue.get()
            async with lock:
                total += number

    await asyncio.gather(produce(), consume(), consume())
    assert total == sum(range(20))
    barrier = asyncio.Barrier(3)
    assert sorted(await asyncio.gather(*(barrier.wait() for _ in range(3)))) == [0, 1, 2]


# ---------------------------------------------------------------- executors


async def test_run_in_executor() -> None:
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(None, lambda a, b: (a, b, threading.get_ident()), 1, 2)
    assert asyncio.isfuture(future)
    a, b, ident = await future
    assert (a, b) == (1, 2)
    assert ident != threading.get_ident()


async def test_an_exception_from_the_executor() -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(ZeroDivisionError):
        await loop.run_in_executor(None, divmod, 1, 0)


async def test_a_given_executor() -> None:
    loop = asyncio.get_running_loop()
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine") as pool:
        name = await loop.run_in_executor(pool, lambda: threading.current_thread().name)
    assert name.startswith("mine")


async def test_set_default_executor() -> None:
    loop = asyncio.get_running_loop()
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="default") as pool:
        loop.set_default_executor(pool)
        name = await loop.run_in_executor(None, lambda: threading.current_thread().name)
        assert name.startswith("default")
        assert (await asyncio.to_thread(lambda: threading.current_thread().name)) == name


async def test_to_thread_carries_the_context() -> None:
    VARIABLE.set("carried")
    assert await asyncio.to_thread(VARIABLE.get) == "carried"


async def test_many_executor_jobs_at_once() -> None:
    loop = asyncio.get_running_loop()
    jobs = [loop.run_in_executor(None, pow, number, 2) for number in range(200)]
    assert await asyncio.gather(*jobs) == [number**2 for number in range(200)]


def test_shutdown_default_executor(loop: Loop) -> None:
    ended: list[bool] = []

    def slow() -> None:
        time.sleep(0.02)
        ended.append(True)

    async def start() -> None:
        main.future = loop.run_in_executor(None, slow)  # type: ignore[attr-defined]

    main = start
    loop.run_until_complete(start())
    loop.run_until_complete(loop.shutdown_default_executor())
    assert ended == [True]

    async def again() -> None:
        with pytest.raises(RuntimeError, match="shutdown"):
            loop.run_in_executor(None, print)

    loop.run_until_complete(again())
    loop.run_until_complete(main.future)  # type: ignore[attr-defined]


def test_shutdown_without_an_executor(new_loop: TrackedFactory) -> None:
    loop = new_loop()
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the timeout is new in 3.12")
async def test_shutdown_default_executor_with_a_timeout(new_loop: TrackedFactory) -> None:
    new_loop.skip_stock_if(sys.version_info < (3, 12, 2), "3.12.0 and 3.12.1 wait for ever")
    loop = asyncio.get_running_loop()
    release = threading.Event()
    future = loop.run_in_executor(None, release.wait)
    try:
        await asyncio.sleep(0.005)
        with pytest.warns(RuntimeWarning, match="did not finish"):
            await loop.shutdown_default_executor(timeout=0.01)  # type: ignore[call-arg]
    finally:
        release.set()
        await future


def test_close_shuts_the_executor_down(new_loop: TrackedFactory) -> None:
    loop = new_loop()
    pool = concurrent.futures.ThreadPoolExecutor(1)
    loop.set_default_executor(pool)
    assert loop.run_until_complete(loop.run_in_executor(None, lambda: 1)) == 1
    loop.close()
    with pytest.raises(RuntimeError):
        pool.submit(print)


def test_the_executor_future_of_a_cancelled_job(loop: Loop) -> None:
    async def main() -> None:
        gate = threading.Event()
        pool = concurrent.futures.ThreadPoolExecutor(1)
        running = loop.run_in_executor(pool, gate.wait)
        waiting = loop.run_in_executor(pool, print, "never")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.set()
        await running
        pool.shutdown()

    loop.run_until_complete(main())
