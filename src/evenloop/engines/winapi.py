"""The calls to Windows that Python's own modules lack, for handles that are no sockets.

What can be had from `_winapi` (the module under `subprocess`) is taken from there; the rest is
asked for through ctypes, so that nothing here needs a compiler. Every call lets go of the GIL,
and raises OSError with `winerror` set. Importing this module is harmless everywhere.

Facts that the callers go by:

- Kernel handles (sockets, pipes, files, consoles since Windows 8, processes) share one name
  space; descriptors of the C run-time are another one, with small numbers.
- On a handle that was opened without FILE_FLAG_OVERLAPPED the system carries out one call at a
  time: while one thread reads, another one that only asks how much there is has to wait.
- `CancelSynchronousIo` ends the call that a thread is in. It finds nothing to end a moment
  before the thread makes the call, so it is asked again until the thread is gone.
"""

from __future__ import annotations

import codecs
import ctypes
import errno
import functools
import importlib
import sys
from typing import Any, NamedTuple

__all__ = [
    "BROKEN_PIPE",
    "CONSOLE",
    "FILE",
    "OTHER",
    "PIPE",
    "SOCKET",
    "AutoEvent",
    "Event",
    "cancel_call_of",
    "error",
    "exit_code",
    "file_place",
    "file_room",
    "handle_kind",
    "is_overlapped",
    "is_signalled",
    "is_socket",
    "os_handle",
    "peek",
    "pipe_is_closing",
    "read",
    "read_console",
    "reads_messages",
    "skip_to_key",
    "start_read",
    "start_write",
    "wait_any",
    "write",
    "write_console",
]

# Kinds of handles.
SOCKET, PIPE, CONSOLE, FILE, OTHER = "socket", "pipe", "console", "file", "other"

# winerror.h
ERROR_INVALID_HANDLE = 6
ERROR_HANDLE_EOF = 38
ERROR_BROKEN_PIPE = 109
ERROR_NO_DATA = 232
ERROR_PIPE_NOT_CONNECTED = 233
ERROR_MORE_DATA = 234
ERROR_OPERATION_ABORTED = 995
ERROR_IO_PENDING = 997
#: The other end of a pipe is gone; for a reader that is the end of file.
BROKEN_PIPE = frozenset((ERROR_HANDLE_EOF, ERROR_BROKEN_PIPE, ERROR_PIPE_NOT_CONNECTED))

# fileapi.h: what GetFileType() says
_FILE_TYPE_DISK = 1
_FILE_TYPE_CHAR = 2
_FILE_TYPE_PIPE = 3

# ntddk.h, ntifs.h: what NtQueryInformationFile() tells
_FILE_POSITION_INFORMATION = 14
_FILE_MODE_INFORMATION = 16
_FILE_PIPE_INFORMATION = 23
_FILE_PIPE_LOCAL_INFORMATION = 24
_FILE_SYNCHRONOUS_IO = 0x10 | 0x20  # alertable or not
_FILE_PIPE_CLOSING_STATE = 4

_THREAD_TERMINATE = 0x0001
_KEY_EVENT = 1
_WAIT_FAILED = 0xFFFFFFFF
_INFINITE = 0xFFFFFFFF
_CTRL_Z = "\x1a"
# ReadConsoleW answers this many characters at most.
_CONSOLE_READ = 8192
# Characters handed to one WriteConsoleW.
_CONSOLE_WRITE = 4096


class _IoStatus(ctypes.Structure):
    _fields_ = (("status", ctypes.c_void_p), ("information", ctypes.c_void_p))


