"""Servers: listening sockets, and the connections that come in through them.

A listening socket is one multishot request: every connection that the engine accepts becomes a
transport at once, without a task in between. The protocol factory and the protocol run in a
copy of the context that the server was made in.

What goes wrong while accepting:

- A connection that is gone before it could be taken is passed over.
- When the process or the system is out of descriptors or memory, the kernel goes on saying
  "ready". So the error is reported and the socket rests for a second.
- A protocol factory that raises loses its connection, is reported, and the server goes on.

Documented at https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.Server
"""

from __future__ import annotations

import asyncio
import errno
import socket
import weakref
from asyncio.trsock import TransportSocket
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from evenloop.net import checks
from evenloop.net.accepting import Acceptor, set_no_delay
from evenloop.net.room import Room
from evenloop.scheduler import logger
from evenloop.transports import tls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["RETRY_DELAY", "Listening", "Server"]

#: Seconds that a listening socket rests when a resource has run out.
RETRY_DELAY = 1.0

# Of a connection that was lost before it was accepted; accept(2) has Linux's list.
_LOST_BEFORE = {
    getattr(errno, name)
    for name in (
        "ECONNABORTED",
        "ECONNRESET",
        "EPROTO",
        "EPERM",
        "ENETDOWN",
        "ENOPROTOOPT",
        "EHOSTDOWN",
        "ENONET",
        "EHOSTUNREACH",
        "EOPNOTSUPP",
        "ENETUNREACH",
    )
    if hasattr(errno, name)
}
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Server(asyncio.Server):
    """Listening sockets that make a protocol for each connection; made by `create_server()`.

    An asynchronous context manager: leaving it closes the server and waits.

    https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.Server
    """

    def __init__(
        self,
        loop: Any,
        sockets: Sequence[socket.socket],
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        ssl: Any,
        backlog: int,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        # asyncio's own __init__ is not called: what it sets differs between versions.
        self._loop = loop
        self._sockets: list[socket.socket] | None = list(sockets)
        self._protocol_factory = protocol_factory
        self._ssl_context = ssl
        self._backlog = backlog
        self._ssl_handshake_timeout = ssl_handshake_timeout
        self._ssl_shutdown_timeout = ssl_shutdown_timeout
        self._on_close = on_close
        self._context = copy_context()
        self._acceptors: dict[socket.socket, Acceptor] = {}
        # Weak: a transport that everybody has let go of must be able to say so.
        self._clients: set[weakref.ref[Any]] = set()
        # None once the server is closed and its last connection gone.
        self._waiters: list[asyncio.Future[None]] | None = []
        self._serving = False
        self._forever: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} sockets={self.sockets!r}>"

    # ---- what the application calls --------------------------------------------------------

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that the server was made by.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.Server.get_loop
        """
        return self._loop  # type: ignore[no-any-return]

    def is_serving(self) -> bool:
        """Return True if the server accepts connections.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.Server.is_serving
        """
        return self._serving

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets, for looking at; none once the server is closed.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.Server.sockets
        """
        return tuple(TransportSocket(sock) for sock in self._sockets or ())

    def close(self) -> None:
        """Stop listening; connections that are open stay so. Without effect the second time.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.Server.close
        """
        sockets = self._sockets
        if sockets is None:
            return
        self._sockets = None
        self._serving = False
        for sock in sockets:
            self._loop._stop_serving(self, sock)
        if self._on_close is not None:
            self._on_close()
        if self._forever is not None and not self._forever.done():
            self._forever.cancel()
            self._forever = None
        self._wake_if_over()

    def close_clients(self) -> None:
        """Close every open connection, each after it has sent what was written.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.Server.close_clients
        """
        for transport in self._open_clients():
            protocol = transport.get_protocol()
            # Under TLS the goodbye is the upper transport's to say.
            upper = protocol.transport if type(protocol) is tls.TLSProtocol else None
            (transport if upper is None else upper).close()

    def abort_clients(self) -> None:
        """Close every open connection at once; what waits to be sent is lost.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.Server.abort_clients
        """
        for transport in self._open_clients():
            transport.abort()

    async def start_serving(self) -> None:
        """Accept connections; without effect if that is so already.

        Raises RuntimeError if the server is closed.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.Server.start_serving
        """
        self._check_open()
        self._start_serving()
        await asyncio.sleep(0)

    async def serve_forever(self) -> None:
        """Accept connections until the task that awaits this is cancelled.

        That closes the server and its connections. Raises RuntimeError if the server is closed
        or another task awaits this already.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.Server.serve_forever
        """
        if self._forever is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        self._check_open()
        self._start_serving()
        self._forever = self._loop.create_future()
        try:
            await self._forever
        except asyncio.CancelledError:
            try:
                self.close()
                self.close_clients()
                await self.wait_closed()
            finally:
                raise
        finally:
            self._forever = None

    async def wait_closed(self) -> None:
        """Wait until the server is closed and its last connection gone, on every Python.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.Server.wait_closed
        """
        if self._waiters is None:
            return
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    # ---- what transports call --------------------------------------------------------------

    def _detach(self, entry: weakref.ref[Any]) -> None:
        """A connection of ours is gone; `entry` is its reference among the clients."""
        self._clients.discard(entry)
        if self._sockets is None:
            self._wake_if_over()

    def _open_clients(self) -> list[Any]:
        """Return the connections of ours that are open."""
        transports = [client() for client in list(self._clients)]
        return [transport for transport in transports if transport is not None]

    def _wake_if_over(self) -> None:
        if self._sockets is not None or self._clients or self._waiters is None:
            return
        waiters, self._waiters = self._waiters, None
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # ---- accepting -------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._sockets is None:
            raise RuntimeError(f"server {self!r} is closed")

    def _start_serving(self) -> None:
        if self._serving:
            return
        for sock in self._sockets or ():
            sock.listen(self._backlog)
            set_no_delay(sock)
        self._serving = True
        for sock in self._sockets or ():
            self._loop._start_serving(self, sock)

    def _accept_on(self, sock: socket.socket) -> None:
        """Arm one listening socket."""
        acceptor = self._acceptors[sock] = Acceptor(self, sock)
        self._loop.engine.start(acceptor)

    def _stop_accepting(self, sock: socket.socket) -> None:
        """Disarm and close one listening socket."""
        acceptor = self._acceptors.pop(sock, None)
        if acceptor is not None:
            if acceptor.retry is not None:
                acceptor.retry.cancel()
            engine = self._loop.engine
            engine.cancel(acceptor)
            # If the user closed it before us, its number may be another file's by now.
            if sock.fileno() == acceptor.fd and engine.owner(acceptor.fd) is None:
                engine.forget(acceptor.fd)
            acceptor.sock = None
        sock.close()

    def _secured(self, protocol: asyncio.BaseProtocol) -> tls.TLSProtocol:
        """Return the protocol that speaks TLS for a connection's own."""
        return tls.wrap(
            self._loop,
            protocol,
            self._ssl_context,
            None,
            server_side=True,
            server_hostname=None,
            ssl_handshake_timeout=self._ssl_handshake_timeout,
            ssl_shutdown_timeout=self._ssl_shutdown_timeout,
        )

    def _welcome_failed(self, protocol: Any, exc: BaseException) -> None:
        """Report what kept a connection out, which is closed; the server goes on."""
        report: dict[str, Any] = {
            "message": "Error on transport creation for incoming connection",
            "exception": exc,
        }
        if protocol is not None:
            report["protocol"] = protocol
        self._loop.call_exception_handler(report)

    def _accept_failed(self, acceptor: Acceptor, error: OSError) -> None:
        if error.errno in _LOST_BEFORE and acceptor.active:
            return
        if not acceptor.active:
            # The engine has given the descriptor up.
            message = "a server's listening socket was closed by someone else"
        else:
            exhausted = error.errno in _EXHAUSTED
            message = "socket.accept() out of system resource" if exhausted else "accept() failed"
            self._loop.engine.cancel(acceptor)
            acceptor.retry = self._loop.call_later(RETRY_DELAY, self._accept_again, acceptor)
        report: dict[str, Any] = {"message": message, "exception": error}
        if acceptor.sock is not None:
            report["socket"] = TransportSocket(acceptor.sock)
        self._loop.call_exception_handler(report)

    def _accept_again(self, acceptor: Acceptor) -> None:
        acceptor.retry = None
        if self._serving and not acceptor.active:
            self._loop.engine.start(acceptor)


