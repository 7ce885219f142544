"""Datagram endpoints.

Documented at https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.create_datagram_endpoint
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from evenloop.net import checks, unix
from evenloop.net.listen import set_reuse_port
from evenloop.net.room import Room
from evenloop.scheduler import logger
from evenloop.transports.datagram import DatagramTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    Address = Any
    # (family, protocol), (local address, remote address)
    Choice = tuple[tuple[int, int], tuple[Address, Address]]

__all__ = ["Datagrams"]


class Datagrams(Room):
    """The loop's method that makes datagram endpoints."""

    async def create_datagram_endpoint(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        local_addr: tuple[str | None, int] | str | None = None,
        remote_addr: tuple[str, int] | str | None = None,
        *,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        reuse_port: bool | None = None,
        allow_broadcast: bool | None = None,
        sock: socket.socket | None = None,
    ) -> tuple[asyncio.DatagramTransport, asyncio.BaseProtocol]:
        """Make a datagram endpoint: UDP, AF_UNIX, or whatever `sock` is.

        Args:
            protocol_factory: called without arguments for the `DatagramProtocol`.
            local_addr: `(host, port)` to bind to; for AF_UNIX a path.
            remote_addr: `(host, port)` (for AF_UNIX a path) to send to; only what comes from
                there is received, unless `allow_broadcast` is given too.
            family: needed if neither address is given.
            proto, flags: passed to `getaddrinfo()`.
            reuse_port: allow other sockets to share the port.
            allow_broadcast: allow to send to broadcast addresses.
            sock: a datagram socket in place of all of these; it belongs to the transport.

        Returns:
            `(transport, protocol)`.

        Raises:
            ValueError, TypeError: for arguments that do not fit together, or of a wrong type.
            OSError: if no address could be bound or connected to.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.create_datagram_endpoint
        """
        self._check_closed()
        checks.check_factory(protocol_factory)
        checks.check_integers(family=family, proto=proto, flags=flags)
        remote: Address = None
        if sock is not None:
            _check_socket(sock)
            given = {
                "local_addr": local_addr,
                "remote_addr": remote_addr,
                "family": family,
                "proto": proto,
                "flags": flags,
                "reuse_port": reuse_port,
                "allow_broadcast": allow_broadcast,
            }
            problems = ", ".join(f"{name}={value!r}" for name, value in given.items() if value)
            if problems:
                raise ValueError(
                    "socket modifier keyword arguments can not be used when sock is specified. "
                    f"({problems})"
                )
            self._check_free(sock.fileno())
            sock.setblocking(False)
        else:
            choices = await self._choices(local_addr, remote_addr, family, proto, flags)
            sock, remote = await self._first_endpoint(choices, reuse_port, allow_broadcast)

        try:
            protocol = protocol_factory()
            waiter = self.create_future()
            transport: Any = DatagramTransport(self, sock, protocol, remote, waiter=waiter)
        except BaseException:
            sock.close()
            raise
        if self.get_debug():
            log = logger.info if local_addr else logger.debug
            log(
                "Datagram endpoint local_addr=%r remote_addr=%r created: (%r, %r)",
                local_addr,
                remote_addr,
                transport,
                protocol,
            )
        try:
            await waiter
        except BaseException:
            transport.close()
            raise
        return transport, protocol

    async def _choices(
        self, local_addr: Any, remote_addr: Any, family: int, proto: int, flags: int
    ) -> list[Choice]:
        """Return the pairs of addresses that an endpoint could have, best first."""
        if not local_addr and not remote_addr:
            if not family:
                raise ValueError(
                    "unexpected address family: give local_addr, remote_addr, sock, "
                    f"or a family other than {family!r}"
                )
            return [((family, proto), (None, None))]
        named = (("local_addr", local_addr), ("remote_addr", remote_addr))
        if family == getattr(socket, "AF_UNIX", object()):
            for name, path in named:
                if path is not None and not isinstance(path, str):
                    raise TypeError(f"{name}: string is expected with AF_UNIX, got {path!r}")
            if local_addr:
                unix.remove_stale(local_addr)
            return [((family, proto), (local_addr, remote_addr))]
        found: dict[tuple[int, int], list[Address]] = {}
        for index, (name, address) in enumerate(named):
            if address is None:
                continue
            if not (isinstance(address, tuple) and len(address) == 2):
                raise TypeError(f"{name}: 2-tuple is expected, (host, port), got {address!r}")
            infos = await self._ensure_resolved(
                address, family=family, type=socket.SOCK_DGRAM, proto=proto, flags=flags, name=name
            )
            for each_family, _, each_proto, _, resolved in infos:
                found.setdefault((each_family, each_proto), [None, None])[index] = resolved
        choices: list[Choice] = [
            (key, (local, remote))
            for key, (local, remote) in found.items()
            if not (local_addr and local is None) and not (remote_addr and remote is None)
        ]
        if not choices:
            raise ValueError(
                f"can not get address information: local_addr={local_addr!r} and "
                f"remote_addr={remote_addr!r} have no address family in common"
            )
        return choices

    async def _first_endpoint(
        self, choices: list[Choice], reuse_port: Any, allow_broadcast: Any
    ) -> tuple[socket.socket, Address]:
        """Return a socket for the first choice that works, and where it sends to."""
        errors: list[OSError] = []
        try:
            for (family, proto), (local, remote) in choices:
                sock = None
                try:
                    sock = socket.socket(family=family, type=socket.SOCK_DGRAM, proto=proto)
                    if reuse_port:
                        set_reuse_port(sock)
                    if allow_broadcast:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                    sock.setblocking(False)
                    if local:
                        sock.bind(local)
                    if remote and not allow_broadcast:
                        await self.sock_connect(sock, remote)
                    return sock, remote
                except BaseException as exc:
                    if sock is not None:
                        sock.close()
                    if not isinstance(exc, OSError):
                        raise
                    errors.append(exc)
            raise errors[0]
        finally:
            # The exceptions hold this frame, which must not hold them.
            errors = []


def _check_socket(sock: Any) -> None:
    if checks.check_socket(sock) == socket.SOCK_STREAM:
        # Until Python 3.12 asyncio said so in other words.
        raise ValueError(
            f"A datagram socket was expected (A UDP Socket was expected), got {sock!r}"
        )
