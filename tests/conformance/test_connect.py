"""create_connection over TCP: every keyword, and every way to fail."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.protocols import Echo, Recorder, connected_pair

Address = tuple[str, int]


@pytest.fixture
def refused() -> Iterator[int]:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@contextlib.contextmanager
def resolves_to(monkeypatch: pytest.MonkeyPatch, *addresses: Address) -> Iterator[None]:
    """Let the name ``many.example`` have these addresses, in this order."""
    original = socket.getaddrinfo

    def fake(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in ("many.example", b"many.example"):
            return original(host, port, *args, **kwargs)
        return [
            (
                socket.AF_INET6 if ":" in one else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (one, number, 0, 0) if ":" in one else (one, number),
            )
            for one, number in addresses
        ]

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", fake)
        yield


@contextlib.contextmanager
def black_hole() -> Iterator[Address]:
    """An address that neither accepts nor refuses: its queue is full."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()


async def _echo_server(host: str = "127.0.0.1") -> tuple[asyncio.Server, int]:
    server = await asyncio.get_running_loop().create_server(Echo, host, 0)
    return server, server.sockets[0].getsockname()[1]


async def _close(server: asyncio.Server, *protocols: Any) -> None:
    for protocol in protocols:
        protocol.transport.abort()
        await protocol.closed
    server.close()
    await server.wait_closed()


async def test_it_gives_transport_and_protocol() -> None:
    loop = asyncio.get_running_loop()
    server, port = await _echo_server()
    transport, protocol = await loop.create_connection(Recorder, "127.0.0.1", port)
    assert isinstance(transport, asyncio.Transport)
    assert isinstance(protocol, Recorder)
    assert protocol.transport is transport
    assert transport.get_protocol() is protocol
    assert protocol.events == ["made"]
    transport.write(b"echo")
    assert await protocol.received(4) == b"echo"
    await _close(server, protocol)


async def test_extra_info_that_is_first_asked_for_after_the_close() -> None:
    async with connected_pair(Recorder, Recorder) as (client, server):
        transports = client.transport, server.transport
        client.transport.close()
        await client.closed
        await server.closed
        ends = [
            (transport.get_extra_info("sockname"), transport.get_extra_info("peername"))
            for transport in transports
        ]
        assert ends[0] == ends[1][::-1]
        assert all(host == "127.0.0.1" and port > 0 for end in ends for host, port in end)
        assert all(transport.get_extra_info("socket").fileno() == -1 for transport in transports)
        assert all(transport.get_extra_info("cipher", "none") == "none" for transport in transports)


