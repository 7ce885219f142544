"""The loops under test, and how a coroutine is run on one of them."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
LoopFactory = Callable[[], asyncio.AbstractEventLoop]

STOCK_ONLY = bool(os.environ.get("EVENLOOP_TEST_STOCK_ONLY"))
#: A coroutine under test that takes longer than this many seconds is stuck.
STUCK = 10.0


def _stock() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop()


def _evenloop() -> asyncio.AbstractEventLoop:
    import evenloop  # missing: an error of the test, not of collection

    return evenloop.new_event_loop()


FACTORIES: dict[str, LoopFactory] = {"stock": _stock, "evenloop": _evenloop}


_MADE: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


def still_running() -> list[asyncio.AbstractEventLoop]:
    """The loops under test that are running, in any thread."""
    return [loop for loop in list(_MADE) if loop.is_running()]


class TrackedFactory:
    """A loop factory that knows which of its loops are still open."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_stock = name == "stock"
        self._make = FACTORIES[name]
        self._made: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    def __call__(self) -> asyncio.AbstractEventLoop:
        loop = self._make()
        self._made.append(weakref.ref(loop))
        _MADE.add(loop)
        return loop

    def skip_stock_if(self, condition: bool, reason: str) -> None:
        """A fault of stock asyncio that it alone may have: skip the test there."""
        if condition and self.is_stock:
            pytest.skip(f"stock asyncio: {reason}")

    def still_open(self) -> list[asyncio.AbstractEventLoop]:
        loops = (reference() for reference in self._made)
        return [loop for loop in loops if loop is not None and not loop.is_closed()]


async def bounded(coroutine: Coroutine[Any, Any, T], seconds: float = STUCK) -> T:
    """Run it, but cancel it where it stands when it is stuck, so that the trace shows where."""
    async with asyncio.timeout(seconds):
        return await coroutine


def run(factory: LoopFactory, coroutine: Coroutine[Any, Any, T], seconds: float = STUCK) -> T:
    """Run a coroutine on a fresh loop, as asyncio.run does, within so many seconds."""
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.get_loop()  # a factory that fails does so before anything is begun
            return runner.run(bounded(coroutine, seconds))
    finally:
        coroutine.close()


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Let the loop turn until a condition holds; a TimeoutError when it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


async def turns(count: int = 3) -> None:
    """Let the loop turn a few times."""
    for _ in range(count):
        await asyncio.sleep(0)
