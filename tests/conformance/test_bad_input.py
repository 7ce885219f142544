"""Wrong arguments: the exception type is asyncio's, and evenloop's message helps.

Each case runs on stock asyncio too, so that the types in this table are what stock raises. A
message helps when it names the argument or shows what was given: `says` is a pattern for that.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import tls
from tests.support.loops import TrackedFactory
from tests.support.protocols import DatagramRecorder, Echo, Recorder, connected_pair

HOST = "127.0.0.1"


class Around:
    """What the calls need: the running loop, sockets, files."""

    def __init__(self, directory: Path) -> None:
        self.loop = asyncio.get_running_loop()
        self.directory = directory
        self.a, self.b = socket.socketpair()
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.tcp = socket.socket()
        for one in (self.a, self.b, self.udp, self.tcp):
            one.setblocking(False)
        self.tls_socket = tls.client_context().wrap_socket(
            socket.socket(), server_hostname="localhost", do_handshake_on_connect=False
        )
        (directory / "file").write_bytes(b"content")
        self.binary = (directory / "file").open("rb")
        self.text = (directory / "file").open()
        self.context = tls.client_context()

    def close(self) -> None:
        for one in (self.a, self.b, self.udp, self.tcp, self.tls_socket, self.binary, self.text):
            one.close()


@dataclass
class Case:
    """A call, what asyncio raises, and what the message must say on evenloop."""

    name: str
    raises: type[BaseException] | tuple[type[BaseException], ...]
    says: str
    call: Callable[[Any], Any]
    stock: bool = True


async def _never() -> None: ...


def _with_coroutine(call: Callable[[Any], Any]) -> Any:
    """Call with a coroutine that is closed whatever happens."""
    coroutine = _never()
    try:
        return call(coroutine)
    finally:
        coroutine.close()


SINCE_312 = sys.version_info >= (3, 12)

CASES = [
    # callbacks and timers
    Case("call_soon without", TypeError, "callback|argument", lambda e: e.loop.call_soon()),
    Case("call_soon keyword", TypeError, "wrong", lambda e: e.loop.call_soon(print, wrong=1)),
    Case(
        "call_soon_threadsafe without",
        TypeError,
        "callback|argument",
        lambda e: e.loop.call_soon_threadsafe(),
    ),
    Case("call_later str", TypeError, "delay|soon", lambda e: e.loop.call_later("soon", print)),
    Case("call_later None", TypeError, "delay", lambda e: e.loop.call_later(None, print)),
    Case("call_later without", TypeError, "callback|argument", lambda e: e.loop.call_later(1)),
    Case("call_at None", TypeError, "when", lambda e: e.loop.call_at(None, print), SINCE_312),
    Case("call_at str", TypeError, "when|noon|str", lambda e: e.loop.call_at("noon", print), False),
    # tasks, handlers, executors
    Case("create_task int", TypeError, "5|coro", lambda e: e.loop.create_task(5)),
    Case("create_task function", TypeError, "_never|coro", lambda e: e.loop.create_task(_never)),
    Case(
        "create_task keyword",
        TypeError,
        "wrong",
        lambda e: _with_coroutine(lambda c: e.loop.create_task(c, wrong=1)),
    ),
    Case("set_task_factory", TypeError, "factory", lambda e: e.loop.set_task_factory(5)),
    Case("set_exception_handler", TypeError, "5", lambda e: e.loop.set_exception_handler(5)),
    Case("set_default_executor", TypeError, "xecutor", lambda e: e.loop.set_default_executor(5)),
    Case("run_in_executor", TypeError, "callable|5", lambda e: e.loop.run_in_executor(None, 5)),
    Case(
        "run_in_executor executor",
        AttributeError,
        "submit|int",
        lambda e: e.loop.run_in_executor(5, print),
    ),
    # readers and writers
    Case("add_reader str", ValueError, "nope", lambda e: e.loop.add_reader("nope", print)),
    Case("add_writer str", ValueError, "nope", lambda e: e.loop.add_writer("nope", print)),
    Case("add_reader -1", ValueError, "-1", lambda e: e.loop.add_reader(-1, print)),
    Case("add_writer -1", ValueError, "-1", lambda e: e.loop.add_writer(-1, print)),
    Case("add_reader closed", OSError, "descriptor", lambda e: e.loop.add_reader(9999, print)),
    Case("add_writer closed", OSError, "descriptor", lambda e: e.loop.add_writer(9999, print)),
    Case("add_reader without", TypeError, "callback|arg", lambda e: e.loop.add_reader(e.a)),
    Case("remove_reader str", ValueError, "nope", lambda e: e.loop.remove_reader("nope")),
    Case("remove_writer str", ValueError, "nope", lambda e: e.loop.remove_writer("nope")),
    # sock_*
    Case("sock_recv tls", TypeError, "SSLSocket", lambda e: e.loop.sock_recv(e.tls_socket, 1)),
    Case("sock_recv str", TypeError, "str|integer", lambda e: e.loop.sock_recv(e.a, "x")),
    Case("sock_recv -1", ValueError, "negative|-1", lambda e: e.loop.sock_recv(e.a, -1)),
    Case(
        "sock_recv_into readonly",
        TypeError,
        "buffer|read-?write|bytes",
        lambda e: e.loop.sock_recv_into(e.a, b"readonly"),
    ),
    Case(
        "sock_recv_into tls",
        TypeError,
        "SSLSocket",
        lambda e: e.loop.sock_recv_into(e.tls_socket, bytearray(1)),
    ),
    Case("sock_recvfrom str", TypeError, "str|integer", lambda e: e.loop.sock_recvfrom(e.udp, "x")),
    Case(
        "sock_recvfrom_into readonly",
        TypeError,
        "buffer|read-?write|bytes",
        lambda e: e.loop.sock_recvfrom_into(e.udp, b"readonly"),
    ),
    Case("sock_sendall str", TypeError, "str", lambda e: e.loop.sock_sendall(e.a, "text")),
    Case(
        "sock_sendall tls",
        TypeError,
        "SSLSocket",
        lambda e: e.loop.sock_sendall(e.tls_socket, b"x"),
    ),
    Case(
        "sock_sendto str",
        TypeError,
        "str",
        lambda e: e.loop.sock_sendto(e.udp, "text", (HOST, 9)),
    ),
    Case(
        "sock_sendto address",
        TypeError,
        "address|tuple",
        lambda e: e.loop.sock_sendto(e.udp, b"x", "nowhere"),
    ),
    Case(
        "sock_connect short",
        (ValueError, TypeError),
        "address|unpack|tuple",
        lambda e: e.loop.sock_connect(e.tcp, (HOST,)),
    ),
    Case("sock_connect int", TypeError, "5|int", lambda e: e.loop.sock_connect(e.tcp, 5)),
    Case(
        "sock_connect port",
        socket.gaierror,
        "",
        lambda e: e.loop.sock_connect(e.tcp, (HOST, "no-such-port")),
    ),
    Case("sock_accept", OSError, "argument", lambda e: e.loop.sock_accept(e.tcp)),
    Case("sock_accept tls", TypeError, "SSLSocket", lambda e: e.loop.sock_accept(e.tls_socket)),
    Case("sock_sendfile text", ValueError, "binary", lambda e: e.loop.sock_sendfile(e.a, e.text)),
    Case(
        "sock_sendfile count 0",
        ValueError,
        "count.*0",
        lambda e: e.loop.sock_sendfile(e.a, e.binary, 0, 0),
    ),
    Case(
        "sock_sendfile count str",
        TypeError,
        "count.*'5'",
        lambda e: e.loop.sock_sendfile(e.a, e.binary, 0, "5"),
    ),
    Case(
        "sock_sendfile offset",
        ValueError,
        "offset.*-1",
        lambda e: e.loop.sock_sendfile(e.a, e.binary, -1),
    ),
    Case(
        "sock_sendfile offset str",
        TypeError,
        "offset.*'x'",
        lambda e: e.loop.sock_sendfile(e.a, e.binary, "x"),
    ),
    Case(
        "sock_sendfile datagrams",
        ValueError,
        "SOCK_STREAM",
        lambda e: e.loop.sock_sendfile(e.udp, e.binary),
    ),
    # create_connection
    Case(
        "connect host and sock",
        ValueError,
        "host.*sock",
        lambda e: e.loop.create_connection(Recorder, HOST, 1, sock=e.a),
    ),
    Case("connect nothing", ValueError, "host", lambda e: e.loop.create_connection(Recorder)),
    Case(
        "connect datagram socket",
        ValueError,
        "[Ss]tream",
        lambda e: e.loop.create_connection(Recorder, sock=e.udp),
    ),
    Case(
        "connect server_hostname",
        ValueError,
        "server_hostname",
        lambda e: e.loop.create_connection(Recorder, HOST, 1, server_hostname="x"),
    ),
    Case(
        "connect ssl without host",
        ValueError,
        "server_hostname",
        lambda e: e.loop.create_connection(Recorder, sock=e.a, ssl=e.context),
    ),
    Case(
        "connect ssl_handshake_timeout",
        ValueError,
        "ssl_handshake_timeout",
        lambda e: e.loop.create_connection(Recorder, HOST, 1, ssl_handshake_timeout=1),
    ),
    Case(
        "connect ssl_shutdown_timeout",
        ValueError,
        "ssl_shutdown_timeout",
        lambda e: e.loop.create_connection(Recorder, HOST, 1, ssl_shutdown_timeout=1),
    ),
    Case(
        "connect tls socket",
        TypeError,
        "SSLSocket",
        lambda e: e.loop.create_connection(Recorder, sock=e.tls_socket),
    ),
    Case(
        "connect port",
        socket.gaierror,
        "",
        lambda e: e.loop.create_connection(Recorder, HOST, "no-such-port"),
    ),
    Case(
        "connect keyword",
        TypeError,
        "wrong",
        lambda e: e.loop.create_connection(Recorder, HOST, 1, wrong=1),
    ),
    Case(
        "accepted datagram socket",
        ValueError,
        "[Ss]tream",
        lambda e: e.loop.connect_accepted_socket(Recorder, e.udp),
    ),
    Case(
        "accepted ssl_handshake_timeout",
        ValueError,
        "ssl_handshake_timeout",
        lambda e: e.loop.connect_accepted_socket(Recorder, e.a, ssl_handshake_timeout=1),
    ),
    # create_server
    Case(
        "server host and sock",
        ValueError,
        "host.*sock",
        lambda e: e.loop.create_server(Recorder, HOST, 1, sock=e.tcp),
    ),
    Case("server nothing", ValueError, "host", lambda e: e.loop.create_server(Recorder)),
    Case(
        "server ssl bool",
        TypeError,
        "ssl",
        lambda e: e.loop.create_server(Recorder, HOST, 0, ssl=True),
    ),
    Case(
        "server datagram socket",
        ValueError,
        "[Ss]tream",
        lambda e: e.loop.create_server(Recorder, sock=e.udp),
    ),
    Case(
        "server ssl_handshake_timeout",
        ValueError,
        "ssl_handshake_timeout",
        lambda e: e.loop.create_server(Recorder, HOST, 0, ssl_handshake_timeout=1),
    ),
    Case(
        "server port",
        socket.gaierror,
        "",
        lambda e: e.loop.create_server(Recorder, HOST, "no-such-port"),
    ),
    # UNIX
    Case("unix nothing", ValueError, "path", lambda e: e.loop.create_unix_connection(Recorder)),
    Case(
        "unix path and sock",
        ValueError,
        "path.*sock",
        lambda e: e.loop.create_unix_connection(Recorder, "x", sock=e.a),
    ),
    Case(
        "unix wrong family",
        ValueError,
        "UNIX|AF_UNIX",
        lambda e: e.loop.create_unix_connection(Recorder, sock=e.tcp),
    ),
    Case(
        "unix ssl without name",
        ValueError,
        "server_hostname",
        lambda e: e.loop.create_unix_connection(Recorder, "x", ssl=e.context),
    ),
    Case(
        "unix name without ssl",
        ValueError,
        "server_hostname",
        lambda e: e.loop.create_unix_connection(Recorder, "x", server_hostname="x"),
    ),
    Case(
        "unix path int", TypeError, "int|path", lambda e: e.loop.create_unix_connection(Recorder, 5)
    ),
    Case("unix server nothing", ValueError, "path", lambda e: e.loop.create_unix_server(Recorder)),
    Case(
        "unix server path and sock",
        ValueError,
        "path.*sock",
        lambda e: e.loop.create_unix_server(Recorder, "x", sock=e.a),
    ),
    Case(
        "unix server ssl",
        TypeError,
        "ssl",
        lambda e: e.loop.create_unix_server(Recorder, "x", ssl=True),
    ),
    Case(
        "unix server wrong family",
        ValueError,
        "UNIX|AF_UNIX",
        lambda e: e.loop.create_unix_server(Recorder, sock=e.tcp),
    ),
    # datagrams
    Case(
        "datagram nothing",
        ValueError,
        "family|addr",
        lambda e: e.loop.create_datagram_endpoint(DatagramRecorder),
    ),
    Case(
        "datagram sock and address",
        ValueError,
        "local_addr",
        lambda e: e.loop.create_datagram_endpoint(
            DatagramRecorder, sock=e.udp, local_addr=(HOST, 0)
        ),
    ),
    Case(
        "datagram stream socket",
        ValueError,
        "[Dd]atagram",
        lambda e: e.loop.create_datagram_endpoint(DatagramRecorder, sock=e.a),
    ),
    Case(
        "datagram unix address",
        TypeError,
        "str",
        lambda e: e.loop.create_datagram_endpoint(
            DatagramRecorder, local_addr=5, family=socket.AF_UNIX
        ),
    ),
    Case(
        "datagram address",
        TypeError,
        "tuple",
        lambda e: e.loop.create_datagram_endpoint(DatagramRecorder, local_addr=(HOST,)),
    ),
    Case(
        "datagram families",
        ValueError,
        "address",
        lambda e: e.loop.create_datagram_endpoint(
            DatagramRecorder, local_addr=(HOST, 0), remote_addr=("::1", 1)
        ),
    ),
    # names, processes
    Case("getaddrinfo int", TypeError, "", lambda e: e.loop.getaddrinfo(5, 80)),
    Case(
        "getaddrinfo keyword",
        TypeError,
        "wrong",
        lambda e: e.loop.getaddrinfo(HOST, 80, wrong=1),
    ),
    Case("getnameinfo str", TypeError, "", lambda e: e.loop.getnameinfo("x")),
    Case(
        "subprocess_exec int",
        TypeError,
        "int",
        lambda e: e.loop.subprocess_exec(asyncio.SubprocessProtocol, 5),
    ),
    Case(
        "subprocess_shell list",
        ValueError,
        "cmd",
        lambda e: e.loop.subprocess_shell(asyncio.SubprocessProtocol, ["ls"]),
    ),
    Case(
        "subprocess_exec keyword",
        TypeError,
        "wrong",
        lambda e: e.loop.subprocess_exec(asyncio.SubprocessProtocol, "true", wrong=1),
    ),
    # only evenloop refuses these before it is too late
    Case(
        "connect factory",
        TypeError,
        "protocol_factory|callable",
        lambda e: e.loop.create_connection(5, HOST, 1),
        stock=False,
    ),
    Case(
        "server backlog",
        TypeError,
        "backlog|str|int",
        lambda e: e.loop.create_server(Recorder, HOST, 0, backlog="many"),
        stock=False,
    ),
]


if sys.platform == "win32":
    CASES = [case for case in CASES if case.name != "datagram unix address"]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
async def test_refused(case: Case, tmp_path: Path, new_loop: TrackedFactory) -> None:
    if new_loop.is_stock and not case.stock:
        pytest.skip("stock asyncio accepts it at first")
    around = Around(tmp_path)
    try:
        with pytest.raises(case.raises) as caught:
            result = case.call(around)
            if inspect.isawaitable(result):
                await asyncio.wait_for(result, 2)
    finally:
        around.close()
    message = str(caught.value)
    assert len(message) > 3
    if not new_loop.is_stock:
        assert re.search(case.says, message), f"{message!r} does not help: no {case.says!r}"


async def test_the_loop_works_after_all_of_them(tmp_path: Path) -> None:
    for case in CASES:
        if not case.stock:
            continue
        around = Around(tmp_path)
        try:
            with pytest.raises(case.raises):
                result = case.call(around)
                if inspect.isawaitable(result):
                    await asyncio.wait_for(result, 2)
        finally:
            around.close()
    assert await asyncio.sleep(0.001, "works") == "works"


TRANSPORT_CASES: list[tuple[str, type[Exception], str, Callable[[Any], Any]]] = [
    ("write str", TypeError, "str", lambda t: t.write("text")),
    ("write int", TypeError, "int", lambda t: t.write(5)),
    ("write None", TypeError, "NoneType", lambda t: t.write(None)),
    ("writelines int", TypeError, "int|iterable", lambda t: t.writelines(5)),
    ("writelines str", TypeError, "str|int", lambda t: t.writelines(["text"])),
    ("limits", ValueError, "high.*low", lambda t: t.set_write_buffer_limits(1, 2)),
    ("limits str", TypeError, "str", lambda t: t.set_write_buffer_limits("x")),
    ("info", TypeError, "argument", lambda t: t.get_extra_info()),
]


@pytest.mark.parametrize(
    ("kind", "says", "call"),
    [pytest.param(*case[1:], id=case[0]) for case in TRANSPORT_CASES],
)
@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
async def test_transports_refuse(
    kind: type[Exception],
    says: str,
    call: Callable[[Any], Any],
    secure: bool,
    new_loop: TrackedFactory,
    request: pytest.FixtureRequest,
) -> None:
    name = request.node.callspec.id
    new_loop.skip_stock_if("tls-writelines str" in name, "the connection dies of it instead")
    options: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    if secure:
        options = ({"ssl": tls.client_context()}, {"ssl": tls.server_context()})
    async with connected_pair(
        Recorder, Echo, client_options=options[0], server_options=options[1]
    ) as (client, _):
        with pytest.raises(kind) as caught:
            call(client.transport)
        if not new_loop.is_stock:
            assert re.search(says, str(caught.value)), str(caught.value)
        client.transport.write(b"unharmed")
        assert await client.received(8) == b"unharmed"


async def test_a_datagram_transport_refuses(new_loop: TrackedFactory) -> None:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        DatagramRecorder, local_addr=(HOST, 0)
    )
    for bad in ("text", 5, None):
        with pytest.raises(TypeError, match=type(bad).__name__):
            transport.sendto(bad, (HOST, 9))  # type: ignore[arg-type]
    transport.close()
    await protocol.closed


async def test_start_tls_refuses() -> None:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        DatagramRecorder, local_addr=(HOST, 0)
    )
    with pytest.raises(TypeError, match="start_tls"):
        await loop.start_tls(transport, protocol, tls.client_context())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="SSLContext"):
        await loop.start_tls(transport, protocol, "context")  # type: ignore[arg-type]
    transport.close()
    await protocol.closed


def test_run_until_complete_refuses(
    loop: asyncio.AbstractEventLoop, new_loop: TrackedFactory
) -> None:
    for bad in (5, None, _never, "coroutine"):
        with pytest.raises(TypeError, match=r"awaitable|coroutine"):
            loop.run_until_complete(bad)  # type: ignore[arg-type]
    other = new_loop()
    future = other.create_future()
    with pytest.raises(ValueError, match="loop"):
        loop.run_until_complete(future)
    other.close()


# ---------------------------------------------------------------- what only evenloop has


@pytest.mark.evenloop_only
def test_an_engine_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    import evenloop

    coroutine = _never()
    with pytest.raises(ValueError, match=r"warp.*epoll|epoll.*warp|warp.*selector"):
        evenloop.run(coroutine, engine="warp")
    coroutine.close()
    monkeypatch.setenv("EVENLOOP_ENGINE", "warp")
    with pytest.raises(ValueError, match="warp"):
        evenloop.new_event_loop()


@pytest.mark.evenloop_only
def test_run_refuses_what_is_no_coroutine() -> None:
    import evenloop

    # asyncio.run raises ValueError before 3.14 and TypeError since.
    with pytest.raises((ValueError, TypeError), match="coroutine"):
        evenloop.run(5)


@pytest.mark.evenloop_only
def test_a_selector_that_is_none() -> None:
    import evenloop

    with pytest.raises(TypeError, match="selector"):
        evenloop.SelectorEventLoop(5)
