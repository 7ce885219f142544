"""What waits on a loop that nobody has any more is garbage, however many there are."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import Callable

import pytest

from tests.support.loops import TrackedFactory

Loop = asyncio.AbstractEventLoop
HOLDER: contextvars.ContextVar[object] = contextvars.ContextVar("HOLDER", default=None)
MANY = 3000  # more than evenloop keeps in view of the collector


class Holder:
    """Knows its loop and its handles, which know it."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.handles: list[asyncio.Handle] = []

    def call(self) -> None:
        """Be called."""


def soon(holder: Holder) -> None:
    holder.handles = [holder.loop.call_soon(holder.call) for _ in range(MANY)]


def threadsafe(holder: Holder) -> None:
    holder.handles = [holder.loop.call_soon_threadsafe(holder.call) for _ in range(MANY)]


def later(holder: Holder) -> None:
    holder.handles = [holder.loop.call_later(1000 + n, holder.call) for n in range(MANY)]


def cancelled(holder: Holder) -> None:
    later(holder)
    for handle in holder.handles[:: MANY // 10]:
        handle.cancel()


def unheld(holder: Holder) -> None:
    later(holder)
    holder.handles.clear()


@pytest.mark.parametrize("wait", [soon, threadsafe, later, cancelled, unheld])
@pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning")
def test_a_dropped_loop_is_collected(
    new_loop: TrackedFactory, wait: Callable[[Holder], None]
) -> None:
    holder = Holder(new_loop())
    wait(holder)
    gone = [weakref.ref(holder), weakref.ref(holder.loop)]
    del holder
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


@pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning")
def test_what_a_kept_handle_calls_is_kept(new_loop: TrackedFactory) -> None:
    holder = Holder(new_loop())
    later(holder)
    kept = holder.handles.pop()
    mark = holder.mark = object()  # type: ignore[attr-defined]
    del holder
    gc.collect()
    bound = kept._callback  # type: ignore[attr-defined]
    assert bound.__self__.mark is mark
    gone = weakref.ref(bound.__self__)
    del kept, bound
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("wait", [soon, threadsafe, later])
async def test_a_cycle_through_a_handle_that_is_over_is_collected(
    wait: Callable[[Holder], None],
) -> None:
    holder = Holder(asyncio.get_running_loop())
    HOLDER.set(holder)  # each handle's context leads back, too
    wait(holder)
    HOLDER.set(None)
    if wait is later:
        # The last ones first: what is cancelled in the middle may stay for a while.
        for handle in reversed(holder.handles):
            handle.cancel()
        del handle
    await asyncio.sleep(0)
    gone = weakref.ref(holder)
    del holder
    gc.collect()
    assert gone() is None


async def test_many_calls_from_many_threads_all_run() -> None:
    loop = asyncio.get_running_loop()
    counts = [0] * 4
    done = loop.create_future()

    def step(number: int) -> None:
        counts[number] += 1
        if sum(counts) == 4 * MANY:
            done.set_result(None)

    def other(number: int) -> None:
        for _ in range(MANY):
            loop.call_soon_threadsafe(step, number)

    threads = [threading.Thread(target=other, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    await asyncio.wait_for(done, 30)
    for thread in threads:
        thread.join()
    assert counts == [MANY] * 4
