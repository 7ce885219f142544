"""call_soon, call_soon_threadsafe and their handles."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import sys
import threading
import time

import pytest

from tests.support.loops import TrackedFactory, until

Loop = asyncio.AbstractEventLoop
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


async def test_callbacks_run_in_order_with_their_arguments() -> None:
    loop = asyncio.get_running_loop()
    seen: list[tuple[int, ...]] = []
    for number in range(100):
        loop.call_soon(lambda *args: seen.append(args), number, number + 1)
    await asyncio.sleep(0)
    assert seen == [(number, number + 1) for number in range(100)]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 40])
async def test_any_number_of_arguments(count: int) -> None:
    seen: list[tuple[object, ...]] = []
    asyncio.get_running_loop().call_soon(lambda *args: seen.append(args), *range(count))
    await asyncio.sleep(0)
    assert seen == [tuple(range(count))]


async def test_a_callback_never_runs_at_once() -> None:
    seen: list[int] = []
    asyncio.get_running_loop().call_soon(seen.append, 1)
    assert seen == []
    await asyncio.sleep(0)
    assert seen == [1]


async def test_what_a_callback_schedules_runs_in_the_next_turn() -> None:
    loop = asyncio.get_running_loop()
    seen: list[str] = []

    def first() -> None:
        seen.append("first")
        loop.call_soon(seen.append, "third")

    loop.call_soon(first)
    loop.call_soon(seen.append, "second")
    await asyncio.sleep(0)
    assert seen == ["first", "second"]
    await asyncio.sleep(0)
    assert seen == ["first", "second", "third"]


async def test_a_busy_ready_queue_does_not_starve_io() -> None:
    """A callback that schedules itself for ever lets timers and descriptors through."""
    loop = asyncio.get_running_loop()
    reader, writer = os.pipe()
    events: list[str] = []
    going = True

    def again() -> None:
        if going:
            loop.call_soon(again)

    again()
    loop.call_later(0.005, events.append, "timer")
    loop.add_reader(reader, lambda: (events.append("reader"), loop.remove_reader(reader)))
    os.write(writer, b"x")
    await until(lambda: len(events) == 2)
    going = False
    os.close(reader)
    os.close(writer)


async def test_the_handle() -> None:
    loop = asyncio.get_running_loop()
    seen: list[int] = []
    handle = loop.call_soon(seen.append, 1)
    assert isinstance(handle, asyncio.Handle)
    assert not isinstance(handle, asyncio.TimerHandle)
    assert handle.cancelled() is False
    assert handle.cancel() is None
    assert handle.cancelled() is True
    handle.cancel()
    await asyncio.sleep(0)
    assert seen == []
    assert "cancelled" in repr(handle)


async def test_cancel_after_it_ran_harms_nobody() -> None:
    loop = asyncio.get_running_loop()
    seen: list[int] = []
    handle = loop.call_soon(seen.append, 1)
    await asyncio.sleep(0)
    others = [loop.call_soon(seen.append, number) for number in range(2, 6)]
    handle.cancel()
    await asyncio.sleep(0)
    assert seen == [1, 2, 3, 4, 5]
    assert not any(other.cancelled() for other in others)


async def test_a_callback_cancels_the_next() -> None:
    loop = asyncio.get_running_loop()
    seen: list[str] = []
    loop.call_soon(lambda: victim.cancel())
    victim = loop.call_soon(seen.append, "victim")
    loop.call_soon(seen.append, "after")
    await asyncio.sleep(0)
    assert seen == ["after"]


async def test_a_callback_cancels_itself_while_running() -> None:
    loop = asyncio.get_running_loop()
    seen: list[str] = []

    def run() -> None:
        handle.cancel()
        seen.append("ran")

    handle = loop.call_soon(run)
    await asyncio.sleep(0)
    assert seen == ["ran"]


async def test_a_handle_keeps_nothing_alive_once_cancelled() -> None:
    import gc
    import weakref

    class Big:
        def method(self) -> None: ...

    big = Big()
    reference = weakref.ref(big)
    handle = asyncio.get_running_loop().call_later(60, big.method)
    handle.cancel()
    del big
    gc.collect()
    assert reference() is None


async def test_the_repr_of_a_handle_names_the_callback() -> None:
    def visible() -> None: ...

    handle = asyncio.get_running_loop().call_soon(visible)
    assert "visible" in repr(handle)
    timer = asyncio.get_running_loop().call_later(60, visible)
    assert "visible" in repr(timer)
    assert "when=" in repr(timer)
    timer.cancel()


# ---------------------------------------------------------------- context


async def test_a_callback_sees_the_context_of_its_scheduling() -> None:
    loop = asyncio.get_running_loop()
    seen: list[str] = []
    VARIABLE.set("then")
    loop.call_soon(lambda: seen.append(VARIABLE.get()))
    loop.call_later(0, lambda: seen.append(VARIABLE.get()))
    VARIABLE.set("now")
    await until(lambda: len(seen) == 2)
    assert seen == ["then", "then"]


async def test_a_callback_changes_only_its_own_copy() -> None:
    loop = asyncio.get_running_loop()
    VARIABLE.set("mine")
    loop.call_soon(VARIABLE.set, "theirs")
    await asyncio.sleep(0)
    assert VARIABLE.get() == "mine"


async def test_the_context_keyword() -> None:
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    context.run(VARIABLE.set, "given")
    seen: list[str] = []

    def look() -> None:
        seen.append(VARIABLE.get())

    loop.call_soon(look, context=context)
    loop.call_soon_threadsafe(look, context=context)
    loop.call_later(0, look, context=context)
    loop.call_at(loop.time(), look, context=context)
    loop.call_soon(VARIABLE.set, "changed", context=context)
    await until(lambda: len(seen) == 4)
    assert seen[:2] == ["given", "given"]
    assert context[VARIABLE] == "changed"
    assert VARIABLE.get() == "unset"


@pytest.mark.parametrize("way", ["soon", "later", "threadsafe"])
@pytest.mark.parametrize("value", [None, "set"], ids=["no-variables", "a-variable"])
def test_each_callback_has_a_copy_of_the_context_of_its_time(
    loop: Loop, way: str, value: str | None
) -> None:
    own: contextvars.ContextVar[str] = contextvars.ContextVar("own", default="unset")
    seen: list[str] = []

    def call(number: int) -> None:
        seen.append(own.get())
        own.set(f"by {number}")
        seen.append(own.get())

    def ask() -> None:
        if value is not None:
            own.set(value)
        for number in range(2):
            if way == "soon":
                loop.call_soon(call, number)
            elif way == "later":
                loop.call_later(0, call, number)
            else:
                loop.call_soon_threadsafe(call, number)
        own.set("too late")
        loop.call_later(0.01, loop.stop)

    contextvars.Context().run(ask)
    loop.run_forever()
    first = value or "unset"
    assert seen == [first, "by 0", first, "by 1"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="new in 3.12")
def test_an_exception_handler_runs_in_the_context_of_the_callback(loop: Loop) -> None:
    seen: list[str] = []
    loop.set_exception_handler(lambda loop, context: seen.append(VARIABLE.get()))

    def fail() -> None:
        VARIABLE.set("as the callback left it")
        raise ValueError

    contextvars.Context().run(loop.call_later, 0, fail)
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert seen == ["as the callback left it"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Handle.get_context is new in 3.12")
async def test_get_context() -> None:
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    assert loop.call_soon(int, context=context).get_context() is context
    timer = loop.call_later(60, int, context=context)
    assert timer.get_context() is context
    timer.cancel()
    VARIABLE.set("copied")
    own = loop.call_soon(int).get_context()
    assert own[VARIABLE] == "copied"


# ---------------------------------------------------------------- exceptions


async def test_a_raising_callback_is_reported_and_the_others_run() -> None:
    loop = asyncio.get_running_loop()
    contexts: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    seen: list[str] = []

    def fail() -> None:
        raise LookupError("callback")

    handle = loop.call_soon(fail)
    loop.call_soon(seen.append, "after")
    await asyncio.sleep(0)
    assert seen == ["after"]
    (context,) = contexts
    assert isinstance(context["exception"], LookupError)
    assert context["handle"] is handle
    assert str(context["message"]).startswith("Exception in callback")
    assert "fail" in str(context["message"])


@pytest.mark.parametrize("kind", [GeneratorExit, asyncio.CancelledError, BaseException])
async def test_any_other_exception_is_reported_too(kind: type[BaseException]) -> None:
    loop = asyncio.get_running_loop()
    contexts: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))

    def fail() -> None:
        raise kind

    loop.call_soon(fail)
    await asyncio.sleep(0)
    assert [type(context["exception"]) for context in contexts] == [kind]


# ---------------------------------------------------------------- from other threads


async def test_a_thread_wakes_a_sleeping_loop() -> None:
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def in_thread() -> None:
        time.sleep(0.02)
        loop.call_soon_threadsafe(future.set_result, threading.get_ident())

    thread = threading.Thread(target=in_thread)
    thread.start()
    assert await future == thread.ident
    thread.join()


async def test_many_threads_lose_nothing() -> None:
    loop = asyncio.get_running_loop()
    seen: list[tuple[int, int]] = []

    def in_thread(number: int) -> None:
        for step in range(300):
            loop.call_soon_threadsafe(seen.append, (number, step))

    threads = [threading.Thread(target=in_thread, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    await until(lambda: len(seen) == 6 * 300)
    for thread in threads:
        thread.join()
    for number in range(6):
        assert [step for who, step in seen if who == number] == list(range(300))


async def test_call_soon_threadsafe_from_the_loop_itself() -> None:
    loop = asyncio.get_running_loop()
    seen: list[int] = []
    handle = loop.call_soon_threadsafe(seen.append, 1)
    assert isinstance(handle, asyncio.Handle)
    loop.call_soon(seen.append, 2)
    await until(lambda: len(seen) == 2)
    assert seen == [1, 2]


async def test_a_threadsafe_handle_can_be_cancelled() -> None:
    loop = asyncio.get_running_loop()
    seen: list[int] = []
    loop.call_soon_threadsafe(seen.append, 1).cancel()
    await asyncio.sleep(0.005)
    assert seen == []


@pytest.mark.parametrize("ask", ["cancel", "cancelled"])
async def test_who_asks_in_another_thread_waits_while_the_callback_runs(
    ask: str, new_loop: TrackedFactory
) -> None:
    new_loop.skip_stock_if(sys.version_info < (3, 14), "its handles wait from 3.14 on")
    loop = asyncio.get_running_loop()
    started, asking, finish = threading.Event(), threading.Event(), threading.Event()
    seen: list[str] = []

    def callback() -> None:
        started.set()
        finish.wait(10)
        seen.append("run")

    def other() -> None:
        started.wait(10)
        asking.set()
        getattr(handle, ask)()
        seen.append("answered")

    def third() -> None:
        asking.wait(10)
        time.sleep(0.02)  # the other one waits by now, or the test shows less
        finish.set()

    threads = [threading.Thread(target=other) for _ in range(3)]
    threads.append(threading.Thread(target=third))
    handle = loop.call_soon_threadsafe(callback)
    for thread in threads:
        thread.start()
    await until(lambda: len(seen) == 4)
    for thread in threads:
        thread.join()
    assert seen == ["run", "answered", "answered", "answered"]


async def test_a_callback_may_cancel_its_own_thread_safe_handle() -> None:
    loop = asyncio.get_running_loop()
    seen: list[bool] = []

    def callback() -> None:
        handle.cancel()
        seen.append(handle.cancelled())

    handle = loop.call_soon_threadsafe(callback)
    await until(lambda: len(seen) == 1)
    assert seen == [True]


def test_threadsafe_before_the_loop_runs(loop: Loop) -> None:
    seen: list[int] = []
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(seen.append, 1))
    thread.start()
    thread.join()
    loop.run_until_complete(asyncio.sleep(0))
    assert seen == [1]


def test_stop_from_a_thread(loop: Loop) -> None:
    timer = threading.Timer(0.02, loop.call_soon_threadsafe, [loop.stop])
    timer.start()
    loop.run_forever()
    timer.join()


async def test_run_coroutine_threadsafe() -> None:
    loop = asyncio.get_running_loop()
    future = asyncio.run_coroutine_threadsafe
    result = await loop.run_in_executor(
        None, lambda: future(asyncio.sleep(0.001, "there"), loop).result(5)
    )
    assert result == "there"


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no SIGUSR1 on this OS")
async def test_call_soon_threadsafe_from_a_signal_handler() -> None:
    loop = asyncio.get_running_loop()
    arrived = loop.create_future()

    def handler(number: int, frame: object) -> None:
        loop.call_soon_threadsafe(arrived.set_result, number)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        assert await arrived == signal.SIGUSR1
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
