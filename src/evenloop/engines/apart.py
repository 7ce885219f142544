"""What kqueue refuses, or does not tell of as a poll would: watched in another way.

How the systems behave, and what follows:

- macOS answers EINVAL for `/dev/tty`, `/dev/null` and other character devices, though `select()`
  takes them there, and of a named pipe it does not tell the end. A thread calls `select()` for
  such descriptors (`Device`); it is started with the first of them.
- Of a regular file FreeBSD says "always writable" and the others so once; nobody tells that it
  was truncated. So its position is compared with its size (`RegularFile`), after each event of
  the vnode filter and after each reader's call. A file at its end costs nothing.
- Where a pipe's reader is gone already, some systems refuse to watch the writing end (EPIPE,
  EBADF). To a poll it is ready, and the next write tells why (`Broken`).

An engine asks each of these for the state of its descriptor before it waits (`look`).
"""

from __future__ import annotations

import errno
import os
import select
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from evenloop.engines.descriptors import file_state

__all__ = ["Aside", "Broken", "Device", "RegularFile"]

READABLE = selectors.EVENT_READ
WRITABLE = selectors.EVENT_WRITE

# What only some systems have is looked up without the type checker, which has but one in mind.
_select: Any = select

# What select() takes: numbers below this. poll() takes all, but not every device on macOS.
_SELECT_LIMIT = 1024


class Broken:
    """A descriptor that is ready for everything, as its next use fails."""

    def look(self, wanted: int) -> int:
        """Return what of `wanted` it is ready for; 0: do not ask again before there is news."""
        return wanted

    def stop(self) -> None:
        """Watch no longer."""


class RegularFile:
    """A regular file: readable while its position is not its end, and always writable."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        _, self._size, self._identity = file_state(fd)

    def look(self, wanted: int) -> int:
        """Return what of `wanted` it is ready for; 0: do not ask again before there is news.

        Raises OSError when the descriptor was closed, or is another file's by now.
        """
        ready = wanted & WRITABLE
        unread, size, identity = file_state(self._fd)
        if identity != self._identity:
            raise OSError(errno.EBADF, f"descriptor {self._fd} was closed while in use")
        if wanted & READABLE and (unread or size < self._size):
            ready |= READABLE
        self._size = size
        return ready

    def stop(self) -> None:
        """Watch no longer."""


class Device:
    """A descriptor that the thread watches for an engine."""

    def __init__(self, aside: Aside, fd: int) -> None:
        self._aside = aside
        self.fd = fd
        self.wanted = 0
        # What the thread has found; set by it, taken by the loop.
        self.seen: int = 0

    def look(self, wanted: int) -> int:
        """Return what of `wanted` it is ready for; 0: do not ask again before there is news."""
        ready = self.seen & wanted
        self.seen = 0
        if not ready:
            self._aside.watch(self, wanted)
        return ready

    def stop(self) -> None:
        """Watch no longer."""
        self._aside.drop(self)


class Aside:
    """The thread that waits with `select()`, and what passes between it and the loop."""

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        #: Devices that are ready, for the loop to take from.
        self.reports: deque[Device] = deque()
        self._watched: dict[int, Device] = {}
        self._lock = threading.Lock()
        self._over = False
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="evenloop-select", daemon=True)
        self._thread.start()

    def watch(self, device: Device, wanted: int) -> None:
        """Report once that this device is ready for any of `wanted`."""
        with self._lock:
            device.wanted = wanted
            self._watched[device.fd] = device
        self._nudge()

    def drop(self, device: Device) -> None:
        """Report no more of this device."""
        with self._lock:
            device.wanted = 0
            if self._watched.get(device.fd) is device:
                del self._watched[device.fd]
        self._nudge()

    def close(self) -> None:
        """End the thread."""
        self._over = True
        self._nudge()
        self._thread.join()
        self.abandon()

    def abandon(self) -> None:
        """Close what a thread leaves that is gone: in a forked child it never was."""
        self._reader.close()
        self._writer.close()

    def _nudge(self) -> None:
        try:
            self._writer.send(b"\0")
        except BlockingIOError:
            # Full: enough of them are on their way.
            return

    def _run(self) -> None:
        while not self._over:
            with self._lock:
                watched = dict(self._watched)
            found = _wait(self._reader.fileno(), watched)
            try:
                while self._reader.recv(4096):
                    continue
            except BlockingIOError:
                pass
            if self._report(found):
                self._wake()

    def _report(self, found: dict[Device, int]) -> bool:
        reported = False
        with self._lock:
            for device, ready in found.items():
                # Once: the loop asks anew after it has dealt with this.
                if self._watched.get(device.fd) is not device:
                    continue
                del self._watched[device.fd]
                if ready:
                    device.seen |= ready
                    self.reports.append(device)
                    reported = True
        return reported


def _wait(waker: int, watched: dict[int, Device]) -> dict[Device, int]:
    """Wait for any of these; a device that was closed meanwhile is found ready for nothing."""
    reading = [waker, *(fd for fd, device in watched.items() if device.wanted & READABLE)]
    writing = [fd for fd, device in watched.items() if device.wanted & WRITABLE]
    found: dict[Device, int] = {}
    try:
        if max([*reading, *writing]) < _SELECT_LIMIT:
            readable, writable, _ = select.select(reading, writing, [])
        else:
            readable, writable = _poll(reading, writing)
    except (OSError, ValueError):
        for fd, device in watched.items():
            try:
                os.fstat(fd)
            except OSError:
                found[device] = 0
        return found
    for fd in readable:
        if fd != waker:
            found[watched[fd]] = READABLE
    for fd in writable:
        found[watched[fd]] = found.get(watched[fd], 0) | WRITABLE
    return found


def _poll(reading: list[int], writing: list[int]) -> tuple[list[int], list[int]]:
    """Do what `select()` does, with `poll()`."""
    poller = _select.poll()
    for fd in {*reading, *writing}:
        readable = _select.POLLIN if fd in reading else 0
        poller.register(fd, readable | (_select.POLLOUT if fd in writing else 0))
    events = dict(poller.poll())
    return [fd for fd in reading if fd in events], [fd for fd in writing if fd in events]
