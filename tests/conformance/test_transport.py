"""Stream transports: every method, flow control, and protocols changed on the way."""

from __future__ import annotations

import array
import asyncio
import os
import socket
import sys
from typing import Any

import pytest

from tests.support.loops import TrackedFactory, turns, until
from tests.support.protocols import BufferedRecorder, Echo, HalfOpen, Recorder, connected_pair

MUCH = 10_000_000


async def _fill(transport: Any) -> None:
    """Write until the kernel takes no more."""
    for _ in range(200):
        transport.write(bytes(200_000))
        if transport.get_write_buffer_size():
            return
    raise AssertionError("the kernel took 40 MB")


# ---------------------------------------------------------------- writing


async def test_writes_arrive_in_order() -> None:
    async with connected_pair(Recorder, Recorder) as (client, server):
        expected = b"".join(b"%d," % number for number in range(1000))
        for number in range(1000):
            client.transport.write(b"%d," % number)
        assert await server.received(len(expected)) == expected


@pytest.mark.parametrize(
    "data",
    [
        b"bytes",
        bytearray(b"bytearray"),
        memoryview(b"view"),
        memoryview(b"0123456789")[2:7],
        memoryview(array.array("i", [1, 2, 3])).cast("B"),
    ],
)
async def test_write_takes_what_has_a_buffer(data: Any) -> None:
    async with connected_pair(Recorder, Recorder) as (client, server):
        client.transport.write(data)
        assert await server.received(len(bytes(data))) == bytes(data)


async def test_a_buffer_may_change_after_the_write(new_loop: TrackedFactory) -> None:
    """write() has sent or copied the data when it returns, even when the kernel is full."""
    new_loop.skip_stock_if(sys.version_info >= (3, 12), "keeps a view of the caller's buffer")
    async with connected_pair(Recorder, Recorder) as (client, server):
        server.transport.pause_reading()
        await _fill(client.transport)
        data = bytearray(b"original")
        client.transport.write(data)
        data[:] = b"changed!"
        client.transport.write(b"end")
        client.transport.write_eof()
        server.transport.resume_reading()
        await server.eof
        assert server.data.endswith(b"originalend")


async def test_empty_writes_do_nothing() -> None:
    async with connected_pair(Recorder, Recorder) as (client, server):
        client.transport.write(b"")
        client.transport.writelines([])
        client.transport.writelines([b"", b""])
        client.transport.write(b"end")
        assert await server.received(3) == b"end"


async def test_writelines() -> None:
    async with connected_pair(Recorder, Recorder) as (client, server):
        client.transport.writelines([b"one", bytearray(b"two"), memoryview(b"three"), b""])
        assert await server.received(11) == b"onetwothree"
        client.transport.writelines(b"%d" % number for number in range(10))
        assert await server.received(21) == b"onetwothree0123456789"


async def test_writelines_of_a_great_many() -> None:
    """More pieces than one vectored send may take."""
    pieces = [b"%d;" % number for number in range(5000)]
    async with connected_pair(Recorder, Recorder) as (client, server):
        client.transport.writelines(pieces)
        expected = b"".join(pieces)
        assert await server.received(len(expected)) == expected


