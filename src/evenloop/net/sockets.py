"""Requests on sockets that are the user's own: what the `sock_*` methods return.

Each is the engine's request and the coroutine that awaits it in one object. It begins when it
is first awaited. If it can be answered at once it is, without a turn of the loop; otherwise it
waits for a future, which the engine completes. Its watch stays in place for the next one, so a
conversation needs no system call but those that move data.

What a native coroutine would do, these do, too: nothing happens before they are awaited, they
warn when that never comes, they are awaited once, and cancelling takes the request back.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import warnings
from typing import TYPE_CHECKING, Any

try:
    import cython
except ImportError:
    from evenloop import _cython as cython

if not cython.compiled:
    from evenloop.engines.engine import (
        ACCEPT,
        CONNECT,
        RECV,
        RECV_INTO,
        RECVFROM,
        SEND,
        SENDTO,
        Op,
    )

    # The life of a request.
    NEW = 0  # nobody has awaited it yet
    WAITING = 1  # in flight
    READY = 2  # its outcome is there, its task is about to take it
    OVER = 3
    BEGUN = 4  # in flight, and nobody has awaited it yet

if TYPE_CHECKING:
    from evenloop.scheduler import Scheduler

__all__ = ["Request", "SendAll", "check", "connect"]

_NAMES = {
    RECV: "sock_recv",
    RECV_INTO: "sock_recv_into",
    RECVFROM: "sock_recvfrom",
    SEND: "sock_sendall",
    SENDTO: "sock_sendto",
    ACCEPT: "sock_accept",
    CONNECT: "sock_connect",
}

_Socket = socket.socket
_Future = asyncio.Future


if not cython.compiled:

    def new_request(loop: Scheduler, kind: int, sock: Any) -> Request:
        """Return a request; compiled, without the price of a constructor's call."""
        return Request(loop, kind, sock)


class Request(Op):
    """A request, and the coroutine that awaits it."""

    def __init__(self, loop: Scheduler, kind: int, sock: Any, argument: Any = None) -> None:
        Op.__init__(self, kind, -1, sock)
        self.loop = loop
        # What the user gave, not looked at before the request begins.
        self.argument: Any = argument
        self.state: int = NEW
        self.future: Any = None

    def __getattr__(self, name: str) -> Any:
        # What a coroutine is called; a compiled class cannot have them as properties.
        if name == "__name__":
            return _NAMES[self.kind]
        if name == "__qualname__":
            return f"EventLoop.{_NAMES[self.kind]}"
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # ---- as a coroutine --------------------------------------------------------------------

    def __await__(self) -> Request:
        return self

    def __iter__(self) -> Request:
        return self

    def __next__(self) -> Any:
        if self.state == NEW:
            self.state = OVER
            self.fd: int = check(self.loop, self.sock)
            if not self._prepare() and not self._start():
                return self._wait()
        elif self.state == BEGUN:
            return self._wait()
        elif self.state == READY:
            self.state = OVER
            self.future = None
        elif self.state == WAITING:
            if not self.future.done():
                raise RuntimeError(f"{self!r} waits: it cannot go on before its future is done")
            self._withdraw()
            raise asyncio.CancelledError
        else:
            raise RuntimeError("cannot reuse already awaited coroutine")
        if self.error is not None:
            self._raise()
        result = self.result
        self.result = None
        raise StopIteration(result)

    def send(self, value: Any) -> Any:
        """Begin, or go on after the future is done; nothing can be sent in."""
        return self.__next__()

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        """Take the request back and raise; this is how a task is cancelled."""
        self._withdraw()
        if value is None:
            value = kind() if isinstance(kind, type) else kind
        try:
            raise value if traceback is None else value.with_traceback(traceback)
        finally:
            del value

    def close(self) -> None:
        """Take the request back."""
        self._withdraw()

    def _wait(self) -> Any:
        """Return the future that the task waits for."""
        future = self.future = _Future(loop=self.loop)  # type: ignore[arg-type]
        future._asyncio_future_blocking = True
        self.state = WAITING
        return future

    def _withdraw(self) -> None:
        self.state = OVER
        self.future = None
        if self.active:
            self.loop.engine.cancel(self)

    def _raise(self) -> None:
        """Raise what went wrong, and let go of it: the traceback will hold what holds this."""
        error: Any = self.error
        self.error: Any = None
        try:
            raise error
        finally:
            del error

    def __del__(self) -> None:
        if self.state == NEW:
            warnings.warn(  # noqa: B028
                f"coroutine 'EventLoop.{_NAMES[self.kind]}' was never awaited",
                RuntimeWarning,
                source=self,
            )

    # ---- as a request ----------------------------------------------------------------------

    def _prepare(self) -> bool:
        """Check the arguments and make them the engine's; True where nothing is to be done."""
        argument = self.argument
        self.argument = None
        if self.kind == RECV:
            self.size: int = _size(argument, "nbytes")
            if self.size == 0:
                self.result: Any = b""
                return True
        elif self.kind == RECV_INTO:
            _check_writable(argument)
            self.buffer: Any = argument
        elif self.kind == RECVFROM:
            if self.buffer is None:
                self.size = _size(argument, "bufsize")
            else:
                _check_writable(self.buffer)
                self.size = _size(argument, "nbytes") or memoryview(self.buffer).nbytes
        elif self.kind == SENDTO:
            _check_bytes_like(argument)
            self.buffer = argument
        elif self.kind == CONNECT:
            self.address = argument
        return False

    def _start(self) -> bool:
        """Have the engine begin; True if it is finished already."""
        finished = self.loop.engine.start(self)
        if finished and self.kind == CONNECT:
            # On the other side somebody accepts, who may be on this loop: it shall hear of it
            # before this side is done with the connection.
            self.loop.poll_soon()
        return finished

    def wanted(self) -> bool:
        """Return whether the task still waits: one that was cancelled is told a turn later.

        What is there then (a connection, data) is for whoever asks next.
        """
        return self.state != WAITING or not self.future.done()

    def complete(self) -> None:
        """Wake the task that awaits this."""
        if self.state == WAITING:
            self.state = READY
            if not self.future.done():
                self.future.set_result(None)


