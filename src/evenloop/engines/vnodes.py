"""Changes of files through kqueue's vnode filter.

A queue of its own, whatever the engine is: a queue's descriptor is readable when it has events,
to every selector and to another queue. A watch belongs to a descriptor and ends with it. After
a fork the child has no queue: the system closes it.
"""

from __future__ import annotations

import select
from collections.abc import Hashable
from typing import Any

from evenloop.engines.changes import Changes, News

__all__ = ["Vnodes"]

# Only some systems have it, and the type checker has but one in mind.
_select: Any = select
_BATCH = 512


class Vnodes(Changes):
    """A kqueue that watches files."""

    name = "kqueue"

    def __init__(self) -> None:
        self._queue: Any = _select.kqueue()

    def add(self, fd: int) -> tuple[Hashable, bool]:
        """Watch an open file."""
        # A truncation shows as changed attributes on some systems, as a write on others.
        what = _select.KQ_NOTE_WRITE | _select.KQ_NOTE_EXTEND | _select.KQ_NOTE_ATTRIB
        self._change(fd, _select.KQ_EV_ADD | _select.KQ_EV_CLEAR, what)
        return fd, True

    def remove(self, key: Hashable) -> None:
        """Watch a file no more."""
        try:
            self._change(key, _select.KQ_EV_DELETE, 0)
        except OSError:
            # Closed by its owner, and the watch with it.
            return

    def _change(self, fd: Any, flags: int, what: int) -> None:
        event = _select.kevent(fd, _select.KQ_FILTER_VNODE, flags, what)
        self._queue.control([event], 0, 0)

    def fileno(self) -> int:
        """Return the queue's descriptor."""
        return self._queue.fileno()  # type: ignore[no-any-return]

    def collect(self) -> News:
        """Return the news."""
        return News([event.ident for event in self._queue.control(None, _BATCH, 0)], [])

    def after_fork(self) -> None:
        """Begin anew."""
        self._queue = _select.kqueue()

    def close(self) -> None:
        """Release the queue."""
        self._queue.close()
