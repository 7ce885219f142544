"""Requests on handles that block, with POSIX pipes in the place of Windows'."""

from __future__ import annotations

import asyncio
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evenloop.engines import blocking, winapi
from evenloop.engines import engine as _engine
from evenloop.engines.blocking import Blocking
from evenloop.engines.engine import (
    ACCEPT,
    EXIT,
    POLL_READ,
    POLL_WRITE,
    RECV,
    RECV_INTO,
    SEND,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="plays Windows with POSIX pipes")


class Windows:
    """The calls of `winapi` on descriptors: they block, and are ended by `cancel_call_of`."""

    SOCKET, PIPE, CONSOLE, FILE, OTHER = "socket", "pipe", "console", "file", "other"
    BROKEN_PIPE = winapi.BROKEN_PIPE
    ERROR_OPERATION_ABORTED = winapi.ERROR_OPERATION_ABORTED

    def __init__(self) -> None:
        self.cancelled: set[int] = set()
        self.kinds: dict[int, str] = {}
        #: Whether a read of no bytes waits, as it does on Windows.
        self.empty_read_waits = True
        self.exits: dict[int, int] = {}

    def _await(self, readers: list[int], writers: list[int]) -> None:
        me = threading.get_native_id()
        while not any(select.select(readers, writers, [], 0.005)):
            if me in self.cancelled:
                self.cancelled.discard(me)
                error: Any = OSError(winapi.ERROR_OPERATION_ABORTED, "aborted")
                error.winerror = winapi.ERROR_OPERATION_ABORTED
                raise error

    def handle_kind(self, handle: int) -> str:
        os.fstat(handle)
        return self.kinds.get(handle, "pipe")

    def is_overlapped(self, handle: int) -> bool:
        return False

    def read(self, handle: int, size: int) -> bytes:
        if size or self.empty_read_waits:
            self._await([handle], [])
        return os.read(handle, size) if size else b""

    def write(self, handle: int, data: Any) -> int:
        self._await([], [handle])
        return os.write(handle, bytes(data[:4096]))

    def peek(self, handle: int) -> int:
        return len(select.select([handle], [], [], 0)[0])

    def file_room(self, handle: int) -> int:
        return os.fstat(handle).st_size - os.lseek(handle, 0, os.SEEK_CUR)

    def cancel_call_of(self, thread_id: int) -> None:
        self.cancelled.add(thread_id)

    class Event:
        def __init__(self) -> None:
            self.handle, self._write = os.pipe()

        def set(self) -> None:
            os.write(self._write, b"x")

        def close(self) -> None:
            os.close(self.handle)
            os.close(self._write)

    def wait_any(self, handles: list[int]) -> int | None:
        ready = select.select(handles, [], [])[0]
        return handles.index(ready[0])

    def exit_code(self, handle: int) -> int:
        return self.exits[handle]


class Request(_engine.Op):
    """Notes what it completes with."""

    def __init__(self, kind: int, fd: int, multishot: bool = False) -> None:
        _engine.Op.__init__(self, kind, fd)
        self.multishot = multishot
        self.outcomes: list[Any] = []
        self.then: Callable[[], None] | None = None

    def complete(self) -> None:
        self.outcomes.append(self.error if self.error is not None else self.result)
        if self.then is not None:
            self.then()


