"""Rings: submitting, completing, overflowing, running out of buffers, forking."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("io_uring is Linux's", allow_module_level=True)

# Compiled only.
ring: Any = pytest.importorskip("evenloop.engines.ring")
provided: Any = pytest.importorskip("evenloop.engines.provided")

try:
    ring.Ring(8, 16)
except OSError as reason:
    pytest.skip(f"no io_uring here: {reason}", allow_module_level=True)

NOP, POLL, CANCEL, READ, RECV = 0, 6, 14, 22, 27
MULTISHOT_POLL, MULTISHOT_RECV, BUFFER_SELECT, MORE = 1, 2, 1 << 5, 1 << 1


@pytest.fixture
def one() -> Iterator[Any]:
    made = ring.Ring(8, 16)
    yield made
    made.close()
    assert made.fd == -1


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    yield left, right
    left.close()
    right.close()


class Notes(list[tuple[int, int]]):
    """What came."""

    def __call__(self, result: int, flags: int) -> None:
        self.append((result, flags))

    @property
    def results(self) -> list[int]:
        return [result for result, _ in self]


def test_what_is_issued_completes_once(one: Any) -> None:
    notes = Notes()
    one.issue(NOP, -1, notes)
    assert one.in_flight() == 1
    assert one.turn(1) == 1
    assert notes == [(0, 0)]
    assert one.in_flight() == 0
    assert one.turn(0) == 0


def test_more_requests_than_places_are_submitted_on_the_way(one: Any) -> None:
    notes = Notes()
    for _ in range(100):
        one.issue(NOP, -1, notes)
    while len(notes) < 100:
        assert one.turn(1)
    assert one.in_flight() == 0


def test_completions_that_do_not_fit_are_not_lost(one: Any) -> None:
    """Of sixteen places, a hundred and more are wanted before anybody looks."""
    notes = Notes()
    reading, writing = os.pipe()
    for _ in range(300):
        one.issue(POLL, writing, notes, op_flags=select.POLLOUT)
    deadline = time.monotonic() + 5
    while len(notes) < 300 and time.monotonic() < deadline:
        one.turn(0.1)
    assert notes.results == [select.POLLOUT] * 300
    assert one.lost() == 0
    os.close(reading)
    os.close(writing)


def test_a_wait_ends_after_its_time_and_not_before(one: Any) -> None:
    for seconds in (0.0013, 0.0203):
        started = time.perf_counter()
        assert one.turn(seconds) == 0
        assert seconds <= time.perf_counter() - started < seconds + 1


def test_a_cancelled_request_says_so_once(one: Any, pair: Any) -> None:
    notes = Notes()
    call = one.issue(POLL, pair[0].fileno(), notes, op_flags=select.POLLIN)
    one.turn(0)
    one.withdraw(call)
    one.turn(1)
    one.withdraw(call)
    pair[1].send(b"late")
    one.turn(0.01)
    assert notes.results == [-errno.ECANCELED]


def test_a_withdrawn_request_lets_go_of_its_file(one: Any) -> None:
    """The other side hears of the close only then."""
    left, right = socket.socketpair()
    call = one.issue(POLL, left.fileno(), Notes(), op_flags=select.POLLIN)
    one.turn(0)
    left.close()
    right.setblocking(False)
    with pytest.raises(BlockingIOError):
        right.recv(1)
    one.withdraw(call)
    one.turn(1)
    assert right.recv(1) == b""
    right.close()


def test_errors_are_results(one: Any) -> None:
    notes = Notes()
    one.issue(POLL, 1 << 20, notes, op_flags=select.POLLIN)
    one.issue(255, -1, notes)
    one.turn(1)
    one.turn(0)
    assert notes.results == [-errno.EBADF, -errno.EINVAL]


def test_a_multishot_poll_goes_on(one: Any, pair: Any) -> None:
    notes = Notes()
    one.issue(POLL, pair[0].fileno(), notes, op_flags=select.POLLIN, length=MULTISHOT_POLL)
    for number in range(3):
        pair[1].send(b"x")
        one.turn(1)
        assert len(notes) == number + 1
        assert notes[-1][1] & MORE
    assert one.in_flight() == 1


def test_reading_a_file_into_memory_that_is_kept(one: Any, tmp_path: Any) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")
    notes = Notes()
    target = ctypes.create_string_buffer(16)
    with open(tmp_path / "f", "rb") as file:
        address = ctypes.addressof(target)
        one.issue(READ, file.fileno(), notes, address=address, length=4, offset=3, keep=target)
        while not notes:
            one.turn(1)
    assert notes.results == [4]
    assert target.raw[:5] == b"3456\0"


def test_what_the_kernel_knows(one: Any) -> None:
    assert all(map(one.supports, (NOP, POLL, CANCEL, READ, RECV)))
    assert not one.supports(200)


def test_the_thread_is_settled_by_the_first_turn(one: Any) -> None:
    notes = Notes()
    one.issue(NOP, -1, notes)
    failures: list[Any] = []

    def other() -> None:
        one.turn(1)
        one.issue(NOP, -1, notes)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert len(notes) == 1
    with pytest.raises(OSError) as caught:
        one.turn(1)
    failures.append(caught.value.errno)
    assert failures == [errno.EEXIST]


@pytest.mark.parametrize("first", [1, 4])
def test_running_out_of_buffers_and_having_more(one: Any, pair: Any, first: int) -> None:
    buffers = provided.Provided(one, size=64, first=first, most=8)
    assert buffers.published == first
    notes = Notes()
    pair[1].send(bytes(64 * first + 64))

    def receive() -> None:
        one.issue(RECV, pair[0].fileno(), notes, ioprio=MULTISHOT_RECV, flags=BUFFER_SELECT)

    receive()
    one.turn(1)
    one.turn(0)
    assert notes.results == [64] * first + [-errno.ENOBUFS]
    assert not notes[-1][1] & MORE
    assert buffers.grow()
    receive()
    one.turn(1)
    assert notes.results[first + 1 :] == [64]
    assert len({flags >> 16 for _, flags in notes if flags & 1}) == first + 1
    while buffers.grow():
        pass
    assert buffers.published == 8


def test_a_closed_ring_takes_nothing() -> None:
    made = ring.Ring(8, 16)
    made.close()
    made.close()
    with pytest.raises(OSError, match="closed"):
        made.issue(NOP, -1, Notes())


def test_rings_leave_no_descriptor_nor_memory() -> None:
    def mappings() -> int:
        with open("/proc/self/maps", encoding="ascii") as file:
            return sum("io_uring" in line for line in file)

    before = mappings()
    for _ in range(50):
        ring.Ring(8, 16)  # nobody closes it
    assert mappings() == before
