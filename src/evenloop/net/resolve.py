"""Names to addresses and back.

An address that is written out already ("127.0.0.1", "::1") is not looked up in a thread: there
is nothing to wait for. Everything else goes to `socket.getaddrinfo()` in the default executor.

What the system made of such an address is remembered: without flags, and without a zone, it
depends on the arguments alone.
"""

from __future__ import annotations

import functools
import socket
from typing import TYPE_CHECKING, Any

from evenloop.net import checks
from evenloop.net.room import Room
from evenloop.scheduler import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]

__all__ = ["Resolving", "is_literal", "known_info", "literal_info"]

_INET6 = getattr(socket, "AF_INET6", None) if socket.has_ipv6 else None
_NUMERIC_HOST = getattr(socket, "AI_NUMERICHOST", 0)
_NUMERIC_NAMES = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV

# The system's answers for addresses, by the arguments. Once full it is begun anew.
_answers: dict[tuple[Any, ...], list[AddressInfo]] = {}
_ANSWERS_KEPT = 1024
# Who replaces this function means our loops, too: its answers are asked for every time.
_system_getaddrinfo = socket.getaddrinfo


def _text(host: str | bytes) -> str:
    return host.decode("idna") if isinstance(host, bytes) else host


def _family_of(host: str, families: tuple[int, ...]) -> int | None:
    """Return the one of `families` that `host` is an address of, or None."""
    for family in families:
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return family
    return None


_FAMILIES = (socket.AF_INET,) if _INET6 is None else (socket.AF_INET, int(_INET6))


def is_literal(host: str | bytes) -> bool:
    """Whether `host` is an address, perhaps with a zone (fe80::1%eth0), and not a name."""
    address, zone, _ = _text(host).partition("%")
    return _family_of(address, _FAMILIES[1:] if zone else _FAMILIES) is not None


def literal_info(
    host: Any, port: Any, family: int, type: int, proto: int, flowinfo: int = 0, scope: int = 0
) -> AddressInfo | None:
    """Return the answer for an address without asking, or None for what must be asked."""
    if host is None or proto not in (0, socket.IPPROTO_TCP, socket.IPPROTO_UDP):
        return None
    if type == socket.SOCK_STREAM:
        proto = socket.IPPROTO_TCP
    elif type == socket.SOCK_DGRAM:
        proto = socket.IPPROTO_UDP
    else:
        return None
    if port is None or port == "" or port == b"":
        port = 0
    else:
        try:
            port = int(port)
        except (TypeError, ValueError):
            # The name of a service, such as "http".
            return None
    host = _text(host)
    if "%" in host:
        # inet_pton() does not take a zone.
        return None
    found = _family_of(host, _FAMILIES if family == socket.AF_UNSPEC else (family,))
    if found is None:
        return None
    if found == _INET6:
        return found, type, proto, "", (host, port, flowinfo, scope)
    return found, type, proto, "", (host, port)


# The same for a text and a number, as they come again and again.
known_info: Callable[..., AddressInfo | None] = functools.lru_cache(maxsize=1024)(literal_info)


def _check_host(host: Any, name: str = "host") -> None:
    if host is not None and not isinstance(host, (str, bytes)):
        raise TypeError(f"{name} must be a str, bytes or None, got {host!r}")


