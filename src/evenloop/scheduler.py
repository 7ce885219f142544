"""The scheduler: what runs next on a loop's thread.

It owns the ready queue, the timers and the calls that other threads hand in, and drives the
engine. `EventLoop` is a scheduler with everything else on top; transports know only this half.

One turn, in order:

1. The engine waits for news; not at all when something is ready.
2. What is in the ready queue runs, calls from other threads among it; what that schedules runs
   next turn.
3. The engine delivers its news. Protocols and readers are called from here directly, without a
   pass through a queue: in the order that asyncio has, at a fraction of its cost.
4. Timers that were due when the turn began run.
5. Transports that were written to more than once send what they gathered, in one call.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

try:
    import cython
except ImportError:
    from evenloop import _cython as cython

if not cython.compiled:
    from evenloop._queues import HandleQueue, put, show_shared, size, take
    from evenloop.handles import new_handle, new_thread_safe_handle, new_timer
    from evenloop.timers import TimerHeap, pending

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from contextvars import Context

    from evenloop.engines.engine import Engine
    from evenloop.handles import Handle, TimerHandle

    TaskFactory = Callable[..., Any]
    ExceptionHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]

__all__ = ["Flushable", "Scheduler", "logger"]

logger: logging.Logger = logging.getLogger("asyncio")

# With work at hand, the engine is asked for news after this many callbacks (a system call for
# every one of them would cost more than the callback) or seconds (they may be slow ones).
CALLBACKS_BETWEEN_POLLS = 64
LONGEST_BETWEEN_POLLS = 0.0005
# To look at the clock costs as much as a tenth of a callback. While they are quick (this many
# take less than this part of the time between polls) it is looked at this seldom.
CALLBACKS_BETWEEN_LOOKS = 8

_NEVER = math.inf


def _seconds(name: str, value: Any) -> float:
    """Return a number of seconds as a float."""
    if isinstance(value, float):
        return value
    if value is None:
        raise TypeError(f"{name} must not be None")
    # float() would read what is text as a number.
    if not isinstance(value, (str, bytes, bytearray)):
        try:
            return float(value)
        except TypeError:
            pass
    raise TypeError(f"{name} must be a number of seconds, got {value!r}")


_reentrant_lock = threading.RLock

# Looked up there at every call: who replaces asyncio's class means our loops, too.
_tasks: Any = asyncio.tasks

# From 3.13.3 on a task factory is given every keyword that create_task() was given.
_FACTORY_TAKES_NAME = sys.version_info >= (3, 13, 3)

# Without a GIL the "a wake-up is on its way" flag proves nothing: wake every time.
_FREE_THREADED: bool = not getattr(sys, "_is_gil_enabled", lambda: True)()
# Handles for other threads need a lock each, unless the GIL stands in for it; see them.
_LOCKED_HANDLES = _FREE_THREADED or not cython.compiled


class Flushable:
    """Something that gathers output during a turn and sends it at the end."""

    def flush(self) -> None:
        """Send what was gathered; never raises."""
        raise NotImplementedError


class Scheduler:
    """The ready queue, the timers and the turn of a loop."""

    def __init__(self, engine: Engine) -> None:
        if getattr(self, "engine", None) is not None:
            raise RuntimeError(f"{self!r} is made already")
        self.engine = engine
        #: How many turns this loop has made.
        self.turn: int = 0
        #: Seconds that a callback may take in debug mode before a warning is logged.
        self.slow_callback_duration: float = 0.1
        self._ready = HandleQueue()
        self._due = HandleQueue()
        self._incoming: list[Handle] = []
        self._timers = TimerHeap()
        self._unsent: list[Flushable] = []
        # A subclass may have a clock of its own: everything goes by it.
        self._own_clock = type(self).time is not Scheduler.time
        self._polled = self._looked = 0.0
        self._look_at = self._unlooked = 0
        self._task_factory: TaskFactory | None = None
        self._exception_handler: ExceptionHandler | None = None
        self._order = 0
        self._thread_id: int | None = None
        self._credit = 0
        self._asleep = False
        self._debug = False
        self._stopping = False
        self._closed = False

    def __reduce__(self) -> Any:
        raise TypeError(f"{self!r} cannot be copied or pickled")

    # ---- asking for calls ------------------------------------------------------------------

    def time(self) -> float:
        """Return the loop's clock: monotonic seconds, to a microsecond or better.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.time
        """
        return self.engine.now()

    def _now(self) -> float:
        return self.time() if self._own_clock else self.engine.now()

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Any:
        """Run `callback(*args)` at the next turn, in the order of the calls to this method.

        Returns an `asyncio.Handle`. Not thread-safe. Raises TypeError if the callback cannot be
        called, RuntimeError if the loop is closed and, in debug mode, if this is not its thread.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.call_soon
        """
        if self._closed or self._debug or not callable(callback):
            self._check_call("call_soon", callback)
        if _FREE_THREADED and self._incoming:
            # What other threads asked for before has its turn before.
            self._take_incoming()
        handle = new_handle(callback, args, self, context)
        if self._debug:
            handle._remember_source()
        put(self._ready, handle)
        return handle

    def schedule(
        self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context | None
    ) -> Handle:
        """Run `callback(*args)` at the next turn; for evenloop's own use, nothing is checked."""
        handle = new_handle(callback, args, self, context)
        put(self._ready, handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Any:
        """Run `callback(*args)` at the next turn; from any thread or signal handler.

        Wakes the loop if it waits. Returns an `asyncio.Handle` that any thread may cancel.
        Raises TypeError if the callback cannot be called and RuntimeError if the loop is closed.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.call_soon_threadsafe
        """
        if self._closed or self._debug or not callable(callback):
            self._check_call("call_soon_threadsafe", callback, any_thread=True)
        lock = _reentrant_lock() if _LOCKED_HANDLES else None
        handle = new_thread_safe_handle(callback, args, self, context, lock)
        if self._debug:
            handle._remember_source()
        if _FREE_THREADED:
            self._incoming.append(handle)
        else:
            put(self._ready, handle)  # the GIL is the lock of the queue
        if self._asleep or _FREE_THREADED:
            self._asleep = False  # who is being woken needs no second wake
            self.engine.wake()
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[..., Any],
        *args: Any,
        context: Context | None = None,
    ) -> Any:
        """Run `callback(*args)` after `delay` seconds, and not before.

        Returns an `asyncio.TimerHandle`. Raises TypeError if the delay is no number or the
        callback cannot be called, ValueError if the delay is not a number (NaN).

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.call_later
        """
        when = self._now() + _seconds("delay", delay)
        return self._call_at("call_later", when, callback, args, context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., Any],
        *args: Any,
        context: Context | None = None,
    ) -> Any:
        """Run `callback(*args)` at the time `when` of the loop's clock, and not before.

        Returns an `asyncio.TimerHandle`. Raises as `call_later()` does.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.call_at
        """
        return self._call_at("call_at", _seconds("when", when), callback, args, context)

    def _call_at(
        self,
        method: str,
        when: float,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        context: Context | None,
    ) -> TimerHandle:
        if self._closed or self._debug or not callable(callback):
            self._check_call(method, callback)
        if when != when:
            raise ValueError(f"{method}() needs a time, got {when!r}")
        self._order += 1
        handle = new_timer(when, self._order, callback, args, self, context)
        if self._debug:
            handle._remember_source()
        self._timers.push(handle)
        return handle

    def _check_call(self, method: str, callback: Any, any_thread: bool = False) -> None:
        """Raise what is wrong with a request for a call."""
        if self._closed:
            raise RuntimeError("Event loop is closed")
        if asyncio.iscoroutine(callback) or (self._debug and inspect.iscoroutinefunction(callback)):
            raise TypeError(
                f"coroutines cannot be used with {method}(): got {callback!r}; "
                "use asyncio.create_task() or asyncio.run_coroutine_threadsafe()"
            )
        if not callable(callback):
            raise TypeError(f"a callable object was expected by {method}(), got {callback!r}")
        if self._debug and not any_thread and self._thread_id not in (None, threading.get_ident()):
            raise RuntimeError(
                "Non-thread-safe operation invoked on an event loop other than the current "
                f"one: {method}() was called in another thread than the loop's; "
                "use call_soon_threadsafe()"
            )

    def create_future(self) -> asyncio.Future[Any]:
        """Return a new future that belongs to this loop.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.create_future
        """
        return asyncio.Future(loop=self)  # type: ignore[arg-type]

    def create_task(self, coro: Coroutine[Any, Any, Any], **kwargs: Any) -> asyncio.Task[Any]:
        """Run a coroutine as a task, which the task factory makes if one is set.

        Takes `name`, `context` and whatever else the running Python's `asyncio.Task` takes
        (`eager_start` on 3.14); each reaches the factory only if it was given.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.create_task
        """
        self._check_closed()
        factory = self._task_factory
        if factory is not None:
            return self._make_task(factory, coro, kwargs)  # type: ignore[no-any-return]
        task: Any
        if not kwargs:
            # The usual way: no dictionaries are merged.
            task = _tasks.Task(coro, loop=self)
        else:
            task = _tasks.Task(coro, loop=self, **kwargs)
        if not cython.compiled and self._debug and task._source_traceback:
            # Without this frame (a compiled one is not there): it says nothing.
            task._source_traceback.pop()
        return task  # type: ignore[no-any-return]

    def _make_task(
        self, factory: TaskFactory, coro: Coroutine[Any, Any, Any], kwargs: dict[str, Any]
    ) -> Any:
        """Have a factory make a task, with no keyword that was not given or that it lacks."""
        if _FACTORY_TAKES_NAME:
            return factory(self, coro, **kwargs)
        # Until 3.13.2 a factory is given the context alone; the name is set afterwards.
        given = {key: value for key, value in kwargs.items() if key != "name"}
        if given.get("context", self) is None:
            del given["context"]
        task = factory(self, coro, **given)
        name = kwargs.get("name")
        if name is not None and hasattr(task, "set_name"):
            task.set_name(name)
        return task

    def set_task_factory(self, factory: TaskFactory | None) -> None:
        """Set `factory(loop, coro, **kwargs)` as what makes tasks; None for `asyncio.Task`.

        Raises TypeError if it is neither callable nor None.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.set_task_factory
        """
        if factory is not None and not callable(factory):
            raise TypeError(f"task factory must be a callable or None, got {factory!r}")
        self._task_factory = factory

    def get_task_factory(self) -> TaskFactory | None:
        """Return the task factory, or None for the default.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.get_task_factory
        """
        return self._task_factory

    # ---- the turn --------------------------------------------------------------------------

    def flush_later(self, item: Flushable) -> None:
        """Have `item.flush()` called at the end of this turn."""
        self._unsent.append(item)

    def poll_soon(self) -> None:
        """Have the engine asked for news at the next turn, however much is ready."""
        self._credit = 0

    def _flush(self) -> None:
        index = 0
        # Flushing calls protocols (resume_writing), which may write: the list can grow.
        while index < len(self._unsent):
            item = self._unsent[index]
            index += 1
            item.flush()
        self._unsent.clear()

    def _patience(self) -> float:
        """Return how long the engine may wait, in seconds; negative for ever."""
        if size(self._ready) or self._stopping or self._incoming or size(self._due):
            return 0.0
        if not pending(self._timers):
            return -1.0
        when = self._timers.deadline()
        if when == _NEVER:
            return -1.0
        delay = when - self._now()
        return delay if delay > 0.0 else 0.0

    def _take_incoming(self) -> None:
        """Queue the calls of other threads, which may go on adding to the list meanwhile."""
        count = len(self._incoming)
        for index in range(count):
            put(self._ready, self._incoming[index])
        del self._incoming[:count]

    def _run_turns(self) -> None:
        """Make turns until the loop is stopped; the first one asks the engine in any case."""
        self._credit = 0
        while True:
            self._run_turn()
            if self._stopping:
                return

    def _busy_long(self) -> bool:
        """Look at the clock: is it time for the engine? And see how soon to look again."""
        now = self._now()
        quick = now - self._looked < LONGEST_BETWEEN_POLLS / CALLBACKS_BETWEEN_LOOKS
        self._unlooked = CALLBACKS_BETWEEN_LOOKS if quick else 0
        self._look_at = self._credit - self._unlooked
        self._looked = now
        return now - self._polled > LONGEST_BETWEEN_POLLS

    @cython.nonecheck(False)  # type: ignore[untyped-decorator]
    def _run_turn(self) -> None:
        """Make one turn; see the head of this module."""
        self.turn += 1
        arrived = False
        if (
            self._credit <= 0
            or not size(self._ready)
            or self._stopping
            or (self._credit <= self._look_at and self._busy_long())
        ):
            self._asleep = True
            arrived = self.engine.wait(self._patience())  # what is added from here on wakes it
            self._asleep = False
            self._credit = CALLBACKS_BETWEEN_POLLS
            self._look_at = CALLBACKS_BETWEEN_POLLS - self._unlooked
            self._polled = self._looked = self._now()
            if pending(self._timers):
                self._timers.collect(self._polled, self._due)
        elif pending(self._timers):
            self._timers.collect(self._now(), self._due)
        if _FREE_THREADED and self._incoming:
            self._take_incoming()
        if size(self._ready):
            self._credit -= size(self._ready)
            self._run_all(self._ready)
        if arrived:
            self.engine.deliver()
        if size(self._due):
            self._run_all(self._due)
        if self._unsent:
            self._flush()

    @cython.nonecheck(False)  # type: ignore[untyped-decorator]
    def _run_all(self, queue: HandleQueue) -> None:
        """Run what is in a queue now; what that adds waits for another turn.

        SystemExit and KeyboardInterrupt leave the rest, which has its turn if the loop goes on.
        """
        count = size(queue)
        handle: Handle = None  # type: ignore[assignment]
        try:
            while count > 0:
                count -= 1
                handle = take(queue)
                if not handle._cancelled:
                    if self._debug:
                        self._run_timed(handle)
                    else:
                        handle.run()
                        handle._callback = handle._args = None  # whoever keeps it keeps no more
                if cython.compiled:
                    show_shared(handle)
        finally:
            if cython.compiled and handle is not None:
                show_shared(handle)
            handle = None  # type: ignore[assignment]

    def _run_now(self, handle: Handle) -> None:
        """Run a handle that is not in the ready queue: a reader's or a writer's."""
        if self._debug:
            self._run_timed(handle)
        else:
            handle.run()

    def _run_timed(self, handle: Handle) -> None:
        """Run a handle in debug mode: tell if it takes long."""
        started = time.monotonic()
        handle.run()
        seconds = time.monotonic() - started
        if seconds >= self.slow_callback_duration:
            # The step of a task says little; the task says which coroutine it is.
            owner = getattr(handle._callback, "__self__", None)
            self._report_slow(owner if isinstance(owner, asyncio.Task) else handle, seconds)
            owner = None
        if not cython.compiled:
            # See _calls: this frame may outlive the call.
            del handle

    def _report_slow(self, what: object, seconds: float) -> None:
        if seconds >= self.slow_callback_duration:
            logger.warning("Executing %r took %.3f seconds", what, seconds)

    # ---- errors ----------------------------------------------------------------------------

    def get_debug(self) -> bool:
        """Return True in debug mode.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.get_debug
        """
        return self._debug

    def get_exception_handler(self) -> ExceptionHandler | None:
        """Return the exception handler that was set, or None.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.get_exception_handler
        """
        return self._exception_handler

    def set_exception_handler(self, handler: ExceptionHandler | None) -> None:
        """Set `handler(loop, context)` as the exception handler; None for the default.

        Raises TypeError if the handler is neither callable nor None.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.set_exception_handler
        """
        if handler is not None and not callable(handler):
            raise TypeError(f"A callable object or None is expected, got {handler!r}")
        self._exception_handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log what `context` tells of an error, at level ERROR of the logger "asyncio".

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.default_exception_handler
        """
        message = context.get("message") or "Unhandled exception in event loop"
        exception = context.get("exception")
        lines = [message]
        for key in sorted(context):
            if key in ("message", "exception"):
                continue
            value = context[key]
            if key == "source_traceback":
                stack = "".join(traceback.format_list(value)).rstrip()
                value = f"Object created at (most recent call last):\n{stack}"
            elif key == "handle_traceback":
                stack = "".join(traceback.format_list(value)).rstrip()
                value = f"Handle created at (most recent call last):\n{stack}"
            else:
                value = repr(value)
            lines.append(f"{key}: {value}")
        info = (
            (type(exception), exception, exception.__traceback__)
            if exception is not None
            else False
        )
        logger.error("\n".join(lines), exc_info=info)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Hand an error to the exception handler.

        `context` holds "message" and, where they apply, "exception", "future", "task",
        "handle", "protocol", "transport", "socket", "source_traceback" and more. The handler
        runs in the context of the task, future or handle that the error comes from. Only
        SystemExit and KeyboardInterrupt leave this method.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.call_exception_handler
        """
        handler = self._exception_handler
        try:
            if handler is None:
                self.default_exception_handler(context)
                return
            source = context.get("task") or context.get("future") or context.get("handle")
            where = getattr(source, "get_context", None)
            if where is not None:
                where().run(handler, self, context)
            else:
                handler(self, context)  # type: ignore[arg-type]
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            if handler is None:
                # Only a log handler or an overriding method can have failed.
                logger.error("Exception in default exception handler", exc_info=True)
                return
            try:
                self.default_exception_handler(
                    {
                        "message": "Unhandled error in exception handler",
                        "exception": exc,
                        "context": context,
                    }
                )
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException:
                logger.error(
                    "Exception in default exception handler while handling an unexpected error "
                    "in custom exception handler",
                    exc_info=True,
                )

    # ---- the end ---------------------------------------------------------------------------

    def is_closed(self) -> bool:
        """Return True if the loop was closed.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.is_closed
        """
        return self._closed

    def _check_closed(self) -> None:
        if self._closed:
            raise RuntimeError("Event loop is closed")

    def _check_free(self, fd: int) -> None:
        """Raise RuntimeError if a transport uses this descriptor."""
        owner = self.engine.owner(fd)
        if owner is not None and not owner.is_closing():
            raise RuntimeError(f"File descriptor {fd!r} is used by transport {owner!r}")

    def _close(self) -> None:
        """Release what this room of the loop holds; the others have been before."""
        self._closed = True
        self._ready.clear()
        self._due.clear()
        self._incoming.clear()
        self._timers.clear()
        self._unsent.clear()
        self.engine.close()
