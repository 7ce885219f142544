"""The TLS layer over the transports of both loops, and what its handshake settles."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from evenloop.transports import tls

from tests.support import tls as contexts
from tests.support.loops import FACTORIES, run, until
from tests.support.protocols import BufferedRecorder, Echo, Recorder
from tests.support.wire import Pair, joined, reports

KIB = 1024
SIZES = [1, 2, 255, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 256 * KIB, 256 * KIB + 1, 1 << 20]
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(params=list(FACTORIES))
def run_on(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Runs a coroutine on stock asyncio, and on evenloop."""
    return lambda coroutine: run(FACTORIES[request.param], coroutine)


@pytest.fixture
def run_stock() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """What happens in memory does not depend on the loop."""
    return lambda coroutine: run(FACTORIES["stock"], coroutine)


# Over the transports of both loops.


@contextlib.asynccontextmanager
async def connected(
    client: Callable[[], Any] = Recorder,
    server: Callable[[], Any] = Echo,
    client_context: ssl.SSLContext | None = None,
    server_context: ssl.SSLContext | None = None,
) -> AsyncIterator[tuple[Any, Any]]:
    """Our layer at both ends of a TCP connection, whatever the loop's own TLS is."""
    loop = asyncio.get_running_loop()
    made: list[Any] = []

    def accept() -> Any:
        made.append(server())
        return tls.wrap(
            loop,
            made[-1],
            server_context or contexts.server_context(),
            None,
            server_side=True,
            server_hostname=None,
        )

    listener = await loop.create_server(accept, "127.0.0.1", 0)
    waiter = loop.create_future()
    layer = tls.wrap(
        loop,
        client(),
        client_context or contexts.client_context(),
        waiter,
        server_side=False,
        server_hostname="localhost",
    )
    near = layer.app_protocol
    await loop.create_connection(lambda: layer, *listener.sockets[0].getsockname())
    await waiter
    await until(lambda: made and made[0].transport is not None)
    try:
        yield near, made[0]
    finally:
        listener.close()
        near.transport.abort()
        made[0].transport.abort()
        await near.closed
        await made[0].closed
        await listener.wait_closed()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("receiver", [Recorder, BufferedRecorder])
