"""Taking connections in: what a server does for each one that the engine has accepted.

The factory and `connection_made()` run in a copy of the context that the server was made in, at
once: the connection is there, and nothing of the user's is in the middle of a call.
"""

from __future__ import annotations

import socket
import weakref
from typing import TYPE_CHECKING, Any

try:
    import cython
except ImportError:
    from evenloop import _cython as cython

from evenloop.scheduler import logger

if not cython.compiled:
    from evenloop._calls import call_none, call_one
    from evenloop.engines.engine import ACCEPT, Op
    from evenloop.transports.stream import StreamTransport

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from evenloop.scheduler import Scheduler

__all__ = ["Acceptor", "set_no_delay"]

_reference = weakref.ref

_TCP = int(socket.IPPROTO_TCP)
_NO_DELAY = getattr(socket, "TCP_NODELAY", None)
_INTERNET = (socket.AF_INET, getattr(socket, "AF_INET6", socket.AF_INET))


class Acceptor(Op):
    """Accepts the connections of one listening socket."""

    def __init__(self, server: Any, sock: socket.socket) -> None:
        Op.__init__(self, ACCEPT, sock.fileno(), sock)
        self.multishot = True
        self.server = server
        self.loop: Scheduler = server._loop
        # The server's connections, as `Server._detach()` knows them.
        self.clients: set[Any] = server._clients
        self.discard: Callable[[Any], None] = self.clients.discard
        self.retry: asyncio.TimerHandle | None = None
        # Whether a connection has the listening socket's options; None until one was seen.
        self.inherits: Any = None

    def complete(self) -> None:
        """Take the connection in, or tell the server of the error."""
        if self.error is not None:
            error = self.error
            self.error: Any = None
            self.server._accept_failed(self, error)
            return
        connection, address = self.result
        self.result: Any = None
        if self.loop._debug:
            logger.debug("%r got a new connection from %r: %r", self.server, address, connection)
        self._welcome(connection, address)

    def _welcome(self, connection: socket.socket, address: Any) -> None:
        """Put a protocol and a transport on a connection; no failure of the user's stops us."""
        server = self.server
        context = server._context.copy()
        protocol = None
        try:
            if not self.inherits:
                self._see_to_delay(connection)
            protocol = call_none(context, server._protocol_factory)
            upper = protocol
            if server._ssl_context is not None:
                upper = call_one(context, server._secured, protocol)
            transport = StreamTransport.__new__(StreamTransport)
            transport._take(self.loop, connection, upper, context, None, address)
            transport._entry = _reference(transport, self.discard)
            self.clients.add(transport._entry)
            transport._server = server
        except (SystemExit, KeyboardInterrupt):
            connection.close()
            raise
        except BaseException as exc:
            connection.close()
            server._welcome_failed(protocol, exc)
            return
        call_one(context, transport._begin, None)

    def _see_to_delay(self, connection: socket.socket) -> None:
        """Switch delays off, and learn whether they are, as on Linux, if the listener's are."""
        if self.inherits is None and _NO_DELAY is not None and connection.family in _INTERNET:
            try:
                self.inherits = connection.getsockopt(_TCP, _NO_DELAY) != 0
            except OSError:
                # Of a connection that is gone nothing can be learned.
                self.inherits = None
        if not self.inherits:
            set_no_delay(connection)


def set_no_delay(sock: socket.socket) -> None:
    """Have TCP send at once what is written; a transport gathers for itself."""
    # TCP is a stream of the Internet's; a socket may not say that it is TCP, and be it.
    if sock.proto != _TCP and (
        sock.proto != 0 or sock.type != socket.SOCK_STREAM or sock.family not in _INTERNET
    ):
        return
    if _NO_DELAY is not None:
        try:
            sock.setsockopt(_TCP, _NO_DELAY, 1)
        except OSError:
            # The connection is gone already (macOS): reading will tell.
            return
