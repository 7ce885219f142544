"""Datagrams and files when something goes wrong on the way."""

from __future__ import annotations

import asyncio
import os
import socket
import weakref
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

import evenloop

from tests.support.loops import run, until


def play(main: Coroutine[Any, Any, None]) -> None:
    run(evenloop.new_event_loop, main)


class Datagrams(asyncio.DatagramProtocol):
    """Keeps everything."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.received: list[bytes] = []
        self.errors: list[Exception] = []
        self.lost: list[Exception | None] = []
        self.paused: list[bool] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.append(data)

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)

    def pause_writing(self) -> None:
        self.paused.append(True)

    def resume_writing(self) -> None:
        self.paused.append(False)


async def pair() -> tuple[Datagrams, Datagrams]:
    """Two connected AF_UNIX endpoints: a full one makes the other wait."""
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    _, one = await loop.create_datagram_endpoint(Datagrams, sock=left)
    _, other = await loop.create_datagram_endpoint(Datagrams, sock=right)
    return one, other


def test_what_waits_counts_with_its_header() -> None:
    async def main() -> None:
        one, other = await pair()
        count = 0
        while not one.transport.get_write_buffer_size():
            one.transport.sendto(b"")
            count += 1
        assert one.transport.get_write_buffer_size() == 8
        one.transport.set_write_buffer_limits(high=100)
        one.transport.sendto(b"x" * 84)
        assert one.transport.get_write_buffer_size() == 100
        assert one.paused == []
        one.transport.sendto(b"")
        assert one.paused == [True]
        await until(lambda: len(other.received) == count + 2)
        assert other.received == [b""] * count + [b"x" * 84, b""]
        assert one.paused == [True, False]
        assert one.transport.get_write_buffer_size() == 0
        one.transport.close()
        other.transport.close()
        await until(lambda: one.lost and other.lost)

    play(main())


def test_what_is_queued_does_not_change_any_more() -> None:
    async def main() -> None:
        one, other = await pair()
        while not one.transport.get_write_buffer_size():
            one.transport.sendto(b"x" * 1000)
        queued = bytearray(b"before")
        one.transport.sendto(queued)
        queued[:] = b"after!"
        one.transport.close()
        await until(lambda: one.lost)
        await until(lambda: other.received[-1:] == [b"before"])
        other.transport.close()
        await until(lambda: other.lost)

    play(main())


def test_an_address_that_is_none_ends_the_endpoint() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reports: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: reports.append(context))
        _, one = await loop.create_datagram_endpoint(Datagrams, ("127.0.0.1", 0))
        one.transport.sendto(b"x", "not an address")
        await until(lambda: one.lost)
        assert isinstance(one.lost[0], TypeError)
        (report,) = reports
        assert report["message"] == "Fatal write error on datagram transport"

    play(main())


@pytest.mark.parametrize("where", ["error_received", "datagram_received"])
def test_a_callback_that_raises_is_reported(where: str) -> None:
    class Clumsy(Datagrams):
        def error_received(self, exc: Exception) -> None:
            raise ZeroDivisionError("error_received")

        def datagram_received(self, data: bytes, addr: Any) -> None:
            raise ZeroDivisionError("datagram_received")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reports: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: reports.append(context))
        transport, clumsy = await loop.create_datagram_endpoint(Clumsy, ("127.0.0.1", 0))
        data = b"x" * (70000 if where == "error_received" else 10)
        transport.sendto(data, transport.get_extra_info("sockname"))
        await until(lambda: reports)
        assert reports[0]["message"] == f"Exception in callback protocol.{where}()"
        assert str(reports[0]["exception"]) == where
        assert not transport.is_closing()
        transport.close()
        await until(lambda: clumsy.lost)

    play(main())


def test_a_closed_transport_is_freed_at_once() -> None:
    async def main() -> None:
        one, other = await pair()
        one.transport.sendto(b"x")
        one.transport.close()
        other.transport.close()
        await until(lambda: one.lost and other.lost)
        await asyncio.sleep(0)
        gone = weakref.ref(one.transport)
        one.transport = None
        assert gone() is None

    play(main())


def test_a_datagram_transport_looks_like_asyncios() -> None:
    async def main() -> None:
        one, other = await pair()
        assert isinstance(one.transport, asyncio.DatagramTransport)
        assert isinstance(one.transport, asyncio.BaseTransport)
        assert "DatagramTransport fd=" in repr(one.transport)
        one.transport.close()
        assert "closing" in repr(one.transport)
        other.transport.abort()
        await until(lambda: one.lost and other.lost)
        assert "closed" in repr(one.transport)
        one.transport.sendto(b"too late")

    play(main())


def test_an_abandoned_endpoint_complains() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(Datagrams, ("127.0.0.1", 0))
        with pytest.warns(ResourceWarning, match="unclosed transport <DatagramTransport"):
            transport.__del__()
        transport.abort()
        await until(lambda: protocol.lost)

    play(main())


# ---- files ---------------------------------------------------------------------------------


class Peer(asyncio.Protocol):
    """A server's side that reads nothing until it is told to."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.data = bytearray()
        self.lost: list[Exception | None] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


