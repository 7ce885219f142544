"""What a descriptor is on this system: the number that an engine goes by.

On POSIX there is one kind, and a number is what it says. Windows has two: handles of the kernel
(sockets, pipes, files, consoles), which engines go by, and descriptors of the C run-time, small
numbers that `open()` and `os.pipe()` give. Both are plain integers, so a number is read in this
order:

1. If it came from a file as `open()` makes it, its descriptor of the C run-time is meant.
2. If it is the handle of a socket, that is meant.
3. If it came from an object that is known to hold a handle (`asyncio.windows_utils.PipeHandle`,
   a `multiprocessing` connection, `subprocess.Handle`), that is meant.
4. If it is a descriptor of the C run-time, the handle under it is meant.
5. Otherwise it is taken for a handle.
"""

from __future__ import annotations

import importlib
import io
import select
import socket
import stat
import sys
from os import fstat
from typing import Any

__all__ = [
    "PipeEnd",
    "descriptor_of",
    "file_state",
    "has_name",
    "hung_up",
    "is_for_threads",
    "is_regular",
    "of_system",
    "prepare_pipe",
    "reader_is_gone",
    "tells_of_hangup",
]

# What only some systems have is looked up without the type checker, which has but one in mind.
_os: Any = importlib.import_module("os")

# The two ends of a pipe with a name mislead on macOS: the reader is not told that its last writer
# has gone, and the writer is readable as long as something in it is unread.
NAMED_PIPES_MISLEAD = sys.platform == "darwin"

ON_WINDOWS = sys.platform == "win32"


def descriptor_of(fileobj: Any) -> int:
    """Return the number of a file object, or that number; ValueError if it has none."""
    if isinstance(fileobj, int):
        fd = fileobj
    else:
        try:
            fd = int(fileobj.fileno())
        except (AttributeError, TypeError, ValueError):
            raise ValueError(
                f"Invalid file object: fd must be a descriptor or have a fileno() method, "
                f"got {fileobj!r}"
            ) from None
    if fd < 0:
        raise ValueError(f"Invalid file descriptor: {fd}; is {fileobj!r} closed?")
    return fd


def of_system(fileobj: Any, number: int) -> int:
    """Return what an engine calls a file: `number`, or on Windows the handle that it means."""
    if not ON_WINDOWS:
        return number
    from evenloop.engines import winapi

    if not _is_file_of_run_time(fileobj) and (winapi.is_socket(number) or _holds_handle(fileobj)):
        return number
    try:
        return winapi.os_handle(number)
    except OSError:
        return number


def _is_file_of_run_time(fileobj: Any) -> bool:
    """Whether it is a file, under whatever layers, that has a descriptor of the C run-time."""
    under = getattr(fileobj, "buffer", fileobj)
    return isinstance(getattr(under, "raw", under), io.FileIO)


def _holds_handle(fileobj: Any) -> bool:
    if isinstance(fileobj, int):
        # subprocess.Handle is one, plain numbers are not.
        return type(fileobj).__name__ == "Handle"
    return hasattr(fileobj, "handle") or hasattr(fileobj, "_handle")


class PipeEnd:
    """A pipe for a transport: its number is what the engine calls it."""

    def __init__(self, pipe: Any, number: int) -> None:
        self._pipe = pipe
        self._number = number

    def fileno(self) -> int:
        """Return what the engine calls it; asked for before the pipe is closed only."""
        return self._number

    def close(self) -> None:
        """Close the pipe itself."""
        self._pipe.close()


def prepare_pipe(pipe: Any) -> tuple[Any, int]:
    """Make a pipe fit for a transport: (the file to give it, the kind as `stat` has it).

    The kind is one of S_IFSOCK, S_IFIFO, S_IFCHR and, on Windows, S_IFREG. Raises ValueError for
    what is none of these.
    """
    if isinstance(pipe, socket.socket):
        pipe.setblocking(False)
        return pipe, stat.S_IFSOCK
    if not ON_WINDOWS:
        fd = pipe.fileno()
        kind = stat.S_IFMT(fstat(fd).st_mode)
        if kind not in (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR):
            raise ValueError("Pipe transport is only for pipes, sockets and character devices")
        _os.set_blocking(fd, False)
        return pipe, kind
    from evenloop.engines import winapi

    handle = of_system(pipe, descriptor_of(pipe))
    kinds = {
        winapi.SOCKET: stat.S_IFSOCK,
        winapi.PIPE: stat.S_IFIFO,
        winapi.FILE: stat.S_IFREG,
        winapi.CONSOLE: stat.S_IFCHR,
        winapi.OTHER: stat.S_IFCHR,
    }
    return PipeEnd(pipe, handle), kinds[winapi.handle_kind(handle)]


