"""Files to sockets by the Windows kernel: TransmitFile.

A call takes an OVERLAPPED, for the position in the file, and is waited for in a thread: that
works on every engine, and whoever sends a file needs a thread to read it otherwise. The lowest
bit of the event's handle is set, which tells the system to queue nothing on a completion port
that the socket may belong to.

A call to a peer that leaves ends with an error, as documented. Under Wine 10 it does not if the
peer was gone before the call: in a program of nothing but winsock, 31 of 40 such calls stayed
pending for ever. So a call that takes long has its socket looked at now and then.

https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-transmitfile
"""

from __future__ import annotations

import ctypes
import functools
import select
import socket
import sys
from typing import Any

from evenloop.engines import winapi

__all__ = ["Transmission", "available"]

#: One call takes at most this much (2 GiB less one, and a page).
LARGEST = (1 << 31) - 4096

# How often the socket of a call that takes long is looked at, in milliseconds.
_LOOK = 1000
_WAIT_TIMEOUT = 258
_ERROR_NETNAME_DELETED = 64
_WSAECONNRESET = 10054


class _Overlapped(ctypes.Structure):
    _fields_ = (
        ("internal", ctypes.c_size_t),
        ("internal_high", ctypes.c_size_t),
        ("offset", ctypes.c_uint32),
        ("offset_high", ctypes.c_uint32),
        ("event", ctypes.c_size_t),
    )


@functools.cache
def _libraries() -> tuple[Any, Any]:
    windows: Any = ctypes
    mswsock = windows.WinDLL("mswsock", use_last_error=True)
    kernel32 = windows.WinDLL("kernel32", use_last_error=True)
    handle, dword, flag = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int32
    pointer = ctypes.c_void_p
    mswsock.TransmitFile.restype = flag
    mswsock.TransmitFile.argtypes = (handle, handle, dword, dword, pointer, pointer, dword)
    kernel32.GetOverlappedResult.restype = flag
    kernel32.GetOverlappedResult.argtypes = (handle, pointer, pointer, flag)
    kernel32.CancelIoEx.restype = flag
    kernel32.CancelIoEx.argtypes = (handle, pointer)
    kernel32.WaitForSingleObject.restype = dword
    kernel32.WaitForSingleObject.argtypes = (handle, dword)
    return mswsock, kernel32


def _as_winsock_says(error: OSError) -> OSError:
    """Return the error of a call of winsock's for one of the file system's."""
    if getattr(error, "winerror", 0) == _ERROR_NETNAME_DELETED:
        return winapi.error(_WSAECONNRESET)
    return error


def available() -> bool:
    """Whether this system has TransmitFile."""
    return sys.platform == "win32"


class Transmission:
    """One part of a file on its way through a socket."""

    def __init__(self, sock: socket.socket, file: int, offset: int, size: int) -> None:
        self._object = sock
        self._sock = sock.fileno()
        self._file = winapi.os_handle(file)
        self._size = min(size, LARGEST)
        self._overlapped = _Overlapped(offset=offset & 0xFFFFFFFF, offset_high=offset >> 32)
        self._cancelled = False

    def run(self) -> int:
        """Send it and return how many bytes that were; blocks its thread."""
        mswsock, kernel32 = _libraries()
        event = winapi.Event()
        try:
            overlapped = self._overlapped
            overlapped.event = event.handle | 1
            pointer = ctypes.byref(overlapped)
            if not mswsock.TransmitFile(self._sock, self._file, self._size, 0, pointer, None, 0):
                error = winapi.error()
                if getattr(error, "winerror", 0) != winapi.ERROR_IO_PENDING:
                    raise error
            if self._cancelled:
                self.cancel()
            broken = None
            while kernel32.WaitForSingleObject(event.handle, _LOOK) == _WAIT_TIMEOUT:
                broken = broken or self._what_broke()
                if broken is not None:
                    self.cancel()
            count = ctypes.c_uint32()
            # In any case until the end: the system has the OVERLAPPED so long.
            if not kernel32.GetOverlappedResult(self._sock, pointer, ctypes.byref(count), True):
                raise broken or _as_winsock_says(winapi.error())
            return count.value
        finally:
            event.close()

    def _what_broke(self) -> OSError | None:
        """Return what a receive says that took nothing, if the connection is no more."""
        try:
            if select.select([self._sock], [], [], 0)[0]:
                self._object.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        except OSError as error:
            return error
        return None

    def moved(self) -> int:
        """Return how much of a call that failed went out, as far as the system says."""
        return min(int(self._overlapped.internal_high), self._size)

    def cancel(self) -> None:
        """End it before its time; from any thread. `run()` then raises OSError."""
        self._cancelled = True
        _libraries()[1].CancelIoEx(self._sock, ctypes.byref(self._overlapped))
