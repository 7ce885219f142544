"""create_server and the Server it gives."""

from __future__ import annotations

import asyncio
import errno
import inspect
import os
import socket
import sys
from typing import Any

import pytest

from tests.support.loops import TrackedFactory, turns, until
from tests.support.protocols import Echo, Recorder

HOST = "127.0.0.1"
#: Server.wait_closed waits for the connections since 3.12.1; before it could return at once.
WAITS = sys.version_info >= (3, 12, 1)
HAS_KEEP_ALIVE = (
    "keep_alive" in inspect.signature(asyncio.AbstractEventLoop.create_server).parameters
)


def _port(server: asyncio.Server) -> int:
    return server.sockets[0].getsockname()[1]


async def _connect(port: int, host: str = HOST) -> Recorder:
    _, protocol = await asyncio.get_running_loop().create_connection(Recorder, host, port)
    return protocol


async def _finish(server: asyncio.Server, *protocols: Recorder) -> None:
    for protocol in protocols:
        protocol.transport.abort()
        await protocol.closed
    server.close()
    await server.wait_closed()


async def test_a_server_serves() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, HOST, 0)
    assert isinstance(server, asyncio.Server)
    assert isinstance(server, asyncio.AbstractServer)
    assert server.get_loop() is loop
    assert server.is_serving()
    client = await _connect(_port(server))
    client.transport.write(b"hello")
    assert await client.received(5) == b"hello"
    await _finish(server, client)
    assert not server.is_serving()
    assert server.sockets == ()


async def test_each_connection_gets_its_own_protocol() -> None:
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = await asyncio.get_running_loop().create_server(factory, HOST, 0)
    clients = [await _connect(_port(server)) for _ in range(3)]
    await until(lambda: len(made) == 3 and all(one.transport is not None for one in made))
    assert len({id(protocol.transport) for protocol in made}) == 3
    assert {one.transport.get_extra_info("peername") for one in made} == {
        one.transport.get_extra_info("sockname") for one in clients
    }
    await _finish(server, *clients)
    for protocol in made:
        assert await protocol.closed is None


async def test_the_sockets_of_a_server() -> None:
    server = await asyncio.get_running_loop().create_server(Recorder, HOST, 0)
    (sock,) = server.sockets
    assert isinstance(server.sockets, tuple)
    assert isinstance(sock, asyncio.trsock.TransportSocket)
    assert sock.getsockname() == (HOST, _port(server))
    assert sock.type == socket.SOCK_STREAM
    assert sock.gettimeout() == 0
    await _finish(server)


async def test_several_hosts() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, [HOST, "::1", "127.0.0.2"], 0)
    names = [sock.getsockname() for sock in server.sockets]
    assert sorted(name[0] for name in names) == [HOST, "127.0.0.2", "::1"]
    clients = [await _connect(name[1], name[0]) for name in names]
    for client in clients:
        client.transport.write(b"x")
        await client.received(1)
    await _finish(server, *clients)


@pytest.mark.parametrize("host", [None, ""])
async def test_all_interfaces(host: str | None) -> None:
    server = await asyncio.get_running_loop().create_server(Echo, host, 0)
    families = {sock.family: sock.getsockname()[1] for sock in server.sockets}
    clients = [await _connect(families[socket.AF_INET])]
    if socket.AF_INET6 in families:
        clients.append(await _connect(families[socket.AF_INET6], "::1"))
    await _finish(server, *clients)


async def test_one_family_of_all_interfaces() -> None:
    server = await asyncio.get_running_loop().create_server(
        Echo, None, 0, family=socket.AF_INET, flags=socket.AI_PASSIVE
    )
    assert {sock.family for sock in server.sockets} == {socket.AF_INET}
    await _finish(server)


async def test_a_given_socket() -> None:
    sock = socket.socket()
    sock.bind((HOST, 0))
    server = await asyncio.get_running_loop().create_server(Echo, sock=sock, backlog=5)
    client = await _connect(sock.getsockname()[1])
    await _finish(server, client)
    assert sock.fileno() == -1


