"""Many connections at once on Windows; the leak check counts the handles afterwards."""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import pytest

import evenloop

from tests.support.loops import run

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="is about Windows")

CONNECTIONS = 5_000
AT_ONCE = 100


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    open = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        Echo.open += 1

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        Echo.open -= 1


class Client(asyncio.Protocol):
    """Asks, and notes the answer."""

    def __init__(self) -> None:
        self.received = b""
        self.answered = asyncio.get_running_loop().create_future()
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def ask(self, question: bytes) -> asyncio.Future[None]:
        self.question, self.received = question, b""
        self.answered = asyncio.get_running_loop().create_future()
        self.transport.write(question)
        return self.answered

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.received == self.question and not self.answered.done():
            self.answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(exc)


@pytest.mark.timeout(240)
def test_thousands_of_connections_echo() -> None:
    """5,000 connections are open at once, and each gets its own answer, twice."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=2 * AT_ONCE)
        address = server.sockets[0].getsockname()
        clients: list[Client] = []
        while len(clients) < CONNECTIONS:
            made = await asyncio.gather(
                *(loop.create_connection(Client, *address) for _ in range(AT_ONCE))
            )
            clients += [protocol for _, protocol in made]
        for attempt in range(2):
            await asyncio.gather(
                *(client.ask(b"%d of %d" % (attempt, i)) for i, client in enumerate(clients))
            )
        assert Echo.open == CONNECTIONS
        for client in clients:
            client.transport.close()
        assert set(await asyncio.gather(*(client.closed for client in clients))) == {None}
        server.close()
        await server.wait_closed()
        while Echo.open:
            await asyncio.sleep(0.01)

    run(evenloop.new_event_loop, main(), 230)
