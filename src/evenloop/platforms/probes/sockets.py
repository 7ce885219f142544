"""Probes: bare sockets, and readiness of descriptors."""

from __future__ import annotations

import asyncio
import os
import socket

from evenloop.platforms.probe import Bench, Topic, probe
from evenloop.platforms.probes.parts import check, expect, nonblocking, pair

SOCKETS = Topic("Sockets", "asyncio-eventloop.html#working-with-socket-objects-directly")
READINESS = Topic("Readiness", "asyncio-eventloop.html#watching-file-descriptors")
HOST = "127.0.0.1"


@probe("sock_accept, sock_connect", SOCKETS, "sock_accept", "sock_connect")
async def accept_and_connect(bench: Bench) -> str:
    """Two bare sockets meet."""
    loop = bench.loop
    with nonblocking() as listener, nonblocking() as client:
        listener.bind((HOST, 0))
        listener.listen()
        (server, address), _ = await asyncio.gather(
            loop.sock_accept(listener), loop.sock_connect(client, listener.getsockname())
        )
        with server:
            expect("the address", address, client.getsockname())
            check(not server.getblocking(), "the accepted socket blocks")
    return f"connected from {address[0]}"


@probe("sock_sendall, sock_recv", SOCKETS, "sock_sendall", "sock_recv")
async def send_and_receive(bench: Bench) -> str:
    """More than fits into the buffers arrives whole."""
    payload = bytes(range(256)) * 8192
    with pair() as (left, right):

        async def receive() -> bytes:
            got = bytearray()
            while len(got) < len(payload):
                got += await bench.loop.sock_recv(right, 1 << 18)
            return bytes(got)

        _, got = await asyncio.gather(bench.loop.sock_sendall(left, payload), receive())
        check(got == payload, "the bytes differ")
        left.close()
        expect("at the end", await bench.loop.sock_recv(right, 10), b"")
    return f"{len(got) >> 20} MiB, then end of file"


@probe("sock_recv_into", SOCKETS)
async def receive_into(bench: Bench) -> str:
    """Into the caller's buffer, waiting for it."""
    buffer = bytearray(16)
    with pair() as (left, right):
        bench.loop.call_later(0.001, left.send, b"in place")
        count = await bench.loop.sock_recv_into(right, buffer)
    expect("the buffer", bytes(buffer[:count]), b"in place")
    return f"{count} bytes, waited for"


@probe("sock_sendto, sock_recvfrom", SOCKETS, "sock_sendto", "sock_recvfrom")
async def datagrams(bench: Bench) -> str:
    """A datagram and where it came from."""
    kind = socket.SOCK_DGRAM
    with nonblocking(kind=kind) as left, nonblocking(kind=kind) as right:
        left.bind((HOST, 0))
        right.bind((HOST, 0))
        sent = await bench.loop.sock_sendto(left, b"datagram", right.getsockname())
        data, address = await bench.loop.sock_recvfrom(right, 100)
        expect("the datagram", data, b"datagram")
        expect("its sender", address, left.getsockname())
    return f"{sent} bytes, sender known"


@probe("sock_recvfrom_into", SOCKETS)
async def datagram_into(bench: Bench) -> str:
    """A datagram into the caller's buffer."""
    buffer = bytearray(16)
    kind = socket.SOCK_DGRAM
    with nonblocking(kind=kind) as left, nonblocking(kind=kind) as right:
        left.bind((HOST, 0))
        right.bind((HOST, 0))
        address = right.getsockname()
        bench.loop.call_later(0.001, left.sendto, b"datagram", address)
        count, sender = await bench.loop.sock_recvfrom_into(right, buffer)
        expect("its sender", sender, left.getsockname())
    expect("the buffer", bytes(buffer[:count]), b"datagram")
    return f"{count} bytes, waited for"


@probe("add_reader, remove_reader", READINESS, "add_reader", "remove_reader")
async def reader(bench: Bench) -> str:
    """Called while there is something to read, and not after it was removed."""
    seen: list[bytes] = []
    done = bench.loop.create_future()
    with pair() as (left, right):

        def readable() -> None:
            seen.append(right.recv(1))
            if len(seen) == 3:
                expect("remove_reader", bench.loop.remove_reader(right), True)
                done.set_result(None)

        bench.loop.add_reader(right, readable)
        left.send(b"abcd")
        await done
        await asyncio.sleep(0.001)
        expect("remove_reader, again", bench.loop.remove_reader(right), False)
    expect("the calls", seen, [b"a", b"b", b"c"])
    return "3 calls, none after removal"


@probe("add_writer, remove_writer", READINESS, "add_writer", "remove_writer")
async def writer(bench: Bench) -> str:
    """Not called while the buffer is full, called when there is room."""
    calls: list[str] = []
    done = bench.loop.create_future()
    with pair() as (left, right):
        try:
            while True:
                left.send(bytes(1 << 16))
        except BlockingIOError:
            pass

        def writable() -> None:
            calls.append("room")
            bench.loop.remove_writer(left)
            done.set_result(None)

        bench.loop.add_writer(left, writable)
        await asyncio.sleep(0.001)
        expect("the calls while it is full", calls, [])
        try:
            while right.recv(1 << 20):
                pass
        except BlockingIOError:
            pass
        await done
        expect("remove_writer, again", bench.loop.remove_writer(left), False)
    return "silent while full, then 1 call"


@probe("add_reader on a pipe", READINESS, "add_reader")
async def pipe_reader(bench: Bench) -> str:
    """A pipe's descriptor can be watched, not only a socket's."""
    out, into = os.pipe()
    try:
        done = bench.loop.create_future()

        def readable() -> None:
            done.set_result(os.read(out, 10))
            bench.loop.remove_reader(out)

        bench.loop.add_reader(out, readable)
        os.write(into, b"pipe")
        got = await done
    finally:
        os.close(out)
        os.close(into)
    expect("the bytes", got, b"pipe")
    return "4 bytes"
