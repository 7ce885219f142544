"""What a test must give back: descriptors, threads and children, counted before and after."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.support import windows

FD_DIRECTORY = "/proc/self/fd"
# Under Wine the host's /proc shows through, and says nothing of handles.
HAS_PROC = os.name == "posix" and os.path.isdir(FD_DIRECTORY)
#: Threads that end by themselves (executors, child watchers) get this long, in seconds.
PATIENCE = 3.0


def open_descriptors() -> set[tuple[int, str]]:
    """Every open descriptor with what it points to; empty where the OS cannot tell."""
    if sys.platform == "win32":
        return windows.handles()
    found = set()
    if HAS_PROC:
        for name in os.listdir(FD_DIRECTORY):
            with contextlib.suppress(FileNotFoundError):  # the listing's own descriptor
                found.add((int(name), os.readlink(f"{FD_DIRECTORY}/{name}")))
    return found


def children() -> set[int]:
    """Process ids of the children of this process, zombies included where there are any."""
    if sys.platform == "win32":
        return windows.children()
    found: set[int] = set()
    if os.name != "posix" or not os.path.isdir("/proc/self/task"):
        return found
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            with open(f"/proc/self/task/{thread}/children", encoding="ascii") as listing:
                found.update(int(pid) for pid in listing.read().split())
    return found


def command_line(pid: int) -> str:
    """What a process was started with, for the report of a leak."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip() or "zombie"
    except OSError:
        return "gone"


@dataclass
class Snapshot:
    """The process as it was before a test."""

    descriptors: set[tuple[int, str]]
    threads: set[threading.Thread]
    children: set[int]

    @classmethod
    def take(cls) -> Snapshot:
        return cls(open_descriptors(), set(threading.enumerate()), children())

    def _new_threads(self) -> set[threading.Thread]:
        return {t for t in threading.enumerate() if t not in self.threads and t.is_alive()}

    def leaks(self) -> list[str]:
        """What is there now and was not before, in words."""
        _settle(lambda: not self._new_threads())
        _settle(lambda: not children() - self.children)
        if sys.platform == "win32":  # a thread that ended lets go of its handle a moment later
            _settle(lambda: not open_descriptors() - self.descriptors, 0.2)
        elif _libkqueue_is_loaded():  # its thread closes what belongs to a kqueue
            _settle(lambda: not open_descriptors() - self.descriptors, 1.0)
        found = [f"thread {thread!r}" for thread in self._new_threads()]
        found += [
            f"child {pid} ({command_line(pid)})" for pid in sorted(children() - self.children)
        ]
        found += [
            f"descriptor {number} -> {target}"
            for number, target in sorted(open_descriptors() - self.descriptors)
        ]
        return found


def _libkqueue_is_loaded() -> bool:
    """Whether kqueue is played by a library, in this process."""
    if not HAS_PROC:
        return False
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        return "libkqueue" in maps.read()


def _settle(done: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait until done() or patience ends; at once when it is already so."""
    end = time.monotonic() + patience
    while not done() and time.monotonic() < end:
        time.sleep(0.005)


def collect() -> None:
    """A full collection of what came since the last one.

    What survives is put out of the collector's sight, else each test would pay for what pytest
    remembers of all before it: two thirds of a run's time.
    """
    gc.collect()
    if hasattr(gc, "freeze"):
        gc.freeze()
