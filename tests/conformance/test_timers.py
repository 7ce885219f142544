"""call_later, call_at and the clock. A timer never fires before its time."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from tests.support.loops import until


async def test_the_clock_is_monotonic_and_in_seconds() -> None:
    loop = asyncio.get_running_loop()
    first = loop.time()
    assert isinstance(first, float)
    assert all(loop.time() >= first for _ in range(1000))
    before, clock = loop.time(), time.monotonic()
    await asyncio.sleep(0.01)
    assert abs((loop.time() - before) - (time.monotonic() - clock)) < 0.005


async def test_a_timer_handle_knows_when() -> None:
    loop = asyncio.get_running_loop()
    before = loop.time()
    handle = loop.call_later(30, print)
    assert isinstance(handle, asyncio.TimerHandle)
    assert isinstance(handle, asyncio.Handle)
    assert before + 30 <= handle.when() <= loop.time() + 30
    exact = loop.call_at(before + 12.125, print)
    assert exact.when() == before + 12.125
    for one in (handle, exact):
        assert not one.cancelled()
        one.cancel()
        assert one.cancelled()
        assert one.when() >= before


@pytest.mark.parametrize("delay", [0.0, 0.0001, 0.00099, 0.001, 0.0015, 0.0103, 0.0109])
async def test_never_early(delay: float) -> None:
    loop = asyncio.get_running_loop()
    lateness: list[float] = []

    for _ in range(3):
        fired = loop.create_future()
        begin = time.monotonic()
        handle = loop.call_later(delay, lambda f=fired: f.set_result(loop.time()))
        assert await fired >= handle.when()
        lateness.append(time.monotonic() - begin - delay)
    # The difference of two large doubles is not exact.
    assert min(lateness) > -1e-9


async def test_sleep_is_never_short() -> None:
    loop = asyncio.get_running_loop()
    for _ in range(5):
        begin_loop, begin = loop.time(), time.monotonic()
        await asyncio.sleep(0.0103)
        assert loop.time() - begin_loop >= 0.0103
        assert time.monotonic() - begin >= 0.0103


async def test_timers_fire_in_order_of_their_time() -> None:
    loop = asyncio.get_running_loop()
    seen: list[int] = []
    numbers = list(range(200))
    random.Random(1).shuffle(numbers)
    start = loop.time() + 0.005
    for number in numbers:
        loop.call_at(start + number * 0.00005, seen.append, number)
    await until(lambda: len(seen) == 200)
    assert seen == list(range(200))


async def test_a_timer_due_already_fires_in_the_next_turns() -> None:
    loop = asyncio.get_running_loop()
    seen: list[str] = []
    loop.call_later(0, seen.append, "zero")
    loop.call_later(-5, seen.append, "negative")
    loop.call_at(loop.time() - 100, seen.append, "past")
    loop.call_at(0, seen.append, "origin")
    assert seen == []
    await until(lambda: len(seen) == 4)
    assert set(seen) == {"zero", "negative", "past", "origin"}


async def test_integers_do_as_well() -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_later(0, done.set_result, True)
    assert await done
    handle = loop.call_at(10**9, print)
    assert handle.when() == 10**9
    handle.cancel()


@pytest.mark.parametrize("far", [1e7, 1e12, float("inf")])
async def test_a_timer_far_away_waits_without_harm(far: float) -> None:
    loop = asyncio.get_running_loop()
    seen: list[str] = []
    handle = loop.call_later(far, seen.append, "far")
    loop.call_later(0.005, seen.append, "near")
    await until(lambda: seen)
    assert seen == ["near"]
    handle.cancel()


async def test_only_a_far_timer_and_a_thread() -> None:
    """With nothing but a timer years away the loop still wakes for a thread."""
    loop = asyncio.get_running_loop()
    far = loop.call_later(1e9, print)
    assert await loop.run_in_executor(None, lambda: 5) == 5
    far.cancel()


async def test_cancelled_timers_never_fire() -> None:
    loop = asyncio.get_running_loop()
    seen: list[int] = []
    handles = [loop.call_later(0.002, seen.append, number) for number in range(500)]
    for handle in handles[::2]:
        handle.cancel()
    await until(lambda: len(seen) == 250)
    await asyncio.sleep(0.003)
    assert sorted(seen) == list(range(1, 500, 2))


async def test_a_great_many_cancelled_timers() -> None:
    loop = asyncio.get_running_loop()
    for _ in range(5):
        for handle in [loop.call_later(3600, print) for _ in range(1000)]:
            handle.cancel()
        await asyncio.sleep(0)
    await asyncio.sleep(0.001)


async def test_a_timer_cancels_another_that_is_due_too() -> None:
    loop = asyncio.get_running_loop()
    seen: list[str] = []
    now = loop.time()
    loop.call_at(now, lambda: second.cancel())
    second = loop.call_at(now + 1e-6, seen.append, "second")
    time.sleep(0.001)
    await asyncio.sleep(0.002)
    assert seen == []


async def test_cancel_within_the_callback_and_after_it() -> None:
    loop = asyncio.get_running_loop()
    seen: list[str] = []

    def fire() -> None:
        handle.cancel()
        seen.append("fired")

    handle = loop.call_later(0, fire)
    await until(lambda: seen)
    handle.cancel()
    assert seen == ["fired"]


async def test_timers_set_by_timers() -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def step(left: int) -> None:
        if left:
            loop.call_later(0.0005, step, left - 1)
        else:
            done.set_result(None)

    step(10)
    begin = loop.time()
    await done
    assert loop.time() - begin >= 0.005


async def test_handles_compare_by_time() -> None:
    loop = asyncio.get_running_loop()
    early, late = loop.call_at(1e9, print), loop.call_at(2e9, print)
    assert early < late
    assert late > early
    assert early <= late
    assert late >= early
    assert early != late
    assert early == early
    assert len({early, late, early}) == 2
    early.cancel()
    late.cancel()


async def test_arguments_reach_a_timer() -> None:
    loop = asyncio.get_running_loop()
    seen: list[tuple[object, ...]] = []
    loop.call_later(0, lambda *args: seen.append(args), 1, "two", None)
    await until(lambda: seen)
    assert seen == [(1, "two", None)]


async def test_timeouts_built_upon_timers() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.005):
            await asyncio.sleep(5)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.sleep(5), 0.005)
    assert await asyncio.wait_for(asyncio.sleep(0.001, "in time"), 5) == "in time"
    done, pending = await asyncio.wait([asyncio.create_task(asyncio.sleep(5))], timeout=0.005)
    assert not done
    pending.pop().cancel()