class _PipeLocal(ctypes.Structure):
    """FILE_PIPE_LOCAL_INFORMATION."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("configuration", ctypes.c_uint32),
        ("maximum_instances", ctypes.c_uint32),
        ("current_instances", ctypes.c_uint32),
        ("inbound_quota", ctypes.c_uint32),
        ("read_data_available", ctypes.c_uint32),
        ("outbound_quota", ctypes.c_uint32),
        ("write_quota_available", ctypes.c_uint32),
        ("state", ctypes.c_uint32),
        ("end", ctypes.c_uint32),
    )


class _InputRecord(ctypes.Structure):
    """INPUT_RECORD, as far as it tells a key that goes down from everything else."""

    _fields_ = (
        ("type", ctypes.c_uint16),
        ("key_down", ctypes.c_int32),
        ("rest", ctypes.c_byte * 12),
    )


class _Libraries(NamedTuple):
    kernel32: Any
    ntdll: Any
    ws2_32: Any
    winapi: Any
    msvcrt: Any


@functools.cache
def _libraries() -> _Libraries:
    """Load what is called, once."""
    windows: Any = ctypes  # it has WinDLL on Windows only
    kernel32 = windows.WinDLL("kernel32", use_last_error=True)
    ntdll = windows.WinDLL("ntdll")
    ws2_32 = windows.WinDLL("ws2_32", use_last_error=True)
    handle, dword, flag = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int32
    pointer = ctypes.c_void_p
    for function, result, arguments in (
        (kernel32.OpenThread, handle, (dword, flag, dword)),
        (kernel32.CancelSynchronousIo, flag, (handle,)),
        (kernel32.CloseHandle, flag, (handle,)),
        (kernel32.CreateEventW, handle, (pointer, flag, flag, pointer)),
        (kernel32.SetEvent, flag, (handle,)),
        (kernel32.WaitForMultipleObjects, dword, (dword, pointer, flag, dword)),
        (kernel32.GetConsoleMode, flag, (handle, pointer)),
        (kernel32.ReadConsoleW, flag, (handle, pointer, dword, pointer, pointer)),
        (kernel32.WriteConsoleW, flag, (handle, pointer, dword, pointer, pointer)),
        (kernel32.PeekConsoleInputW, flag, (handle, pointer, dword, pointer)),
        (kernel32.ReadConsoleInputW, flag, (handle, pointer, dword, pointer)),
        (kernel32.GetFileSizeEx, flag, (handle, pointer)),
        (ntdll.NtQueryInformationFile, ctypes.c_int32, (handle, pointer, pointer, dword, dword)),
        (ws2_32.getsockopt, flag, (handle, flag, flag, pointer, pointer)),
    ):
        function.restype = result
        function.argtypes = arguments
    return _Libraries(
        kernel32,
        ntdll,
        ws2_32,
        importlib.import_module("_winapi"),
        importlib.import_module("msvcrt"),
    )


def error(code: int | None = None) -> OSError:
    """Return the exception of a Windows error, by default of this thread's last one."""
    windows: Any = ctypes
    number: int = windows.get_last_error() if code is None else code
    return OSError(None, windows.FormatError(number).strip(), None, number)


def _check(succeeded: Any) -> None:
    if not succeeded:
        raise error()


# ---- what a handle is --------------------------------------------------------------------------


def os_handle(descriptor: int) -> int:
    """Return the handle under a descriptor of the C run-time; OSError (EBADF) if it has none."""
    handle: int = _libraries().msvcrt.get_osfhandle(descriptor)
    if handle in (-1, -2):
        # -2: a standard stream of a process that has no console.
        raise OSError(errno.EBADF, f"descriptor {descriptor} has no handle")
    return handle


def is_socket(handle: int) -> bool:
    """Whether a handle is a socket's."""
    value = ctypes.c_int32()
    size = ctypes.c_int32(ctypes.sizeof(value))
    # SOL_SOCKET, SO_TYPE
    answer = _libraries().ws2_32.getsockopt(
        handle, 0xFFFF, 0x1008, ctypes.byref(value), ctypes.byref(size)
    )
    return bool(answer == 0)


def handle_kind(handle: int) -> str:
    """Return the kind of a handle; OSError (ERROR_INVALID_HANDLE) if it is none."""
    libraries = _libraries()
    if is_socket(handle):
        return SOCKET
    kind = libraries.winapi.GetFileType(handle)
    if kind == _FILE_TYPE_PIPE:
        return PIPE
    if kind == _FILE_TYPE_DISK:
        return FILE
    if kind == _FILE_TYPE_CHAR:
        mode = ctypes.c_uint32()
        if libraries.kernel32.GetConsoleMode(handle, ctypes.byref(mode)):
            return CONSOLE
    return OTHER


