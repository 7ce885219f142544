"""UNIX sockets: paths of every kind, abstract names, stale files and clean-up."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.protocols import Echo, Recorder

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no AF_UNIX here")

LINUX = sys.platform == "linux"
#: Since 3.13 a server removes its socket file when it is closed.
CLEANS_UP = sys.version_info >= (3, 13)


async def _talk(address: Any) -> Recorder:
    loop = asyncio.get_running_loop()
    _, client = await loop.create_unix_connection(Recorder, address)
    client.transport.write(b"hello")
    assert await client.received(5) == b"hello"
    return client


async def _finish(server: asyncio.Server, *clients: Recorder) -> None:
    for client in clients:
        client.transport.close()
        await client.closed
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
async def test_paths_of_every_kind(tmp_path: Path, kind: Any) -> None:
    loop = asyncio.get_running_loop()
    address = kind(str(tmp_path / "socket"))
    server = await loop.create_unix_server(Echo, address)
    assert isinstance(server, asyncio.Server)
    assert stat.S_ISSOCK(os.stat(tmp_path / "socket").st_mode)
    assert server.sockets[0].family == socket.AF_UNIX
    assert server.sockets[0].getsockname() == str(tmp_path / "socket")
    client = await _talk(address)
    assert isinstance(client.transport, asyncio.Transport)
    assert client.transport.get_extra_info("peername") == str(tmp_path / "socket")
    assert client.transport.get_extra_info("sockname") == ""
    await _finish(server, client)


@pytest.mark.skipif(not LINUX, reason="abstract names are Linux's")
@pytest.mark.parametrize("kind", ["str", "bytes"])
async def test_abstract_names(kind: str) -> None:
    loop = asyncio.get_running_loop()
    name = f"\0evenloop-test-{os.getpid()}"
    address = name if kind == "str" else name.encode()
    server = await loop.create_unix_server(Echo, address)  # type: ignore[arg-type]
    client = await _talk(address)
    assert client.transport.get_extra_info("peername") == name.encode()
    await _finish(server, client)


async def test_a_stale_file_is_replaced(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    assert path.exists()
    server = await loop.create_unix_server(Echo, path)
    await _finish(server, await _talk(path))


async def test_a_file_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(OSError, match="file") as caught:
        await loop.create_unix_server(Echo, path)
    assert caught.value.errno == errno.EADDRINUSE
    assert path.read_text() == "precious"


async def test_a_path_that_leads_nowhere(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(FileNotFoundError):
        await loop.create_unix_server(Echo, tmp_path / "none" / "socket")
    with pytest.raises(FileNotFoundError):
        await loop.create_unix_connection(Recorder, str(tmp_path / "none"))


async def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    path = str(tmp_path / ("x" * 200))
    with pytest.raises(OSError, match="too long"):
        await loop.create_unix_server(Echo, path)
    with pytest.raises(OSError, match="too long"):
        await loop.create_unix_connection(Recorder, path)


async def test_nobody_listens(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(path)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.get_running_loop().create_unix_connection(Recorder, path)


async def test_given_sockets(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    path = str(tmp_path / "socket")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    server = await loop.create_unix_server(Echo, sock=listening)
    connecting = socket.socket(socket.AF_UNIX)
    connecting.connect(path)
    _, client = await loop.create_unix_connection(Recorder, sock=connecting)
    client.transport.write(b"x")
    await client.received(1)
    await _finish(server, client)
    assert listening.fileno() == -1
    assert connecting.fileno() == -1


async def test_start_serving_later(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    path = str(tmp_path / "socket")
    server = await loop.create_unix_server(Echo, path, start_serving=False, backlog=3)
    assert not server.is_serving()
    with pytest.raises(ConnectionRefusedError):
        await loop.create_unix_connection(Recorder, path)
    async with server:
        await server.start_serving()
        client = await _talk(path)
        client.transport.close()
        await client.closed


@pytest.mark.skipif(not CLEANS_UP, reason="socket files stay before 3.13")
async def test_the_file_goes_with_its_server(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    path = tmp_path / "socket"
    await _finish(await loop.create_unix_server(Echo, path))
    assert not path.exists()
    await _finish(
        await loop.create_unix_server(Echo, path, cleanup_socket=False)  # type: ignore[call-arg]
    )
    assert path.exists()


@pytest.mark.skipif(not CLEANS_UP, reason="socket files stay before 3.13")
async def test_a_successor_keeps_its_file(tmp_path: Path) -> None:
    """Only the file that the server made is removed, not one that took its place."""
    loop = asyncio.get_running_loop()
    path = tmp_path / "socket"
    first = await loop.create_unix_server(Echo, path)
    second = await loop.create_unix_server(Echo, path)
    await _finish(first)
    assert path.exists()
    await _finish(second, await _talk(path))
    assert not path.exists()


@pytest.mark.skipif(not CLEANS_UP, reason="socket files stay before 3.13")
async def test_a_file_that_is_gone_already(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = await asyncio.get_running_loop().create_unix_server(Echo, path)
    path.unlink()
    await _finish(server)


async def test_streams_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"<" + await reader.readline() + b">")
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"line\n")
        assert await reader.read() == b"<line\n>"
        writer.close()
        await writer.wait_closed()


async def test_accepted_unix_sockets() -> None:
    loop = asyncio.get_running_loop()
    a, b = socket.socketpair(socket.AF_UNIX)
    transport, protocol = await loop.connect_accepted_socket(Recorder, a)
    b.send(b"data")
    assert await protocol.received(4) == b"data"
    b.close()
    assert await protocol.closed is None
    assert transport.is_closing()
