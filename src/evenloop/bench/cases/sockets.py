"""Sockets within one process: both ends of a connection are on the loop that is measured."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ssl import SSLContext
from typing import Any

from evenloop.bench.case import MATRIX, Bench, case

__all__ = ["EchoClient", "EchoServer", "Talk", "connected", "listening", "talk"]

HOST = "127.0.0.1"
KIB = b"x" * 1024
MIB = b"x" * (1 << 20)


class EchoServer(asyncio.Protocol):
    """Sends back what comes."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        self.transport.write(data)


class EchoClient(asyncio.Protocol):
    """Sends a message again each time it has come back in full."""

    transport: asyncio.Transport
    left: int
    missing: int
    done: asyncio.Future[None]
    closed: asyncio.Future[None]

    def __init__(self, message: bytes, times: int) -> None:
        loop = asyncio.get_running_loop()
        self.message = message
        self.left = times
        self.missing = len(message)
        self.done = loop.create_future()
        self.closed = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for `start`."""
        self.transport = transport  # type: ignore[assignment]

    def start(self) -> None:
        """Send the first one."""
        self.transport.write(self.message)

    def data_received(self, data: bytes) -> None:
        """Count, and send the next one."""
        self.missing -= len(data)
        if self.missing:
            return
        self.left -= 1
        if self.left:
            self.missing = len(self.message)
            self.transport.write(self.message)
        else:
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell those who wait."""
        self.closed.set_result(None)
        if not self.done.done():
            self.done.set_exception(error or ConnectionResetError("the server closed"))


@asynccontextmanager
async def listening(
    loop: asyncio.AbstractEventLoop, protocol: Any, ssl: SSLContext | None = None
) -> AsyncIterator[int]:
    """A server on the loopback interface; gives its port."""
    server = await loop.create_server(protocol, HOST, 0, ssl=ssl, backlog=1024)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def connected(
    loop: asyncio.AbstractEventLoop,
    message: bytes,
    times: int,
    server_ssl: SSLContext | None = None,
    client_ssl: SSLContext | None = None,
) -> AsyncIterator[EchoClient]:
    """A client that is connected to an echo server."""
    async with listening(loop, EchoServer, server_ssl) as port:
        _, client = await loop.create_connection(
            lambda: EchoClient(message, times), HOST, port, ssl=client_ssl
        )
        try:
            yield client
        finally:
            client.transport.close()
            await client.closed


@case("protocol-echo", "20k protocol echoes, 1 KiB", MATRIX, 20_000)
async def protocol_echo(bench: Bench) -> None:
    """One connection; the next message goes out when the last one is back."""
    async with connected(bench.loop, KIB, bench.n) as client:
        with bench.watch:
            client.start()
            await client.done


@case("tcp-echo-1m", "500 × 1 MiB TCP echoes", MATRIX, 500)
async def tcp_echo_large(bench: Bench) -> None:
    """Messages larger than the kernel's buffers."""
    async with connected(bench.loop, MIB, bench.n) as client:
        with bench.watch:
            client.start()
            await client.done


@case("sock-echo", "40k sock_sendall/sock_recv, 1 KiB", MATRIX, 40_000)
async def sock_echo(bench: Bench) -> None:
    """A message goes to and fro over a pair of sockets; each way is one sendall and one recv."""
    loop = bench.loop
    here, there = socket.socketpair()
    here.setblocking(False)
    there.setblocking(False)
    ways = max(1, bench.n // 2)

    async def answer() -> None:
        for _ in range(ways):
            await loop.sock_sendall(there, await loop.sock_recv(there, 1024))

    with here, there:
        with bench.watch:
            task = loop.create_task(answer())
            for _ in range(ways):
                await loop.sock_sendall(here, KIB)
                await loop.sock_recv(here, 1024)
            await task


Talk = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def talk(serve: Any, ssl: tuple[SSLContext, SSLContext] | None = None) -> AsyncIterator[Talk]:
    """A stream connected to `serve(reader, writer)` by asyncio's own functions."""
    over = asyncio.Event()

    async def serving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer)
        writer.close()
        await writer.wait_closed()
        over.set()

    server_ssl, client_ssl = ssl or (None, None)
    server = await asyncio.start_server(serving, HOST, 0, ssl=server_ssl)
    reader, writer = await asyncio.open_connection(
        HOST, server.sockets[0].getsockname()[1], ssl=client_ssl
    )
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()
        with suppress(TimeoutError):  # not every loop delivers this end of file
            await asyncio.wait_for(over.wait(), 0.5)
        server.close()
        await server.wait_closed()


@case("stream-echo", "20k stream echoes, 1 KiB", MATRIX, 20_000)
async def stream_echo(bench: Bench) -> None:
    """asyncio.open_connection and start_server, with write, drain and readexactly."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    async with talk(serve) as (reader, writer):
        with bench.watch:
            for _ in range(bench.n):
                writer.write(KIB)
                await writer.drain()
                await reader.readexactly(len(KIB))


@case("readline", "200k readline, 64 B", MATRIX, 200_000)
async def readline(bench: Bench) -> None:
    """Lines come in large pieces, and are read one by one."""
    batch = 1000
    line = b"x" * 63 + b"\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        for start in range(0, bench.n, batch):
            writer.write(line * min(batch, bench.n - start))
            await writer.drain()

    async with talk(serve) as (reader, writer):
        with bench.watch:
            writer.write(b"!")
            for _ in range(bench.n):
                await reader.readline()


@case("connects", "3000 connects", MATRIX, 3000)
async def connects(bench: Bench) -> None:
    """A connection is made, accepted and closed, then the next one."""
    loop = bench.loop

    class Closing(asyncio.Protocol):
        def __init__(self) -> None:
            self.closed = loop.create_future()

        def connection_lost(self, error: Exception | None) -> None:
            self.closed.set_result(None)

    async with listening(loop, asyncio.Protocol) as port:
        with bench.watch:
            for _ in range(bench.n):
                transport, client = await loop.create_connection(Closing, HOST, port)
                transport.close()
                await client.closed


@case("udp-echo", "20k UDP echoes, 512 B", MATRIX, 20_000)
async def udp_echo(bench: Bench) -> None:
    """A datagram goes to and fro between two endpoints."""
    loop = bench.loop
    message = b"x" * 512

    class Server(asyncio.DatagramProtocol):
        transport: asyncio.DatagramTransport

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport  # type: ignore[assignment]

        def datagram_received(self, data: bytes, address: Any) -> None:
            self.transport.sendto(data, address)

    class Client(asyncio.DatagramProtocol):
        transport: asyncio.DatagramTransport
        left = bench.n

        def __init__(self) -> None:
            self.done = loop.create_future()

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport  # type: ignore[assignment]

        def datagram_received(self, data: bytes, address: Any) -> None:
            self.left -= 1
            if self.left:
                self.transport.sendto(message)
            else:
                self.done.set_result(None)

    near, _ = await loop.create_datagram_endpoint(Server, local_addr=(HOST, 0))
    address = near.get_extra_info("sockname")
    far, client = await loop.create_datagram_endpoint(Client, remote_addr=address)
    try:
        with bench.watch:
            far.sendto(message)
            await client.done
    finally:
        near.close()
        far.close()
        await asyncio.sleep(0.01)
