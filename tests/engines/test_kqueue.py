"""The kqueue engine where there is one: on its own systems, and on libkqueue or the model.

Both the compiled engine and the other pass through here; what depends on a system's answers is in
test_kqueue_model.py.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from evenloop.engines import available, choose, descriptors
from evenloop.engines import engine as kinds

from tests.engines.ops import Record, quiet, turn, until

REASONS = {choice.name: choice.reason for choice in available() if not choice.usable}
pytestmark = pytest.mark.skipif("kqueue" in REASONS, reason=REASONS.get("kqueue", "it is there"))


@pytest.fixture
def engine() -> Iterator[Any]:
    made = choose("kqueue")
    yield made
    made.close()


def test_devices(engine: Any) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    reading = Record(kinds.POLL_READ, null, multishot=True)
    writing = Record(kinds.POLL_WRITE, null, multishot=True)
    engine.start(reading)
    engine.start(writing)
    until(engine, lambda: len(reading.outcomes) > 2 and len(writing.outcomes) > 2)
    engine.cancel(reading)
    engine.cancel(writing)
    assert quiet(engine, reading)
    os.close(null)


def test_a_device_in_a_stream(engine: Any) -> None:
    """Requests of an owned descriptor are settled with the wait, not at once."""
    null = os.open("/dev/null", os.O_RDONLY | os.O_NONBLOCK)
    engine.adopt(null, object())
    op = Record(kinds.RECV, null, multishot=True)
    engine.start(op)
    until(engine, lambda: op.outcomes)
    assert op.outcomes[0] == b""
    engine.forget(null)
    os.close(null)


def test_a_terminal(engine: Any) -> None:
    master, slave = os.openpty()
    os.set_blocking(slave, False)
    engine.adopt(slave, object())
    op = Record(kinds.RECV, slave, multishot=True)
    engine.start(op)
    os.write(master, b"typed\n")
    until(engine, lambda: op.outcomes)
    assert op.outcomes == [b"typed\n"]
    engine.forget(slave)
    os.close(slave)
    os.close(master)


def test_a_regular_file(engine: Any, tmp_path: Any) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"abc")
    file = os.open(path, os.O_RDWR)
    op = Record(kinds.POLL_READ, file, multishot=True)
    engine.start(op)
    until(engine, lambda: len(op.outcomes) > 2)
    os.read(file, 10)
    assert quiet(engine, op), "the end of a file is no news"
    count = len(op.outcomes)
    with open(path, "ab") as writer:
        writer.write(b"de")
    until(engine, lambda: len(op.outcomes) > count)
    os.read(file, 10)
    assert quiet(engine, op)
    count = len(op.outcomes)
    os.truncate(path, 1)
    until(engine, lambda: len(op.outcomes) > count)
    assert quiet(engine, op), "a truncation is told once"
    engine.cancel(op)
    os.close(file)


def test_a_named_pipe_by_way_of_the_thread(
    engine: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descriptors, "NAMED_PIPES_MISLEAD", True)
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY)
    engine.adopt(reader, object())
    op = Record(kinds.RECV, reader, multishot=True)
    engine.start(op)
    turn(engine, 0.01)
    assert any(each.name == "evenloop-select" for each in threading.enumerate())
    os.write(writer, b"x")
    until(engine, lambda: op.outcomes)
    os.close(writer)
    until(engine, lambda: op.outcomes[-1] == b"")
    assert op.outcomes[0] == b"x"
    engine.forget(reader)
    os.close(reader)


def test_children_by_number(engine: Any) -> None:
    ops = []
    for code in range(20):
        pid = os.posix_spawn("/bin/sh", ["sh", "-c", f"exit {code}"], os.environ)
        ops.append(Record(kinds.EXIT, -1, size=pid))
        if engine.start(ops[-1]):
            ops[-1].complete()
    until(engine, lambda: all(op.outcomes for op in ops))
    assert [op.outcomes for op in ops] == [[code] for code in range(20)]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_with_a_child_and_a_device(engine: Any) -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    device = Record(kinds.POLL_READ, null, multishot=True)
    engine.start(device)
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "sleep 0.1; exit 3"], os.environ)
    ending = Record(kinds.EXIT, -1, size=pid)
    assert not engine.start(ending)
    turn(engine, 0)
    forked = os.fork()
    if forked == 0:
        os._exit(0 if _goes_on(engine, device, ending) else 1)
    until(engine, lambda: ending.outcomes and device.outcomes)
    assert ending.outcomes == [3]
    engine.cancel(device)
    os.close(null)
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0


def _goes_on(engine: Any, device: Record, ending: Record) -> bool:
    """In a forked child: the device is watched on, the parent's child is not ours."""
    engine.after_fork()
    device.outcomes.clear()
    until(engine, lambda: device.outcomes)
    return not ending.active and not ending.outcomes


def test_a_regular_file_that_is_another_by_now(engine: Any, tmp_path: Any) -> None:
    for name in ("one", "other"):
        (tmp_path / name).write_bytes(b"unread")
    file, other = (os.open(tmp_path / name, os.O_RDONLY) for name in ("one", "other"))
    op = Record(kinds.POLL_READ, file, multishot=True)
    engine.start(op)
    until(engine, lambda: op.outcomes)
    os.dup2(other, file)
    until(engine, lambda: not op.active)
    assert isinstance(op.outcomes[-1], OSError)
    assert f"descriptor {file} was closed" in str(op.outcomes[-1])
    os.close(file)
    os.close(other)
