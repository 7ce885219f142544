"""The TLS layer over a wire in memory: data, flow control, and every way to end."""

from __future__ import annotations

import asyncio
import gc
import ssl
import warnings
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.support import tls as contexts
from tests.support.loops import FACTORIES, run, turns, until
from tests.support.protocols import BufferedRecorder, Echo, Recorder
from tests.support.wire import Pair, joined, reports

KIB = 1024


@pytest.fixture
def run_stock() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """What happens in memory does not depend on the loop."""
    return lambda coroutine: run(FACTORIES["stock"], coroutine)


# Data.


@pytest.mark.parametrize("chunk", [1, 3, 7, 100, 5000])
def test_records_arrive_in_pieces(run_stock: Any, chunk: int) -> None:
    async def main() -> None:
        async with joined(chunk=chunk) as pair:
            message = bytes(range(256)) * 70
            pair.transport.write(message)
            assert await pair.client.received(len(message)) == message

    run_stock(main())


def test_writes_of_one_callback_leave_together(run_stock: Any) -> None:
    class Chatty(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            for word in (b"one", bytearray(b"two"), memoryview(b"three")):
                self.transport.write(word)
            self.transport.writelines([b"four", bytearray(b"five")])

    async def main() -> None:
        async with joined(Recorder, Chatty) as pair:
            await turns()
            before = len(pair.far_wire.writes)
            pair.transport.write(b"?")
            assert await pair.client.received(19) == b"onetwothreefourfive"
            assert len(pair.far_wire.writes) == before + 1

    run_stock(main())


def test_write_takes_bytes_alone(run_stock: Any) -> None:
    async def main() -> None:
        async with joined() as pair:
            for wrong in ("text", 3, None, [b"x"]):
                with pytest.raises(TypeError):
                    pair.transport.write(wrong)
            with pytest.raises(NotImplementedError):
                pair.transport.write_eof()
            assert pair.transport.can_write_eof() is False
            pair.transport.write(b"")
            view = memoryview(b"abcdefgh")
            pair.transport.write(view[::2])
            pair.transport.write(view.cast("I"))
            assert await pair.client.received(12) == b"acegabcdefgh"

    run_stock(main())


def test_a_large_write_in_slices(run_stock: Any) -> None:
    async def main() -> None:
        async with joined() as pair:
            data = bytearray(5_000_000)
            pair.transport.write(data)
            data[:] = b"x" * len(data)  # ours to change again
            received = await pair.client.received(len(data))
            assert not any(received)
            assert max(pair.wire.writes) < 512 * KIB

    run_stock(main())


def test_change_of_protocol_in_the_stream(run_stock: Any) -> None:
    async def main() -> None:
        async with joined() as pair:
            pair.transport.write(b"1" * 10)
            await pair.client.received(10)
            buffered = BufferedRecorder()
            pair.transport.set_protocol(buffered)
            assert pair.transport.get_protocol() is buffered
            buffered.events.append("made")
            pair.transport.write(b"2" * 50_000)
            assert await buffered.received(50_000) == b"2" * 50_000
            again = Recorder()
            again.events.append("made")
            pair.transport.set_protocol(again)
            pair.transport.write(b"3" * 20)
            assert await again.received(20) == b"3" * 20
        assert "lost" in again.events and "lost" not in pair.client.events

    run_stock(main())


def test_openssl_may_refuse_for_now(run_stock: Any) -> None:
    class Moody:
        """A layer below that has other business at times (renegotiation)."""

        def __init__(self, sslobj: Any) -> None:
            self.sslobj = sslobj
            self.refuse = 0
            self.offered: list[bytes] = []

        def write(self, data: Any) -> int:
            self.offered.append(bytes(data))
            if self.refuse:
                self.refuse -= 1
                raise ssl.SSLWantReadError
            return int(self.sslobj.write(data))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.sslobj, name)

    class Context(ssl.SSLContext):
        def wrap_bio(self, *args: Any, **kwargs: Any) -> Any:
            self.moody = Moody(super().wrap_bio(*args, **kwargs))
            return self.moody

    async def main() -> None:
        context = Context(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(contexts.AUTHORITY)
        async with joined(client_context=context) as pair:
            context.moody.refuse = 2
            pair.transport.write(b"first")
            pair.transport.write(b"second")
            assert pair.transport.get_write_buffer_size() == 11
            pair.server.transport.write(b"!")  # what it waited for
            await pair.server.received(11)
            assert context.moody.offered == [b"first"] * 3 + [b"second"]
            assert pair.server.data == b"firstsecond"

    run_stock(main())


# Flow control.


def test_writing_pauses_and_resumes(run_stock: Any) -> None:
    async def main() -> None:
        async with joined(Recorder, Recorder) as pair:
            transport, client = pair.transport, pair.client
            assert transport.get_write_buffer_limits() == (128 * KIB, 512 * KIB)
            with pytest.raises(ValueError, match="must be >="):
                transport.set_write_buffer_limits(high=1, low=2)
            transport.set_write_buffer_limits(high=1000)
            assert transport.get_write_buffer_limits() == (250, 1000)
            pair.layer.pause_writing()
            for _ in range(11):
                transport.write(b"x" * 100)
            assert client.paused and transport.get_write_buffer_size() == 1100
            assert not pair.server.data
            pair.layer.resume_writing()
            assert not client.paused and transport.get_write_buffer_size() == 0
            assert len(await pair.server.received(1100)) == 1100

    run_stock(main())


def test_reading_pauses_and_resumes(run_stock: Any) -> None:
    async def main() -> None:
        async with joined(Recorder, Recorder) as pair:
            transport: Any = pair.server.transport
            transport.set_read_buffer_limits(high=100_000)
            assert transport.get_read_buffer_limits() == (25_000, 100_000)
            transport.pause_reading()
            assert not transport.is_reading()
            for _ in range(30):
                pair.transport.write(b"x" * 10_000)
                await turns(2)
            assert not pair.server.data
            assert not pair.far_wire.reading
            assert 100_000 <= transport.get_read_buffer_size() < 150_000
            transport.resume_reading()
            assert len(await pair.server.received(300_000)) == 300_000
            assert pair.far_wire.reading

    run_stock(main())


def test_a_pause_inside_a_callback_holds(run_stock: Any) -> None:
    class OneByOne(BufferedRecorder):
        size = 10

        def buffer_updated(self, nbytes: int) -> None:
            super().buffer_updated(nbytes)
            self.transport.pause_reading()

    async def main() -> None:
        async with joined(OneByOne) as pair:
            pair.transport.write(b"0123456789" * 3)
            for count in (10, 20, 30):
                await pair.client.received(count)
                await turns(5)
                assert len(pair.client.data) == count
                pair.transport.resume_reading()

    run_stock(main())


# Ends.


def test_nothing_is_delivered_after_close(run_stock: Any) -> None:
    async def main() -> None:
        async with joined(Recorder, Recorder) as pair:
            pair.far_wire.held = True
            pair.transport.close()
            await turns()
            for _ in range(20):
                pair.server.transport.write(b"x" * 50_000)
            pair.far_wire.release()
            assert await pair.client.closed is None
            assert await pair.server.closed is None
            assert not pair.client.data

    run_stock(main())


def test_close_waits_for_the_goodbye_only_so_long(run_stock: Any) -> None:
    async def main() -> None:
        async with joined(shutdown=0.05) as pair:
            pair.far_wire.held = True
            pair.transport.close()
            assert isinstance(await pair.client.closed, TimeoutError)
            assert pair.wire.aborted

    run_stock(main())


def test_a_slow_flush_is_given_time(run_stock: Any) -> None:
    async def main() -> None:
        async with joined(Recorder, Recorder, shutdown=0.05) as pair:
            pair.layer.pause_writing()
            pair.transport.write(b"x" * 1000)
            pair.wire.buffered = 4
            pair.transport.close()
            for left in (3, 2, 1):
                await asyncio.sleep(0.04)
                pair.wire.buffered = left
            assert not pair.client.closed.done()
            pair.wire.buffered = 0
            pair.layer.resume_writing()
            assert await pair.client.closed is None
            assert len(pair.server.data) == 1000

    run_stock(main())


def test_an_end_without_goodbye(run_stock: Any) -> None:
    async def main() -> None:
        async with joined() as pair:
            pair.far_wire.abort()
            assert await pair.client.closed is None
            assert pair.client.events == ["made", "eof", "lost"]

    run_stock(main())


def test_an_end_while_reading_is_paused(run_stock: Any) -> None:
    async def main() -> None:
        async with joined(Recorder, Recorder) as pair:
            pair.transport.pause_reading()
            pair.server.transport.write(b"the rest")
            await turns()
            pair.wire.end()
            await turns(5)
            assert pair.client.events == ["made"] and not pair.wire.closed
            pair.transport.resume_reading()
            assert await pair.client.closed is None
            assert pair.client.events == ["made", "data", "eof", "lost"]
            assert pair.client.data == b"the rest"

    run_stock(main())


def test_close_after_an_end_while_paused(run_stock: Any) -> None:
    async def main() -> None:
        async with joined(Recorder, Recorder) as pair:
            pair.transport.pause_reading()
            pair.server.transport.write(b"the rest")
            await turns()
            pair.wire.end()
            await turns()
            pair.transport.close()
            assert await pair.client.closed is None
            assert not pair.client.data

    run_stock(main())


def test_close_while_the_lower_transport_is_held_back(run_stock: Any) -> None:
    async def main() -> None:
        async with joined(Recorder, Recorder) as pair:
            pair.transport.set_read_buffer_limits(high=10)
            pair.transport.pause_reading()
            pair.server.transport.write(b"x" * 100)
            await until(lambda: not pair.wire.reading)
            pair.transport.close()
            assert await pair.client.closed is None

    run_stock(main())


def test_the_answer_to_a_goodbye_carries_the_backlog(run_stock: Any) -> None:
    async def main() -> None:
        async with joined(Recorder, Recorder) as pair:
            pair.far_layer.pause_writing()
            pair.server.transport.write(b"x" * 100_000)
            pair.transport.close()
            await turns(5)
            assert "lost" not in pair.server.events
            pair.far_layer.resume_writing()
            assert await pair.server.closed is None
            assert await pair.client.closed is None

    run_stock(main())


@pytest.mark.parametrize("state", ["open", "paused", "flushing", "shutdown"])
def test_abort_in_every_state(run_stock: Any, state: str) -> None:
    async def main() -> None:
        async with joined(Recorder, Recorder) as pair:
            pair.far_wire.held = True
            if state == "paused":
                pair.transport.pause_reading()
            if state == "flushing":
                pair.layer.pause_writing()
                pair.transport.write(b"never sent")
            if state in ("flushing", "shutdown"):
                pair.transport.close()
            assert state in repr(pair.transport) or state == "paused"
            pair.transport.abort()
            assert pair.transport.is_closing()
            assert await pair.client.closed is None
            assert pair.client.events == ["made", "lost"]
            pair.transport.abort()
            pair.transport.close()

    run_stock(main())


def test_writes_to_a_closed_connection(run_stock: Any, asyncio_log: Any) -> None:
    async def main() -> None:
        async with joined() as pair:
            pair.transport.abort()
            for _ in range(6):
                pair.transport.write(b"too late")
            asyncio_log.expect("SSL connection is closed")

    run_stock(main())


def test_corrupt_data(run_stock: Any) -> None:
    async def main() -> None:
        async with joined() as pair:
            with reports() as told:
                pair.far_wire.write(b"this is not a record at all")
                assert isinstance(await pair.client.closed, ssl.SSLError)
            assert told == []  # the network's fault, not the program's

    run_stock(main())


@pytest.mark.parametrize("callback", ["connection_made", "data_received", "eof_received"])
def test_a_callback_that_raises(run_stock: Any, callback: str) -> None:
    class Error(Exception):
        pass

    async def main() -> None:
        client, server = Recorder(), Echo()
        original = getattr(client, callback)

        def failing(*args: Any) -> None:
            original(*args)
            raise Error

        setattr(client, callback, failing)
        pair = Pair(client, server)
        with reports() as told:
            pair.begin()
            if callback == "connection_made":
                with pytest.raises(Error):
                    await pair.waiter
            else:
                await pair.waiter
                pair.transport.write(b"x")
                await client.received(1)
                if callback == "eof_received":
                    pair.far_wire.abort()
            assert isinstance(await client.closed, Error)
        assert len(told) == 1
        assert isinstance(told[0]["exception"], Error)
        assert {"message", "exception", "transport", "protocol"} <= set(told[0])
        pair.abort()
        await until(lambda: pair.far_wire.lost)

    run_stock(main())


def test_keep_open_has_no_effect(run_stock: Any, asyncio_log: Any) -> None:
    class Clinging(Recorder):
        keep_open = True

    async def main() -> None:
        async with joined(Clinging) as pair:
            pair.server.transport.close()
            assert await pair.client.closed is None
        asyncio_log.expect("no effect when using ssl")

    run_stock(main())


def test_nothing_is_kept_alive(run_stock: Any) -> None:
    async def main() -> None:
        async with joined() as pair:
            layer = weakref.ref(pair.layer)
            transport = weakref.ref(pair.transport)
            pair.transport.close()
            await pair.client.closed
            pair.client.transport = None
        del pair
        await asyncio.sleep(0)
        gc.collect()
        assert layer() is None and transport() is None

    run_stock(main())


def test_an_unclosed_transport_warns(run_stock: Any) -> None:
    async def main() -> None:
        pair = Pair(Recorder(), Recorder())
        pair.begin()
        await pair.waiter
        await turns(5)
        for wire in (pair.wire, pair.far_wire):
            wire.protocol = None
            wire.queue.clear()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run_stock(main())
        gc.collect()
    unclosed = [w for w in caught if w.category is ResourceWarning]
    assert len(unclosed) == 2
    assert "unclosed transport <TLSTransport" in str(unclosed[0].message)


def test_idle_connections_own_no_buffer(run_stock: Any) -> None:
    async def main() -> None:
        async with joined() as one, joined() as other:
            views = []
            for pair in (one, other):
                view = pair.layer.get_buffer(-1)
                views.append(view)
                assert pair.layer.get_buffer(-1) is view  # a read that found nothing
            assert views[0] is not views[1]  # two reads in flight
            for pair in (one, other):
                pair.layer.buffer_updated(0)
            again = one.layer.get_buffer(-1)
            assert any(again is view for view in views)
            one.layer.buffer_updated(0)

    run_stock(main())
