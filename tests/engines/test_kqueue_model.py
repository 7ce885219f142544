"""The kqueue engine on the model of kqueue, and the model itself against the manual pages.

The model stands in for `select.kqueue`, which is what the uncompiled engine uses: compiled, this
file has nothing to test (`.ci/matrix` has a cell for it, and one on libkqueue for the C).
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evenloop._mode import mode
from evenloop.engines import descriptors
from evenloop.engines import engine as kinds

from tests.engines.ops import Record, quiet, turn, until
from tests.support import kqueue_model as model
from tests.support.kqueue_model import kevent

pytestmark = [
    pytest.mark.skipif(mode().name != "pure", reason="the model is for the uncompiled engine"),
    pytest.mark.skipif(
        not hasattr(os, "eventfd") or not hasattr(os, "pidfd_open"), reason="the model is for Linux"
    ),
]

SYSTEMS = list(model.SYSTEMS)


@pytest.fixture(params=SYSTEMS)
def system(request: pytest.FixtureRequest) -> Iterator[model.Answers]:
    """Each system in turn, in the place of this one."""
    had = getattr(select, "kqueue", None)
    before = model.kqueue.answers
    model.kqueue.answers = model.SYSTEMS[request.param]
    model.install_class(model.kqueue)
    yield model.kqueue.answers
    model.kqueue.answers = before
    if had is None:
        model.uninstall()
    else:
        model.install_class(had)


@pytest.fixture
def queue(system: model.Answers) -> Iterator[model.kqueue]:
    made = model.kqueue()
    yield made
    made.close()


@pytest.fixture
def engine(system: model.Answers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from evenloop.engines import kqueue as module

    monkeypatch.setattr(module, "_user_events_work", None)
    monkeypatch.setattr(descriptors, "NAMED_PIPES_MISLEAD", system.fifo_ends_silently)
    # The model keeps to Linux in this: a pipe without a name has a link there.
    monkeypatch.setattr(descriptors, "has_name", lambda fd: _is_named_pipe(fd))
    made = module.KqueueEngine()
    yield made
    made.close()


@pytest.fixture
def pipe() -> Iterator[list[int]]:
    """Both ends of a pipe; a test that closes one takes it off the list."""
    ends = list(os.pipe())
    for fd in ends:
        os.set_blocking(fd, False)
    yield ends
    for fd in ends:
        os.close(fd)


def _is_named_pipe(fd: int) -> bool:
    kind = os.fstat(fd).st_mode
    return stat.S_ISFIFO(kind) and not os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:")


def end(pid: int) -> None:
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def child(code: int) -> int:
    return os.posix_spawn("/bin/sh", ["sh", "-c", f"exit {code}"], os.environ)


# ---- the model: kqueue(2) -------------------------------------------------------------------


def test_a_watch_is_level_triggered(queue: model.kqueue, pair: Any) -> None:
    left, right = pair
    queue.control([kevent(left, model.READ, model.ADD, udata=7)], 0)
    assert queue.control(None, 4, 0) == []
    right.send(b"x")
    for _ in range(2):
        [event] = queue.control(None, 4, 0)
        assert (event.ident, event.filter, event.udata) == (left.fileno(), model.READ, 7)
    left.recv(1)
    assert queue.control(None, 4, 0) == []


def test_end_of_file_comes_with_what_is_unread(queue: model.kqueue, pair: Any) -> None:
    left, right = pair
    right.send(b"last words")
    right.shutdown(socket.SHUT_WR)
    [event] = queue.control([kevent(left, model.READ, model.ADD)], 4, 1)
    assert event.flags & model.EOF
    assert left.recv(100) == b"last words"


def test_both_directions_are_two_events(queue: model.kqueue, pair: Any) -> None:
    left, right = pair
    right.send(b"x")
    changes = [kevent(left, each, model.ADD) for each in (model.READ, model.WRITE)]
    events = queue.control(changes, 4, 1)
    assert {event.filter for event in events} == {model.READ, model.WRITE}


def test_a_receipt_takes_no_event_along(queue: model.kqueue, pair: Any) -> None:
    left, right = pair
    right.send(b"x")
    [receipt] = queue.control([kevent(left, model.READ, model.ADD | model.RECEIPT)], 4, 1)
    assert (receipt.flags, receipt.data) == (model.ERROR, 0)


def test_an_error_comes_as_an_event_if_there_is_room(queue: model.kqueue) -> None:
    change = kevent(987, model.READ, model.ADD)
    [event] = queue.control([change], 1, 1)
    assert (event.flags, event.data) == (model.ERROR, errno.EBADF)
    with pytest.raises(OSError, match="Bad file") as caught:
        queue.control([change], 0)
    assert caught.value.errno == errno.EBADF


def test_a_close_drops_the_watch(queue: model.kqueue, system: model.Answers) -> None:
    left, right = socket.socketpair()
    queue.control([kevent(left, model.READ, model.ADD)], 0)
    right.send(b"x")
    fd = left.fileno()
    left.close()
    right.close()
    assert queue.control(None, 4, 0) == []
    [event] = queue.control([kevent(fd, model.READ, model.DELETE)], 1, 0)
    assert event.data == system.delete_closed


def test_once_is_once(queue: model.kqueue, pair: Any) -> None:
    left, right = pair
    right.send(b"x")
    assert queue.control([kevent(left, model.READ, model.ADD | model.ONESHOT)], 4, 1)
    assert queue.control(None, 4, 0) == []


def test_user_events(queue: model.kqueue, system: model.Answers) -> None:
    trigger = kevent(1, model.USER, 0, model.NOTE_TRIGGER)
    [early] = queue.control([trigger], 1, 0)
    if system.user_events == "missing":
        assert early.data == errno.EINVAL
        return
    assert early.data == errno.ENOENT
    queue.control([kevent(1, model.USER, model.ADD | model.CLEAR)], 0)
    timer = threading.Timer(0.05, queue.control, ([trigger], 0))
    timer.start()
    assert len(queue.control(None, 4, 5)) == 1
    assert queue.control(None, 4, 0) == []
    timer.join()


def test_the_end_of_a_process(queue: model.kqueue, system: model.Answers) -> None:
    watch = kevent(0, model.PROC, model.ADD, model.NOTE_EXIT)
    watch.ident = os.posix_spawn("/bin/sleep", ["sleep", "0.05"], os.environ)
    [event] = queue.control([watch], 4, 5)
    assert (event.ident, event.filter) == (watch.ident, model.PROC)
    assert queue.control(None, 4, 0) == []
    again = queue.control([watch], 4, 0)
    assert again[0].data == errno.ESRCH if system.dead_child_is_gone else again[0].flags
    os.waitpid(watch.ident, 0)
    assert queue.control([watch], 4, 0)[0].data == errno.ESRCH


def test_a_file_is_readable_up_to_its_end_and_again_when_it_grows(
    queue: model.kqueue, tmp_path: Any
) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"abc")
    with open(path, "rb", buffering=0) as file:
        [event] = queue.control([kevent(file, model.READ, model.ADD)], 4, 0)
        assert event.data == 3
        file.read()
        assert queue.control(None, 4, 0.02) == []
        with open(path, "ab") as writer:
            writer.write(b"de")
        assert queue.control(None, 4, 1)[0].data == 2


def test_devices(queue: model.kqueue, system: model.Answers) -> None:
    with open("/dev/null", "rb", buffering=0) as null:
        [event] = queue.control([kevent(null, model.READ, model.ADD)], 4, 1)
        assert (event.flags == model.ERROR) == system.refuses_devices
        if system.refuses_devices:
            assert event.data == errno.EINVAL


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_kqueue_is_not_inherited(queue: model.kqueue) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            queue.control(None, 1, 0)
        except OSError as error:
            os._exit(error.errno)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == errno.EBADF


# ---- the engine: the table of what bites ----------------------------------------------------


@pytest.mark.parametrize("name", ["/dev/null", "/dev/zero"])
def test_what_kqueue_refuses_is_watched_another_way(
    engine: Any, system: model.Answers, name: str
) -> None:
    fd = os.open(name, os.O_RDWR)
    op = Record(kinds.POLL_READ, fd, multishot=True)
    assert not engine.start(op)
    until(engine, lambda: len(op.outcomes) > 2)
    writing = Record(kinds.POLL_WRITE, fd, multishot=True)
    engine.start(writing)
    until(engine, lambda: len(writing.outcomes) > 2)
    assert engine.cancel(op)
    assert engine.cancel(writing)
    assert quiet(engine, op)
    assert quiet(engine, writing)
    helpers = [each for each in threading.enumerate() if each.name == "evenloop-select"]
    assert bool(helpers) == system.refuses_devices
    os.close(fd)


def test_no_thread_is_started_that_is_not_needed(engine: Any, pair: Any) -> None:
    before = threading.active_count()
    left, right = pair
    op = Record(kinds.RECV, left.fileno(), left)
    engine.start(op)
    right.send(b"x")
    until(engine, lambda: op.outcomes)
    assert threading.active_count() == before


def test_a_device_that_is_not_ready_yet(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that kqueue refuses, as /dev/tty on macOS: what is typed comes through."""
    monkeypatch.setattr(os, "major", lambda number: 2)
    master, slave = os.openpty()
    os.set_blocking(slave, False)
    engine.adopt(slave, object())
    op = Record(kinds.RECV, slave, multishot=True)
    assert not engine.start(op)
    assert quiet(engine, op)
    for line in (b"one\n", b"two\n"):
        os.write(master, line)
        until(engine, lambda line=line: op.outcomes and op.outcomes[-1] == line)
    engine.cancel(op)
    os.write(master, b"three\n")
    assert quiet(engine, op, 0.05)
    engine.start(op)
    until(engine, lambda: op.outcomes[-1] == b"three\n")
    engine.forget(slave)
    os.close(slave)
    os.close(master)