class Listening(Room):
    """The loop's methods that make servers."""

    async def create_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | bytes | Iterable[str | None] | None = None,
        port: int | str | bytes | None = None,
        *,
        family: int = socket.AF_UNSPEC,
        flags: int = socket.AI_PASSIVE,
        sock: socket.socket | None = None,
        backlog: int = 100,
        ssl: Any = None,
        reuse_address: bool | None = None,
        reuse_port: bool | None = None,
        keep_alive: bool | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
    ) -> Server:
        """Listen on `host` and `port`, or on the bound stream socket `sock`.

        Args:
            protocol_factory: called without arguments for the protocol of each connection.
            host: a name or address, several of them, or None or "" for every interface.
            port: a number, the name of a service; 0 or None for a free one (each address
                its own).
            family, flags: passed to `getaddrinfo()`.
            sock: a bound stream socket in place of host and port; it belongs to the server.
            backlog: how many connections the kernel keeps that were not accepted yet.
            ssl: an `ssl.SSLContext` with a certificate, for TLS.
            reuse_address: allow an address whose last connections linger; by default True
                where that is harmless.
            reuse_port: allow other sockets to share the port. Windows does so, but leaves
                open which of them a connection goes to.
            keep_alive: have the kernel probe connections that are idle.
            ssl_handshake_timeout: seconds that a handshake may take (default 60).
            ssl_shutdown_timeout: seconds that closing TLS may take (default 30).
            start_serving: accept at once; otherwise when the server is told to.

        Returns:
            A `Server`.

        Raises:
            ValueError, TypeError: for arguments that do not fit together, or of a wrong type.
            OSError: if no address could be bound to.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.create_server
        """
        self._check_closed()
        checks.check_factory(protocol_factory)
        checks.check_integers(family=family, flags=flags, backlog=backlog)
        checks.check_server_ssl(ssl)
        checks.check_timeouts(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        if sock is not None:
            checks.check_not_ssl_socket(sock)
            if host is not None or port is not None:
                raise ValueError(
                    "host/port and sock can not be specified at the same time, got "
                    f"host={host!r}, port={port!r} and {sock!r}"
                )
            checks.check_stream_socket(sock)
            self._check_free(sock.fileno())
            sockets = [sock]
        elif host is None and port is None:
            raise ValueError(
                "Neither host/port nor sock were specified: give a port (0 for a free one), or sock"
            )
        else:
            if reuse_address is None:
                # Where there is an exclusive use, reuse means to steal the port of another.
                reuse_address = not hasattr(socket, "SO_EXCLUSIVEADDRUSE")
            infos = await self._resolve_hosts(host, port, family, flags)
            sockets = self._bind_all(infos, reuse_address, reuse_port, keep_alive)
        server = Server(
            self,
            sockets,
            protocol_factory,
            ssl,
            backlog,
            ssl_handshake_timeout,
            ssl_shutdown_timeout,
        )
        return await self._serve(server, start_serving)

    async def _serve(self, server: Server, start_serving: bool) -> Server:
        """Start a new server, if it shall; closes it when it cannot start."""
        try:
            for sock in server._sockets or ():
                sock.setblocking(False)
            if start_serving:
                server._start_serving()
                # One turn: from here on connections are accepted.
                await asyncio.sleep(0)
        except BaseException:
            server.close()
            raise
        if self.get_debug():
            logger.info("%r is serving", server)
        return server

    def _start_serving(self, server: Server, sock: socket.socket) -> None:
        server._accept_on(sock)

    def _stop_serving(self, server: Server, sock: socket.socket) -> None:
        server._stop_accepting(sock)

    async def _resolve_hosts(self, host: Any, port: Any, family: int, flags: int) -> list[Any]:
        """Return what all hosts resolve to, each address once."""
        hosts: list[Any]
        if host == "" or host == b"":
            hosts = [None]
        elif isinstance(host, (str, bytes)) or not hasattr(host, "__iter__"):
            hosts = [host]
        else:
            hosts = [each or None for each in host]
        answers = await asyncio.gather(
            *[
                self._ensure_resolved(
                    (each, port), family=family, type=socket.SOCK_STREAM, flags=flags
                )
                for each in hosts
            ]
        )
        return list(dict.fromkeys(info for answer in answers for info in answer))

    def _bind_all(
        self, infos: list[Any], reuse_address: bool, reuse_port: Any, keep_alive: Any
    ) -> list[socket.socket]:
        """Return a bound socket for each address that this machine has."""
        sockets: list[socket.socket] = []
        try:
            for family, kind, proto, _, address in infos:
                try:
                    sock = socket.socket(family, kind, proto)
                except OSError:
                    # A family that is known by name but not built into this system.
                    if self.get_debug():
                        logger.warning(
                            "create_server() failed to create socket.socket(%r, %r, %r)",
                            family,
                            kind,
                            proto,
                            exc_info=True,
                        )
                    continue
                sockets.append(sock)
                _set_options(sock, family, reuse_address, reuse_port, keep_alive)
                try:
                    sock.bind(address)
                except OSError as exc:
                    message = (
                        f"error while attempting to bind on address {address!r}: {str(exc).lower()}"
                    )
                    if exc.errno != errno.EADDRNOTAVAIL:
                        raise OSError(exc.errno, message) from None
                    # An address of a family that is switched off here.
                    sockets.pop().close()
                    if self.get_debug():
                        logger.warning(message)
            if not sockets:
                addresses = [info[4] for info in infos]
                raise OSError(f"could not bind on any address out of {addresses!r}")
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        return sockets


def _set_options(
    sock: socket.socket, family: int, reuse_address: bool, reuse_port: Any, keep_alive: Any
) -> None:
    inet6 = getattr(socket, "AF_INET6", None)
    if reuse_address:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port and family in (socket.AF_INET, inet6):
        set_reuse_port(sock)
    if keep_alive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if family == inet6 and hasattr(socket, "IPPROTO_IPV6"):
        # Not IPv4 as well: that has a socket of its own.
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def set_reuse_port(sock: socket.socket) -> None:
    """Let other sockets share the port; ValueError where there is no such thing."""
    option = getattr(socket, "SO_REUSEPORT", None)
    if option is None and hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
        # Windows calls the same SO_REUSEADDR; what others call that is how it always is there.
        option = socket.SO_REUSEADDR
    if option is None:
        raise ValueError("reuse_port not supported by socket module: give False or None")
    try:
        sock.setsockopt(socket.SOL_SOCKET, option, 1)
    except OSError:
        raise ValueError(
            "reuse_port not supported by socket module, SO_REUSEPORT defined but not implemented: "
            "give False or None"
        ) from None
