"""Signal handlers, the loop's methods.

How signals reach a program, and what follows:

- The interpreter notes a signal the moment it comes, and runs Python's handlers in the main
  thread between two bytecodes. A handler of ours queues the callback as any other thread would:
  a signal is not lost when the loop does not run yet, or is busy, or is just going to wait.
- The operating system may give the signal to any thread. So that a waiting loop learns of it,
  the interpreter writes a byte to the wake-up descriptor, which is the engine's while a loop
  runs in the main thread; whatever was set before comes back when it stops.
- Windows has few signals (SIGINT, SIGBREAK, SIGTERM, SIGABRT, SIGFPE, SIGILL, SIGSEGV), of which
  other processes can send the first two, and a console tells of its closing, of the end of the
  session and of shutdown: those are `ConsoleEvent`s, and come through another thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import inspect
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evenloop.engines import console_events
from evenloop.engines.console_events import ConsoleEvent
from evenloop.scheduler import Scheduler

if TYPE_CHECKING:
    from types import FrameType

    from evenloop.engines.engine import Engine

__all__ = ["Signals"]

_NONE = -1


class Signals(Scheduler):
    """The loop's methods for signals."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._signal_handlers: dict[
            int, tuple[Callable[..., Any], tuple[Any, ...], contextvars.Context]
        ] = {}
        # The wake-up descriptor of ours while it is set, and the one that was set before.
        self._wakeup_fd = _NONE
        self._previous_wakeup_fd = _NONE

    def add_signal_handler(self, sig: int, callback: Callable[..., Any], *args: Any) -> None:
        """Call `callback(*args)` whenever the signal `sig` comes.

        On Windows `sig` may also be an `evenloop.ConsoleEvent`. Replaces the handler that the
        signal had. Raises TypeError if `sig` is no integer or the callback is a coroutine,
        ValueError if there is no such signal (it names those that there are), and RuntimeError
        if the signal cannot be caught or this is not the main thread.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.add_signal_handler
        """
        given: Any = callback
        if asyncio.iscoroutine(given) or inspect.iscoroutinefunction(given):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        if not callable(given):
            raise TypeError(f"a callable is expected by add_signal_handler(), got {callback!r}")
        _check_signal(sig)
        self._check_closed()
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("signal handlers can be added in the main thread only")
        previous = self._signal_handlers.get(sig)
        self._signal_handlers[sig] = (callback, args, contextvars.copy_context())
        try:
            if isinstance(sig, ConsoleEvent):
                console_events.listen(sig, self._event_came)
                return
            signal.signal(sig, self._signal_came)
            if hasattr(signal, "siginterrupt"):
                # System calls of other code go on as if nothing had happened.
                signal.siginterrupt(sig, False)
        except (OSError, ValueError) as exc:
            if previous is None:
                del self._signal_handlers[sig]
            else:
                self._signal_handlers[sig] = previous
            raise _explain(sig, exc) from None

    def remove_signal_handler(self, sig: int) -> bool:
        """Give the signal `sig` its default action back; True if it had a handler.

        Raises as `add_signal_handler()` does.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.remove_signal_handler
        """
        _check_signal(sig)
        if sig not in self._signal_handlers:
            return False
        default = signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL
        try:
            if isinstance(sig, ConsoleEvent):
                console_events.ignore(sig, self._event_came)
            else:
                signal.signal(sig, default)
        except (OSError, ValueError) as exc:
            raise _explain(sig, exc) from None
        del self._signal_handlers[sig]
        return True

    def _signal_came(self, sig: int, frame: FrameType | None) -> None:
        """Queue the callback; the interpreter calls this in the main thread, at any moment."""
        found = self._signal_handlers.get(sig)
        if found is not None and not self._closed:
            callback, args, context = found
            self.call_soon_threadsafe(callback, *args, context=context)

    def _event_came(self, event: int) -> None:
        """Queue the callback; the system calls this in a thread of its own."""
        self._signal_came(event, None)

    # ---- the wake-up descriptor ------------------------------------------------------------

    def _signals_begin(self) -> None:
        """The loop begins to run: let signals end its waiting."""
        if threading.get_ident() != threading.main_thread().ident:
            return
        fd = self.engine.signal_fd()
        try:
            # A full pipe is no news: it has been written to.
            self._previous_wakeup_fd = signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
        except (ValueError, OSError):
            # An interpreter of several: signals are the business of the first.
            return
        self._wakeup_fd = fd

    def _signals_end(self) -> None:
        """The loop has stopped: put back what was there."""
        if self._wakeup_fd == _NONE:
            return
        fd, self._wakeup_fd = self._wakeup_fd, _NONE
        current = _set_wakeup_fd(self._previous_wakeup_fd)
        if current != fd:
            # Somebody has set another one meanwhile and will miss it.
            _set_wakeup_fd(current)

    def _close(self) -> None:
        handlers = list(self._signal_handlers)
        try:
            super()._close()
        finally:
            if handlers:
                self._remove_signal_handlers(handlers)

    def _remove_signal_handlers(self, handlers: list[int]) -> None:
        if sys.is_finalizing():
            reason = "on interpreter shutdown stage"
        elif threading.current_thread() is not threading.main_thread():
            reason = "in another thread than the main one"
        else:
            for sig in handlers:
                self.remove_signal_handler(sig)
            return
        self._signal_handlers.clear()
        warnings.warn(
            f"Closing the loop {self!r} {reason}, skipping signal handlers removal",
            ResourceWarning,
            source=self,
            stacklevel=2,
        )


def _check_signal(sig: Any) -> None:
    """Raise TypeError or ValueError if `sig` is no signal."""
    if not isinstance(sig, int):
        raise TypeError(f"sig must be an int, not {sig!r}")
    if isinstance(sig, ConsoleEvent):
        if not console_events.available():
            raise ValueError(f"{sig!r} happens on Windows only")
    elif sig not in signal.valid_signals():
        names = [getattr(known, "name", str(known)) for known in sorted(signal.valid_signals())]
        if console_events.available():
            names += [f"ConsoleEvent.{event.name}" for event in ConsoleEvent]
        raise ValueError(f"invalid signal number {sig}: this system has {', '.join(names)}")


def _explain(sig: int, exc: Exception) -> Exception:
    """Return what to raise for a signal that Python or the operating system refused."""
    if isinstance(exc, OSError) and exc.errno == errno.EINVAL:
        return RuntimeError(f"sig {sig} cannot be caught")
    if isinstance(exc, ValueError):
        return RuntimeError(str(exc))
    return exc


def _set_wakeup_fd(fd: int) -> int:
    """Set the wake-up descriptor, or none if it was closed; return the one before."""
    try:
        return signal.set_wakeup_fd(fd)
    except (ValueError, OSError):
        return signal.set_wakeup_fd(_NONE)