def tells_of_hangup(number: int, kind: int) -> bool:
    """Whether a poll for reading tells the writer of a pipe or socket that its reader is gone.

    On POSIX POLLERR comes with it, unless the descriptor is open both ways and so its own
    reader. On Windows the poll ends with the other end, if the pipe is overlapped and open both
    ways, as the one to a child's standard input is.
    """
    if kind == stat.S_IFSOCK:
        return True
    if kind != stat.S_IFIFO:
        return False
    if ON_WINDOWS:
        from evenloop.engines import winapi

        return winapi.is_overlapped(number)
    if NAMED_PIPES_MISLEAD and has_name(number):
        return False
    return not _open_both_ways(number)


def reader_is_gone(number: int, kind: int) -> bool:
    """Whether such a poll, once it ends, meant that: the number is still a pipe or socket."""
    if kind == stat.S_IFSOCK:
        return not _has_data(number)
    if ON_WINDOWS:
        from evenloop.engines import winapi

        return winapi.pipe_is_closing(number)
    return True


def hung_up(file: Any) -> bool:
    """Whether nobody holds the other end of a pipe any more, as far as that can be told."""
    if file is None:
        return True
    if ON_WINDOWS:
        from evenloop.engines import winapi

        try:
            number = file.fileno()
        except ValueError:
            return True
        return winapi.pipe_is_closing(of_system(file, number))
    if file.closed:
        return True
    if not hasattr(select, "poll"):
        return True
    poller = select.poll()
    poller.register(file.fileno(), 0)
    return bool(poller.poll(0))


def has_name(fd: int) -> bool:
    """Whether a descriptor is a pipe's that lies in a folder: one without a name has no links."""
    state = fstat(fd)
    return stat.S_ISFIFO(state.st_mode) and state.st_nlink > 0


def is_regular(number: int) -> bool:
    """Whether a descriptor, as engines call it, is of a regular file; False if it is none."""
    if ON_WINDOWS:
        from evenloop.engines import winapi

        try:
            return winapi.handle_kind(number) == winapi.FILE
        except OSError:
            return False
    try:
        return stat.S_ISREG(fstat(number).st_mode)
    except OSError:
        return False


def is_for_threads(pipe: Any) -> bool:
    """Whether a pipe is a regular file, which no stream request of this system's engines takes.

    On Windows they do: a thread reads from whatever is not overlapped.
    """
    if ON_WINDOWS or isinstance(pipe, socket.socket) or not hasattr(pipe, "fileno"):
        return False
    return is_regular(pipe.fileno())


def file_state(number: int) -> tuple[bool, int, Any]:
    """Return if a regular file has something unread, its size, and what makes it this one.

    Raises OSError if the descriptor is none.
    """
    if ON_WINDOWS:
        from evenloop.engines import winapi

        position, size = winapi.file_place(number)
        return position < size, size, None
    status = fstat(number)
    size = status.st_size
    position = _os.lseek(number, 0, _os.SEEK_CUR)
    unread = position < size
    if not size:
        # Files of /proc do not know their size.
        try:
            unread = bool(_os.pread(number, 1, position))
        except OSError:
            # Not open for reading, or nothing that can be read.
            unread = False
    return unread, size, (status.st_dev, status.st_ino)


def _open_both_ways(fd: int) -> bool:
    """Whether a descriptor may be read from and written to, as far as that can be told."""
    try:
        fcntl: Any = importlib.import_module("fcntl")
    except ImportError:
        return False
    # PyPy lacks O_ACCMODE; the three ways of access are the two lowest bits everywhere.
    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & 0o3 == _os.O_RDWR)


def _has_data(fd: int) -> bool:
    """Whether a socket is readable because there is something to read."""
    sock = socket.socket(fileno=fd)
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        sock.detach()