def is_overlapped(handle: int) -> bool:
    """Whether a handle was opened for overlapped requests; a completion port takes no other."""
    mode = ctypes.c_uint32()
    status = _IoStatus()
    answer = _libraries().ntdll.NtQueryInformationFile(
        handle,
        ctypes.byref(status),
        ctypes.byref(mode),
        ctypes.sizeof(mode),
        _FILE_MODE_INFORMATION,
    )
    return bool(answer == 0 and not mode.value & _FILE_SYNCHRONOUS_IO)


def reads_messages(handle: int) -> bool:
    """Whether a pipe is read message by message, so that a read may say that there is more."""
    modes = (ctypes.c_uint32 * 2)()  # FILE_PIPE_INFORMATION: of reading and of completion
    answer = _libraries().ntdll.NtQueryInformationFile(
        handle,
        ctypes.byref(_IoStatus()),
        ctypes.byref(modes),
        ctypes.sizeof(modes),
        _FILE_PIPE_INFORMATION,
    )
    return bool(answer == 0 and modes[0])


def pipe_is_closing(handle: int) -> bool:
    """Whether the other end of a pipe is closed, whatever is left to be read; False if unknown."""
    local = _PipeLocal()
    status = _IoStatus()
    answer = _libraries().ntdll.NtQueryInformationFile(
        handle,
        ctypes.byref(status),
        ctypes.byref(local),
        ctypes.sizeof(local),
        _FILE_PIPE_LOCAL_INFORMATION,
    )
    return bool(answer == 0 and local.state == _FILE_PIPE_CLOSING_STATE)


# ---- calls that block their thread -------------------------------------------------------------


def read(handle: int, size: int) -> bytes:
    """Read at most `size` bytes through a handle that is not overlapped; b"" at the end."""
    try:
        data, _ = _libraries().winapi.ReadFile(handle, size)
    except OSError as exc:
        if getattr(exc, "winerror", None) in BROKEN_PIPE:
            return b""
        raise
    return data  # type: ignore[no-any-return]


def write(handle: int, data: bytes | memoryview) -> int:
    """Write through a handle that is not overlapped; return how much went."""
    count, _ = _libraries().winapi.WriteFile(handle, data)
    return count  # type: ignore[no-any-return]


def peek(handle: int) -> int:
    """Return how many bytes a pipe has to be read; OSError (BROKEN_PIPE) at its end."""
    available, _ = _libraries().winapi.PeekNamedPipe(handle)
    return available  # type: ignore[no-any-return]


def start_read(handle: int, size: int) -> Any:
    """Begin to read through an overlapped handle; what is returned has the outcome and cancel()."""
    return _libraries().winapi.ReadFile(handle, size, overlapped=True)[0]


def start_write(handle: int, data: bytes) -> Any:
    """Begin to write through an overlapped handle; as `start_read()`."""
    return _libraries().winapi.WriteFile(handle, data, overlapped=True)[0]


def file_room(handle: int) -> int:
    """Return how many bytes of a regular file lie behind its position."""
    position, size = file_place(handle)
    return size - position


def file_place(handle: int) -> tuple[int, int]:
    """Return the position and the size of a regular file."""
    libraries = _libraries()
    size, position, status = ctypes.c_int64(), ctypes.c_int64(), _IoStatus()
    _check(libraries.kernel32.GetFileSizeEx(handle, ctypes.byref(size)))
    # Not SetFilePointerEx(): that gets and then sets, and another thread may read in between.
    if libraries.ntdll.NtQueryInformationFile(
        handle,
        ctypes.byref(status),
        ctypes.byref(position),
        ctypes.sizeof(position),
        _FILE_POSITION_INFORMATION,
    ):
        raise error(ERROR_INVALID_HANDLE)
    return position.value, size.value


def exit_code(process: int) -> int:
    """Return the exit code of a process that has ended."""
    return _libraries().winapi.GetExitCodeProcess(process)  # type: ignore[no-any-return]


