"""Find out what an event loop can do on this machine, by doing it.

A `Probe` is one small real use of the API: a server that gets a connection, a timer that fires, a
child that exits. It either returns a line saying what it saw, or raises. `run_probes` gives
every probe a fresh loop from the given factory, so the same probes serve any event loop: ours in
`evenloop doctor`, the standard library's for comparison.

A probe trusts nothing that it does not have to: results are compared, time is limited, and an
exception that reaches the loop's exception handler fails it, as does a loop that cannot close.
"""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import inspect
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

__all__ = [
    "Bench",
    "Failed",
    "NotHere",
    "Outcome",
    "Probe",
    "Topic",
    "all_probes",
    "probe",
    "run_probe",
    "run_probes",
]

DOCUMENTATION = "https://docs.python.org/3/library/"

Status = Literal["ok", "missing", "failed", "not here"]


class Topic(NamedTuple):
    """A group of probes: a section of the asyncio documentation."""

    title: str
    page: str
    """The page, below `DOCUMENTATION`, with the section's anchor."""


class Failed(AssertionError):
    """The loop did something else than it promises; the message says what."""


class NotHere(Exception):
    """The operating system itself lacks what the probe is about; the message says what."""


class Bench:
    """What a probe works with: a loop of its own, a way to make more, and a folder.

    Attributes:
        loop: The loop that runs the probe; a probe that is no coroutine function makes its own.
        new_loop: Makes one more loop, which the probe closes.
        folder: An empty folder, removed afterwards.
    """

    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop], folder: Path) -> None:
        self.new_loop = new_loop
        self.folder = folder

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop."""
        return asyncio.get_running_loop()

    @contextlib.contextmanager
    def own_loop(self) -> Iterator[asyncio.AbstractEventLoop]:
        """Lend a loop that the probe runs itself."""
        loop = self.new_loop()
        try:
            yield loop
        finally:
            loop.close()


@dataclass(frozen=True, slots=True)
class Probe:
    """One real use of the API."""

    name: str
    """What is probed, as the documentation names it."""
    topic: Topic
    methods: tuple[str, ...]
    """The methods of `asyncio.AbstractEventLoop` that this probe exercises."""
    section: str
    """Where the behaviour is documented, below `DOCUMENTATION`."""
    function: Callable[[Bench], Awaitable[str]] | Callable[[Bench], str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a probe saw."""

    probe: Probe
    status: Status
    """`missing`: the loop says that it does not have this; `not here`: the system does not."""
    saw: str
    seconds: float
    error: BaseException | None = None


def probe(
    name: str, topic: Topic, *methods: str, section: str | None = None
) -> Callable[[Callable[[Bench], Any]], Probe]:
    """Make a probe of a function that takes a `Bench` and returns what it saw.

    Args:
        name: The name of the row.
        topic: The group of the row.
        methods: The methods of the loop that are exercised; by default the one called `name`.
        section: Where it is documented; by default at the first method.
    """
    proven = methods or (name,)
    where = section or f"asyncio-eventloop.html#asyncio.loop.{proven[0]}"

    def decorate(function: Callable[[Bench], Any]) -> Probe:
        return Probe(name, topic, proven, where, function)

    return decorate


def all_probes() -> tuple[Probe, ...]:
    """Every probe, in the order of the documentation."""
    from evenloop.platforms import probes

    return tuple(
        value
        for module in probes.MODULES
        for value in vars(module).values()
        if isinstance(value, Probe)
    )


def run_probes(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    probes: Iterable[Probe] | None = None,
    *,
    limit: float = 5.0,
) -> Iterator[Outcome]:
    """Run probes one after the other and yield each outcome as it is known.

    Args:
        new_loop: Makes the loops that are probed.
        probes: Which ones; None means all.
        limit: Seconds that one probe may take.
    """
    for one in all_probes() if probes is None else probes:
        yield run_probe(one, new_loop, limit=limit)


def run_probe(
    one: Probe, new_loop: Callable[[], asyncio.AbstractEventLoop], *, limit: float = 5.0
) -> Outcome:
    """Run one probe. No exception of the probe or the loop leaves this function.

    Args:
        one: The probe.
        new_loop: Makes the loops that are probed.
        limit: Seconds that it may take. A loop that does not even wake up for its own timer is
            interrupted one second later, if this is the main thread.
    """
    start = time.perf_counter()
    status: Status = "ok"
    caught: BaseException | None = None
    saw = ""
    try:
        with _patience(limit + 1), _folder() as folder:
            saw = _run(one, Bench(new_loop, Path(folder)), limit)
    except NotHere as error:
        saw, status, caught = str(error), "not here", error
    except (NotImplementedError, AttributeError) as error:
        saw, status, caught = _describe(error), "missing", error
    except (Exception, asyncio.CancelledError) as error:
        saw, status, caught = _describe(error), "failed", error
    return Outcome(one, status, saw, time.perf_counter() - start, caught)


def _run(one: Probe, bench: Bench, limit: float) -> str:
    if not inspect.iscoroutinefunction(one.function):
        result = one.function(bench)
        assert isinstance(result, str)
        return result
    with bench.own_loop() as loop:
        troubles: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: troubles.append(context))
        try:
            saw: str = loop.run_until_complete(_in_time(one.function(bench), limit))
        except Failed as failed:
            raise _with_troubles(str(failed), troubles) from None
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        if troubles:
            raise _with_troubles(saw, troubles)
    return saw


def _folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that is removed afterwards; a loop that failed may hold a file of it open."""
    return tempfile.TemporaryDirectory(prefix="evenloop-", ignore_cleanup_errors=True)


async def _in_time(work: Awaitable[str], limit: float) -> str:
    try:
        async with asyncio.timeout(limit) as clock:
            return await work
    except TimeoutError:
        if not clock.expired():
            raise
        raise Failed(f"not done after {limit:g} seconds") from None


def _with_troubles(saw: str, troubles: list[dict[str, Any]]) -> Failed:
    """What was seen, and the first thing that the exception handler was told."""
    if not troubles:
        return Failed(saw)
    error = troubles[0].get("exception")
    told = str(troubles[0].get("message"))
    return Failed(f"{saw}; {told}" + (f" ({_describe(error)})" if error is not None else ""))


def _describe(error: BaseException) -> str:
    """An exception in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, Failed):
        return text
    name = type(error).__name__
    return f"{name}: {text}" if text else name


@contextlib.contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Interrupt the main thread with SIGINT when the body hangs where no timer reaches it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    main = threading.get_ident()
    hung = False

    def interrupt() -> None:
        nonlocal hung
        hung = True
        if sys.platform == "win32":
            _thread.interrupt_main()
        else:
            signal.pthread_kill(main, signal.SIGINT)

    def wake_up(number: int, frame: object) -> None:
        if hung:
            raise Failed(f"hung: interrupted after {seconds:g} seconds")
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, wake_up)
    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)