async def test_an_address_in_use() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, HOST, 0)
    with pytest.raises(OSError, match=str(_port(server))) as caught:
        await loop.create_server(Echo, ["127.0.0.2", HOST], _port(server))
    assert caught.value.errno == errno.EADDRINUSE
    await _finish(server)


async def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(OSError, match=r"192\.0\.2\.1"):
        await asyncio.get_running_loop().create_server(Echo, "192.0.2.1", 0)


async def test_reuse_address_is_the_default() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, HOST, 0)
    option = (socket.SOL_SOCKET, socket.SO_REUSEADDR)
    # Where there is an exclusive use of ports, reuse would mean to steal another's.
    default = not hasattr(socket, "SO_EXCLUSIVEADDRUSE")
    assert bool(server.sockets[0].getsockopt(*option)) is default
    await _finish(server)
    server = await loop.create_server(Echo, HOST, 0, reuse_address=False)
    assert server.sockets[0].getsockopt(*option) == 0
    await _finish(server)


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="no SO_REUSEPORT here")
async def test_reuse_port() -> None:
    loop = asyncio.get_running_loop()
    one = await loop.create_server(Echo, HOST, 0, reuse_port=True)
    two = await loop.create_server(Echo, HOST, _port(one), reuse_port=True)
    assert _port(one) == _port(two)
    await _finish(one)
    await _finish(two)


@pytest.mark.skipif(not HAS_KEEP_ALIVE, reason="create_server(keep_alive=) is not in this Python")
async def test_keep_alive() -> None:
    loop = asyncio.get_running_loop()
    option = (socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    for wanted in (True, None):
        server = await loop.create_server(
            Echo,
            HOST,
            0,
            keep_alive=wanted,  # type: ignore[call-arg]
        )
        assert bool(server.sockets[0].getsockopt(*option)) is bool(wanted)
        await _finish(server)


async def test_start_serving() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, HOST, 0, start_serving=False)
    assert not server.is_serving()
    port = _port(server)
    with pytest.raises(ConnectionRefusedError):
        await _connect(port)
    await server.start_serving()
    assert server.is_serving()
    await server.start_serving()
    client = await _connect(port)
    await _finish(server, client)


async def test_serve_forever_until_cancelled() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, HOST, 0, start_serving=False)
    task = asyncio.create_task(server.serve_forever())
    await asyncio.sleep(0.001)
    assert server.is_serving()
    client = await _connect(_port(server))
    client.transport.write(b"x")
    await client.received(1)
    client.transport.abort()
    await client.closed
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not server.is_serving()
    assert server.sockets == ()


async def test_serve_forever_only_once() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, HOST, 0)
    task = asyncio.create_task(server.serve_forever())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="already being awaited"):
        await server.serve_forever()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(RuntimeError, match="closed"):
        await server.serve_forever()


async def test_close_ends_serve_forever() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, HOST, 0)
    task = asyncio.create_task(server.serve_forever())
    await asyncio.sleep(0)
    server.close()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_closed_server() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, HOST, 0)
    port = _port(server)
    server.close()
    server.close()
    assert not server.is_serving()
    assert server.sockets == ()
    await server.wait_closed()
    await server.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await _connect(port)


async def test_async_with() -> None:
    async with await asyncio.get_running_loop().create_server(Echo, HOST, 0) as server:
        assert server.is_serving()
        client = await _connect(_port(server))
        client.transport.abort()
        await client.closed
    assert not server.is_serving()


async def test_connections_outlive_a_closed_server() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, HOST, 0)
    client = await _connect(_port(server))
    await asyncio.sleep(0.002)
    server.close()
    client.transport.write(b"still here")
    assert await client.received(10) == b"still here"
    await _finish(server, client)


