"""Probes: names, connections, servers, datagrams and files sent over them."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from typing import Any

from evenloop.platforms.probe import Bench, Failed, NotHere, Topic, probe
from evenloop.platforms.probes.parts import Echo, Note, check, expect, ms, pair, plural, port_of

HOST = "127.0.0.1"

CONNECTIONS = Topic("Connections", "asyncio-eventloop.html#opening-network-connections")
SERVERS = Topic("Servers", "asyncio-eventloop.html#creating-network-servers")
DATAGRAMS = Topic("Datagrams", "asyncio-eventloop.html#opening-network-connections")
FILES = Topic("Sending files", "asyncio-eventloop.html#transferring-files")
NAMES = Topic("Names", "asyncio-eventloop.html#dns")


@probe("create_connection", CONNECTIONS)
async def create_connection(bench: Bench) -> str:
    """Bytes go out and come back."""
    async with await bench.loop.create_server(Echo, HOST, 0) as server:
        start = time.perf_counter()
        transport, note = await bench.loop.create_connection(Note, HOST, port_of(server))
        transport.write(b"hello")
        expect("the echo", await note.received(5), b"hello")
        took = ms(start)
        transport.close()
        expect("connection_lost", await note.lost, None)
    return f"5 bytes echoed, {took}"


@probe("create_connection, happy eyeballs", CONNECTIONS, "create_connection")
async def happy_eyeballs(bench: Bench) -> str:
    """A name with several addresses, one of which answers."""
    async with await bench.loop.create_server(Echo, HOST, 0) as server:
        transport, note = await bench.loop.create_connection(
            Note, "localhost", port_of(server), happy_eyeballs_delay=0.1
        )
        peer = transport.get_extra_info("peername")[0]
        transport.close()
        await note.lost
    return f"localhost answered at {peer}"


@probe("create_connection, refused", CONNECTIONS, "create_connection")
async def refused(bench: Bench) -> str:
    """Nobody listens: ConnectionRefusedError."""
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        try:
            await bench.loop.create_connection(Note, HOST, bound.getsockname()[1])
        except ConnectionRefusedError:
            return "ConnectionRefusedError"
    raise Failed("a connection to a port without a listener was made")


@probe("connect_accepted_socket", CONNECTIONS)
async def connect_accepted_socket(bench: Bench) -> str:
    """A socket that was accepted elsewhere gets a protocol."""
    listener = socket.create_server((HOST, 0))
    with listener, socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        _, note = await bench.loop.connect_accepted_socket(Note, accepted)
        client.sendall(b"accepted")
        data = await note.received(8)
        client.close()
        await note.lost
    expect("the data", data, b"accepted")
    expect("the calls", note.calls, ["made", "eof", "lost"])
    return f"{plural(len(data), 'byte')} received, then end of file"


@probe(
    "flow control",
    CONNECTIONS,
    "create_connection",
    section="asyncio-protocol.html#asyncio.BaseProtocol.pause_writing",
)
async def flow_control(bench: Bench) -> str:
    """A writer is paused while its peer does not read, and resumed when it does."""
    calls: list[str] = []

    class Writer(Note):
        def pause_writing(self) -> None:
            calls.append("paused")

        def resume_writing(self) -> None:
            calls.append("resumed")

    # Windows takes any one piece while there is some room.
    piece, count = bytes(256 << 10), 64
    with pair() as (left, right):
        transport, _ = await bench.loop.create_connection(Writer, sock=left.dup())
        for _ in range(count):
            transport.write(piece)
        check(transport.get_write_buffer_size() > 0, "16 MiB fitted into the socket's buffer")
        got = 0
        while got < count * len(piece):
            got += len(await bench.loop.sock_recv(right, 1 << 20))
        for _ in range(100):
            # The reader may have everything before the writer is told that it has gone.
            await asyncio.sleep(0 if len(calls) > 1 else 0.005)
            if len(calls) > 1:
                break
        transport.abort()
        await asyncio.sleep(0)
    expect("the calls", calls, ["paused", "resumed"])
    return f"paused and resumed over {got >> 20} MiB"


@probe(
    "BufferedProtocol",
    CONNECTIONS,
    "create_connection",
    section="asyncio-protocol.html#buffered-streaming-protocols",
)
async def buffered(bench: Bench) -> str:
    """Data arrives in the protocol's own buffer."""

    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.buffer = bytearray(16)
            self.filled = bench.loop.create_future()

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.filled.set_result(nbytes)

    with pair() as (left, right):
        transport, protocol = await bench.loop.create_connection(Buffered, sock=left.dup())
        right.send(b"in place")
        count = await protocol.filled
        transport.abort()
        await asyncio.sleep(0)
    expect("the buffer", bytes(protocol.buffer[:count]), b"in place")
    return f"{count} bytes, received in place"


