"""TLS within one process, with the standard library's `ssl.SSLContext`, both ends on the loop."""

from __future__ import annotations

import asyncio

from evenloop.bench.case import MATRIX, Bench, case
from evenloop.bench.cases.sockets import HOST, KIB, MIB, connected, listening
from evenloop.bench.identity import client_context, server_context


async def _echo(bench: Bench, message: bytes) -> None:
    contexts = server_context(), client_context()
    async with connected(bench.loop, message, bench.n, *contexts) as client:
        with bench.watch:
            client.start()
            await client.done


@case("tls-echo", "10k TLS echoes, 1 KiB", MATRIX, 10_000)
async def tls_echo(bench: Bench) -> None:
    """One connection between two protocols."""
    await _echo(bench, KIB)


@case("tls-echo-1m", "150 × 1 MiB TLS echoes", MATRIX, 150)
async def tls_echo_large(bench: Bench) -> None:
    """Messages of 64 records and more."""
    await _echo(bench, MIB)


@case("tls-handshakes", "300 TLS handshakes", MATRIX, 300)
async def tls_handshakes(bench: Bench) -> None:
    """A connection is made, secured and closed in order, then the next one."""
    loop = bench.loop

    class Closing(asyncio.Protocol):
        def __init__(self) -> None:
            self.closed = loop.create_future()

        def connection_lost(self, error: Exception | None) -> None:
            self.closed.set_result(None)

    context = client_context()
    async with listening(loop, asyncio.Protocol, server_context()) as port:
        with bench.watch:
            for _ in range(bench.n):
                transport, client = await loop.create_connection(Closing, HOST, port, ssl=context)
                transport.close()
                await client.closed
