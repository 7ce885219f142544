"""What other loops get wrong, stock asyncio's older versions among them, and evenloop does not."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import threading
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.support import signals, tls
from tests.support.loops import TrackedFactory, turns, until
from tests.support.programs import TRUE
from tests.support.protocols import (
    BufferedRecorder,
    DatagramRecorder,
    Echo,
    Recorder,
    connected_pair,
)

pytestmark = pytest.mark.evenloop_only

HOST = "127.0.0.1"
Loop = asyncio.AbstractEventLoop


def _collect() -> list[dict[str, Any]]:
    contexts: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
    return contexts


# ---------------------------------------------------------------- descriptors


async def test_a_descriptor_closed_without_removal_is_not_poisoned() -> None:
    """A program closes a watched socket, forgets remove_reader, and the number comes again."""
    loop = asyncio.get_running_loop()
    for turn in range(5):
        a, b = socket.socketpair()
        seen: list[int] = []

        def readable(sock: socket.socket = a, seen: list[int] = seen) -> None:
            sock.recv(10)
            seen.append(1)

        loop.add_reader(a, readable)
        b.send(b"x")
        await until(lambda seen=seen: seen)
        number = a.fileno()
        a.close()
        b.close()
        assert number > 0, turn
    loop.remove_reader(number)


async def test_a_socket_closed_while_sock_recv_waits() -> None:
    """The number serves another socket at once, whatever became of the first wait."""
    loop = asyncio.get_running_loop()
    for _ in range(3):
        a, b = socket.socketpair()
        a.setblocking(False)
        task = asyncio.ensure_future(loop.sock_recv(a, 10))
        await asyncio.sleep(0)
        a.close()
        task.cancel()
        await asyncio.wait([task])
        c, d = socket.socketpair()
        c.setblocking(False)
        d.send(b"fresh")
        assert await asyncio.wait_for(loop.sock_recv(c, 10), 2) == b"fresh"
        for one in (b, c, d):
            one.close()


async def test_used_by_transport_is_never_stale() -> None:
    loop = asyncio.get_running_loop()
    for _ in range(10):
        async with connected_pair(Recorder, Recorder) as (client, _server):
            fd = client.transport.get_extra_info("socket").fileno()
            client.transport.abort()
            await client.closed
            spare = [socket.socketpair()]
            while fd not in [one.fileno() for one in spare[-1]]:
                assert len(spare) < 10
                spare.append(socket.socketpair())
            loop.add_reader(fd, int)
            assert loop.remove_reader(fd) is True
            loop.add_writer(fd, int)
            assert loop.remove_writer(fd) is True
            for sock in (sock for both in spare for sock in both):
                sock.close()


async def test_two_waits_on_one_socket() -> None:
    """A reader and a writer of one socket at once, as sock_* calls."""
    loop = asyncio.get_running_loop()
    a, b = socket.socketpair()
    a.setblocking(False)
    b.setblocking(False)
    receiving = asyncio.ensure_future(loop.sock_recv(a, 10))
    sending = asyncio.ensure_future(loop.sock_sendall(a, bytes(3_000_000)))
    await asyncio.sleep(0)
    b.send(b"question")
    assert await receiving == b"question"
    received = 0
    while received < 3_000_000:
        received += len(await loop.sock_recv(b, 1 << 20))
    await sending
    a.close()
    b.close()


# ---------------------------------------------------------------- time


async def test_no_timer_is_early_by_any_clock() -> None:
    loop = asyncio.get_running_loop()
    for delay in (0.0103, 0.0003, 0.0017, 0.00999):
        begin, begin_ns = time.monotonic(), time.perf_counter()
        await asyncio.sleep(delay)
        assert time.monotonic() - begin >= delay
        assert time.perf_counter() - begin_ns >= delay * 0.9999
    handle = loop.call_later(0.0041, int)
    await until(lambda: loop.time() > handle.when())


@pytest.mark.skipif(sys.platform == "win32", reason="waits there may be of whole milliseconds")
async def test_timers_keep_to_a_millisecond() -> None:
    """A timer needs no rounding up to whole milliseconds; the best of many shows it."""
    loop = asyncio.get_running_loop()
    best = 1.0
    for _ in range(20):
        begin = loop.time()
        await asyncio.sleep(0.0012)
        best = min(best, loop.time() - begin)
    assert best < 0.0022


# ---------------------------------------------------------------- tasks


async def test_a_plain_factory_gets_no_keywords_it_did_not_ask_for() -> None:
    loop = asyncio.get_running_loop()

    def factory(loop: Loop, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=loop)

    loop.set_task_factory(factory)  # type: ignore[arg-type]
    assert await loop.create_task(asyncio.sleep(0, 1)) == 1
    assert await asyncio.create_task(asyncio.sleep(0, 2)) == 2
    assert await asyncio.gather(asyncio.sleep(0, 3)) == [3]
    if sys.version_info < (3, 13, 3):
        task = loop.create_task(asyncio.sleep(0), name="named")
        assert task.get_name() == "named"
        await task
    loop.set_task_factory(None)


# ---------------------------------------------------------------- protocols and servers


async def test_a_factory_that_raises_in_a_server_is_reported() -> None:
    """Stock asyncio tells in debug mode only, and leaves the connection to the collector."""
    loop = asyncio.get_running_loop()
    contexts = _collect()
    fail = True

    def factory() -> Recorder:
        if fail:
            raise LookupError("no protocol")
        return Echo()

    server = await loop.create_server(factory, HOST, 0)
    address = server.sockets[0].getsockname()
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
        await until(lambda: contexts)
        assert isinstance(contexts[0]["exception"], LookupError)
        assert contexts[0]["message"]
        assert await asyncio.wait_for(loop.sock_recv(sock, 10), 2) == b""
    fail = False
    _, client = await loop.create_connection(Recorder, *address)
    client.transport.write(b"x")
    await client.received(1)
    client.transport.abort()
    await client.closed
    server.close()
    await server.wait_closed()


async def test_a_factory_that_raises_in_a_client_leaves_no_socket() -> None:
    loop = asyncio.get_running_loop()

    def factory() -> Recorder:
        raise LookupError("no protocol")

    async with await loop.create_server(Echo, HOST, 0) as server:
        address = server.sockets[0].getsockname()
        with pytest.raises(LookupError, match="no protocol"):
            await loop.create_connection(factory, *address)
        with pytest.raises(LookupError, match="no protocol"):
            await loop.create_datagram_endpoint(factory, local_addr=(HOST, 0))  # type: ignore[arg-type]
        await turns(5)


async def test_a_server_closed_in_its_factory() -> None:
    loop = asyncio.get_running_loop()

    def factory() -> Recorder:
        server.close()
        return Recorder()

    server = await loop.create_server(factory, HOST, 0)
    _, client = await loop.create_connection(Recorder, *server.sockets[0].getsockname())
    await until(lambda: not server.is_serving())
    client.transport.abort()
    await client.closed
    await asyncio.wait_for(server.wait_closed(), 2)


async def test_a_closed_server_does_not_start() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, HOST, 0)
    server.close()
    await server.wait_closed()
    with pytest.raises(RuntimeError, match="closed"):
        await server.start_serving()


async def test_data_received_that_raises_after_close() -> None:
    contexts = _collect()

    class Failing(Recorder):
        def data_received(self, data: bytes) -> None:
            self.transport.close()
            raise LookupError("after close")

    async with connected_pair(Recorder, Failing) as (client, server):
        client.transport.write(b"x")
        await server.closed
        assert isinstance(contexts[0]["exception"], LookupError)
        assert server.events == ["made", "lost"]


async def test_the_caller_of_an_accepted_tls_socket_gets_its_protocol() -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server((HOST, 0)) as listener:
        listener.setblocking(False)
        connecting = asyncio.create_task(
            loop.create_connection(Recorder, *listener.getsockname(), ssl=tls.client_context())
        )
        sock, _ = await loop.sock_accept(listener)
        transport, protocol = await loop.connect_accepted_socket(
            Recorder, sock, ssl=tls.server_context()
        )
        assert type(protocol) is Recorder
        assert transport.get_protocol() is protocol
        _, client = await connecting
        client.transport.abort()
        await client.closed
        await protocol.closed


async def test_abort_after_a_close_that_flushed() -> None:
    """Stock asyncio raises AttributeError there."""
    async with connected_pair(Recorder, Recorder) as (client, server):
        client.transport.write(bytes(10_000_000))
        client.transport.close()
        await client.closed
        client.transport.abort()
        client.transport.close()
        await server.closed


async def test_tls_reads_into_a_bytearray() -> None:
    """Stock asyncio reads into a copy of a buffer that is no memoryview."""
    data = os.urandom(200_000)
    async with connected_pair(
        BufferedRecorder,
        Echo,
        client_options={"ssl": tls.client_context()},
        server_options={"ssl": tls.server_context()},
    ) as (client, _):
        client.transport.write(data)
        assert await client.received(len(data)) == data


async def test_tls_close_ends_when_both_close() -> None:
    async with connected_pair(
        Recorder,
        Recorder,
        client_options={"ssl": tls.client_context()},
        server_options={"ssl": tls.server_context()},
    ) as (client, server):
        client.transport.close()
        server.transport.close()
        await asyncio.wait_for(asyncio.gather(client.closed, server.closed), 2)


async def test_tls_close_ends_with_data_on_the_way() -> None:
    async with connected_pair(
        Recorder,
        Recorder,
        client_options={"ssl": tls.client_context(), "ssl_shutdown_timeout": 0.5},
        server_options={"ssl": tls.server_context(), "ssl_shutdown_timeout": 0.5},
    ) as (client, server):
        server.transport.write(bytes(3_000_000))
        client.transport.close()
        await asyncio.wait_for(client.closed, 3)
        server.transport.close()
        await asyncio.wait_for(server.closed, 3)


# ---------------------------------------------------------------- datagrams


async def test_empty_datagrams_are_datagrams() -> None:
    loop = asyncio.get_running_loop()
    _, a = await loop.create_datagram_endpoint(DatagramRecorder, local_addr=(HOST, 0))
    address = a.transport.get_extra_info("sockname")
    _, b = await loop.create_datagram_endpoint(DatagramRecorder, remote_addr=address)
    assert isinstance(b.transport, asyncio.DatagramTransport)
    b.transport.sendto(b"")
    b.transport.sendto(b"", address)
    await a.received(2)
    a.transport.sendto(b"", a.datagrams[0][1])
    assert await b.received(1) == [(b"", address)]
    for one in (a, b):
        one.transport.close()
        await one.closed


async def test_an_error_received_that_raises_stays_inside() -> None:
    """sendto() does not raise what error_received raises."""
    loop = asyncio.get_running_loop()
    contexts = _collect()

    class Failing(DatagramRecorder):
        def error_received(self, exc: Exception) -> None:
            raise LookupError("error_received")

    _, a = await loop.create_datagram_endpoint(Failing, local_addr=(HOST, 0))
    try:
        a.transport.sendto(bytes(100_000), (HOST, 9))
        await until(lambda: contexts)
        assert isinstance(contexts[0]["exception"], LookupError)
    finally:
        a.transport.abort()
        await a.closed


# ---------------------------------------------------------------- signals and processes


def test_remove_signal_handler_on_a_stopped_loop(new_loop: TrackedFactory, loop: Loop) -> None:
    new_loop.skip_stock_if(sys.platform == "win32", "no signal handlers on Windows")
    loop.add_signal_handler(signals.ONE, int)
    loop.run_until_complete(asyncio.sleep(0))
    assert loop.remove_signal_handler(signals.ONE) is True


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX options")
async def test_the_newer_options_of_popen() -> None:
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", "umask"),
        stdout=asyncio.subprocess.PIPE,
        umask=0o77,
        process_group=0,
        user=os.geteuid(),
        group=os.getegid(),
    )
    out, _ = await process.communicate()
    assert out.strip() == b"0077"


def test_two_loops_spawn_at_once(new_loop: TrackedFactory) -> None:
    errors: list[BaseException] = []
    done: list[int] = []

    async def work() -> None:
        for _ in range(5):
            process = await asyncio.create_subprocess_exec(*TRUE)
            done.append(await process.wait())

    def main() -> None:
        try:
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(work())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=main) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert done == [0] * 15


# ---------------------------------------------------------------- identity and cycles


async def test_everything_is_asyncio_s_to_isinstance() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop.call_soon(int), asyncio.Handle)
    timer = loop.call_later(9, int)
    assert isinstance(timer, asyncio.TimerHandle)
    timer.cancel()
    assert issubclass(type(loop), asyncio.AbstractEventLoop)
    server = await loop.create_server(Recorder, HOST, 0)
    assert isinstance(server, asyncio.Server)
    server.close()
    await server.wait_closed()


async def test_closed_connections_leave_no_garbage() -> None:
    """The loop, its engine and the server let go of a transport that is closed."""
    import weakref

    async with connected_pair(Recorder, Recorder) as (client, server):
        references = [weakref.ref(client.transport), weakref.ref(server.transport)]
        client.transport.close()
        await client.closed
        await server.closed
    del client, server
    await turns()
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_an_unclosed_transport_complains(new_loop: TrackedFactory) -> None:
    import warnings

    async def connect(address: tuple[str, int]) -> asyncio.Transport:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, *address)
        return transport

    with socket.create_server((HOST, 0)) as listener:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loop = new_loop()
            transport = loop.run_until_complete(connect(listener.getsockname()))
            loop.close()
            del transport
            gc.collect()
    assert any(
        one.category is ResourceWarning and "unclosed transport" in str(one.message)
        for one in caught
    )
