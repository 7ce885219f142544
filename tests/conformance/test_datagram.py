"""create_datagram_endpoint and its transports."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.loops import TrackedFactory, turns, until
from tests.support.protocols import DatagramRecorder

HOST = "127.0.0.1"
needs_unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no AF_UNIX here")


async def _endpoint(**options: Any) -> DatagramRecorder:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(DatagramRecorder, **options)
    assert protocol.transport is transport
    return protocol


async def _bound(**options: Any) -> tuple[DatagramRecorder, Any]:
    protocol = await _endpoint(local_addr=(HOST, 0), **options)
    return protocol, protocol.transport.get_extra_info("sockname")


async def _finish(*protocols: DatagramRecorder) -> None:
    for protocol in protocols:
        protocol.transport.close()
        assert await protocol.closed is None


async def test_unconnected_endpoints() -> None:
    a, here = await _bound()
    b, there = await _bound()
    a.transport.sendto(b"question", there)
    assert await b.received(1) == [(b"question", here)]
    b.transport.sendto(b"answer", here)
    assert await a.received(1) == [(b"answer", there)]
    assert a.transport.get_extra_info("peername") is None
    await _finish(a, b)
    assert a.events == ["made", "lost"]


async def test_connected_endpoints() -> None:
    server, address = await _bound()
    client = await _endpoint(remote_addr=address)
    assert client.transport.get_extra_info("peername") == address
    client.transport.sendto(b"no address")
    client.transport.sendto(b"none", None)
    client.transport.sendto(b"the same", address)
    await server.received(3)
    assert [data for data, _ in server.datagrams] == [b"no address", b"none", b"the same"]
    source = server.datagrams[0][1]
    server.transport.sendto(b"back", source)
    assert await client.received(1) == [(b"back", address)]
    with pytest.raises(ValueError, match="address"):
        client.transport.sendto(b"elsewhere", (HOST, 1))
    await _finish(server, client)


async def test_local_and_remote_address() -> None:
    server, address = await _bound()
    client = await _endpoint(local_addr=("127.0.0.2", 0), remote_addr=address)
    client.transport.sendto(b"x")
    assert (await server.received(1))[0][1][0] == "127.0.0.2"
    await _finish(server, client)


async def test_empty_datagrams_arrive(new_loop: TrackedFactory) -> None:
    new_loop.skip_stock_if(sys.version_info < (3, 13), "drops empty datagrams before 3.13")
    a, _ = await _bound()
    b, there = await _bound()
    for data in (b"", b"middle", b""):
        a.transport.sendto(data, there)
    await b.received(3)
    assert [data for data, _ in b.datagrams] == [b"", b"middle", b""]
    client = await _endpoint(remote_addr=there)
    client.transport.sendto(b"")
    await b.received(4)
    assert b.datagrams[3][0] == b""
    await _finish(a, b, client)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_data_of_every_kind(kind: Any) -> None:
    a, _ = await _bound()
    b, there = await _bound()
    a.transport.sendto(kind(b"data"), there)
    data = (await b.received(1))[0][0]
    assert data == b"data"
    assert type(data) is bytes
    await _finish(a, b)


async def test_the_largest_datagram() -> None:
    a, _ = await _bound()
    b, there = await _bound()
    for size in (1, 1471, 1500, 9000, 65507):
        a.transport.sendto(bytes(size), there)
        await b.received(1)
        assert len(b.datagrams.pop()[0]) == size
    await _finish(a, b)


async def test_a_datagram_too_large_is_an_error_received() -> None:
    a, _ = await _bound()
    b, there = await _bound()
    a.transport.sendto(bytes(100_000), there)
    await until(lambda: a.errors)
    assert isinstance(a.errors[0], OSError)
    a.transport.sendto(b"still alive", there)
    assert (await b.received(1))[0][0] == b"still alive"
    await _finish(a, b)


async def test_datagrams_keep_their_order() -> None:
    a, _ = await _bound()
    b, there = await _bound()
    for number in range(200):
        a.transport.sendto(b"%d" % number, there)
        if number % 20 == 0:
            await asyncio.sleep(0)
    await b.received(200)
    assert [int(data) for data, _ in b.datagrams] == list(range(200))
    await _finish(a, b)


@pytest.mark.skipif(sys.platform != "linux", reason="ICMP errors reach the socket on Linux")
async def test_an_error_received() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind((HOST, 0))
        address = holder.getsockname()
    client = await _endpoint(remote_addr=address)
    client.transport.sendto(b"anybody?")
    await until(lambda: client.errors)
    assert isinstance(client.errors[0], ConnectionRefusedError)
    assert not client.transport.is_closing()
    await _finish(client)


async def test_broadcast() -> None:
    plain, _ = await _bound()
    option = (socket.SOL_SOCKET, socket.SO_BROADCAST)
    assert plain.transport.get_extra_info("socket").getsockopt(*option) == 0
    loud, _ = await _bound(allow_broadcast=True)
    assert loud.transport.get_extra_info("socket").getsockopt(*option) != 0
    await _finish(plain, loud)


@pytest.mark.skipif(sys.platform != "linux", reason="the loopback has a broadcast address on Linux")
async def test_a_broadcast_datagram_arrives() -> None:
    server = await _endpoint(local_addr=("0.0.0.0", 0), allow_broadcast=True)
    port = server.transport.get_extra_info("sockname")[1]
    client = await _endpoint(local_addr=(HOST, 0), allow_broadcast=True)
    client.transport.sendto(b"to all", ("127.255.255.255", port))
    assert (await server.received(1))[0][0] == b"to all"
    await _finish(server, client)


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="no SO_REUSEPORT here")
async def test_reuse_port() -> None:
    a, address = await _bound(reuse_port=True)
    b = await _endpoint(local_addr=address, reuse_port=True)
    await _finish(a, b)


async def test_an_address_in_use() -> None:
    a, address = await _bound()
    with pytest.raises(OSError, match=r"in use|98|10048"):
        await _endpoint(local_addr=address)
    await _finish(a)


async def test_a_family_alone() -> None:
    protocol = await _endpoint(family=socket.AF_INET)
    assert protocol.transport.get_extra_info("socket").family == socket.AF_INET
    b, there = await _bound()
    protocol.transport.sendto(b"x", there)
    await b.received(1)
    await _finish(protocol, b)


async def test_ipv6() -> None:
    a = await _endpoint(local_addr=("::1", 0))
    address = a.transport.get_extra_info("sockname")
    assert len(address) == 4
    b = await _endpoint(remote_addr=address[:2], family=socket.AF_INET6)
    b.transport.sendto(b"six")
    assert (await a.received(1))[0][0] == b"six"
    await _finish(a, b)


async def test_names_are_resolved_when_created() -> None:
    server, address = await _bound()
    client = await _endpoint(remote_addr=("localhost", address[1]), family=socket.AF_INET)
    client.transport.sendto(b"x")
    await server.received(1)
    await _finish(server, client)


async def test_a_given_socket() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((HOST, 0))
    a = await _endpoint(sock=sock)
    assert a.transport.get_extra_info("socket").fileno() == sock.fileno()
    b, _ = await _bound()
    b.transport.sendto(b"x", sock.getsockname())
    await a.received(1)
    await _finish(a, b)
    assert sock.fileno() == -1


@needs_unix
async def test_unix_datagrams(tmp_path: Path) -> None:
    here, there = str(tmp_path / "here"), str(tmp_path / "there")
    a = await _endpoint(local_addr=here, family=socket.AF_UNIX)
    b = await _endpoint(local_addr=there, remote_addr=here, family=socket.AF_UNIX)
    b.transport.sendto(b"over")
    assert await a.received(1) == [(b"over", there)]
    a.transport.sendto(b"back", there)
    assert await b.received(1) == [(b"back", here)]
    assert b.transport.get_extra_info("peername") == here
    await _finish(a, b)


@needs_unix
async def test_a_stale_unix_file_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "stale")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as old:
        old.bind(path)
    await _finish(await _endpoint(local_addr=path, family=socket.AF_UNIX))


async def _to_a_full_peer(path: str, **limits: int) -> tuple[DatagramRecorder, socket.socket, int]:
    """An endpoint whose peer does not read, with the number of datagrams sent to fill it."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    peer.bind(path)
    peer.setblocking(False)
    protocol = await _endpoint(remote_addr=path, family=socket.AF_UNIX)
    protocol.transport.set_write_buffer_limits(**limits)
    sent = 0
    while "pause" not in protocol.events:
        protocol.transport.sendto(bytes(1000))
        sent += 1
        assert sent < 10_000
    return protocol, peer, sent