def is_signalled(handle: int) -> bool:
    """Whether a handle is signalled: of a process, that it has ended."""
    return _libraries().winapi.WaitForSingleObject(handle, 0) == 0  # type: ignore[no-any-return]


def cancel_call_of(thread_id: int) -> None:
    """End the blocking read or write that a thread is in, if it is in one."""
    kernel32 = _libraries().kernel32
    thread = kernel32.OpenThread(_THREAD_TERMINATE, False, thread_id)
    if thread:
        kernel32.CancelSynchronousIo(thread)
        kernel32.CloseHandle(thread)


class Event:
    """An event that threads can wait for together with handles."""

    _STAYS = True

    def __init__(self) -> None:
        handle = _libraries().kernel32.CreateEventW(None, self._STAYS, False, None)
        _check(handle)
        self.handle: int = handle

    def set(self) -> None:
        """Let everyone go on."""
        _libraries().kernel32.SetEvent(self.handle)

    def close(self) -> None:
        """Release it."""
        handle, self.handle = self.handle, 0
        if handle:
            _libraries().kernel32.CloseHandle(handle)


class AutoEvent(Event):
    """An event that lets one thread go on each time."""

    _STAYS = False


def wait_any(handles: list[int], seconds: float | None = None) -> int | None:
    """Wait until a handle is signalled; return its index, or None when time is up."""
    array = (ctypes.c_void_p * len(handles))(*handles)
    milliseconds = _INFINITE if seconds is None else int(seconds * 1000)
    answer = _libraries().kernel32.WaitForMultipleObjects(
        len(handles), ctypes.byref(array), False, milliseconds
    )
    if answer == _WAIT_FAILED:
        raise error()
    return answer if answer < len(handles) else None


# ---- consoles ----------------------------------------------------------------------------------


def skip_to_key(console: int) -> bool:
    """Whether a key was pressed; takes out what else is ahead of it in a console's input.

    Keys that go up, mouse moves and changes of the window make the handle signalled, too, and
    there is nothing to be read then.
    """
    kernel32 = _libraries().kernel32
    record = _InputRecord()
    count = ctypes.c_uint32()
    while True:
        _check(kernel32.PeekConsoleInputW(console, ctypes.byref(record), 1, ctypes.byref(count)))
        if not count.value:
            return False
        if record.type == _KEY_EVENT and record.key_down:
            return True
        _check(kernel32.ReadConsoleInputW(console, ctypes.byref(record), 1, ctypes.byref(count)))


def read_console(console: int) -> bytes:
    """Read what was typed, as UTF-8; b"" for Ctrl-Z at the beginning of a line."""
    buffer = ctypes.create_unicode_buffer(_CONSOLE_READ)
    count = ctypes.c_uint32()
    _check(
        _libraries().kernel32.ReadConsoleW(
            console, buffer, _CONSOLE_READ - 1, ctypes.byref(count), None
        )
    )
    if not count.value and sys.platform == "win32":
        code = ctypes.get_last_error()
        if code == ERROR_OPERATION_ABORTED:
            # Ctrl-C, or `cancel_call_of()`: it counts as an interrupt, not as the end.
            raise error(code)
    text = ctypes.wstring_at(ctypes.addressof(buffer), count.value)
    if text.startswith(_CTRL_Z):
        return b""
    return text.encode("utf-8", "surrogatepass")


def write_console(console: int, data: bytes, decoder: codecs.IncrementalDecoder) -> None:
    """Write UTF-8 to a console; `decoder` keeps what is incomplete at the end of `data`."""
    text = decoder.decode(data)
    kernel32 = _libraries().kernel32
    written = ctypes.c_uint32()
    for start in range(0, len(text), _CONSOLE_WRITE):
        # The console counts in units of UTF-16.
        units = text[start : start + _CONSOLE_WRITE].encode("utf-16-le", "surrogatepass")
        while units:
            buffer = ctypes.create_string_buffer(units, len(units))
            count = len(units) // 2
            _check(kernel32.WriteConsoleW(console, buffer, count, ctypes.byref(written), None))
            units = units[2 * written.value :]
