"""Probes: callbacks, timers, errors and debug mode."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import time
from typing import Any

from evenloop.platforms.probe import Bench, Failed, NotHere, Topic, probe
from evenloop.platforms.probes.parts import check, expect

CALLBACKS = Topic("Callbacks", "asyncio-eventloop.html#scheduling-callbacks")
TIMERS = Topic("Timers", "asyncio-eventloop.html#scheduling-delayed-callbacks")
ERRORS = Topic("Errors and debugging", "asyncio-eventloop.html#error-handling-api")


@probe("call_soon", CALLBACKS)
async def call_soon(bench: Bench) -> str:
    """In order, with arguments, in the given context."""
    place: contextvars.ContextVar[str] = contextvars.ContextVar("place", default="outside")
    context = contextvars.copy_context()
    context.run(place.set, "inside")
    seen: list[object] = []
    done = bench.loop.create_future()
    for number in range(100):
        bench.loop.call_soon(seen.append, number)
    bench.loop.call_soon(lambda: seen.append(place.get()), context=context)
    bench.loop.call_soon(done.set_result, None)
    await done
    expect("calls", seen, [*range(100), "inside"])
    return "101 calls in order, context kept"


@probe("Handle.cancel", CALLBACKS, "call_soon", section="asyncio-eventloop.html#asyncio.Handle")
async def cancel(bench: Bench) -> str:
    """A cancelled handle is not called."""
    seen: list[str] = []
    handle = bench.loop.call_soon(seen.append, "cancelled")
    check(isinstance(handle, asyncio.Handle), f"{type(handle).__name__} is no asyncio.Handle")
    handle.cancel()
    expect("cancelled()", handle.cancelled(), True)
    await asyncio.sleep(0)
    expect("calls", seen, [])
    return "not called, cancelled() is True"


@probe("time", TIMERS)
async def clock(bench: Bench) -> str:
    """Monotonic, in seconds, and fine."""
    first = bench.loop.time()
    start = time.monotonic()
    last = first
    steps: list[float] = []
    while time.monotonic() - start < 0.002 or not steps:
        now = bench.loop.time()
        check(now >= last, "the clock went backwards")
        if now > last:
            steps.append(now - last)
        last = now
        check(time.monotonic() - start < 1, "the clock stood still for a second")
    return f"smallest step seen {min(steps) * 1e6:.2g} µs"


@probe("call_later", TIMERS)
async def call_later(bench: Bench) -> str:
    """In order of time, none early."""
    loop = bench.loop
    early = late = 0.0
    seen: list[int] = []
    done = loop.create_future()
    delays = [0.009, 0.003, 0.001, 0.007, 0.005]

    def fired(delay: float, start: float) -> None:
        nonlocal early, late
        seen.append(round(delay * 1000))
        missed = loop.time() - start - delay
        early, late = min(early, missed), max(late, missed)
        if len(seen) == len(delays):
            done.set_result(None)

    for delay in delays:
        loop.call_later(delay, fired, delay, loop.time())
    await done
    expect("the order", seen, [1, 3, 5, 7, 9])
    if early < -1e-6:
        raise Failed(f"a timer fired {-early * 1e3:.2f} ms early")
    return f"{len(delays)} timers in order, at most {late * 1e3:.2f} ms late"


@probe("call_at", TIMERS)
async def call_at(bench: Bench) -> str:
    """At the given time, and `when()` tells it."""
    fired = bench.loop.create_future()
    when = bench.loop.time() + 0.004
    handle = bench.loop.call_at(when, lambda: fired.set_result(bench.loop.time()))
    check(isinstance(handle, asyncio.TimerHandle), f"{type(handle).__name__} is no TimerHandle")
    expect("when()", handle.when(), when)
    missed = await fired - when
    if missed < -1e-6:
        raise Failed(f"fired {-missed * 1e3:.2f} ms early")
    return f"fired {missed * 1e3:.2f} ms late"


@probe("call_later, below a tick", TIMERS, "call_later")
async def fine_timers(bench: Bench) -> str:
    """How fine waits are: the best of some is told, as a busy machine delays any one."""
    best = 1.0
    for _ in range(8):
        due = bench.loop.time() + 0.0003
        fired = bench.loop.create_future()
        bench.loop.call_at(due, fired.set_result, None)
        await fired
        best = min(best, bench.loop.time() - due)
    saw = f"0.3 ms asked, at best {best * 1e3:.2f} ms late"
    if sys.platform == "win32" and getattr(bench.loop, "engine", None) is not None:
        from evenloop.engines.alarm import missing_parts

        why = missing_parts()
        if why:
            raise NotHere(f"waits are whole milliseconds here: {why}; {saw}")
    return saw


@probe("TimerHandle.cancel", TIMERS, "call_later", section="asyncio-eventloop.html#asyncio.Handle")
async def cancel_timer(bench: Bench) -> str:
    """Cancelled timers do not fire."""
    seen: list[int] = []
    handles = [bench.loop.call_later(0.002, seen.append, number) for number in range(1000)]
    for handle in handles[1:]:
        handle.cancel()
    await asyncio.sleep(0.004)
    expect("timers that fired", seen, [0])
    return "999 of 1000 cancelled, 1 fired"


@probe("exception handler", ERRORS, "set_exception_handler", "get_exception_handler")
async def exception_handler(bench: Bench) -> str:
    """An exception in a callback reaches the handler."""
    seen: list[dict[str, Any]] = []
    before = bench.loop.get_exception_handler()

    def handler(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        seen.append(context)

    bench.loop.set_exception_handler(handler)
    check(bench.loop.get_exception_handler() is handler, "the handler was not kept")
    bench.loop.call_soon(lambda: 1 // 0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    bench.loop.set_exception_handler(before)
    expect("calls of the handler", len(seen), 1)
    expect("the exception", type(seen[0].get("exception")), ZeroDivisionError)
    check("handle" in seen[0], "the context lacks the handle")
    return f"got ZeroDivisionError with {', '.join(sorted(seen[0]))}"


@probe("call_exception_handler", ERRORS)
async def call_exception_handler(bench: Bench) -> str:
    """Passes the context to the handler."""
    seen: list[dict[str, Any]] = []
    before = bench.loop.get_exception_handler()
    bench.loop.set_exception_handler(lambda _, context: seen.append(context))
    bench.loop.call_exception_handler({"message": "a probe"})
    bench.loop.set_exception_handler(before)
    expect("contexts", seen, [{"message": "a probe"}])
    return "1 context passed on"


@probe("default_exception_handler", ERRORS)
async def default_exception_handler(bench: Bench) -> str:
    """Logs to the logger `asyncio`."""
    with _Caught() as caught:
        bench.loop.default_exception_handler({"message": "a probe", "exception": KeyError("k")})
    check(caught.lines and "a probe" in caught.lines[0], f"logged {caught.lines!r}")
    return "1 record in the log of asyncio"


@probe("debug mode", ERRORS, "set_debug", "get_debug", section="asyncio-dev.html#debug-mode")
async def debug(bench: Bench) -> str:
    """Slow callbacks are logged, calls from the wrong thread refused."""
    loop = bench.loop
    loop.set_debug(True)
    expect("get_debug()", loop.get_debug(), True)
    usual = loop.slow_callback_duration
    loop.slow_callback_duration = 0.002
    with _Caught() as caught:
        loop.call_soon(time.sleep, 0.004)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        loop.slow_callback_duration = usual
    check(any("took" in line for line in caught.lines), "the slow callback was not logged")
    try:
        await loop.run_in_executor(None, loop.call_soon, print)
    except RuntimeError:
        loop.set_debug(False)
        return "slow callback logged, wrong thread refused"
    raise Failed("a call from the wrong thread was not refused")


class _Caught:
    """Takes asyncio's log records, so that they do not end on the screen."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record, and let nobody else have it."""
        self.lines.append(record.getMessage())
        return False

    def __enter__(self) -> _Caught:
        logging.getLogger("asyncio").addFilter(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("asyncio").removeFilter(self)
