"""A protocol that raises: reported with its context, fatal to nobody else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.loops import until
from tests.support.protocols import Echo, Recorder, connected_pair

Contexts = list[dict[str, Any]]


def _collect() -> Contexts:
    contexts: Contexts = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
    return contexts


async def _others_live() -> None:
    async with connected_pair(Recorder, Echo) as (client, _):
        client.transport.write(b"alive")
        assert await client.received(5) == b"alive"


async def test_connection_made() -> None:
    contexts = _collect()

    class Failing(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            raise LookupError("connection_made")

    async with connected_pair(Recorder, Failing):
        await until(lambda: contexts)
        (context,) = contexts
        assert isinstance(context["exception"], LookupError)
        assert context["message"]
        await _others_live()


async def test_data_received() -> None:
    contexts = _collect()

    class Failing(Recorder):
        def data_received(self, data: bytes) -> None:
            raise LookupError("data_received")

    async with connected_pair(Recorder, Failing) as (client, server):
        client.transport.write(b"x")
        assert isinstance(await server.closed, LookupError)
        (context,) = contexts
        assert isinstance(context["exception"], LookupError)
        assert context["protocol"] is server
        assert context["transport"] is server.transport
        assert "data_received" in context["message"]
        await client.closed
        await _others_live()


async def test_eof_received() -> None:
    contexts = _collect()

    class Failing(Recorder):
        def eof_received(self) -> bool:
            raise LookupError("eof_received")

    async with connected_pair(Recorder, Failing) as (client, server):
        client.transport.write_eof()
        assert isinstance(await server.closed, LookupError)
        (context,) = contexts
        assert isinstance(context["exception"], LookupError)
        assert context["protocol"] is server
        assert context["transport"] is server.transport
        assert "eof_received" in context["message"]
        await client.closed
        await _others_live()


async def test_connection_lost() -> None:
    contexts = _collect()

    class Failing(Recorder):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            raise LookupError("connection_lost")

    async with connected_pair(Recorder, Failing) as (client, server):
        fd = server.transport.get_extra_info("socket").fileno()
        client.transport.close()
        await server.closed
        await until(lambda: contexts)
        (context,) = contexts
        assert isinstance(context["exception"], LookupError)
        assert context["message"]
        assert fd > 0
        await _others_live()


@pytest.mark.parametrize("where", ["pause_writing", "resume_writing"])
async def test_flow_control(where: str) -> None:
    contexts = _collect()

    class Failing(Recorder):
        pass

    def fail(self: Failing) -> None:
        getattr(Recorder, where)(self)
        raise LookupError(where)

    setattr(Failing, where, fail)
    async with connected_pair(Failing, Recorder) as (client, server):
        server.transport.pause_reading()
        client.transport.write(bytes(20_000_000))
        assert client.paused
        server.transport.resume_reading()
        await until(lambda: not client.paused)
        (context,) = contexts
        assert isinstance(context["exception"], LookupError)
        assert context["protocol"] is client
        assert context["transport"] is client.transport
        assert where in context["message"]
        assert not client.transport.is_closing()
        await server.received(20_000_000)
        await _others_live()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_passes_through(
    loop: asyncio.AbstractEventLoop, kind: type[BaseException]
) -> None:
    class Failing(Recorder):
        def data_received(self, data: bytes) -> None:
            raise kind

    async def talk() -> None:
        async with connected_pair(Recorder, Failing) as (client, server):
            client.transport.write(b"x")
            await server.closed

    task = loop.create_task(talk())
    with pytest.raises(kind):
        loop.run_until_complete(task)
    task.cancel()

    async def finish() -> None:
        await asyncio.wait([task], timeout=5)

    loop.run_until_complete(finish())


async def test_a_raising_stream_callback() -> None:
    contexts = _collect()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readline()
            raise LookupError("in the handler")
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"line\n")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        await until(lambda: contexts)
    assert isinstance(contexts[0]["exception"], LookupError)
    assert "client_connected_cb" in contexts[0]["message"]
