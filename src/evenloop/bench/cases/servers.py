"""Echo servers under load from another process, written in C.

What counts is the processor time of the server per message: it does not depend on how fast the
client is, nor on who else uses the other core.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

from evenloop.bench import native
from evenloop.bench.case import Bench, CannotRun, Case, register
from evenloop.bench.cases.sockets import HOST, EchoServer
from evenloop.bench.identity import server_context
from evenloop.bench.load import few, load, raise_limit, wait_in_thread

__all__ = ["SERVERS", "c_server"]

BACKLOG = 4096
FLIGHT = 64 * 1024  # bytes of datagrams under way: what the default buffers hold

Address = int | str
Server = Callable[[], AbstractAsyncContextManager[Address]]


class BufferedEchoServer(asyncio.BufferedProtocol):
    """Sends back what comes into a buffer of its own."""

    transport: asyncio.Transport
    buffer: bytearray
    view: memoryview

    def __init__(self) -> None:
        self.buffer = bytearray(1 << 16)
        self.view = memoryview(self.buffer)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport  # type: ignore[assignment]

    def get_buffer(self, sizehint: int) -> bytearray:
        """Always the same one."""
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """A copy goes back: the transport may keep what it is given."""
        self.transport.write(bytes(self.view[:nbytes]))


class EchoDatagrams(asyncio.DatagramProtocol):
    """Sends back what comes."""

    transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, address: Any) -> None:
        """Send it back."""
        self.transport.sendto(data, address)


def _created(factory: Any, tls: bool = False) -> Server:
    @asynccontextmanager
    async def serving() -> AsyncIterator[Address]:
        loop = asyncio.get_running_loop()
        ssl = server_context() if tls else None
        server = await loop.create_server(factory, HOST, 0, ssl=ssl, backlog=BACKLOG)
        yield server.sockets[0].getsockname()[1]
        server.close()

    return serving


@asynccontextmanager
async def streams() -> AsyncIterator[Address]:
    """asyncio.start_server."""
    writers: set[asyncio.StreamWriter] = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            with suppress(ConnectionError):
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
        finally:
            writers.discard(writer)
            writer.close()

    server = await asyncio.start_server(echo, HOST, 0, backlog=BACKLOG)
    yield server.sockets[0].getsockname()[1]
    server.close()
    # Not cancelled with the loop: CPython 3.11 logs that as an error.
    for writer in writers:
        writer.transport.abort()
    while writers:
        await asyncio.sleep(0)


@asynccontextmanager
async def sock_methods() -> AsyncIterator[Address]:
    """A task per connection, with sock_recv and sock_sendall."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def answer(sock: socket.socket) -> None:
        with sock, suppress(ConnectionError):
            while data := await loop.sock_recv(sock, 65536):
                await loop.sock_sendall(sock, data)

    async def accept() -> None:
        while True:
            sock, _ = await loop.sock_accept(listener)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = loop.create_task(answer(sock))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    with socket.create_server((HOST, 0), backlog=BACKLOG) as listener:
        listener.setblocking(False)
        accepting = loop.create_task(accept())
        yield listener.getsockname()[1]
        accepting.cancel()
        with suppress(asyncio.CancelledError):
            await accepting
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def unix() -> AsyncIterator[Address]:
    """The protocol over a UNIX socket."""
    if not hasattr(socket, "AF_UNIX"):
        raise CannotRun("no UNIX sockets here")
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "echo")
        server = await loop.create_unix_server(EchoServer, path, backlog=BACKLOG)
        yield path
        server.close()


@asynccontextmanager
async def udp() -> AsyncIterator[Address]:
    """One datagram endpoint for all."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(EchoDatagrams, local_addr=(HOST, 0))
    yield transport.get_extra_info("sockname")[1]
    transport.close()


@asynccontextmanager
async def c_server(kind: str) -> AsyncIterator[tuple[Address, int]]:
    """The C server: its address and its process."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "echo")
        process = subprocess.Popen(
            [native.echo_program(), kind, path], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        with process:
            try:
                told = (await wait_in_thread(process.stdout.readline)).strip()
                yield told, process.pid
            finally:
                process.kill()


# What it is called, how it is served, and what the load speaks.
SERVERS: dict[str, tuple[str, Server, str]] = {
    "protocol": ("Protocol", _created(EchoServer), "tcp"),
    "buffered": ("BufferedProtocol", _created(BufferedEchoServer), "tcp"),
    "streams": ("streams", streams, "tcp"),
    "sock": ("sock_recv, sock_sendall", sock_methods, "tcp"),
    "unix": ("UNIX", unix, "unix"),
    "udp": ("UDP", udp, "udp"),
    "tls": ("TLS", _created(EchoServer, tls=True), "tls"),
}
SIZES = (1, 10, 100)
CONNECTIONS = (1, 100, 5000)


def _window(kind: str, size: int) -> int:
    return max(1, FLIGHT // size) if kind == "udp" else 0


def _case(name: str, size: int, connections: int) -> Case:
    called, server, kind = SERVERS[name]

    async def body(bench: Bench) -> None:
        number = few(bench, connections)
        if raise_limit(number) < number:
            raise CannotRun("the limit of open files is too low")
        async with server() as address:
            await load(bench, kind, address, size * 1024, number, _window(kind, size * 1024))
            await asyncio.sleep(0.01)

    async def limit(bench: Bench) -> None:
        number = few(bench, connections)
        if raise_limit(number) < number:
            raise CannotRun("the limit of open files is too low")
        async with c_server(kind) as (address, process):
            window = _window(kind, size * 1024)
            await load(bench, kind, address, size * 1024, number, window, process)

    many = "1 connection" if connections == 1 else f"{connections:,} connections"
    return Case(
        f"server-{name}-{size}k-{connections}",
        f"{called}, {size} KiB, {many}",
        "server",
        1,
        body,
        measure="cpu",
        quick=size == 1 and connections == 100,
        limit=None if kind == "tls" else limit,
        warm=False,
        preparation=connections / 50,  # TLS handshakes with a client in Python
    )


for _name in SERVERS:
    for _size in SIZES:
        if _name == "udp" and _size > 60:
            continue  # no datagram is that large
        for _connections in CONNECTIONS:
            register(_case(_name, _size, _connections))
