"""The system call of kqueue through `select.kqueue`, for the uncompiled core.

`kevents` is the same in C, and says how the call behaves. Two constants that the `select` module
lacks are told here, and where a system has no EVFILT_USER the engine wakes through a pipe.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
from typing import Any

__all__ = ["Kevents"]

# What only some systems have is looked up without the type checker, which has but one in mind.
_select: Any = select

BATCH = 512

EVFILT_READ: int = _select.KQ_FILTER_READ
EVFILT_WRITE: int = _select.KQ_FILTER_WRITE
EVFILT_VNODE: int = _select.KQ_FILTER_VNODE
EVFILT_PROC: int = _select.KQ_FILTER_PROC
# The rest have none, or not in every release: the engine wakes through a pipe there.
_USER_FILTERS = {"darwin": -10, "freebsd": -11, "dragonfly": -9, "linux": -11}
EVFILT_USER: int = next(
    (number for name, number in _USER_FILTERS.items() if sys.platform.startswith(name)), 0x7F7F
)
EV_ADD: int = _select.KQ_EV_ADD
EV_CLEAR: int = _select.KQ_EV_CLEAR
EV_DELETE: int = _select.KQ_EV_DELETE
EV_EOF: int = _select.KQ_EV_EOF
EV_ERROR: int = _select.KQ_EV_ERROR
EV_ONESHOT: int = _select.KQ_EV_ONESHOT
EV_RECEIPT = 0x40
NOTE_DELETE: int = _select.KQ_NOTE_DELETE
NOTE_WRITE: int = _select.KQ_NOTE_WRITE
NOTE_EXTEND: int = _select.KQ_NOTE_EXTEND
NOTE_ATTRIB: int = _select.KQ_NOTE_ATTRIB
NOTE_EXIT: int = _select.KQ_NOTE_EXIT
NOTE_TRIGGER = 0x01000000

# Queues that a fork left to the parent, on Pythons that would close their number in the child.
_inherited: list[Any] = []


class Kevents:
    """A kqueue, its pending changes and the events of its last wait."""

    def __init__(self) -> None:
        self._queue: Any = _select.kqueue()
        self.fd: int = self._queue.fileno()
        self.user_events: bool = EVFILT_USER != 0x7F7F
        self._changes: list[Any] = []
        self._events: list[Any] = []
        self.ident: int = 0
        self.filter: int = 0
        self.flags: int = 0
        self.fflags: int = 0
        self.mark: int = 0
        self.data: int = 0

    @property
    def pending(self) -> int:
        """How many changes wait to be handed in."""
        return len(self._changes)

    def change(self, ident: int, filter: int, flags: int, fflags: int, mark: int) -> bool:
        """Note a change; True if there is no room for another."""
        self._changes.append(_select.kevent(ident, filter, flags, fflags, 0, mark))
        return len(self._changes) == BATCH

    def submit(self, index: int) -> int:
        """Hand in one of the changes at once; return the errno, or 0."""
        change = self._changes[index]
        self._read(change)
        return self.ask(change.ident, change.filter, change.flags, change.fflags, change.udata)

    def ask(self, ident: int, filter: int, flags: int, fflags: int, mark: int) -> int:
        """Hand in a change of its own at once; return the errno, or 0."""
        change = _select.kevent(ident, filter, flags | EV_RECEIPT, fflags, 0, mark)
        try:
            answers = self._queue.control([change], 1, 0)
        except OSError as error:
            return error.errno or errno.EINVAL
        return int(answers[0].data) if answers and answers[0].flags & EV_ERROR else 0

    def clear(self) -> None:
        """Drop the changes: they were handed in."""
        self._changes.clear()

    def wait(self, timeout: float) -> int:
        """Hand in the changes and wait; the number of events, or -2 to submit one by one."""
        try:
            self._events = self._queue.control(
                self._changes, BATCH, None if timeout < 0 else timeout
            )
        except InterruptedError:
            self._events = []
        except OSError:
            if self._changes:
                return -2
            raise
        self._changes.clear()
        return len(self._events)

    def take(self, index: int) -> None:
        """Read an event of the last wait."""
        self._read(self._events[index])

    def _read(self, event: Any) -> None:
        self.ident = event.ident
        self.filter = event.filter
        self.flags = event.flags
        self.fflags = event.fflags
        self.mark = event.udata
        self.data = event.data

    def trigger(self) -> None:
        """End a wait; from any thread."""
        try:
            self._queue.control([_select.kevent(0, EVFILT_USER, 0, NOTE_TRIGGER)], 0, 0)
        except (OSError, ValueError):
            # A thread may be late: the queue is closed, there is nobody to wake.
            return

    def is_regular(self, fd: int) -> bool:
        """Whether a descriptor is a regular file's."""
        try:
            return stat.S_ISREG(os.fstat(fd).st_mode)
        except OSError:
            return False

    def close(self) -> None:
        """Close the queue."""
        self.fd = -1
        self._queue.close()

    def forget(self) -> None:
        """Let go of a queue that a fork has left to the parent."""
        self.fd = -1
        if not self._queue.closed:
            _inherited.append(self._queue)