class SendAll(Request):
    """Sends until everything is sent."""

    def _prepare(self) -> bool:
        """Check the data; True if there is none."""
        data = self.argument
        self.argument: Any = None
        if type(data) is not bytes:
            _check_bytes_like(data)
            data = memoryview(data).cast("B")
        self.buffer: Any = [data]
        return not len(data)

    def _start(self) -> bool:
        """Send, as much as goes; True when that was all, or failed."""
        while self.loop.engine.start(self):
            if self._advance():
                return True
        return False

    def _advance(self) -> bool:
        """Take note of what was sent; True when there is nothing left to do."""
        if self.error is not None:
            return True
        data = self.buffer[0]
        sent = self.result
        self.result: Any = None
        if sent == len(data):
            self.buffer = None
            return True
        self.buffer[0] = memoryview(data)[sent:]
        return False

    def complete(self) -> None:
        """Go on until everything is sent."""
        if self._advance() or self._start():
            Request.complete(self)


def connect(loop: Scheduler, sock: socket.socket, address: Any) -> Request | None:
    """Begin to connect a new socket of the loop's own; return what to await, None if that is all.

    Raises OSError if it has failed already.
    """
    fd = check(loop, sock)
    request = new_request(loop, CONNECT, sock)
    request.fd = fd
    request.address = address
    request.state = BEGUN
    if not request._start():
        return request
    request.state = OVER
    if request.error is not None:
        request._raise()
    return None


def check(loop: Scheduler, sock: Any) -> int:
    """Return the descriptor of a socket given to a `sock_*` method, or raise what is wrong."""
    if loop._closed:
        loop._check_closed()
    if type(sock) is not _Socket:
        if not hasattr(sock, "fileno") or not hasattr(sock, "recv"):
            raise TypeError(f"sock must be a socket.socket, got {sock!r}")
        if hasattr(sock, "do_handshake"):
            raise TypeError(f"Socket cannot be of type SSLSocket: {sock!r}")
    if loop._debug and sock.gettimeout() != 0:
        raise ValueError(
            f"the socket must be non-blocking: call sock.setblocking(False) on {sock!r} first"
        )
    fd: int = sock.fileno()
    if fd < 0:
        raise OSError(errno.EBADF, f"sock is closed: {sock!r}")
    if loop.engine.owner(fd) is not None:
        loop._check_free(fd)
    return fd


def _size(size: Any, name: str) -> Any:
    if type(size) is not int and not hasattr(size, "__index__"):
        raise TypeError(f"{name} must be an integer, got {size!r}")
    if size < 0:
        raise ValueError(f"{name} must not be negative, got {size!r}")
    return size


def _check_writable(buffer: Any) -> None:
    try:
        readonly = memoryview(buffer).readonly
    except TypeError:
        raise TypeError(f"buf must be a writable buffer, got {buffer!r}") from None
    if readonly:
        raise TypeError(f"buf must be writable, got {type(buffer).__name__!r}")


def _check_bytes_like(data: Any) -> None:
    try:
        memoryview(data)
    except TypeError:
        raise TypeError(f"data must be bytes-like, got {type(data).__name__!r}") from None