@pytest.mark.skipif(not WAITS, reason="wait_closed waits for connections since 3.12.1")
async def test_wait_closed_waits_for_the_connections() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, HOST, 0)
    client = await _connect(_port(server))
    await asyncio.sleep(0.002)
    early = asyncio.create_task(server.wait_closed())
    await turns()
    assert not early.done()
    server.close()
    late = asyncio.create_task(server.wait_closed())
    await asyncio.sleep(0.005)
    assert not early.done()
    assert not late.done()
    client.transport.abort()
    await asyncio.gather(early, late)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="close_clients is new in 3.13")
@pytest.mark.parametrize("method", ["close_clients", "abort_clients"])
async def test_close_and_abort_clients(method: str) -> None:
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = await asyncio.get_running_loop().create_server(factory, HOST, 0)
    clients = [await _connect(_port(server)) for _ in range(3)]
    await until(lambda: len(made) == 3)
    server.close()
    getattr(server, method)()
    await server.wait_closed()
    for protocol in made:
        assert await protocol.closed is None
        assert protocol.transport.is_closing()
    for client in clients:
        await client.closed


@pytest.mark.skipif(sys.version_info < (3, 13), reason="abort_clients is new in 3.13")
async def test_abort_clients_does_not_wait_for_buffers() -> None:
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = await asyncio.get_running_loop().create_server(factory, HOST, 0)
    client = await _connect(_port(server))
    client.transport.pause_reading()
    await until(lambda: made and made[0].transport)
    made[0].transport.write(b"x" * 20_000_000)
    server.close()
    server.close_clients()  # type: ignore[attr-defined]
    await asyncio.sleep(0.005)
    assert not made[0].closed.done()
    server.abort_clients()  # type: ignore[attr-defined]
    await made[0].closed
    client.transport.abort()
    await client.closed
    await server.wait_closed()


async def test_a_hundred_connections_at_once() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, HOST, 0, backlog=100)
    clients = await asyncio.gather(*(_connect(_port(server)) for _ in range(100)))
    for number, client in enumerate(clients):
        client.transport.write(b"%d" % number)
    for number, client in enumerate(clients):
        assert await client.received(len(str(number))) == b"%d" % number
    await _finish(server, *clients)


async def test_a_small_backlog_delays_but_loses_nobody() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, HOST, 0, backlog=1)
    clients = [await _connect(_port(server)) for _ in range(5)]
    await _finish(server, *clients)


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on descriptors to lower")
async def test_running_out_of_descriptors() -> None:
    """The server reports it, waits a second, and serves those who waited."""
    import resource

    loop = asyncio.get_running_loop()
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    server = await loop.create_server(Echo, HOST, 0)
    sock = socket.socket()
    sock.setblocking(False)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (sock.fileno() + 1, hard))
    filler: list[int] = []

    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                filler.append(os.dup(sock.fileno()))
        await loop.sock_connect(sock, (HOST, _port(server)))
        await until(lambda: contexts)
    finally:
        for fd in filler:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert contexts[0]["exception"].errno == errno.EMFILE
    assert "accept" in contexts[0]["message"]
    assert "socket" in contexts[0]
    await loop.sock_sendall(sock, b"patient")
    assert await loop.sock_recv(sock, 10) == b"patient"
    sock.close()
    server.close()
    await server.wait_closed()


def test_a_server_made_before_its_loop_runs_for_good(new_loop: TrackedFactory) -> None:
    loop = new_loop()
    server = loop.run_until_complete(loop.create_server(Echo, HOST, 0))
    port = _port(server)

    async def use() -> None:
        client = await _connect(port)
        client.transport.write(b"x")
        await client.received(1)
        await _finish(server, client)

    loop.run_until_complete(use())
    loop.close()


def test_a_server_left_open_is_closed_with_its_loop(new_loop: TrackedFactory) -> None:
    import gc
    import warnings

    loop = new_loop()
    server = loop.run_until_complete(loop.create_server(Echo, HOST, 0))
    port = _port(server)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        loop.close()
        del server
        gc.collect()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port))
