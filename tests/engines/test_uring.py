"""The uring engine where io_uring is at its limits: buffers, places, cancelling, threads, bans."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import random
import select
import socket
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import evenloop
from evenloop.engines import Engine, Op, available, choose
from evenloop.engines import engine as kinds

from tests.engines.ops import sleeps, turn
from tests.support.forbidden import forbidden

_CHOICE = next((choice for choice in available() if choice.name == "uring"), None)
if _CHOICE is None or not _CHOICE.usable:
    pytest.skip(f"no io_uring here: {_CHOICE}", allow_module_level=True)


class Record(Op):
    """An op that remembers how it completed."""

    def __init__(self, kind: int, fd: int, sock: Any = None, **arguments: Any) -> None:
        super().__init__(kind, fd, sock)
        for name, value in arguments.items():
            setattr(self, name, value)
        self.outcomes: list[Any] = []

    def complete(self) -> None:
        self.outcomes.append(self.error if self.error is not None else self.result)


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = choose("uring")
    yield made
    made.close()


def until(engine: Engine, condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        turn(engine, 0.05)


def owned_pair(engine: Engine, room: int = 0) -> tuple[socket.socket, socket.socket]:
    left, right = socket.socketpair()
    for sock in (left, right):
        sock.setblocking(False)
        if room:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
    engine.adopt(left.fileno(), left)
    return left, right


def close(engine: Engine, *socks: socket.socket) -> None:
    for sock in socks:
        engine.forget(sock.fileno())
        sock.close()


# ---- buffers -------------------------------------------------------------------------------


def test_more_messages_at_once_than_there_are_buffers(engine: Engine) -> None:
    """ENOBUFS is no error: what did not find a buffer comes all the same, in order."""
    # Of sockets that keep messages apart, each takes a buffer.
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(20)]
    ops = []
    for left, _ in pairs:
        left.setblocking(False)
        engine.adopt(left.fileno(), left)
        ops.append(Record(kinds.RECV, left.fileno(), left, multishot=True))
        engine.start(ops[len(ops) - 1])
    turn(engine)
    sent: list[bytes] = []
    exhausted = []
    for round in range(5):
        for number in range(8):
            sent.append(b"%d of %d" % (number, round))
            for _, right in pairs:
                right.send(sent[len(sent) - 1])
        until(engine, lambda: all(len(op.outcomes) == len(sent) for op in ops))
        exhausted.append(engine.stats()["exhausted"])
    assert all(op.outcomes == sent for op in ops)
    # There are enough in the end.
    assert 0 < exhausted[0] <= exhausted[3] == exhausted[4]
    for pair in pairs:
        close(engine, *pair)


@pytest.mark.parametrize("kind", [kinds.RECV, kinds.RECV_INTO], ids=["bytes", "into"])
def test_every_byte_in_order_whatever_the_sizes(engine: Engine, kind: int) -> None:
    """From messages that leave room in a buffer to streams that fill it, and back."""
    left, right = owned_pair(engine)
    buffer = bytearray(5000)
    got = bytearray()

    class Taking(Record):
        def complete(self) -> None:
            assert self.error is None, self.error
            got.extend(self.result if kind == kinds.RECV else buffer[: self.result])

    op = Taking(kind, left.fileno(), left, multishot=True, buffer=buffer)
    engine.start(op)
    rng = random.Random(5)
    sent = bytearray()
    for size in [1, 100, 16384, 16383, 16385, 100_000, 3, 3, 3, 200_000, *[7] * 30, 65536, 1]:
        data = rng.randbytes(size)
        sent += data
        view = memoryview(data)
        while view:
            try:
                view = view[right.send(view) :]
            except BlockingIOError:
                turn(engine, 0.01)
            if rng.random() < 0.3:
                # As a stream does that is paused and goes on.
                engine.cancel(op)
                turn(engine)
                engine.start(op)
            turn(engine)
    until(engine, lambda: len(got) == len(sent))
    assert got == sent
    close(engine, left, right)


def test_a_paused_stream_takes_no_more_than_has_come(engine: Engine) -> None:
    left, right = owned_pair(engine, room=64 * 1024)
    op = Record(kinds.RECV, left.fileno(), left, multishot=True)
    engine.start(op)
    turn(engine)
    engine.cancel(op)
    sent = 0
    for _ in range(2000):
        try:
            sent += right.send(bytes(4096))
        except BlockingIOError:
            if engine.wait(0.0):
                engine.deliver()
            elif not select.select([], [right], [], 0)[1]:
                break
    assert sent < 2 << 20
    engine.start(op)
    until(engine, lambda: sum(map(len, op.outcomes)) == sent)
    close(engine, left, right)


def test_one_request_for_many_messages(engine: Engine) -> None:
    """A message costs one call, which is the wait; nothing is put up anew."""
    left, right = owned_pair(engine)
    op = Record(kinds.RECV, left.fileno(), left, multishot=True)
    engine.start(op)
    turn(engine)
    before = engine.stats()
    for _ in range(100):
        right.send(b"message")
        turn(engine, 1)
    after = engine.stats()
    assert op.outcomes == [b"message"] * 100
    assert after["changes"] == before["changes"]
    assert after["enters"] - before["enters"] == 100
    # And looking for news when there is none costs nothing.
    for _ in range(100):
        turn(engine)
    assert engine.stats()["enters"] == after["enters"]
    close(engine, left, right)


# ---- sends ---------------------------------------------------------------------------------


def test_short_sends_go_on_where_they_stopped(engine: Engine) -> None:
    left, right = owned_pair(engine, room=8192)
    rng = random.Random(7)
    pieces: list[Any] = [rng.randbytes(rng.randrange(1, 30_000)) for _ in range(80)]
    whole = b"".join(pieces)
    op = Record(kinds.SEND, left.fileno(), left)
    got = bytearray()
    shorts = 0

    def advance(count: int) -> None:
        while count:
            size = len(pieces[0])
            if count < size:
                pieces[0] = memoryview(pieces[0])[count:]
                return
            count -= size
            pieces.pop(0)

    while pieces:
        while op.outcomes:
            outcome = op.outcomes.pop()
            shorts += outcome < sum(map(len, op.buffer))
            advance(outcome)
        if pieces and not op.active:
            op.buffer = pieces[:64]
            if engine.start(op):
                op.complete()
        if op.active and select.select([right], [], [], 0)[0]:
            got += right.recv(rng.randrange(1, 10_000))
        turn(engine)
    while len(got) < len(whole):
        got += right.recv(1 << 20)
    assert got == whole
    assert shorts > 10
    close(engine, left, right)


# ---- cancelling ----------------------------------------------------------------------------


def test_cancelled_at_random_nothing_is_lost_or_told_twice(engine: Engine) -> None:
    pairs = [owned_pair(engine) for _ in range(20)]
    rng = random.Random(11)
    got = {left: bytearray() for left, _ in pairs}
    sent = {left: bytearray() for left, _ in pairs}

    class Taking(Record):
        def complete(self) -> None:
            assert self.error is None
            assert self.multishot or not self.active
            assert self.wanted
            got[self.sock].extend(self.result)
            if not self.multishot:
                self.wanted = False

    ops = {
        left: [
            Taking(kinds.RECV, left.fileno(), left, multishot=rng.random() < 0.5, size=0)
            for _ in range(2)
        ]
        for left, _ in pairs
    }
    for each in ops.values():
        for op in each:
            op.wanted = False  # type: ignore[attr-defined]
    for step in range(10_000):
        left, right = rng.choice(pairs)
        what = rng.random()
        op = rng.choice(ops[left])
        if what < 0.4:
            data = b"%d;" % step
            right.send(data)
            sent[left] += data
        elif what < 0.6:
            if not op.active:
                op.wanted = True  # type: ignore[attr-defined]
                if engine.start(op):
                    op.complete()
        elif what < 0.8:
            assert engine.cancel(op)
            op.wanted = False  # type: ignore[attr-defined]
        else:
            turn(engine)
    for left, _ in pairs:
        for op in ops[left]:
            engine.cancel(op)
        last = Taking(kinds.RECV, left.fileno(), left, multishot=True)
        last.wanted = True  # type: ignore[attr-defined]
        engine.start(last)
        ops[left] = [last]
    until(engine, lambda: all(len(got[left]) == len(sent[left]) for left, _ in pairs))
    assert got == sent
    for pair in pairs:
        close(engine, *pair)


def test_a_descriptor_that_is_forgotten_can_be_closed_at_once(engine: Engine) -> None:
    """The other side hears of it now, not when the loop turns again."""
    for owned in (True, False):
        left, right = owned_pair(engine)
        right.setblocking(True)
        right.settimeout(5)
        if not owned:
            engine.forget(left.fileno())
        op = Record(kinds.RECV, left.fileno(), left, multishot=owned)
        engine.start(op)
        turn(engine)
        if owned:
            engine.forget(left.fileno())
        else:
            engine.cancel(op)
        left.close()
        assert right.recv(1) == b""
        right.close()


def test_connections_that_nobody_took_are_closed() -> None:
    engine = choose("uring")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        op = Record(kinds.ACCEPT, listener.fileno(), listener, multishot=True)
        engine.start(op)
        turn(engine)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
        assert engine.wait(1)
        assert engine.cancel(op)
        engine.deliver()
        late = socket.create_connection(listener.getsockname())
        turn(engine)
        engine.forget(listener.fileno())
        engine.close()
        assert op.outcomes == []
    for client in (*clients, late):
        client.settimeout(5)
        try:
            assert client.recv(1) == b""
        except ConnectionResetError:
            pass
        client.close()


def test_one_accept_for_many_connections(engine: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
        listener.setblocking(False)
        op = Record(kinds.ACCEPT, listener.fileno(), listener, multishot=True)
        engine.start(op)
        turn(engine)
        changes = engine.stats()["changes"]
        clients = [socket.create_connection(listener.getsockname()) for _ in range(100)]
        until(engine, lambda: len(op.outcomes) == 100)
        assert engine.stats()["changes"] == changes
        for (made, address), client in zip(op.outcomes, clients, strict=True):
            assert address == client.getsockname()
            assert not made.getblocking()
            assert not os.get_inheritable(made.fileno())
            made.close()
            client.close()
        engine.forget(listener.fileno())


# ---- overflow ------------------------------------------------------------------------------


def test_more_completions_than_places(engine: Engine) -> None:
    """Twelve thousand polls are ready at once, and the ring has places for fewer."""
    read_fd, write_fd = os.pipe()
    count = 12_000
    ring: Any = pytest.importorskip("evenloop.engines.ring")
    came = 0

    def note(result: int, flags: int) -> None:
        nonlocal came
        assert result == select.POLLOUT
        came += 1

    one = ring.Ring(512, 1024)
    for _ in range(count):
        one.issue(6, write_fd, note, op_flags=select.POLLOUT)
    deadline = time.monotonic() + 10
    while came < count and time.monotonic() < deadline:
        one.turn(0.1)
    assert (came, one.lost()) == (count, 0)
    one.close()
    os.close(read_fd)
    os.close(write_fd)


def test_an_engine_with_few_places_for_completions_loses_none() -> None:
    """Eight places, and hundreds of streams, connections, polls and files with news at once."""
    module: Any = pytest.importorskip("evenloop.engines.uring")
    engine = module.UringEngine(requests=4, completions=8)
    rng = random.Random(3)
    pairs = [owned_pair(engine) for _ in range(150)]
    streams = [Record(kinds.RECV, left.fileno(), left, multishot=True) for left, _ in pairs]
    users = [socket.socketpair() for _ in range(50)]
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    file, path = tempfile.mkstemp()
    for sock in (listener, *(left for left, _ in users)):
        sock.setblocking(False)
    accepting = Record(kinds.ACCEPT, listener.fileno(), listener, multishot=True)
    for op in (*streams, accepting):
        engine.start(op)
    turn(engine)
    clients = []
    ones: list[Record] = []
    for round in range(4):
        for _, right in rng.sample(pairs, len(pairs)):
            right.send(b"%d;" % round)
        clients += [socket.create_connection(listener.getsockname()) for _ in range(20)]
        ones = [Record(kinds.RECV, left.fileno(), left, size=9) for left, _ in users]
        ones += [
            Record(kinds.WRITE_FILE, file, offset=5 * place, buffer=b"%04d;" % place)
            for place in range(50)
        ]
        for op in ones:
            assert not engine.start(op)
        for _, right in users:
            right.send(b"mine")
        until(engine, lambda ones=ones: all(op.outcomes for op in ones))  # type: ignore[misc]
        assert [op.outcomes for op in ones] == [[b"mine"]] * 50 + [[5]] * 50
    until(engine, lambda: all(b"".join(op.outcomes) == b"0;1;2;3;" for op in streams))
    until(engine, lambda: len(accepting.outcomes) == len(clients))
    stats = engine.stats()
    assert stats["lost"] == 0
    # A look at the ring brings eight at most.
    assert stats["enters"] >= 4 * (len(ones) + 20) / 8
    for made, _ in accepting.outcomes:
        made.close()
    for pair in (*pairs, *users):
        close(engine, *pair)
    close(engine, listener)
    for client in clients:
        client.close()
    engine.close()
    os.close(file)
    os.unlink(path)


@pytest.mark.leaks_allowed  # ten thousand descriptors need a while to be gone
def test_many_streams_with_news_at_once(engine: Engine) -> None:
    pairs = [owned_pair(engine) for _ in range(3000)]
    ops = [Record(kinds.RECV, left.fileno(), left, multishot=True) for left, _ in pairs]
    for op in ops:
        engine.start(op)
    turn(engine)
    for _ in range(4):
        for _, right in pairs:
            right.send(b"x")
    until(engine, lambda: all(sum(map(len, op.outcomes)) == 4 for op in ops))
    for pair in pairs:
        close(engine, *pair)


# ---- threads, forks, the end ---------------------------------------------------------------


def test_a_loop_that_goes_on_in_another_thread() -> None:
    """A ring is one thread's; the loop takes what had come along, and a new ring."""
    loop = evenloop.EventLoop(engine="uring")

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    async def begin() -> Any:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        streams = await asyncio.open_connection(*server.sockets[0].getsockname())
        streams[1].write(b"before")
        assert await streams[0].readexactly(6) == b"before"
        # Under way when the loop stops.
        streams[1].write(b"between")
        return server, streams

    async def go_on(server: Any, streams: Any) -> bytes:
        reader, writer = streams
        writer.write(b" and after")
        data: bytes = await reader.readexactly(17)
        loop.call_later(0.01, writer.close)
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.02)
        server.close()
        await server.wait_closed()
        await loop.shutdown_default_executor()
        return data

    server, streams = loop.run_until_complete(begin())
    results: list[Any] = []
    thread = threading.Thread(
        target=lambda: results.append(loop.run_until_complete(go_on(server, streams)))
    )
    thread.start()
    thread.join(10)
    assert results == [b"between and after"]
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()