async def _drain(peer: socket.socket, count: int) -> None:
    received = 0
    while received < count:
        try:
            assert len(peer.recv(2000)) == 1000
            received += 1
        except BlockingIOError:
            await asyncio.sleep(0)


@needs_unix
async def test_flow_control_of_datagrams(tmp_path: Path, new_loop: TrackedFactory) -> None:
    """When the peer does not read, writing pauses above the mark and resumes below it."""
    protocol, peer, sent = await _to_a_full_peer(str(tmp_path / "peer"), high=10_000)
    assert protocol.transport.get_write_buffer_limits() == (2500, 10_000)
    assert protocol.transport.get_write_buffer_size() > 10_000
    await _drain(peer, sent)
    await until(lambda: "resume" in protocol.events)
    assert protocol.events == ["made", "pause", "resume"]
    if not new_loop.is_stock:  # 3.13 counts eight bytes a datagram that it never takes off
        assert protocol.transport.get_write_buffer_size() == 0
    peer.close()
    await _finish(protocol)


@needs_unix
async def test_close_sends_what_is_buffered(tmp_path: Path) -> None:
    protocol, peer, sent = await _to_a_full_peer(str(tmp_path / "peer"), high=5000)
    protocol.transport.close()
    assert protocol.transport.is_closing()
    await turns()
    assert not protocol.closed.done()
    await _drain(peer, sent)
    assert await protocol.closed is None
    peer.close()


