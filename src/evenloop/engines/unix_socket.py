"""AF_UNIX sockets on Windows, which has them since 10 version 1803 while Python's module has not.

What Windows has: streams, under names in the file system. No datagrams, no ancillary data, no
pairs, no names in an abstract space.

How Python stands to it: its module makes and wraps a socket of any family, and sends, receives
and waits through it like any other. But it cannot build or read an address of a family that it
does not know. So `UnixSocket` asks ws2_32 itself wherever an address goes in or comes out:
`bind`, `connect`, `accept`, `getsockname` and `getpeername`. An address is

    struct sockaddr_un { ADDRESS_FAMILY sun_family; char sun_path[108]; }

with a path in UTF-8 that ends with a null. A socket without a name has an address of the family
alone, or with an empty path: "" to Python, as on POSIX.

The file of a socket is a reparse point, with a tag of its own. It cannot be opened, `os.stat()`
fails or follows it in vain, `os.lstat()` shows the tag, and `os.unlink()` removes it.

An engine waits for such sockets as for others, but that the extensions of winsock that connect
and accept (ConnectEx, AcceptEx) are for the Internet's families: it makes the plain calls when
the socket is ready.

https://devblogs.microsoft.com/commandline/af_unix-comes-to-windows/
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import select
import socket
import stat
import sys
from typing import Any

__all__ = [
    "UnixSocket",
    "address_of",
    "family",
    "inode_of",
    "is_socket_file",
    "path_of",
    "unix_socket",
]

_AF_UNIX = 1
_PATH_SIZE = 108
_ON_WINDOWS = sys.platform == "win32"

# winsock2.h, winnt.h
_WSA_FLAG_OVERLAPPED = 0x01
_WSA_FLAG_NO_HANDLE_INHERIT = 0x80
_IO_REPARSE_TAG_AF_UNIX = 0x80000023
_WSAEAFNOSUPPORT = 10047
_WSAEWOULDBLOCK = 10035
_WSAEALREADY = 10037
_WSAEISCONN = 10056
_WSAEINVAL = 10022
_IN_PROGRESS = frozenset((_WSAEWOULDBLOCK, _WSAEALREADY))


class _Address(ctypes.Structure):
    """sockaddr_un"""

    _fields_ = (("family", ctypes.c_uint16), ("path", ctypes.c_char * _PATH_SIZE))


_FAMILY_SIZE = _Address.path.offset


@functools.cache
def _winsock() -> Any:
    """Load what is called, once."""
    windows: Any = ctypes
    library = windows.WinDLL("ws2_32", use_last_error=True)
    number, handle, pointer = ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p
    for function, result, arguments in (
        (library.WSASocketW, handle, (number, number, number, pointer, number, number)),
        (library.bind, number, (handle, pointer, number)),
        (library.connect, number, (handle, pointer, number)),
        (library.accept, handle, (handle, pointer, pointer)),
        (library.getsockname, number, (handle, pointer, pointer)),
        (library.getpeername, number, (handle, pointer, pointer)),
        (library.closesocket, number, (handle,)),
    ):
        function.restype = result
        function.argtypes = arguments
    return library


def _failure(code: int | None = None) -> OSError:
    """Return the exception of a winsock error, by default of this thread's last one."""
    windows: Any = ctypes
    number: int = windows.get_last_error() if code is None else code
    return OSError(None, windows.FormatError(number).strip(), None, number)


def family() -> int:
    """Return the number of AF_UNIX; OSError (EAFNOSUPPORT) where the system has no such thing."""
    known = getattr(socket, "AF_UNIX", None)
    if known is not None:
        return int(known)
    if not _ON_WINDOWS:
        raise OSError(errno.EAFNOSUPPORT, "this Python has no AF_UNIX sockets; use 127.0.0.1")
    return _AF_UNIX


def unix_socket() -> socket.socket:
    """Return a new stream socket of AF_UNIX, blocking, on every system that has such.

    On Windows it is a `socket.socket` that knows addresses of this family, which those of
    Python's own cannot. Raises OSError (EAFNOSUPPORT) on Windows before 10 version 1803.
    """
    number = family()
    if hasattr(socket, "AF_UNIX"):
        return socket.socket(number, socket.SOCK_STREAM)
    handle = _winsock().WSASocketW(
        number, socket.SOCK_STREAM, 0, None, 0, _WSA_FLAG_OVERLAPPED | _WSA_FLAG_NO_HANDLE_INHERIT
    )
    if _is_invalid(handle):
        error = _failure()
        if error.errno == errno.EAFNOSUPPORT or getattr(error, "winerror", 0) == _WSAEAFNOSUPPORT:
            raise OSError(
                errno.EAFNOSUPPORT,
                "this Windows has no AF_UNIX sockets: they came with Windows 10 version 1803; "
                "use 127.0.0.1",
            )
        raise error
    return _adopt(handle)


