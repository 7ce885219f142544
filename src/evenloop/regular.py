"""Readiness of regular files, which no selector has, on every engine.

A file is readable while unread bytes lie between the descriptor's position and its end. Its
reader runs once a turn as long as that holds; then it sleeps until the system tells that the
file has changed (`engines.changes`), and runs again if it has grown, or once if it was
truncated. Files of which the system does not tell every change are looked at from time to time.
A file can always be written to.

- What is watched is the open file: renamed or deleted, it goes on.
- The watch of the system's is set before the last look at the size, so growth in between is
  not missed.
- A position that is moved back while the reader sleeps is no change of the file's, and wakes
  nobody, as with kqueue; `add_reader()` again does.
- A descriptor that its owner has closed, or that has become another file, is found out when
  there is news of the old one.
"""

from __future__ import annotations

import errno
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from evenloop.engines import engine as _engine
from evenloop.engines.changes import Changes, new_changes
from evenloop.engines.descriptors import file_state
from evenloop.engines.engine import POLL_READ, Op

if TYPE_CHECKING:
    from evenloop.scheduler import Scheduler

__all__ = ["RegularFiles"]

# How often files are looked at that not every change is told of, in seconds.
LOOK = 0.25


class _Followed:
    """A file, and who waits for it."""

    __slots__ = ("due", "identity", "key", "op", "size", "sure")

    def __init__(self, op: Op) -> None:
        self.op = op
        #: What the system calls it; None where nothing is told.
        self.key: Hashable | None = None
        self.sure = False
        #: Run it at the next round, whatever the size is.
        self.due = False
        _, self.size, self.identity = file_state(op.fd)

    def has_news(self) -> bool:
        """Whether there is something unread, or the file has become shorter; may raise OSError."""
        unread, size, identity = file_state(self.op.fd)
        if identity != self.identity:
            raise OSError(errno.EBADF, f"descriptor {self.op.fd} was closed while in use")
        shorter = size < self.size
        self.size = size
        return unread or shorter


class _News(_engine.Op):
    """The request to tell when there is news of files."""

    def __init__(self, home: RegularFiles, fd: int) -> None:
        _engine.Op.__init__(self, POLL_READ, fd, None)
        self.multishot = True
        self.home = home

    def complete(self) -> None:
        """Hear the news."""
        self.home._hear()


