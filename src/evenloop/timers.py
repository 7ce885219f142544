"""The timer heap: pending `TimerHandle`s, the earliest first.

Deadlines are seconds of the loop's clock, as doubles: exactly what `TimerHandle.when()`
returns and `loop.time()` is compared with, so "never early" needs no rounding argument
(a double still resolves a nanosecond after a hundred days of uptime).

A cancelled timer stays in the heap until it comes to the top or until half of the heap is
cancelled, when all of them leave in one pass: cancelling, which is what happens to nearly
every time-out, costs no sift.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

try:
    import cython
except ImportError:
    from evenloop import _cython as cython

if not cython.compiled:
    from heapq import heapify, heappop, heappush

if TYPE_CHECKING:
    from evenloop.handles import Handle, TimerHandle

__all__ = ["TimerHeap"]

# Below this many cancelled timers a pass over the heap is not worth its cost.
_PURGE_AT_LEAST = 64

_NEVER = math.inf


class TimerHeap:
    """Timers waiting for their time, with cheap cancellation."""

    def __init__(self) -> None:
        self._heap: list[TimerHandle] = []
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def push(self, handle: TimerHandle) -> None:
        """Add a timer."""
        handle._scheduled = True
        heappush(self._heap, handle)

    def discard(self, handle: TimerHandle) -> None:
        """Note that a timer of this heap is being cancelled."""
        handle._scheduled = False
        count = len(self._heap)
        if count > 0 and self._heap[count - 1] is handle:
            # The last leaf can leave on its own: the usual fate of a short time-out.
            self._heap.pop()
            return
        self._cancelled += 1
        if self._cancelled > _PURGE_AT_LEAST and self._cancelled * 2 > len(self._heap):
            self._purge()

    def _purge(self) -> None:
        # `_scheduled` went False at discard(): the handle may not be marked cancelled yet.
        self._heap = [handle for handle in self._heap if handle._scheduled]
        heapify(self._heap)
        self._cancelled = 0

    def _drop_cancelled_head(self) -> None:
        while self._cancelled and self._heap:
            handle = self._heap[0]
            if handle._scheduled:
                return
            heappop(self._heap)
            self._cancelled -= 1

    def deadline(self) -> float:
        """Return the earliest time, or infinity when nothing is pending."""
        if self._cancelled:
            self._drop_cancelled_head()
        if not self._heap:
            return _NEVER
        return self._heap[0]._when

    def collect(self, now: float, ready: list[Handle]) -> None:
        """Move every timer whose time has come by `now` to the end of `ready`, in order."""
        while self._heap:
            handle = self._heap[0]
            if handle._scheduled:
                if handle._when > now:
                    return
                handle._scheduled = False
                ready.append(handle)
            else:
                self._cancelled -= 1
            heappop(self._heap)

    def clear(self) -> None:
        """Forget every timer."""
        for handle in self._heap:
            handle._scheduled = False
        self._heap.clear()
        self._cancelled = 0
