"""Probes: TLS."""

from __future__ import annotations

import asyncio
import ssl
import time

from evenloop.platforms.probe import Bench, Failed, Topic, probe
from evenloop.platforms.probes.certificate import contexts
from evenloop.platforms.probes.parts import Echo, Note, check, expect, ms, port_of

TLS = Topic("TLS", "asyncio-eventloop.html#tls-upgrade")
HOST = "127.0.0.1"


@probe("create_server, ssl", TLS, "create_server", "create_connection")
async def tls(bench: Bench) -> str:
    """A handshake with a checked certificate, then data both ways, then a clean close."""
    ours, theirs = contexts(bench.folder)
    payload = b"secret" * 20_000
    async with await bench.loop.create_server(Echo, HOST, 0, ssl=ours) as server:
        start = time.perf_counter()
        transport, note = await bench.loop.create_connection(
            Note, HOST, port_of(server), ssl=theirs, server_hostname="localhost"
        )
        shaken = ms(start)
        transport.write(payload)
        check(await note.received(len(payload)) == payload, "the echo differs")
        session = transport.get_extra_info("ssl_object")
        version, cipher = session.version(), session.cipher()[0]
        transport.close()
        expect("connection_lost", await note.lost, None)
    return f"{version}, {cipher}, handshake {shaken}, {len(payload)} bytes echoed"


@probe("create_connection, ssl refused", TLS, "create_connection")
async def distrust(bench: Bench) -> str:
    """A certificate that nobody vouches for is refused."""
    ours, _ = contexts(bench.folder)
    bench.loop.set_exception_handler(lambda *_: None)  # the server may say: turned down
    async with await bench.loop.create_server(Echo, HOST, 0, ssl=ours) as server:
        try:
            await bench.loop.create_connection(
                Note,
                HOST,
                port_of(server),
                ssl=ssl.create_default_context(),
                server_hostname="localhost",
            )
        except ssl.SSLCertVerificationError as error:
            return f"SSLCertVerificationError: {error.verify_message}"
    raise Failed("a certificate that nobody vouches for was taken")


@probe("start_tls", TLS)
async def start_tls(bench: Bench) -> str:
    """A plain connection becomes a secure one."""
    ours, theirs = contexts(bench.folder)
    loop = bench.loop

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"go")
        await writer.drain()
        await writer.start_tls(ours)
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        plain, note = await loop.create_connection(Note, HOST, port_of(server))
        plain.write(b"STARTTLS\n")
        await note.received(2)
        secure = await loop.start_tls(plain, note, theirs, server_hostname="localhost")
        check(secure is not None, "start_tls returned no transport")
        assert secure is not None
        secure.write(b" over TLS\n")
        expect("the data", await note.received(12), b"go over TLS\n")
        version = secure.get_extra_info("ssl_object").version()
        secure.close()
        await note.lost
    return f"plain, then {version}"


@probe(
    "streams over TLS",
    TLS,
    "create_connection",
    section="asyncio-stream.html#asyncio.StreamWriter.start_tls",
)
async def streams(bench: Bench) -> str:
    """open_connection and start_server with ssl."""
    ours, theirs = contexts(bench.folder)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, HOST, 0, ssl=ours) as server:
        reader, writer = await asyncio.open_connection(
            HOST, port_of(server), ssl=theirs, server_hostname="localhost"
        )
        writer.write(b"a line\n")
        got = await reader.read()
        writer.close()
        await writer.wait_closed()
    expect("the line", got, b"a line\n")
    return "1 line echoed, then end of file"
