"""Ways to start a program on evenloop: run, new_event_loop, install and the policy.

From the most local to the most global:

- `run(main())` runs one coroutine, as `asyncio.run` does, on a loop of ours;
- `new_event_loop()` is a loop factory for whatever takes one (`asyncio.Runner`, uvicorn, …);
- `install()` makes every later `asyncio.run` and `asyncio.new_event_loop` of the process ours;
- `EventLoopPolicy` does the same for code that wants a policy object, until Python 3.16.
"""

from __future__ import annotations

import asyncio
import sys
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from evenloop.loop import EventLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from evenloop.engines import Engine

__all__ = ["EventLoopPolicy", "install", "new_event_loop", "run"]

_T = TypeVar("_T")


def new_event_loop(engine: str | Engine | None = None, *, profile: str | None = None) -> EventLoop:
    """Make a new event loop. It is not made current, and the caller closes it.

    Fits wherever a loop factory is asked for: `asyncio.Runner(loop_factory=new_event_loop)`,
    `uvicorn --loop evenloop:new_event_loop`.

    Args:
        engine: The name of an engine (`evenloop.engines.available()` lists them), an engine
            object, or None for the one named by EVENLOOP_ENGINE or else the best one here.
        profile: The name of a platform (`evenloop.platforms.profiles.NAMES`): the loop has the
            documented limits of asyncio's own loop there. None takes the one named by
            EVENLOOP_PROFILE, or else no limits.

    Raises:
        ValueError: There is no engine or profile of that name.
        RuntimeError: That engine cannot run here; the message says why.
    """
    return EventLoop(engine, profile=profile)


def run(
    main: Coroutine[Any, Any, _T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    engine: str | Engine | None = None,
    profile: str | None = None,
) -> _T:
    """Run a coroutine on a new evenloop loop and return its result, as `asyncio.run` does.

    Cancels what is left, finishes asynchronous generators, closes the default executor and the
    loop. SIGINT cancels the main task, then raises KeyboardInterrupt.

    Args:
        main: A coroutine (on Python 3.14 and newer, any awaitable).
        debug: Turn the loop's debug mode on or off; None follows PYTHONASYNCIODEBUG and -X dev.
        loop_factory: Makes the loop instead of `new_event_loop`; accepted so that calls written
            for `asyncio.run` keep their meaning.
        engine: As for `new_event_loop`.
        profile: As for `new_event_loop`.

    Raises:
        RuntimeError: An event loop is already running in this thread, or the engine cannot run
            here.
        TypeError: `loop_factory` was given with `engine` or `profile`, or `main` cannot be awaited
            (ValueError before Python 3.14).
        ValueError: There is no engine or profile of that name.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("evenloop.run() cannot be called from a running event loop")
    if loop_factory is None:
        loop_factory = partial(new_event_loop, engine, profile=profile)
    elif engine is not None:
        raise TypeError("evenloop.run() takes loop_factory or engine, not both: a factory decides")
    elif profile is not None:
        raise TypeError("evenloop.run() takes loop_factory or profile, not both: a factory decides")
    with asyncio.Runner(debug=debug, loop_factory=loop_factory) as runner:
        return runner.run(main)


def install(engine: str | Engine | None = None) -> None:
    """Make asyncio use evenloop in this process from now on.

    Every later `asyncio.run`, `asyncio.Runner` and `asyncio.new_event_loop` that is not told
    otherwise makes one of our loops. Loops that exist stay what they are. A program that
    afterwards asks for another loop by name (a `loop_factory`, a policy of its own,
    `asyncio.SelectorEventLoop()`) gets the one that it asked for; `evenloop run` goes further.

    Works on every Python, without a DeprecationWarning: up to 3.15 it sets a policy, from 3.16,
    which has none, it replaces `asyncio.new_event_loop`.

    Args:
        engine: As for `new_event_loop`; None looks at EVENLOOP_ENGINE each time a loop is made.
    """
    if not has_policies():
        factory = partial(new_event_loop, engine)
        asyncio.events.new_event_loop = factory
        asyncio.new_event_loop = factory
        return
    policy = _policy_class()(engine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.set_event_loop_policy(policy)


def has_policies() -> bool:
    """Whether this Python still has event loop policies: deprecated in 3.14, gone in 3.16."""
    return sys.version_info < (3, 16)


if TYPE_CHECKING:

    class EventLoopPolicy(asyncio.DefaultEventLoopPolicy):
        """See `_policy_class`, which makes this class when it is first asked for."""

        def __init__(self, engine: str | Engine | None = None) -> None: ...


def __getattr__(name: str) -> Any:
    """Build the policy class when it is first asked for: its base warns on Python 3.14."""
    if name == "EventLoopPolicy":
        return _policy_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _policy_class() -> Any:
    """The policy class, made once."""
    made = globals().get("EventLoopPolicy")
    if made is not None:
        return made
    if not has_policies():
        raise AttributeError(
            "evenloop.EventLoopPolicy: this Python has no event loop policies any more; "
            "use evenloop.run(), evenloop.install() or loop_factory=evenloop.new_event_loop"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        base: Any = asyncio.DefaultEventLoopPolicy

    class EventLoopPolicy(base):  # type: ignore[misc]
        """asyncio's default policy, making evenloop's loops.

        For code that wants a policy: `asyncio.set_event_loop_policy(EventLoopPolicy())`.
        Python 3.14 deprecates policies (asyncio itself warns when one is set) and 3.16 removes
        them; there, this name raises AttributeError. `run`, `install` and a loop factory work
        everywhere.

        Args:
            engine: As for `new_event_loop`.
        """

        def __init__(self, engine: str | Engine | None = None) -> None:
            super().__init__()
            self._engine = engine

        def _loop_factory(self) -> EventLoop:
            """What asyncio's policy calls for each new loop."""
            return new_event_loop(self._engine)

    EventLoopPolicy.__qualname__ = "EventLoopPolicy"
    globals()["EventLoopPolicy"] = EventLoopPolicy
    return EventLoopPolicy
