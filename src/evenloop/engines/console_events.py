"""What a Windows console tells a process besides Ctrl-C and Ctrl-Break.

The C run-time makes SIGINT of Ctrl-C and SIGBREAK of everything else: Ctrl-Break, the closing of
the console window, the end of the user's session and the shutdown of the system. With SIGBREAK
alone nobody can tell which, and after the last three the system ends the process as soon as the
run-time's handler returns, that is before Python has run any of ours.

So a handler of our own, registered last and therefore asked first, tells whoever listens and
then keeps its thread (the system makes one for each event) until the process has ended. The
system waits for that, 5 seconds after the closing of the window and at the end of the session,
20 seconds at shutdown, and ends the process then.

https://learn.microsoft.com/windows/console/handlerroutine
"""

from __future__ import annotations

import ctypes
import enum
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ConsoleEvent", "available", "ignore", "listen"]

# Above every number that the system has for its patience with us, in seconds.
_LONGEST = 30.0

_EVENT = 0x100


class ConsoleEvent(enum.IntEnum):
    """Events of a Windows console, for `add_signal_handler()`; no number is a signal's."""

    CLOSE = _EVENT | 2
    """The console window is being closed; the process has 5 seconds left."""
    LOGOFF = _EVENT | 5
    """The user's session ends. A service gets it for every user's."""
    SHUTDOWN = _EVENT | 6
    """The system shuts down. Only services, and programs without user32.dll, get it."""


_listeners: dict[int, Callable[[int], object]] = {}
_lock = threading.Lock()
# The C function while it is registered.
_routine: Any = None


def available() -> bool:
    """Whether this system has such events."""
    return sys.platform == "win32"


def listen(event: int, listener: Callable[[int], object]) -> None:
    """Have `listener(event)` called, in a thread of the system's; it replaces the one before."""
    global _routine
    with _lock:
        if _routine is None:
            windows: Any = ctypes
            routine = windows.WINFUNCTYPE(ctypes.c_int32, ctypes.c_uint32)(_happened)
            _register(routine, True)
            _routine = routine
        _listeners[event] = listener


def ignore(event: int, listener: Callable[[int], object]) -> None:
    """Call it no longer; the system does what it does by default again."""
    global _routine
    with _lock:
        if _listeners.get(event) == listener:
            del _listeners[event]
        if not _listeners and _routine is not None:
            routine, _routine = _routine, None
            _register(routine, False)


def _register(routine: Any, add: bool) -> None:
    windows: Any = ctypes
    kernel32 = windows.WinDLL("kernel32", use_last_error=True)
    kernel32.SetConsoleCtrlHandler.argtypes = (ctypes.c_void_p, ctypes.c_int32)
    if not kernel32.SetConsoleCtrlHandler(ctypes.cast(routine, ctypes.c_void_p), add):
        raise OSError(None, "SetConsoleCtrlHandler failed", None, windows.get_last_error())


def _happened(code: int) -> int:
    """Tell the listener; in the thread that the system has made for this event."""
    event = _EVENT | code
    listener = _listeners.get(event)
    if listener is None:
        # Ctrl-C and Ctrl-Break among them: the next handler's business.
        return 0
    listener(event)
    # To return is to end the process. It ends by itself meanwhile, if it heeds the event.
    threading.Event().wait(_LONGEST)
    return 1
