"""Streams over AF_UNIX: addresses are paths, or names in Linux's abstract space.

On Windows they need version 10 1803, and their sockets are of a class that knows their addresses:
see `engines.unix_socket`.

Documented at https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.create_unix_server
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from evenloop.engines.unix_socket import family as unix_family
from evenloop.engines.unix_socket import inode_of, is_socket_file, unix_socket
from evenloop.net import checks
from evenloop.net.listen import Server
from evenloop.net.room import Room
from evenloop.scheduler import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]

__all__ = ["UnixSockets", "is_abstract", "remove_stale"]

# From when on asyncio removes the file of a server that is closed.
CLEANUP_BY_DEFAULT = sys.version_info >= (3, 13)

# A full backlog refuses at once where TCP would wait: seconds until the first retry, and at most.
_FIRST_RETRY = 0.001
_LONGEST_RETRY = 0.1


class UnixSockets(Room):
    """The loop's methods for streams over AF_UNIX."""

    async def create_unix_connection(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        path: Path | None = None,
        *,
        ssl: Any = None,
        sock: socket.socket | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect to the socket at `path`, or take the connected `sock`.

        Args:
            protocol_factory: called without arguments for the protocol, once connected.
            path: str, bytes or path-like; an abstract address begins with a null.
            ssl: an `ssl.SSLContext` for TLS, True for a default context, None for none.
            sock: a connected AF_UNIX stream socket, which belongs to the transport.
            server_hostname: what the certificate must be for: needed with `ssl`; an empty
                string switches the check of the name off.
            ssl_handshake_timeout: seconds that the handshake may take (default 60).
            ssl_shutdown_timeout: seconds that closing TLS may take (default 30).

        Returns:
            `(transport, protocol)`.

        Raises:
            ValueError, TypeError: for arguments that do not fit together, or of a wrong type.
            OSError: if the connection fails, or Windows is too old to have such sockets;
                ssl.SSLError if TLS does.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.create_unix_connection
        """
        self._check_closed()
        family = unix_family()
        checks.check_factory(protocol_factory)
        if server_hostname is not None and not isinstance(server_hostname, str):
            raise TypeError(f"server_hostname must be a str or None, got {server_hostname!r}")
        if ssl and server_hostname is None:
            raise ValueError(
                "you have to pass server_hostname when using ssl; "
                "an empty string switches the check of the name off"
            )
        if not ssl and server_hostname is not None:
            raise ValueError(
                f"server_hostname is only meaningful with ssl, got {server_hostname!r}"
            )
        checks.check_client_ssl(ssl)
        checks.check_timeouts(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        if path is not None:
            if sock is not None:
                raise ValueError(
                    "path and sock can not be specified at the same time, got "
                    f"path={path!r} and {sock!r}"
                )
            address = _as_path(path)
            sock = unix_socket()
            try:
                sock.setblocking(False)
                await self._connect_unix(sock, address)
            except BaseException:
                sock.close()
                raise
        else:
            if sock is None:
                raise ValueError("no path and sock were specified: give one of them")
            checks.check_not_ssl_socket(sock)
            checks.check_stream_socket(sock, family)
        return await self._open_stream(  # type: ignore[no-any-return]
            sock,
            protocol_factory,
            ssl,
            server_hostname=server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )

    async def _connect_unix(self, sock: socket.socket, address: str | bytes) -> None:
        """Connect, and wait where the server's backlog is full."""
        delay = _FIRST_RETRY
        while True:
            await self.sock_connect(sock, address)
            try:
                sock.getpeername()
                return
            except OSError as exc:
                if exc.errno != errno.ENOTCONN:
                    return
            # EAGAIN, which for this family means a full backlog: there is no event to wait for,
            # and the socket looks writable although it is not connected.
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LONGEST_RETRY)

    async def create_unix_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        path: Path | None = None,
        *,
        sock: socket.socket | None = None,
        backlog: int = 100,
        ssl: Any = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
        cleanup_socket: bool = CLEANUP_BY_DEFAULT,
    ) -> Server:
        """Listen at `path`, or on the bound AF_UNIX stream socket `sock`.

        Args:
            protocol_factory: called without arguments for the protocol of each connection.
            path: str, bytes or path-like; an abstract address begins with a null. A socket
                file that is there already is removed first.
            sock: a bound AF_UNIX stream socket, which belongs to the server.
            backlog: how many connections the kernel keeps that were not accepted yet.
            ssl: an `ssl.SSLContext` with a certificate, for TLS.
            ssl_handshake_timeout: seconds that a handshake may take (default 60).
            ssl_shutdown_timeout: seconds that closing TLS may take (default 30).
            start_serving: accept at once; otherwise when the server is told to.
            cleanup_socket: remove the socket file when the server is closed, unless another
                has taken its place. By default True from Python 3.13 on; programs for older
                ones remove it themselves.

        Returns:
            A `Server`.

        Raises:
            ValueError, TypeError: for arguments that do not fit together, or of a wrong type.
            OSError: if the address cannot be bound to, or Windows is too old to have such
                sockets.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.create_unix_server
        """
        self._check_closed()
        family = unix_family()
        checks.check_factory(protocol_factory)
        checks.check_integers(backlog=backlog)
        checks.check_server_ssl(ssl)
        checks.check_timeouts(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        if path is not None:
            if sock is not None:
                raise ValueError(
                    "path and sock can not be specified at the same time, got "
                    f"path={path!r} and {sock!r}"
                )
            address = _as_path(path)
            sock = unix_socket()
            try:
                remove_stale(address)
                _bind(sock, address)
            except BaseException:
                sock.close()
                raise
        else:
            if sock is None:
                raise ValueError("path was not specified, and no sock specified: give one of them")
            checks.check_not_ssl_socket(sock)
            checks.check_stream_socket(sock, family)
            self._check_free(sock.fileno())
        server = Server(
            self,
            [sock],
            protocol_factory,
            ssl,
            backlog,
            ssl_handshake_timeout,
            ssl_shutdown_timeout,
            _cleanup_of(sock) if cleanup_socket else None,
        )
        return await self._serve(server, start_serving)  # type: ignore[no-any-return]


def is_abstract(address: str | bytes) -> bool:
    """Whether an address is a name in the abstract space (or none at all), not a path."""
    first = address[:1]
    return first in ("", "\0") if isinstance(first, str) else first in (b"", b"\0")


def remove_stale(address: str | bytes) -> None:
    """Remove a socket file that an earlier server left behind."""
    if is_abstract(address):
        return
    try:
        if is_socket_file(address):
            os.remove(address)
    except FileNotFoundError:
        return
    except OSError as exc:
        # The directory may allow no more than to make a socket: bind() will tell.
        logger.error("Unable to check or remove stale UNIX socket %r: %r", address, exc)


def _as_path(path: Any) -> str | bytes:
    try:
        address: str | bytes = os.fspath(path)
    except TypeError:
        raise TypeError(f"path must be a str, bytes or os.PathLike, got {path!r}") from None
    if not address:
        raise ValueError("path must not be empty; an abstract address begins with a null")
    return address


def _bind(sock: socket.socket, address: str | bytes) -> None:
    try:
        sock.bind(address)
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE:
            raise
        raise OSError(errno.EADDRINUSE, f"Address {address!r} is already in use") from None


def _cleanup_of(sock: socket.socket) -> Callable[[], None] | None:
    """Return what removes the file that `sock` is bound to, if it is bound to one."""
    address = sock.getsockname()
    if is_abstract(address):
        return None
    try:
        inode = inode_of(address)
    except FileNotFoundError:
        return None
    return partial(_remove_own, address, inode)


def _remove_own(address: str, inode: int) -> None:
    """Remove a socket file unless another server has put its own in the place."""
    try:
        if inode_of(address) == inode:
            os.unlink(address)
    except FileNotFoundError:
        return
    except OSError as exc:
        logger.error("Unable to clean up listening UNIX socket %r: %r", address, exc)
