"""What the engines for Windows ask of the system, through ctypes.

This is the layer of calls below `afd` and `iocp`, and nothing but calls: no policy, no sockets
of Python's. `ports.pyx` is the same in C for compiled builds, name by name.

A `Request` is one OVERLAPPED and the memory that goes with it. Its maker uses it again and
again, one operation at a time. From `begin` until the completion is taken from the port its
memory belongs to the kernel, so the port holds on to it, whoever else lets go. It stays "in
flight" until `arrived`: callbacks run before, and to begin anew there would write over it.

Every call that begins an operation returns DONE, PENDING or a Windows error code. DONE only
comes from handles whose `skips` is set: nothing will be queued then.

A `Watch` has the port told that a handle is signalled. What is posted is a number that is no
address, being odd, and never the same: a post whose watch was taken back meanwhile is known.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from ctypes import (
    POINTER,
    Structure,
    addressof,
    byref,
    c_char_p,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_ulong,
    c_void_p,
    c_wchar_p,
    cast,
    create_string_buffer,
    sizeof,
    string_at,
)
from typing import Any

assert sys.platform == "win32"

from evenloop.engines.nt_errors import failure, status_to_error  # noqa: E402

__all__ = [
    "Port",
    "Request",
    "Watch",
    "base_socket",
    "close_handle",
    "failure",
    "is_socket",
    "open_poller",
    "skip_port_when_done",
]

DONE = 0
PENDING = -1

# Events of AFD polls.
AFD_RECEIVE = 0x001
AFD_URGENT = 0x002
AFD_SEND = 0x004
AFD_DISCONNECT = 0x008
AFD_ABORT = 0x010
AFD_LOCAL_CLOSE = 0x020
AFD_ACCEPT = 0x080
AFD_CONNECT_FAIL = 0x100

ERROR_INVALID_HANDLE = 6
ERROR_IO_PENDING = 997
ERROR_NOT_FOUND = 1168
ERROR_BROKEN_PIPE = 109
ERROR_HANDLE_EOF = 38
ERROR_MORE_DATA = 234
WSAENOTSOCK = 10038
WSAEMSGSIZE = 10040
WAIT_TIMEOUT = 258

_IOCTL_AFD_POLL = 0x00012024
_SIO_BASE_HANDLE = 0x48000022
# What a layered provider that hides the base handle may still tell: for select, poll, or at all.
_SIO_BSP_HANDLES = (0x4800001C, 0x4800001D, 0x4800001B)
_SYNCHRONIZE = 0x00100000
_FILE_FLAG_OVERLAPPED = 0x40000000
_OPEN_EXISTING = 3
_SKIP_PORT_ON_SUCCESS_AND_EVENT = 1 | 2
_SOL_SOCKET = 0xFFFF
_SO_TYPE = 0x1008
_INVALID = 2 ** (8 * sizeof(c_void_p)) - 1
_INFINITE = 0xFFFFFFFF
# The largest address of a socket; AcceptEx wants 16 bytes beside each.
_ADDRESS = 128
_ADDRESSES = 2 * (_ADDRESS + 16)
# Completions taken in one call.
_BATCH = 256

_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_ws2_32 = ctypes.WinDLL("ws2_32", use_last_error=True)
_mswsock = ctypes.WinDLL("mswsock", use_last_error=True)
_overlapped: Any = importlib.import_module("_overlapped")


class _Overlapped(Structure):
    _fields_ = [
        ("Internal", c_size_t),
        ("InternalHigh", c_size_t),
        ("Offset", c_uint32),
        ("OffsetHigh", c_uint32),
        ("hEvent", c_void_p),
    ]


class _Entry(Structure):
    _fields_ = [
        ("lpCompletionKey", c_size_t),
        ("lpOverlapped", c_void_p),
        ("Internal", c_size_t),
        ("dwNumberOfBytesTransferred", c_uint32),
    ]


class _Buffer(Structure):
    _fields_ = [("len", c_ulong), ("buf", c_void_p)]


class _Poll(Structure):
    """AFD_POLL_INFO with room for one handle."""

    _fields_ = [
        ("Timeout", c_int64),
        ("NumberOfHandles", c_uint32),
        ("Exclusive", c_uint32),
        ("Handle", c_void_p),
        ("Events", c_uint32),
        ("Status", c_int32),
    ]


def _declare(library: Any, name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(library, name)
    function.restype = result
    function.argtypes = arguments
    return function


_HANDLE = c_void_p
_SOCKET = c_size_t
_COUNT = POINTER(c_uint32)

_CreateIoCompletionPort = _declare(
    _kernel32, "CreateIoCompletionPort", c_void_p, _HANDLE, _HANDLE, c_size_t, c_uint32
)
_GetQueuedCompletionStatusEx = _declare(
    _kernel32,
    "GetQueuedCompletionStatusEx",
    c_int,
    _HANDLE,
    c_void_p,
    c_uint32,
    _COUNT,
    c_uint32,
    c_int,
)
_PostQueuedCompletionStatus = _declare(
    _kernel32, "PostQueuedCompletionStatus", c_int, _HANDLE, c_uint32, c_size_t, c_void_p
)
_CancelIoEx = _declare(_kernel32, "CancelIoEx", c_int, _HANDLE, c_void_p)
_CloseHandle = _declare(_kernel32, "CloseHandle", c_int, _HANDLE)
_CreateFileW = _declare(
    _kernel32,
    "CreateFileW",
    c_void_p,
    c_wchar_p,
    c_uint32,
    c_uint32,
    c_void_p,
    c_uint32,
    c_uint32,
    _HANDLE,
)
_DeviceIoControl = _declare(
    _kernel32,
    "DeviceIoControl",
    c_int,
    _HANDLE,
    c_uint32,
    c_void_p,
    c_uint32,
    c_void_p,
    c_uint32,
    _COUNT,
    c_void_p,
)
_SetFileCompletionNotificationModes = _declare(
    _kernel32, "SetFileCompletionNotificationModes", c_int, _HANDLE, c_uint32
)
_ReadFile = _declare(_kernel32, "ReadFile", c_int, _HANDLE, c_void_p, c_uint32, _COUNT, c_void_p)
_WriteFile = _declare(_kernel32, "WriteFile", c_int, _HANDLE, c_void_p, c_uint32, _COUNT, c_void_p)
_WSARecv = _declare(
    _ws2_32, "WSARecv", c_int, _SOCKET, c_void_p, c_uint32, _COUNT, _COUNT, c_void_p, c_void_p
)
_WSASend = _declare(
    _ws2_32, "WSASend", c_int, _SOCKET, c_void_p, c_uint32, _COUNT, c_uint32, c_void_p, c_void_p
)
_WSAIoctl = _declare(
    _ws2_32,
    "WSAIoctl",
    c_int,
    _SOCKET,
    c_uint32,
    c_void_p,
    c_uint32,
    c_void_p,
    c_uint32,
    _COUNT,
    c_void_p,
    c_void_p,
)
_getsockopt = _declare(
    _ws2_32, "getsockopt", c_int, _SOCKET, c_int, c_int, c_void_p, POINTER(c_int)
)
_WSARecvFrom = _declare(
    _ws2_32,
    "WSARecvFrom",
    c_int,
    _SOCKET,
    c_void_p,
    c_uint32,
    _COUNT,
    _COUNT,
    c_void_p,
    c_void_p,
    c_void_p,
    c_void_p,
)
_AcceptEx = _declare(
    _mswsock,
    "AcceptEx",
    c_int,
    _SOCKET,
    _SOCKET,
    c_void_p,
    c_uint32,
    c_uint32,
    c_uint32,
    _COUNT,
    c_void_p,
)


_UnregisterWaitEx = _declare(_kernel32, "UnregisterWaitEx", c_int, _HANDLE, _HANDLE)


def close_handle(handle: int) -> None:
    """Close a handle that is no socket."""
    _CloseHandle(handle)


def is_socket(handle: int) -> bool:
    """Whether a handle is a socket's."""
    value, size = c_int(), c_int(4)
    return bool(_getsockopt(handle, _SOL_SOCKET, _SO_TYPE, byref(value), byref(size)) == 0)