def _is_invalid(handle: int | None) -> bool:
    """Whether a call returned INVALID_SOCKET (all bits set)."""
    return handle is None or handle == ctypes.c_void_p(-1).value


def _adopt(handle: int) -> UnixSocket:
    """Return the object of a handle, or close it."""
    try:
        return UnixSocket(_AF_UNIX, socket.SOCK_STREAM, 0, fileno=handle)
    except BaseException:
        _winsock().closesocket(handle)
        raise


def address_of(path: Any) -> tuple[_Address, int]:
    """Return the sockaddr_un of a path and its size; OSError if the path is too long."""
    raw = path if isinstance(path, bytes) else str(path).encode("utf-8", "surrogatepass")
    if len(raw) >= _PATH_SIZE:
        raise OSError(errno.ENAMETOOLONG, f"AF_UNIX path too long: {len(raw)} bytes, {path!r}")
    address = _Address(_AF_UNIX)
    # Not by assignment: a name that begins with a null would be cut.
    ctypes.memmove(ctypes.addressof(address) + _FAMILY_SIZE, raw, len(raw))
    return address, _FAMILY_SIZE + len(raw) + 1


def path_of(address: _Address, size: int) -> str:
    """Return the path in a sockaddr_un of that size; "" for a socket without a name."""
    if size <= _FAMILY_SIZE:
        return ""
    raw = ctypes.string_at(
        ctypes.addressof(address) + _FAMILY_SIZE, min(size - _FAMILY_SIZE, _PATH_SIZE)
    )
    # What follows the null is nobody's.
    return raw.partition(b"\0")[0].decode("utf-8", "surrogatepass")


class UnixSocket(socket.socket):
    """A socket of AF_UNIX on a Windows whose Python does not know the family."""

    def bind(self, address: Any) -> None:
        """Give it a path, which must not exist."""
        self._with_address("bind", address)

    def connect(self, address: Any) -> None:
        """Connect to the socket at a path; BlockingIOError if it takes time and may not."""
        error = self.connect_ex(address)
        if error:
            raise _failure(error)

    def connect_ex(self, address: Any) -> int:
        """Connect; return the error code, 0 for none."""
        try:
            self._with_address("connect", address)
        except OSError as exc:
            code = getattr(exc, "winerror", None)
            if code is None:
                raise
            if code not in _IN_PROGRESS or self.gettimeout() == 0:
                return int(code)
        else:
            return 0
        # A time-out makes it non-blocking under the hood.
        _, writable, failed = select.select([], [self], [self], self.gettimeout())
        if not writable and not failed:
            raise TimeoutError("timed out")
        return self.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def accept(self) -> tuple[socket.socket, str]:
        """Return (connection, its path, as a rule ""); BlockingIOError if there is none yet."""
        timeout = self.gettimeout()
        address = _Address()
        size = ctypes.c_int32(ctypes.sizeof(address))
        if timeout and not select.select([self], [], [], timeout)[0]:
            raise TimeoutError("timed out")
        handle = _winsock().accept(self.fileno(), ctypes.byref(address), ctypes.byref(size))
        if _is_invalid(handle):
            raise _failure()
        connection = _adopt(handle)
        connection.set_inheritable(False)
        if timeout is not None:
            # It has the listener's mode.
            connection.setblocking(socket.getdefaulttimeout() is None)
        return connection, path_of(address, size.value)

    def getsockname(self) -> str:
        """Return its own path, "" if it has none."""
        return self._name("getsockname")

    def getpeername(self) -> str:
        """Return the path of the other side, "" if it has none."""
        return self._name("getpeername")

    def dup(self) -> UnixSocket:
        """Return another object for the same socket; not inheritable."""
        module: Any = socket
        return _adopt(module.dup(self.fileno()))

    def _with_address(self, name: str, path: Any) -> None:
        address, size = address_of(os.fspath(path))
        if getattr(_winsock(), name)(self.fileno(), ctypes.byref(address), size):
            raise _failure()

    def _name(self, name: str) -> str:
        address = _Address()
        size = ctypes.c_int32(ctypes.sizeof(address))
        call = getattr(_winsock(), name)
        if call(self.fileno(), ctypes.byref(address), ctypes.byref(size)):
            error = _failure()
            if name == "getsockname" and getattr(error, "winerror", 0) == _WSAEINVAL:
                # Not bound yet: POSIX answers with no name.
                return ""
            raise error
        return path_of(address, size.value)


def is_socket_file(path: Any) -> bool:
    """Whether a path is that of a socket; FileNotFoundError if there is nothing."""
    if not _ON_WINDOWS:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    return getattr(os.lstat(path), "st_reparse_tag", 0) == _IO_REPARSE_TAG_AF_UNIX


def inode_of(path: Any) -> int:
    """Return what tells a file from another one that later has its path."""
    # On Windows os.stat() would open the file, which a socket's does not allow.
    return os.lstat(path).st_ino if _ON_WINDOWS else os.stat(path).st_ino
