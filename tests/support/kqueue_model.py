"""A small model of kqueue: what the manual pages say, over real descriptors of Linux.

It stands in for `select.kqueue`, so the uncompiled engine and `selectors.KqueueSelector` run on
it. It is slow and simple: each wait looks at every watch. Where the systems differ, `Answers` says
which one is played. The statements are those of kqueue(2) of FreeBSD, NetBSD and macOS, and of
what libuv, mio, trio and CPython have found out; docs/porting.md names them.
"""

from __future__ import annotations

import dataclasses
import errno
import importlib.util
import os
import select
import selectors
import stat
import threading
import time
from collections.abc import Iterable
from typing import Any

from tests.support.libkqueue import CONSTANTS, kevent

VARIABLE = "EVENLOOP_TEST_KQUEUE_MODEL"

READ = CONSTANTS["KQ_FILTER_READ"]
WRITE = CONSTANTS["KQ_FILTER_WRITE"]
VNODE = CONSTANTS["KQ_FILTER_VNODE"]
PROC = CONSTANTS["KQ_FILTER_PROC"]
USER = -11
ADD, DELETE, ENABLE, DISABLE = 0x1, 0x2, 0x4, 0x8
ONESHOT, CLEAR, RECEIPT, DISPATCH = 0x10, 0x20, 0x40, 0x80
EOF, ERROR = 0x8000, 0x4000
NOTE_TRIGGER = 0x01000000
NOTE_EXIT = CONSTANTS["KQ_NOTE_EXIT"]
NOTE_DELETE, NOTE_WRITE, NOTE_EXTEND, NOTE_ATTRIB = 1, 2, 4, 8

# How often files are looked at while somebody waits for them, in seconds.
_GLANCE = 0.005


@dataclasses.dataclass
class Answers:
    """How one system answers, where they differ."""

    #: Character devices, but for terminals of a pair, are refused with EINVAL.
    refuses_devices: bool = False
    #: The errno for EVFILT_WRITE on a pipe whose reader is gone; 0: watched, with EV_EOF.
    broken_pipe: int = 0
    #: ... and it is not an event's: the call itself fails.
    broken_pipe_fails_call: bool = False
    #: A child that has ended and was not collected cannot be watched: ESRCH.
    dead_child_is_gone: bool = False
    #: What EV_DELETE of a watch that is not there says, where the descriptor is closed.
    delete_closed: int = errno.EBADF
    #: Regular files: always writable, or reported once.
    always_writable: bool = True
    #: Named pipes do not tell that their last writer has gone.
    fifo_ends_silently: bool = False
    #: EVFILT_USER: "works", "missing" (EINVAL) or "silent" (accepted and never told).
    user_events: str = "works"


SYSTEMS = {
    "freebsd": Answers(broken_pipe=errno.EPIPE),
    "macos": Answers(
        refuses_devices=True,
        broken_pipe=errno.EPIPE,
        broken_pipe_fails_call=True,
        dead_child_is_gone=True,
        delete_closed=errno.ENOENT,
        always_writable=False,
        fifo_ends_silently=True,
    ),
    "netbsd": Answers(
        broken_pipe=errno.EBADF,
        always_writable=False,
        user_events="missing",
    ),
}


class _Knote:
    """One watch."""

    def __init__(self, change: kevent) -> None:
        self.ident = change.ident
        self.filter = change.filter
        self.flags = change.flags & ~(ADD | RECEIPT)
        self.fflags = change.fflags
        self.udata = change.udata
        self.disabled = False
        self.identity = _identity(change.ident) if change.filter in (READ, WRITE, VNODE) else None
        self.kind = stat.S_IFMT(os.fstat(change.ident).st_mode) if self.identity else 0
        self.state = _vnode_state(change.ident) if change.filter == VNODE else None
        self.triggered = False
        self.told = False
        self.pidfd = -1


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        state = os.fstat(fd)
    except OSError:
        return None
    return state.st_dev, state.st_ino


def _vnode_state(fd: int) -> tuple[int, int, int]:
    state = os.fstat(fd)
    return state.st_size, state.st_mtime_ns, state.st_nlink


def _polled(fd: int, events: int) -> int:
    poller = select.poll()
    poller.register(fd, events)
    return next((found for _, found in poller.poll(0)), 0)


