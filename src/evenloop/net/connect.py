"""Connections going out, and those that were accepted elsewhere.

Documented at https://docs.python.org/3/library/asyncio-eventloop.html#opening-network-connections
"""

from __future__ import annotations

import asyncio
import socket
import types
from functools import partial
from typing import TYPE_CHECKING, Any

from evenloop.engines.engine import CONNECT
from evenloop.net import checks, eyeballs, sockets
from evenloop.net.accepting import set_no_delay
from evenloop.net.resolve import known_info
from evenloop.net.room import Room
from evenloop.scheduler import logger
from evenloop.transports import tls
from evenloop.transports.stream import StreamTransport, open_stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    Connection = tuple[asyncio.Transport, asyncio.BaseProtocol]

__all__ = ["Connecting"]

# Plain numbers: to combine members of the socket module's enumerations takes microseconds.
_STREAM = int(socket.SOCK_STREAM)
# Where a socket can be made non-blocking in the one call.
_NONBLOCK = int(getattr(socket, "SOCK_NONBLOCK", 0))


class Connecting(Room):
    """The loop's methods that make connections over TCP, and put TLS on them."""

    async def create_connection(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | bytes | None = None,
        port: int | str | bytes | None = None,
        *,
        ssl: Any = None,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        sock: socket.socket | None = None,
        local_addr: tuple[Any, ...] | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        happy_eyeballs_delay: float | None = None,
        interleave: int | None = None,
        all_errors: bool = False,
    ) -> Connection:
        """Connect to `host` and `port`, or take the connected stream socket `sock`.

        Args:
            protocol_factory: called without arguments for the protocol, once connected.
            host: a name or an address.
            port: a number, or the name of a service.
            ssl: an `ssl.SSLContext` for TLS, True for a default context, None for none.
            family, proto, flags: passed to `getaddrinfo()`.
            sock: a connected socket, in place of host and port; it belongs to the transport.
            local_addr: `(host, port)` to bind to before connecting.
            server_hostname: what the certificate must be for; by default the host. An empty
                string switches the check of the name off.
            ssl_handshake_timeout: seconds that the handshake may take (default 60).
            ssl_shutdown_timeout: seconds that closing TLS may take (default 30).
            happy_eyeballs_delay: seconds after which the next address is tried while the
                earlier attempts go on (RFC 8305 recommends 0.25); None tries them in turn.
            interleave: alternate between address families, after this many of the first;
                1 by default with `happy_eyeballs_delay`.
            all_errors: raise an ExceptionGroup of every failure instead of one OSError.

        Returns:
            `(transport, protocol)`.

        Raises:
            ValueError, TypeError: for arguments that do not fit together, or of a wrong type.
            OSError: if no address could be connected to; ssl.SSLError if TLS failed.
            ExceptionGroup: in place of OSError, with `all_errors`.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.create_connection
        """
        self._check_closed()
        if not callable(protocol_factory):
            checks.check_factory(protocol_factory)
        if family != 0 or proto != 0 or flags != 0:
            checks.check_integers(family=family, proto=proto, flags=flags)
        if server_hostname is not None and not ssl:
            raise ValueError(
                f"server_hostname is only meaningful with ssl, got {server_hostname!r}"
            )
        if server_hostname is None and ssl:
            if not host:
                raise ValueError(
                    "You must set server_hostname when using ssl without a host; "
                    "an empty string switches the check of the name off"
                )
            server_hostname = host.decode("idna") if isinstance(host, bytes) else host
        if not (ssl is ssl_handshake_timeout is ssl_shutdown_timeout is None):
            checks.check_client_ssl(ssl)
            checks.check_timeouts(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        peer = None
        given = sock is not None
        if happy_eyeballs_delay is not None or interleave is not None:
            _check_race(happy_eyeballs_delay, interleave)

        if sock is not None:
            checks.check_not_ssl_socket(sock)
            if host is not None or port is not None:
                raise ValueError(
                    "host/port and sock can not be specified at the same time, got "
                    f"host={host!r}, port={port!r} and {sock!r}"
                )
            checks.check_stream_socket(sock)
        elif host is None and port is None:
            raise ValueError(
                "host and port was not specified and no sock specified: give host and port, or sock"
            )
        else:
            known = None
            if type(host) is str and type(port) is int and 0 <= port <= 0xFFFF:
                known = known_info(host, port, family, _STREAM, proto)
            infos: list[Any] = [known]
            if known is None:
                infos = await self._ensure_resolved(
                    (host, port), family=family, type=_STREAM, proto=proto, flags=flags
                )
            elif known[0] == socket.AF_INET and host != "0.0.0.0":
                # What the other end will be called; that address leads to another one.
                peer = known[4]
            local_infos = None
            if local_addr is not None:
                local_infos = await self._ensure_resolved(
                    local_addr,
                    family=family,
                    type=_STREAM,
                    proto=proto,
                    flags=flags,
                    name="local_addr",
                )
            if interleave or (interleave is None and happy_eyeballs_delay is not None):
                infos = eyeballs.interleave(infos, interleave or 1)
            if known is not None and not all_errors:
                # There is nothing to try in turn, nor failures to put together.
                sock, pending = self._begin_to_connect(known, local_infos, None)
                if pending is not None:
                    await self._connected(sock, pending, None)
            else:
                sock = await self._connect_any(infos, local_infos, happy_eyeballs_delay, all_errors)

        if not given and not ssl:
            transport, protocol = self._start_stream(sock, protocol_factory, peer)
            try:
                await _next_turn()
            except BaseException:
                transport.close()
                raise
        else:
            transport, protocol = await self._open_stream(
                sock,
                protocol_factory,
                ssl,
                server_hostname=server_hostname,
                ssl_handshake_timeout=ssl_handshake_timeout,
                ssl_shutdown_timeout=ssl_shutdown_timeout,
                peer=peer,
            )
        if self._debug:
            logger.debug(
                "%r connected to %s:%r: (%r, %r)",
                transport.get_extra_info("socket"),
                host,
                port,
                transport,
                protocol,
            )
        return transport, protocol

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect a non-blocking socket to `address`, which is resolved first if it has to be.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.sock_connect
        """
        sockets.check(self, sock)
        if sock.family in (socket.AF_INET, getattr(socket, "AF_INET6", socket.AF_INET)):
            resolved = await self._ensure_resolved(
                address, family=sock.family, type=sock.type, proto=sock.proto
            )
            address = resolved[0][4]
        await sockets.Request(self, CONNECT, sock, address)

    async def connect_accepted_socket(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        sock: socket.socket,
        *,
        ssl: Any = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> Connection:
        """Take a stream socket that was accepted elsewhere; TLS with the server's part.

        `ssl` is a server's `ssl.SSLContext` or None; the timeouts are in seconds (default 60
        and 30). Returns `(transport, protocol)` with the protocol that the factory made. Raises
        ValueError or TypeError for arguments that do not fit, ssl.SSLError if TLS failed.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.connect_accepted_socket
        """
        self._check_closed()
        checks.check_factory(protocol_factory)
        checks.check_stream_socket(sock)
        checks.check_client_ssl(ssl)
        checks.check_timeouts(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        checks.check_not_ssl_socket(sock)
        transport, protocol = await self._open_stream(
            sock,
            protocol_factory,
            ssl,
            server_side=True,
            server_hostname="",
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        if self.get_debug():
            accepted = transport.get_extra_info("socket")
            logger.debug("%r handled: (%r, %r)", accepted, transport, protocol)
        return transport, protocol

    async def start_tls(
        self,
        transport: asyncio.WriteTransport,
        protocol: asyncio.BaseProtocol,
        sslcontext: Any,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> asyncio.Transport:
        """Upgrade an open connection to TLS; return the transport to use from now on.

        Args:
            transport: what `create_connection()` or a server's protocol was given.
            protocol: the protocol of that transport.
            sslcontext: an `ssl.SSLContext`.
            server_side: True on the accepting side.
            server_hostname: what the other side's certificate must be for.
            ssl_handshake_timeout: seconds that the handshake may take (default 60).
            ssl_shutdown_timeout: seconds that closing TLS may take (default 30).

        Raises:
            TypeError: for a transport that cannot be upgraded, or a wrong context.
            ValueError: for a timeout that is not positive.
            ConnectionError, ssl.SSLError: if the handshake failed or took too long.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.start_tls
        """
        self._check_closed()
        loop: Any = self
        return await tls.start_tls(
            loop,
            transport,
            protocol,
            sslcontext,
            server_side=server_side,
            server_hostname=server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )

    # ---- one socket out of many addresses --------------------------------------------------

    async def _connect_any(
        self,
        infos: list[Any],
        local_infos: list[Any] | None,
        delay: float | None,
        all_errors: bool,
    ) -> socket.socket:
        """Return a socket that is connected to one of the addresses, or raise why none is."""
        # One list of failures for each attempt, so that they end up in the order of addresses.
        failures: list[list[OSError]] = [[] for _ in infos]
        try:
            connected: socket.socket | None = None
            if delay is None:
                for info, failed in zip(infos, failures, strict=True):
                    try:
                        connected = await self._connect_one(info, local_infos, failed)
                    except OSError:
                        continue
                    break
            else:
                loop: Any = self
                attempts = [
                    partial(self._connect_one, info, local_infos, failed)
                    for info, failed in zip(infos, failures, strict=True)
                ]
                connected = await eyeballs.race(loop, attempts, delay)
            if connected is not None:
                return connected
            raise _combined([error for failed in failures for error in failed], all_errors)
        finally:
            # The exceptions hold this frame and its callers', which must not hold them.
            for failed in failures:
                failed.clear()

    async def _connect_one(
        self, info: Any, local_infos: list[Any] | None, failed: list[OSError] | None
    ) -> socket.socket:
        """Make a socket, bind it if asked to, and connect it; `failed` gets what went wrong."""
        try:
            sock, pending = self._begin_to_connect(info, local_infos, failed)
            if pending is not None:
                await self._connected(sock, pending, failed)
            return sock
        finally:
            del failed

    def _begin_to_connect(
        self, info: Any, local_infos: list[Any] | None, failed: list[OSError] | None
    ) -> tuple[socket.socket, Awaitable[None] | None]:
        """Return a socket, and what `_connected()` is to wait for unless it is connected."""
        family, kind, proto, _, address = info
        sock = None
        try:
            sock = socket.socket(family, kind | _NONBLOCK, proto)
            if not _NONBLOCK:
                sock.setblocking(False)
            if local_infos is not None:
                _bind_local(sock, family, local_infos, failed)
            connect = self.sock_connect
            if getattr(connect, "__func__", None) is Connecting.sock_connect:
                return sock, sockets.connect(self, sock, address)
            # It has been overridden, or replaced in a test: that is what connects.
            return sock, connect(sock, address)
        except BaseException as exc:
            _give_up(sock, exc, failed)
            raise
        finally:
            del failed

    async def _connected(
        self, sock: socket.socket, pending: Awaitable[None], failed: list[OSError] | None
    ) -> None:
        """Wait until a socket is connected."""
        try:
            await pending
        except BaseException as exc:
            _give_up(sock, exc, failed)
            raise
        finally:
            del failed

    def _start_stream(
        self, sock: socket.socket, protocol_factory: Callable[[], asyncio.BaseProtocol], peer: Any
    ) -> Connection:
        """Put a protocol on a connected socket of ours; it hears of it at the next turn.

        `peer` is the other end's name, where it need not be asked for.
        """
        try:
            protocol = protocol_factory()
            set_no_delay(sock)
            transport: Any = open_stream(self, sock, protocol, peer)
        except BaseException:
            sock.close()
            raise
        return transport, protocol

    async def _open_stream(
        self,
        sock: socket.socket,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        ssl: Any,
        *,
        server_hostname: str | None,
        server_side: bool = False,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        peer: Any = None,
    ) -> Connection:
        """Put a transport and a protocol on a connected socket; closes it if that fails.

        `peer` is the other end's name, where it need not be asked for.
        """
        try:
            if sock.gettimeout() != 0:
                sock.setblocking(False)
            protocol = protocol_factory()
        except BaseException:
            sock.close()
            raise
        # Not closed if it is another transport's: that one still needs it.
        self._check_free(sock.fileno())
        transport: Any
        try:
            set_no_delay(sock)
            waiter = self.create_future()
            if ssl:
                loop: Any = self
                layer: Any = tls.wrap(
                    loop,
                    protocol,
                    ssl,
                    waiter,
                    server_side=server_side,
                    server_hostname=server_hostname,
                    ssl_handshake_timeout=ssl_handshake_timeout,
                    ssl_shutdown_timeout=ssl_shutdown_timeout,
                )
                transport = layer.transport
                open_stream(loop, sock, layer, peer)
            else:
                transport = StreamTransport(self, sock, protocol, waiter=waiter)
        except BaseException:
            sock.close()
            raise
        try:
            await waiter
        except BaseException:
            transport.close()
            raise
        return transport, protocol


@types.coroutine
def _next_turn() -> Generator[None]:
    """Wait for what the next turn does first: all that was scheduled until now."""
    yield


def _give_up(sock: socket.socket | None, exc: BaseException, failed: list[OSError] | None) -> None:
    """Close a socket that could not be connected; `failed` gets the reason."""
    if failed is not None and isinstance(exc, OSError):
        failed.append(exc)
    if sock is not None:
        sock.close()


def _check_race(delay: Any, interleave: Any) -> None:
    """Check the arguments that order the addresses."""
    if delay is not None and not isinstance(delay, (int, float)):
        raise TypeError(f"happy_eyeballs_delay must be a number of seconds or None, got {delay!r}")
    if interleave is not None and not hasattr(interleave, "__index__"):
        raise TypeError(f"interleave must be an integer or None, got {interleave!r}")


def _bind_local(
    sock: socket.socket, family: int, local_infos: list[Any], failed: list[OSError] | None
) -> None:
    """Bind to the first local address of the socket's family that can be had."""
    last = None
    for local_family, _, _, _, address in local_infos:
        if local_family != family:
            continue
        if last is not None and failed is not None:
            failed.append(last)
        try:
            sock.bind(address)
            return
        except OSError as exc:
            reason = str(exc).lower()
            last = OSError(
                exc.errno, f"error while attempting to bind on address {address!r}: {reason}"
            )
    raise last or OSError(f"no matching local address with {family=} found")


def _combined(errors: list[OSError], all_errors: bool) -> BaseException:
    """Return one exception that stands for all failures."""
    if all_errors and errors:
        return ExceptionGroup("create_connection failed", errors)
    if not errors:
        return TimeoutError("create_connection failed")
    texts = {str(error): error for error in reversed(errors)}
    if len(texts) == 1:
        return errors[0]
    joined = ", ".join(str(error) for error in errors)
    return OSError(f"Multiple exceptions: {joined}")
