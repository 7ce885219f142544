"""run, new_event_loop, install, EventLoopPolicy."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import evenloop
from evenloop import runners
from evenloop.engines import choose
from evenloop.runners import install, new_event_loop, run
from evenloop.scheduler import Scheduler


async def current() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_run() -> None:
    loop = run(current())
    assert isinstance(loop, evenloop.EventLoop)
    assert loop.is_closed()


def test_run_takes_what_asyncio_takes() -> None:
    theirs = inspect.signature(asyncio.run).parameters
    ours = inspect.signature(run).parameters
    for name, parameter in theirs.items():
        assert ours[name].kind == parameter.kind
        assert ours[name].default == parameter.default


@pytest.mark.parametrize("debug", [None, False, True])
def test_debug(debug: bool | None) -> None:
    async def main() -> bool:
        return asyncio.get_running_loop().get_debug()

    assert run(main(), debug=debug) is bool(debug)


def test_engine() -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, evenloop.EventLoop)
        return loop.engine.name

    assert run(main(), engine="selector") == "selector"


def test_loop_factory() -> None:
    loop = run(current(), loop_factory=asyncio.SelectorEventLoop)
    assert type(loop) is asyncio.SelectorEventLoop


def test_factory_and_engine() -> None:
    never: Any = None
    with pytest.raises(TypeError, match="not both"):
        run(never, loop_factory=asyncio.SelectorEventLoop, engine="selector")


def test_run_inside_a_loop() -> None:
    async def main() -> None:
        run(None)  # type: ignore[arg-type]

    with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
        run(main())


def test_run_something_else() -> None:
    kind = TypeError if sys.version_info >= (3, 14) else ValueError
    with pytest.raises(kind):
        run(42)  # type: ignore[arg-type]


def test_no_such_engine() -> None:
    never: Any = None
    with pytest.raises(ValueError, match="there is no engine 'steam'"):
        new_event_loop("steam")
    with pytest.raises(ValueError, match="there is no engine 'steam'"):
        run(never, engine="steam")


def test_new_event_loop_is_not_made_current() -> None:
    loop = new_event_loop()
    try:
        assert not loop.is_running()
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
    finally:
        loop.close()


needs_policies = pytest.mark.skipif(
    not runners.has_policies(), reason="this Python has no event loop policies"
)


@pytest.fixture
def policies() -> Iterator[None]:
    """Put asyncio's own policy back."""
    made = asyncio.new_event_loop, asyncio.events.new_event_loop
    yield
    if runners.has_policies():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            asyncio.set_event_loop_policy(None)
    else:
        asyncio.new_event_loop, asyncio.events.new_event_loop = made


@pytest.mark.usefixtures("policies")
def test_install() -> None:
    install()
    assert isinstance(asyncio.run(current()), evenloop.EventLoop)
    loop = asyncio.new_event_loop()
    assert isinstance(loop, evenloop.EventLoop)
    loop.close()
    with asyncio.Runner() as runner:
        assert isinstance(runner.get_loop(), evenloop.EventLoop)


@pytest.mark.usefixtures("policies")
def test_install_engine() -> None:
    install("selector")
    loop = asyncio.new_event_loop()
    assert isinstance(loop, evenloop.EventLoop)
    assert loop.engine.name == "selector"
    loop.close()


@pytest.mark.usefixtures("policies")
def test_install_respects_who_names_another_loop() -> None:
    install()
    loop = asyncio.SelectorEventLoop()
    assert not isinstance(loop, evenloop.EventLoop)
    loop.close()


@needs_policies
@pytest.mark.usefixtures("policies")
def test_policy() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        policy = evenloop.EventLoopPolicy()
        assert evenloop.EventLoopPolicy is evenloop.EventLoopPolicy
        assert isinstance(policy, asyncio.DefaultEventLoopPolicy)
        asyncio.set_event_loop_policy(policy)
        assert asyncio.get_event_loop_policy() is policy
    assert isinstance(asyncio.run(current()), evenloop.EventLoop)


@needs_policies
def test_policy_on_an_engine() -> None:
    loop = evenloop.EventLoopPolicy("selector").new_event_loop()
    assert isinstance(loop, evenloop.EventLoop)
    assert loop.engine.name == "selector"
    loop.close()


def test_no_policies_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "has_policies", lambda: False)
    monkeypatch.delitem(vars(runners), "EventLoopPolicy", raising=False)
    with pytest.raises(AttributeError, match=r"use evenloop.run\(\)"):
        _ = evenloop.EventLoopPolicy
    assert not hasattr(runners, "Something")


@pytest.mark.usefixtures("policies")
def test_install_without_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "has_policies", lambda: False)
    monkeypatch.setattr(asyncio, "new_event_loop", asyncio.new_event_loop)
    monkeypatch.setattr(asyncio.events, "new_event_loop", asyncio.events.new_event_loop)
    install()
    assert isinstance(asyncio.run(current()), evenloop.EventLoop)
    loop = asyncio.new_event_loop()
    assert isinstance(loop, evenloop.EventLoop)
    loop.close()


def test_import_warns_of_nothing() -> None:
    text = "import evenloop; evenloop.install(); import asyncio; asyncio.new_event_loop().close()"
    seen = subprocess.run(
        [sys.executable, "-W", "error", "-c", text],
        capture_output=True,
        env=os.environ,
        timeout=30,
        check=False,
    )
    assert (seen.returncode, seen.stderr) == (0, b"")


def test_a_loop_keeps_nothing_in_a_dictionary() -> None:
    # With one, the interpreter would search it for every method that is called.
    loop = new_event_loop()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert set(vars(loop)) <= _what_a_scheduler_keeps()


def _what_a_scheduler_keeps() -> set[str]:
    scheduler = Scheduler(choose("selector"))
    scheduler.engine.close()
    # Uncompiled it is an ordinary object.
    return set(getattr(scheduler, "__dict__", ()))
