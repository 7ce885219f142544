"""AF_UNIX on Windows, on a Linux whose libc plays winsock: the same calls, the same sockaddr_un."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import functools
import os
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import evenloop
from evenloop.engines import unix_socket as module
from evenloop.engines.unix_socket import UnixSocket, address_of, path_of
from evenloop.net import unix

from tests.support.loops import run
from tests.support.tls import client_context, server_context

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="plays winsock with Linux's libc")

_INVALID = ctypes.c_void_p(-1).value
# What winsock says where Linux says something else.
_WINSOCK = {
    errno.EINPROGRESS: 10035,
    errno.EAGAIN: 10035,
    errno.EADDRINUSE: 10048,
    errno.ECONNREFUSED: 10061,
    errno.ENOTCONN: 10057,
}


class FakeWinsock:
    """The calls of ws2_32 that are made, by libc; and the documented differences."""

    def __init__(self) -> None:
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.error = 0
        self.called: list[str] = []
        #: WSASocketW fails with this, as a Windows before 10 1803 does with 10047.
        self.refuses = 0

    def _noted(self, name: str, result: int) -> int:
        self.called.append(name)
        if result == -1:
            self.error = ctypes.get_errno()
        return result

    def WSASocketW(  # noqa: N802
        self, family: int, kind: int, proto: int, info: Any, group: int, flags: int
    ) -> Any:
        assert (family, kind, proto, info, group, flags) == (1, 1, 0, None, 0, 0x81)
        if self.refuses:
            self.error = self.refuses
            return _INVALID
        return self._noted("WSASocketW", self.libc.socket(family, kind | os.O_CLOEXEC, proto))

    def bind(self, fd: int, address: Any, size: int) -> int:
        return self._noted("bind", self.libc.bind(fd, address, size))

    def connect(self, fd: int, address: Any, size: int) -> int:
        return self._noted("connect", self.libc.connect(fd, address, size))

    def accept(self, fd: int, address: Any, size: Any) -> Any:
        result = self._noted("accept", self.libc.accept(fd, address, size))
        return _INVALID if result == -1 else result

    def getsockname(self, fd: int, address: Any, size: Any) -> int:
        return self._noted("getsockname", self.libc.getsockname(fd, address, size))

    def getpeername(self, fd: int, address: Any, size: Any) -> int:
        return self._noted("getpeername", self.libc.getpeername(fd, address, size))

    def closesocket(self, fd: int) -> int:
        return self._noted("closesocket", self.libc.close(fd))

    def failure(self, code: int | None = None) -> OSError:
        number = self.error
        if code is not None:
            number = next((ours for ours, theirs in _WINSOCK.items() if theirs == code), code)
        error: Any = OSError(number, os.strerror(number))
        error.winerror = _WINSOCK.get(number, number)
        return error  # type: ignore[no-any-return]


@pytest.fixture
def winsock(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWinsock]:
    fake = FakeWinsock()
    monkeypatch.setattr(module, "_winsock", lambda: fake)
    monkeypatch.setattr(module, "_failure", fake.failure)
    monkeypatch.setattr(module, "_ON_WINDOWS", True)
    monkeypatch.setattr(unix, "is_socket_file", lambda path: Path(os.fsdecode(path)).is_socket())
    # Engines wake themselves through a pair of sockets, which Windows has without AF_UNIX.
    pair = functools.partial(socket.socketpair, socket.AF_UNIX)
    monkeypatch.setattr(socket, "socketpair", pair)
    monkeypatch.delattr(socket, "AF_UNIX")
    # Linux calls a family that its Python does know by name.
    monkeypatch.setattr(UnixSocket, "family", property(lambda self: 1), raising=False)
    yield fake


def test_an_address_is_the_family_and_a_path_that_ends_with_a_null() -> None:
    address, size = address_of("/tmp/ä")
    assert (address.family, size) == (1, 2 + len("/tmp/ä".encode()) + 1)
    assert bytes(address)[: size + 1] == b"\1\0/tmp/\xc3\xa4\0\0"
    assert path_of(address, size) == "/tmp/ä"
    # Windows answers with the whole structure.
    assert path_of(address, ctypes.sizeof(address)) == "/tmp/ä"
    assert path_of(address, 2) == ""
    assert address_of(b"C:\\run\\s")[0].path == b"C:\\run\\s"


def test_a_path_that_does_not_fit() -> None:
    assert address_of("x" * 107)[1] == 110
    with pytest.raises(OSError, match="too long") as caught:
        address_of("x" * 108)
    assert caught.value.errno == errno.ENAMETOOLONG


def test_a_windows_without_af_unix_says_so(winsock: FakeWinsock) -> None:
    winsock.refuses = 10047

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(OSError, match="1803"):
            await loop.create_unix_server(asyncio.Protocol, "s")
        with pytest.raises(OSError, match="1803"):
            await evenloop.open_unix_connection("s")
        assert winsock.called == []

    run(evenloop.new_event_loop, main())


def test_names(winsock: FakeWinsock, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with evenloop.unix_socket() as server, evenloop.unix_socket() as client:
        assert type(server) is UnixSocket
        assert server.getsockname() == ""
        server.bind(tmp_path / "s")
        server.listen()
        assert server.getsockname() == path
        assert not server.get_inheritable()
        client.connect(path)
        accepted, peer = server.accept()
        with accepted:
            assert peer == ""
            assert (client.getsockname(), client.getpeername()) == ("", path)
            assert (accepted.getsockname(), accepted.getpeername()) == (path, "")
            assert not accepted.get_inheritable()
            client.sendall(b"hello")
            assert accepted.recv(9) == b"hello"
            with accepted.dup() as again:
                assert again.getsockname() == path
                assert not again.get_inheritable()
    assert {"bind", "connect", "accept", "getsockname", "getpeername"} <= set(winsock.called)


def test_waiting_without_blocking_and_with_a_timeout(winsock: FakeWinsock, tmp_path: Path) -> None:
    with evenloop.unix_socket() as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        server.settimeout(0.02)
        with pytest.raises(TimeoutError):
            server.accept()
        server.setblocking(False)
        with pytest.raises(OSError) as caught:
            server.accept()
        assert getattr(caught.value, "winerror", None) == 10035
    with evenloop.unix_socket() as client:
        with pytest.raises(OSError) as caught:
            client.connect(str(tmp_path / "s"))
        assert caught.value.errno == errno.ECONNREFUSED
        assert client.connect_ex(str(tmp_path / "s")) == 10061


def test_streams_both_ways(winsock: FakeWinsock, tmp_path: Path) -> None:
    """Server, client, TLS-less, through the loop's own methods; names as on POSIX."""
    path = tmp_path / "s"
    names: list[Any] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        names.append((writer.get_extra_info("sockname"), writer.get_extra_info("peername")))
        while line := await reader.readline():
            writer.write(line.upper())
        writer.close()

    async def main() -> None:
        async with await evenloop.start_unix_server(serve, path) as server:
            assert server.sockets[0].getsockname() == str(path)
            clients = await asyncio.gather(
                *[evenloop.open_unix_connection(bytes(path)) for _ in range(50)]
            )
            for number, (reader, writer) in enumerate(clients):
                writer.write(b"line %d\n" % number)
                assert await reader.readline() == b"LINE %d\n" % number
                assert writer.get_extra_info("peername") == str(path)
                assert writer.get_extra_info("sockname") == ""
                writer.close()
                await writer.wait_closed()
        assert names == [(str(path), "")] * 50

    run(evenloop.new_event_loop, main())


