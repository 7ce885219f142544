"""Engines: how a loop waits on each operating system, and which one it takes.

An engine is the only part of evenloop that knows an operating system. `engine.py` holds the
contract and is the porting guide; every other file here is one way to fulfil it:

- `readiness`: what all engines share that are told "this descriptor is ready";
- `selector`: readiness through any `selectors.BaseSelector`, wherever Python runs; with
  `blocking`, threads for what is no socket, on Windows (`selector_windows`);
- `posix`, `connections`, `epoll`: readiness in C, on Linux; with `aside`, a ring for files;
- `ring`, `provided`, `ring_files`, `ring_engine`, `uring`: completions in C, on Linux;
- `kqueue` over `kevents` (in C) or `kevents_select`: readiness on macOS and the BSDs; `apart`
  watches what kqueue refuses.

An engine that is asked for by name and cannot run here is an error that says why. The automatic
choice takes the first that can, and logs the reasons of the others once, at level DEBUG.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import select
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from evenloop._mode import pure_forced
from evenloop.engines.engine import Engine, Op

if TYPE_CHECKING:
    import selectors
    from collections.abc import Callable

__all__ = ["Choice", "Engine", "Op", "available", "choose", "over_selector"]

#: Environment variable that names the engine for loops that are not told one.
VARIABLE = "EVENLOOP_ENGINE"

logger: logging.Logger = logging.getLogger("asyncio")


class Choice(NamedTuple):
    """One engine, and whether it can run here."""

    name: str
    """What `EventLoop(engine=...)` and EVENLOOP_ENGINE call it."""
    usable: bool
    """Whether it can run in this process."""
    reason: str
    """Why not, or what it is; one line for people."""


class _Entry(NamedTuple):
    module: str
    attribute: str
    compiled: bool
    platforms: tuple[str, ...]  # prefixes of sys.platform; empty: all
    summary: str


BSDS = ("freebsd", "netbsd", "openbsd", "dragonfly")

# In order of preference.
_ENGINES = {
    "epoll": _Entry("epoll", "EpollEngine", True, ("linux",), "readiness through epoll, in C"),
    "uring": _Entry("uring", "UringEngine", True, ("linux",), "completions through io_uring"),
    "iocp": _Entry("iocp", "IocpEngine", False, ("win32",), "a completion port"),
    "afd": _Entry("afd", "AfdEngine", False, ("win32",), "readiness through AFD polls"),
    "kqueue": _Entry(
        "kqueue", "KqueueEngine", False, ("darwin", *BSDS), "readiness through kqueue"
    ),
    "selector": _Entry(
        "selector_windows" if sys.platform == "win32" else "selector",
        "WindowsSelectorEngine" if sys.platform == "win32" else "SelectorEngine",
        False,
        (),
        "readiness through selectors",
    ),
}

_told: set[str] = set()


def _load(name: str) -> type[Engine] | str:
    """Return an engine's class, or why it cannot run here."""
    entry = _ENGINES[name]
    if (
        entry.platforms
        and not sys.platform.startswith(entry.platforms)
        and not (name == "kqueue" and _kqueue_is_played())
    ):
        return f"it needs {' or '.join(entry.platforms)}, this is {sys.platform}"
    if entry.compiled and pure_forced():
        return "it is compiled, and EVENLOOP_PURE=1 asks for the uncompiled core"
    try:
        module = importlib.import_module(f"evenloop.engines.{entry.module}")
    except ImportError as error:
        if entry.compiled:
            return f"it is compiled, and this installation of evenloop is not ({error})"
        return str(error)
    return getattr(module, entry.attribute)  # type: ignore[no-any-return]


def _refused(loaded: type[Engine]) -> str:
    """Return why the system does not let this process have an engine, or an empty string."""
    why_not: Callable[[], str] | None = getattr(loaded, "why_not", None)
    return "" if why_not is None else why_not()


def _kqueue_is_played() -> bool:
    """Whether tests have put something in the place of the system call, on Linux."""
    if hasattr(select, "kqueue"):
        return True
    # Compiled with EVENLOOP_LIBKQUEUE, in place.
    found = not pure_forced() and importlib.util.find_spec("evenloop.engines.kevents")
    return bool(found)


def available() -> list[Choice]:
    """Return every engine that evenloop knows, the preferred first, and if it can run here."""
    choices = []
    for name, entry in _ENGINES.items():
        loaded = _load(name)
        reason = loaded if isinstance(loaded, str) else _refused(loaded)
        choices.append(Choice(name, not reason, reason or entry.summary))
    return choices


def over_selector(selector: selectors.BaseSelector) -> Engine:
    """Return a new `selector` engine that waits with this selector."""
    loaded: Any = _load("selector")
    engine: Engine = loaded(selector)
    return engine


def choose(engine: str | Engine | None = None, model: str = "") -> Engine:
    """Return a new engine: the one asked for, the environment's, or else the best one here.

    `model`, "readiness" or "completion", is what the best one is chosen among; where the system
    offers no completions it is one of readiness.

    Raises ValueError for a name that no engine has, RuntimeError for an engine that cannot run
    here, and TypeError for anything that is neither a name, an `Engine` nor None.
    """
    if isinstance(engine, Engine):
        return engine
    if engine is None:
        engine = os.environ.get(VARIABLE) or None
    if engine is not None:
        if not isinstance(engine, str):
            raise TypeError(
                f"engine must be the name of an engine, an Engine or None, got {engine!r}"
            )
        if engine not in _ENGINES:
            names = ", ".join(repr(name) for name in _ENGINES)
            raise ValueError(f"there is no engine {engine!r}; evenloop has {names}")
        loaded = _load(engine)
        if isinstance(loaded, str):
            raise RuntimeError(f"the engine {engine!r} cannot run here: {loaded}")
        try:
            return loaded()
        except OSError as error:
            reason = _refused(loaded)
            if not reason:
                raise
            raise RuntimeError(f"the engine {engine!r} cannot run here: {reason}") from error
    for name in _ENGINES:
        loaded = _load(name)
        if not isinstance(loaded, str):
            if model and loaded.model != model:
                continue
            try:
                return loaded()
            except OSError as error:
                loaded = _refused(loaded) or str(error)
        if name not in _told:
            _told.add(name)
            logger.debug("evenloop does not use the engine %r: %s", name, loaded)
    if model == "completion":
        # As good as it gets: readiness completes the same requests.
        return choose(model="readiness")
    raise RuntimeError("no engine can run here")  # pragma: no cover
