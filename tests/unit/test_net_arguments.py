"""Wrong arguments: the type of exception that asyncio has for them, and words that help."""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import evenloop

from tests.support.loops import run

HOST = "127.0.0.1"
PORT = 1  # nobody listens, and nobody gets that far
CONTEXT = ssl.create_default_context()
HELLO = {"ssl_handshake_timeout": 1.0}
GOODBYE = {"ssl_shutdown_timeout": 1.0}

# Method, positional arguments, keywords, exception, a part of the message. "tcp", "udp" and
# "unix" stand for sockets, "text" and "memory" for files.
Case = tuple[str, tuple[Any, ...], dict[str, Any], type[Exception], str]
CASES: list[Case] = [
    ("create_connection", (), {}, ValueError, "host and port was not specified"),
    ("create_connection", (5, PORT), {}, TypeError, "host must be a str"),
    ("create_connection", (HOST, []), {}, OSError, "port must be an int"),
    ("create_connection", (HOST, 70000), {}, OverflowError, "0-65535, got 70000"),
    ("create_connection", (HOST, PORT), {"sock": "tcp"}, ValueError, "can not be specified"),
    ("create_connection", (), {"sock": "udp"}, ValueError, "Stream Socket was expected"),
    ("create_connection", (), {"sock": 5}, AttributeError, "sock must be a socket.socket, got 5"),
    ("create_connection", (HOST, PORT), {"server_hostname": "x"}, ValueError, "with ssl"),
    ("create_connection", (HOST, PORT), HELLO, ValueError, "ssl_handshake_timeout"),
    ("create_connection", (HOST, PORT), GOODBYE, ValueError, "ssl_shutdown_timeout"),
    ("create_connection", (), {"ssl": CONTEXT, "sock": "tcp"}, ValueError, "server_hostname"),
    ("connect_accepted_socket", ("udp",), {}, ValueError, "Stream Socket was expected"),
    ("connect_accepted_socket", (None,), {}, AttributeError, "sock must be a socket.socket"),
    ("connect_accepted_socket", ("tcp",), HELLO, ValueError, "only meaningful with ssl"),
    ("connect_accepted_socket", ("tcp",), {"ssl": True}, ValueError, "valid SSLContext"),
    ("create_server", (), {}, ValueError, "Neither host/port nor sock"),
    ("create_server", (HOST, 0), {"sock": "tcp"}, ValueError, "can not be specified"),
    ("create_server", (), {"sock": "udp"}, ValueError, "Stream Socket was expected"),
    ("create_server", (), {"sock": "x"}, AttributeError, "sock must be a socket.socket"),
    ("create_server", (5, 0), {}, TypeError, "host must be a str"),
    ("create_server", ([HOST, 5], 0), {}, TypeError, "host must be a str"),
    ("create_server", (HOST, 70000), {}, OverflowError, "0-65535, got 70000"),
    ("create_server", (HOST, 0), {"ssl": True}, TypeError, "must be an SSLContext or None"),
    ("create_server", (HOST, 0), HELLO, ValueError, "only meaningful with ssl"),
    ("create_unix_connection", (), {}, ValueError, "no path and sock were specified"),
    ("create_unix_connection", ("/x",), {"sock": "unix"}, ValueError, "can not be specified"),
    ("create_unix_connection", (), {"sock": "tcp"}, ValueError, "UNIX Domain Stream Socket"),
    ("create_unix_connection", (5,), {}, TypeError, "path must be a str"),
    ("create_unix_connection", ("/x",), {"ssl": CONTEXT}, ValueError, "server_hostname"),
    ("create_unix_connection", ("/x",), {"server_hostname": "x"}, ValueError, "with ssl"),
    ("create_unix_connection", ("/x",), HELLO, ValueError, "only meaningful with ssl"),
    ("create_unix_server", (), {}, ValueError, "path was not specified"),
    ("create_unix_server", ("/x",), {"sock": "unix"}, ValueError, "can not be specified"),
    ("create_unix_server", (), {"sock": "tcp"}, ValueError, "UNIX Domain Stream Socket"),
    ("create_unix_server", (5,), {}, TypeError, "path must be a str"),
    ("create_unix_server", ("/x",), {"ssl": True}, TypeError, "SSLContext or None"),
    ("create_unix_server", ("/x",), HELLO, ValueError, "only meaningful with ssl"),
    ("create_datagram_endpoint", (), {}, ValueError, "unexpected address family"),
    ("create_datagram_endpoint", ("x",), {}, TypeError, "local_addr: 2-tuple is expected"),
    ("create_datagram_endpoint", (None, "x"), {}, TypeError, "remote_addr: 2-tuple"),
    ("create_datagram_endpoint", (), {"sock": "tcp"}, ValueError, "datagram socket was expected"),
    ("create_datagram_endpoint", (), {"sock": "x"}, AttributeError, "sock must be"),
    ("create_datagram_endpoint", ((HOST, 0),), {"sock": "udp"}, ValueError, "local_addr="),
    ("create_datagram_endpoint", ((HOST, 0), ("::1", 1)), {}, ValueError, "in common"),
    ("getaddrinfo", (5, 80), {}, TypeError, "host must be a str"),
    ("getaddrinfo", (HOST, 1.5), {}, OSError, "port must be an int"),
    ("getnameinfo", ([1, 2],), {}, TypeError, "sockaddr must be a tuple"),
    ("start_tls", (None, asyncio.Protocol(), "x"), {}, TypeError, "sslcontext is expected"),
    ("start_tls", (5, asyncio.Protocol(), CONTEXT), {}, TypeError, "not supported by start_tls"),
    ("sock_sendfile", ("tcp", "text"), {}, ValueError, "binary mode"),
    ("sock_sendfile", ("udp", "memory"), {}, ValueError, "only SOCK_STREAM"),
    ("sock_sendfile", (5, "memory"), {}, AttributeError, "sock must be a socket.socket"),
    ("sock_sendfile", ("tcp", 5), {}, AttributeError, "file must be a file"),
    ("sock_sendfile", ("tcp", "memory", -1), {}, ValueError, "offset must be"),
    ("sock_sendfile", ("tcp", "memory", "x"), {}, TypeError, "offset must be"),
    ("sock_sendfile", ("tcp", "memory", 0, 0), {}, ValueError, "count must be"),
    ("sock_sendfile", ("tcp", "memory", 0, "x"), {}, TypeError, "count must be"),
    ("sendfile", (None, "memory"), {}, AttributeError, "transport must be"),
]
if hasattr(socket, "AF_UNIX"):
    unix = {"family": socket.AF_UNIX}
    CASES.append(("create_datagram_endpoint", (b"/x",), unix, TypeError, "string is"))
