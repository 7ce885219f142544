"""The event loop: a scheduler that runs, and the rooms that give it its methods.

`EventLoop` is the only loop class. What differs between operating systems is the engine that
it is composed with; `SelectorEventLoop` and `ProactorEventLoop` are the same loop with an
engine chosen for it.

Documented at https://docs.python.org/3/library/asyncio-eventloop.html
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from evenloop.engines import choose, over_selector
from evenloop.executor import Executor
from evenloop.net import Network
from evenloop.readers import Readers
from evenloop.scheduler import logger
from evenloop.signals import Signals
from evenloop.subprocesses import Processes

if TYPE_CHECKING:
    import selectors
    from collections.abc import AsyncGenerator, Awaitable, Generator
    from typing import Self

    from evenloop.engines import Engine

__all__ = ["EventLoop", "ProactorEventLoop", "SelectorEventLoop"]

#: Environment variable that names the profile for loops that are not told one.
PROFILE_VARIABLE = "EVENLOOP_PROFILE"

# Frames of a coroutine's origin that debug mode keeps.
_ORIGIN_DEPTH = 10


class EventLoop(  # type: ignore[misc]  # typeshed ties *args to the callback's parameters
    Network, Processes, Signals, Executor, Readers, asyncio.AbstractEventLoop
):
    """An asyncio event loop that is the same on every operating system."""

    # What the rooms keep (the scheduler's state lies in its compiled layout). An instance that
    # has never needed a dictionary lets the interpreter find its methods without a search.
    __slots__ = (
        "_asyncgens",
        "_asyncgens_shut_down",
        "_children",
        "_default_executor",
        "_executor_shut_down",
        "_previous_wakeup_fd",
        "_regular_files",
        "_running",
        "_signal_handlers",
        "_wakeup_fd",
        "_watches",
    )

    #: The name of the profile whose limits the loop has; None where it has no limits.
    profile: ClassVar[str | None] = None

    def __new__(cls, *args: Any, profile: str | None = None, **kwargs: Any) -> Self:
        """Make a loop of this class or, under a profile, of its subclass with that one's limits."""
        if profile is None:
            profile = os.environ.get(PROFILE_VARIABLE) or None
        if profile is not None and cls.profile is None:
            from evenloop.platforms import profiles

            bases = {"selector": SelectorEventLoop, "proactor": ProactorEventLoop}
            cls = profiles.loop_class(cls, profile, EventLoop, bases)
        return super().__new__(cls)

    def __init__(self, engine: str | Engine | None = None, *, profile: str | None = None) -> None:
        """Make a loop on `engine`: a name, an `Engine`, or None for the best one here.

        With `profile`, the name of a platform (`evenloop.platforms.profiles.NAMES`), the loop has
        the documented limits of asyncio's loop there; None looks at EVENLOOP_PROFILE.

        Raises ValueError for a name that no engine or profile has and RuntimeError, with the
        reason, for an engine that cannot run here.
        """
        super().__init__(self._engine_for(engine))
        self._asyncgens: weakref.WeakSet[AsyncGenerator[Any, Any]] = weakref.WeakSet()
        self._asyncgens_shut_down = False
        self._running = False
        self._debug = _debug_by_default()
        _all_loops.add(self)

    # A profile may wait in a way of its own.

    def _engine_for(self, engine: str | Engine | None, model: str = "") -> Engine:
        return choose(engine, model)

    def _engine_over(self, selector: selectors.BaseSelector) -> Engine:
        return over_selector(selector)

    # ---- running ---------------------------------------------------------------------------

    def run_forever(self) -> None:
        """Run until `stop()` is called.

        Raises RuntimeError if this loop, or another one in this thread, runs already.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.run_forever
        """
        self._check_closed()
        self._check_idle()
        old_hooks = sys.get_asyncgen_hooks()
        old_depth = sys.get_coroutine_origin_tracking_depth()
        self._thread_id = threading.get_ident()
        self._running = True
        try:
            if self._debug:
                sys.set_coroutine_origin_tracking_depth(_ORIGIN_DEPTH)
            sys.set_asyncgen_hooks(
                firstiter=self._asyncgen_begins, finalizer=self._asyncgen_abandoned
            )
            asyncio._set_running_loop(self)
            self._signals_begin()
            self._run_turns()
        finally:
            self._signals_end()
            self._stopping = False
            self._running = False
            self._thread_id = None
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*old_hooks)
            sys.set_coroutine_origin_tracking_depth(old_depth)

    def run_until_complete(self, future: Awaitable[Any] | Generator[Any, None, Any]) -> Any:
        """Run until `future` (or coroutine) is done; return its result or raise its exception.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.run_until_complete
        """
        self._check_closed()
        self._check_idle()
        new_task = not asyncio.isfuture(future)
        task: asyncio.Future[Any] = asyncio.ensure_future(future, loop=self)  # type: ignore[arg-type]
        if new_task and hasattr(task, "_log_destroy_pending"):
            # An exception raised in run_forever() leaves it behind; that is no bug of the task.
            task._log_destroy_pending = False
        task.add_done_callback(_stop_when_done)
        try:
            self.run_forever()
        except BaseException:
            if new_task and task.done() and not task.cancelled():
                # Its exception is on its way out already: do not report it again.
                task.exception()
            raise
        finally:
            task.remove_done_callback(_stop_when_done)
        if not task.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return task.result()

    def stop(self) -> None:
        """Stop at the end of this turn.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.stop
        """
        self._stopping = True

    def is_running(self) -> bool:
        """Return True while the loop runs.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.is_running
        """
        return self._running

    def close(self) -> None:
        """Close the loop for good: pending callbacks are dropped, the executor is shut down.

        Without effect on a closed loop; raises RuntimeError on a running one.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.close
        """
        if self._running:
            raise RuntimeError("Cannot close a running event loop")
        if self._closed:
            return
        if self._debug:
            logger.debug("Close %r", self)
        self._close()

    def _check_idle(self) -> None:
        if self._running:
            raise RuntimeError("This event loop is already running")
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("Cannot run the event loop while another loop is running")

    # ---- asynchronous generators -----------------------------------------------------------

    def _asyncgen_begins(self, agen: AsyncGenerator[Any, Any]) -> None:
        if self._asyncgens_shut_down:
            warnings.warn(
                f"asynchronous generator {agen!r} was scheduled after "
                "loop.shutdown_asyncgens() call",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
        self._asyncgens.add(agen)

    def _asyncgen_abandoned(self, agen: AsyncGenerator[Any, Any]) -> None:
        self._asyncgens.discard(agen)
        if not self._closed:
            # The collector may run in any thread.
            self.call_soon_threadsafe(self.create_task, agen.aclose())

    async def shutdown_asyncgens(self) -> None:
        """Close every asynchronous generator that is still open.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.shutdown_asyncgens
        """
        self._asyncgens_shut_down = True
        if not self._asyncgens:
            return
        agens = list(self._asyncgens)
        self._asyncgens.clear()
        outcomes = await asyncio.gather(*[agen.aclose() for agen in agens], return_exceptions=True)
        for outcome, agen in zip(outcomes, agens, strict=True):
            if isinstance(outcome, Exception):
                self.call_exception_handler(
                    {
                        "message": "an error occurred during closing of "
                        f"asynchronous generator {agen!r}",
                        "exception": outcome,
                        "asyncgen": agen,
                    }
                )

    # ---- debugging -------------------------------------------------------------------------

    def set_debug(self, enabled: bool) -> None:
        """Switch debug mode on or off.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.set_debug
        """
        self._debug = bool(enabled)
        if self._running:
            self.call_soon_threadsafe(self._track_origins, self._debug)

    def _track_origins(self, enabled: bool) -> None:
        sys.set_coroutine_origin_tracking_depth(_ORIGIN_DEPTH if enabled else 0)

    def __repr__(self) -> str:
        profile = "" if self.profile is None else f" profile={self.profile}"
        return (
            f"<{type(self).__name__} engine={self.engine.name}{profile} running={self._running} "
            f"closed={self._closed} debug={self._debug}>"
        )

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if getattr(self, "engine", None) is None:
            return  # there was no engine to make it with
        if not self._closed:
            _warn(f"unclosed event loop {self!r}", ResourceWarning, source=self)
            if not self._running:
                self.close()


class SelectorEventLoop(EventLoop):
    """The loop on a readiness engine: on the given selector, or the best one here."""

    def __init__(
        self, selector: selectors.BaseSelector | None = None, *, profile: str | None = None
    ) -> None:
        """Make a loop that waits with `selector`, a `selectors.BaseSelector`.

        `profile` as for `EventLoop`. Raises TypeError for a selector that is none.
        """
        if selector is None:
            super().__init__(self._engine_for(None, "readiness"))
        elif not hasattr(selector, "select") or not hasattr(selector, "register"):
            raise TypeError(f"selector must be a selectors.BaseSelector, got {selector!r}")
        else:
            super().__init__(self._engine_over(selector))


class ProactorEventLoop(EventLoop):
    """The loop on a completion engine, or on readiness where the system offers no better."""

    def __init__(self, *, profile: str | None = None) -> None:
        """Make a loop on the best completion engine here; `profile` as for `EventLoop`."""
        super().__init__(self._engine_for(None, "completion"))


def _debug_by_default() -> bool:
    """Whether new loops are in debug mode, as asyncio decides it."""
    return sys.flags.dev_mode or (
        not sys.flags.ignore_environment and bool(os.environ.get("PYTHONASYNCIODEBUG"))
    )


def _stop_when_done(future: asyncio.Future[Any]) -> None:
    if not future.cancelled() and isinstance(future.exception(), (SystemExit, KeyboardInterrupt)):
        # It left run_forever() already.
        return
    future.get_loop().stop()


# Every loop alive, to mend in a forked child what the parent's kernel objects are shared with.
_all_loops: weakref.WeakSet[EventLoop] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for loop in list(_all_loops):
        if not loop.is_closed():
            loop.engine.after_fork()
            loop._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
