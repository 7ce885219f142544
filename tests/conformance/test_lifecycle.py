"""Running, stopping and closing a loop."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import warnings

import pytest

from tests.support.loops import TrackedFactory

Loop = asyncio.AbstractEventLoop
NESTED = "3.13.0 forgets the outer loop when a nested run is refused; mended in 3.13.1"


def test_a_fresh_loop_is_neither_running_nor_closed(loop: Loop) -> None:
    assert isinstance(loop, asyncio.AbstractEventLoop)
    assert not loop.is_running()
    assert not loop.is_closed()
    assert loop.get_debug() is False


def test_run_until_complete_gives_the_result(loop: Loop) -> None:
    async def answer() -> int:
        assert loop.is_running()
        assert asyncio.get_running_loop() is loop
        await asyncio.sleep(0)
        return 42

    assert loop.run_until_complete(answer()) == 42
    assert not loop.is_running()
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_run_until_complete_takes_futures_and_tasks(loop: Loop) -> None:
    future = loop.create_future()
    loop.call_soon(future.set_result, "future")
    assert loop.run_until_complete(future) == "future"

    async def work() -> str:
        return "task"

    assert loop.run_until_complete(loop.create_task(work())) == "task"
    done = loop.create_future()
    done.set_result("done")
    assert loop.run_until_complete(done) == "done"


def test_run_until_complete_takes_any_awaitable(loop: Loop) -> None:
    class Awaitable:
        def __await__(self):  # type: ignore[no-untyped-def]
            yield from asyncio.sleep(0).__await__()
            return "awaited"

    assert loop.run_until_complete(Awaitable()) == "awaited"  # type: ignore[arg-type]


def test_run_until_complete_raises_what_was_raised(loop: Loop) -> None:
    async def fail() -> None:
        raise LookupError("lost")

    with pytest.raises(LookupError, match="lost"):
        loop.run_until_complete(fail())
    assert not loop.is_running()


def test_a_stop_before_the_end_is_an_error(loop: Loop) -> None:
    future = loop.create_future()
    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match=r"stopped before Future completed"):
        loop.run_until_complete(future)
    future.cancel()


def test_stop_before_run_runs_what_is_there_once(loop: Loop) -> None:
    seen: list[str] = []

    def first() -> None:
        seen.append("first")
        loop.call_soon(seen.append, "from first")

    loop.call_soon(first)
    loop.call_soon(seen.append, "second")
    loop.stop()
    loop.run_forever()
    assert seen == ["first", "second"]
    loop.stop()
    loop.run_forever()
    assert seen == ["first", "second", "from first"]


def test_stop_finishes_the_batch_and_leaves_new_callbacks(loop: Loop) -> None:
    seen: list[str] = []

    def stopping() -> None:
        loop.stop()
        loop.call_soon(seen.append, "new")

    loop.call_soon(stopping)
    loop.call_soon(seen.append, "same batch")
    loop.run_forever()
    assert seen == ["same batch"]
    loop.run_until_complete(asyncio.sleep(0))
    assert seen == ["same batch", "new"]


def test_a_loop_runs_again_after_a_stop(loop: Loop) -> None:
    for _ in range(3):
        loop.call_soon(loop.stop)
        loop.run_forever()
    assert not loop.is_running()


def test_a_running_loop_cannot_be_run_again(loop: Loop, new_loop: TrackedFactory) -> None:
    new_loop.skip_stock_if(sys.version_info[:3] == (3, 13, 0), NESTED)

    async def nested() -> None:
        with pytest.raises(RuntimeError, match="already running"):
            loop.run_forever()
        with pytest.raises(RuntimeError, match="already running"):
            loop.run_until_complete(loop.create_future())

    loop.run_until_complete(nested())


def test_no_second_loop_runs_in_a_running_loop(loop: Loop, new_loop: TrackedFactory) -> None:
    new_loop.skip_stock_if(sys.version_info[:3] == (3, 13, 0), NESTED)
    other = new_loop()

    async def nested() -> None:
        with pytest.raises(RuntimeError, match="another loop is running"):
            other.run_forever()
        future = other.create_future()
        with pytest.raises(RuntimeError, match="another loop is running"):
            other.run_until_complete(future)

    loop.run_until_complete(nested())
    assert not other.is_running()
    other.close()


def test_close(loop: Loop) -> None:
    loop.close()
    assert loop.is_closed()
    loop.close()
    assert loop.is_closed()
    assert not loop.is_running()


def test_close_of_a_running_loop_is_refused(loop: Loop) -> None:
    async def closing() -> None:
        with pytest.raises(RuntimeError, match="running"):
            loop.close()

    loop.run_until_complete(closing())
    assert not loop.is_closed()


def test_close_drops_what_was_scheduled(loop: Loop) -> None:
    seen: list[int] = []
    loop.call_soon(seen.append, 1)
    loop.call_later(0, seen.append, 2)
    loop.call_later(60, seen.append, 3)
    loop.close()
    assert seen == []


def test_a_closed_loop_refuses_work(loop: Loop) -> None:
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon(print)
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon_threadsafe(print)
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_later(1, print)
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_at(loop.time(), print)
    with pytest.raises(RuntimeError, match="closed"):
        loop.run_forever()
    with pytest.raises(RuntimeError, match="closed"):
        loop.run_in_executor(None, print)
    coroutine = asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="closed"):
        loop.run_until_complete(coroutine)
    with pytest.raises(RuntimeError, match="closed"):
        loop.create_task(coroutine)
    coroutine.close()


def test_time_still_tells_after_close(loop: Loop) -> None:
    loop.close()
    assert isinstance(loop.time(), float)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_leaves_run_forever(loop: Loop, kind: type[BaseException]) -> None:
    seen: list[str] = []

    def interrupt() -> None:
        raise kind

    loop.call_soon(interrupt)
    loop.call_soon(seen.append, "later")
    with pytest.raises(kind):
        loop.run_forever()
    assert not loop.is_running()
    loop.run_until_complete(asyncio.sleep(0))
    assert seen == ["later"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_leaves_run_until_complete(
    loop: Loop, kind: type[BaseException]
) -> None:
    async def interrupt() -> None:
        raise kind

    with pytest.raises(kind):
        loop.run_until_complete(interrupt())
    assert loop.run_until_complete(asyncio.sleep(0, "alive")) == "alive"


def test_an_unclosed_loop_complains_when_collected(new_loop: TrackedFactory) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop = new_loop()
        loop.call_soon(print)
        del loop
        gc.collect()
    assert any(
        issubclass(one.category, ResourceWarning) and "loop" in str(one.message) for one in caught
    )


def test_loops_are_created_run_and_closed_by_the_dozen(new_loop: TrackedFactory) -> None:
    for number in range(50):
        one = new_loop()
        assert one.run_until_complete(asyncio.sleep(0, number)) == number
        one.close()


def test_one_loop_per_thread(new_loop: TrackedFactory) -> None:
    results: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(0.01)
        results.append(number)

    def main(number: int) -> None:
        loop = new_loop()
        try:
            loop.run_until_complete(work(number))
        finally:
            loop.close()

    threads = [threading.Thread(target=main, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [0, 1, 2, 3]


def test_a_loop_may_run_in_another_thread_than_it_was_made_in(loop: Loop) -> None:
    result: list[str] = []
    thread = threading.Thread(
        target=lambda: result.append(loop.run_until_complete(asyncio.sleep(0.001, "there")))
    )
    thread.start()
    thread.join()
    assert result == ["there"]


# ---------------------------------------------------------------- asynchronous generators


async def _endless(log: list[str]):  # type: ignore[no-untyped-def]
    try:
        while True:
            yield 1
    finally:
        await asyncio.sleep(0)
        log.append("closed")


def test_shutdown_asyncgens_closes_those_half_done(loop: Loop) -> None:
    log: list[str] = []
    generators = [_endless(log), _endless(log)]

    async def start() -> None:
        for generator in generators:
            await generator.__anext__()

    loop.run_until_complete(start())
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert log == ["closed", "closed"]


def test_shutdown_asyncgens_with_none(loop: Loop) -> None:
    assert loop.run_until_complete(loop.shutdown_asyncgens()) is None
    assert loop.run_until_complete(loop.shutdown_asyncgens()) is None


def test_an_asyncgen_let_go_is_closed_on_the_loop(loop: Loop) -> None:
    log: list[str] = []

    async def work() -> None:
        async for _ in _endless(log):
            break
        gc.collect()
        for _ in range(5):
            await asyncio.sleep(0)

    loop.run_until_complete(work())
    assert log == ["closed"]


def test_an_asyncgen_started_after_shutdown_warns(loop: Loop) -> None:
    log: list[str] = []

    async def late() -> None:
        await loop.shutdown_asyncgens()
        generator = _endless(log)
        with pytest.warns(ResourceWarning, match="after loop.shutdown_asyncgens"):
            await generator.__anext__()
        await generator.aclose()

    loop.run_until_complete(late())
    assert log == ["closed"]


def test_an_asyncgen_that_fails_to_close_is_reported(loop: Loop) -> None:
    contexts: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))

    async def failing():  # type: ignore[no-untyped-def]
        try:
            yield 1
        finally:
            raise LookupError("cannot close")

    generator = failing()

    async def start() -> None:
        await generator.__anext__()

    loop.run_until_complete(start())
    loop.run_until_complete(loop.shutdown_asyncgens())
    (context,) = contexts
    assert isinstance(context["exception"], LookupError)
    assert context["asyncgen"] is generator
    assert "closing of asynchronous generator" in str(context["message"])


def test_asyncgen_hooks_are_put_back(loop: Loop) -> None:
    before = sys.get_asyncgen_hooks()
    loop.run_until_complete(asyncio.sleep(0))
    assert sys.get_asyncgen_hooks() == before

    async def inside() -> object:
        return sys.get_asyncgen_hooks()

    during = loop.run_until_complete(inside())
    assert during != before


# ---------------------------------------------------------------- with asyncio's own runners


def test_asyncio_runner_drives_it(new_loop: TrackedFactory) -> None:
    async def main() -> type:
        return type(asyncio.get_running_loop())

    with asyncio.Runner(loop_factory=new_loop, debug=True) as runner:
        kind = runner.run(main())
        assert runner.get_loop().get_debug()
        assert isinstance(runner.get_loop(), kind)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio.run(loop_factory=) is new in 3.12")
def test_asyncio_run_drives_it(new_loop: TrackedFactory) -> None:
    assert asyncio.run(asyncio.sleep(0, 7), loop_factory=new_loop) == 7


def test_runner_cancels_what_is_left(new_loop: TrackedFactory) -> None:
    log: list[str] = []

    async def left() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            log.append("cancelled")

    async def main() -> None:
        main.task = asyncio.create_task(left())  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
    assert log == ["cancelled"]


def test_a_keyboard_interrupt_cancels_the_main_task(new_loop: TrackedFactory) -> None:
    import _thread

    log: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, _thread.interrupt_main)
        try:
            await asyncio.sleep(5)
        finally:
            log.append("unwound")

    with asyncio.Runner(loop_factory=new_loop) as runner, pytest.raises(KeyboardInterrupt):
        runner.run(main())
    assert log == ["unwound"]


def test_set_event_loop_takes_it(loop: Loop) -> None:
    asyncio.set_event_loop(loop)
    try:
        assert asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
