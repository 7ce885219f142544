"""Make evenloop answer wherever a program asks for an event loop.

`evenloop.install()` respects a program that names another loop. `evenloop run` is asked to put a
program on evenloop as it is, so here the names themselves lead to evenloop: asyncio's policies
and loop classes, and the entry points of the packages that replace them.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import warnings
from typing import TYPE_CHECKING, Any

from evenloop import runners
from evenloop.loop import EventLoop, ProactorEventLoop, SelectorEventLoop
from evenloop.net.unix_streams import open_unix_connection, start_unix_server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["everywhere"]

_POLICIES = (
    "DefaultEventLoopPolicy",
    "WindowsSelectorEventLoopPolicy",
    "WindowsProactorEventLoopPolicy",
)
_CLASSES: dict[str, type[asyncio.AbstractEventLoop]] = {
    "EventLoop": EventLoop,
    "SelectorEventLoop": SelectorEventLoop,
    "ProactorEventLoop": ProactorEventLoop,
}
_RIVALS = ("uvloop", "winloop", "zuvloop", "rloop")


def everywhere() -> None:
    """Substitute evenloop for every way to get an event loop, in this process and its workers."""
    runners.install()
    if runners.has_policies():
        _fill_policies()
    for name, ours in _CLASSES.items():
        if hasattr(asyncio, name):  # asyncio has only the classes of its own platform
            setattr(asyncio, name, ours)
    for function in (open_unix_connection, start_unix_server):
        if not hasattr(asyncio, function.__name__):  # it has them where it has AF_UNIX
            setattr(asyncio, function.__name__, function)
    watcher = _ImportWatcher(dict.fromkeys(_RIVALS, _answer_for))
    watcher.add("multiprocessing.spawn", _tell_workers)
    sys.meta_path.insert(0, watcher)


def _fill_policies() -> None:
    """Let asyncio's own policies make our loops, for a program that sets one of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for name in _POLICIES:
            policy: Any = getattr(asyncio, name, None)
            if policy is not None:
                policy._loop_factory = EventLoop


def _answer_for(rival: ModuleType) -> None:
    """Replace the entry points of another loop's package by ours of the same meaning."""
    ours: dict[str, Any] = {
        "install": runners.install,
        "new_event_loop": runners.new_event_loop,
        "run": runners.run,
    }
    if runners.has_policies():
        ours["EventLoopPolicy"] = runners.EventLoopPolicy
    for name, answer in ours.items():
        if hasattr(rival, name):
            setattr(rival, name, answer)


def _tell_workers(spawn: Any) -> None:
    """Make the worker processes that multiprocessing starts afresh follow."""
    prepare = spawn.get_preparation_data

    def get_preparation_data(name: str) -> dict[str, Any]:
        # A worker unpickles this before it does anything else, and ignores keys it does not know.
        return {**prepare(name), "evenloop": _Everywhere()}

    spawn.get_preparation_data = get_preparation_data


class _Everywhere:
    """Calls `everywhere()` when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return everywhere, ()


class _ImportWatcher:
    """Calls a function with a module as soon as that module has been imported."""

    def __init__(self, actions: dict[str, Callable[[Any], None]]) -> None:
        self._actions: dict[str, Callable[[Any], None]] = {}
        for name, action in actions.items():
            self.add(name, action)

    def add(self, name: str, action: Callable[[Any], None]) -> None:
        """Watch one more module; one that is imported already is acted on now."""
        module = sys.modules.get(name)
        if module is None:
            self._actions[name] = action
        else:
            action(module)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answer for a watched module with what the other finders say, and act after it ran."""
        action = self._actions.pop(name, None)
        if action is None:
            return None
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            self._actions[name] = action
            return None
        loader: Any = spec.loader
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            if module.__name__ == name:
                action(module)

        # On the instance: its other methods (sources, resources) stay reachable.
        loader.exec_module = exec_module
        return spec
