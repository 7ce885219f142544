"""The engine contract, rule by rule, on every engine that can run here."""

from __future__ import annotations

import errno
import gc
import os
import selectors
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evenloop.engines import Engine, available, choose
from evenloop.engines import engine as kinds
from evenloop.engines.selector import SelectorEngine

from tests.engines.ops import Record, sleeps, turn, until


def poke(fd: int) -> None:
    """Write a byte to a signal descriptor, which is a socket on Windows."""
    if os.name == "posix":
        os.write(fd, b"\x02")
    else:
        sock = socket.socket(fileno=fd)
        sock.send(b"\x02")
        sock.detach()


def pair_at(number: int) -> tuple[socket.socket, socket.socket]:
    """Return a connected pair whose left socket has a number that was just given back."""
    others: list[socket.socket] = []
    try:
        for _ in range(64):  # a handle of Windows need not be the lowest that is free
            left = socket.socket()
            if left.fileno() == number:
                with socket.create_server(("127.0.0.1", 0)) as listener:
                    left.connect(listener.getsockname())
                    return left, listener.accept()[0]
            others.append(left)
    finally:
        for each in others:
            each.close()
    raise AssertionError(f"{number} was not given out again")


def _makers() -> list[Any]:
    makers: list[Any] = [
        pytest.param(lambda name=choice.name: choose(name), id=choice.name)
        for choice in available()
        if choice.usable
    ]
    for name in ("SelectSelector", "PollSelector", "EpollSelector", "KqueueSelector"):
        selector = getattr(selectors, name, None)
        if selector is not None:
            makers.append(
                pytest.param(lambda made=selector: SelectorEngine(made()), id=f"selector-{name}")
            )
    return makers


@pytest.fixture(params=_makers())
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    made: Callable[[], Engine] = request.param
    engine = made()
    yield engine
    engine.close()


def reader(sock: socket.socket, **arguments: Any) -> Record:
    return Record(kinds.RECV, sock.fileno(), sock, **arguments)


def test_a_request_that_is_answered_at_once_completes_in_start(engine: Engine, pair: Any) -> None:
    left, right = pair
    right.send(b"here")
    op = reader(left)
    assert engine.start(op)
    assert (op.result, op.error, op.active, op.outcomes) == (b"here", None, False, [])


def test_a_one_shot_completes_exactly_once(engine: Engine, pair: Any) -> None:
    left, right = pair
    op = reader(left)
    assert not engine.start(op)
    assert op.active
    right.send(b"one")
    turn(engine, 1)
    assert op.outcomes == [b"one"]
    assert not op.active
    right.send(b"two")
    turn(engine, 0)
    turn(engine, 0)
    assert op.outcomes == [b"one"]


def test_a_multishot_completes_for_every_event_until_cancelled(engine: Engine, pair: Any) -> None:
    left, right = pair
    engine.adopt(left.fileno(), object())
    op = reader(left, multishot=True)
    assert not engine.start(op)
    for number in (b"1", b"2", b"3"):
        right.send(number)
        turn(engine, 1)
    assert op.outcomes == [b"1", b"2", b"3"]
    assert engine.cancel(op)
    right.send(b"4")
    turn(engine, 0)
    turn(engine, 0)
    assert op.outcomes == [b"1", b"2", b"3"]
    engine.start(op)
    turn(engine, 1)
    assert op.outcomes[3:] == [b"4"]
    right.close()
    turn(engine, 1)
    assert op.outcomes[4:] == [b""]
    engine.forget(left.fileno())


def test_requests_for_the_same_direction_are_answered_in_order(engine: Engine, pair: Any) -> None:
    left, right = pair
    first, second = reader(left, size=1), reader(left, size=1)
    assert not engine.start(first)
    assert not engine.start(second)
    right.send(b"ab")
    for _ in range(3):
        turn(engine, 0.01)
    assert (first.outcomes, second.outcomes) == ([b"a"], [b"b"])


def test_cancelling_one_of_a_queue_leaves_the_others(engine: Engine, pair: Any) -> None:
    left, right = pair
    ops = [reader(left, size=1) for _ in range(3)]
    for op in ops:
        engine.start(op)
    engine.cancel(ops[1])
    engine.cancel(ops[0])
    right.send(b"a")
    turn(engine, 1)
    assert [op.outcomes for op in ops] == [[], [], [b"a"]]


