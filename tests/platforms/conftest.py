"""The rows of the platform-support table, each on the system that it is about.

A row has two halves: stock asyncio fails there in the documented way (`proactor` and `selector`
are its loops), and evenloop does not, on every engine of that system (`loop`).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import evenloop
from evenloop.engines import available

Factory = Callable[[], asyncio.AbstractEventLoop]

#: Whether this is Wine, which lacks some of what Windows has.
WINE = False
if sys.platform == "win32":
    import ctypes

    WINE = hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "ours" in metafunc.fixturenames:
        names = [choice.name for choice in available() if choice.usable]
        metafunc.parametrize("ours", names, indirect=True)


@pytest.fixture
def ours(request: pytest.FixtureRequest) -> Iterator[Factory]:
    """A factory of evenloop's loops; the test runs once for each engine that can run here."""
    yield partial(evenloop.new_event_loop, request.param)


@pytest.fixture
def proactor() -> Any:
    """The factory of asyncio's proactor loop; only Windows has it."""
    return asyncio.ProactorEventLoop  # type: ignore[attr-defined,unused-ignore]


@pytest.fixture
def selector() -> Factory:
    """The factory of asyncio's selector loop."""
    return asyncio.SelectorEventLoop
