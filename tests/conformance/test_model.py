"""Random programs: the scheduler against a model of it, and streams against their bytes."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from tests.support.loops import TrackedFactory, run, until
from tests.support.protocols import BufferedRecorder, Recorder, connected_pair

# Hypothesis guesses from reference counts, which mean less from Python 3.14 on.
pytestmark = pytest.mark.filterwarnings("ignore:It looks like .register_random. was passed")

QUICK = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


class SchedulerMachine(RuleBasedStateMachine):
    """call_soon, call_later, call_at and cancel, with the order and the times they promise.

    The model: what is ready runs in order of scheduling, one batch a turn; a timer runs once, not
    before its time, and in order of the times; what was cancelled before it ran never runs.
    """

    new_loop: Callable[[], asyncio.AbstractEventLoop]
    handles = Bundle("handles")

    def __init__(self) -> None:
        super().__init__()
        self.loop = self.new_loop()
        self.count = 0
        self.ready: list[int] = []
        self.timers: dict[int, float] = {}
        self.cancelled: set[int] = set()
        self.ran: list[int] = []
        self.expected_ready: list[int] = []
        self.timers_ran: list[tuple[float, int]] = []

    def _number(self) -> int:
        self.count += 1
        return self.count

    def _run_timer(self, number: int, when: float) -> None:
        assert self.loop.time() >= when, "early"
        self.timers_ran.append((when, number))

    @rule(target=handles)
    def call_soon(self) -> Any:
        number = self._number()
        self.ready.append(number)
        return number, self.loop.call_soon(self.ran.append, number)

    @rule(target=handles, context=st.booleans())
    def call_soon_threadsafe(self, context: bool) -> Any:
        number = self._number()
        self.ready.append(number)
        chosen = contextvars.copy_context() if context else None
        handle = self.loop.call_soon_threadsafe(self.ran.append, number, context=chosen)
        return number, handle

    @rule(target=handles, count=st.integers(2, 20))
    def call_soon_often(self, count: int) -> Any:
        return multiple(*(self.call_soon_plain() for _ in range(count)))

    def call_soon_plain(self) -> Any:
        number = self._number()
        self.ready.append(number)
        return number, self.loop.call_soon(self.ran.append, number)

    @rule(target=handles, delay=st.floats(-0.001, 0.003))
    def call_later(self, delay: float) -> Any:
        number = self._number()
        before = self.loop.time()
        when = before + delay
        handle = self.loop.call_later(delay, self._run_timer, number, when)
        assert when <= handle.when() <= self.loop.time() + delay
        self.timers[number] = handle.when()
        return number, handle

    @rule(target=handles, offset=st.integers(-2, 3))
    def call_at(self, offset: int) -> Any:
        number = self._number()
        when = self.loop.time() + offset / 1000
        handle = self.loop.call_at(when, self._run_timer, number, when)
        assert handle.when() == when
        self.timers[number] = when
        return number, handle

    @rule(one=consumes(handles))
    def cancel(self, one: tuple[int, asyncio.Handle]) -> None:
        number, handle = one
        handle.cancel()
        if number in self.ready:
            self.ready.remove(number)
        if number in self.timers:
            del self.timers[number]
            self.cancelled.add(number)

    @rule()
    def turn(self) -> None:
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()
        self._ready_has_run()

    @rule(duration=st.floats(0, 0.002))
    def sleep(self, duration: float) -> None:
        begin = self.loop.time()
        self.loop.run_until_complete(asyncio.sleep(duration))
        assert self.loop.time() - begin >= duration
        self._ready_has_run()

    def _ready_has_run(self) -> None:
        assert self.ran == self.ready
        self.ran.clear()
        self.ready.clear()

    @invariant()
    def timers_are_right(self) -> None:
        numbers = [number for _, number in self.timers_ran]
        assert len(set(numbers)) == len(numbers), "a timer ran twice"
        assert not self.cancelled & set(numbers), "a cancelled timer ran"
        for number in numbers:
            assert number in self.timers
            del self.timers[number]
        self.timers_ran.clear()

    def teardown(self) -> None:
        if self.timers:
            last = max(self.timers.values())
            self.loop.run_until_complete(asyncio.sleep(max(0, last - self.loop.time()) + 0.002))
            self._ready_has_run()
            numbers = {number for _, number in self.timers_ran}
            assert numbers == set(self.timers), "a timer did not run"
        self.loop.close()


@pytest.mark.timeout(60)
def test_the_scheduler(new_loop: TrackedFactory) -> None:
    machine = type("Machine", (SchedulerMachine,), {"new_loop": new_loop})
    run_state_machine_as_test(machine, settings=QUICK)  # type: ignore[no-untyped-call]


chunks = st.lists(st.integers(0, 70_000), min_size=1, max_size=25)
pauses = st.lists(st.booleans(), min_size=1, max_size=25)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("buffered", [False, True], ids=["protocol", "buffered"])
def test_an_echo_is_exact(new_loop: TrackedFactory, buffered: bool) -> None:
    """Whatever the sizes of writes and the pauses on both sides, the bytes are the same."""

    class Echoing(Recorder):
        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

        def pause_writing(self) -> None:
            super().pause_writing()
            self.transport.pause_reading()

        def resume_writing(self) -> None:
            super().resume_writing()
            self.transport.resume_reading()

    async def talk(sizes: list[int], pattern: list[bool], lines: bool, high: int) -> None:
        kind: Any = BufferedRecorder if buffered else Recorder
        async with connected_pair(kind, Echoing) as (client, server):
            server.transport.set_write_buffer_limits(high=high)
            pieces = [bytes([number % 251]) * size for number, size in enumerate(sizes, start=1)]
            expected = b"".join(pieces)
            for number, piece in enumerate(pieces):
                wanted = pattern[number % len(pattern)]
                if wanted and client.transport.is_reading():
                    client.transport.pause_reading()
                elif not wanted and not client.transport.is_reading():
                    client.transport.resume_reading()
                if lines:
                    client.transport.writelines([piece[:7], piece[7:]])
                else:
                    client.transport.write(piece)
                if wanted:
                    await asyncio.sleep(0)
            client.transport.resume_reading()
            await until(lambda: len(client.data) >= len(expected))
            assert client.data == expected
            assert not client.transport.get_write_buffer_size()
            assert client.events.count("pause") == client.events.count("resume")

    @settings(QUICK, max_examples=15)
    @given(sizes=chunks, pattern=pauses, lines=st.booleans(), high=st.integers(0, 200_000))
    def check(sizes: list[int], pattern: list[bool], lines: bool, high: int) -> None:
        run(new_loop, talk(sizes, pattern, lines, high))

    check()


@pytest.mark.timeout(60)
def test_tasks_wake_in_order(new_loop: TrackedFactory) -> None:
    """Tasks that sleep, yield and wait for one another step as they do on stock asyncio."""

    async def program(steps: list[tuple[int, int]]) -> list[tuple[int, int]]:
        trace: list[tuple[int, int]] = []
        events = [asyncio.Event() for _ in range(4)]

        async def one(number: int, kind: int, other: int) -> None:
            trace.append((number, 0))
            if kind == 0:
                await asyncio.sleep(0)
            elif kind == 1:
                events[other].set()
            elif kind == 2:
                try:
                    await asyncio.wait_for(events[other].wait(), 0.5)
                except TimeoutError:
                    trace.append((number, -1))
            else:
                await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
            trace.append((number, 1))

        tasks = [
            asyncio.create_task(one(number, kind, other))
            for number, (kind, other) in enumerate(steps)
        ]
        await asyncio.sleep(0)
        for event in events:
            event.set()
        await asyncio.gather(*tasks)
        return trace

    @settings(QUICK, max_examples=25)
    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=20))
    def check(steps: list[tuple[int, int]]) -> None:
        assert run(new_loop, program(steps)) == run(asyncio.SelectorEventLoop, program(steps))

    check()
