"""The load of the TLS cases in Python, where OpenSSL's headers are missing: as `load.c` does it.

    python -m evenloop.bench.tls_load tls PORT [-s SIZE] [-c CONNECTIONS] [-t SECONDS] [-p PID] [-H]

It is slower than the servers under it, which then have less to do at a time; the figures of a
run compare with each other, not with those of a run whose load was in C.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import sys
import time
from typing import Any

from evenloop.bench.identity import client_context

__all__: list[str] = []

BATCH = 16


class Client(asyncio.Protocol):
    """Sends a message again each time it is back, as long as it may."""

    transport: asyncio.Transport
    messages: int = 0
    running: bool = True
    message: bytes
    missing: int
    rested: asyncio.Future[None]

    def __init__(self, size: int) -> None:
        self.message = b"x" * size
        self.missing = 0
        self.rested = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Secured: the first message."""
        self.transport = transport  # type: ignore[assignment]
        self.send()

    def send(self) -> None:
        """One message."""
        self.missing = len(self.message)
        self.transport.write(self.message)

    def data_received(self, data: bytes) -> None:
        """Some of it is back."""
        self.missing -= len(data)
        if self.missing:
            return
        Client.messages += 1
        if not self.rested.done():
            self.rested.set_result(None)
        elif Client.running:
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        """The server shall not do that."""
        if not self.rested.done():
            self.rested.set_exception(error or ConnectionResetError("the server closed"))


async def main(options: argparse.Namespace) -> None:
    """Connect in batches, each with one echo; then hold, or send and count."""
    loop = asyncio.get_running_loop()
    context = client_context()

    async def open_one() -> Client:
        _, client = await loop.create_connection(
            lambda: Client(options.s), "127.0.0.1", options.port, ssl=context
        )
        await client.rested
        return client

    clients: list[Client] = []
    while len(clients) < options.c:
        count = min(BATCH, options.c - len(clients))
        clients += await asyncio.gather(*(open_one() for _ in range(count)))
    if options.H:
        print(json.dumps({"held": len(clients)}), flush=True)
        await loop.run_in_executor(None, sys.stdin.read)
        return
    for client in clients:
        client.send()
    await asyncio.sleep(options.t / 5)
    before = _state(options.p)
    await asyncio.sleep(options.t)
    after = _state(options.p)
    Client.running = False
    messages, seconds, cpu = (late - early for late, early in zip(after, before, strict=True))
    print(json.dumps({"messages": messages, "seconds": seconds, "cpu": cpu}), flush=True)


def _state(process: int) -> tuple[float, ...]:
    used = 0.0
    if sys.platform != "win32":
        # Linux's number for the processor clock of a process: clock_getcpuclockid in C.
        used = time.clock_gettime((~process << 3) | 2)
    return Client.messages, time.monotonic(), used


def _start() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["tls"])
    parser.add_argument("port", type=int)
    parser.add_argument("-s", type=int, default=1024)
    parser.add_argument("-c", type=int, default=1)
    parser.add_argument("-w", type=int, default=0)
    parser.add_argument("-t", type=float, default=1.0)
    parser.add_argument("-p", type=int, default=os.getpid())
    parser.add_argument("-H", action="store_true")
    try:
        factory: Any = importlib.import_module("uvloop").new_event_loop
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(parser.parse_args()))
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    _start()
