"""The `selector` engine: readiness through any `selectors.BaseSelector`.

It runs wherever Python does and honours the selector that it is given, so it is the engine of
the uncompiled core and of `SelectorEventLoop(selectors.PollSelector())`. It wakes through a
pair of connected sockets, the one thing that every selector can watch.
"""

from __future__ import annotations

import selectors
import socket
from typing import Any, cast

from evenloop.engines import readiness
from evenloop.engines.readiness import READABLE, WRITABLE, Slot

__all__ = ["SelectorEngine"]

# selectors.EVENT_READ and EVENT_WRITE are 1 and 2, as READABLE and WRITABLE are.
assert (selectors.EVENT_READ, selectors.EVENT_WRITE) == (READABLE, WRITABLE)


class SelectorEngine(readiness.ReadinessEngine):
    """Readiness through a `selectors` object."""

    name = "selector"

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        """Take the selector to wait with; by default the best that this system has."""
        super().__init__()
        self._given = selector is not None
        self.selector = selectors.DefaultSelector() if selector is None else selector
        self._registered: set[int] = set()
        self._open_waker()

    def _open_waker(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self.selector.register(self._receiver, READABLE, None)

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

    def wait(self, timeout: float) -> None:
        """Wait for events and dispatch them."""
        self.reconcile()
        self.waits += 1
        events = self.selector.select(None if timeout < 0 else timeout)
        for key, ready in events:
            slot = key.data
            if slot is None:
                self._drain()
            elif self._slots[slot.fd] is slot:
                self.events += 1
                self.dispatch(slot, ready)

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
        slots = [slot for slot in self._slots if slot is not None and slot.armed]
        old = self.selector
        self._receiver.close()
        self._sender.close()
        try:
            self.selector = cast(Any, type(old))()
        finally:
            # Closing the descriptor of an inherited epoll or kqueue leaves the parent's alone.
            old.close()
        self._registered.clear()
        self._open_waker()
        for slot in slots:
            slot.armed = 0
            self._mark(slot)

    def close(self) -> None:
        """Close the selector and the waker."""
        self._slots.clear()
        self._dirty.clear()
        self.selector.close()
        self._receiver.close()
        self._sender.close()
