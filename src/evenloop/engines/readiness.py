"""Completions made from "this descriptor is ready".

The readiness family (epoll, kqueue, any selector) shares all of this; a leaf adds how to tell
the kernel what to watch (`update`), how to wait, and how to be woken.

How readiness behaves, and what follows:

- A poll is level-triggered: an event that is not used up comes again. So a stream is armed
  once and left armed; each event costs one `recv` and no probing call that ends in EAGAIN.
- Telling the kernel costs a system call. So `start` and `cancel` only mark a descriptor, and
  the marks are settled just before the next wait: a request that follows its predecessor
  within a turn costs nothing. A paused stream is not even marked: its watch is taken down
  only if an event really comes while nobody reads.
- `add_reader` must raise at once what the kernel refuses. So polls are settled at once.
- A descriptor that the user closed can come back as another file, which the kernel does not
  watch although our notes say so. So a watch that was set for a user's socket is trusted only
  while the same socket object asks again, and a plain number is never trusted.
- An event can arrive for a descriptor that was closed and opened again by an earlier callback
  of the same batch. So each slot has a generation, and events of an older one are dropped.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from typing import Any

try:
    import cython
except ImportError:
    from evenloop import _cython as cython

if not cython.compiled:
    from evenloop.engines.engine import (
        ACCEPT,
        CONNECT,
        EXIT,
        POLL_READ,
        POLL_WRITE,
        RECV,
        RECV_INTO,
        RECVFROM,
        SEND,
        SENDTO,
        Engine,
        Op,
    )

    # No process has descriptors beyond this; a larger number is a mistake, not a table size.
    HIGHEST_FD = 1 << 22

    READABLE = 1
    WRITABLE = 2

    def new_slot(fd: int, generation: int) -> Slot:
        """Return a slot; compiled, without the price of a constructor's call."""
        return Slot(fd, generation)

    def is_reading(kind: int) -> bool:
        """Whether this kind of request waits for its descriptor to be readable."""
        return kind in (RECV, RECV_INTO, ACCEPT, RECVFROM, POLL_READ, EXIT)

    def wanted_by(slot: Slot) -> int:
        """Return what the requests of a slot wait for."""
        wanted = READABLE if slot.reader is not None else 0
        return wanted | WRITABLE if slot.writer is not None else wanted


__all__ = ["ReadinessEngine", "Slot"]

# One read of a stream takes at most this much: large enough that a fast sender is read in few
# calls, small enough that one busy stream does not starve the others.
READ_SIZE = 256 * 1024
# Datagrams and connections taken in one go before others have their turn.
BURST = 64
# Requests to receive that are not tried at once, at most, between two that are.
LULL = 15

# Windows lacks readv, writev and WNOHANG, and gives no pipe or child to this engine.
_posix: Any = os

# What an error of sending to a stream means on a system, where it is not what it says. macOS and
# the BSDs run out of buffers for a moment. macOS says EPROTOTYPE of a connection that the other end
# is closing, some programs in its network path for ever, so that trying again is no answer.
SENDING_MEANS: dict[int, int] = {}
if sys.platform not in ("linux", "win32"):
    SENDING_MEANS[errno.ENOBUFS] = errno.EAGAIN
if sys.platform == "darwin":
    SENDING_MEANS[errno.EPROTOTYPE] = errno.ECONNRESET

_WOULD_BLOCK = frozenset((errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR))


class Slot:
    """One descriptor: who waits for it, and what the kernel watches."""

    def __init__(self, fd: int, generation: int) -> None:
        self.fd = fd
        self.generation = generation
        # The wait after which this life of the number began.
        self.born = 0
        # Of a listening socket: how many connections to ask for at its next event, and the
        # wait that its latest event came with.
        self.burst = 1
        self.heard = 0
        # How many requests to receive are to wait for their event without a try first, and how
        # many of them are left. Of a listening socket: how many events are to bring one connection.
        self.lull = 0
        self.left = 0
        self.armed = 0
        self.dirty = False
        self.reader: Op | None = None
        self.writer: Op | None = None
        self.owner: Any = None
        self.sock: Any = None
        # The leaf's own.
        self.note: Any = None