def test_a_device_whose_number_comes_back_as_something_else(engine: Any, pair: Any) -> None:
    left, right = pair
    fd = os.open("/dev/null", os.O_RDONLY)
    op = Record(kinds.POLL_READ, fd, multishot=True)
    engine.start(op)
    turn(engine)
    engine.cancel(op)
    os.dup2(left.fileno(), fd)
    other = Record(kinds.POLL_READ, fd, multishot=True)
    engine.start(other)
    assert quiet(engine, other)
    right.send(b"x")
    until(engine, lambda: other.outcomes)
    engine.cancel(other)
    os.close(fd)


def test_a_pipe_whose_reader_is_gone_is_writable(engine: Any, pipe: list[int]) -> None:
    os.close(pipe.pop(0))
    polling = Record(kinds.POLL_WRITE, pipe[0], multishot=True)
    assert not engine.start(polling)
    until(engine, lambda: len(polling.outcomes) > 1)
    engine.cancel(polling)
    assert quiet(engine, polling)


def test_a_broken_pipe_among_other_changes(
    engine: Any, system: model.Answers, pipe: list[int], pair: Any
) -> None:
    """One call fails for one change of many: the others are carried out."""
    left, right = pair
    reader, writer = pipe
    filled = Record(kinds.SEND, writer, buffer=[bytes(1 << 20)])
    engine.adopt(writer, object())
    while engine.start(filled):
        pass
    reading = Record(kinds.RECV, left.fileno(), left)
    engine.start(reading)
    pipe.remove(reader)
    os.close(reader)
    right.send(b"x")
    until(engine, lambda: reading.outcomes and filled.outcomes)
    assert reading.outcomes == [b"x"]
    assert isinstance(filled.outcomes[0], BrokenPipeError)
    engine.forget(writer)


