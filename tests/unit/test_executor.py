"""Executors: outcomes come over, cancellations go back."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import gc
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import evenloop

from tests.support.loops import run


def raising(error: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


def test_outcomes() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(None, pow, 2, 10)
        assert isinstance(future, asyncio.Future)
        assert await future == 1024
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, raising(ZeroDivisionError()))
        with pytest.raises(RuntimeError, match="StopIteration"):
            await loop.run_in_executor(None, raising(StopIteration()))
        with pytest.raises(asyncio.CancelledError):
            await loop.run_in_executor(None, raising(concurrent.futures.CancelledError("x")))
        with pytest.raises(asyncio.InvalidStateError):
            await loop.run_in_executor(None, raising(concurrent.futures.InvalidStateError()))
        name = await loop.run_in_executor(None, lambda: threading.current_thread().name)
        assert name.startswith("asyncio_")

    run(evenloop.new_event_loop, main())


def test_many() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        futures = [loop.run_in_executor(None, pow, number, 2) for number in range(1000)]
        assert await asyncio.gather(*futures) == [number**2 for number in range(1000)]

    run(evenloop.new_event_loop, main())


def test_cancelled_before_it_starts() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        hold = threading.Event()
        calls: list[int] = []
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            first = loop.run_in_executor(executor, hold.wait)
            second = loop.run_in_executor(executor, calls.append, 1)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            # The executor hears of it at the next turn, as with asyncio.
            await asyncio.sleep(0)
            hold.set()
            assert await first
        assert not calls

    run(evenloop.new_event_loop, main())


def test_cancelled_while_it_runs() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(None, time.sleep, 0.05)
        await asyncio.sleep(0.01)
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future
        await asyncio.sleep(0.1)

    run(evenloop.new_event_loop, main())


def test_cancelled_by_the_executor() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        hold = threading.Event()
        executor = concurrent.futures.ThreadPoolExecutor(1)
        first = loop.run_in_executor(executor, hold.wait)
        second = loop.run_in_executor(executor, print)
        executor.shutdown(wait=False, cancel_futures=True)
        with pytest.raises(asyncio.CancelledError):
            await second
        hold.set()
        await first

    run(evenloop.new_event_loop, main())


def test_own_executor_and_contexts() -> None:
    variable = contextvars.ContextVar("variable", default=0)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        executor = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine")
        loop.set_default_executor(executor)
        name = await loop.run_in_executor(None, lambda: threading.current_thread().name)
        assert name.startswith("mine")
        variable.set(1)
        assert await asyncio.to_thread(variable.get) == 1
        assert await loop.run_in_executor(None, variable.get) == 0

    run(evenloop.new_event_loop, main())


def test_executor_of_another_kind() -> None:
    class Immediate(concurrent.futures.Executor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            future = asyncio.get_running_loop().create_future()
            future.set_result(fn(*args))
            return future

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(Immediate(), pow, 2, 3) == 8

    run(evenloop.new_event_loop, main())


def test_refusals() -> None:
    async def coroutine() -> None: ...

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(TypeError):
            loop.run_in_executor(None, "no function")  # type: ignore[arg-type]
        loop.set_debug(True)
        with pytest.raises(TypeError, match="coroutines"):
            loop.run_in_executor(None, coroutine)
        loop.set_debug(False)
        for wrong in (None, "pool", concurrent.futures.ProcessPoolExecutor):
            with pytest.raises(TypeError, match="ThreadPoolExecutor"):
                loop.set_default_executor(wrong)  # type: ignore[arg-type]
        await loop.shutdown_default_executor()
        with pytest.raises(RuntimeError, match="shutdown has been called"):
            loop.run_in_executor(None, print)
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            await loop.run_in_executor(executor, time.sleep, 0)

    run(evenloop.new_event_loop, main())
    loop = evenloop.new_event_loop()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.run_in_executor(None, print)


def test_shutdown_waits_for_the_threads() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        done: list[int] = []
        loop.run_in_executor(None, lambda: (time.sleep(0.1), done.append(1)))
        await loop.shutdown_default_executor()
        assert done == [1]
        await loop.shutdown_default_executor(timeout=1)

    run(evenloop.new_event_loop, main())


def test_shutdown_gives_up_in_time() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        hold = threading.Event()
        future = loop.run_in_executor(None, hold.wait)
        with pytest.warns(RuntimeWarning, match=r"did not finishing joining.*0\.05 seconds"):
            await loop.shutdown_default_executor(0.05)
        hold.set()
        await future

    run(evenloop.new_event_loop, main())


def test_work_that_outlives_the_loop() -> None:
    hold = threading.Event()
    loop = evenloop.new_event_loop()
    future = loop.run_in_executor(None, hold.wait)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    hold.set()
    time.sleep(0.05)
    assert not future.done()


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="it counts no references")
def test_a_result_is_freed_without_the_collector() -> None:
    class Result:
        pass

    async def main() -> weakref.ref[Result]:
        loop = asyncio.get_running_loop()

        def slowly() -> Result:
            time.sleep(0.01)
            return Result()

        return weakref.ref(await loop.run_in_executor(None, slowly))

    gc.disable()
    try:
        reference = run(evenloop.new_event_loop, main())
        assert reference() is None
    finally:
        gc.enable()
