"""The `kqueue` engine: readiness on macOS and the BSDs.

How kqueue behaves, and what follows:

- Changes travel with the wait. So what `reconcile()` settles costs no call of its own; only a
  change that somebody wants to hear about at once (`add_reader`) is handed in by itself.
- Reading and writing are two filters with an event each, and both are level-triggered.
- Every watch carries a word of ours: the generation of its slot, so an event of an earlier life
  of a descriptor is recognised. Ours are taken down before a close; of what the user closes the
  kernel drops them, so a watch to remove may be gone (EBADF, ENOENT).
- EV_EOF comes with data still unread: it means no more than "readable", and `recv` finds the end
  after the data. With a failed connection it brings the error, which a library on Linux takes
  away from SO_ERROR; so that is where `CONNECT` looks too.
- The end of a child comes as an event (NOTE_EXIT), once: it needs no descriptor, thread or
  SIGCHLD. It can come a moment before `waitpid(WNOHANG)` knows, so that waits; and a child that
  is gone already cannot be watched (ESRCH).
- EVFILT_USER wakes without a descriptor. Where that is missing, or defined and does not work,
  a pipe does.
- A forked child has no kqueue: it makes a new one and watches everything anew.
- Waits count in nanoseconds. EVFILT_TIMER would be a change per wait, and no more exact.
- What the kernel refuses, or tells of in its own way, is watched otherwise: see `apart`.

Compiled, the system call is C (`kevents`) and so are the requests of streams (`posix`).
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Any

try:
    import cython
except ImportError:
    from evenloop import _cython as cython

from evenloop.engines import descriptors
from evenloop.engines.apart import Aside, Broken, Device, RegularFile

if not cython.compiled:
    from evenloop.engines.engine import CONNECT, EXIT, Op
    from evenloop.engines.kevents_select import (
        EV_ADD,
        EV_CLEAR,
        EV_DELETE,
        EV_EOF,
        EV_ERROR,
        EV_ONESHOT,
        EVFILT_PROC,
        EVFILT_READ,
        EVFILT_USER,
        EVFILT_VNODE,
        EVFILT_WRITE,
        NOTE_ATTRIB,
        NOTE_DELETE,
        NOTE_EXIT,
        NOTE_EXTEND,
        NOTE_WRITE,
        Kevents,
    )
    from evenloop.engines.readiness import READABLE, WRITABLE, Slot
    from evenloop.engines.readiness import ReadinessEngine as PosixEngine

__all__ = ["KqueueEngine"]

# A day, in seconds; longer waits are taken in pieces.
_LONGEST_WAIT = 86400.0

# Answers to "watch this" that mean: not in this way.
_REFUSALS = frozenset((errno.EINVAL, errno.EPERM, errno.ENODEV, errno.EOPNOTSUPP, errno.ENOTSUP))

# Whether EVFILT_USER works; found out by the first engine of the process.
_user_events_work: bool | None = None

_os: Any = os


class KqueueEngine(PosixEngine):
    """Readiness through kqueue."""

    name = "kqueue"
    exits_by_pid = True
    #: Polls of regular files are readable while something is unread: `watch_file()`.
    regular_files = "watched"

    def __init__(self) -> None:
        PosixEngine.__init__(self)
        self._kevents = Kevents()
        self._count = 0
        # Changes are being gathered for the next wait.
        self._gathering = False
        # Something is watched that cannot be removed by its number: take a new kqueue.
        self._stale = False
        # Requests for the end of a child, by process id.
        self._children: dict[int, Op] = {}
        # Those that have their outcome and are to be completed.
        self._ended: list[Op] = []
        # Slots that are watched in another way and have to be looked at before the next wait.
        self._awake: dict[int, Slot] = {}
        # What was found by that: pairs of slot and readiness, to be delivered.
        self._levels: list[tuple[Slot, int]] = []
        self._aside: Aside | None = None
        self._pipe_reader = self._pipe_writer = -1
        self._user_events = False
        self._prepare_wake()

    # ---- telling the kernel ----------------------------------------------------------------

    def update(self, slot: Slot, wanted: int) -> None:
        """Make the kernel watch a descriptor for `wanted`; at once, or with the next wait."""
        self.changes += 1
        if slot.note is not None:
            self._update_apart(slot, wanted)
            return
        if wanted and not slot.armed and self._needs_other_way(slot):
            self._update_apart(slot, wanted)
            return
        # A user's descriptor may have been closed, and its watches with it.
        adding = wanted if slot.owner is None else wanted & ~slot.armed
        removing = slot.armed & ~wanted
        slot.armed = wanted
        mark = slot.generation
        if adding & READABLE:
            self._change(slot.fd, EVFILT_READ, EV_ADD, mark)
        elif removing & READABLE:
            self._change(slot.fd, EVFILT_READ, EV_DELETE, mark)
        if adding & WRITABLE:
            self._change(slot.fd, EVFILT_WRITE, EV_ADD, mark)
        elif removing & WRITABLE:
            self._change(slot.fd, EVFILT_WRITE, EV_DELETE, mark)
        if not self._gathering:
            code = self._settle(slot)
            if code:
                slot.armed = 0
                raise OSError(code, os.strerror(code))

    def _change(self, ident: int, filter: int, flags: int, mark: int) -> None:
        if self._kevents.change(ident, filter, flags, 0, mark):
            self._settle(None)

    def _settle(self, slot: Slot | None) -> int:
        """Hand in each change by itself; return the errno of one of `slot`, others' are failed."""
        kevents = self._kevents
        outcome = 0
        for index in range(kevents.pending):
            code = kevents.submit(index)
            if code == 0 or kevents.flags & EV_DELETE:
                # What is to be removed may be gone.
                continue
            fd = kevents.ident
            concerned = self._slots[fd] if fd < len(self._slots) else None
            if concerned is None or concerned.generation != kevents.mark:
                continue
            code = self._judge(concerned, code)
            if code and concerned is slot:
                outcome = code
            elif code:
                self._refuse(concerned, code)
        kevents.clear()
        return outcome

    def _judge(self, slot: Slot, code: int) -> int:
        """The kernel refused to watch: return 0 if there is another way, else the errno."""
        try:
            kind = stat.S_IFMT(os.fstat(slot.fd).st_mode)
        except OSError:
            return errno.EBADF
        if slot.note is not None:
            return 0
        if code == errno.EPIPE or code == errno.EBADF:
            # The descriptor is there; what is gone is its other end.
            slot.note = Broken()
        elif code in _REFUSALS and kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFSOCK):
            slot.note = self._device(slot.fd)
        else:
            return code
        self._update_apart(slot, slot.armed)
        return 0

    def _refuse(self, slot: Slot, code: int) -> None:
        slot.armed = 0
        self._fail(slot, OSError(code, os.strerror(code)))

    # ---- what is watched in another way ----------------------------------------------------

    def _needs_other_way(self, slot: Slot) -> bool:
        """Whether kqueue would take this descriptor and not tell what a poll does."""
        op = slot.reader if slot.reader is not None else slot.writer
        if op is None or op.sock is not None:
            return False
        if self._kevents.is_regular(slot.fd):
            return bool(self.watch_file(slot))
        if descriptors.NAMED_PIPES_MISLEAD and descriptors.has_name(slot.fd):
            slot.note = self._device(slot.fd)
            return True
        return False

    def watch_file(self, slot: Slot) -> bool:
        """Have the growth and the truncation of a regular file told; True if that is arranged."""
        news = NOTE_WRITE | NOTE_EXTEND | NOTE_ATTRIB | NOTE_DELETE
        if self._kevents.ask(slot.fd, EVFILT_VNODE, EV_ADD | EV_CLEAR, news, slot.generation):
            # A file system without such events: the kernel's own idea of readiness must do.
            return False
        slot.note = RegularFile(slot.fd)
        return True

    def _device(self, fd: int) -> Device:
        if self._aside is None:
            self._aside = Aside(self.wake)
        return Device(self._aside, fd)

    def _update_apart(self, slot: Slot, wanted: int) -> None:
        slot.armed = wanted
        if wanted:
            self._awake[slot.fd] = slot
            return
        if self._awake.get(slot.fd) is slot:
            del self._awake[slot.fd]
        note, slot.note = slot.note, None
        note.stop()
        # Whatever else of it is watched may be gone.
        for filter in (EVFILT_READ, EVFILT_WRITE, EVFILT_VNODE):
            self._change(slot.fd, filter, EV_DELETE, slot.generation)
        if not self._gathering:
            self._settle(None)

    def _look_apart(self) -> None:
        """Note what the descriptors are ready for that are not watched by the kernel alone."""
        if self._aside is not None:
            while self._aside.reports:
                device = self._aside.reports.popleft()
                slot = self._slots[device.fd] if device.fd < len(self._slots) else None
                if slot is not None and slot.note is device:
                    self._awake[slot.fd] = slot
        for slot in list(self._awake.values()):
            try:
                ready = slot.note.look(slot.armed)
            except OSError as error:
                self._update_apart(slot, 0)
                self._fail(slot, error)
                continue
            if ready:
                self._levels.append((slot, ready))
            else:
                del self._awake[slot.fd]

    # ---- the end of children ---------------------------------------------------------------

    def start(self, op: Op) -> bool:
        """Begin a request; an EXIT without a descriptor goes by its process id."""
        if op.kind == EXIT and op.fd < 0:
            return self._start_exit(op)
        return PosixEngine.start(self, op)

    def cancel(self, op: Op) -> bool:
        """Take a request back: always free at once."""
        if op.kind == EXIT and op.fd < 0:
            if op.active:
                op.active = False
                self._children.pop(op.size, None)
                self._kevents.ask(op.size, EVFILT_PROC, EV_DELETE, 0, 0)
            return True
        return bool(PosixEngine.cancel(self, op))

    def _start_exit(self, op: Op) -> bool:
        op.result = op.error = None
        code = self._kevents.ask(op.size, EVFILT_PROC, EV_ADD | EV_ONESHOT, NOTE_EXIT, 0)
        if code == 0:
            op.active = True
            self._children[op.size] = op
            return False
        if code != errno.ESRCH:
            raise OSError(code, os.strerror(code))
        self._collect(op)
        return True

    def _collect(self, op: Op) -> None:
        """Take the status of a child that has ended, if only just."""
        try:
            op.result = os.waitstatus_to_exitcode(os.waitpid(op.size, 0)[1])
        except OSError as error:
            op.error = error

    def _exited(self, pid: int) -> None:
        op = self._children.pop(pid, None)
        if op is not None:
            self._collect(op)
            self._ended.append(op)

    # ---- waiting ---------------------------------------------------------------------------

    def wait(self, timeout: float) -> bool:
        """Hand in what has changed and wait, in one call."""
        self._count = 0
        self._levels.clear()
        if self._stale:
            self._renew()
        if self._dirty:
            self._gathering = True
            try:
                self.reconcile()
            finally:
                self._gathering = False
        self.waits += 1
        count = -1
        while count < 0:
            if self._awake or self._aside is not None:
                self._look_apart()
            if self._failures or self._levels or self._ended:
                timeout = 0.0
            elif timeout > _LONGEST_WAIT:
                timeout = _LONGEST_WAIT
            count = self._kevents.wait(timeout)
            if count < 0:
                # The whole call failed for one of the changes: find out which.
                self._settle(None)
            elif count > 0:
                self._kevents.take(0)
                if self._kevents.flags & EV_ERROR:
                    # Changes were refused, so it has not waited.
                    self._rejected(count)
                    count = -1
        self._count = count
        return count > 0 or bool(self._failures or self._levels or self._ended)

    def _rejected(self, count: int) -> None:
        """Deal with the changes that were refused; such a call brings no events."""
        kevents = self._kevents
        for index in range(count):
            kevents.take(index)
            code = kevents.data
            fd = kevents.ident
            slot = self._slots[fd] if fd < len(self._slots) else None
            if slot is None or slot.generation != kevents.mark or code == errno.ENOENT:
                continue
            bit = READABLE if kevents.filter == EVFILT_READ else WRITABLE
            # Not armed: it was to be removed, and may be gone.
            if slot.armed & bit:
                code = self._judge(slot, code)
                if code:
                    self._refuse(slot, code)

    def deliver(self) -> None:
        """Dispatch the events of the last wait."""
        # Level-triggered: what an interrupt leaves undelivered will be reported again.
        kevents = self._kevents
        count = self._count
        index = 0
        self._count = 0
        if self._failures:
            self._deliver_failures()
        if self._ended:
            self._complete_ended()
        if self._levels:
            self._take_levels()
        try:
            while index < count:
                kevents.take(index)
                index += 1
                filter = kevents.filter
                fd = kevents.ident
                if filter == EVFILT_USER:
                    continue
                if filter == EVFILT_PROC:
                    self._exited(fd)
                    self._complete_ended()
                    continue
                if fd == self._pipe_reader and kevents.mark == 0:
                    self._drain()
                    continue
                slot = self._slots[fd] if fd < len(self._slots) else None
                if slot is None or slot.generation != kevents.mark:
                    self._unknown(slot, fd, filter)
                    continue
                self.events += 1
                if filter == EVFILT_READ:
                    self.dispatch(slot, READABLE)
                elif filter == EVFILT_WRITE:
                    if kevents.flags & EV_EOF and kevents.fflags and slot.writer is not None:
                        self._note_failure(slot.writer)
                    self.dispatch(slot, WRITABLE)
                elif slot.note is not None:
                    # A file has changed.
                    self._awake[slot.fd] = slot
        except BaseException:
            self._keep(index, count)
            raise
        if self._aside is not None and self._aside.reports:
            # What has ended the wait, as like as not.
            self._look_apart()
            self._take_levels()

    def _note_failure(self, op: Op) -> None:
        if op.kind == CONNECT:
            op.result = self._kevents.fflags

    def _keep(self, index: int, count: int) -> None:
        """Keep the ends of children that an interrupt left undelivered: they come but once."""
        for left in range(index, count):
            self._kevents.take(left)
            if self._kevents.filter == EVFILT_PROC:
                self._exited(self._kevents.ident)

    def _complete_ended(self) -> None:
        while self._ended:
            op = self._ended.pop(0)
            if op.active:
                op.active = False
                op.complete()

    def _take_levels(self) -> None:
        levels, self._levels = self._levels, []
        for slot, ready in levels:
            if self._slots[slot.fd] is slot:
                self.events += 1
                self.dispatch(slot, ready)

    def _unknown(self, slot: Slot | None, ident: int, filter: int) -> None:
        """An event of a file that nobody here knows any more."""
        if slot is not None and slot.born == self.waits:
            # Closed since this batch was collected: all is well.
            return
        if slot is not None and slot.armed:
            # On Linux a library keeps it as long as the file has any descriptor.
            self._stale = True
            return
        self._kevents.ask(ident, filter, EV_DELETE, 0, 0)

    # ---- being woken -----------------------------------------------------------------------

    def _prepare_wake(self) -> None:
        global _user_events_work
        kevents = self._kevents
        self._user_events = False
        if kevents.user_events and _user_events_work is not False:
            self._user_events = kevents.ask(0, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0) == 0
            if self._user_events and _user_events_work is None:
                # Some systems define it and never tell.
                kevents.trigger()
                self._user_events = kevents.wait(0.0) == 1
            _user_events_work = self._user_events
        if not self._user_events:
            self.signal_fd()

    def wake(self) -> None:
        """Make `wait()` return; from any thread, or a signal handler."""
        self.wakes += 1
        if self._user_events:
            self._kevents.trigger()
            return
        try:
            os.write(self._pipe_writer, b"\0")
        except OSError:
            # Full: enough wake-ups are on their way. Closed: there is nobody to wake.
            return

    def signal_fd(self) -> int:
        """Return the writing end of a pipe that ends a wait."""
        if self._pipe_writer < 0:
            self._pipe_reader, self._pipe_writer = os.pipe()
            _os.set_blocking(self._pipe_reader, False)
            _os.set_blocking(self._pipe_writer, False)
            self._watch_pipe()
        return self._pipe_writer

    def _watch_pipe(self) -> None:
        code = self._kevents.ask(self._pipe_reader, EVFILT_READ, EV_ADD, 0, 0)
        if code:
            raise OSError(code, os.strerror(code))

    def _drain(self) -> None:
        try:
            while len(os.read(self._pipe_reader, 512)) == 512:
                continue
        except BlockingIOError:
            return

    # ---- life ------------------------------------------------------------------------------

    def _watch_all(self) -> None:
        """Have a new kqueue watch what the old one did."""
        self._prepare_wake()
        if self._pipe_writer >= 0:
            self._watch_pipe()
        self._awake.clear()
        self._levels.clear()
        self._count = 0
        for slot in self._slots:
            if slot is not None and slot.armed:
                slot.armed = 0
                slot.note = None
                self._mark(slot)

    def _renew(self) -> None:
        """Replace the kqueue by a new one with the watches that are wanted."""
        try:
            kevents = Kevents()
        except OSError:
            # Out of descriptors: go on with the old one and try again at the next wait.
            return
        self._stale = False
        self._kevents.close()
        self._kevents = kevents
        if self._aside is not None:
            self._aside.close()
            self._aside = None
        self._watch_all()
        children, self._children = self._children, {}
        for op in children.values():
            if self._start_exit(op):
                self._ended.append(op)

    def after_fork(self) -> None:
        """Wait with a kqueue of our own: a child has none of its parent's."""
        self._kevents.forget()
        self._kevents = Kevents()
        if self._aside is not None:
            self._aside.abandon()
            self._aside = None
        if self._pipe_writer >= 0:
            os.close(self._pipe_reader)
            os.close(self._pipe_writer)
            self._pipe_reader = self._pipe_writer = -1
        # They are the parent's children.
        for op in self._children.values():
            op.active = False
        self._children.clear()
        self._ended.clear()
        self._watch_all()

    def close(self) -> None:
        """Close the kqueue, and end the thread if there is one."""
        self._slots.clear()
        self._dirty.clear()
        self._awake.clear()
        self._levels.clear()
        self._ended.clear()
        self._children.clear()
        if self._aside is not None:
            self._aside.close()
            self._aside = None
        self._kevents.close()
        if self._pipe_writer >= 0:
            os.close(self._pipe_reader)
            os.close(self._pipe_writer)
            self._pipe_reader = self._pipe_writer = -1