def test_a_vectored_send_takes_what_goes(engine: Engine, pair: Any) -> None:
    left, right = pair
    op = Record(kinds.SEND, left.fileno(), left, buffer=[b"ab", bytearray(b"cd"), b"ef"])
    assert engine.start(op)
    assert op.result == 6
    assert right.recv(100) == b"abcdef"


def test_a_send_waits_for_room_and_reports_a_broken_pipe(engine: Engine, pair: Any) -> None:
    left, right = pair
    op = Record(kinds.SEND, left.fileno(), left, buffer=[bytes(1 << 20)])
    while engine.start(op):
        pass
    turn(engine, 0)
    assert op.outcomes == []
    while True:
        try:
            if not right.recv(1 << 20):
                break
        except BlockingIOError:
            break
    turn(engine, 1)
    assert len(op.outcomes) == 1
    assert op.outcomes[0] > 0
    right.close()
    if not engine.start(op):
        # The engine may know that there was no room, and look again at the next event.
        turn(engine, 1)
    assert isinstance(op.error, (BrokenPipeError, ConnectionResetError))


def test_receiving_into_a_buffer(engine: Engine, pair: Any) -> None:
    left, right = pair
    buffer = bytearray(4)
    op = Record(kinds.RECV_INTO, left.fileno(), left, buffer=buffer)
    engine.start(op)
    right.send(b"xyz")
    turn(engine, 1)
    assert op.outcomes == [3]
    assert buffer == b"xyz\0"


@pytest.mark.parametrize("multishot", [False, True], ids=["once", "multishot"])
def test_what_arrived_before_a_request_was_taken_back_is_kept(
    engine: Engine, pair: Any, multishot: bool
) -> None:
    """Callbacks run between `wait()` and `deliver()`: there a stream may pause and go on."""
    left, right = pair
    engine.adopt(left.fileno(), object())
    op = reader(left, multishot=multishot)
    assert not engine.start(op)
    right.send(b"first ")
    assert engine.wait(5)
    right.send(b"second ")
    assert engine.cancel(op)
    outcomes = op.outcomes
    if engine.start(op):
        outcomes.append(op.result)
    engine.deliver()
    engine.cancel(op)
    # The rest goes to a request of the other kind, whose buffer takes less than has come.
    right.send(b"third")
    right.shutdown(socket.SHUT_WR)
    buffer = bytearray(4)
    into = Record(kinds.RECV_INTO, left.fileno(), left, buffer=buffer)
    deadline = time.perf_counter() + 5
    while (not outcomes or outcomes[-1]) and time.perf_counter() < deadline:
        if engine.start(into):
            into.complete()
        while not into.outcomes and time.perf_counter() < deadline:
            turn(engine, 0.1)
        outcomes.append(bytes(buffer[: into.outcomes.pop()]))
    assert b"".join(outcomes) == b"first second third"
    assert outcomes[-1] == b""
    engine.forget(left.fileno())


def test_a_stream_that_broke_while_nobody_waited_tells_the_next_request(
    engine: Engine, pair: Any
) -> None:
    left, right = pair
    engine.adopt(left.fileno(), object())
    op = reader(left, multishot=True)
    assert not engine.start(op)
    left.send(b"never read")
    time.sleep(0.02)
    right.close()  # with that unread: the connection is reset
    assert engine.wait(5)
    assert engine.cancel(op)
    if engine.start(op):
        op.complete()
    engine.deliver()
    deadline = time.perf_counter() + 5
    while not op.outcomes and time.perf_counter() < deadline:
        turn(engine, 0.1)
    assert isinstance(op.outcomes[0], ConnectionResetError)
    engine.forget(left.fileno())