def test_a_forked_child_has_a_ring_of_its_own_and_the_parent_keeps_its(engine: Engine) -> None:
    left, right = owned_pair(engine)
    op = Record(kinds.RECV, left.fileno(), left, multishot=True)
    engine.start(op)
    turn(engine)
    right.send(b"parent's")
    assert engine.wait(1)
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            engine.after_fork()
            mine, other = owned_pair(engine)
            taking = Record(kinds.RECV, mine.fileno(), mine, multishot=True)
            engine.start(taking)
            other.send(b"child's")
            turn(engine, 1)
            engine.wake()
            turn(engine, 1)
            if taking.outcomes == [b"child's"] and op.outcomes == []:
                status = 0
            engine.close()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    engine.deliver()
    assert op.outcomes == [b"parent's"]
    right.send(b"more")
    turn(engine, 1)
    assert op.outcomes == [b"parent's", b"more"]
    close(engine, left, right)


def test_an_engine_gives_everything_back() -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    def memory() -> int:
        with open("/proc/self/maps", encoding="ascii") as file:
            return sum(1 for _ in file)

    def one() -> None:
        engine = choose("uring")
        left, right = owned_pair(engine)
        op = Record(kinds.RECV, left.fileno(), left, multishot=True)
        engine.start(op)
        engine.signal_fd()
        right.send(b"x")
        turn(engine, 1)
        left.close()
        right.close()
        engine.close()

    one()
    gc.collect()
    before = descriptors(), memory()
    for _ in range(30):
        one()
    gc.collect()
    after = descriptors(), memory()
    assert after[0] == before[0]
    assert after[1] <= before[1] + 4