def test_every_size_comes_back(run_on: Any, version: ssl.TLSVersion, receiver: Any) -> None:
    async def main() -> None:
        async with connected(receiver, server_context=contexts.server_context(version)) as (c, _):
            assert c.transport.get_extra_info("ssl_object").version().endswith(version.name[-1])
            for size in SIZES:
                c.data.clear()
                message = bytes(range(256)) * (size // 256 + 1)
                c.transport.write(message[:size])
                assert await c.received(size) == message[:size]

    run_on(main())


def test_close_says_goodbye_to_both(run_on: Any) -> None:
    async def main() -> None:
        async with connected() as (client, server):
            client.transport.write(b"last words")
            client.transport.close()
            assert client.transport.is_closing()
            assert await client.closed is None
            assert await server.closed is None
            assert server.data == b"last words"
            assert server.events == ["made", "data", "eof", "lost"]

    run_on(main())


def test_tls_over_tls_over_tcp(run_on: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected(Recorder, Recorder) as (client, server):
            ours, theirs = await asyncio.gather(
                tls.start_tls(
                    loop,
                    client.transport,
                    client,
                    contexts.client_context(),
                    server_hostname="localhost",
                ),
                tls.start_tls(
                    loop, server.transport, server, contexts.server_context(), server_side=True
                ),
            )
            for size in SIZES:
                ours.write(b"a" * size)
                theirs.write(b"b" * size)
            assert len(await server.received(sum(SIZES))) == sum(SIZES)
            assert len(await client.received(sum(SIZES))) == sum(SIZES)
            ours.close()
            assert await client.closed is None
            assert await server.closed is None

    run_on(main())


def test_start_tls_takes_over_a_plain_connection(run_on: Any) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        if isinstance(loop, asyncio.BaseEventLoop):
            loop.start_tls = functools.partial(tls.start_tls, loop)  # for StreamWriter
        done = loop.create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            line = await reader.readline()
            await asyncio.sleep(0.05)  # the client's hello is in the reader's buffer by now
            await writer.start_tls(contexts.server_context())
            writer.write(line)
            writer.close()
            await writer.wait_closed()
            done.set_result(None)

        listener = await asyncio.start_server(serve, "127.0.0.1", 0)
        plain, client = await loop.create_connection(Recorder, *listener.sockets[0].getsockname())
        plain.write(b"PROXY\n")
        secure = await tls.start_tls(
            loop, plain, client, contexts.client_context(), server_hostname="localhost"
        )
        assert secure.get_extra_info("socket") is not None
        assert await client.received(6) == b"PROXY\n"
        assert await client.closed is None
        assert client.events == ["made", "data", "eof", "lost"]
        await done
        listener.close()
        await listener.wait_closed()

    run_on(main())


def test_start_tls_checks_its_arguments(run_on: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        protocol: Any = None
        nothing: Any = None
        with pytest.raises(TypeError, match="SSLContext, got"):
            await tls.start_tls(loop, None, protocol, nothing)
        with pytest.raises(TypeError, match="is not supported"):
            await tls.start_tls(loop, None, protocol, contexts.client_context())
        for name in ("ssl_handshake_timeout", "ssl_shutdown_timeout"):
            for value in (0, -1):
                with pytest.raises(ValueError, match=f"{name} should be a positive number"):
                    tls.wrap(
                        loop,
                        Recorder(),
                        None,
                        None,
                        server_side=False,
                        server_hostname=None,
                        **{name: value},  # type: ignore[arg-type]
                    )
        with pytest.raises(ValueError, match="needs a valid SSLContext"):
            tls.default_context(True, None)
        assert tls.default_context(False, "localhost").check_hostname
        assert not tls.default_context(False, None).check_hostname

    run_on(main())


def test_start_tls_on_a_closing_transport_does_not_hang(run_on: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected() as (client, _):
            client.transport.close()
            with pytest.raises(ConnectionError):
                await tls.start_tls(loop, client.transport, client, contexts.client_context())

    run_on(main())


def test_cancelled_start_tls_tells_the_protocol(run_on: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(Recorder, "127.0.0.1", 0)
        plain, client = await loop.create_connection(Recorder, *listener.sockets[0].getsockname())
        starting = tls.start_tls(
            loop, plain, client, contexts.client_context(), server_hostname="localhost"
        )
        task = loop.create_task(starting)
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await client.closed
        listener.close()
        await asyncio.sleep(0.02)

    run_on(main())


# What the handshake settles.


def test_extra_info(run_stock: Any) -> None:
    async def main() -> None:
        context = contexts.client_context()
        async with joined(client_context=context) as pair:
            info = pair.transport.get_extra_info
            assert info("sslcontext") is context
            assert info("peercert")["subject"]
            assert info("cipher")[0]
            assert info("compression") is None
            assert isinstance(info("ssl_object"), ssl.SSLObject)
            assert info("peername") == "memory"
            assert info("nothing", 3) == 3
            assert isinstance(pair.transport, asyncio.Transport)
            assert isinstance(pair.layer, asyncio.BufferedProtocol)
            assert "SSL" in pair.transport.__class__.__name__
        assert info("peername") is None

    run_stock(main())


def test_alpn_and_sni(run_stock: Any) -> None:
    async def main() -> None:
        asked: list[str | None] = []
        server = contexts.server_context()
        server.set_alpn_protocols(["h2", "http/1.1"])
        server.sni_callback = lambda _object, name, _context: asked.append(name)
        client = contexts.client_context()
        client.set_alpn_protocols(["http/1.1"])
        async with joined(client_context=client, server_context=server) as pair:
            for transport in (pair.transport, pair.server.transport):
                chosen = transport.get_extra_info("ssl_object").selected_alpn_protocol()
                assert chosen == "http/1.1"
        server.sni_callback = None
        assert asked == ["localhost"]

    run_stock(main())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_resumed(run_stock: Any, version: ssl.TLSVersion) -> None:
    class Resuming(ssl.SSLContext):
        last: ssl.SSLSession | None = None

        def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
            return super().wrap_bio(*args, session=self.last, **kwargs)

    async def main() -> None:
        client = Resuming(ssl.PROTOCOL_TLS_CLIENT)
        client.load_verify_locations(contexts.AUTHORITY)
        server = contexts.server_context(version)
        for resumed in (False, True):
            async with joined(client_context=client, server_context=server) as pair:
                pair.transport.write(b"x")
                await pair.client.received(1)  # the ticket has come, too
                sslobj = pair.transport.get_extra_info("ssl_object")
                assert sslobj.session_reused is resumed
                client.last = sslobj.session

    run_stock(main())


@pytest.mark.parametrize("version", VERSIONS)
def test_client_certificates(run_stock: Any, version: ssl.TLSVersion) -> None:
    async def main() -> None:
        server = contexts.server_context(version)
        server.verify_mode = ssl.CERT_REQUIRED
        server.load_verify_locations(contexts.AUTHORITY)
        client = contexts.client_context()
        client.load_cert_chain(contexts.LOCALHOST)
        async with joined(client_context=client, server_context=server) as pair:
            assert pair.server.transport.get_extra_info("peercert")["subject"]
        # And without one: the server's alert reaches the client.
        pair = Pair(Recorder(), Recorder(), server_context=server)
        pair.begin()
        with contextlib.suppress(ssl.SSLError):
            await pair.waiter
        await until(lambda: pair.wire.lost and pair.far_wire.lost)
        assert pair.server.events == []
        if pair.client.events:
            assert isinstance(await pair.client.closed, ssl.SSLError)

    run_stock(main())


def test_a_bad_certificate_ends_both_sides(run_stock: Any) -> None:
    async def main() -> None:
        with reports() as told:
            pair = Pair(Recorder(), Recorder(), client_context=contexts.distrustful_context())
            pair.begin()
            with pytest.raises(ssl.SSLCertVerificationError):
                await pair.waiter
            await until(lambda: pair.wire.lost and pair.far_wire.lost)
        assert pair.wire.aborted
        assert pair.client.events == pair.server.events == []
        assert told == []

    run_stock(main())


def test_the_peer_leaves_in_the_handshake(run_stock: Any) -> None:
    async def main() -> None:
        pair = Pair(Recorder(), Recorder())
        pair.layer.connection_made(pair.wire)
        pair.wire.end()
        with pytest.raises(ConnectionResetError):
            await pair.waiter
        await until(lambda: pair.wire.lost)
        assert pair.client.events == []

    run_stock(main())


def test_a_handshake_has_its_time(run_stock: Any) -> None:
    async def main() -> None:
        pair = Pair(Recorder(), Recorder(), handshake=0.05)
        pair.far_wire.held = True
        pair.layer.connection_made(pair.wire)
        with pytest.raises(
            ConnectionAbortedError, match=r"SSL handshake is taking longer than 0\.05 seconds"
        ):
            await pair.waiter
        assert pair.client.events == []

    run_stock(main())


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("when", ["before", "during"])
def test_closed_before_it_is_open(run_stock: Any, how: str, when: str) -> None:
    async def main() -> None:
        pair = Pair(Recorder(), Recorder())
        pair.far_wire.held = True
        if when == "before":
            getattr(pair.transport, how)()
        pair.layer.connection_made(pair.wire)
        if when == "during":
            getattr(pair.transport, how)()
        with pytest.raises(ConnectionAbortedError):
            await pair.waiter
        assert pair.wire.aborted and pair.wire.lost
        assert pair.client.events == []

    run_stock(main())