def base_socket(handle: int) -> int:
    """Return the socket below the layers of other providers; OSError if it is no socket."""
    base, size = c_size_t(), c_uint32()
    first = 0
    for request in (_SIO_BASE_HANDLE, *_SIO_BSP_HANDLES):
        if (
            _WSAIoctl(handle, request, None, 0, byref(base), sizeof(base), byref(size), None, None)
            == 0
        ):
            if request == _SIO_BASE_HANDLE or base.value != handle:
                return base.value
        elif first == 0:
            first = ctypes.get_last_error()
            if first == WSAENOTSOCK:
                break
    raise failure(first or WSAENOTSOCK)


def open_poller() -> int:
    """Return a handle of the socket driver's own, through which sockets are polled."""
    path = "\\\\.\\GLOBALROOT\\Device\\Afd\\evenloop"
    handle = _CreateFileW(path, _SYNCHRONIZE, 3, None, _OPEN_EXISTING, _FILE_FLAG_OVERLAPPED, None)
    if handle is None or handle == _INVALID:
        raise failure(ctypes.get_last_error())
    return int(handle)


def skip_port_when_done(handle: int) -> bool:
    """Have no completion queued for what is done at once; whether that is so from now on."""
    return bool(_SetFileCompletionNotificationModes(handle, _SKIP_PORT_ON_SUCCESS_AND_EVENT))