def test_a_buffer_that_cannot_be_written_to_loses_nothing(engine: Engine, pair: Any) -> None:
    left, right = pair
    engine.adopt(left.fileno(), object())
    bad = Record(kinds.RECV_INTO, left.fileno(), left, buffer=b"constant", multishot=True)
    assert not engine.start(bad)
    right.send(b"kept")
    deadline = time.perf_counter() + 5
    while not bad.outcomes and time.perf_counter() < deadline:
        turn(engine, 0.1)
    assert isinstance(bad.outcomes[0], (TypeError, BufferError))
    assert engine.cancel(bad)
    good = reader(left)
    if engine.start(good):
        good.complete()
    while not good.outcomes and time.perf_counter() < deadline:
        turn(engine, 0.1)
    assert good.outcomes == [b"kept"]
    engine.forget(left.fileno())


@pytest.mark.skipif(os.name != "posix", reason="descriptors of pipes are no handles")
def test_pipes_are_streams_without_a_socket(engine: Engine) -> None:
    read_fd, write_fd = os.pipe()
    os.set_blocking(read_fd, False)
    os.set_blocking(write_fd, False)
    taking = Record(kinds.RECV, read_fd)
    engine.start(taking)
    giving = Record(kinds.SEND, write_fd, buffer=[b"through ", b"a pipe"])
    assert engine.start(giving)
    turn(engine, 1)
    assert taking.outcomes == [b"through a pipe"]
    for fd in (read_fd, write_fd):
        engine.forget(fd)
        os.close(fd)