@pytest.mark.parametrize("late", [False, True], ids=["running", "ended"])
def test_the_exit_of_a_child_by_its_number(engine: Any, late: bool) -> None:
    pid = child(7)
    if late:
        end(pid)
    op = Record(kinds.EXIT, -1, size=pid)
    if engine.start(op):
        assert op.result == 7
    else:
        until(engine, lambda: op.outcomes)
        assert op.outcomes == [7]
    assert not op.active


def test_a_child_that_others_have_collected(engine: Any) -> None:
    pid = child(7)
    os.waitpid(pid, 0)
    op = Record(kinds.EXIT, -1, size=pid)
    assert engine.start(op)
    assert isinstance(op.error, ChildProcessError)


def test_a_child_nobody_waits_for_any_more(engine: Any) -> None:
    pid = child(0)
    op = Record(kinds.EXIT, -1, size=pid)
    if not engine.start(op):
        assert engine.cancel(op)
        assert quiet(engine, op)
        os.waitpid(pid, 0)


def test_an_interrupt_keeps_the_ends_of_children(engine: Any, pair: Any) -> None:
    class Interrupting(Record):
        def complete(self) -> None:
            super().complete()
            raise KeyboardInterrupt

    left, right = pair
    reading = Interrupting(kinds.RECV, left.fileno(), left)
    engine.start(reading)
    engine.reconcile()
    stdin, go = os.pipe()
    sleeper = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", "read line; exit 5"],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, stdin, 0)],
    )
    op = Record(kinds.EXIT, -1, size=sleeper)
    assert not engine.start(op)
    os.write(go, b"go\n")
    os.close(stdin)
    os.close(go)
    end(sleeper)
    right.send(b"x")
    assert engine.wait(5)
    with pytest.raises(KeyboardInterrupt):
        engine.deliver()
    until(engine, lambda: op.outcomes)
    assert op.outcomes == [5]


