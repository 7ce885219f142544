"""Where handles wait: the queue of those that are ready, and the heap of the timers.

The uncompiled core takes what the standard library has. Compiled modules take the C twins in
`_queues.pyx`, which call nothing and compare without looking into an object.
"""

from __future__ import annotations

import math
from collections import deque
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evenloop.handles import Handle, TimerHandle

__all__ = ["HandleQueue", "Heap", "put", "show_shared", "size", "take", "waiting"]

HandleQueue = deque["Handle"]
# Functions, for the C twins of these are inlined.
size = len
put = deque.append
take = deque.popleft


def show_shared(handle: Handle) -> None:
    """Show a handle to the garbage collector if it is held elsewhere; only compiled."""


class Heap:
    """Timers, the earliest first; those of equal time in the order that they were made."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, TimerHandle]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def when(self) -> float:
        """Return the time of the first timer, or infinity."""
        return self._entries[0][0] if self._entries else math.inf

    def first(self) -> TimerHandle:
        """Return the first timer; there must be one."""
        return self._entries[0][2]

    def push(self, handle: TimerHandle) -> None:
        """Add a timer."""
        heappush(self._entries, (handle._when, handle._order, handle))

    def pop(self) -> TimerHandle:
        """Remove and return the first timer; there must be one."""
        return heappop(self._entries)[2]

    def drop_last(self, handle: TimerHandle) -> bool:
        """Remove a timer if it is in the last place, from where it can go without more ado."""
        if not self._entries or self._entries[-1][2] is not handle:
            return False
        self._entries.pop()
        return True

    def keep_scheduled(self) -> None:
        """Remove the timers that nobody owns any more."""
        self._entries = [entry for entry in self._entries if entry[2]._owner is not None]
        heapify(self._entries)

    def clear(self) -> None:
        """Remove and disown every timer."""
        for entry in self._entries:
            entry[2]._owner = None
        self._entries.clear()


def waiting(heap: Heap) -> bool:
    """Whether any timer is there, be it a cancelled one."""
    return len(heap) > 0
