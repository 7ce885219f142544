"""Requests that remember how they completed, and turns of an engine until something holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from evenloop.engines import engine as kinds


class Record(kinds.Op):
    """An op that remembers its outcomes."""

    def __init__(self, kind: int, fd: int, sock: Any = None, **arguments: Any) -> None:
        super().__init__(kind, fd, sock)
        for name, value in arguments.items():
            setattr(self, name, value)
        self.outcomes: list[Any] = []

    def complete(self) -> None:
        self.outcomes.append(self.error if self.error is not None else self.result)


def turn(engine: Any, timeout: float = 0.0) -> None:
    """Wait and deliver, as a loop's turn does."""
    if engine.wait(timeout):
        engine.deliver()


def sleeps(engine: Any, timeout: float) -> bool:
    """Whether a wait with nothing to report lasts its time.

    A signal may end one early, and so may Linux when it takes down an io_uring of this process
    that was closed some milliseconds ago (EINTR both times): so one of five is enough.
    """
    for _ in range(5):
        started = time.perf_counter()
        turn(engine, timeout)
        if time.perf_counter() - started >= timeout:
            return True
    return False


def until(engine: Any, condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Turn until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        turn(engine, 0.05)


def quiet(engine: Any, op: Record, seconds: float = 0.1) -> bool:
    """Whether nothing comes for that long, and the engine sleeps the while."""
    turn(engine)
    count, waits = len(op.outcomes), engine.waits
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        turn(engine, seconds)
    return len(op.outcomes) == count and engine.waits - waits < 10
