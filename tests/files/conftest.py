"""Every case on every engine that can run here, and on the selectors that files are always
ready for."""

from __future__ import annotations

import asyncio
import inspect
import selectors
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import evenloop
from evenloop.engines import available

from tests.support.loops import bounded

Factory = Callable[[], asyncio.AbstractEventLoop]


def _factories() -> dict[str, Factory]:
    made: dict[str, Factory] = {
        choice.name: partial(evenloop.new_event_loop, choice.name)
        for choice in available()
        if choice.usable
    }
    for name in ("SelectSelector", "PollSelector"):
        selector: Any = getattr(selectors, name, None)
        if selector is not None and "selector" in made:
            made[name] = lambda selector=selector: evenloop.SelectorEventLoop(selector())
    return made


FACTORIES = _factories()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "new_loop" in metafunc.fixturenames:
        metafunc.parametrize("new_loop", list(FACTORIES), indirect=True)


@pytest.fixture
def new_loop(request: pytest.FixtureRequest) -> Iterator[Factory]:
    """A factory of loops; an async test takes it, and runs on such a loop."""
    yield FACTORIES[request.param]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """An async test is a coroutine: run it, on the loop of its parameter or the default one."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    factory = pyfuncitem.funcargs.get("new_loop", evenloop.new_event_loop)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(bounded(pyfuncitem.obj(**arguments), 25))
    return True