def test_tls(winsock: FakeWinsock, tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        path = str(tmp_path / "s")
        async with await evenloop.start_unix_server(serve, path, ssl=server_context()):
            reader, writer = await evenloop.open_unix_connection(
                path, ssl=client_context(), server_hostname="localhost"
            )
            assert isinstance(writer.get_extra_info("ssl_object"), ssl.SSLObject)
            writer.write(b"secret\n")
            assert await reader.read() == b"SECRET\n"
            writer.close()
            await writer.wait_closed()

    run(evenloop.new_event_loop, main())


def test_sock_methods(winsock: FakeWinsock, tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with evenloop.unix_socket() as server, evenloop.unix_socket() as client:
            server.bind(str(tmp_path / "s"))
            server.listen()
            server.setblocking(False)
            client.setblocking(False)
            accepting = loop.create_task(loop.sock_accept(server))
            await loop.sock_connect(client, str(tmp_path / "s"))
            connection, peer = await accepting
            with connection:
                assert peer == ""
                await loop.sock_sendall(client, b"data")
                assert await loop.sock_recv(connection, 9) == b"data"

    run(evenloop.new_event_loop, main())


def test_a_stale_file_is_replaced_and_a_live_one_is_not_removed(
    winsock: FakeWinsock, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    with evenloop.unix_socket() as stale:
        stale.bind(str(path))
    assert path.is_socket()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(asyncio.Protocol, path, cleanup_socket=True)  # type: ignore[call-arg]
        other = await loop.create_unix_server(asyncio.Protocol, path, cleanup_socket=True)  # type: ignore[call-arg]
        server.close()
        # The second one has taken the path over: it is not the first one's to remove.
        assert path.is_socket()
        other.close()
        assert not path.exists()

    run(evenloop.new_event_loop, main())


def test_a_socket_file_is_known_by_its_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    """What os.lstat() tells on Windows: a reparse point, with the tag of winnt.h."""
    tags = {"s": 0x80000023, "link": 0xA000000C, "plain": 0}

    def lstat(path: str) -> Any:
        if path not in tags:
            raise FileNotFoundError(path)
        return type("Stat", (), {"st_reparse_tag": tags[path], "st_ino": 1})()

    monkeypatch.setattr(module, "_ON_WINDOWS", True)
    monkeypatch.setattr(module.os, "lstat", lstat)
    assert [module.is_socket_file(path) for path in tags] == [True, False, False]
    with pytest.raises(FileNotFoundError):
        module.is_socket_file("gone")


def test_an_interrupted_wrap_closes_the_handle(
    winsock: FakeWinsock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(module, "UnixSocket", fail)
    with pytest.raises(MemoryError):
        evenloop.unix_socket()
    assert winsock.called == ["WSASocketW", "closesocket"]


def test_connecting_in_another_thread_while_blocking(winsock: FakeWinsock, tmp_path: Path) -> None:
    """A blocking socket works as Python's own do."""
    path = str(tmp_path / "s")
    with evenloop.unix_socket() as server, evenloop.unix_socket() as client:
        server.bind(path)
        server.listen()
        thread = threading.Thread(target=client.connect, args=(path,))
        thread.start()
        connection, _ = server.accept()
        thread.join()
        assert connection.gettimeout() is None
        connection.close()