class Port:
    """An I/O completion port."""

    def __init__(self) -> None:
        handle = _CreateIoCompletionPort(_INVALID, None, 0, 1)
        if not handle:
            raise failure(ctypes.get_last_error())
        self.handle = int(handle)
        #: Requests whose memory the kernel has, by address.
        self.requests: dict[int, Request] = {}
        #: Requests that have something for the next round without the kernel's doing.
        self.again: list[Request] = []
        #: Watches whose post is still to come, and how many there were, by what they post.
        self.watches: dict[int, Watch] = {}
        self.watched = 0
        self._entries = (_Entry * _BATCH)()
        self._count = c_uint32()
        self._taken = 0  # of them

    def associate(self, handle: int) -> int:
        """Have completions of a handle queued here, for as long as it is open: error or 0."""
        if _CreateIoCompletionPort(handle, self.handle, 0, 0):
            return 0
        return ctypes.get_last_error()

    def wait(self, milliseconds: int) -> int:
        """Wait for completions (negative: for ever) and return how many there are to take."""
        left = self._count.value - self._taken
        if left > 0:
            return left  # an interrupt came before they were taken
        self._count.value = self._taken = 0
        timeout = _INFINITE if milliseconds < 0 else milliseconds
        if not _GetQueuedCompletionStatusEx(
            self.handle, self._entries, _BATCH, byref(self._count), timeout, False
        ):
            error = ctypes.get_last_error()
            self._count.value = 0
            if error == WAIT_TIMEOUT:
                return 0
            raise failure(error)
        return self._count.value

    def take(self) -> Request | None:
        """Return the next request of the last wait; None for what was only posted."""
        entry = self._entries[self._taken]
        self._taken += 1
        address, entry.lpOverlapped = entry.lpOverlapped or 0, None
        if address & 1:
            return self.watches.pop(address, None)
        request = self.requests.pop(address, None)
        if request is not None:
            request.transferred = entry.dwNumberOfBytesTransferred
            request.status = request.overlapped.Internal & 0xFFFFFFFF
        return request

    def post(self) -> None:
        """End a wait, this or the next; from any thread."""
        _PostQueuedCompletionStatus(self.handle, 0, 0, None)

    def in_flight(self) -> int:
        """Return how many requests the kernel has."""
        return len(self.requests)

    def close(self) -> None:
        """Close the port; nothing may be in flight."""
        handle, self.handle = self.handle, 0
        if handle:
            _CloseHandle(handle)


