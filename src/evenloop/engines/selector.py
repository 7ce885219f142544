"""The `selector` engine: readiness through any `selectors.BaseSelector`.

It runs wherever Python does and honours the selector that it is given, so it is the engine of
the uncompiled core and of `SelectorEventLoop(selectors.PollSelector())`. It wakes through a
pair of connected sockets, the one thing that every selector can watch.

A selector knows descriptors only by number. Where its kernel half watches files (epoll), the
watch of a file that is open elsewhere outlives its descriptor, and its events come under a
number that is another file's by now. They show as events that are for nobody, again and again;
the cure is a new selector.
"""

from __future__ import annotations

import selectors
import socket
from typing import Any, cast

try:
    import cython
except ImportError:
    from evenloop import _cython as cython

if not cython.compiled:
    from evenloop.engines.readiness import READABLE, WRITABLE, ReadinessEngine, Slot

__all__ = ["SelectorEngine"]

# selectors.EVENT_READ and EVENT_WRITE are 1 and 2, as READABLE and WRITABLE are.
assert (selectors.EVENT_READ, selectors.EVENT_WRITE) == (READABLE, WRITABLE)

# A day, in seconds; longer waits are taken in pieces.
_LONGEST_WAIT = 86400.0

# So many events in a row for nobody are not chance (a rival process took the data).
_IDLE_EVENTS = 64


class SelectorEngine(ReadinessEngine):
    """Readiness through a `selectors` object."""

    name = "selector"

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        """Take the selector to wait with; by default the best that this system has."""
        super().__init__()
        # Before the selector: what fails here leaves nothing open.
        self._receiver, self._sender = _waker()
        self.selector: selectors.BaseSelector = (
            selectors.DefaultSelector() if selector is None else selector
        )
        self._registered: set[int] = set()
        self._events: list[tuple[selectors.SelectorKey, int]] = []
        self.selector.register(self._receiver, READABLE, None)

    @property
    def regular_files(self) -> str:  # type: ignore[override]
        """How polls of regular files go: as the selector has it."""
        epoll = getattr(selectors, "EpollSelector", None)
        if epoll is not None and isinstance(self.selector, epoll):
            return "refused"
        return "always ready"

    def update(self, slot: Slot, wanted: int) -> None:
        """Make the selector watch a descriptor for `wanted`."""
        fd = slot.fd
        self.changes += 1
        slot.armed = 0
        if fd in self._registered:
            # The selector's own notes may be of a file that was closed since: take the watch
            # down (which forgives that) and put up a new one.
            self._registered.discard(fd)
            self._unregister(fd)
        if wanted:
            try:
                self.selector.register(fd, wanted, slot)
            except KeyError:
                self._unregister(fd)
                self.selector.register(fd, wanted, slot)
            self._registered.add(fd)
            slot.armed = wanted

    def _unregister(self, fd: int) -> None:
        try:
            self.selector.unregister(fd)
        except (KeyError, ValueError, OSError):
            # Gone already: the descriptor was closed, and the watch with it.
            return

    def wait(self, timeout: float) -> bool:
        """Wait for events."""
        self.reconcile()
        self.waits += 1
        if self._failures:
            timeout = 0.0
        started = self.now()
        self._events = self.selector.select(None if timeout < 0 else min(timeout, _LONGEST_WAIT))
        if not self._events and timeout != 0:
            # Nothing, and too soon: an event that the selector itself could not place.
            if timeout < 0 or self.now() - started < timeout * 0.5:
                self.idle += 1
            if self.idle > _IDLE_EVENTS:
                self._renew()
        return bool(self._events or self._failures)

    def deliver(self) -> None:
        """Dispatch the events of the last wait."""
        # Level-triggered: what an interrupt leaves undelivered will be reported again.
        events = self._events
        self._events = []
        self._deliver_failures()
        for key, ready in events:
            slot = key.data
            if slot is None:
                self._drain()
            elif slot.fd < len(self._slots) and self._slots[slot.fd] is slot:
                self.events += 1
                self.dispatch(slot, ready)
        if self.idle > _IDLE_EVENTS:
            self._renew()

    def wake(self) -> None:
        """Make `wait()` return; from any thread, or a signal handler."""
        self.wakes += 1
        try:
            self._sender.send(b"\0")
        except (BlockingIOError, InterruptedError):
            # Full: enough wake-ups are on their way.
            return
        except OSError:
            # A thread may be late: the loop is closed, there is nobody to wake.
            return

    def _drain(self) -> None:
        try:
            while self._receiver.recv(4096):
                continue
        except (BlockingIOError, InterruptedError):
            return

    def signal_fd(self) -> int:
        """Return the writing end of the waker."""
        return self._sender.fileno()

    def after_fork(self) -> None:
        """Wait with a selector of our own from now on, not with the parent's."""
        self._receiver.close()
        self._sender.close()
        self._receiver, self._sender = _waker()
        # Closing the descriptor of an inherited epoll or kqueue leaves the parent's alone.
        self._renew()

    def _renew(self) -> None:
        """Take a new selector of the same kind, with the watches that are wanted."""
        self.idle: int = 0
        old = self.selector
        try:
            self.selector = cast(Any, type(old))()
        except OSError:
            # Out of descriptors: go on with the old one and try again later.
            return
        except TypeError:
            # A class of the user's that cannot be made just so: put everything up anew in it.
            for key in list(old.get_map().values()):
                self._unregister(key.fd)
        else:
            old.close()
        self._registered.clear()
        self.selector.register(self._receiver, READABLE, None)
        for slot in self._slots:
            if slot is not None and slot.armed:
                slot.armed = 0
                self._mark(slot)

    def close(self) -> None:
        """Close the selector and the waker."""
        self._slots.clear()
        self._dirty.clear()
        self.selector.close()
        self._receiver.close()
        self._sender.close()


def _waker() -> tuple[socket.socket, socket.socket]:
    """Return a receiving and a sending socket that never block."""
    receiver, sender = socket.socketpair()
    receiver.setblocking(False)
    sender.setblocking(False)
    return receiver, sender