SIZE = 8 * 1024 * 1024


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(SIZE))
    return file


async def connect(server: Any) -> tuple[Any, Any]:
    loop = asyncio.get_running_loop()
    return await loop.create_connection(Peer, *server.sockets[0].getsockname())


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("what", ["abort", "peer", "cancel"])
def test_a_sending_that_is_cut_short(path: Path, native: bool, what: str) -> None:
    peers: list[Peer] = []

    def factory() -> Peer:
        peers.append(Peer())
        return peers[-1]

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        if not native:

            async def refuse(*args: Any) -> int:
                raise asyncio.SendfileNotAvailableError

            loop._sendfile_native = refuse
        async with await loop.create_server(factory, "127.0.0.1", 0) as server:
            transport, protocol = await connect(server)
            with path.open("rb") as file:
                task = asyncio.create_task(loop.sendfile(transport, file))
                await asyncio.sleep(0.1)
                assert not task.done()
                expected: type[BaseException] = ConnectionError
                if what == "abort":
                    transport.abort()
                elif what == "peer":
                    peers[0].transport.abort()
                else:
                    task.cancel()
                    expected = asyncio.CancelledError
                with pytest.raises(expected):
                    await task
                assert 0 < file.tell() < SIZE
            assert transport.get_protocol() in (protocol, None)
            transport.abort()
            peers[0].transport.abort()
            await until(lambda: protocol.lost and peers[0].lost)

    play(main())


def test_a_transport_goes_on_after_a_file(path: Path) -> None:
    peers: list[Peer] = []

    def factory() -> Peer:
        peers.append(Peer())
        return peers[-1]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with await loop.create_server(factory, "127.0.0.1", 0) as server:
            transport, protocol = await connect(server)
            transport.write(b"head")
            with path.open("rb") as file:
                file.read(10)  # leaves something in the file's own buffer
                task = asyncio.create_task(loop.sendfile(transport, file, 1, 1000))
                await asyncio.sleep(0.01)
                assert await task == 1000
                assert file.tell() == 1001
                assert file.read(1) == path.read_bytes()[1001:1002]
                peers[0].transport.resume_reading()
                task = asyncio.create_task(loop.sendfile(transport, file))
                await asyncio.sleep(0)
                with pytest.raises(RuntimeError, match="sendfile is in progress"):
                    transport.write(b"between")
                transport.close()  # takes effect after the file
                assert await task == SIZE
            await until(lambda: protocol.lost and peers[0].lost)
            content = path.read_bytes()
            assert bytes(peers[0].data) == b"head" + content[1:1001] + content

    play(main())


class Other(asyncio.Transport):
    """A transport of somebody else's."""

    def is_closing(self) -> bool:
        return False


class Encrypted(Other):
    """One that says it needs the fallback, as those with TLS do."""

    _sendfile_compatible = asyncio.constants._SendfileMode.FALLBACK  # type: ignore[attr-defined]


def test_transports_that_the_system_cannot_send_to(path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with path.open("rb") as file:
            with pytest.raises(asyncio.SendfileNotAvailableError, match="fallback is disabled"):
                await loop.sendfile(Encrypted(), file, fallback=False)
            with pytest.raises(RuntimeError, match="not supported"):
                await loop.sendfile(Other(), file)

    play(main())


def test_a_file_without_readinto(tmp_path: Path) -> None:
    class Reader:
        """A file that can only be read."""

        def __init__(self) -> None:
            self.parts = [b"abc", b"def", b""]

        def read(self, size: int) -> bytes:
            return self.parts.pop(0)

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            assert await loop.sock_sendfile(left, Reader()) == 6
            assert right.recv(100) == b"abcdef"

    play(main())