@probe(
    "open_connection",
    CONNECTIONS,
    "create_connection",
    section="asyncio-stream.html#asyncio.open_connection",
)
async def streams(bench: Bench) -> str:
    """Lines through a StreamReader and a StreamWriter."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            writer.write(line.upper())
        writer.close()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        reader, writer = await asyncio.open_connection(HOST, port_of(server))
        writer.write(b"one\ntwo\n")
        writer.write_eof()
        lines = [await reader.readline(), await reader.readline(), await reader.readline()]
        writer.close()
        await writer.wait_closed()
    expect("the lines", lines, [b"ONE\n", b"TWO\n", b""])
    return "2 lines answered, then end of file"


@probe("create_server", SERVERS)
async def create_server(bench: Bench) -> str:
    """Many connections at once."""
    count = 20
    made: list[Echo] = []

    def factory() -> Echo:
        made.append(Echo())
        return made[-1]

    async def client(port: int) -> bytes:
        transport, note = await bench.loop.create_connection(Note, HOST, port)
        transport.write(b"x" * 1000)
        data = await note.received(1000)
        transport.close()
        await note.lost
        return data

    start = time.perf_counter()
    async with await bench.loop.create_server(factory, HOST, 0) as server:
        check(server.is_serving(), "it does not serve")
        got = await asyncio.gather(*(client(port_of(server)) for _ in range(count)))
    expect("connections", len(made), count)
    expect("bytes", sum(map(len, got)), count * 1000)
    return f"{count} connections, {count * 1000} bytes echoed, {ms(start)}"


@probe(
    "Server.serve_forever",
    SERVERS,
    "create_server",
    section="asyncio-eventloop.html#asyncio.Server.serve_forever",
)
async def serve_forever(bench: Bench) -> str:
    """Starts to serve, and ends when it is cancelled."""
    server = await bench.loop.create_server(Echo, HOST, 0, start_serving=False)
    check(not server.is_serving(), "it serves although it was told not to start")
    port = port_of(server)
    task = bench.loop.create_task(server.serve_forever())
    await asyncio.sleep(0)
    check(server.is_serving(), "it does not serve")
    transport, note = await bench.loop.create_connection(Note, HOST, port)
    transport.close()
    await note.lost
    task.cancel()
    await asyncio.wait([task])
    check(task.cancelled() and not server.is_serving(), "cancelling did not end it")
    return "served 1 connection, ended when cancelled"


@probe(
    "Server.close, wait_closed",
    SERVERS,
    "create_server",
    section="asyncio-eventloop.html#asyncio.Server.close",
)
async def close_server(bench: Bench) -> str:
    """A closed server refuses, and its port is free again."""
    server = await bench.loop.create_server(Echo, HOST, 0)
    port = port_of(server)
    server.close()
    await server.wait_closed()
    try:
        await bench.loop.create_connection(Note, HOST, port)
    except ConnectionRefusedError:
        again = await bench.loop.create_server(Echo, HOST, port)
        again.close()
        await again.wait_closed()
        return "refuses, and the port is free again"
    raise Failed("a closed server took a connection")


@probe("create_server, reuse_port", SERVERS, "create_server")
async def reuse_port(bench: Bench) -> str:
    """Two servers share a port."""
    windows = sys.platform == "win32"
    if not hasattr(socket, "SO_REUSEPORT") and not windows:
        raise NotHere("this system has no SO_REUSEPORT")
    async with await bench.loop.create_server(Echo, HOST, 0, reuse_port=True) as first:
        port = port_of(first)
        try:
            async with await bench.loop.create_server(Echo, HOST, port, reuse_port=True):
                return "2 servers on one port"
        except OSError as error:
            if not windows:
                raise
            # Windows shares the port of any socket with SO_REUSEADDR, Wine as its host does.
            raise NotHere(f"this system shares no port by SO_REUSEADDR: {error}") from None


@probe("create_server, IPv6", SERVERS, "create_server")
async def ipv6(bench: Bench) -> str:
    """The same over IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as test:
            test.bind(("::1", 0))
    except OSError as error:
        raise NotHere(f"no IPv6 here: {error.strerror}") from None
    async with await bench.loop.create_server(Echo, "::1", 0) as server:
        transport, note = await bench.loop.create_connection(Note, "::1", port_of(server))
        transport.write(b"six")
        await note.received(3)
        transport.close()
        await note.lost
    return "3 bytes echoed at ::1"