# Stock asyncio notices these late, or not at all, or leaves something behind.
EARLIER: list[Case] = [
    ("create_connection", (HOST, PORT), {"family": "x"}, TypeError, "family must be an integer"),
    ("create_connection", (HOST, PORT), {"proto": "x"}, TypeError, "proto must be an integer"),
    ("create_connection", (HOST, PORT), {"flags": "x"}, TypeError, "flags must be an integer"),
    ("create_connection", (HOST, PORT), {"ssl": "x"}, AttributeError, "ssl must be True"),
    ("create_connection", (HOST, PORT), {"local_addr": 5}, TypeError, "local_addr must be"),
    ("create_connection", (HOST, PORT), {"local_addr": "x"}, ValueError, "local_addr must be"),
    ("create_connection", (HOST, PORT), {"local_addr": (5, 5)}, TypeError, "host of local_addr"),
    ("create_connection", (HOST, PORT), {"happy_eyeballs_delay": "x"}, TypeError, "happy_eye"),
    ("create_connection", (HOST, PORT), {"interleave": "x"}, TypeError, "interleave"),
    ("create_server", (HOST, 0), {"backlog": "x"}, TypeError, "backlog must be an integer"),
    ("create_server", (HOST, 0), {"family": "x"}, TypeError, "family must be an integer"),
    ("create_server", (HOST, 0), {"ssl": "x"}, TypeError, "must be an SSLContext or None"),
    ("getaddrinfo", (HOST, 80), {"family": "x"}, TypeError, "family must be an integer"),
    ("getnameinfo", ((HOST, 1), "x"), {}, TypeError, "flags must be an integer"),
]


def identify(case: Case) -> str:
    method, _, _, _, message = case
    return f"{method}-{message}"


def stand_ins() -> dict[str, Any]:
    return {
        "tcp": socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "udp": socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "unix": socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        "text": open(__file__, encoding="utf-8"),
        "memory": io.BytesIO(b"memory"),
    }