@pytest.mark.parametrize("kind", ["works", "missing", "silent"])
def test_wake_ups_without_user_events(
    system: model.Answers, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    from evenloop.engines import kqueue as module

    monkeypatch.setattr(module, "_user_events_work", None)
    monkeypatch.setattr(system, "user_events", kind)
    engine: Any = module.KqueueEngine()
    assert engine._user_events == (kind == "works")
    timer = threading.Timer(0.05, engine.wake)
    timer.start()
    started = time.monotonic()
    turn(engine, 10)
    assert time.monotonic() - started < 5
    timer.join()
    turn(engine, 0.01)
    engine.close()
    engine.wake()  # a thread may be late


def test_a_regular_file(engine: Any, tmp_path: Any) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"abc")
    file = os.open(path, os.O_RDWR)
    op = Record(kinds.POLL_READ, file, multishot=True)
    assert not engine.start(op)
    until(engine, lambda: len(op.outcomes) > 2)
    assert os.read(file, 10) == b"abc"
    turn(engine)
    assert quiet(engine, op), "the end of a file is no news"
    count = len(op.outcomes)
    with open(path, "ab") as writer:
        writer.write(b"de")
    until(engine, lambda: len(op.outcomes) > count)
    assert os.read(file, 10) == b"de"
    turn(engine)
    assert quiet(engine, op)
    count = len(op.outcomes)
    os.truncate(path, 1)
    until(engine, lambda: len(op.outcomes) > count)
    turn(engine)
    assert quiet(engine, op), "a truncation is told once"
    writing = Record(kinds.POLL_WRITE, file, multishot=True)
    engine.start(writing)
    until(engine, lambda: len(writing.outcomes) > 2)
    engine.cancel(op)
    engine.cancel(writing)
    assert quiet(engine, writing)
    os.close(file)