class Request:
    """One OVERLAPPED, the memory that goes with it, and the operations it can carry."""

    def __init__(self, port: Port) -> None:
        self.port = port
        self.handle = 0
        self.in_flight = False
        #: How many bytes the last operation moved, and its NTSTATUS.
        self.transferred = 0
        self.status = 0
        self.overlapped = _Overlapped()
        self.address = addressof(self.overlapped)
        self._moved = c_uint32()
        self._flags = c_uint32()
        self._memory: Any = None
        self._size = 0
        self._pieces: Any = None
        self._kept: Any = None
        self._poll: Any = None

    def arrived(self) -> None:
        """Take the completion, `land()`; called by the engine on the loop's thread."""
        raise NotImplementedError

    def land(self) -> None:
        """The completion has arrived: what it brought may be taken, and another one begin."""
        self.in_flight = False

    def error(self) -> int:
        """Return the error code of the last operation, or 0."""
        return status_to_error(self.status)

    def cancel_io(self) -> None:
        """Ask for the operation to end; its completion comes all the same."""
        if self.in_flight:
            _CancelIoEx(self.handle, self.address)

    def poll(self, poller: int, sock: int, events: int) -> int:
        """Wait until the base socket `sock` has one of the events of AFD."""
        if self._poll is None:
            self._poll = _Poll()
        poll = self._poll
        poll.Timeout = 0x7FFFFFFFFFFFFFFF
        poll.NumberOfHandles = 1
        poll.Exclusive = 0
        poll.Handle = sock
        poll.Events = events
        poll.Status = 0
        self._begin(poller)
        where, size = addressof(poll), sizeof(poll)
        return self._begun(
            _DeviceIoControl(poller, _IOCTL_AFD_POLL, where, size, where, size, None, self.address),
            False,
        )

    def events(self) -> int:
        """Return the events of AFD that a poll ended with."""
        if self.status != 0 or self._poll.NumberOfHandles < 1:
            return 0
        return int(self._poll.Events)

    def receive(self, handle: int, size: int, skips: bool) -> int:
        """Receive at most `size` bytes from a socket."""
        self._reserve(size)
        self._flags.value = 0
        self._begin(handle)
        return self._begun(
            _WSARecv(
                handle, self._pieces, 1, byref(self._moved), byref(self._flags), self.address, None
            )
            == 0,
            skips,
        )

    def receive_from(self, handle: int, size: int, skips: bool) -> int:
        """Receive a datagram of at most `size` bytes."""
        self._reserve(size)
        if self._kept is None:
            self._kept = (create_string_buffer(_ADDRESS), c_int())
        address, length = self._kept
        length.value = _ADDRESS
        self._flags.value = 0
        self._begin(handle)
        return self._begun(
            _WSARecvFrom(
                handle,
                self._pieces,
                1,
                byref(self._moved),
                byref(self._flags),
                address,
                addressof(length),
                self.address,
                None,
            )
            == 0,
            skips,
        )

    def sender(self) -> bytes:
        """Return the sockaddr of the sender of a datagram."""
        address, length = self._kept
        return bytes(address.raw[: max(0, min(length.value, _ADDRESS))])

    def accept(self, listener: int, connection: int, skips: bool) -> int:
        """Accept a connection into the unconnected socket `connection`."""
        self._reserve(_ADDRESSES)
        self._begin(listener)
        return self._begun(
            _AcceptEx(
                listener,
                connection,
                self._memory,
                0,
                _ADDRESS + 16,
                _ADDRESS + 16,
                byref(self._moved),
                self.address,
            ),
            skips,
        )

    def read(self, handle: int, size: int, skips: bool) -> int:
        """Read at most `size` bytes from a pipe."""
        self._reserve(size)
        self._begin(handle)
        return self._begun(
            _ReadFile(handle, self._memory, size, byref(self._moved), self.address), skips
        )

    def data(self) -> bytes:
        """Return what was received or read."""
        return string_at(self._memory, self.transferred)

    def send(self, handle: int, pieces: list[Any], skips: bool) -> int:
        """Send a list of bytes-likes to a socket, all of it."""
        # Whatever is no bytes object could change, or go away, before it is sent.
        kept = [bytes(piece) for piece in pieces]
        buffers = (_Buffer * len(kept))()
        for buffer, piece in zip(buffers, kept, strict=True):
            buffer.len = len(piece)
            buffer.buf = cast(c_char_p(piece), c_void_p).value
        self._kept = (kept, buffers)
        self._begin(handle)
        return self._begun(
            _WSASend(handle, buffers, len(kept), byref(self._moved), 0, self.address, None) == 0,
            skips,
        )

    def write(self, handle: int, pieces: list[Any], skips: bool) -> int:
        """Write a list of bytes-likes to a pipe, all of it."""
        self._kept = kept = b"".join(pieces)
        self._begin(handle)
        return self._begun(
            _WriteFile(
                handle, cast(c_char_p(kept), c_void_p), len(kept), byref(self._moved), self.address
            ),
            skips,
        )

    def let_go(self) -> None:
        """Drop what was sent."""
        self._kept = None

    def _reserve(self, size: int) -> None:
        """Have memory for `size` bytes to be received."""
        if size > self._size or self._memory is None:
            self._memory = create_string_buffer(size or 1)
            self._size = size
            self._pieces = (_Buffer * 1)()
            self._pieces[0].buf = addressof(self._memory)
        self._pieces[0].len = size

    def _begin(self, handle: int) -> None:
        """Before the call: the completion may be taken as soon as it is made."""
        overlapped = self.overlapped
        overlapped.Internal = overlapped.InternalHigh = 0
        overlapped.Offset = overlapped.OffsetHigh = 0
        overlapped.hEvent = None
        self.handle = handle
        self.in_flight = True
        self.port.requests[self.address] = self

    def _begun(self, done: int | bool, skips: bool) -> int:
        """After the call: DONE, PENDING or what went wrong."""
        if done:
            if not skips:
                return PENDING
            self.transferred = self._moved.value
            self.status = 0
            code = DONE
        else:
            code = ctypes.get_last_error()
            if code in (ERROR_IO_PENDING, ERROR_MORE_DATA):
                # A part of a message is no failure: its completion is queued.
                return PENDING
            # Some calls (a read at the end of a pipe) fail at once: nothing is queued then.
            self.transferred = 0
            self.status = 0
            code = code or ERROR_IO_PENDING
        self.in_flight = False
        del self.port.requests[self.address]
        return code


class Watch(Request):
    """Has the port told once that a handle is signalled."""

    def __init__(self, port: Port) -> None:
        Request.__init__(self, port)
        self._number = 0
        self._wait = 0

    def watch(self, handle: int) -> None:
        """Begin; `arrived()` comes when it is signalled. OSError where that cannot be had."""
        port = self.port
        port.watched += 1
        number = 2 * port.watched + 1
        # CPython's callback in C needs no GIL. It loses 16 bytes when the watch is taken back.
        self._wait = _overlapped.RegisterWaitWithQueue(handle, port.handle, number, _INFINITE)
        self._number = number
        port.watches[number] = self

    def unwatch(self) -> None:
        """End; afterwards the handle may be closed."""
        wait, self._wait = self._wait, 0
        if wait:
            self.port.watches.pop(self._number, None)
            # Returns when the callback does not run and will not: soon.
            _UnregisterWaitEx(wait, _INVALID)