async def test_much_data_both_ways() -> None:
    data = os.urandom(MUCH // 4)
    async with connected_pair(Recorder, Echo) as (client, _):
        client.transport.write(data)
        assert await client.received(len(data)) == data


async def test_many_writes_behind_a_full_kernel() -> None:
    async with connected_pair(Recorder, Recorder) as (client, server):
        server.transport.pause_reading()
        await _fill(client.transport)
        client.transport.write(b"<")
        for number in range(3000):
            client.transport.write(b"%d," % number)
        client.transport.write(b">")
        client.transport.write_eof()
        server.transport.resume_reading()
        await server.eof
        tail = b"<" + b"".join(b"%d," % number for number in range(3000)) + b">"
        assert server.data.endswith(tail)


# ---------------------------------------------------------------- flow control


async def test_the_limits() -> None:
    async with connected_pair(Recorder, Recorder) as (client, _):
        transport = client.transport
        assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
        transport.set_write_buffer_limits(high=1000)
        assert transport.get_write_buffer_limits() == (250, 1000)
        transport.set_write_buffer_limits(low=100)
        assert transport.get_write_buffer_limits() == (100, 400)
        transport.set_write_buffer_limits(high=500, low=100)
        assert transport.get_write_buffer_limits() == (100, 500)
        transport.set_write_buffer_limits(high=0)
        assert transport.get_write_buffer_limits() == (0, 0)
        transport.set_write_buffer_limits()
        assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
        for bad in ({"high": 1, "low": 2}, {"high": 5, "low": -1}, {"high": -1}):
            with pytest.raises(ValueError, match=r"high|low"):
                transport.set_write_buffer_limits(**bad)


async def test_pause_and_resume_once_each() -> None:
    async with connected_pair(Recorder, Recorder) as (client, server):
        server.transport.pause_reading()
        transport = client.transport
        await _fill(transport)
        transport.write(bytes(70_000))
        transport.write(bytes(70_000))
        assert client.events == ["made", "pause"]
        assert transport.get_write_buffer_size() > 64 * 1024
        server.transport.resume_reading()
        await until(lambda: not transport.get_write_buffer_size())
        await turns()
        assert client.events == ["made", "pause", "resume"]


async def test_a_high_mark_of_zero() -> None:
    """With the limits at zero, writing pauses whenever something is buffered."""
    async with connected_pair(Recorder, Recorder) as (client, server):
        server.transport.pause_reading()
        client.transport.set_write_buffer_limits(high=0)
        client.transport.write(bytes(100))
        await turns()
        await _fill(client.transport)
        assert client.paused
        server.transport.resume_reading()
        await until(lambda: not client.paused)
        assert client.transport.get_write_buffer_size() == 0


async def test_new_limits_may_pause_at_once() -> None:
    async with connected_pair(Recorder, Recorder) as (client, server):
        server.transport.pause_reading()
        client.transport.set_write_buffer_limits(high=100_000_000)
        await _fill(client.transport)
        client.transport.write(bytes(1000))
        assert not client.paused
        client.transport.set_write_buffer_limits(high=10)
        client.transport.write(bytes(1))
        assert client.paused


async def test_the_size_of_the_buffer_is_exact() -> None:
    async with connected_pair(Recorder, Recorder) as (client, server):
        server.transport.pause_reading()
        await _fill(client.transport)
        # What is written next may still find room that the peer's kernel made meanwhile.
        await asyncio.sleep(0.01)
        before = client.transport.get_write_buffer_size()
        client.transport.write(bytes(12345))
        client.transport.writelines([bytes(10), bytes(20)])
        assert client.transport.get_write_buffer_size() == before + 12345 + 30


async def test_pause_and_resume_reading() -> None:
    async with connected_pair(Recorder, Recorder) as (client, server):
        assert server.transport.is_reading()
        server.transport.pause_reading()
        assert not server.transport.is_reading()
        server.transport.pause_reading()
        client.transport.write(b"while paused")
        await asyncio.sleep(0.005)
        assert not server.data
        server.transport.resume_reading()
        server.transport.resume_reading()
        assert server.transport.is_reading()
        assert await server.received(12) == b"while paused"
        server.transport.close()
        assert not server.transport.is_reading()
        server.transport.pause_reading()
        server.transport.resume_reading()


async def test_pausing_in_data_received() -> None:
    class Pausing(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()

    async with connected_pair(Recorder, Pausing) as (client, server):
        for expected in (1, 2, 3):
            client.transport.write(b"x")
            await server.received(expected)
            client.transport.write(b"")
            await asyncio.sleep(0.002)
            assert len(server.data) == expected
            server.transport.resume_reading()


async def test_paused_from_the_first_moment() -> None:
    class Shy(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.pause_reading()

    async with connected_pair(Recorder, Shy) as (client, server):
        client.transport.write(b"early")
        await asyncio.sleep(0.005)
        assert not server.data
        server.transport.resume_reading()
        assert await server.received(5) == b"early"


# ---------------------------------------------------------------- ends


async def test_the_order_of_events() -> None:
    async with connected_pair(Recorder, Recorder) as (client, server):
        client.transport.write(b"data")
        client.transport.close()
        assert await server.closed is None
        assert await client.closed is None
        assert server.events == ["made", "data", "eof", "lost"]
        assert client.events == ["made", "lost"]


async def test_write_eof_half_closes() -> None:
    async with connected_pair(HalfOpen, HalfOpen) as (client, server):
        assert client.transport.can_write_eof() is True
        client.transport.write(b"question")
        client.transport.write_eof()
        client.transport.write_eof()
        await server.eof
        assert not server.transport.is_closing()
        server.transport.write(b"answer")
        server.transport.write_eof()
        await client.eof
        assert client.data == b"answer"
        client.transport.close()
        server.transport.close()
        assert await client.closed is None
        assert await server.closed is None


async def test_write_eof_comes_after_what_is_buffered() -> None:
    async with connected_pair(Recorder, Recorder) as (client, server):
        client.transport.write(bytes(MUCH))
        client.transport.write_eof()
        await server.eof
        assert len(server.data) == MUCH


async def test_no_write_after_write_eof() -> None:
    async with connected_pair(Recorder, HalfOpen) as (client, _):
        client.transport.write_eof()
        with pytest.raises(RuntimeError, match="write_eof"):
            client.transport.write(b"late")


async def test_a_false_eof_received_closes() -> None:
    async with connected_pair(HalfOpen, Recorder) as (client, server):
        client.transport.write_eof()
        assert await server.closed is None
        await client.eof


async def test_close_flushes_first() -> None:
    async with connected_pair(Recorder, Recorder) as (client, server):
        client.transport.write(bytes(MUCH))
        client.transport.close()
        assert client.transport.is_closing()
        assert not client.closed.done()
        assert await server.closed is None
        assert len(server.data) == MUCH
        assert await client.closed is None


async def test_close_reads_no_more() -> None:
    async with connected_pair(Recorder, Recorder) as (client, server):
        server.transport.write(b"unwanted")
        client.transport.close()
        await client.closed
        assert client.data == b""
        assert client.events == ["made", "lost"]


async def test_abort_drops_the_buffer() -> None:
    async with connected_pair(Recorder, Recorder) as (client, server):
        server.transport.pause_reading()
        client.transport.write(bytes(MUCH))
        client.transport.abort()
        assert client.transport.is_closing()
        assert "lost" not in client.events
        assert await client.closed is None
        server.transport.resume_reading()
        await server.closed
        assert len(server.data) < MUCH


async def test_closing_twice_tells_once() -> None:
    async with connected_pair(Recorder, Recorder) as (client, _):
        client.transport.close()
        client.transport.close()
        client.transport.abort()
        await client.closed
        client.transport.close()
        client.transport.abort()
        await turns(5)
        assert client.events == ["made", "lost"]
        assert client.transport.is_closing()


async def test_abort_after_close_does_not_wait_for_the_flush() -> None:
    async with connected_pair(Recorder, Recorder) as (client, server):
        server.transport.pause_reading()
        client.transport.write(bytes(MUCH))
        client.transport.close()
        await turns()
        assert not client.closed.done()
        client.transport.abort()
        assert await client.closed is None


async def test_the_loss_of_a_connection_has_its_reason() -> None:
    import struct

    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _, client = await loop.create_connection(Recorder, *listener.getsockname())
        peer, _ = listener.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        assert isinstance(await client.closed, ConnectionResetError)
        assert client.transport.is_closing()
        assert "eof" not in client.events


async def test_writing_to_one_who_is_gone() -> None:
    """The writes do not raise; connection_lost tells."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _, client = await loop.create_connection(HalfOpen, *listener.getsockname())
        peer, _ = listener.accept()
        peer.close()
        while not client.closed.done():
            client.transport.write(b"anybody?")
            await asyncio.sleep(0.001)
        assert isinstance(await client.closed, (BrokenPipeError, ConnectionResetError))


async def test_extra_info_of_a_closed_transport() -> None:
    async with connected_pair(Recorder, Recorder) as (client, _):
        name = client.transport.get_extra_info("sockname")
        client.transport.abort()
        await client.closed
        assert client.transport.get_extra_info("sockname") == name
        assert "closed" in repr(client.transport)


async def test_a_transport_can_be_held_weakly() -> None:
    import weakref

    async with connected_pair(Recorder, Recorder) as (client, _):
        assert weakref.ref(client.transport)() is client.transport
        assert {client.transport: 1}[client.transport] == 1


# ---------------------------------------------------------------- protocols


async def test_set_protocol_in_mid_stream() -> None:
    async with connected_pair(Recorder, Recorder) as (client, server):
        client.transport.write(b"first")
        await server.received(5)
        second = Recorder()
        second.transport = server.transport
        second.events.append("set")
        server.transport.set_protocol(second)
        assert server.transport.get_protocol() is second
        client.transport.write(b"second")
        assert await second.received(6) == b"second"
        buffered = BufferedRecorder()
        buffered.transport = server.transport
        server.transport.set_protocol(buffered)
        client.transport.write(b"third")
        assert await buffered.received(5) == b"third"
        last = Recorder()
        last.events.append("set")
        last.transport = server.transport
        server.transport.set_protocol(last)
        client.transport.write(b"fourth")
        assert await last.received(6) == b"fourth"
        client.transport.close()
        assert await last.closed is None
        assert not server.closed.done()
        server.closed.set_result(None)


async def test_set_protocol_within_data_received() -> None:
    class Switching(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.next = Recorder()
            self.next.events.append("set")
            self.transport.set_protocol(self.next)

    async with connected_pair(Recorder, Switching) as (client, server):
        client.transport.write(b"one")
        await server.received(3)
        client.transport.write(b"two")
        assert await server.next.received(3) == b"two"
        client.transport.close()
        await server.next.closed
        server.closed.set_result(None)


async def test_buffered_protocols() -> None:
    async with connected_pair(Recorder, BufferedRecorder) as (client, server):
        data = os.urandom(50_000)
        client.transport.write(data)
        assert await server.received(len(data)) == data
        assert all(isinstance(hint, int) for hint in server.hints)
        server.transport.write(b"answer")
        assert await client.received(6) == b"answer"
        client.transport.write_eof()
        await server.eof
        assert await server.closed is None


@pytest.mark.parametrize("kind", ["empty", "none", "raises", "readonly"])
async def test_a_bad_buffer_ends_the_connection(kind: str) -> None:
    loop = asyncio.get_running_loop()
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))

    class Bad(BufferedRecorder):
        def get_buffer(self, sizehint: int) -> Any:
            if kind == "raises":
                raise LookupError("no buffer")
            return {"empty": bytearray(), "none": None, "readonly": b"readonly"}[kind]

    async with connected_pair(Recorder, Bad) as (client, server):
        client.transport.write(b"data")
        error = await server.closed
        assert isinstance(
            error,
            {
                "empty": RuntimeError,
                "none": TypeError,
                "raises": LookupError,
                "readonly": (TypeError, BufferError),
            }[kind],
        )
    assert contexts[0]["exception"] is error
    assert contexts[0]["protocol"] is server
    assert contexts[0]["transport"] is server.transport


async def test_a_raising_buffer_updated() -> None:
    loop = asyncio.get_running_loop()
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))

    class Bad(BufferedRecorder):
        def buffer_updated(self, nbytes: int) -> None:
            raise LookupError("not updated")

    async with connected_pair(Recorder, Bad) as (client, server):
        client.transport.write(b"data")
        assert isinstance(await server.closed, LookupError)
    assert isinstance(contexts[0]["exception"], LookupError)
    assert contexts[0]["transport"] is server.transport


async def test_the_repr_tells_the_state() -> None:
    async with connected_pair(Recorder, Recorder) as (client, _):
        assert "fd=" in repr(client.transport)
        client.transport.close()
        assert "clos" in repr(client.transport)
        await client.closed
