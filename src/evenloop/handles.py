"""Handles: one scheduled call each, soon (`Handle`) or at a time (`TimerHandle`).

Rules kept here:

- A handle runs its callback at most once, inside the context that it was made with.
- What the callback raises goes to the loop's exception handler with the handle in the
  context; only `SystemExit` and `KeyboardInterrupt` leave the loop.
- A cancelled handle drops its callback and arguments at once, so nothing they hold lives on.

To `isinstance` they are `asyncio.Handle` and `asyncio.TimerHandle`. Inheriting is not
possible (a compiled layout cannot be joined to asyncio's slots), so `__class__` says it.

Documented at https://docs.python.org/3/library/asyncio-eventloop.html#callback-handles
"""

from __future__ import annotations

import asyncio
import asyncio.events
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evenloop import _cython as cython  # typed, as the decorators below must be
else:
    try:
        import cython
    except ImportError:
        from evenloop import _cython as cython

from evenloop._describe import describe_callback, extract_stack

if not cython.compiled:
    from evenloop._calls import call_caught, copy_context, new_context

if TYPE_CHECKING:
    from contextvars import Context

    from evenloop.scheduler import Scheduler

__all__ = ["Handle", "ThreadSafeHandle", "TimerHandle", "TimerOwner"]

# What asyncio itself calls the handles of call_soon_threadsafe (3.14 and newer).
_AsyncioThreadSafeHandle: type = getattr(asyncio.events, "_ThreadSafeHandle", asyncio.Handle)


class TimerOwner:
    """Who keeps a timer until its time has come, and learns that it was cancelled."""

    def discard(self, handle: TimerHandle) -> None:
        """Note that a timer is being cancelled."""
        raise NotImplementedError


@cython.freelist(1024)
@cython.cclass
class Handle:
    """A callback that the loop will run once, unless it is cancelled first."""

    def __init__(
        self,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        loop: Scheduler,
        context: Context | None = None,
    ) -> None:
        self._loop = loop
        self._callback: Callable[..., Any] | None = callback
        self._args: tuple[Any, ...] | None = args
        # Compiled, None stands for a context without variables, which is made when it is needed.
        self._variables: Any = copy_context() if context is None else context
        self._cancelled = False
        self._repr: str | None = None
        self._source_traceback: Any = None

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return asyncio.Handle

    def _remember_source(self) -> None:
        """Keep where the call was asked for; the loop does so in debug mode."""
        self._source_traceback = extract_stack()

    def get_context(self) -> Context:
        """Return the `contextvars.Context` that the callback runs in."""
        if self._variables is None:
            self._variables = new_context()
        return self._variables  # type: ignore[no-any-return]

    @property
    def _context(self) -> Context:
        return self.get_context()

    def cancel(self) -> None:
        """Cancel the callback; without effect once it has run or was cancelled."""
        if not self._cancelled:
            self._cancelled = True
            if self._source_traceback is not None:
                # Debug mode: keep a description, the callback is about to go.
                self._repr = repr(self)
            self._callback = None
            self._args = None

    def cancelled(self) -> bool:
        """Return True if the callback was cancelled."""
        return self._cancelled

    def _run(self) -> None:
        """Run the callback: the name that asyncio and its debugging tools use."""
        if not self._cancelled:
            self.run()

    @cython.nonecheck(False)
    def run(self) -> None:
        """Run the callback and see to what it raises."""
        if self._args is None:
            # It has run, or was cancelled.
            return
        if self._variables is None:
            self._variables = new_context()
        error = call_caught(self._variables, self._callback, self._args)  # type: ignore[arg-type]
        if error is not None:
            self._failed(error)
        if not cython.compiled:
            # See _calls: this frame may outlive the call.
            del error, self

    def _failed(self, exc: BaseException) -> None:
        """See to what the callback raised; it is the exception that is being handled here."""
        try:
            raise exc
        except BaseException:
            self._report(exc)
        finally:
            if not cython.compiled:
                del exc, self

    def _report(self, exc: BaseException) -> None:
        """Hand what the callback raised to the loop's exception handler."""
        callback = describe_callback(self._callback, self._args, self._loop.get_debug())
        context = {
            "message": f"Exception in callback {callback}",
            "exception": exc,
            "handle": self,
        }
        if self._source_traceback is not None:
            context["source_traceback"] = self._source_traceback
        self._loop.call_exception_handler(context)

    def __reduce__(self) -> Any:
        raise TypeError(f"{self!r} belongs to its loop and cannot be copied or pickled")

    def _describe(self) -> list[str]:
        info = [type(self).__name__]
        if self._cancelled:
            info.append("cancelled")
        if self._callback is not None:
            info.append(describe_callback(self._callback, self._args, self._loop.get_debug()))
        if self._source_traceback:
            frame = self._source_traceback[len(self._source_traceback) - 1]
            info.append(f"created at {frame[0]}:{frame[1]}")
        return info

    def __repr__(self) -> str:
        if self._repr is not None:
            return self._repr
        return f"<{' '.join(self._describe())}>"


