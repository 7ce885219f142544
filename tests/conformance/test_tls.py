"""TLS: connections, servers, start_tls, and closes that end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support import tls
from tests.support.loops import TrackedFactory, turns, until
from tests.support.protocols import BufferedRecorder, Echo, Recorder

HOST = "127.0.0.1"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
Address = tuple[str, int]


@contextlib.asynccontextmanager
async def serving(factory: Any = Echo, **options: Any) -> AsyncIterator[tuple[Address, list[Any]]]:
    """A TLS server; gives its address and the protocols it makes."""
    made: list[Any] = []

    def make() -> Any:
        made.append(factory())
        return made[-1]

    options.setdefault("ssl", tls.server_context())
    server = await asyncio.get_running_loop().create_server(make, HOST, 0, **options)
    try:
        yield server.sockets[0].getsockname(), made
    finally:
        server.close()
        for protocol in made:
            if protocol.transport is not None:
                if not protocol.closed.done():
                    protocol.transport.abort()
                await protocol.closed
        await server.wait_closed()


async def _connect(address: Address, **options: Any) -> Any:
    options.setdefault("ssl", tls.client_context())
    _, protocol = await asyncio.get_running_loop().create_connection(
        options.pop("factory", Recorder), *address, **options
    )
    return protocol


@contextlib.contextmanager
def silent_server() -> Any:
    """Accepts connections in the kernel and never says a word."""
    with socket.create_server((HOST, 0)) as listener:
        yield listener.getsockname()


@pytest.mark.parametrize("version", VERSIONS)
async def test_talk(version: ssl.TLSVersion) -> None:
    async with serving(ssl=tls.server_context(version)) as (address, made):
        client = await _connect(address)
        assert isinstance(client.transport, asyncio.Transport)
        client.transport.write(b"secret")
        assert await client.received(6) == b"secret"
        info = client.transport.get_extra_info
        assert isinstance(info("ssl_object"), (ssl.SSLObject, ssl.SSLSocket))
        assert info("ssl_object").version() == version.name.replace("_", ".")
        assert isinstance(info("sslcontext"), ssl.SSLContext)
        assert info("cipher")[0]
        assert info("compression") is None
        assert info("peercert")["subjectAltName"]
        assert info("peername") == address
        assert info("sockname")[0] == HOST
        assert info("socket").fileno() > 0
        assert info("nothing", 1) == 1
        assert made[0].transport.get_extra_info("sslcontext") is not None
        client.transport.close()
        assert await client.closed is None
        assert await made[0].closed is None


@pytest.mark.parametrize("size", [1, 16_384, 100_000, 3_000_000])
async def test_bytes_arrive_whole(size: int) -> None:
    data = os.urandom(size)
    async with serving() as (address, _):
        client = await _connect(address)
        client.transport.write(data)
        assert await client.received(size) == data
        client.transport.abort()
        await client.closed


async def test_writelines_and_views() -> None:
    async with serving() as (address, _):
        client = await _connect(address)
        client.transport.writelines([b"a", bytearray(b"b"), memoryview(b"cde")[:2], b""])
        client.transport.write(memoryview(b"xyz"))
        assert await client.received(7) == b"abcdxyz"
        client.transport.abort()
        await client.closed


async def test_buffered_protocols(new_loop: TrackedFactory) -> None:
    class WithView(BufferedRecorder):
        """Stock asyncio reads into a copy when the buffer is a bytearray."""

        def get_buffer(self, sizehint: int) -> Any:
            return memoryview(super().get_buffer(sizehint))

    factory = WithView if new_loop.is_stock else BufferedRecorder
    data = os.urandom(100_000)
    async with serving() as (address, _):
        client = await _connect(address, factory=factory)
        client.transport.write(data)
        assert await client.received(len(data)) == data
        client.transport.close()
        await client.closed


async def test_server_hostname() -> None:
    async with serving() as (address, _):
        good = await _connect(address, server_hostname="localhost")
        good.transport.abort()
        await good.closed
        with pytest.raises(ssl.SSLCertVerificationError, match=r"wrong\.example"):
            await _connect(address, server_hostname="wrong.example")
        unchecked = tls.client_context()
        unchecked.check_hostname = False
        lax = await _connect(address, ssl=unchecked, server_hostname="")
        lax.transport.abort()
        await lax.closed


async def test_ssl_true_is_the_default_context() -> None:
    async with serving() as (address, _):
        with pytest.raises(ssl.SSLCertVerificationError):
            await _connect(address, ssl=True)


async def test_a_distrustful_client() -> None:
    """The client raises, the server lives on, and no protocol hears of it."""
    async with serving() as (address, made):
        with pytest.raises(ssl.SSLCertVerificationError):
            await _connect(address, ssl=tls.distrustful_context())
        await asyncio.sleep(0.005)
        assert all(protocol.events == [] for protocol in made)
        client = await _connect(address)
        client.transport.write(b"x")
        await client.received(1)
        client.transport.abort()
        await client.closed


async def test_a_client_that_speaks_no_tls() -> None:
    loop = asyncio.get_running_loop()
    async with serving() as (address, made):
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
            await loop.sock_sendall(sock, b"GET / HTTP/1.0\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                while await loop.sock_recv(sock, 1000):
                    pass
        client = await _connect(address)
        client.transport.abort()
        await client.closed
        assert made[0].events == []


async def test_a_server_that_speaks_no_tls() -> None:
    async with serving(ssl=None) as (address, _):
        with pytest.raises(ssl.SSLError):
            await _connect(address)


async def test_a_peer_that_leaves_in_the_handshake() -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server((HOST, 0)) as listener:
        listener.setblocking(False)
        task = asyncio.create_task(_connect(listener.getsockname()))
        sock, _ = await loop.sock_accept(listener)
        await loop.sock_recv(sock, 1)
        sock.close()
        with pytest.raises((ConnectionResetError, ConnectionAbortedError, ssl.SSLError)):
            await task


async def test_a_handshake_takes_too_long() -> None:
    loop = asyncio.get_running_loop()
    with silent_server() as address:
        begin = loop.time()
        with pytest.raises(ConnectionAbortedError, match="handshake"):
            await _connect(address, ssl_handshake_timeout=0.02)
        assert 0.02 <= loop.time() - begin < 2


async def test_a_handshake_is_cancelled() -> None:
    with silent_server() as address:
        task = asyncio.create_task(_connect(address))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await turns(5)


async def test_the_server_drops_those_who_never_shake_hands() -> None:
    loop = asyncio.get_running_loop()
    async with serving(ssl_handshake_timeout=0.02) as (address, made):
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
            assert await loop.sock_recv(sock, 10) == b""
        await until(lambda: made)
        assert made[0].events == []


async def test_close_ends_although_the_peer_is_silent() -> None:
    """close() waits for the peer's farewell no longer than ssl_shutdown_timeout."""
    loop = asyncio.get_running_loop()
    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(5)

        def shake_hands() -> ssl.SSLSocket:
            sock, _ = listener.accept()
            return tls.server_context().wrap_socket(sock, server_side=True)

        waiting = loop.run_in_executor(None, shake_hands)
        client = await _connect(listener.getsockname(), ssl_shutdown_timeout=0.03)
        peer = await waiting
        begin = loop.time()
        client.transport.close()
        await client.closed
        assert loop.time() - begin < 2
        assert client.events == ["made", "lost"]
        peer.close()


