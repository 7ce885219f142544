"""add_reader, add_writer and their removal."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

import pytest

from tests.support.loops import until
from tests.support.protocols import Recorder, connected_pair

Pair = tuple[socket.socket, socket.socket]


async def test_a_reader_is_called_with_its_arguments(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    seen: list[tuple[object, ...]] = []

    def readable(*args: object) -> None:
        seen.append((*args, pair[0].recv(10)))

    assert loop.add_reader(pair[0], readable, 1, "two") is None
    pair[1].send(b"data")
    await until(lambda: seen)
    assert seen == [(1, "two", b"data")]
    assert loop.remove_reader(pair[0]) is True


@pytest.mark.parametrize("how", ["socket", "fileno", "object"])
async def test_a_descriptor_may_be_given_in_three_ways(pair: Pair, how: str) -> None:
    loop = asyncio.get_running_loop()

    class WithFileno:
        def fileno(self) -> int:
            return pair[0].fileno()

    target = {"socket": pair[0], "fileno": pair[0].fileno(), "object": WithFileno()}[how]
    ready = loop.create_future()
    loop.add_writer(target, ready.set_result, None)
    await ready
    assert loop.remove_writer(pair[0].fileno()) is True
    assert loop.remove_writer(target) is False


async def test_readiness_is_by_level(pair: Pair) -> None:
    """What is not read is announced again."""
    loop = asyncio.get_running_loop()
    calls: list[int] = []
    loop.add_reader(pair[0], calls.append, 1)
    pair[1].send(b"unread")
    await until(lambda: len(calls) >= 3)
    loop.remove_reader(pair[0])
    count = len(calls)
    await asyncio.sleep(0.005)
    assert len(calls) == count


async def test_what_was_there_before_is_announced(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    pair[1].send(b"early")
    await asyncio.sleep(0.002)
    ready = loop.create_future()
    loop.add_reader(pair[0], lambda: ready.done() or ready.set_result(pair[0].recv(10)))
    assert await ready == b"early"
    loop.remove_reader(pair[0])


async def test_a_second_reader_replaces_the_first(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    seen: list[str] = []
    loop.add_reader(pair[0], seen.append, "first")
    loop.add_reader(pair[0], seen.append, "second")
    pair[1].send(b"x")
    await until(lambda: seen)
    assert set(seen) == {"second"}
    assert loop.remove_reader(pair[0]) is True
    assert loop.remove_reader(pair[0]) is False


async def test_remove_tells_whether_something_was_there(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    assert loop.remove_reader(pair[0]) is False
    assert loop.remove_writer(pair[0]) is False
    loop.add_reader(pair[0], print)
    assert loop.remove_writer(pair[0]) is False
    assert loop.remove_reader(pair[0]) is True
    loop.add_writer(pair[0], int)
    assert loop.remove_reader(pair[0]) is False
    assert loop.remove_writer(pair[0]) is True


async def test_reader_and_writer_of_one_descriptor(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    reads: list[int] = []
    writes: list[int] = []
    loop.add_reader(pair[0], reads.append, 1)
    loop.add_writer(pair[0], writes.append, 1)
    await until(lambda: writes)
    assert not reads
    pair[1].send(b"x")
    await until(lambda: reads)
    assert loop.remove_reader(pair[0]) is True
    count = len(writes)
    await until(lambda: len(writes) > count)
    assert loop.remove_writer(pair[0]) is True


async def test_the_writer_waits_for_room(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(BlockingIOError):
        while True:
            pair[0].send(b"x" * 65536)
    room = loop.create_future()
    loop.add_writer(pair[0], lambda: room.done() or room.set_result(None))
    await asyncio.sleep(0.005)
    assert not room.done()
    with pytest.raises(BlockingIOError):
        while True:
            pair[1].recv(1 << 20)
    await room
    loop.remove_writer(pair[0])


async def test_the_end_of_the_peer_is_readable(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    end = loop.create_future()
    loop.add_reader(pair[0], lambda: end.done() or end.set_result(pair[0].recv(10)))
    pair[1].close()
    assert await end == b""
    loop.remove_reader(pair[0])


@pytest.mark.skipif(sys.platform == "win32", reason="its pipes cannot be written without blocking")
async def test_the_end_of_a_pipe_is_seen_by_its_writer() -> None:
    loop = asyncio.get_running_loop()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, b"x" * 65536)
    ready = loop.create_future()
    loop.add_writer(writer, lambda: ready.done() or ready.set_result(None))
    os.close(reader)
    await ready
    loop.remove_writer(writer)
    os.close(writer)


async def test_a_callback_removes_a_reader_that_is_ready_too(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    other, peer = socket.socketpair()
    seen: list[str] = []

    def run(name: str) -> None:
        seen.append(name)
        loop.remove_reader(pair[0])
        loop.remove_reader(other)

    loop.add_reader(pair[0], run, "one")
    loop.add_reader(other, run, "other")
    pair[1].send(b"x")
    peer.send(b"x")
    await asyncio.sleep(0.01)
    assert len(seen) == 1
    other.close()
    peer.close()


async def test_a_callback_adds_another(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def readable() -> None:
        loop.remove_reader(pair[0])
        loop.add_writer(pair[0], writable)

    def writable() -> None:
        loop.remove_writer(pair[0])
        done.set_result(None)

    loop.add_reader(pair[0], readable)
    pair[1].send(b"x")
    await done


async def test_a_raising_reader_is_reported_and_stays(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    contexts: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))

    def fail() -> None:
        pair[0].recv(1)
        raise LookupError("reader")

    loop.add_reader(pair[0], fail)
    pair[1].send(b"xx")
    await until(lambda: len(contexts) == 2)
    assert all(isinstance(context["exception"], LookupError) for context in contexts)
    assert "handle" in contexts[0]
    assert loop.remove_reader(pair[0]) is True


async def test_recycled_numbers_are_not_poisoned() -> None:
    loop = asyncio.get_running_loop()
    for turn in range(20):
        a, b = socket.socketpair()
        ready = loop.create_future()
        loop.add_reader(a, ready.set_result, turn)
        b.send(b"x")
        assert await ready == turn
        assert loop.remove_reader(a) is True
        a.close()
        b.close()


async def test_a_transport_keeps_its_descriptor_to_itself() -> None:
    loop = asyncio.get_running_loop()
    async with connected_pair(Recorder, Recorder) as (client, _):
        fd = client.transport.get_extra_info("socket").fileno()
        for method in (loop.add_reader, loop.add_writer):
            with pytest.raises(RuntimeError, match=r"is used by transport"):
                method(fd, print)
        for remove in (loop.remove_reader, loop.remove_writer):
            with pytest.raises(RuntimeError, match=r"is used by transport"):
                remove(fd)
        client.transport.close()
        await client.closed
        assert loop.remove_reader(fd) is False


async def test_a_number_is_free_again_after_its_transport() -> None:
    """The descriptor of a closed transport serves add_reader and sock_recv at once."""
    loop = asyncio.get_running_loop()
    for _ in range(5):
        async with connected_pair(Recorder, Recorder) as (client, _server):
            fd = client.transport.get_extra_info("socket").fileno()
            client.transport.close()
            await client.closed
            spare = [socket.socketpair()]
            while fd not in (numbers := [one.fileno() for one in spare[-1]]):
                assert len(spare) < 10, "the OS gives the lowest free number"
                spare.append(socket.socketpair())
            recycled = spare[-1][numbers.index(fd)]
            peer = spare[-1][1 - numbers.index(fd)]
            recycled.setblocking(False)
            ready = loop.create_future()
            loop.add_reader(fd, lambda f=ready: f.done() or f.set_result(None))
            peer.send(b"data")
            await ready
            assert loop.remove_reader(fd) is True
            assert await loop.sock_recv(recycled, 10) == b"data"
            for one in (sock for both in spare for sock in both):
                one.close()


async def test_many_descriptors_at_once() -> None:
    loop = asyncio.get_running_loop()
    pairs = [socket.socketpair() for _ in range(100)]
    seen: set[int] = set()

    def readable(number: int) -> None:
        pairs[number][0].recv(10)
        seen.add(number)

    for number, (a, b) in enumerate(pairs):
        loop.add_reader(a, readable, number)
        b.send(b"x")
    await until(lambda: len(seen) == 100)
    for a, b in pairs:
        assert loop.remove_reader(a)
        a.close()
        b.close()


def test_readers_of_a_closed_loop(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.add_reader(pair[0], print)
    with pytest.raises(RuntimeError, match="closed"):
        loop.add_writer(pair[0], print)
    assert loop.remove_reader(pair[0]) is False
    assert loop.remove_writer(pair[0]) is False


def test_readers_added_before_the_loop_runs(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    loop.add_reader(pair[0], loop.stop)
    pair[1].send(b"x")
    loop.run_forever()
    assert loop.remove_reader(pair[0]) is True
