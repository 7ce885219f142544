"""What a case is, and what its body is given.

A case is an asynchronous function that does a stated amount of work, with the part that counts
inside `with bench.watch:`. It runs on any loop and knows nothing of which one it is on:

    @case("call_soon-chain", "300k call_soon in a chain", MATRIX, 300_000)
    async def call_soon_chain(bench: Bench) -> None:
        ...

A body that cannot run on this machine raises `CannotRun` with the reason.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any

from evenloop.bench.contenders import Contender

if sys.platform != "win32":
    import resource

__all__ = [
    "MATRIX",
    "TOPICS",
    "Bench",
    "CannotRun",
    "Case",
    "Sample",
    "Watch",
    "all_cases",
    "case",
    "countdown",
    "processor_time",
    "register",
]

MATRIX = "matrix"
TOPICS = {
    MATRIX: "The matrix",
    "files": "Files: beside aiofiles and anyio on the other loops",
    "server": "Servers: processor time of the server per message",
    "http": "HTTP servers: processor time of the server per request",
    "memory": "Memory per idle connection",
    "start": "Start-up",
    "growth": "Cost per event as work grows",
}


class CannotRun(Exception):
    """This case cannot run here; the message is the reason."""


@dataclass(slots=True)
class Sample:
    """One measurement: seconds of the wall clock and of the processor, or bytes."""

    wall: float | None = None
    cpu: float | None = None
    bytes: float | None = None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """What is known, for the JSON that a worker prints."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}


def processor_time() -> float:
    """Seconds of processor time that this process and its finished children have used."""
    own = time.process_time()
    if sys.platform != "win32":  # which does not add up children
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        own += children.ru_utime + children.ru_stime
    return own


class Watch:
    """Adds up the wall and processor time spent inside its `with` blocks."""

    wall: float
    cpu: float
    used: bool

    def __init__(self) -> None:
        self.wall = 0.0
        self.cpu = 0.0
        self.used = False

    def __enter__(self) -> None:
        self.used = True
        self._cpu = processor_time()
        self._wall = time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.wall += time.perf_counter() - self._wall
        self.cpu += processor_time() - self._cpu


@dataclass(slots=True)
class Bench:
    """What the body of a case is given."""

    n: int
    """How much work to do: the case's own amount, scaled."""
    contender: Contender
    scale: float = 1.0
    watch: Watch = field(default_factory=Watch)
    sample: Sample | None = None
    """Set by cases that measure something else than their own time."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that is measured."""
        return asyncio.get_running_loop()

    def outcome(self) -> Sample:
        """What was measured."""
        if self.sample is not None:
            return self.sample
        assert self.watch.used, "the case measured nothing"
        return Sample(self.watch.wall, self.watch.cpu)


def countdown(
    loop: asyncio.AbstractEventLoop, calls: int
) -> tuple[Callable[[], None], asyncio.Future[None]]:
    """Return a callback, and a future that is done when it was called so many times."""
    done: asyncio.Future[None] = loop.create_future()
    left = calls

    def count() -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set_result(None)

    return count, done


Body = Callable[[Bench], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """One row of a table."""

    name: str
    """For --case and the JSON."""
    title: str
    """For people."""
    topic: str
    n: int
    body: Body
    measure: str = "wall"
    """What rows are compared by: `wall`, `cpu` or `bytes`."""
    quick: bool = True
    """Whether `--quick` keeps it."""
    limit: Body | None = None
    """The same work by a C program: the contender named C."""
    rounds: int | None = None
    """No more rounds than this, for what is slow and steady."""
    curve: tuple[str, int] | None = None
    """The name of the curve this is a point of, and its place on it."""
    warm: bool = True
    """Whether the body is run first with a twentieth of the work."""
    patience: float = 60.0
    """Seconds after which the process is ended, at full size."""
    preparation: float = 0.0
    """Seconds that it may take besides, at any size."""


_cases: dict[str, Case] = {}


def register(made: Case) -> Case:
    """Add a case to the list."""
    assert made.name not in _cases, made.name
    assert made.topic in TOPICS, made.topic
    _cases[made.name] = made
    return made


def case(name: str, title: str, topic: str, n: int, **more: Any) -> Callable[[Body], Body]:
    """Make a case of a function; `more` are further fields of `Case`."""

    def add(body: Body) -> Body:
        register(Case(name, title, topic, n, body, **more))
        return body

    return add


def all_cases() -> list[Case]:
    """Every case, in the order of the tables."""
    from evenloop.bench import cases

    cases.load()
    for name in cases.ROWS:
        _cases[name] = _cases.pop(name)
    topics = list(TOPICS)
    return sorted(_cases.values(), key=lambda one: topics.index(one.topic))
