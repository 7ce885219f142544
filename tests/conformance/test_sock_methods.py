"""The sock_* methods: plain non-blocking sockets awaited."""

from __future__ import annotations

import array
import asyncio
import gc
import inspect
import os
import socket
import sys
import warnings
from collections.abc import Iterator

import pytest

from tests.support.loops import TrackedFactory

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def _udp() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    return sock


# ---------------------------------------------------------------- receive and send


async def test_recv(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    pair[1].send(b"there already")
    data = await loop.sock_recv(pair[0], 100)
    assert data == b"there already"
    assert type(data) is bytes
    later = asyncio.ensure_future(loop.sock_recv(pair[0], 100))
    await asyncio.sleep(0.002)
    assert not later.done()
    pair[1].send(b"later")
    assert await later == b"later"


async def test_recv_takes_no_more_than_asked(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    pair[1].send(b"abcdef")
    assert await loop.sock_recv(pair[0], 2) == b"ab"
    assert await loop.sock_recv(pair[0], 3) == b"cde"
    assert await loop.sock_recv(pair[0], 100000) == b"f"


async def test_recv_of_the_end(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    waiting = asyncio.ensure_future(loop.sock_recv(pair[0], 10))
    await asyncio.sleep(0)
    pair[1].close()
    assert await waiting == b""
    assert await loop.sock_recv(pair[0], 10) == b""


async def test_recv_into(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    buffer = bytearray(10)
    waiting = asyncio.ensure_future(loop.sock_recv_into(pair[0], buffer))
    await asyncio.sleep(0.002)
    pair[1].send(b"abc")
    assert await waiting == 3
    assert buffer[:3] == b"abc"
    pair[1].send(b"0123456789more")
    assert await loop.sock_recv_into(pair[0], memoryview(buffer)[5:]) == 5
    assert buffer == b"abc\0\x0001234"


@pytest.mark.parametrize(
    "data",
    [b"bytes", bytearray(b"bytearray"), memoryview(b"view"), memoryview(b"0123456789")[::1][2:5]],
)
async def test_sendall_takes_what_has_a_buffer(pair: Pair, data: bytes) -> None:
    loop = asyncio.get_running_loop()
    assert await loop.sock_sendall(pair[0], data) is None
    assert pair[1].recv(100) == bytes(data)


async def test_sendall_of_nothing(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    assert await loop.sock_sendall(pair[0], b"") is None
    with pytest.raises(BlockingIOError):
        pair[1].recv(10)


async def test_sendall_of_wide_items(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    data = array.array("i", range(100_000))
    sending = asyncio.ensure_future(loop.sock_sendall(pair[0], memoryview(data).cast("B")))
    received = b""
    while len(received) < len(data) * data.itemsize:
        received += await loop.sock_recv(pair[1], 1 << 16)
    await sending
    assert received == data.tobytes()


async def test_sendall_of_much(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    data = os.urandom(3_000_000)
    sending = asyncio.ensure_future(loop.sock_sendall(pair[0], data))
    received = bytearray()
    while len(received) < len(data):
        received += await loop.sock_recv(pair[1], 100_000)
    assert await sending is None
    assert received == data


async def test_both_directions_at_once(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    data = os.urandom(500_000)

    async def take(sock: socket.socket) -> bytes:
        received = bytearray()
        while len(received) < len(data):
            received += await loop.sock_recv(sock, 65536)
        return bytes(received)

    results = await asyncio.gather(
        loop.sock_sendall(pair[0], data),
        loop.sock_sendall(pair[1], data),
        take(pair[0]),
        take(pair[1]),
    )
    assert results == [None, None, data, data]


async def test_an_error_of_the_socket_is_raised(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    pair[1].close()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(10):
            await loop.sock_sendall(pair[0], b"x" * 65536)


async def test_a_reset_reaches_the_receiver(listener: socket.socket) -> None:
    import struct

    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setblocking(False)
    await loop.sock_connect(client, listener.getsockname())
    server, _ = await loop.sock_accept(listener)
    waiting = asyncio.ensure_future(loop.sock_recv(server, 10))
    await asyncio.sleep(0)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    with pytest.raises(ConnectionResetError):
        await waiting
    server.close()


# ---------------------------------------------------------------- cancellation


async def test_a_cancelled_recv_takes_no_data(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(3):
        task = asyncio.ensure_future(loop.sock_recv(pair[0], 10))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    pair[1].send(b"kept")
    assert await loop.sock_recv(pair[0], 10) == b"kept"
    assert loop.remove_reader(pair[0]) is False


async def test_a_cancelled_sendall_leaves_the_socket_usable(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(loop.sock_sendall(pair[0], b"x" * 50_000_000))
    await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert loop.remove_writer(pair[0]) is False
    with pytest.raises(BlockingIOError):
        while True:
            pair[1].recv(1 << 20)
    await loop.sock_sendall(pair[0], b"again")
    assert await loop.sock_recv(pair[1], 10) == b"again"


async def test_recv_with_a_timeout(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(loop.sock_recv(pair[0], 10), 0.005)
    pair[1].send(b"x")
    assert await asyncio.wait_for(loop.sock_recv(pair[0], 10), 5) == b"x"


async def test_a_cancelled_accept_loses_no_connection(listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(loop.sock_accept(listener))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with socket.create_connection(listener.getsockname()):
        connection, _ = await loop.sock_accept(listener)
        connection.close()


# The engine is asked at every 64th callback: one of so many turns meets it.
@pytest.mark.evenloop_only  # stock asyncio asks since 3.14.7 (accept) or not at all
async def test_cancelled_between_event_and_turn(pair: Pair, listener: socket.socket) -> None:
    """The future is cancelled, its task not yet told, and the engine has an event for it."""
    loop = asyncio.get_running_loop()
    for turns in range(70):
        accept = asyncio.ensure_future(loop.sock_accept(listener))
        receive = asyncio.ensure_future(loop.sock_recv(pair[0], 10))
        await asyncio.sleep(0)
        with socket.create_connection(listener.getsockname()) as client:
            pair[1].send(b"data")
            for _ in range(turns):
                loop.call_soon(int)
            loop.call_soon(accept.cancel)
            loop.call_soon(receive.cancel)
            await asyncio.gather(accept, receive, return_exceptions=True)
            if accept.cancelled():
                connection, address = await asyncio.wait_for(loop.sock_accept(listener), 5)
            else:
                connection, address = accept.result()
            connection.close()
            assert address == client.getsockname()
        if receive.cancelled():
            assert await asyncio.wait_for(loop.sock_recv(pair[0], 10), 5) == b"data"


async def test_closing_a_socket_after_a_cancelled_wait() -> None:
    loop = asyncio.get_running_loop()
    for _ in range(20):
        a, b = socket.socketpair()
        a.setblocking(False)
        task = asyncio.ensure_future(loop.sock_recv(a, 10))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        a.close()
        b.close()


# ---------------------------------------------------------------- connect and accept


async def test_connect_and_accept(listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setblocking(False)
    accepting = asyncio.ensure_future(loop.sock_accept(listener))
    assert await loop.sock_connect(client, listener.getsockname()) is None
    connection, address = await accepting
    assert isinstance(connection, socket.socket)
    assert address == client.getsockname()
    assert connection.gettimeout() == 0
    assert connection.get_inheritable() is False
    await loop.sock_sendall(client, b"hello")
    assert await loop.sock_recv(connection, 10) == b"hello"
    client.close()
    connection.close()


async def test_connect_resolves_a_name(listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setblocking(False)
    await loop.sock_connect(client, ("localhost", listener.getsockname()[1]))
    assert client.getpeername() == listener.getsockname()
    client.close()


async def test_connect_refused() -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    with socket.socket() as client:
        client.setblocking(False)
        with pytest.raises(ConnectionRefusedError):
            await loop.sock_connect(client, address)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no AF_UNIX")
async def test_connect_of_a_unix_socket(tmp_path: object) -> None:
    loop = asyncio.get_running_loop()
    path = f"{tmp_path}/socket"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        server.setblocking(False)
        client.setblocking(False)
        await loop.sock_connect(client, path)
        connection, _ = await loop.sock_accept(server)
        connection.close()


async def test_many_clients(listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    count = 50

    async def one(number: int) -> bytes:
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, listener.getsockname())
            await loop.sock_sendall(sock, b"%d" % number)
            return await loop.sock_recv(sock, 100)

    async def handle(sock: socket.socket) -> None:
        with sock:
            await loop.sock_sendall(sock, b"<" + await loop.sock_recv(sock, 100) + b">")

    async def serve() -> None:
        for _ in range(count):
            sock, _address = await loop.sock_accept(listener)
            handlers.append(asyncio.create_task(handle(sock)))

    handlers: list[asyncio.Task[None]] = []
    server = asyncio.create_task(serve())
    results = await asyncio.gather(*(one(number) for number in range(count)))
    assert results == [b"<%d>" % number for number in range(count)]
    await server
    await asyncio.gather(*handlers)


# ---------------------------------------------------------------- datagrams


async def test_recvfrom_and_sendto() -> None:
    loop = asyncio.get_running_loop()
    with _udp() as a, _udp() as b:
        waiting = asyncio.ensure_future(loop.sock_recvfrom(b, 100))
        await asyncio.sleep(0.002)
        assert await loop.sock_sendto(a, b"datagram", b.getsockname()) == 8
        assert await waiting == (b"datagram", a.getsockname())
        await loop.sock_sendto(b, b"", a.getsockname())
        assert await loop.sock_recvfrom(a, 100) == (b"", b.getsockname())


async def test_recvfrom_into() -> None:
    loop = asyncio.get_running_loop()
    with _udp() as a, _udp() as b:
        buffer = bytearray(10)
        a.sendto(b"abc", b.getsockname())
        assert await loop.sock_recvfrom_into(b, buffer) == (3, a.getsockname())
        assert buffer[:3] == b"abc"
        waiting = asyncio.ensure_future(loop.sock_recvfrom_into(b, buffer, 2))
        await asyncio.sleep(0.002)
        a.sendto(b"XYZ", b.getsockname())
        assert await waiting == (2, a.getsockname())
        assert buffer[:4] == b"XYc\0"


async def test_recv_of_datagrams_one_by_one() -> None:
    loop = asyncio.get_running_loop()
    with _udp() as a, _udp() as b:
        for data in (b"one", b"", b"three"):
            a.sendto(data, b.getsockname())
        assert [await loop.sock_recv(b, 100) for _ in range(3)] == [b"one", b"", b"three"]


# ---------------------------------------------------------------- debug mode


async def test_a_blocking_socket_is_refused_in_debug_mode(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    pair[0].setblocking(True)
    buffer = bytearray(1)
    calls = [
        lambda: loop.sock_recv(pair[0], 1),
        lambda: loop.sock_recv_into(pair[0], buffer),
        lambda: loop.sock_recvfrom(pair[0], 1),
        lambda: loop.sock_recvfrom_into(pair[0], buffer),
        lambda: loop.sock_sendall(pair[0], b"x"),
        lambda: loop.sock_sendto(pair[0], b"x", "address"),
        lambda: loop.sock_connect(pair[0], "address"),
        lambda: loop.sock_accept(pair[0]),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="non-blocking"):
            await call()


@pytest.mark.skipif(sys.platform == "win32", reason="socketpair is TCP there")
async def test_sockets_of_any_address_family() -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        server.setblocking(False)
        with socket.socket(socket.AF_INET6) as client:
            client.setblocking(False)
            await loop.sock_connect(client, server.getsockname()[:2])
            connection, address = await loop.sock_accept(server)
            assert address == client.getsockname()
            connection.close()


def test_the_methods_are_coroutine_functions(new_loop: TrackedFactory, pair: Pair) -> None:
    """What they return can be a task."""
    loop = new_loop()

    async def main() -> bytes:
        pair[1].send(b"x")
        return await loop.create_task(loop.sock_recv(pair[0], 5))

    assert loop.run_until_complete(main()) == b"x"
    loop.close()


# ---------------------------------------------------------------- as coroutines

METHODS = (
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendto",
    "sock_connect",
    "sock_accept",
)


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="inspect.markcoroutinefunction is new in 3.12"
)
@pytest.mark.parametrize("name", METHODS)
async def test_the_methods_say_that_they_are_coroutine_functions(name: str) -> None:
    loop = asyncio.get_running_loop()
    assert inspect.iscoroutinefunction(getattr(loop, name))
    assert inspect.iscoroutinefunction(getattr(type(loop), name))


async def test_what_they_return_is_a_coroutine(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    request = loop.sock_recv(pair[0], 10)
    assert asyncio.iscoroutine(request)
    assert inspect.isawaitable(request)
    assert "sock_recv" in request.__qualname__
    task = asyncio.create_task(request)
    assert "sock_recv" in repr(task)
    await asyncio.sleep(0)
    pair[1].send(b"x")
    assert await task == b"x"


async def test_nothing_happens_before_they_are_awaited(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    sending = loop.sock_sendall(pair[0], b"x")
    wrong = loop.sock_recv(pair[0], "many")  # type: ignore[arg-type]
    with pytest.raises(BlockingIOError):
        pair[1].recv(10)
    await sending
    assert pair[1].recv(10) == b"x"
    with pytest.raises(TypeError):
        await wrong


async def test_who_never_awaits_is_warned(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    with pytest.warns(RuntimeWarning, match="sock_recv.* was never awaited"):
        loop.sock_recv(pair[0], 10)
        gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loop.sock_recv(pair[0], 10).close()
        gc.collect()


async def test_they_are_awaited_once(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    request = loop.sock_sendall(pair[0], b"x")
    await request
    with pytest.raises(RuntimeError, match="already awaited"):
        await request
    closed = loop.sock_recv(pair[0], 10)
    closed.close()
    with pytest.raises(RuntimeError):
        await closed


async def test_a_cancelled_request_takes_nothing(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(loop.sock_recv(pair[0], 10))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    pair[1].send(b"for the next one")
    await asyncio.sleep(0.002)
    assert pair[0].recv(100) == b"for the next one"


async def test_closing_a_coroutine_takes_its_request_back(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    request = loop.sock_recv(pair[0], 10)
    request.send(None)
    request.close()
    pair[1].send(b"x")
    assert await loop.sock_recv(pair[0], 10) == b"x"


async def test_what_is_thrown_in_comes_out(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    for begun in (False, True):
        request = loop.sock_recv(pair[0], 10)
        if begun:
            request.send(None)
        with pytest.raises(ZeroDivisionError):
            request.throw(ZeroDivisionError("mine"))


async def test_questions_and_answers_in_every_rhythm(pair: Pair) -> None:
    """Whether the answer is there when it is asked for or comes later: nothing is lost."""
    loop = asyncio.get_running_loop()

    async def answer() -> None:
        for number in range(200):
            question = await loop.sock_recv(pair[1], 100)
            if number % 7 == 0:
                await asyncio.sleep(0)
            await loop.sock_sendall(pair[1], question)

    answering = asyncio.create_task(answer())
    for number in range(200):
        await loop.sock_sendall(pair[0], b"%d" % number)
        if number % 3 == 0:
            await asyncio.sleep(0.0001)
        assert await loop.sock_recv(pair[0], 100) == b"%d" % number
    await answering
