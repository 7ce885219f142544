"""The addresses of datagrams: both forms of each, and bursts of them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import Any

import pytest

from tests.support.loops import TrackedFactory, until
from tests.support.protocols import DatagramRecorder

HOST = "127.0.0.1"


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


async def _bound(host: str = HOST) -> tuple[DatagramRecorder, Any]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        DatagramRecorder, local_addr=(host, 0)
    )
    return protocol, transport.get_extra_info("sockname")


async def test_addresses_are_what_python_says() -> None:
    server, there = await _bound()
    with contextlib.ExitStack() as stack:
        peers = []
        for _ in range(300):  # more than anyone would remember
            sock = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            sock.bind((HOST, 0))
            peers.append(sock)
        for _ in range(2):
            server.datagrams.clear()
            for sock in peers:
                sock.sendto(b"?", there)
                await until(lambda: len(server.datagrams) > 0)
                data, address = server.datagrams.pop()
                assert (data, address) == (b"?", sock.getsockname())
                server.transport.sendto(b"!", address)
                assert sock.recvfrom(10) == (b"!", there)
    server.transport.close()
    await server.closed


@pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 here")
async def test_every_form_of_an_ipv6_address() -> None:
    server, there = await _bound("::1")
    client, here = await _bound("::1")
    assert len(there) == 4
    scopeless: Any = [there[:2], there[:3], there, ("0:0:0:0:0:0:0:1", *there[1:])]
    for number, form in enumerate(scopeless):
        client.transport.sendto(b"%d" % number, form)
        await until(lambda: len(server.datagrams) > 0)
        assert server.datagrams.pop() == (b"%d" % number, here)
    for protocol in (server, client):
        protocol.transport.close()
        await protocol.closed


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ((HOST, 65536), OverflowError),
        ((HOST, -1), OverflowError),
        ((HOST,), TypeError),
        ((HOST, "1"), TypeError),
        ((HOST, 1, 2), TypeError),
        ((1, 2), TypeError),
        ("127.0.0.1", TypeError),
    ],
)
async def test_an_address_that_is_none(
    address: Any, error: type[Exception], new_loop: TrackedFactory
) -> None:
    new_loop.skip_stock_if(sys.version_info < (3, 13), "drops empty datagrams before 3.13")
    # Whatever Python's sockets raise, the transport is closed with.
    endpoint, _ = await _bound()
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    endpoint.transport.sendto(b"", address)
    assert isinstance(await endpoint.closed, error)
    assert isinstance(reported[0]["exception"], error)


async def test_a_name_is_resolved_by_the_socket() -> None:
    server, there = await _bound()
    client, here = await _bound()
    client.transport.sendto(b"to a name", ("localhost", there[1]))
    await until(lambda: len(server.datagrams) > 0)
    assert server.datagrams == [(b"to a name", here)]
    for protocol in (server, client):
        protocol.transport.close()
        await protocol.closed


async def test_a_list_as_the_address(new_loop: TrackedFactory) -> None:
    new_loop.skip_stock_if(sys.version_info < (3, 13), "drops empty datagrams before 3.13")
    endpoint, there = await _bound()
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    endpoint.transport.sendto(b"", list(there))
    assert isinstance(await endpoint.closed, TypeError)


async def test_bursts_keep_their_order_and_their_senders() -> None:
    server, there = await _bound()
    expected: list[tuple[bytes, Any]] = []
    with (
        socket.socket(type=socket.SOCK_DGRAM) as left,
        socket.socket(type=socket.SOCK_DGRAM) as right,
    ):
        for sock in (left, right):
            sock.bind((HOST, 0))
        for number in range(20):
            for _ in range(10):
                for sock in (left, right):
                    data = b"%d" % len(expected)
                    sock.sendto(data, there)
                    expected.append((data, sock.getsockname()))
            if number % 4 == 0:
                await asyncio.sleep(0.001)
        await until(lambda: len(server.datagrams) >= len(expected))
    assert server.datagrams == expected
    server.transport.close()
    await server.closed


async def test_closing_within_a_burst() -> None:
    class Closing(DatagramRecorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            if data == b"last":
                self.transport.close()

    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(Closing, local_addr=(HOST, 0))
    there = transport.get_extra_info("sockname")
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        for _ in range(9):  # until it takes several at a time
            for _ in range(3):
                sock.sendto(b"one", there)
            await asyncio.sleep(0.001)
        await until(lambda: len(server.datagrams) == 27)
        for data in (b"one", b"last", b"too late", b"too late"):
            sock.sendto(data, there)
        assert await server.closed is None
    assert [data for data, _ in server.datagrams[27:]] == [b"one", b"last"]


def test_an_interrupt_within_a_burst_loses_nothing(new_loop: TrackedFactory) -> None:
    class Interrupting(DatagramRecorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            if data == b"interrupt":
                raise KeyboardInterrupt

    loop = new_loop()
    transport, server = loop.run_until_complete(
        loop.create_datagram_endpoint(Interrupting, local_addr=(HOST, 0))
    )
    there = transport.get_extra_info("sockname")

    async def turns() -> None:
        for _ in range(40):
            sock.sendto(b"one", there)
            sock.sendto(b"one", there)
            await asyncio.sleep(0.001)

    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        loop.run_until_complete(turns())  # until it takes several at a time
        count = len(server.datagrams)
        assert count == 80
        expected = [b"1", b"interrupt", b"2", b"3", b"interrupt", b"4"]
        for data in expected:
            sock.sendto(data, there)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                loop.run_forever()
        loop.run_until_complete(asyncio.sleep(0.01))
        assert [data for data, _ in server.datagrams[count:]] == expected
    transport.close()
    loop.run_until_complete(server.closed)
    loop.close()