def test_a_signal_descriptor_can_be_written_to_for_ever(engine: Engine) -> None:
    fd = engine.signal_fd()
    for _ in range(3):
        os.write(fd, bytes(5000))
        started = time.perf_counter()
        turn(engine, 10)
        assert time.perf_counter() - started < 5
    assert sleeps(engine, 0.02)


# ---- files ---------------------------------------------------------------------------------


def test_files_are_read_written_and_synced(engine: Engine, tmp_path: Any) -> None:
    assert engine.files
    with open(tmp_path / "f", "wb+", 0) as file:
        fd = file.fileno()
        ops = [
            Record(kinds.WRITE_FILE, fd, buffer=b"%04d" % number, offset=4 * number)
            for number in range(500)
        ]
        for op in ops:
            assert engine.start(op) is False
        until(engine, lambda: all(op.outcomes == [4] for op in ops))
        sync = Record(kinds.SYNC_FILE, fd)
        engine.start(sync)
        until(engine, lambda: sync.outcomes == [0])
        assert file.read() == b"".join(b"%04d" % number for number in range(500))
        target = bytearray(8)
        reading = Record(kinds.READ_FILE, fd, buffer=target, offset=4 * 499)
        engine.start(reading)
        with pytest.raises(BufferError):
            target.extend(b"it belongs to the engine")
        until(engine, lambda: reading.outcomes == [4])
        assert target == b"0499\0\0\0\0"
        file.seek(2)
        here = Record(kinds.READ_FILE, fd, buffer=target, offset=-1)
        engine.start(here)
        until(engine, lambda: here.outcomes == [8])
        assert (target, file.tell()) == (b"00000100", 10)
        bad = Record(kinds.WRITE_FILE, 1 << 20, buffer=b"x", offset=0)
        engine.start(bad)
        until(engine, lambda: bad.outcomes)
        assert bad.outcomes[0].errno == errno.EBADF
    with pytest.raises((BufferError, TypeError)):
        engine.start(Record(kinds.READ_FILE, 0, buffer=b"constant", offset=0))


