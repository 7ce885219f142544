"""Run every case on stock asyncio and on evenloop.

On Windows on evenloop alone: neither stock loop has all that the cases need, and which test of
CPython's they pass is measured by tests/stdlib.

A test of this directory runs once per loop. An ``async def`` test runs on a fresh loop; any other
takes ``new_loop`` (a loop factory) or ``loop`` (a fresh loop, closed afterwards).
``@pytest.mark.evenloop_only`` is for what stock gets wrong. The engine is chosen from outside by
EVENLOOP_ENGINE and the uncompiled core by EVENLOOP_PURE.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Iterator

import pytest

from tests.support.loops import STOCK_ONLY, TrackedFactory, run


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "evenloop_only: stock asyncio does not pass this")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "new_loop" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(25, method="signal"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "new_loop" in metafunc.fixturenames:
        names = ["stock", "evenloop"]
        if sys.platform == "win32" or metafunc.definition.get_closest_marker("evenloop_only"):
            names.remove("stock")
        if STOCK_ONLY:
            names = [name for name in names if name == "stock"]
        metafunc.parametrize("new_loop", names, indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """An async test is a coroutine: run it."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    run(pyfuncitem.funcargs["new_loop"], pyfuncitem.obj(**arguments))
    return True


@pytest.fixture(autouse=True)
def new_loop(request: pytest.FixtureRequest) -> Iterator[TrackedFactory]:
    """A loop factory of the kind under test; a loop that stays open fails the test."""
    factory = TrackedFactory(request.param)
    yield factory
    left_open = factory.still_open()
    for loop in left_open:
        if not loop.is_running():
            loop.close()
    assert not left_open, f"loops left open: {left_open}"


@pytest.fixture
def loop(new_loop: TrackedFactory) -> Iterator[asyncio.AbstractEventLoop]:
    """A fresh loop, not running; closed in the end as asyncio.run would."""
    fresh = new_loop()
    yield fresh
    if not fresh.is_closed():
        fresh.run_until_complete(fresh.shutdown_asyncgens())
        fresh.run_until_complete(fresh.shutdown_default_executor())
        fresh.close()