async def test_abort_ends_at_once() -> None:
    async with serving(Recorder) as (address, made):
        client = await _connect(address)
        client.transport.write(bytes(1_000_000))
        client.transport.abort()
        await client.closed
        await until(lambda: made[0].closed.done())


async def test_close_flushes_first() -> None:
    data = os.urandom(2_000_000)
    async with serving(Recorder) as (address, made):
        client = await _connect(address)
        client.transport.write(data)
        client.transport.close()
        assert client.transport.is_closing()
        assert await client.closed is None
        await made[0].closed
        assert made[0].data == data


async def test_no_half_close() -> None:
    async with serving(Recorder) as (address, _):
        client = await _connect(address)
        assert client.transport.can_write_eof() is False
        with pytest.raises(NotImplementedError):
            client.transport.write_eof()
        client.transport.abort()
        await client.closed


async def test_the_farewell_of_the_peer_is_an_end() -> None:
    async with serving(Recorder) as (address, made):
        client = await _connect(address)
        await until(lambda: made and made[0].transport)
        made[0].transport.write(b"bye")
        made[0].transport.close()
        assert await client.closed is None
        assert client.data == b"bye"
        assert client.events == ["made", "data", "eof", "lost"]


async def test_flow_control() -> None:
    async with serving(Recorder) as (address, made):
        client = await _connect(address)
        await until(lambda: made and made[0].transport)
        made[0].transport.pause_reading()
        assert not made[0].transport.is_reading()
        assert client.transport.is_reading()
        client.transport.set_write_buffer_limits(high=50_000)
        assert client.transport.get_write_buffer_limits()[1] == 50_000
        total = 0
        while not client.paused:
            client.transport.write(bytes(200_000))
            total += 200_000
            await asyncio.sleep(0)
            assert total < 100_000_000
        assert client.transport.get_write_buffer_size() > 0
        made[0].transport.resume_reading()
        await made[0].received(total)
        await until(lambda: not client.paused)
        client.transport.close()
        await client.closed


async def test_set_protocol() -> None:
    async with serving() as (address, _):
        client = await _connect(address)
        second = Recorder()
        second.events.append("set")
        second.transport = client.transport
        client.transport.set_protocol(second)
        assert client.transport.get_protocol() is second
        second.transport.write(b"x")
        await second.received(1)
        second.transport.close()
        await second.closed