def outcome(make: Callable[[], asyncio.AbstractEventLoop], case: Case) -> BaseException:
    method, arguments, keywords, _, _ = case
    things = stand_ins()

    def real(value: Any) -> Any:
        return things.get(value, value) if isinstance(value, str) else value

    async def main() -> None:
        positional = [real(value) for value in arguments]
        if method.startswith(("create_", "connect_")):
            positional.insert(0, asyncio.Protocol)
        call = getattr(asyncio.get_running_loop(), method)
        await call(*positional, **{name: real(value) for name, value in keywords.items()})

    try:
        with pytest.raises(BaseException) as caught:
            run(make, main())
        return caught.value
    finally:
        for thing in things.values():
            thing.close()


@pytest.mark.parametrize("case", CASES + EARLIER, ids=identify)
def test_wrong_arguments(case: Case) -> None:
    *_, kind, message = case
    error = outcome(evenloop.new_event_loop, case)
    assert type(error) is kind, repr(error)
    assert message in str(error)


@pytest.mark.parametrize("case", CASES, ids=identify)
def test_stock_asyncio_raises_the_same(case: Case) -> None:
    *_, kind, _ = case
    error = outcome(asyncio.SelectorEventLoop, case)
    assert type(error) is kind, repr(error)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("create_connection", (HOST, PORT)),
        ("connect_accepted_socket", (None,)),
        ("create_server", (HOST, 0)),
        ("create_unix_connection", ("/x",)),
        ("create_unix_server", ("/x",)),
        ("create_datagram_endpoint", ((HOST, 0),)),
    ],
)
def test_a_factory_that_cannot_be_called(method: str, arguments: tuple[Any, ...]) -> None:
    async def main() -> None:
        call = getattr(asyncio.get_running_loop(), method)
        with pytest.raises(TypeError, match="protocol_factory must be a callable"):
            await call(asyncio.Protocol(), *arguments)

    run(evenloop.new_event_loop, main())


def test_an_ssl_socket_is_refused() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as plain:
            sock = CONTEXT.wrap_socket(plain, server_hostname="x", do_handshake_on_connect=False)
        with sock:
            for coroutine in attempts(loop, sock):
                with pytest.raises(TypeError, match="SSLSocket"):
                    await coroutine

    def attempts(loop: Any, sock: Any) -> list[Coroutine[Any, Any, Any]]:
        return [
            loop.create_connection(asyncio.Protocol, sock=sock),
            loop.create_server(asyncio.Protocol, sock=sock),
            loop.connect_accepted_socket(asyncio.Protocol, sock),
            loop.sock_sendfile(sock, io.BytesIO()),
        ]

    run(evenloop.new_event_loop, main())


def test_a_socket_that_a_transport_has() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=left)
        for coroutine in (
            loop.create_connection(asyncio.Protocol, sock=left),
            loop.create_server(asyncio.Protocol, sock=left),
            loop.sock_sendfile(left, io.BytesIO()),  # type: ignore[arg-type]
        ):
            with pytest.raises(RuntimeError, match="is used by transport"):
                await coroutine
        assert left.fileno() != -1
        transport.close()
        right.close()
        await asyncio.sleep(0.01)

    run(evenloop.new_event_loop, main())


@pytest.mark.parametrize(
    "call",
    [
        lambda loop: loop.create_connection(asyncio.Protocol, HOST, PORT),
        lambda loop: loop.create_server(asyncio.Protocol, HOST, 0),
        lambda loop: loop.create_unix_connection(asyncio.Protocol, "/x"),
        lambda loop: loop.create_unix_server(asyncio.Protocol, "/x"),
        lambda loop: loop.create_datagram_endpoint(asyncio.DatagramProtocol, (HOST, 0)),
        lambda loop: loop.getaddrinfo(HOST, 80),
        lambda loop: loop.getnameinfo((HOST, 80)),
        lambda loop: loop.sock_sendfile(None, None),
        lambda loop: loop.sendfile(None, None),
        lambda loop: loop.start_tls(None, None, None),
    ],
)
def test_a_closed_loop(call: Callable[[Any], Coroutine[Any, Any, Any]]) -> None:
    loop = evenloop.new_event_loop()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        call(loop).send(None)
