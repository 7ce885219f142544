"""The loop's `sock_*` methods."""

from __future__ import annotations

import errno
import socket
from typing import Any

from evenloop.net import sockets
from evenloop.net.room import Room

__all__ = ["SocketMethods"]


class SocketMethods(Room):
    """Requests on the user's own sockets; every socket must be non-blocking.

    In debug mode a blocking socket gets ValueError.
    """

    async def sock_recv(self, sock: socket.socket, nbytes: int) -> bytes:
        """Receive at most `nbytes` bytes; none at the end of the stream.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.sock_recv
        """
        self._check_socket(sock)
        _check_size(nbytes)
        if nbytes == 0:
            return b""
        return await sockets.receive(self, sock, nbytes)  # type: ignore[no-any-return]

    async def sock_recv_into(self, sock: socket.socket, buf: Any) -> int:
        """Receive into the writable buffer `buf`; return how many bytes.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.sock_recv_into
        """
        self._check_socket(sock)
        _check_writable(buf)
        return await sockets.receive_into(self, sock, buf)  # type: ignore[no-any-return]

    async def sock_recvfrom(self, sock: socket.socket, bufsize: int) -> tuple[bytes, Any]:
        """Receive a datagram of at most `bufsize` bytes; return it and its sender.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.sock_recvfrom
        """
        self._check_socket(sock)
        _check_size(bufsize, "bufsize")
        return await sockets.receive_from(self, sock, bufsize)  # type: ignore[no-any-return]

    async def sock_recvfrom_into(
        self, sock: socket.socket, buf: Any, nbytes: int = 0
    ) -> tuple[int, Any]:
        """Receive a datagram into `buf`, at most `nbytes` bytes (0: what fits).

        Returns how many bytes, and the sender.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.sock_recvfrom_into
        """
        self._check_socket(sock)
        _check_writable(buf)
        _check_size(nbytes)
        size = nbytes or memoryview(buf).nbytes
        return await sockets.receive_from(self, sock, size, buf)  # type: ignore[no-any-return]

    async def sock_sendall(self, sock: socket.socket, data: Any) -> None:
        """Send all of `data`. After an error nobody knows how much was sent.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.sock_sendall
        """
        self._check_socket(sock)
        _check_bytes_like(data)
        await sockets.send_all(self, sock, data)

    async def sock_sendto(self, sock: socket.socket, data: Any, address: Any) -> int:
        """Send a datagram to `address`; return how many bytes.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.sock_sendto
        """
        self._check_socket(sock)
        _check_bytes_like(data)
        return await sockets.send_to(self, sock, data, address)  # type: ignore[no-any-return]

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect to `address`, which is resolved first if it has to be.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.sock_connect
        """
        self._check_socket(sock)
        if sock.family in (socket.AF_INET, getattr(socket, "AF_INET6", socket.AF_INET)):
            resolved = await self._ensure_resolved(
                address, family=sock.family, type=sock.type, proto=sock.proto
            )
            address = resolved[0][4]
        await sockets.connect(self, sock, address)

    async def sock_accept(self, sock: socket.socket) -> tuple[socket.socket, Any]:
        """Accept a connection; return a new non-blocking socket and the peer's address.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.sock_accept
        """
        self._check_socket(sock)
        return await sockets.accept(self, sock)  # type: ignore[no-any-return]

    def _check_socket(self, sock: Any) -> None:
        """Raise what is wrong with a socket given to one of these methods."""
        self._check_closed()
        if not hasattr(sock, "fileno") or not hasattr(sock, "recv"):
            raise TypeError(f"sock must be a socket.socket, got {sock!r}")
        if hasattr(sock, "do_handshake"):
            raise TypeError(f"Socket cannot be of type SSLSocket: {sock!r}")
        if self.get_debug() and sock.gettimeout() != 0:
            raise ValueError(
                f"the socket must be non-blocking: call sock.setblocking(False) on {sock!r} first"
            )
        fd = sock.fileno()
        if fd < 0:
            raise OSError(errno.EBADF, f"sock is closed: {sock!r}")
        self._check_free(fd)


def _check_size(size: Any, name: str = "nbytes") -> None:
    if not hasattr(size, "__index__"):
        raise TypeError(f"{name} must be an integer, got {size!r}")
    if size < 0:
        raise ValueError(f"{name} must not be negative, got {size!r}")


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
