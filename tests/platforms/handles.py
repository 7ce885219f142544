"""Handles of this process on Windows, by number."""

from __future__ import annotations

import ctypes
import os
from typing import Any

# Handles are multiples of four; no test comes near this number of them.
_HIGHEST_HANDLE = 1 << 16


def open_handles() -> set[int]:
    """Return the handles of this process (GetProcessHandleCount says 0 under Wine)."""
    windows: Any = ctypes
    kernel32 = windows.WinDLL("kernel32")
    kernel32.GetHandleInformation.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    flags = ctypes.c_uint32()
    pointer = ctypes.byref(flags)
    return {
        handle
        for handle in range(4, _HIGHEST_HANDLE, 4)
        if kernel32.GetHandleInformation(handle, pointer)
    }


def inherited(handle: int) -> bool:
    """Whether a child process would get this handle; False if it is closed by now."""
    system: Any = os
    try:
        return bool(system.get_handle_inheritable(handle))
    except OSError:
        return False
