"""Put another event loop in the place of the stock one, before a test module is imported.

CPython's tests reach a loop in three ways: through the policy (``asyncio.new_event_loop``,
``asyncio.run``, ``Runner``, ``IsolatedAsyncioTestCase``), through the names
``asyncio.EventLoop``, ``asyncio.SelectorEventLoop`` and ``asyncio.ProactorEventLoop``, and by
building pieces of the stock loop on purpose.  The first two are redirected to a *marker class*
here; the third is a test of the stock loop itself and is left alone.

The marker class is a subclass that tells a `Recorder` about every loop made from it: a test
counts as exercising the loop when at least one was made between its start and its end.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from asyncio import events
from collections.abc import Callable
from typing import Any

LOOPS = ("evenloop", "stock", "uvloop")


class Recorder:
    """Counts the loops made during the current test."""

    def __init__(self) -> None:
        self.made = 0
        self.when_first: Callable[[], None] | None = None

    def reset(self, when_first: Callable[[], None] | None) -> None:
        """Start counting for a new test; `when_first` is called at its first loop."""
        self.made = 0
        self.when_first = when_first

    def note(self) -> None:
        """A loop is about to be made (noted before, so that a crash in it counts too)."""
        self.made += 1
        if self.made == 1 and self.when_first is not None:
            self.when_first()


def stock_marker(recorder: Recorder, base: Any) -> type[Any]:
    """A stock loop, marked."""

    class StockLoop(base):  # type: ignore[misc]
        """The stock loop, counted."""

        def __init__(self, *args: Any) -> None:
            recorder.note()
            super().__init__(*args)

    return StockLoop


def uvloop_marker(recorder: Recorder) -> type[Any]:
    """uvloop's loop, marked; it has no selector, so one that a test offers is dropped."""
    base: Any = importlib.import_module("uvloop").Loop

    class UvloopLoop(base):  # type: ignore[misc]
        """uvloop's loop, counted."""

        def __new__(cls, selector: Any = None) -> Any:
            return super().__new__(cls)

        def __init__(self, selector: Any = None) -> None:
            recorder.note()
            if selector is not None:
                selector.close()
            super().__init__()

    return UvloopLoop


def evenloop_marker(
    recorder: Recorder, engine: str | None, name: str = "SelectorEventLoop"
) -> type[Any]:
    """The loop that evenloop has under that name, marked.

    Without an `engine` a selector that a test offers is used, as the public classes do; with
    the selector engine likewise; any other engine takes the selector's place.
    """
    evenloop: Any = importlib.import_module("evenloop")
    base: Any = evenloop.EventLoop if engine is not None else getattr(evenloop, name)
    if engine == "selector":
        os.environ["EVENLOOP_ENGINE"] = engine
        base = evenloop.SelectorEventLoop
    elif engine is not None:
        os.environ["EVENLOOP_ENGINE"] = engine
    takes_selector = base is evenloop.SelectorEventLoop

    class EvenloopLoop(base):  # type: ignore[misc]
        """evenloop's loop, counted."""

        __slots__ = ()  # a subclass must not be more generous than the loop itself

        def __init__(self, selector: Any = None) -> None:
            recorder.note()
            if takes_selector and selector is not None:
                super().__init__(selector)
                return
            if selector is not None:
                selector.close()
            super().__init__()

    return EvenloopLoop


def substitute(name: str, engine: str | None, recorder: Recorder) -> type[Any]:
    """Make `name` the loop that asyncio hands out in this process; return the marker class."""
    if sys.platform == "win32" and engine is None and name != "uvloop":
        return _substitute_both(name, recorder)
    if name == "stock":
        marker = stock_marker(recorder, asyncio.SelectorEventLoop)
    elif name == "uvloop":
        marker = uvloop_marker(recorder)
    elif name == "evenloop":
        marker = evenloop_marker(recorder, engine)
    else:
        raise ValueError(f"unknown loop {name!r}; one of {', '.join(LOOPS)}")
    for public in ("EventLoop", "SelectorEventLoop", "ProactorEventLoop"):
        # Only names this platform has: the suite reads their absence as "not on this system".
        if public in vars(asyncio):
            setattr(asyncio, public, marker)
    for policy in _policies():
        if vars(policy).get("_loop_factory") is not None:
            policy._loop_factory = marker
    if name != "stock":
        _keep_watchers_off(marker)
    return marker


def _substitute_both(name: str, recorder: Recorder) -> type[Any]:
    """On Windows the stock loops are two, and so are evenloop's: each takes the place of its own.

    Returned is the one that a program gets which does not choose.
    """
    markers = {}
    for public in ("SelectorEventLoop", "ProactorEventLoop"):
        if name == "stock":
            markers[public] = stock_marker(recorder, getattr(asyncio, public))
        else:
            markers[public] = evenloop_marker(recorder, None, public)
    for public, marker in markers.items():
        setattr(asyncio, public, marker)
    default = markers["ProactorEventLoop"]
    if "EventLoop" in vars(asyncio):
        setattr(asyncio, "EventLoop", default)  # noqa: B010 (mypy knows only its own)
    for policy in _policies():
        factory = vars(policy).get("_loop_factory")
        if factory is not None:
            policy._loop_factory = markers.get(factory.__name__, default)
    return default


def _policies() -> list[Any]:
    base: Any = getattr(events, "BaseDefaultEventLoopPolicy", None) or getattr(
        events, "_BaseDefaultEventLoopPolicy", None
    )
    found: list[Any] = []
    waiting = [base]
    while waiting:
        policy = waiting.pop()
        found.append(policy)
        waiting.extend(policy.__subclasses__())
    return found


def _keep_watchers_off(marker: type[Any]) -> None:
    """Keep the child watchers of 3.13 and older from reaping another loop's children."""
    if sys.platform == "win32":
        return
    from asyncio import unix_events

    for name in ("BaseChildWatcher", "MultiLoopChildWatcher"):
        watcher: Any = vars(unix_events).get(name)
        if watcher is None or "attach_loop" not in vars(watcher):
            continue
        attach = watcher.attach_loop

        def attach_loop(self: Any, loop: Any, attach: Any = attach) -> None:
            if not isinstance(loop, marker):
                attach(self, loop)

        watcher.attach_loop = attach_loop


def ease_harness() -> None:
    """Let the suite's own clean-up work on a loop without the stock's private attributes."""
    utils: Any = importlib.import_module("test.test_asyncio.utils")
    original = utils.TestCase.close_loop

    def close_loop(loop: Any) -> None:
        original(loop if hasattr(loop, "_default_executor") else _WithExecutor(loop))

    utils.TestCase.close_loop = staticmethod(close_loop)


class _WithExecutor:
    """A loop as the suite's clean-up expects it: it reads ``_default_executor``."""

    class _Nothing:
        def shutdown(self, wait: bool = True) -> None:
            """The loop has shut down its executor by itself."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._default_executor = self._Nothing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)
