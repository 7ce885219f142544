"""What Windows tells of a process: its handles and its children, through ctypes."""

from __future__ import annotations

import ctypes
import os
import sys
from collections import Counter
from typing import Any

#: Kinds that Windows opens when something is used for the first time, and keeps.
LASTING = frozenset(
    {"ALPC Port", "Desktop", "Directory", "Key", "KeyedEvent", "Mutant", "Section", "WindowStation"}
)
if sys.version_info < (3, 13):
    # Each lock of Python's is one there, and pytest's own come and go.
    LASTING |= {"Semaphore"}
#: So many free numbers in a row end the search for handles; the lowest are given out first.
GAP = 64

if sys.platform == "win32":
    from ctypes import wintypes

    kernel32: Any = ctypes.WinDLL("kernel32", use_last_error=True)
    ntdll: Any = ctypes.WinDLL("ntdll")
    kernel32.GetHandleInformation.argtypes = [wintypes.HANDLE, ctypes.POINTER(wintypes.DWORD)]
    kernel32.CreateToolhelp32Snapshot.restype = wintypes.HANDLE
    kernel32.CreateToolhelp32Snapshot.argtypes = [wintypes.DWORD, wintypes.DWORD]
    kernel32.CloseHandle.argtypes = [wintypes.HANDLE]
    ntdll.NtQueryObject.argtypes = [
        wintypes.HANDLE,
        ctypes.c_int,
        ctypes.c_void_p,
        wintypes.ULONG,
        ctypes.c_void_p,
    ]

    class _Entry(ctypes.Structure):
        """PROCESSENTRY32W."""

        _fields_ = [
            ("size", wintypes.DWORD),
            ("usage", wintypes.DWORD),
            ("pid", wintypes.DWORD),
            ("heap", ctypes.c_size_t),
            ("module", wintypes.DWORD),
            ("threads", wintypes.DWORD),
            ("parent", wintypes.DWORD),
            ("priority", wintypes.LONG),
            ("flags", wintypes.DWORD),
            ("executable", wintypes.WCHAR * 260),
        ]

    # The first wait of the system's thread pool makes a thread that keeps an event. One that lasts
    # as long as the process has both there before any test is looked at. It is never called back.
    _never = kernel32.CreateEventW(None, True, False, None)
    _waiting = wintypes.HANDLE()
    kernel32.RegisterWaitForSingleObject.argtypes = [
        ctypes.POINTER(wintypes.HANDLE),
        wintypes.HANDLE,
        ctypes.c_void_p,
        ctypes.c_void_p,
        wintypes.DWORD,
        wintypes.DWORD,
    ]
    kernel32.RegisterWaitForSingleObject(
        ctypes.byref(_waiting), _never, ctypes.cast(kernel32.SetEvent, ctypes.c_void_p), None, -1, 0
    )

    kernel32.Process32FirstW.argtypes = [wintypes.HANDLE, ctypes.POINTER(_Entry)]
    kernel32.Process32NextW.argtypes = [wintypes.HANDLE, ctypes.POINTER(_Entry)]

    def kind_of(handle: int) -> str:
        """The type of a handle: File (pipes and sockets too), Event, Process, IoCompletion..."""
        answer = ctypes.create_string_buffer(1024)
        if ntdll.NtQueryObject(handle, 2, answer, len(answer), None):
            return "unknown"
        length = ctypes.c_ushort.from_buffer(answer).value
        place = ctypes.c_void_p.from_buffer(answer, 8).value
        return ctypes.wstring_at(place, length // 2) if place else "unknown"

    def handles() -> set[tuple[int, str]]:
        """Every handle of this process that something may have forgotten, as (ordinal, type).

        GetProcessHandleCount would be enough to count them, but Wine answers 0, and a number
        tells nobody what was left open. They are numbered within their type, because the same
        file may have another handle later: pytest, which captures output, changes those of the
        standard streams between the phases of a test.
        """
        flags = wintypes.DWORD()
        found: Counter[str] = Counter()
        missed, handle = 0, 4
        while missed < GAP:
            if kernel32.GetHandleInformation(handle, ctypes.byref(flags)):
                missed = 0
                kind = kind_of(handle)
                if kind not in LASTING:
                    found[kind] += 1
            else:
                missed += 1
            handle += 4
        return {(number, kind) for kind in found for number in range(found[kind])}

    def children() -> set[int]:
        """Process ids of the running children of this process."""
        found = set()
        snapshot = kernel32.CreateToolhelp32Snapshot(2, 0)  # TH32CS_SNAPPROCESS
        try:
            entry = _Entry(size=ctypes.sizeof(_Entry))
            more = kernel32.Process32FirstW(snapshot, ctypes.byref(entry))
            while more:
                if entry.parent == os.getpid():
                    found.add(int(entry.pid))
                more = kernel32.Process32NextW(snapshot, ctypes.byref(entry))
        finally:
            kernel32.CloseHandle(snapshot)
        return found
