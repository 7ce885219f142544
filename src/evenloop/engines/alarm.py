"""Waits on Windows that end when they should: a high-resolution timer that posts to the port.

The wait for a completion port counts in ticks of the system's clock, 15.6 ms unless some
process asks for more. A high-resolution waitable timer (Windows 10 1803) does not, and asks
nothing of the rest of the machine. A wait completion packet (Windows 8) has the port told when
the timer is due: `NtAssociateWaitCompletionPacket`, which the system's own thread pool is built
on and Microsoft documents since 2023.

Where either is missing, as in Wine, waits are whole milliseconds, rounded up. So a wait is
never short; how late it ends is the system's clock's to say.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import byref, c_int, c_int32, c_int64, c_size_t, c_uint32, c_void_p
from typing import Any

assert sys.platform == "win32"

from evenloop.engines.nt_errors import failure  # noqa: E402

__all__ = ["Alarm", "missing_parts", "new_alarm"]

_HIGH_RESOLUTION = 0x2
_ALL_ACCESS_TO_TIMER = 0x1F0003
_GENERIC_ALL = 0x10000000

_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_ntdll = ctypes.WinDLL("ntdll")


class Alarm:
    """Posts to a completion port at a given time."""

    def __init__(self, port: int) -> None:
        """Take the handle of a port; OSError or AttributeError where the system lacks a part."""
        create_timer: Any = _kernel32.CreateWaitableTimerExW
        create_timer.restype = c_void_p
        create_timer.argtypes = (c_void_p, c_void_p, c_uint32, c_uint32)
        create_packet: Any = _ntdll.NtCreateWaitCompletionPacket
        create_packet.restype = c_int32
        create_packet.argtypes = (c_void_p, c_uint32, c_void_p)
        self._set: Any = _kernel32.SetWaitableTimer
        self._set.restype = c_int
        self._set.argtypes = (c_void_p, c_void_p, c_int32, c_void_p, c_void_p, c_int)
        self._associate: Any = _ntdll.NtAssociateWaitCompletionPacket
        self._associate.restype = c_int32
        self._associate.argtypes = (
            c_void_p,
            c_void_p,
            c_void_p,
            c_void_p,
            c_void_p,
            c_int32,
            c_size_t,
            c_void_p,
        )
        self._cancel: Any = _ntdll.NtCancelWaitCompletionPacket
        self._cancel.restype = c_int32
        self._cancel.argtypes = (c_void_p, c_int)
        self._close: Any = _kernel32.CloseHandle
        self._close.argtypes = (c_void_p,)
        self._port = port
        self._due = c_int64()
        packet = c_void_p()
        timer = create_timer(None, None, _HIGH_RESOLUTION, _ALL_ACCESS_TO_TIMER)
        if not timer:
            raise failure(ctypes.get_last_error())
        status = create_packet(byref(packet), _GENERIC_ALL, None)
        if status < 0:
            self._close(timer)
            raise OSError(f"NtCreateWaitCompletionPacket: status {status & 0xFFFFFFFF:#x}")
        self._timer = int(timer)
        self._packet = packet.value

    def set(self, seconds: float) -> bool:
        """Post in so many seconds, and not at an earlier time that was set; False if it fails."""
        # What was set before; it may be due already, and then its packet is taken back. One that
        # is just being queued is not (STATUS_PENDING): then the port is told once too often, and
        # the packet may refuse to be associated again, which whoever waits is told.
        self._cancel(self._packet, True)
        # A negative time is from now on, in units of 100 ns.
        self._due.value = -max(1, int(seconds * 1e7) + 1)
        if not self._set(self._timer, byref(self._due), 0, None, None, False):
            return False
        status = self._associate(self._packet, self._port, self._timer, None, None, 0, 0, None)
        return bool(status >= 0)

    def close(self) -> None:
        """Release both objects."""
        self._cancel(self._packet, True)
        self._close(self._packet)
        self._close(self._timer)


def new_alarm(port: int) -> Alarm | None:
    """Return an alarm for a port, or None where the system has no such thing."""
    try:
        return Alarm(port)
    except (OSError, AttributeError):
        return None


def missing_parts() -> str:
    """Say why this system has no alarms; "" if it has."""
    try:
        Alarm(0).close()
    except (OSError, AttributeError) as error:
        return str(error)
    return ""