class _Datagrams(asyncio.DatagramProtocol):
    """Notes datagrams; sends them back if asked to."""

    def __init__(self, echo: bool = False) -> None:
        self.echo = echo
        self.got: asyncio.Queue[bytes] = asyncio.Queue()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.got.put_nowait(data)
        if self.echo:
            self.transport.sendto(data, address)


@probe("create_datagram_endpoint", DATAGRAMS)
async def datagrams(bench: Bench) -> str:
    """Datagrams go out and come back, empty ones too."""
    server, _ = await bench.loop.create_datagram_endpoint(
        lambda: _Datagrams(echo=True), local_addr=(HOST, 0)
    )
    client, protocol = await bench.loop.create_datagram_endpoint(
        _Datagrams, remote_addr=server.get_extra_info("sockname")
    )
    sent = [b"one", b"", b"three" * 200]
    got = []
    try:
        for data in sent:
            client.sendto(data)
            try:
                got.append(await asyncio.wait_for(protocol.got.get(), 1))
            except TimeoutError:
                raise Failed(f"a datagram of {len(data)} bytes did not come back") from None
    finally:
        client.close()
        server.close()
        await asyncio.sleep(0)
    expect("the datagrams", got, sent)
    return f"{len(got)} datagrams echoed, of {', '.join(str(len(data)) for data in got)} bytes"


@probe("create_datagram_endpoint, unconnected", DATAGRAMS, "create_datagram_endpoint")
async def unconnected(bench: Bench) -> str:
    """One endpoint talks to two others."""
    ends = [
        await bench.loop.create_datagram_endpoint(_Datagrams, local_addr=(HOST, 0))
        for _ in range(3)
    ]
    for transport, _ in ends[1:]:
        ends[0][0].sendto(b"to each", transport.get_extra_info("sockname"))
    for _, protocol in ends[1:]:
        expect("the datagram", await asyncio.wait_for(protocol.got.get(), 1), b"to each")
    for transport, _ in ends:
        transport.close()
    await asyncio.sleep(0)
    return "1 endpoint reached 2"


@probe("sendfile", FILES)
async def sendfile(bench: Bench) -> str:
    """A file goes out over a transport, by the system's own call or by reading it."""
    payload = bytes(range(256)) * 1024
    path = bench.folder / "file"
    path.write_bytes(payload)
    async with await bench.loop.create_server(Note, HOST, 0) as server:
        sent = await _send(bench, port_of(server), path)
    expect("bytes", sent, len(payload) - 100)
    return f"{sent} bytes from offset 100"


async def _send(bench: Bench, port: int, path: Any) -> int:
    transport, _ = await bench.loop.create_connection(Note, HOST, port)
    with open(path, "rb") as file:
        sent = await bench.loop.sendfile(transport, file, offset=100)
        expect("the file's position", file.tell(), 100 + sent)
    transport.close()
    return sent


@probe("sock_sendfile", FILES)
async def sock_sendfile(bench: Bench) -> str:
    """The same over a bare socket, which receives what the file holds."""
    payload = b"0123456789" * 1000
    path = bench.folder / "file"
    path.write_bytes(payload)
    with pair() as (left, right):
        with open(path, "rb") as file:
            sent = await bench.loop.sock_sendfile(left, file, 5, 5000)
        got = b""
        while len(got) < sent:
            got += await bench.loop.sock_recv(right, 10000)
    expect("the bytes", got, payload[5:5005])
    return f"{sent} bytes, the right ones"


@probe("getaddrinfo", NAMES)
async def getaddrinfo(bench: Bench) -> str:
    """A name is resolved."""
    found = await bench.loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
    check(found, "localhost has no address")
    return f"localhost is {', '.join(sorted({str(entry[4][0]) for entry in found}))}"


@probe("getnameinfo", NAMES)
async def getnameinfo(bench: Bench) -> str:
    """An address is named."""
    flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    found = await bench.loop.getnameinfo((HOST, 80), flags)
    expect("the name", found, (HOST, "80"))
    return f"{HOST}:80, numerically"