def test_accepting_and_connecting(engine: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        accepting = Record(kinds.ACCEPT, listener.fileno(), listener, multishot=True)
        engine.start(accepting)
        with socket.socket() as client:
            client.setblocking(False)
            connecting = Record(
                kinds.CONNECT, client.fileno(), client, address=listener.getsockname()
            )
            done = engine.start(connecting)
            for _ in range(5):
                if accepting.outcomes and (done or connecting.outcomes):
                    break
                turn(engine, 1)
            assert connecting.error is None
            accepted, address = accepting.outcomes[0]
            assert accepted.gettimeout() == 0
            assert address == client.getsockname()
            accepted.close()
        engine.forget(listener.fileno())


def test_a_refused_connection_is_an_error(engine: Engine) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = unused.getsockname()
    with socket.socket() as client:
        client.setblocking(False)
        op = Record(kinds.CONNECT, client.fileno(), client, address=address)
        if not engine.start(op):
            turn(engine, 1)
        assert isinstance(op.error, ConnectionRefusedError)
        assert str(address) in str(op.error)


def test_datagrams(engine: Engine) -> None:
    with (
        socket.socket(type=socket.SOCK_DGRAM) as left,
        socket.socket(type=socket.SOCK_DGRAM) as right,
    ):
        for sock in (left, right):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        taking = Record(kinds.RECVFROM, left.fileno(), left, size=100, multishot=True)
        engine.start(taking)
        for data in (b"one", b"", b"three"):
            giving = Record(
                kinds.SENDTO, right.fileno(), right, buffer=data, address=left.getsockname()
            )
            assert engine.start(giving)
            assert giving.result == len(data)
        turn(engine, 1)
        sender = right.getsockname()
        assert taking.outcomes == [(b"one", sender), (b"", sender), (b"three", sender)]
        engine.forget(left.fileno())


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system has no pidfd")
def test_the_exit_of_a_child(engine: Engine) -> None:
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 7"], os.environ)
    fd = os.pidfd_open(pid)
    op = Record(kinds.EXIT, fd, size=pid)
    if not engine.start(op):
        until(engine, lambda: op.outcomes)
        assert op.outcomes == [7]
    else:
        assert op.result == 7
    engine.forget(fd)
    os.close(fd)


def test_polls_report_readiness_and_leave_the_data(engine: Engine, pair: Any) -> None:
    left, right = pair
    readable = Record(kinds.POLL_READ, left.fileno(), multishot=True)
    writable = Record(kinds.POLL_WRITE, left.fileno(), multishot=True)
    engine.start(readable)
    turn(engine, 0)
    assert readable.outcomes == []
    engine.start(writable)
    turn(engine, 1)
    assert writable.outcomes == [None]
    engine.cancel(writable)
    right.send(b"x")
    turn(engine, 1)
    turn(engine, 1)
    assert readable.outcomes == [None, None]
    assert left.recv(10) == b"x"
    engine.cancel(readable)


def test_a_poll_of_a_closed_descriptor_is_an_error(engine: Engine) -> None:
    left, right = socket.socketpair()
    closed = left.fileno()
    left.close()
    right.close()
    op = Record(kinds.POLL_READ, closed, multishot=True)
    with pytest.raises((OSError, ValueError)):
        # select() and poll() notice only when they wait.
        engine.start(op)
        turn(engine, 0)
        if op.outcomes:
            raise OSError(errno.EBADF, "noticed by the wait")
    assert not op.active or isinstance(engine, SelectorEngine)


def test_wait_sleeps_its_time_and_not_less(engine: Engine) -> None:
    for timeout in (0.0013, 0.0203):
        assert sleeps(engine, timeout)


def test_wake_from_another_thread_ends_a_wait(engine: Engine) -> None:
    timer = threading.Timer(0.05, engine.wake)
    timer.start()
    started = time.perf_counter()
    turn(engine, 10)
    assert time.perf_counter() - started < 5
    timer.join()


def test_a_wake_before_the_wait_counts(engine: Engine) -> None:
    for _ in range(3):
        engine.wake()
    started = time.perf_counter()
    turn(engine, 10)
    assert time.perf_counter() - started < 5
    assert sleeps(engine, 0.02)


def test_a_byte_on_the_signal_descriptor_ends_a_wait(engine: Engine) -> None:
    poke(engine.signal_fd())
    started = time.perf_counter()
    turn(engine, 10)
    assert time.perf_counter() - started < 5


def test_python_signal_handlers_run_during_a_wait(engine: Engine) -> None:
    hits: list[int] = []
    number: int = getattr(signal, "SIGUSR1", signal.SIGTERM)
    old = signal.signal(number, lambda number, frame: hits.append(number))
    old_fd = signal.set_wakeup_fd(engine.signal_fd(), warn_on_full_buffer=False)
    try:
        timer = threading.Timer(0.05, signal.raise_signal, (number,))
        timer.start()
        started = time.perf_counter()
        while not hits and time.perf_counter() - started < 5:
            turn(engine, 10)
        assert hits == [number]
        timer.join()
    finally:
        signal.set_wakeup_fd(old_fd)
        signal.signal(number, old)


def test_an_interrupted_wait_is_followed_by_whole_ones(engine: Engine) -> None:
    old_fd = signal.set_wakeup_fd(engine.signal_fd(), warn_on_full_buffer=False)
    try:
        for _ in range(3):
            timer = threading.Timer(0.05, signal.raise_signal, (signal.SIGINT,))
            timer.start()
            started = time.perf_counter()
            with pytest.raises(KeyboardInterrupt):
                while time.perf_counter() - started < 10:
                    turn(engine, 10)
            assert time.perf_counter() - started < 5
            timer.join()
    finally:
        signal.set_wakeup_fd(old_fd)


def test_a_recycled_number_is_not_poisoned(engine: Engine) -> None:
    """Descriptors of the user's are closed without a word, with and without requests on them."""
    for waiting in (False, True):
        left, right = socket.socketpair()
        left.setblocking(False)
        number = left.fileno()
        old = reader(left)
        engine.start(old)
        if not waiting:
            right.send(b"done")
            turn(engine, 1)
            assert old.outcomes == [b"done"]
        left.close()
        right.close()
        left, right = pair_at(number)
        left.setblocking(False)
        new = reader(left)
        engine.start(new)
        right.send(b"new")
        for _ in range(3):
            turn(engine, 0.01)
        assert new.outcomes == [b"new"]
        if waiting:
            assert isinstance(old.outcomes[0], OSError)
        left.close()
        right.close()


def test_a_recycled_number_that_was_polled(engine: Engine) -> None:
    left, right = socket.socketpair()
    number = left.fileno()
    old = Record(kinds.POLL_READ, number, multishot=True)
    engine.start(old)
    left.close()
    right.close()
    left, right = pair_at(number)
    engine.cancel(old)
    new = Record(kinds.POLL_READ, number, multishot=True)
    engine.start(new)
    right.send(b"x")
    turn(engine, 1)
    assert new.outcomes == [None]
    assert old.outcomes == []
    engine.cancel(new)
    left.close()
    right.close()


def test_a_watch_that_outlives_its_descriptor_does_not_spin(engine: Engine) -> None:
    """The file is open elsewhere: epoll goes on reporting it after the close."""
    left, right = socket.socketpair()
    left.setblocking(False)
    copy = left.dup()
    op = reader(left)
    engine.start(op)
    turn(engine, 0)
    number = left.fileno()
    left.close()
    replacement, other = pair_at(number)
    replacement.setblocking(False)
    again = reader(replacement)
    engine.start(again)
    right.send(b"for nobody")
    for _ in range(100):
        turn(engine, 0)
    assert sleeps(engine, 0.05)
    other.send(b"mine")
    turn(engine, 1)
    assert again.outcomes == [b"mine"]
    for sock in (copy, right, replacement, other):
        sock.close()


def test_forget_ends_the_requests_of_a_descriptor(engine: Engine, pair: Any) -> None:
    left, right = pair
    engine.adopt(left.fileno(), self_owner := object())
    assert engine.owner(left.fileno()) is self_owner
    op = reader(left, multishot=True)
    engine.start(op)
    turn(engine, 0)
    engine.forget(left.fileno())
    assert engine.owner(left.fileno()) is None
    assert not op.active
    right.send(b"late")
    turn(engine, 0)
    assert op.outcomes == []


def test_an_op_may_close_another_of_the_same_batch(engine: Engine) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    seen: list[int] = []

    class Closer(Record):
        def complete(self) -> None:
            seen.append(self.fd)
            for left, _ in pairs:
                if left.fileno() not in (-1, self.fd):
                    engine.forget(left.fileno())
                    left.close()

    for left, right in pairs:
        left.setblocking(False)
        engine.adopt(left.fileno(), left)
        engine.start(Closer(kinds.RECV, left.fileno(), left, multishot=True))
        right.send(b"x")
    turn(engine, 1)
    turn(engine, 0)
    assert len(seen) == 1
    for left, right in pairs:
        if left.fileno() != -1:
            engine.forget(left.fileno())
        left.close()
        right.close()


def test_an_interrupt_in_complete_loses_no_event(engine: Engine) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    ops = []

    class Interrupted(Record):
        def complete(self) -> None:
            Record.complete(self)
            raise KeyboardInterrupt

    for left, right in pairs:
        left.setblocking(False)
        op = Interrupted(kinds.RECV, left.fileno(), left)
        engine.start(op)
        ops.append(op)
        right.send(b"x")
    for _ in pairs:
        with pytest.raises(KeyboardInterrupt):
            turn(engine, 1)
    assert [op.outcomes for op in ops] == [[b"x"], [b"x"]]
    for left, right in pairs:
        left.close()
        right.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
def test_a_forked_child_waits_for_itself(engine: Engine, pair: Any) -> None:
    left, right = pair
    engine.adopt(left.fileno(), object())
    op = reader(left, multishot=True)
    engine.start(op)
    turn(engine, 0)
    gc.collect()
    with warnings.catch_warnings():
        # Another test's thread may still be ending; this child takes no lock and runs no thread.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            engine.after_fork()
            engine.forget(left.fileno())
            engine.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    # The child took its own watches down, not ours.
    right.send(b"still here")
    turn(engine, 1)
    assert op.outcomes == [b"still here"]
    engine.wake()
    turn(engine, 1)
    engine.forget(left.fileno())


def test_thousands_of_descriptors(engine: Engine) -> None:
    selector = getattr(engine, "selector", None)
    count = 200 if isinstance(selector, selectors.SelectSelector) else 2000
    pairs = [socket.socketpair() for _ in range(count)]
    ops = []
    for left, _ in pairs:
        left.setblocking(False)
        op = reader(left)
        engine.start(op)
        ops.append(op)
    for _, right in pairs:
        right.send(b"x")
    for _ in range(count):
        if all(op.outcomes for op in ops):
            break
        turn(engine, 0)
    assert all(op.outcomes == [b"x"] for op in ops)
    for left, right in pairs:
        left.close()
        right.close()


def test_stats_count(engine: Engine, pair: Any) -> None:
    left, right = pair
    op = reader(left)
    engine.start(op)
    right.send(b"x")
    turn(engine, 1)
    stats = engine.stats()
    assert stats["waits"] == 1
    assert stats["events"] == 1
    assert stats["changes"] >= 1