def test_a_named_pipe_ends(engine: Any, tmp_path: Any) -> None:
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY)
    engine.adopt(reader, object())
    op = Record(kinds.RECV, reader, multishot=True)
    assert not engine.start(op)
    os.write(writer, b"x")
    until(engine, lambda: op.outcomes)
    os.close(writer)
    until(engine, lambda: op.outcomes[-1] == b"")
    assert op.outcomes[0] == b"x"
    engine.forget(reader)
    os.close(reader)


def test_a_failed_connection_without_an_error_on_the_socket(
    engine: Any, monkeypatch: pytest.MonkeyPatch, pair: Any
) -> None:
    """A library on Linux takes it from there; the event has it too."""
    left, _ = pair
    told = model.kqueue._look

    def refused(self: Any, knote: Any) -> Any:
        event = told(self, knote)
        if event is not None and event.filter == model.WRITE:
            event.flags |= model.EOF
            event.fflags = errno.ECONNREFUSED
        return event

    monkeypatch.setattr(model.kqueue, "_look", refused)
    op = Record(kinds.CONNECT, left.fileno(), left, address="nowhere")
    monkeypatch.setattr("evenloop.engines.readiness._connect", _begun(op))
    assert not engine.start(op)
    until(engine, lambda: op.outcomes)
    assert isinstance(op.outcomes[0], ConnectionRefusedError)


def _begun(op: Record) -> Callable[[Any], bool]:
    """The real `_connect`, for a connection that has been begun already."""
    from evenloop.engines import readiness

    real: Any = readiness._connect

    def connect(each: Any) -> bool:
        if each.result is None:
            each.result = 0
            return False
        return bool(real(each))

    return connect


def test_more_changes_than_one_call_takes(engine: Any) -> None:
    pairs = [socket.socketpair() for _ in range(300)]
    ops = []
    for left, right in pairs:
        left.setblocking(False)
        for sock in (left, right):
            engine.adopt(sock.fileno(), object())
            op = Record(kinds.POLL_WRITE if sock is right else kinds.RECV, sock.fileno(), sock)
            op.multishot = True
            ops.append(op)
            engine._claim(op)
            slot = engine._slots[sock.fileno()]
            slot.reader, slot.writer = (op, None) if sock is left else (None, op)
            op.active = True
            engine._mark(slot)
        right.send(b"x")
    for _ in range(10):
        turn(engine, 0)
    assert all(op.outcomes for op in ops)
    for left, right in pairs:
        engine.forget(left.fileno())
        engine.forget(right.fileno())
        left.close()
        right.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_with_a_device_and_a_socket(engine: Any, pair: Any) -> None:
    left, right = pair
    null = os.open("/dev/null", os.O_RDONLY)
    device = Record(kinds.POLL_READ, null, multishot=True)
    engine.start(device)
    reading = Record(kinds.RECV, left.fileno(), left, multishot=True)
    engine.start(reading)
    turn(engine, 0.01)
    pid = os.fork()
    if pid == 0:
        try:
            engine.after_fork()
            device.outcomes.clear()
            right.send(b"from the child")
            until(engine, lambda: device.outcomes and reading.outcomes)
            os._exit(0 if reading.outcomes == [b"from the child"] else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    right.send(b"from the parent")
    until(engine, lambda: reading.outcomes)
    engine.cancel(device)
    engine.cancel(reading)
    os.close(null)


def test_a_loop_and_its_children(system: model.Answers) -> None:
    import evenloop
    from evenloop.children import PidChild

    async def main() -> list[int | None]:
        processes = [
            await asyncio.create_subprocess_exec("sh", "-c", f"exit {code}") for code in range(5)
        ]
        for process in processes:
            transport: Any = process._transport  # type: ignore[attr-defined]
            assert isinstance(transport._child, PidChild)
        return [await process.wait() for process in processes]

    with asyncio.Runner(loop_factory=lambda: evenloop.EventLoop("kqueue")) as runner:
        assert runner.run(main()) == [0, 1, 2, 3, 4]