@needs_unix
async def test_abort_drops_what_is_buffered(tmp_path: Path, new_loop: TrackedFactory) -> None:
    protocol, peer, sent = await _to_a_full_peer(str(tmp_path / "peer"), high=5000)
    protocol.transport.abort()
    assert await protocol.closed is None
    if not new_loop.is_stock:  # which still counts what it dropped
        assert protocol.transport.get_write_buffer_size() == 0
    with pytest.raises(BlockingIOError):
        await _drain_now(peer, sent)
    peer.close()


async def _drain_now(peer: socket.socket, count: int) -> None:
    for _ in range(count):
        peer.recv(2000)


async def test_a_closed_transport() -> None:
    a, _ = await _bound()
    _b, there = b = await _bound()
    assert not a.transport.is_closing()
    a.transport.close()
    a.transport.close()
    assert a.transport.is_closing()
    assert "lost" not in a.events
    assert await a.closed is None
    a.transport.abort()
    await turns()
    assert a.events == ["made", "lost"]
    assert there
    await _finish(b[0])


async def test_nothing_arrives_after_close() -> None:
    a, here = await _bound()
    b, _ = await _bound()
    b.transport.sendto(b"x", here)
    a.transport.close()
    await a.closed
    assert a.datagrams == []
    await _finish(b)


async def test_the_protocol_can_be_asked_and_changed() -> None:
    a, here = await _bound()
    b, _ = await _bound()
    if hasattr(a.transport, "get_protocol"):
        assert a.transport.get_protocol() is a
    assert a.transport.get_extra_info("socket").type == socket.SOCK_DGRAM
    assert a.transport.get_extra_info("nothing", 5) == 5
    assert here[0] == HOST
    await _finish(a, b)


@pytest.mark.parametrize("where", ["datagram_received", "error_received", "connection_made"])
async def test_a_protocol_that_raises(where: str) -> None:
    loop = asyncio.get_running_loop()
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))

    class Failing(DatagramRecorder):
        pass

    def fail(self: Failing, *args: Any) -> None:
        if where == "connection_made":
            self.transport = args[0]
        raise LookupError(where)

    setattr(Failing, where, fail)
    peer, peer_address = await _bound()
    transport, protocol = await loop.create_datagram_endpoint(Failing, remote_addr=peer_address)
    address = transport.get_extra_info("sockname")
    peer.transport.sendto(b"one", address)
    if where == "error_received":
        # Wine keeps what the network says for a receive that waits, and only once: see docs/ci.md.
        await until(lambda: protocol.datagrams)
        await _finish(peer)
        # Nobody is told of a datagram that came while the peer's socket was not gone yet.
        for _ in range(100):
            transport.sendto(b"anybody?")
            await asyncio.sleep(0.02)
            if contexts:
                break
    await until(lambda: contexts)
    assert isinstance(contexts[0]["exception"], LookupError)
    assert contexts[0]["message"]
    transport.abort()
    await protocol.closed
    await _finish(peer)
