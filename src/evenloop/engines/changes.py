"""How a system tells that a regular file has changed: one small class for each.

A `Changes` belongs to one loop, which asks it about files that are open:

    add(fd)        watch a file: (a key, whether every change will be told); OSError if it cannot
    remove(key)    watch it no more
    fileno()       the descriptor that is readable when there is news; -1: `wake` is called then
    collect()      the news
    after_fork()   begin anew in a forked child
    close()        release what the system lent

Keys are of files, not of descriptors: a file that is open twice has one. Where nothing tells
(`new_changes()` returns None, or `add()` fails) and where not every change is told, the loop
looks for itself from time to time.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Hashable
from typing import NamedTuple

__all__ = ["Changes", "News", "new_changes"]


class News(NamedTuple):
    """What has changed since the last time."""

    changed: list[Hashable]
    """Keys of files that may have changed."""
    lost: list[Hashable]
    """Keys of files that nothing more will be told of."""
    all: bool = False
    """Whether anything at all may have changed: news were lost."""


class Changes:
    """Tells when files change."""

    #: What it is, for people.
    name = "none"

    def add(self, fd: int) -> tuple[Hashable, bool]:
        """Watch an open file; return its key, and whether every change will be told."""
        raise NotImplementedError

    def remove(self, key: Hashable) -> None:
        """Watch a file no more."""
        raise NotImplementedError

    def fileno(self) -> int:
        """Return a descriptor that is readable when there is news; -1 if there is none."""
        raise NotImplementedError

    def collect(self) -> News:
        """Return the news."""
        raise NotImplementedError

    def after_fork(self) -> None:
        """Begin anew, with nothing watched, without touching the parent's."""
        raise NotImplementedError

    def close(self) -> None:
        """Release what the system lent."""
        raise NotImplementedError


def new_changes(wake: Callable[[], None]) -> Changes | None:
    """Return what this system has, or None; it calls `wake()` where it has no descriptor."""
    try:
        if sys.platform.startswith("linux"):
            from evenloop.engines.inotify import Inotify

            return Inotify()
        if sys.platform == "win32":
            from evenloop.engines.directory_changes import DirectoryChanges

            return DirectoryChanges(wake)
        if hasattr(select, "kqueue"):
            from evenloop.engines.vnodes import Vnodes

            return Vnodes()
    except OSError:
        # Out of instances or descriptors: looking from time to time always works.
        return None
    return None
