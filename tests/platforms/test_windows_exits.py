"""The ends of many processes at once, through the engines for Windows."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

import evenloop
from evenloop.engines import Engine, Op, choose
from evenloop.engines import engine as kinds

from tests.platforms.handles import open_handles
from tests.support.loops import run

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="Windows")

MANY = 200
#: One of the system's threads waits for up to 63 handles, or for any number from Windows 8 on.
HANDLES_PER_THREAD = 63
#: A child that never runs: it ends when it is told to, with the status that it is told.
SUSPENDED = 0x4
COMMAND = ("cmd.exe", "/c", "exit")


class Exit(Op):
    """A request that remembers its outcomes."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        super().__init__(kinds.EXIT, handle_of(child))
        self.size = child.pid
        self.outcomes: list[Any] = []

    def complete(self) -> None:
        self.outcomes.append(self.error if self.error is not None else self.result)


def handle_of(child: subprocess.Popen[bytes]) -> int:
    process: Any = child
    return int(process._handle)


def spawn() -> subprocess.Popen[bytes]:
    return subprocess.Popen(COMMAND, creationflags=SUSPENDED)


def end(child: subprocess.Popen[bytes], status: int) -> None:
    windows: Any = ctypes
    assert windows.windll.kernel32.TerminateProcess(ctypes.c_void_p(handle_of(child)), status)


def close(child: subprocess.Popen[bytes]) -> None:
    child.wait()
    process: Any = child
    process._handle.Close()


def threads() -> int:
    """Count the threads of this process, the system's among them."""
    windows: Any = ctypes
    kernel32 = windows.WinDLL("kernel32")
    kernel32.CreateToolhelp32Snapshot.restype = ctypes.c_void_p
    snapshot = ctypes.c_void_p(kernel32.CreateToolhelp32Snapshot(4, 0))  # TH32CS_SNAPTHREAD
    # THREADENTRY32: size, usage, thread, process, and three more numbers.
    entry = (ctypes.c_uint32 * 7)(28)
    count = 0
    more = kernel32.Thread32First(snapshot, entry)
    while more:
        count += entry[3] == os.getpid()
        more = kernel32.Thread32Next(snapshot, entry)
    kernel32.CloseHandle(snapshot)
    assert count
    return count


def turn(engine: Engine, timeout: float) -> None:
    if engine.wait(timeout):
        engine.deliver()


@pytest.fixture(params=["iocp", "afd"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = choose(request.param)
    yield engine
    engine.close()


def test_the_end_of_a_process_is_told_once(engine: Engine) -> None:
    child = spawn()
    first, second = Exit(child), Exit(child)
    assert not engine.start(first) and not engine.start(second)
    turn(engine, 0)
    assert first.outcomes == second.outcomes == []
    end(child, 259)  # the number that a running process has for its status
    while not (first.outcomes and second.outcomes):
        turn(engine, 5)
    turn(engine, 0.05)
    assert first.outcomes == second.outcomes == [259]
    assert not first.active and not second.active
    late = Exit(child)
    assert engine.start(late)
    assert late.result == 259
    close(child)


def test_a_process_that_nobody_waits_for_any_more(engine: Engine) -> None:
    """Taken back before the end, after it and after the wait that noticed it; or forgotten."""
    children = [spawn() for _ in range(5)]
    early, late, noticed, forgotten, kept = requests = [Exit(child) for child in children]
    for request in requests:
        engine.start(request)
    assert engine.cancel(early) and not early.active
    close_early = children[0]
    end(close_early, 1)
    close(close_early)
    engine.forget(forgotten.fd)
    assert not forgotten.active
    for child in children[1:]:
        end(child, 7)
        child.wait()
    # The system has told the port by now.
    time.sleep(0.2)
    assert engine.cancel(late) and not late.active
    assert engine.wait(1)
    assert engine.cancel(noticed) and not noticed.active
    engine.deliver()
    while not kept.outcomes:
        turn(engine, 5)
    turn(engine, 0.05)
    assert [request.outcomes for request in requests] == [[], [], [], [], [7]]
    for child in children[1:]:
        close(child)


def test_an_engine_closes_while_processes_run(engine: Engine) -> None:
    child = spawn()
    request = Exit(child)
    engine.start(request)
    engine.close()
    assert not request.active
    end(child, 1)
    close(child)


def test_what_is_no_process_cannot_be_waited_for(engine: Engine) -> None:
    child = spawn()
    request = Exit(child)
    end(child, 1)
    close(child)
    with pytest.raises(OSError):
        engine.start(request)
    assert not request.active


@pytest.mark.timeout(120)
@pytest.mark.leaks_allowed  # the pool keeps its threads for a while; handles are counted here
def test_many_children_take_no_thread_each_and_no_handle() -> None:
    """Handles are those of before, threads hardly more."""

    async def children(count: int) -> tuple[int, int]:
        started = [
            await asyncio.create_subprocess_exec(*COMMAND, creationflags=SUSPENDED)
            for _ in range(count)
        ]
        running = threads(), threading.active_count()
        waits = [asyncio.ensure_future(child.wait()) for child in started]
        await asyncio.sleep(0)
        for child in started:
            child.terminate()
        assert await asyncio.gather(*waits) == [1] * count
        return running

    # What is made once and kept is there after the first child.
    factory = partial(evenloop.new_event_loop, "iocp")
    run(factory, children(1))
    handles = open_handles()
    all_threads, own_threads = threads(), threading.active_count()
    running, own_running = run(factory, children(MANY), 100.0)
    assert own_running == own_threads
    assert running - all_threads <= MANY // HANDLES_PER_THREAD + 1
    # A thread of the pool's keeps an event.
    assert len(open_handles()) - len(handles) <= max(0, threads() - all_threads)
