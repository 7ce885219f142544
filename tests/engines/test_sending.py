"""Errors of sending that mean something else on macOS and the BSDs, forced here."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import tempfile
from typing import Any

import pytest

import evenloop
from evenloop.engines import available, choose
from evenloop.engines import engine as kinds
from evenloop.engines.readiness import SENDING_MEANS, ReadinessEngine

pytestmark = pytest.mark.skipif(os.name != "posix", reason="errors of POSIX systems")

ENGINES = [choice.name for choice in available() if choice.usable]


class Sock:
    """A socket that cannot send for a while."""

    def __init__(self, sock: socket.socket, *codes: int) -> None:
        self._sock = sock
        self._codes = list(codes)

    def send(self, data: bytes) -> int:
        if self._codes:
            code = self._codes.pop(0)
            raise OSError(code, os.strerror(code))
        return self._sock.send(data)

    def fileno(self) -> int:
        return self._sock.fileno()


class Sending(kinds.Op):
    done: Any = None

    def complete(self) -> None:
        self.done = self.error or self.result


@pytest.fixture
def means(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    # In place: compiled modules hold the same dictionary.
    monkeypatch.setitem(SENDING_MEANS, errno.ENOBUFS, errno.EAGAIN)
    monkeypatch.setitem(SENDING_MEANS, errno.EPROTOTYPE, errno.ECONNRESET)
    return SENDING_MEANS


def request(*codes: int) -> tuple[Sending, socket.socket, socket.socket]:
    left, right = socket.socketpair()
    left.setblocking(False)
    op = Sending(kinds.SEND, left.fileno(), Sock(left, *codes))  # type: ignore[arg-type]
    op.buffer = [b"data"]
    return op, left, right


def test_want_of_buffers_passes(means: dict[int, int]) -> None:
    engine = choose("selector")
    op, left, right = request(errno.ENOBUFS, errno.ENOBUFS)
    assert not ReadinessEngine.start(engine, op)  # type: ignore[arg-type]
    for _ in range(5):
        if engine.wait(1):
            engine.deliver()
    assert op.done == 4
    assert right.recv(10) == b"data"
    engine.forget(left.fileno())
    engine.close()
    left.close()
    right.close()


def test_a_connection_that_is_being_closed(means: dict[int, int]) -> None:
    engine = choose("selector")
    op, left, right = request(errno.EPROTOTYPE)
    assert ReadinessEngine.start(engine, op)  # type: ignore[arg-type]
    assert isinstance(op.error, ConnectionResetError)
    engine.close()
    left.close()
    right.close()


@pytest.mark.parametrize("name", ENGINES)
def test_in_c(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The C knows of it: a broken pipe stands for the errors that Linux does not have."""
    engine = choose(name)
    if type(engine).send_now is kinds.Engine.send_now:
        engine.close()
        pytest.skip(f"{name} has no short way of sending")
    left, right = socket.socketpair()
    right.close()
    op = Sending(kinds.SEND, left.fileno(), left)
    monkeypatch.setitem(SENDING_MEANS, errno.EPIPE, errno.ECONNRESET)
    assert engine.send_now(op, b"data") == 0
    assert isinstance(op.error, ConnectionResetError)
    monkeypatch.setitem(SENDING_MEANS, errno.EPIPE, errno.EAGAIN)
    assert engine.send_now(op, b"data") == 0
    assert op.error is None
    engine.close()
    left.close()


@pytest.mark.skipif(not hasattr(os, "sendfile"), reason="this system has no sendfile")
def test_a_file(means: dict[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    real, refusals = os.sendfile, [1, 1]

    def sendfile(*arguments: Any) -> int:
        if refusals:
            refusals.pop()
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
        return real(*arguments)

    monkeypatch.setattr(os, "sendfile", sendfile)

    async def main() -> bytes:
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        with left, right, tempfile.TemporaryFile() as file:
            left.setblocking(False)
            right.setblocking(False)
            file.write(b"a file of its own")
            file.flush()
            assert await loop.sock_sendfile(left, file, fallback=False) == 17
            return await loop.sock_recv(right, 100)

    with asyncio.Runner(loop_factory=evenloop.new_event_loop) as runner:
        assert runner.run(main()) == b"a file of its own"
    assert not refusals


class Asked(Sending):
    """Counts how often the engine wants its data, which is how often it tries."""

    tries = 0

    def acquire(self) -> Any:
        self.tries += 1
        return super().acquire()


@pytest.mark.parametrize("name", ENGINES)
def test_what_took_a_part_is_not_tried_again_before_there_is_room(name: str) -> None:
    engine = choose(name)
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    op = Asked(kinds.SEND, left.fileno(), left)
    op.buffer = [bytes(1 << 22)]
    assert engine.start(op), "a part goes at once"
    assert 0 < op.result < 1 << 22
    assert not engine.start(op)
    assert not engine.wait(0)
    assert op.tries == 1
    with contextlib.suppress(BlockingIOError):
        while right.recv(1 << 22):
            pass
    assert engine.wait(5)
    engine.deliver()
    assert op.done > 0
    assert op.tries == 2
    engine.forget(left.fileno())
    engine.close()
    left.close()
    right.close()