class kqueue:  # noqa: N801
    """As `select.kqueue` is."""

    answers = SYSTEMS["freebsd"]

    def __init__(self) -> None:
        # What makes it a descriptor, and what wakes a wait in another thread.
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._process = os.getpid()
        self._knotes: dict[tuple[int, int], _Knote] = {}
        self._lock = threading.Lock()

    def fileno(self) -> int:
        if self.closed:
            raise ValueError("I/O operation on closed kqueue object")
        return self._fd

    @property
    def closed(self) -> bool:
        return self._fd < 0

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            for knote in self._knotes.values():
                self._forget(knote)
            os.close(fd)

    def __del__(self) -> None:
        self.close()

    def control(
        self, changelist: Iterable[kevent] | None, max_events: int, timeout: float | None = None
    ) -> list[kevent]:
        if self._process != os.getpid():
            # Not inherited by fork: the number means nothing there.
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        fd = self.fileno()
        answers: list[kevent] = []
        for change in changelist or ():
            with self._lock:
                code = self._apply(change)
            if code == errno.EPIPE and self.answers.broken_pipe_fails_call:
                raise OSError(code, os.strerror(code))
            if code == 0 and not change.flags & RECEIPT:
                continue
            if len(answers) == max_events:
                raise OSError(code, os.strerror(code))
            answers.append(
                kevent(change.ident, change.filter, ERROR, change.fflags, code, change.udata)
            )
        if changelist:
            os.eventfd_write(fd, 1)  # another thread may wait
        if answers or max_events == 0:
            return answers
        return self._wait(fd, max_events, timeout)

    # ---- changes ---------------------------------------------------------------------------

    def _apply(self, change: kevent) -> int:
        """Carry out a change; return its errno, or 0."""
        key = change.ident, change.filter
        if change.filter == USER and self.answers.user_events == "missing":
            return errno.EINVAL
        self._drop_closed([key])
        knote = self._knotes.get(key)
        if change.flags & DELETE:
            if knote is None:
                closed = change.filter in (READ, WRITE, VNODE) and not _identity(change.ident)
                return self.answers.delete_closed if closed else errno.ENOENT
            self._forget(self._knotes.pop(key))
            return 0
        if knote is None:
            if not change.flags & ADD:
                return errno.ENOENT
            code = self._refusal(change)
            if code:
                return code
            knote = self._knotes[key] = _Knote(change)
            if change.filter == PROC:
                knote.pidfd = os.pidfd_open(change.ident)
        elif change.flags & ADD:
            knote.udata = change.udata
            knote.flags = change.flags & ~(ADD | RECEIPT)
        if change.flags & (DISABLE | ENABLE):
            knote.disabled = bool(change.flags & DISABLE)
        if change.filter == USER and change.fflags & NOTE_TRIGGER:
            knote.triggered = True
        return 0

    def _refusal(self, change: kevent) -> int:
        """Why something cannot be watched: an errno, or 0."""
        if change.filter == PROC:
            try:
                ended = os.waitid(os.P_PID, change.ident, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            except ChildProcessError:
                return errno.ESRCH
            return errno.ESRCH if ended and self.answers.dead_child_is_gone else 0
        if change.filter == USER:
            return 0
        if change.filter not in (READ, WRITE, VNODE):
            return errno.EINVAL
        try:
            state = os.fstat(change.ident)
        except OSError:
            return errno.EBADF
        # The controlling terminal by its own name too; /dev/ttys003 and the like are taken.
        refusable = stat.S_ISCHR(state.st_mode) and os.major(state.st_rdev) != 136
        if refusable and self.answers.refuses_devices:
            return errno.EINVAL
        pipe = change.filter == WRITE and stat.S_ISFIFO(state.st_mode)
        if pipe and _polled(change.ident, select.POLLOUT) & select.POLLERR:
            return self.answers.broken_pipe
        if change.filter == VNODE and not stat.S_ISREG(state.st_mode):
            return errno.EINVAL
        return 0

    def _drop_closed(self, keys: Iterable[tuple[int, int]]) -> None:
        """A close drops the watches of the descriptor, and tells nobody."""
        for key in keys:
            knote = self._knotes.get(key)
            if knote is None or knote.identity is None:
                continue
            if _identity(knote.ident) != knote.identity:
                self._forget(self._knotes.pop(key))

    def _forget(self, knote: _Knote) -> None:
        if knote.pidfd >= 0:
            os.close(knote.pidfd)
            knote.pidfd = -1

    # ---- waiting ---------------------------------------------------------------------------

    def _wait(self, fd: int, room: int, timeout: float | None) -> list[kevent]:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock:
                self._drop_closed(list(self._knotes))
                found = self._collect(room)
                poller, glance = self._poller(fd)
            if found:
                return found
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return []
            if glance:
                left = _GLANCE if left is None else min(left, _GLANCE)
            # poll() counts in milliseconds; what is left of the last one is slept.
            poller.poll(None if left is None else int(left * 1000))
            if left is not None and left < 0.001:
                time.sleep(left)
            try:
                os.eventfd_read(fd)
            except BlockingIOError:
                pass

    def _poller(self, fd: int) -> tuple[Any, bool]:
        """What to wait with until something may have happened, and whether to look in between."""
        wanted = {fd: select.POLLIN}
        glance = False
        for knote in self._knotes.values():
            if knote.disabled:
                continue
            if knote.filter == PROC:
                wanted[knote.pidfd] = select.POLLIN
            elif knote.filter == VNODE or stat.S_ISREG(knote.kind) or self._is_silent(knote):
                glance = True
            elif knote.filter == READ:
                wanted[knote.ident] = wanted.get(knote.ident, 0) | select.POLLIN | select.POLLRDHUP
            elif knote.filter == WRITE:
                wanted[knote.ident] = wanted.get(knote.ident, 0) | select.POLLOUT
        poller = select.poll()
        for number, events in wanted.items():
            poller.register(number, events)
        return poller, glance

    def _collect(self, room: int) -> list[kevent]:
        found = []
        for key, knote in list(self._knotes.items()):
            if len(found) == room:
                break
            event = None if knote.disabled else self._look(knote)
            if event is None:
                continue
            found.append(event)
            if knote.flags & ONESHOT:
                self._forget(self._knotes.pop(key))
            elif knote.flags & DISPATCH:
                knote.disabled = True
            else:
                # Who was served goes to the end: all have their turn.
                self._knotes[key] = self._knotes.pop(key)
        return found

    def _look(self, knote: _Knote) -> kevent | None:
        """Return the event of a watch, if there is one."""
        flags, fflags, data = knote.flags, 0, 0
        if knote.filter == USER:
            if not knote.triggered or self.answers.user_events == "silent":
                return None
            knote.triggered = not knote.flags & CLEAR
        elif knote.filter == PROC:
            ended = os.waitid(os.P_PIDFD, knote.pidfd, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if ended is None:
                return None
            # Told once: the process is gone.
            flags, fflags = flags | EOF | ONESHOT, NOTE_EXIT
            knote.flags |= ONESHOT
        elif knote.filter == VNODE:
            state = _vnode_state(knote.ident)
            old = knote.state or state
            fflags = (
                (NOTE_WRITE if state[1] != old[1] else 0)
                | (NOTE_EXTEND if state[0] > old[0] else 0)
                | (NOTE_ATTRIB if state[0] < old[0] else 0)
                | (NOTE_DELETE if state[2] < old[2] else 0)
            ) & knote.fflags
            if not fflags:
                return None
            knote.state = state
        elif stat.S_ISREG(knote.kind):
            return self._look_at_file(knote)
        else:
            events = select.POLLIN | select.POLLRDHUP if knote.filter == READ else select.POLLOUT
            ready = _polled(knote.ident, events)
            if self._is_silent(knote) and not ready & select.POLLIN:
                return None
            if not ready:
                return None
            if ready & (select.POLLHUP | select.POLLERR | select.POLLRDHUP):
                flags |= EOF
        return kevent(knote.ident, knote.filter, flags, fflags, data, knote.udata)

    def _look_at_file(self, knote: _Knote) -> kevent | None:
        if knote.filter == READ:
            data = os.fstat(knote.ident).st_size - os.lseek(knote.ident, 0, os.SEEK_CUR)
            if data == 0:
                return None
            return kevent(knote.ident, READ, knote.flags, 0, data, knote.udata)
        if knote.told and not self.answers.always_writable:
            return None
        knote.told = True
        return kevent(knote.ident, WRITE, knote.flags, 0, 0, knote.udata)

    def _is_silent(self, knote: _Knote) -> bool:
        return (
            self.answers.fifo_ends_silently
            and knote.filter == READ
            and stat.S_ISFIFO(knote.kind)
            and os.fstat(knote.ident).st_nlink > 0
            and not os.readlink(f"/proc/self/fd/{knote.ident}").startswith("pipe:")
        )


def install_class(queue: type) -> None:
    """Put a class into `select`, with what goes with it: constants, and a selector."""
    module: Any = select
    module.kqueue, module.kevent = queue, kevent
    for name, value in CONSTANTS.items():
        setattr(module, name, value)
    if not hasattr(selectors, "KqueueSelector"):
        # The class is made when its module is, where there is a kqueue.
        spec = importlib.util.find_spec("selectors")
        assert spec is not None and spec.loader is not None
        again: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(again)
        selectors.KqueueSelector = again.KqueueSelector


def uninstall() -> None:
    """Take everything out again."""
    for name in ("kqueue", "kevent", *CONSTANTS):
        if hasattr(select, name):
            delattr(select, name)
    if hasattr(selectors, "KqueueSelector"):
        del selectors.KqueueSelector


def install() -> None:
    """Play the system that the environment names, if it names one."""
    system = os.environ.get(VARIABLE)
    if system:
        kqueue.answers = SYSTEMS[system]
        install_class(kqueue)