class TimerHandle(Handle):
    """A callback that the loop will run once at a time of its clock, and never before it."""

    def __init__(
        self,
        when: float,
        order: int,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        loop: Scheduler,
        context: Context | None = None,
    ) -> None:
        self._loop = loop
        self._callback = callback
        self._args = args
        self._variables = copy_context() if context is None else context
        self._cancelled = False
        self._repr = None
        self._source_traceback = None
        self._when = float(when)
        self._order = order
        self._owner: TimerOwner | None = None

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return asyncio.TimerHandle

    @property
    def _scheduled(self) -> bool:
        """Whether the loop waits for its time; the name that asyncio uses."""
        return self._owner is not None

    def when(self) -> float:
        """Return the time of the call, in seconds of the loop's clock (`loop.time()`)."""
        return self._when

    def cancel(self) -> None:
        """Cancel the callback; without effect once it has run or was cancelled."""
        if not self._cancelled:
            if self._owner is not None:
                self._owner.discard(self)
            Handle.cancel(self)

    def _before(self, other: TimerHandle) -> bool:
        """Whether this one runs first: by time, then in the order they were asked for."""
        if self._when != other._when:
            return self._when < other._when
        return self._order < other._order

    def _describe(self) -> list[str]:
        info = super()._describe()
        info.insert(2 if self._cancelled else 1, f"when={self._when}")
        return info

    def __hash__(self) -> int:
        return hash(self._when)

    def __lt__(self, other: object) -> bool:
        if isinstance(other, TimerHandle):
            return self._before(other)
        return NotImplemented

    def __le__(self, other: object) -> bool:
        if isinstance(other, TimerHandle):
            return self._before(other) or self == other
        return NotImplemented

    def __gt__(self, other: object) -> bool:
        if isinstance(other, TimerHandle):
            return self is not other and not self._before(other)
        return NotImplemented

    def __ge__(self, other: object) -> bool:
        if isinstance(other, TimerHandle):
            return not self._before(other)
        return NotImplemented

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TimerHandle):
            return (
                self._when == other._when
                and self._callback == other._callback
                and self._args == other._args
                and self._cancelled == other._cancelled
            )
        return NotImplemented


class ThreadSafeHandle(Handle):
    """A callback handed over by another thread, which may cancel it at any moment.

    `cancel()` and `cancelled()` wait while the callback runs, so their answer is final: after
    a cancel() that came in time the callback never starts.

    Under a GIL no thread comes between the steps of a compiled method, unless one of them runs
    Python code. So there nothing is locked, and somebody who really has to wait makes what to
    wait for.
    """

    def __init__(
        self,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        loop: Scheduler,
        context: Context | None,
        lock: threading.RLock | None,
    ) -> None:
        """Take `lock`, reentrant for the callback may cancel its own handle; None under a GIL."""
        Handle.__init__(self, callback, args, loop, context)
        self._lock = lock
        self._running = False
        self._finished: threading.Event | None = None

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return _AsyncioThreadSafeHandle

    def cancel(self) -> None:
        """Cancel the callback; waits while it runs."""
        if self._lock is not None:
            with self._lock:
                Handle.cancel(self)
            return
        if self._running:
            self._wait()
        Handle.cancel(self)

    def cancelled(self) -> bool:
        """Return True if the callback was cancelled; waits while it runs."""
        if self._lock is not None:
            with self._lock:
                return self._cancelled
        if self._running:
            self._wait()
        return self._cancelled

    def _wait(self) -> None:
        """Wait for the end of the callback, unless it is the callback that asks."""
        if self._loop._thread_id == threading.get_ident():
            return
        finished = threading.Event()
        # Making it ran Python code: the callback may be over, or others may be waiting.
        if not self._running:
            return
        if self._finished is None:
            self._finished = finished
        self._finished.wait()

    def run(self) -> None:
        """Run the callback unless it was cancelled meanwhile."""
        if self._lock is not None:
            with self._lock:
                if not self._cancelled:
                    Handle.run(self)
            return
        if self._cancelled:
            return
        self._running = True
        try:
            Handle.run(self)
        finally:
            self._running = False
            if self._finished is not None:
                self._finished.set()


if not cython.compiled:
    # Compiled, these are functions that spare the argument tuple of a call; see _make.pxd.
    new_handle = Handle
    new_thread_safe_handle = ThreadSafeHandle
    new_timer = TimerHandle
