"""The loop's `sock_*` methods; what they return is in `sockets`."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

try:
    import cython
except ImportError:
    from evenloop import _cython as cython

from evenloop.net.room import Room

if not cython.compiled:
    from evenloop.engines.engine import ACCEPT, RECV, RECV_INTO, RECVFROM, SEND, SENDTO
    from evenloop.net import sockets

    # Compiled, these are functions that spare the argument tuple of a call; see _make_request.
    new_request = sockets.Request
    new_send_all = sockets.SendAll

__all__ = ["SocketMethods"]

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _coroutine(method: _Method) -> _Method:
    """Have a method that returns a coroutine recognised as one that is `async def`."""
    marked: Any = method
    if hasattr(inspect, "markcoroutinefunction"):
        inspect.markcoroutinefunction(marked)
    else:  # Python 3.11 has asyncio's own mark alone
        marked._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
    return method


class SocketMethods(Room):
    """Requests on the user's own sockets; every socket must be non-blocking.

    In debug mode a blocking socket gets ValueError.
    """

    @_coroutine
    def sock_recv(self, sock: socket.socket, nbytes: int) -> Coroutine[Any, Any, bytes]:
        """Receive at most `nbytes` bytes; none at the end of the stream.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.sock_recv
        """
        return new_request(self, RECV, sock, nbytes)

    @_coroutine
    def sock_recv_into(self, sock: socket.socket, buf: Any) -> Coroutine[Any, Any, int]:
        """Receive into the writable buffer `buf`; return how many bytes.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.sock_recv_into
        """
        return new_request(self, RECV_INTO, sock, buf)

    @_coroutine
    def sock_recvfrom(
        self, sock: socket.socket, bufsize: int
    ) -> Coroutine[Any, Any, tuple[bytes, Any]]:
        """Receive a datagram of at most `bufsize` bytes; return it and its sender.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.sock_recvfrom
        """
        return new_request(self, RECVFROM, sock, bufsize)

    @_coroutine
    def sock_recvfrom_into(
        self, sock: socket.socket, buf: Any, nbytes: int = 0
    ) -> Coroutine[Any, Any, tuple[int, Any]]:
        """Receive a datagram into `buf`, at most `nbytes` bytes (0: what fits).

        Returns how many bytes, and the sender.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.sock_recvfrom_into
        """
        request = new_request(self, RECVFROM, sock, nbytes)
        request.buffer = buf
        return request

    @_coroutine
    def sock_sendall(self, sock: socket.socket, data: Any) -> Coroutine[Any, Any, None]:
        """Send all of `data`. After an error nobody knows how much was sent.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.sock_sendall
        """
        return new_send_all(self, SEND, sock, data)

    @_coroutine
    def sock_sendto(self, sock: socket.socket, data: Any, address: Any) -> Coroutine[Any, Any, int]:
        """Send a datagram to `address`; return how many bytes.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.sock_sendto
        """
        request = new_request(self, SENDTO, sock, data)
        request.address = address
        return request

    @_coroutine
    def sock_accept(self, sock: socket.socket) -> Coroutine[Any, Any, tuple[socket.socket, Any]]:
        """Accept a connection; return a new non-blocking socket and the peer's address.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.sock_accept
        """
        return new_request(self, ACCEPT, sock)