class RegularFiles:
    """The readers and writers of one loop that are for regular files."""

    def __init__(self, loop: Scheduler) -> None:
        self._loop = loop
        self._followed: dict[Op, _Followed] = {}
        # To be run in the next round, in order.
        self._ready: dict[_Followed, None] = {}
        self._by_key: dict[Hashable, dict[_Followed, None]] = {}
        # Not every change of these is told.
        self._unsure: dict[_Followed, None] = {}
        self._round_handle: Any = None
        self._timer: Any = None
        self._changes: Changes | None = None
        self._op: _News | None = None
        self._asked = False

    # ---- requests, as an engine's ----------------------------------------------------------

    def start(self, op: Op) -> None:
        """Begin to complete a poll of a regular file, once a turn while it is ready."""
        followed = _Followed(op)
        op.active = True
        self._followed[op] = followed
        if op.kind == POLL_READ:
            self._watch(followed)
        self._run_soon(followed)

    def cancel(self, op: Op) -> None:
        """Take a poll back."""
        followed = self._followed.pop(op, None)
        op.active = False
        if followed is None:
            return
        self._ready.pop(followed, None)
        self._unwatch(followed)

    def close(self) -> None:
        """End everything."""
        for op in self._followed:
            op.active = False
        for each in (self._followed, self._ready, self._by_key, self._unsure):
            each.clear()
        for handle in (self._round_handle, self._timer):
            if handle is not None:
                handle.cancel()
        self._round_handle = self._timer = None
        if self._op is not None and self._op.active:
            self._loop.engine.cancel(self._op)
        self._op = None
        if self._changes is not None:
            self._changes.close()
            self._changes = None

    def after_fork(self) -> None:
        """Watch with the child's own means from now on; the engine did so before."""
        changes = self._changes
        if changes is None:
            return
        if self._op is not None:
            self._loop.engine.cancel(self._op)
        self._op = None
        self._by_key.clear()
        try:
            changes.after_fork()
        except OSError:
            self._changes = None
        for followed in self._followed.values():
            followed.key = None
            if followed.op.kind == POLL_READ:
                self._watch(followed)
                self._run_soon(followed)

    # ---- the system's watches --------------------------------------------------------------

    def _watch(self, followed: _Followed) -> None:
        """Have the system tell of changes, as far as it does."""
        changes = self._changes
        if changes is None and not self._asked:
            self._asked = True
            changes = self._changes = new_changes(self._wake)
        followed.sure = False
        if changes is not None:
            try:
                followed.key, followed.sure = changes.add(followed.op.fd)
            except OSError:
                # Out of watches, or the file is of a kind that has none.
                followed.key = None
            else:
                self._by_key.setdefault(followed.key, {})[followed] = None
                self._listen(changes)
        if not followed.sure:
            self._look_at(followed)

    def _listen(self, changes: Changes) -> None:
        if self._op is None and changes.fileno() >= 0:
            self._op = _News(self, changes.fileno())
            self._loop.engine.start(self._op)

    def _unwatch(self, followed: _Followed) -> None:
        self._unsure.pop(followed, None)
        key, followed.key = followed.key, None
        if key is None:
            return
        sharing = self._by_key.get(key)
        if sharing is not None:
            sharing.pop(followed, None)
            if not sharing:
                del self._by_key[key]
                if self._changes is not None:
                    self._changes.remove(key)

    def _wake(self) -> None:
        """Hear the news soon; called in another thread."""
        try:
            self._loop.call_soon_threadsafe(self._hear)
        except RuntimeError:
            # The loop was closed this moment.
            return

    def _hear(self) -> None:
        changes = self._changes
        if changes is None:
            return
        news = changes.collect()
        for key in self._by_key if news.all else news.changed:
            for followed in list(self._by_key.get(key, ())):
                self._look(followed)
        for key in news.lost:
            for followed in self._by_key.pop(key, ()):
                followed.key = None
                followed.sure = False
                self._look_at(followed)

    def _look(self, followed: _Followed) -> None:
        """Run a reader soon if there is something for it."""
        if followed in self._ready:
            return
        try:
            if followed.has_news():
                followed.due = True
                self._run_soon(followed)
        except OSError as error:
            self._fail(followed, error)

    def _fail(self, followed: _Followed, error: OSError) -> None:
        op = followed.op
        self.cancel(op)
        op.error = error
        op.complete()

    # ---- looking from time to time ---------------------------------------------------------

    def _look_at(self, followed: _Followed) -> None:
        self._unsure[followed] = None
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK, self._look_at_all)

    def _look_at_all(self) -> None:
        self._timer = None
        for followed in list(self._unsure):
            if followed in self._unsure:
                self._look(followed)
        if self._unsure and self._timer is None:
            self._timer = self._loop.call_later(LOOK, self._look_at_all)

    # ---- the rounds ------------------------------------------------------------------------

    def _run_soon(self, followed: _Followed) -> None:
        self._ready[followed] = None
        if self._round_handle is None:
            self._round_handle = self._loop.call_soon(self._round)

    def _round(self) -> None:
        """Complete what is ready; once a turn while anything is."""
        self._round_handle = None
        try:
            for followed in list(self._ready):
                if followed in self._ready:
                    self._complete(followed)
        finally:
            if self._ready and self._round_handle is None:
                self._round_handle = self._loop.call_soon(self._round)

    def _complete(self, followed: _Followed) -> None:
        op = followed.op
        if op.kind == POLL_READ and not followed.due:
            try:
                if not followed.has_news():
                    del self._ready[followed]
                    return
            except OSError as error:
                self._fail(followed, error)
                return
        followed.due = False
        op.complete()