def test_reads_cancelled_at_random_complete_once(engine: Engine, tmp_path: Any) -> None:
    data = random.Random(3).randbytes(1 << 20)
    (tmp_path / "f").write_bytes(data)
    rng = random.Random(13)
    with open(tmp_path / "f", "rb", 0) as file:
        flying: list[Record] = []
        count = 0
        for _ in range(10_000):
            place = rng.randrange(len(data) - 512)
            op = Record(
                kinds.READ_FILE, file.fileno(), buffer=bytearray(512), offset=place, size=place
            )
            engine.start(op)
            flying.append(op)
            if rng.random() < 0.3:
                engine.cancel(rng.choice(flying))
            if len(flying) > 64:
                turn(engine)
                for op in [op for op in flying if not op.active]:
                    flying.remove(op)
                    count += 1
                    (outcome,) = op.outcomes
                    if isinstance(outcome, int):
                        assert op.buffer[:outcome] == data[op.size : op.size + outcome]
                    else:
                        assert outcome.errno == errno.ECANCELED
                    op.buffer.extend(b"mine again")
        until(engine, lambda: not any(op.active for op in flying))
        assert count + len(flying) == 10_000


# ---- where it is forbidden -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"),
    [(errno.EPERM, "io_uring is forbidden"), (errno.ENOSYS, "this kernel has no io_uring")],
)
def test_without_io_uring_everything_falls_back_and_says_why(code: int, reason: str) -> None:
    answer = forbidden(
        code,
        """
        import asyncio, evenloop
        from evenloop.engines import available
        loop = evenloop.ProactorEventLoop()
        print(loop.engine.name, loop.engine.model)
        async def echo(reader, writer):
            writer.write(await reader.read(100))
            writer.close()
        async def main():
            async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.write(b"works")
                print((await reader.read()).decode())
                writer.close()
        loop.run_until_complete(main())
        loop.close()
        print(next(choice.reason for choice in available() if choice.name == "uring"))
        try:
            evenloop.EventLoop(engine="uring")
        except RuntimeError as error:
            print(error)
        """,
    )
    engine, works, told, refused = answer.splitlines()
    assert engine == "epoll readiness"
    assert works == "works"
    assert told.startswith(reason)
    assert "ProactorEventLoop" in told
    assert refused == f"the engine 'uring' cannot run here: {told}"


def test_doctor_says_why_there_is_no_uring() -> None:
    answer = forbidden(
        errno.EPERM, "from evenloop.cli import main; sys.exit(main(['doctor', '--json']))"
    )
    assert "io_uring is forbidden" in answer


def test_the_loop_of_completions() -> None:
    if os.environ.get("EVENLOOP_ENGINE", "uring") != "uring":
        pytest.skip("the environment asks for another engine")
    loop = evenloop.ProactorEventLoop()
    assert (loop.engine.name, loop.engine.model) == ("uring", "completion")
    loop.close()
    loop = evenloop.SelectorEventLoop()
    if "EVENLOOP_ENGINE" not in os.environ:
        assert loop.engine.model == "readiness"
    loop.close()