class ReadinessEngine(Engine):
    """What every engine of the readiness family shares."""

    model = "readiness"

    def __init__(self) -> None:
        self._slots: list[Slot | None] = []
        self._dirty: list[Slot] = []
        # Requests that the kernel refused, or whose descriptor is gone: to be delivered.
        self._failures: list[Op] = []
        self.waits = 0
        self.events = 0
        self.changes = 0
        self.wakes = 0
        # Events in a row that turned out to be for nobody.
        self.idle: int = 0

    # ---- what a leaf adds ------------------------------------------------------------------

    def update(self, slot: Slot, wanted: int) -> None:
        """Make the kernel watch `slot.fd` for `wanted`, and set `slot.armed`; may raise OSError.

        A watch to add may be there already and one to change or remove may be gone (the user
        closed the descriptor): neither is an error.
        """
        raise NotImplementedError

    # ---- requests --------------------------------------------------------------------------

    def start(self, op: Op) -> bool:
        """Begin a request; see `engine`."""
        op.result = None
        op.error = None
        kind = op.kind
        polling = kind in (POLL_READ, POLL_WRITE)
        reading = is_reading(kind)
        slot = self._claim(op)
        head = slot.reader if reading else slot.writer
        if head is None:
            # Nobody is ahead in the queue, so a one-shot request may succeed right away.
            if not op.multishot and not polling and self._at_once(slot, op):
                if slot.owner is None and wanted_by(slot) == 0:
                    # The engine must not keep the user's socket alive.
                    if slot.armed:
                        self._mark(slot)
                    else:
                        slot.sock = None
                return True
            if reading:
                slot.reader = op
            else:
                slot.writer = op
        else:
            while head.next is not None:
                head = head.next
            head.next = op
        op.active = True
        op.next = None
        if not polling:
            if not slot.dirty and wanted_by(slot) != slot.armed:
                self._mark(slot)
            return False
        try:
            self.update(slot, wanted_by(slot))
        except OSError:
            self.cancel(op)
            raise
        return False

    def _at_once(self, slot: Slot, op: Op) -> bool:
        """Try a new request, unless there is hardly anything to be had.

        Who asks for the answer to what it has just sent asks too early, and the call fails. The
        more often it does the more requests wait for their event in the first place. And what
        took less than it was given is full: the rest waits.
        """
        if op.kind == SEND and op.plenty:
            op.plenty = False
            return False
        if op.kind != RECV:
            return self.attempt(op)
        if slot.left > 0 and slot.armed & READABLE:
            slot.left -= 1
            return False
        if self.attempt(op):
            slot.lull = slot.left = 0
            return True
        slot.lull = slot.left = min(2 * slot.lull + 1, LULL)
        return False

    def cancel(self, op: Op) -> bool:
        """Take a request back: always free at once."""
        if not op.active:
            return True
        op.active = False
        slot = self._slot(op.fd)
        reading = is_reading(op.kind)
        head = slot.reader if reading else slot.writer
        if head is op:
            if reading:
                slot.reader = op.next
            else:
                slot.writer = op.next
        else:
            while head is not None and head.next is not op:
                head = head.next
            if head is not None:
                head.next = op.next
        op.next = None
        if slot.owner is None:
            # A user's descriptor may be closed right after this: settle it now.
            if wanted_by(slot) == 0:
                self._renewed(slot)
            elif wanted_by(slot) != slot.armed:
                self.update(slot, wanted_by(slot))
        elif not reading:
            self._mark(slot)
        return True

    def adopt(self, fd: int, owner: object) -> None:
        """Note that a transport owns this descriptor, whatever it was before."""
        slot = self._slot(fd)
        if slot.reader is not None or slot.writer is not None or slot.armed:
            self._abandon(slot)
            slot = self._slot(fd)
        slot.owner = owner

    def owner(self, fd: int) -> Any:
        """Return the transport that owns this descriptor, or None."""
        if 0 <= fd < len(self._slots):
            slot = self._slots[fd]
            if slot is not None:
                return slot.owner
        return None

    def forget(self, fd: int) -> None:
        """Drop all that is known of a descriptor, before it is closed."""
        if 0 <= fd < len(self._slots):
            slot = self._slots[fd]
            if slot is not None:
                self._release(slot)
                self._renewed(slot)

    def _release(self, slot: Slot) -> None:
        """End every request of a slot; their makers asked for it."""
        for head in (slot.reader, slot.writer):
            op = head
            while op is not None:
                following = op.next
                op.active = False
                op.next = None
                op = following
        slot.reader = slot.writer = slot.owner = slot.sock = None

    def _renewed(self, slot: Slot) -> Slot:
        """Begin a new life for a number: events of the old one will be recognised."""
        replacement = new_slot(slot.fd, slot.generation + 1)
        replacement.born = self.waits
        self._slots[slot.fd] = replacement
        if slot.armed:
            # The old watch may live on (the file has another descriptor somewhere).
            self.update(slot, 0)
        return replacement

    def _abandon(self, slot: Slot) -> None:
        """The descriptor was closed and its number came back: fail what waited for the old."""
        self._renewed(slot)
        self._fail(slot, OSError(errno.EBADF, f"descriptor {slot.fd} was closed while in use"))

    def _slot(self, fd: int) -> Slot:
        if fd < 0 or fd > HIGHEST_FD:
            raise OSError(errno.EBADF, f"{fd} is not a file descriptor")
        while fd >= len(self._slots):
            self._slots.extend([None] * (len(self._slots) or 64))
        slot = self._slots[fd]
        if slot is None:
            slot = self._slots[fd] = new_slot(fd, 1)
        return slot

    def _claim(self, op: Op) -> Slot:
        """Return the slot of an op, a new one where the number now means another file."""
        slot = self._slot(op.fd)
        if slot.owner is not None:
            return slot
        if slot.sock is op.sock and op.sock is not None:
            return slot
        known = slot.sock if op.sock is not None else None
        if known is not None and known.fileno() != op.fd:
            self._abandon(slot)
            slot = self._slot(op.fd)
        elif slot.reader is None and slot.writer is None:
            if slot.armed or slot.dirty or slot.note is not None:
                # Nobody vouches for what the kernel watches under this number.
                slot = self._renewed(slot)
            else:
                slot.lull = slot.left = 0
        slot.sock = op.sock
        return slot

    # ---- telling the kernel ----------------------------------------------------------------

    def _mark(self, slot: Slot) -> None:
        if not slot.dirty:
            slot.dirty = True
            self._dirty.append(slot)

    def reconcile(self) -> None:
        """Settle what has changed since the last wait; leaves call it before they wait."""
        while self._dirty:
            slot = self._dirty.pop()
            slot.dirty = False
            if self._slots[slot.fd] is not slot:
                continue
            wanted = wanted_by(slot)
            if wanted == 0 and slot.owner is None:
                slot.sock = None
            if wanted != slot.armed:
                try:
                    self.update(slot, wanted)
                except OSError as error:
                    self._fail(slot, error)

    def _fail(self, slot: Slot, error: OSError) -> None:
        """The kernel will not watch this descriptor: deliver the reason to its requests."""
        for head in (slot.reader, slot.writer):
            op = head
            if op is slot.reader:
                slot.reader = None
            else:
                slot.writer = None
            while op is not None:
                following = op.next
                op.next = None
                op.active = False
                op.error = error
                self._failures.append(op)
                op = following

    def _deliver_failures(self) -> None:
        while self._failures:
            op = self._failures.pop(0)
            # Its maker may have started it anew meanwhile.
            if not op.active and op.error is not None:
                op.complete()

    # ---- events ----------------------------------------------------------------------------

    def dispatch(self, slot: Slot, ready: int) -> bool:
        """Carry out what was waiting for these events; False if nobody was."""
        used = False
        if slot.owner is None and slot.sock is not None and slot.sock.fileno() != slot.fd:
            # Closed while requests wait; the number may be another file's by now.
            self._abandon(slot)
            self._deliver_failures()
            return True
        if ready & READABLE and slot.reader is not None:
            used = self._advance(slot, slot.reader, True)
        if ready & WRITABLE and slot.writer is not None:
            used = self._advance(slot, slot.writer, False) or used
        if not used and wanted_by(slot) != slot.armed and not slot.dirty:
            # A paused stream: now is the time to take the watch down.
            self._mark(slot)
        return used

    def _try(self, op: Op) -> bool:
        """Attempt a request in flight; whatever goes wrong is its maker's to hear."""
        try:
            return self.attempt(op)
        except Exception as error:
            # A buffer that was released or shrunk while it waited, say.
            op.result = None
            op.error = error
            return True

    def _advance(self, slot: Slot, op: Op, reading: bool) -> bool:
        if op.multishot:
            if op.kind == RECVFROM:
                self.receive(op)
                return True
            burst = asked = self._appetite(slot) if op.kind == ACCEPT else 1
            self.idle += 1
            while burst > 0 and op.active and self._try(op):
                self.idle = 0
                op.complete()
                burst -= 1
            if asked > 1:
                self._sated(slot, asked - burst)
            if op.kind == POLL_READ or op.kind == POLL_WRITE:
                # A poll uses nothing up: whoever waits behind it has its turn too.
                following = op.next
                if following is not None and op.active:
                    self._advance(slot, following, reading)
            return True
        if slot.owner is None and not op.wanted():
            # About to be taken back. The event comes again, for who is next.
            self.cancel(op)
            return True
        if not self._try(op):
            self.idle += 1
            return True
        self.idle = 0
        # One-shot: leave the queue before complete(), which may start the op again.
        op.active = False
        if reading:
            if slot.reader is op:
                slot.reader = op.next
        elif slot.writer is op:
            slot.writer = op.next
        op.next = None
        if not slot.dirty and wanted_by(slot) != slot.armed:
            self._mark(slot)
        op.complete()
        return True

    def _appetite(self, slot: Slot) -> int:
        """Return how many connections to take from a listening socket at this event.

        Asking for one too many costs a call that fails. One that is ready again right after it
        was served may have a queue: it is asked for twice as many, up to a burst. If there was
        only one after all, it is believed more and more seldom.
        """
        if slot.heard != self.waits - 1:
            slot.burst = 1
            slot.lull = slot.left = 0
        elif slot.left > 0:
            slot.left -= 1
        else:
            slot.burst = min(slot.burst * 2, BURST)
        slot.heard = self.waits
        return slot.burst

    def _sated(self, slot: Slot, taken: int) -> None:
        """Take note of how many connections there were where more than one was asked for."""
        if taken > 1:
            slot.lull = 0
            return
        slot.burst = 1
        slot.lull = slot.left = min(2 * slot.lull + 1, LULL)

    def receive(self, op: Op) -> None:
        """Take the datagrams that have arrived, as many as one may at a time."""
        burst = BURST
        self.idle += 1
        while burst > 0 and op.active and self._try(op):
            self.idle = 0
            op.complete()
            burst -= 1

    # ---- the requests themselves, over Python's own sockets --------------------------------

    def attempt(self, op: Op) -> bool:
        """Try a request; False when it would block. Compiled leaves do this in C."""
        kind = op.kind
        sock = op.sock
        try:
            if kind == RECV:
                size = op.size or READ_SIZE
                op.result = os.read(op.fd, size) if sock is None else sock.recv(size)
            elif kind == SEND:
                buffers = op.acquire()
                op.result = _send(op.fd, sock, buffers)
                op.plenty = op.result < sum(map(len, buffers[:_IOV_MAX]))
            elif kind == RECV_INTO:
                buffer = op.acquire()
                if buffer is None:
                    return False
                if sock is None:
                    op.result = _posix.readv(op.fd, [buffer])
                else:
                    op.result = sock.recv_into(buffer)
            elif kind == ACCEPT:
                connection, address = sock.accept()
                connection.setblocking(False)
                op.result = (connection, address)
            elif kind == RECVFROM:
                if op.buffer is None:
                    op.result = sock.recvfrom(op.size)
                else:
                    op.result = sock.recvfrom_into(op.buffer, op.size)
            elif kind == SENDTO:
                if op.address is None:
                    op.result = sock.send(op.buffer)
                else:
                    op.result = sock.sendto(op.buffer, op.address)
            elif kind == CONNECT:
                return _connect(op)
            elif kind == EXIT:
                pid, status = os.waitpid(op.size, _posix.WNOHANG)
                if pid == 0:
                    return False
                op.result = os.waitstatus_to_exitcode(status)
            else:
                op.result = None
            op.error = None
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if kind == SEND and error.errno in SENDING_MEANS:
                code = SENDING_MEANS[error.errno]
                error = OSError(code, os.strerror(code))
            if error.errno in _WOULD_BLOCK:
                return False
            op.result = None
            op.error = error
        return True

    def stats(self) -> dict[str, int]:
        """Return counters since the start."""
        return {
            "waits": self.waits,
            "events": self.events,
            "changes": self.changes,
            "wakes": self.wakes,
        }


def _send(fd: int, sock: socket.socket | None, buffers: list[Any]) -> int:
    """Send what goes of a list of bytes-likes; one call."""
    if sock is None:
        if len(buffers) > 1:
            written: int = _posix.writev(fd, buffers[:_IOV_MAX])
            return written
        return os.write(fd, buffers[0])
    if len(buffers) == 1:
        return sock.send(buffers[0])
    if hasattr(sock, "sendmsg"):
        sent: int = sock.sendmsg(buffers[:_IOV_MAX])
        return sent
    return sock.send(b"".join(buffers))


def _connect(op: Op) -> bool:
    """Begin to connect, or learn how it ended."""
    if op.result is None:
        op.result = 0
        try:
            op.sock.connect(op.address)
        except (BlockingIOError, InterruptedError):
            return False
        op.result = None
        return True
    # kqueue tells of the error, and on Linux a library takes it from the socket in doing so.
    code = op.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or op.result
    op.result = None
    if code:
        raise OSError(code, f"Connect call failed {op.address}")
    return True


try:
    _IOV_MAX: int = _posix.sysconf("SC_IOV_MAX")
except (AttributeError, ValueError, OSError):
    _IOV_MAX = 16