class Resolving(Room):
    """The loop's methods that resolve names."""

    async def getaddrinfo(
        self,
        host: str | bytes | None,
        port: str | bytes | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[AddressInfo]:
        """Resolve a host and port; the asynchronous `socket.getaddrinfo()`.

        `host` is a name, an address or None, `port` a number, the name of a service or None.
        Returns a list of `(family, type, proto, canonname, sockaddr)`. Runs in the default
        executor unless `host` is an address. Raises socket.gaierror if there is no answer,
        TypeError if `host` is of another type.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.getaddrinfo
        """
        try:
            known = _answers.get((host, port, family, type, proto))
        except TypeError:
            known = None  # what cannot be hashed is no argument either
        if (
            known is not None
            and not flags
            # 80.0 equals 80, and is an error.
            and port.__class__ is int
            and socket.getaddrinfo is _system_getaddrinfo
            and not (self._debug or self._closed)
        ):
            return known.copy()
        self._check_closed()
        _check_host(host)
        if port is not None and not isinstance(port, (int, str, bytes)):
            # The type of what the socket module raises.
            raise OSError(f"port must be an int, str, bytes or None, got {port!r}")
        checks.check_integers(family=family, type=type, proto=proto, flags=flags)
        lookup: Any = self._getaddrinfo_debug if self.get_debug() else socket.getaddrinfo
        numeric = host and (port is None or isinstance(port, int))
        if _NUMERIC_HOST and numeric and is_literal(host or ""):
            # The very call that the thread would make, but for a promise not to ask anyone.
            answer: list[AddressInfo] = lookup(
                host, port, family, type, proto, flags | _NUMERIC_HOST
            )
            if lookup is _system_getaddrinfo and not flags and "%" not in _text(host or ""):
                if len(_answers) >= _ANSWERS_KEPT:
                    _answers.clear()
                _answers[host, port, family, type, proto] = answer.copy()
            return answer
        try:
            return await self.run_in_executor(  # type: ignore[no-any-return]
                None, lookup, host, port, family, type, proto, flags
            )
        except socket.gaierror as exc:
            exc.add_note(f"while resolving host {host!r}, port {port!r}")
            raise

    async def getnameinfo(self, sockaddr: tuple[Any, ...], flags: int = 0) -> tuple[str, str]:
        """Turn an address into a host and a service name; the asynchronous `socket.getnameinfo()`.

        Runs in the default executor unless `flags` ask for numbers alone. Raises socket.gaierror
        if there is no answer, TypeError if `sockaddr` is no address tuple.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.getnameinfo
        """
        self._check_closed()
        if not isinstance(sockaddr, tuple):
            raise TypeError(f"sockaddr must be a tuple (host, port, ...), got {sockaddr!r}")
        checks.check_integers(flags=flags)
        if flags & _NUMERIC_NAMES == _NUMERIC_NAMES:
            return socket.getnameinfo(sockaddr, flags)
        return await self.run_in_executor(  # type: ignore[no-any-return]
            None, socket.getnameinfo, sockaddr, flags
        )

    def _getaddrinfo_debug(
        self, host: Any, port: Any, family: int, type: int, proto: int, flags: int
    ) -> list[AddressInfo]:
        """Resolve, and log how long it took."""
        query = f"{host}:{port!r}"
        for name, value in (("family", family), ("type", type), ("proto", proto)):
            if value:
                query += f", {name}={value!r}"
        if flags:
            query += f", flags={flags!r}"
        logger.debug("Get address info %s", query)
        started = self.time()
        answer: Any = socket.getaddrinfo(host, port, family, type, proto, flags)
        seconds = self.time() - started
        log = logger.info if seconds >= self.slow_callback_duration else logger.debug
        log("Getting address info %s took %.3fms: %r", query, seconds * 1e3, answer)
        return answer  # type: ignore[no-any-return]

    async def _ensure_resolved(
        self,
        address: Any,
        *,
        family: int = 0,
        type: int = socket.SOCK_STREAM,
        proto: int = 0,
        flags: int = 0,
        name: str = "address",
    ) -> list[AddressInfo]:
        """Return where `address` leads, at least one entry; asks only if it must.

        OSError if there is none, TypeError or ValueError if `address` is not (host, port, ...).
        """
        if not isinstance(address, (tuple, list)) or len(address) < 2:
            problem = f"{name} must be a tuple (host, port), got {address!r}"
            raise ValueError(problem) if hasattr(address, "__len__") else TypeError(problem)
        host, port = address[:2]
        _check_host(host, "host" if name == "address" else f"the host of {name}")
        info = literal_info(host, port, family, type, proto, *address[2:])
        if info is not None:
            if not 0 <= info[4][1] <= 65535:
                raise OverflowError(f"port must be 0-65535, got {port!r}")
            return [info]
        infos: list[AddressInfo] = await self.getaddrinfo(
            host, port, family=family, type=type, proto=proto, flags=flags
        )
        if not infos:
            raise OSError(f"getaddrinfo() returned empty list for {host!r}, port {port!r}")
        return infos
