"""Checks of arguments that several methods share.

Each raises what asyncio raises for the same mistake, with a message that names the argument,
what it was, and what would do.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

try:
    from ssl import SSLSocket as _SSLSocket
except ImportError:  # pragma: no cover - a Python built without OpenSSL
    _SSLSocket = ()  # type: ignore[assignment,misc]

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "check_client_ssl",
    "check_factory",
    "check_integers",
    "check_not_ssl_socket",
    "check_server_ssl",
    "check_socket",
    "check_stream_socket",
    "check_timeouts",
]


def check_factory(factory: Callable[[], Any]) -> None:
    """Raise TypeError unless a protocol factory can be called."""
    if not callable(factory):
        raise TypeError(
            f"protocol_factory must be a callable that returns a protocol, got {factory!r}"
        )


def check_not_ssl_socket(sock: Any) -> None:
    """Raise TypeError for an SSLSocket: TLS is the loop's own to do."""
    if isinstance(sock, _SSLSocket):
        raise TypeError(
            "Socket cannot be of type SSLSocket: give the plain socket as sock, and an "
            "ssl.SSLContext as ssl"
        )


def check_integers(**values: Any) -> None:
    """Raise TypeError for what is no integer; the keywords are the arguments' names."""
    for name, value in values.items():
        if value is not None and not hasattr(value, "__index__"):
            raise TypeError(f"{name} must be an integer, got {value!r}")


def check_socket(sock: Any) -> int:
    """Return the type of a socket; AttributeError for what has none."""
    kind = getattr(sock, "type", None)
    if kind is None:
        raise AttributeError(f"sock must be a socket.socket, got {sock!r}, which has no type")
    return kind  # type: ignore[no-any-return]


def check_stream_socket(sock: Any, family: int | None = None) -> None:
    """Raise ValueError unless `sock` is a stream socket (of a family)."""
    kind = check_socket(sock)
    if family is not None and (sock.family != family or kind != socket.SOCK_STREAM):
        raise ValueError(f"A UNIX Domain Stream Socket was expected, got {sock!r}")
    if kind != socket.SOCK_STREAM:
        raise ValueError(f"A Stream Socket was expected, got {sock!r}")


def check_timeouts(
    ssl: Any, handshake_timeout: float | None, shutdown_timeout: float | None
) -> None:
    """Raise ValueError for a TLS timeout without TLS, or one that is not positive."""
    for name, value in (
        ("ssl_handshake_timeout", handshake_timeout),
        ("ssl_shutdown_timeout", shutdown_timeout),
    ):
        if value is None:
            continue
        if not ssl:
            raise ValueError(f"{name} is only meaningful with ssl, and ssl is {ssl!r}")
        if value <= 0:
            raise ValueError(f"{name} should be a positive number of seconds, got {value!r}")


def check_client_ssl(ssl: Any) -> None:
    """Raise AttributeError unless `ssl` is None, a bool or a context."""
    if ssl and ssl is not True and not hasattr(ssl, "wrap_bio"):
        raise AttributeError(
            f"ssl must be True, an ssl.SSLContext or None, got {ssl!r}, which has no wrap_bio()"
        )


def check_server_ssl(ssl: Any) -> None:
    """Raise TypeError unless `ssl` is None or a context: a server needs a certificate."""
    if isinstance(ssl, bool) or (ssl is not None and not hasattr(ssl, "wrap_bio")):
        raise TypeError(
            f"ssl argument must be an SSLContext or None, got {ssl!r}; "
            "a server's context holds its certificate"
        )
