"""Reading what the system has in memory, at once and without ever waiting for a disk.

Linux tells cached data from other by `preadv2(RWF_NOWAIT)` (4.14, on ext4, xfs, btrfs and more).
The compiled twin of this module makes the call in C, into the `bytes` that it returns.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["OFFERED", "read_cached"]

# What only some systems have is looked up without the type checker, which has but one in mind.
_os: Any = importlib.import_module("os")

#: Whether this system can be asked so.
OFFERED: bool = hasattr(_os, "preadv") and hasattr(_os, "RWF_NOWAIT")
_NOWAIT: int = getattr(_os, "RWF_NOWAIT", 0)


def read_cached(fd: int, size: int, offset: int) -> bytes | None:
    """Read at most `size` bytes at `offset` (-1: at the file's own position, which moves).

    Returns None if that would wait, and fewer bytes if the rest would. Raises OSError, EOPNOTSUPP
    among them, where the file system cannot tell.
    """
    buffer = bytearray(size)
    try:
        count = _os.preadv(fd, [buffer], offset, _NOWAIT)
    except BlockingIOError:
        return None
    if count < size:
        del buffer[count:]
    return bytes(buffer)