async def test_connect_accepted_socket() -> None:
    """The caller gets its own protocol, not the machinery of TLS."""
    loop = asyncio.get_running_loop()
    with socket.create_server((HOST, 0)) as listener:
        listener.setblocking(False)
        connecting = asyncio.create_task(_connect(listener.getsockname()))
        sock, _ = await loop.sock_accept(listener)
        transport, protocol = await loop.connect_accepted_socket(
            Echo, sock, ssl=tls.server_context(), ssl_handshake_timeout=5, ssl_shutdown_timeout=5
        )
        assert isinstance(protocol, Echo)
        assert transport.get_protocol() is protocol
        assert transport.get_extra_info("ssl_object") is not None
        client = await connecting
        client.transport.write(b"echo")
        assert await client.received(4) == b"echo"
        client.transport.close()
        await client.closed
        await protocol.closed


async def test_a_protocol_that_raises() -> None:
    loop = asyncio.get_running_loop()
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))

    class Failing(Recorder):
        def data_received(self, data: bytes) -> None:
            raise LookupError("data_received")

    async with serving(Failing) as (address, made):
        client = await _connect(address)
        client.transport.write(b"x")
        await made[0].closed
        await client.closed
        assert isinstance(contexts[0]["exception"], LookupError)
        assert contexts[0]["protocol"] is not None
        assert contexts[0]["transport"] is not None


async def test_many_at_once() -> None:
    async with serving() as (address, _):

        async def one(number: int) -> None:
            client = await _connect(address)
            client.transport.write(b"%d" % number * 100)
            await client.received(len(str(number)) * 100)
            client.transport.close()
            await client.closed

        await asyncio.gather(*(one(number) for number in range(20)))


# ---------------------------------------------------------------- start_tls


async def test_start_tls_of_a_client_and_a_server() -> None:
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[Recorder] = loop.create_future()

    class Upgrading(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if data == b"STARTTLS":
                accepted.set_result(self)

    async with serving(Upgrading, ssl=None) as (address, _):
        client = await _connect(address, ssl=None)
        client.transport.write(b"STARTTLS")
        server = await accepted
        server.data.clear()
        server.transport, client.transport = await asyncio.gather(
            loop.start_tls(server.transport, server, tls.server_context(), server_side=True),
            loop.start_tls(
                client.transport, client, tls.client_context(), server_hostname="localhost"
            ),
        )
        assert client.transport.get_extra_info("ssl_object") is not None
        assert client.transport.get_protocol() is client
        assert client.events.count("made") == 1
        client.transport.write(b"secret")
        assert await server.received(6) == b"secret"
        server.transport.write(b"answer")
        assert await client.received(6) == b"answer"
        client.transport.close()
        await client.closed
        await server.closed


async def test_start_tls_that_fails() -> None:
    loop = asyncio.get_running_loop()

    class Plain(Recorder):
        def data_received(self, data: bytes) -> None:
            self.transport.write(b"no tls here, sorry\r\n")

    async with serving(Plain, ssl=None) as (address, _):
        client = await _connect(address, ssl=None)
        with pytest.raises(ssl.SSLError):
            await loop.start_tls(
                client.transport, client, tls.client_context(), server_hostname="localhost"
            )
        await turns(3)
        assert client.transport.is_closing()
        client.closed.cancel()


async def test_start_tls_takes_too_long() -> None:
    loop = asyncio.get_running_loop()
    with silent_server() as address:
        client = await _connect(address, ssl=None)
        with pytest.raises(ConnectionAbortedError, match="handshake"):
            await loop.start_tls(
                client.transport,
                client,
                tls.client_context(),
                server_hostname="localhost",
                ssl_handshake_timeout=0.02,
            )
        await turns(3)
        client.closed.cancel()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="StreamWriter.start_tls is new in 3.11")
async def test_start_tls_of_streams(new_loop: TrackedFactory) -> None:
    new_loop.skip_stock_if(sys.version_info < (3, 12), "3.11.7 loses the server's writer")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"go ahead\n")
        await writer.drain()
        await writer.start_tls(tls.server_context())
        writer.write(b"<" + await reader.readline() + b">")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"go ahead\n"
        await writer.start_tls(tls.client_context(), server_hostname="localhost")
        writer.write(b"secret\n")
        assert await reader.read() == b"<secret\n>"
        writer.close()
        await writer.wait_closed()


async def test_streams_over_tls() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0, ssl=tls.server_context())
    async with server:
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=tls.client_context()
        )
        for number in range(20):
            writer.write(b"line %d\n" % number)
            await writer.drain()
            assert await reader.readline() == b"LINE %d\n" % number
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.005)
