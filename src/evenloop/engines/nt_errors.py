"""What goes wrong on Windows: NTSTATUS values, error codes and the exceptions they become."""

from __future__ import annotations

import ctypes
import sys

assert sys.platform == "win32"

__all__ = ["failure", "status_to_error"]

_ntdll = ctypes.WinDLL("ntdll")
_ntdll.RtlNtStatusToDosError.restype = ctypes.c_uint32
_ntdll.RtlNtStatusToDosError.argtypes = (ctypes.c_uint32,)

# What AFD says, in winsock's own error codes; ntdll knows the others.
_WINSOCK_ERRORS = {
    0xC000000D: 10022,  # invalid parameter
    0xC0000023: 10040,  # buffer too small: a datagram that is too long
    0x80000005: 10040,  # buffer overflow: the same
    0xC00000B5: 10060,  # I/O timeout
    0xC0000120: 995,  # cancelled
    0xC000013B: 10053,  # local disconnect
    0xC000013C: 10054,  # remote disconnect
    0xC0000207: 10049,  # invalid address component
    0xC0000208: 10055,  # too many addresses
    0xC000020A: 10048,  # address already exists
    0xC000020B: 10049,  # address closed
    0xC000020C: 10053,  # connection disconnected
    0xC000020D: 10054,  # connection reset
    0xC0000236: 10061,  # connection refused
    0xC0000237: 10053,  # graceful disconnect
    0xC000023B: 10057,  # connection invalid
    0xC000023C: 10051,  # network unreachable
    0xC000023D: 10065,  # host unreachable
    0xC000023E: 10051,  # protocol unreachable
    0xC000023F: 10054,  # port unreachable
    0xC0000240: 10053,  # request aborted
    0xC0000241: 10053,  # connection aborted
    0xC0000140: 10053,  # connection closed: "invalid connection"
}


def failure(code: int, explanation: str = "") -> OSError:
    """Return the OSError of a Windows error code."""
    # With winerror given, Python chooses errno and the subclass itself.
    text = ctypes.FormatError(code).strip()
    return OSError(None, f"{text}{explanation}", None, code)


def status_to_error(status: int) -> int:
    """Return the error code for an NTSTATUS; 0 for success and warnings that are none."""
    known = _WINSOCK_ERRORS.get(status & 0xFFFFFFFF)
    if known is not None:
        return known
    if status & 0x80000000 == 0:
        return 0
    code: int = _ntdll.RtlNtStatusToDosError(status)
    return code