class Bench:
    """A `Blocking` with a loop around it, and a pipe."""

    def __init__(self, system: Windows) -> None:
        self.system = system
        self.woken = threading.Event()
        self.blocking = Blocking(self.woken.set)
        self.read, self.write = os.pipe()

    def turn(self, until: Callable[[], object], seconds: float = 5.0) -> None:
        """Deliver until something holds."""
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, "it never happened"
            if not self.blocking.ready:
                self.woken.wait(0.05)
                self.woken.clear()
            self.blocking.deliver()

    def idle(self, seconds: float = 0.05) -> None:
        """Turn for a while in which nothing is to happen."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.blocking.deliver()
            time.sleep(0.005)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    system = Windows()
    monkeypatch.setattr(blocking, "winapi", system)
    # Looked up when the module was made.
    one = Bench(system)
    threads = threading.active_count()
    yield one
    one.blocking.close()
    assert threading.active_count() == threads
    for fd in (one.read, one.write):
        try:
            os.close(fd)
        except OSError:
            continue


def test_a_read_waits_and_completes(bench: Bench) -> None:
    request = Request(RECV, bench.read)
    assert bench.blocking.start(request) is False
    assert request.active
    assert bench.blocking.owns(request)
    bench.idle()
    assert request.outcomes == []
    os.write(bench.write, b"abc")
    bench.turn(lambda: request.outcomes)
    assert request.outcomes == [b"abc"]
    assert not request.active
    assert not bench.blocking.owns(request)
    assert not bench.blocking.ready


def test_a_multishot_read_goes_on_to_the_end_and_says_that_once(bench: Bench) -> None:
    request = Request(RECV, bench.read, multishot=True)
    bench.blocking.start(request)
    for piece in (b"one", b"two"):
        os.write(bench.write, piece)
        bench.turn(lambda: request.outcomes[-1:] == [piece])  # noqa: B023
    os.close(bench.write)
    bench.turn(lambda: b"" in request.outcomes)
    bench.idle()
    assert request.outcomes == [b"one", b"two", b""]


def test_what_was_read_for_a_cancelled_request_is_the_next_ones(bench: Bench) -> None:
    first, second = Request(RECV, bench.read, True), Request(RECV, bench.read, True)
    bench.blocking.start(first)
    assert bench.blocking.cancel(first) is True
    os.write(bench.write, b"kept")
    bench.idle()
    assert first.outcomes == []
    bench.blocking.start(second)
    bench.turn(lambda: second.outcomes)
    os.write(bench.write, b"more")
    bench.turn(lambda: len(second.outcomes) == 2)
    assert second.outcomes == [b"kept", b"more"]


def test_cancelled_in_its_own_completion(bench: Bench) -> None:
    request = Request(RECV, bench.read, multishot=True)
    request.then = lambda: (bench.blocking.cancel(request), None)[1]
    bench.blocking.start(request)
    os.write(bench.write, b"1")
    bench.turn(lambda: request.outcomes)
    os.write(bench.write, b"2")
    bench.idle()
    assert request.outcomes == [b"1"]


def test_a_buffer_that_is_too_small_gets_the_rest_next(bench: Bench) -> None:
    space = bytearray(4)
    got: list[bytes] = []
    request = Request(RECV_INTO, bench.read, multishot=True)
    request.buffer = space
    request.then = lambda: got.append(bytes(space[: request.result]))
    bench.blocking.start(request)
    os.write(bench.write, b"0123456789")
    bench.turn(lambda: sum(map(len, got)) == 10)
    assert got == [b"0123", b"4567", b"89"]


def test_a_buffer_that_is_refused_keeps_the_data(bench: Bench) -> None:
    request = Request(RECV_INTO, bench.read, multishot=True)
    bench.blocking.start(request)
    os.write(bench.write, b"abc")
    bench.idle()
    assert request.outcomes == []
    bench.blocking.cancel(request)
    other = Request(RECV, bench.read)
    bench.blocking.start(other)
    bench.turn(lambda: other.outcomes)
    assert other.outcomes == [b"abc"]


def test_a_write_takes_all_of_a_list_and_a_copy_of_it(bench: Bench) -> None:
    changing = bytearray(b"b" * 100_000)
    request = Request(SEND, bench.write)
    request.buffer = [b"a", changing, b"c"]
    bench.blocking.start(request)
    changing[:] = bytes(100_000)
    got = b""
    while len(got) < 100_002:
        got += os.read(bench.read, 1 << 20)
    bench.turn(lambda: request.outcomes)
    assert request.outcomes == [100_002]
    assert got == b"a" + b"b" * 100_000 + b"c"


def test_a_write_that_was_taken_back_and_its_successor(bench: Bench) -> None:
    first, second = Request(SEND, bench.write), Request(SEND, bench.write)
    first.buffer, second.buffer = [bytes(300_000)], [b"end"]
    bench.blocking.start(first)
    bench.idle()
    assert bench.blocking.cancel(first) is True
    bench.blocking.start(second)
    got = b""
    while not got.endswith(b"end"):
        if select.select([bench.read], [], [], 0)[0]:
            got += os.read(bench.read, 1 << 20)
        bench.blocking.deliver()
    bench.turn(lambda: second.outcomes)
    assert (first.outcomes, second.outcomes) == ([], [3])


@pytest.mark.parametrize("waits", [True, False])
def test_readiness_to_be_read(bench: Bench, waits: bool) -> None:
    """Also where a read of no bytes returns at once."""
    bench.system.empty_read_waits = waits
    request = Request(POLL_READ, bench.read, multishot=True)
    bench.blocking.start(request)
    bench.idle()
    assert request.outcomes == []
    os.write(bench.write, b"xy")
    # As long as it lies there.
    bench.turn(lambda: len(request.outcomes) >= 3)
    bench.blocking.cancel(request)
    assert os.read(bench.read, 9) == b"xy"
    assert not [t for t in threading.enumerate() if t.name == f"evenloop-handle-{bench.read}"]


def test_readiness_to_be_written_is_always(bench: Bench) -> None:
    request = Request(POLL_WRITE, bench.write, multishot=True)
    bench.blocking.start(request)
    assert bench.blocking.ready
    for _ in range(3):
        bench.blocking.deliver()
    assert request.outcomes == [None] * 3
    assert bench.blocking.cancel(request) is True
    assert not bench.blocking.ready
    once = Request(POLL_WRITE, bench.write)
    bench.blocking.start(once)
    bench.blocking.deliver()
    bench.blocking.deliver()
    assert once.outcomes == [None]


def test_a_file_is_readable_until_its_end_and_when_it_grows(bench: Bench, tmp_path: Any) -> None:
    with open(tmp_path / "f", "wb+", 0) as file:
        bench.system.kinds[file.fileno()] = "file"
        request = Request(POLL_READ, file.fileno(), multishot=True)
        bench.blocking.start(request)
        bench.idle(0.1)
        assert request.outcomes == []
        with open(tmp_path / "f", "ab", 0) as log:
            log.write(b"line\n")
        request.then = lambda: (file.read(), None)[1]
        bench.turn(lambda: request.outcomes)
        count = len(request.outcomes)
        bench.idle(0.15)
        assert len(request.outcomes) <= count + 1
        bench.blocking.forget(file.fileno())


def test_the_end_of_a_process(bench: Bench) -> None:
    """Its handle is signalled: here, the pipe is readable."""
    bench.system.exits[bench.read] = 7
    request = Request(EXIT, bench.read)
    bench.blocking.start(request)
    bench.idle()
    assert request.outcomes == []
    os.write(bench.write, b"x")
    bench.turn(lambda: request.outcomes)
    assert request.outcomes == [7]
    other = Request(EXIT, bench.read)
    os.read(bench.read, 1)
    bench.blocking.start(other)
    bench.blocking.cancel(other)
    bench.idle()
    assert other.outcomes == []


def test_forget_ends_what_waits_in_the_system(bench: Bench) -> None:
    reading, writing = Request(RECV, bench.read, True), Request(SEND, bench.write)
    writing.buffer = [bytes(1 << 20)]
    other, far = os.pipe()
    empty = Request(RECV, other, True)
    for request in (reading, writing, empty):
        bench.blocking.start(request)
    bench.blocking.forget(other)
    bench.blocking.forget(bench.write)
    bench.blocking.forget(bench.read)
    assert not any(request.active for request in (reading, writing, empty))
    bench.idle()
    assert empty.outcomes == writing.outcomes == []
    assert not [t for t in threading.enumerate() if t.name.startswith("evenloop-handle")]
    os.close(other)
    os.close(far)


def test_errors_are_the_requests(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(handle: int, data: Any) -> int:
        raise BrokenPipeError(32, "the reader is gone")

    monkeypatch.setattr(bench.system, "write", broken)
    request = Request(SEND, bench.write)
    request.buffer = [b"x"]
    bench.blocking.start(request)
    bench.turn(lambda: request.outcomes)
    assert isinstance(request.outcomes[0], BrokenPipeError)


def test_what_is_refused_at_once(bench: Bench) -> None:
    bench.system.kinds[bench.read] = "socket"
    with pytest.raises(OSError, match="socket"):
        bench.blocking.start(Request(RECV, bench.read))
    with pytest.raises(OSError, match="no such request"):
        bench.blocking.start(Request(ACCEPT, bench.write))
    with pytest.raises(OSError):
        bench.blocking.start(Request(POLL_WRITE, 9999))
    with pytest.raises(OSError):
        bench.blocking.start(Request(RECV, 9999))
    assert not bench.blocking.ready


def test_a_loop_is_woken(bench: Bench) -> None:
    """The last step: the engine's wake-up ends the loop's wait."""

    async def main() -> bytes:
        loop = asyncio.get_running_loop()
        came = loop.create_future()
        pipe = Blocking(lambda: loop.call_soon_threadsafe(pipe.deliver))
        request = Request(RECV, bench.read)
        request.then = lambda: came.set_result(request.result)
        pipe.start(request)
        loop.call_later(0.05, os.write, bench.write, b"late")
        async with asyncio.timeout(5):
            data: bytes = await came
        pipe.close()
        return data

    assert asyncio.run(main()) == b"late"
