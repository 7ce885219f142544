"""sendfile and sock_sendfile: the kernel's way and the fallback."""

from __future__ import annotations

import asyncio
import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.support import tls
from tests.support.protocols import Recorder, connected_pair

DATA = os.urandom(700_001)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[BinaryIO]:
    path = tmp_path / "data"
    path.write_bytes(DATA)
    with path.open("rb") as opened:
        yield opened


async def _receive(sock: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    received = bytearray()
    while data := await loop.sock_recv(sock, 65536):
        received += data
    return bytes(received)


class Sockets:
    """A connected pair of TCP sockets, the sender's and the receiver's."""

    async def __aenter__(self) -> tuple[socket.socket, socket.socket]:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            self.a = socket.socket()
            self.a.setblocking(False)
            await loop.sock_connect(self.a, listener.getsockname())
            self.b, _ = await loop.sock_accept(listener)
        return self.a, self.b

    async def __aexit__(self, *_: object) -> None:
        self.a.close()
        self.b.close()


@pytest.mark.parametrize(
    ("offset", "count"),
    [(0, None), (1000, None), (0, 5), (300_000, 200_000), (0, len(DATA) + 50), (len(DATA), None)],
)
async def test_sock_sendfile(file: BinaryIO, offset: int, count: int | None) -> None:
    loop = asyncio.get_running_loop()
    expected = DATA[offset:] if count is None else DATA[offset : offset + count]
    async with Sockets() as (a, b):
        receiving = asyncio.create_task(_receive(b))
        assert await loop.sock_sendfile(a, file, offset, count) == len(expected)
        if expected:
            assert file.tell() == offset + len(expected)
        a.shutdown(socket.SHUT_WR)
        assert await receiving == expected


@pytest.mark.parametrize("offset", [0, 12345])
async def test_sock_sendfile_of_no_real_file(offset: int) -> None:
    """An object without a descriptor goes by way of reads."""
    loop = asyncio.get_running_loop()
    source = io.BytesIO(DATA)
    async with Sockets() as (a, b):
        receiving = asyncio.create_task(_receive(b))
        sent = await loop.sock_sendfile(a, source, offset, 500_000)
        assert sent == 500_000
        assert source.tell() == offset + 500_000
        a.shutdown(socket.SHUT_WR)
        assert await receiving == DATA[offset : offset + 500_000]


async def test_no_fallback_when_unwanted() -> None:
    loop = asyncio.get_running_loop()
    async with Sockets() as (a, _):
        with pytest.raises(asyncio.SendfileNotAvailableError):
            await loop.sock_sendfile(a, io.BytesIO(DATA), fallback=False)


async def test_sock_sendfile_of_an_empty_file(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    (tmp_path / "empty").touch()
    with (tmp_path / "empty").open("rb") as file:
        async with Sockets() as (a, _):
            assert await loop.sock_sendfile(a, file) == 0


async def test_a_cancelled_sock_sendfile(file: BinaryIO, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    with (tmp_path / "large").open("w+b") as large:
        large.truncate(50_000_000)
        async with Sockets() as (a, b):
            task = asyncio.create_task(loop.sock_sendfile(a, large))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert loop.remove_writer(a) is False
            assert await loop.sock_recv(b, 10)


async def test_a_peer_that_leaves(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    with (tmp_path / "large").open("w+b") as large:
        large.truncate(50_000_000)
        async with Sockets() as (a, b):
            task = asyncio.create_task(loop.sock_sendfile(a, large))
            await asyncio.sleep(0.005)
            b.close()
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                await task


# ---------------------------------------------------------------- of transports


@pytest.mark.parametrize(("offset", "count"), [(0, None), (1000, None), (0, 5), (1, 300_000)])
async def test_sendfile(file: BinaryIO, offset: int, count: int | None) -> None:
    loop = asyncio.get_running_loop()
    expected = DATA[offset:] if count is None else DATA[offset : offset + count]
    async with connected_pair(Recorder, Recorder) as (client, server):
        client.transport.write(b"<")
        assert await loop.sendfile(client.transport, file, offset, count) == len(expected)
        client.transport.write(b">")
        assert file.tell() == offset + len(expected)
        data = await server.received(len(expected) + 2)
        assert data == b"<" + expected + b">"


async def test_sendfile_waits_for_what_was_written(file: BinaryIO) -> None:
    loop = asyncio.get_running_loop()
    async with connected_pair(Recorder, Recorder) as (client, server):
        client.transport.write(bytes(5_000_000))
        assert await loop.sendfile(client.transport, file) == len(DATA)
        data = await server.received(5_000_000 + len(DATA))
        assert data[5_000_000:] == DATA


async def test_sendfile_of_no_real_file() -> None:
    loop = asyncio.get_running_loop()
    async with connected_pair(Recorder, Recorder) as (client, server):
        assert await loop.sendfile(client.transport, io.BytesIO(DATA), 7) == len(DATA) - 7
        assert await server.received(len(DATA) - 7) == DATA[7:]


async def test_the_peer_may_talk_meanwhile(file: BinaryIO) -> None:
    loop = asyncio.get_running_loop()
    async with connected_pair(Recorder, Recorder) as (client, server):
        server.transport.write(b"meanwhile")
        await loop.sendfile(client.transport, file)
        assert await client.received(9) == b"meanwhile"
        await server.received(len(DATA))


async def test_sendfile_over_tls(file: BinaryIO) -> None:
    loop = asyncio.get_running_loop()
    async with connected_pair(
        Recorder,
        Recorder,
        client_options={"ssl": tls.client_context()},
        server_options={"ssl": tls.server_context()},
    ) as (client, server):
        assert await loop.sendfile(client.transport, file) == len(DATA)
        assert await server.received(len(DATA)) == DATA
        with pytest.raises(RuntimeError, match="fallback"):
            await loop.sendfile(client.transport, file, fallback=False)


async def test_sendfile_to_a_closing_transport(file: BinaryIO) -> None:
    loop = asyncio.get_running_loop()
    async with connected_pair(Recorder, Recorder) as (client, _):
        client.transport.close()
        with pytest.raises(RuntimeError, match="closing"):
            await loop.sendfile(client.transport, file)


async def test_sendfile_when_the_peer_leaves(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    with (tmp_path / "large").open("w+b") as large:
        large.truncate(50_000_000)
        async with connected_pair(Recorder, Recorder) as (client, server):
            server.transport.pause_reading()
            task = asyncio.create_task(loop.sendfile(client.transport, large))
            await asyncio.sleep(0.01)
            server.transport.abort()
            with pytest.raises(ConnectionError):
                await task
