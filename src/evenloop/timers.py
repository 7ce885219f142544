"""The timer heap: pending `TimerHandle`s, the earliest first.

Deadlines are seconds of the loop's clock, as doubles: exactly what `TimerHandle.when()`
returns and `loop.time()` is compared with, so "never early" needs no rounding argument
(a double still resolves a nanosecond after a hundred days of uptime).

A cancelled timer stays in the heap until it comes to the top or until half of the heap is
cancelled, when all of them leave in one pass: cancelling, which is what happens to nearly
every time-out, costs no sift.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    import cython
except ImportError:
    from evenloop import _cython as cython

from evenloop.handles import TimerOwner

if not cython.compiled:
    from evenloop._queues import Heap, put, show_shared

if TYPE_CHECKING:
    from evenloop._queues import HandleQueue
    from evenloop.handles import TimerHandle

__all__ = ["TimerHeap", "pending"]

# Below this many cancelled timers a pass over the heap is not worth its cost.
_PURGE_AT_LEAST = 64


class TimerHeap(TimerOwner):
    """Timers waiting for their time, with cheap cancellation."""

    def __init__(self) -> None:
        self._heap = Heap()
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def push(self, handle: TimerHandle) -> None:
        """Add a timer."""
        handle._owner = self
        self._heap.push(handle)

    def discard(self, handle: TimerHandle) -> None:
        """Note that a timer of this heap is being cancelled."""
        handle._owner = None
        if self._heap.drop_last(handle):
            # The usual fate of a short time-out.
            return
        self._cancelled += 1
        if self._cancelled > _PURGE_AT_LEAST and self._cancelled * 2 > len(self._heap):
            self._heap.keep_scheduled()
            self._cancelled = 0

    def _drop_cancelled_head(self) -> None:
        while self._cancelled and self._heap.first()._owner is None:
            handle = self._heap.pop()
            show_shared(handle)
            self._cancelled -= 1

    def deadline(self) -> float:
        """Return the earliest time, or infinity when nothing is pending."""
        if self._cancelled:
            self._drop_cancelled_head()
        return self._heap.when()

    def collect(self, now: float, ready: HandleQueue) -> None:
        """Move every timer whose time has come by `now` to the end of `ready`, in order."""
        while self._heap.when() <= now:
            handle = self._heap.pop()
            if handle._owner is None:
                show_shared(handle)
                self._cancelled -= 1
            else:
                handle._owner = None
                put(ready, handle)

    def clear(self) -> None:
        """Forget every timer."""
        self._heap.clear()
        self._cancelled = 0


if not cython.compiled:

    def pending(timers: TimerHeap) -> bool:
        """Whether there is anything in a heap, be it a cancelled timer."""
        return len(timers._heap) > 0
