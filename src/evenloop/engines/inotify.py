"""Changes of files on Linux, through inotify.

How inotify behaves, and what follows:

- It watches files, not descriptors, and takes a path. `/proc/self/fd/N` leads to the very file
  that is open, also if it was renamed or deleted since.
- All descriptors of a file share one watch; its number is the key.
- A truncation is a modification, as a write is. Equal events in a row are told once.
- Who watches too slowly loses events, and is told so.
- It knows of what goes through this kernel alone. Of files that another machine or process can
  change behind it (NFS, FUSE, /proc, ...) not every change is told.
- A user has a number of instances (128) and watches (as memory allows).
"""

from __future__ import annotations

import ctypes
import functools
import os
import struct
from collections.abc import Hashable
from typing import Any

from evenloop.engines.changes import Changes, News

__all__ = ["Inotify"]

_IN_NONBLOCK = 0o4000
_IN_CLOEXEC = 0o2000000
_IN_MODIFY = 0x2
_IN_UNMOUNT = 0x2000
_IN_Q_OVERFLOW = 0x4000
_IN_IGNORED = 0x8000
_EVENT = struct.Struct("iIII")
_READ = 64 * 1024

# What statfs() calls the file systems whose files change here alone.
_LOCAL = frozenset(
    {
        0xEF53,  # ext2, ext3, ext4
        0x58465342,  # xfs
        0x9123683E,  # btrfs
        0xF2F52010,  # f2fs
        0x2FC12FC1,  # zfs
        0xCA451A4E,  # bcachefs
        0x01021994,  # tmpfs
        0x858458F6,  # ramfs
        0x794C7630,  # overlay
        0x4D44,  # vfat
        0x2011BAB0,  # exfat
    }
)


class Inotify(Changes):
    """One instance of inotify."""

    name = "inotify"

    def __init__(self) -> None:
        self._fd = _call(_libc().inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC))

    def add(self, fd: int) -> tuple[Hashable, bool]:
        """Watch an open file."""
        path = b"/proc/self/fd/%d" % fd
        key = _call(_libc().inotify_add_watch(self._fd, path, _IN_MODIFY))
        return key, _file_system(fd) in _LOCAL

    def remove(self, key: Hashable) -> None:
        """Watch a file no more."""
        _libc().inotify_rm_watch(self._fd, key)

    def fileno(self) -> int:
        """Return the instance's descriptor."""
        return self._fd

    def collect(self) -> News:
        """Return the news."""
        changed: dict[Hashable, None] = {}
        lost: list[Hashable] = []
        everything = False
        while True:
            try:
                data = os.read(self._fd, _READ)
            except BlockingIOError:
                break
            at = 0
            while at < len(data):
                key, mask, _, length = _EVENT.unpack_from(data, at)
                at += _EVENT.size + length
                if mask & _IN_Q_OVERFLOW:
                    everything = True
                elif mask & (_IN_IGNORED | _IN_UNMOUNT):
                    lost.append(key)
                else:
                    changed[key] = None
            if len(data) < _READ // 2:
                break
        return News(list(changed), lost, everything)

    def after_fork(self) -> None:
        """Begin anew."""
        os.close(self._fd)
        self._fd = _call(_libc().inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC))

    def close(self) -> None:
        """Release the instance, and all watches with it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@functools.cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _call(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _file_system(fd: int) -> int:
    """Return what kind of file system a file is on; 0 if that cannot be told."""
    # Larger than any struct statfs, whose first word is the kind.
    answer = (ctypes.c_ulong * 64)()
    if _libc().fstatfs(fd, ctypes.byref(answer)) < 0:
        return 0
    return answer[0] & 0xFFFFFFFF