async def test_connection_made_has_come_before_create_connection_returns() -> None:
    """And not in the connecting task, nor before the loop has had a turn."""
    loop = asyncio.get_running_loop()
    tasks: list[Any] = []

    class Asking(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            tasks.append(asyncio.current_task())

    server, port = await _echo_server()
    turns: list[int] = []
    loop.call_soon(turns.append, 1)
    transport, _ = await loop.create_connection(Asking, "127.0.0.1", port)
    assert tasks == [None]
    assert turns == [1]
    transport.abort()
    server.close()
    await server.wait_closed()


async def test_a_connect_that_is_cancelled_in_its_last_turn_closes_the_transport() -> None:
    loop = asyncio.get_running_loop()
    closed = loop.create_future()

    class Cancelling(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            task.cancel()

        def connection_lost(self, error: Exception | None) -> None:
            closed.set_result(error)

    server, port = await _echo_server()
    task = asyncio.ensure_future(loop.create_connection(Cancelling, "127.0.0.1", port))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await closed is None
    server.close()
    await server.wait_closed()


async def test_extra_info() -> None:
    async with connected_pair(Recorder, Recorder) as (client, server):
        info = client.transport.get_extra_info
        assert info("peername") == server.transport.get_extra_info("sockname")
        assert info("sockname") == server.transport.get_extra_info("peername")
        sock = info("socket")
        assert sock.family == socket.AF_INET
        assert sock.type == socket.SOCK_STREAM
        assert sock.getsockname() == info("sockname")
        assert sock.fileno() > 0
        assert isinstance(sock, asyncio.trsock.TransportSocket)
        assert info("no such thing") is None
        assert info("no such thing", "default") == "default"
        assert info("sslcontext") is None


async def test_tcp_nodelay_is_set() -> None:
    async with connected_pair(Recorder, Recorder) as pair:
        for protocol in pair:
            sock = protocol.transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


async def test_descriptors_are_not_inherited() -> None:
    async with connected_pair(Recorder, Recorder) as pair:
        for protocol in pair:
            sock = protocol.transport.get_extra_info("socket")
            assert sock.get_inheritable() is False
            assert sock.gettimeout() == 0
            if os.name == "posix":
                assert os.get_blocking(sock.fileno()) is False


async def test_ipv6() -> None:
    loop = asyncio.get_running_loop()
    server, port = await _echo_server("::1")
    _, protocol = await loop.create_connection(Recorder, "::1", port)
    assert protocol.transport.get_extra_info("peername")[:2] == ("::1", port)
    assert len(protocol.transport.get_extra_info("sockname")) == 4
    await _close(server, protocol)


async def test_a_name_a_family_and_a_port_in_letters() -> None:
    loop = asyncio.get_running_loop()
    server, port = await _echo_server()
    _, one = await loop.create_connection(
        Recorder, "localhost", port, family=socket.AF_INET, proto=socket.IPPROTO_TCP
    )
    _, two = await loop.create_connection(
        Recorder, "127.0.0.1", str(port), flags=socket.AI_NUMERICHOST
    )
    await _close(server, one, two)


async def test_a_given_socket() -> None:
    loop = asyncio.get_running_loop()
    server, port = await _echo_server()
    sock = socket.create_connection(("127.0.0.1", port))
    transport, protocol = await loop.create_connection(Recorder, sock=sock)
    assert transport.get_extra_info("socket").fileno() == sock.fileno()
    transport.write(b"mine")
    assert await protocol.received(4) == b"mine"
    await _close(server, protocol)
    assert sock.fileno() == -1


async def test_a_given_unix_socket() -> None:
    loop = asyncio.get_running_loop()
    a, b = socket.socketpair()
    transport, protocol = await loop.create_connection(Recorder, sock=a)
    b.send(b"local")
    assert await protocol.received(5) == b"local"
    transport.close()
    assert await protocol.closed is None
    b.close()


async def test_local_addr() -> None:
    loop = asyncio.get_running_loop()
    server, port = await _echo_server()
    _, protocol = await loop.create_connection(
        Recorder, "127.0.0.1", port, local_addr=("127.0.0.2", 0)
    )
    assert protocol.transport.get_extra_info("sockname")[0] == "127.0.0.2"
    await _close(server, protocol)


async def test_local_addr_in_use() -> None:
    loop = asyncio.get_running_loop()
    server, port = await _echo_server()
    with pytest.raises(OSError, match="bind"):
        await loop.create_connection(Recorder, "127.0.0.1", port, local_addr=("127.0.0.1", port))
    await _close(server)


async def test_refused(refused: int) -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(ConnectionRefusedError, match=str(refused)):
        await loop.create_connection(Recorder, "127.0.0.1", refused)


async def test_all_refused(monkeypatch: pytest.MonkeyPatch, refused: int) -> None:
    loop = asyncio.get_running_loop()
    with resolves_to(monkeypatch, ("127.0.0.1", refused), ("127.0.0.3", refused)):
        with pytest.raises(OSError, match=r"127\.0\.0\.1.*127\.0\.0\.3"):
            await loop.create_connection(Recorder, "many.example", 1)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="all_errors is new in 3.12")
async def test_all_errors(monkeypatch: pytest.MonkeyPatch, refused: int) -> None:
    loop = asyncio.get_running_loop()
    with resolves_to(monkeypatch, ("127.0.0.1", refused), ("127.0.0.3", refused)):
        with pytest.raises(ExceptionGroup) as caught:
            await loop.create_connection(Recorder, "many.example", 1, all_errors=True)
        assert len(caught.value.exceptions) == 2
        assert all(isinstance(one, ConnectionRefusedError) for one in caught.value.exceptions)
        assert "127.0.0.1" in str(caught.value.exceptions[0])
    with pytest.raises(ExceptionGroup) as caught:
        await loop.create_connection(Recorder, "127.0.0.1", refused, all_errors=True)
    assert len(caught.value.exceptions) == 1


async def test_the_second_address_is_tried(monkeypatch: pytest.MonkeyPatch, refused: int) -> None:
    loop = asyncio.get_running_loop()
    server, port = await _echo_server()
    with resolves_to(monkeypatch, ("127.0.0.1", refused), ("127.0.0.1", port)):
        _, protocol = await loop.create_connection(Recorder, "many.example", 1)
    await _close(server, protocol)


@pytest.mark.parametrize("options", [{}, {"interleave": 1}, {"interleave": 2}])
async def test_happy_eyeballs(
    monkeypatch: pytest.MonkeyPatch, refused: int, options: dict[str, int]
) -> None:
    """An address that does not answer delays, and does not prevent, the next."""
    loop = asyncio.get_running_loop()
    server, port = await _echo_server()
    with black_hole() as hole:
        addresses = (("::1", refused), hole, ("127.0.0.1", port))
        with resolves_to(monkeypatch, *addresses):
            begin = loop.time()
            _, protocol = await loop.create_connection(
                Recorder, "many.example", 1, happy_eyeballs_delay=0.02, **options
            )
            assert 0.02 <= loop.time() - begin < 2
    assert protocol.transport.get_extra_info("peername")[1] == port
    await _close(server, protocol)


async def test_happy_eyeballs_when_all_refuse(
    monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    loop = asyncio.get_running_loop()
    with resolves_to(monkeypatch, ("::1", refused), ("127.0.0.1", refused)):
        with pytest.raises(OSError, match="Multiple exceptions"):
            await loop.create_connection(Recorder, "many.example", 1, happy_eyeballs_delay=0.01)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="all_errors is new in 3.12")
async def test_interleave_mixes_the_families(monkeypatch: pytest.MonkeyPatch, refused: int) -> None:
    loop = asyncio.get_running_loop()
    addresses = [("::1", refused), ("::1", refused + 1), ("127.0.0.1", refused)]
    with resolves_to(monkeypatch, *addresses), pytest.raises(ExceptionGroup) as caught:
        await loop.create_connection(Recorder, "many.example", 1, all_errors=True, interleave=1)
    order = ["::1" in str(one) for one in caught.value.exceptions]
    assert order == [True, False, True]


async def test_a_name_that_does_not_exist() -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(socket.gaierror):
        await loop.create_connection(Recorder, "no-such-name", 1, flags=socket.AI_NUMERICHOST)


async def test_a_name_without_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    with resolves_to(monkeypatch), pytest.raises(OSError, match="empty list"):
        await loop.create_connection(Recorder, "many.example", 1)


async def test_cancelled_while_connecting() -> None:
    loop = asyncio.get_running_loop()
    with black_hole() as (host, port):
        task = asyncio.ensure_future(loop.create_connection(Recorder, host, port))
        await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_cancelled_while_eyes_are_happy(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    with black_hole() as one, black_hole() as two, resolves_to(monkeypatch, one, two):
        task = asyncio.ensure_future(
            loop.create_connection(Recorder, "many.example", 1, happy_eyeballs_delay=0.005)
        )
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("stage", ["made", "data"])
async def test_protocols_see_the_context_of_the_connection(stage: str) -> None:
    """Callbacks run in a context that knows the variables set before create_connection."""
    import contextvars

    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []

    class Looking(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if stage == "made":
                seen.append(variable.get())

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            seen.append(variable.get())

    variable.set("set")
    async with connected_pair(Looking, Looking) as (client, server):
        client.transport.write(b"x")
        await server.received(1)
        server.transport.write(b"x")
        await client.received(1)
    assert set(seen) == {"set"}


# ---------------------------------------------------------------- connect_accepted_socket


async def test_connect_accepted_socket() -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        sock, address = listener.accept()
        transport, protocol = await loop.connect_accepted_socket(Recorder, sock)
        assert isinstance(protocol, Recorder)
        assert transport.get_protocol() is protocol
        assert protocol.transport is transport
        assert transport.get_extra_info("peername") == address
        client.send(b"hello")
        assert await protocol.received(5) == b"hello"
        transport.write(b"bye")
        assert client.recv(10) == b"bye"
        client.close()
        assert await protocol.closed is None
        assert protocol.events == ["made", "data", "eof", "lost"]


async def test_a_thousand_short_connections() -> None:
    loop = asyncio.get_running_loop()
    server, port = await _echo_server()

    async def one(number: int) -> None:
        _, protocol = await loop.create_connection(Recorder, "127.0.0.1", port)
        protocol.transport.write(b"%d" % number)
        assert await protocol.received(len(str(number))) == b"%d" % number
        protocol.transport.close()
        assert await protocol.closed is None

    for start in range(0, 300, 50):
        await asyncio.gather(*(one(number) for number in range(start, start + 50)))
    await _close(server)
