"""Servers when something is wrong, and what else stock asyncio does not share."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
import socket
from asyncio.trsock import TransportSocket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

import evenloop
from evenloop.net import listen

from tests.support.loops import run, until


def play(main: Coroutine[Any, Any, None]) -> None:
    run(evenloop.new_event_loop, main)


class Kept(asyncio.Protocol):
    """Keeps its transport and what happened."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


class Made(list[Kept]):
    """A protocol factory that keeps what it made."""

    def __call__(self) -> Kept:
        self.append(Kept())
        return self[-1]


class Faulty(socket.socket):
    """A listening socket that fails to accept as often as it is told to."""

    errors: list[int]

    def accept(self) -> Any:
        if self.errors:
            code = self.errors.pop(0)
            raise OSError(code, os.strerror(code))
        return super().accept()


def faulty(*errors: int) -> Faulty:
    sock = Faulty(socket.AF_INET, socket.SOCK_STREAM)
    sock.errors = list(errors)
    sock.bind(("127.0.0.1", 0))
    return sock


def reports_of(loop: asyncio.AbstractEventLoop) -> list[dict[str, Any]]:
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reports.append(context))
    return reports


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_a_resource_runs_out(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "RETRY_DELAY", 0.1)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reports = reports_of(loop)
        made = Made()
        sock = faulty(code)
        async with await loop.create_server(made, sock=sock):
            started = loop.time()
            _, writer = await asyncio.open_connection(*sock.getsockname())
            await until(lambda: reports)
            (report,) = reports
            assert report["message"] == "socket.accept() out of system resource"
            assert report["exception"].errno == code
            assert isinstance(report["socket"], TransportSocket)
            await until(lambda: made)
            assert loop.time() - started >= 0.1
            writer.close()
            await until(lambda: made[0].lost)
        assert len(reports) == 1

    play(main())


def test_closed_while_it_rests() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reports = reports_of(loop)
        sock = faulty(errno.EMFILE)
        server = await loop.create_server(Kept, sock=sock)
        _, writer = await asyncio.open_connection(*sock.getsockname())
        await until(lambda: reports)
        server.close()
        await server.wait_closed()
        writer.close()

    play(main())


def test_a_connection_that_is_gone_before_it_is_accepted() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reports = reports_of(loop)
        made = Made()
        sock = faulty(errno.ECONNABORTED, errno.EPROTO)
        async with await loop.create_server(made, sock=sock):
            _, writer = await asyncio.open_connection(*sock.getsockname())
            await until(lambda: made)
            writer.close()
            await until(lambda: made[0].lost)
        assert not reports

    play(main())


def test_a_listening_socket_that_its_owner_closed() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reports = reports_of(loop)
        sock = socket.create_server(("127.0.0.1", 0))
        server = await loop.create_server(Kept, sock=sock)
        sock.close()
        # The number comes back as something else, which must not suffer.
        left, right = socket.socketpair()
        transport, protocol = await loop.create_connection(Kept, sock=left)
        await until(lambda: reports)
        (report,) = reports
        assert report["message"] == "a server's listening socket was closed by someone else"
        server.close()
        await server.wait_closed()
        right.close()
        await until(lambda: protocol.lost)
        assert transport.is_closing()

    play(main())


def test_a_protocol_factory_that_raises_is_told_and_survived() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reports = reports_of(loop)
        made = Made()

        def factory() -> Kept:
            if not reports:
                raise ZeroDivisionError("factory")
            return made()

        async with await loop.create_server(factory, "127.0.0.1", 0) as server:
            address = server.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(*address)
            assert await reader.read() == b""
            writer.close()
            (report,) = reports
            assert "transport creation" in report["message"]
            assert isinstance(report["exception"], ZeroDivisionError)
            _, writer = await asyncio.open_connection(*address)
            await until(lambda: made)
            writer.close()
            await until(lambda: made[0].lost)

    play(main())


def test_protocols_run_in_a_copy_of_the_servers_context() -> None:
    name = contextvars.ContextVar("name", default="none")
    seen: list[tuple[str, str]] = []

    class Protocol(asyncio.Protocol):
        def __init__(self) -> None:
            seen.append(("factory", name.get()))
            name.set("changed by the factory")

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            seen.append(("made", name.get()))
            name.set("changed when made")

        def connection_lost(self, exc: Exception | None) -> None:
            seen.append(("lost", name.get()))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        name.set("server")
        server = await loop.create_server(Protocol, "127.0.0.1", 0, start_serving=False)
        name.set("later")
        await server.start_serving()
        async with server:
            for _ in range(2):
                _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.close()
                await writer.wait_closed()
            await until(lambda: len(seen) == 6)
        assert name.get() == "later"

    play(main())
    once = [
        ("factory", "server"),
        ("made", "changed by the factory"),
        ("lost", "changed when made"),
    ]
    assert sorted(seen) == sorted(once + once)


def test_a_server_is_asyncios() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Kept, "127.0.0.1", 0)
        assert isinstance(server, asyncio.Server)
        assert isinstance(server, asyncio.AbstractServer)
        assert server.get_loop() is loop
        assert "sockets=(<asyncio.TransportSocket" in repr(server)
        server.close()
        server.close()
        assert server.sockets == ()
        await server.wait_closed()
        with pytest.raises(RuntimeError, match="is closed"):
            await server.start_serving()

    play(main())


def test_a_full_backlog_of_a_unix_server_is_waited_for(tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        path = str(tmp_path / "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(0)
            fillers = []
            while True:
                sock = socket.socket(socket.AF_UNIX)
                sock.setblocking(False)
                fillers.append(sock)
                try:
                    sock.connect(path)
                except BlockingIOError:
                    break
            task = asyncio.create_task(loop.create_unix_connection(Kept, path))
            await asyncio.sleep(0.05)
            assert not task.done()
            for _ in fillers:
                listener.settimeout(5)
                listener.accept()[0].close()
                if len(fillers) > 1:
                    fillers.pop().close()
            transport, _ = await task
            assert transport.get_extra_info("peername") == path
            transport.close()
            for sock in fillers:
                sock.close()

    play(main())


def test_reuse_port_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT", raising=False)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(ValueError, match="reuse_port not supported"):
            await loop.create_server(Kept, "127.0.0.1", 0, reuse_port=True)
        with pytest.raises(ValueError, match="reuse_port not supported"):
            await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0), reuse_port=True
            )

    play(main())
