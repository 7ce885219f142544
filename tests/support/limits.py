"""A time limit for a test where the OS has no alarm signal.

pytest-timeout can then only end the whole run. Here a thread first asks the main thread to raise,
the way a Ctrl-Break would, and wakes the loops that it may be waiting in. What does not heed that
(a wait in C that no loop knows of) is ended with the run, after the stacks were shown.
"""

from __future__ import annotations

import _thread
import faulthandler
import os
import signal
import threading
from types import FrameType

from tests.support import loops

#: Seconds between the request to stop and the end of the run.
GRACE = 10.0

NEEDED = not hasattr(signal, "SIGALRM")


class TimeLimit(BaseException):
    """Not an Exception: hypothesis would take it for a finding, and try again and again."""


class Limit:
    """Runs from when it is made until cancel()."""

    def __init__(self, test: str, seconds: float, stderr: int) -> None:
        self.test = test
        self.seconds = seconds
        self.stderr = stderr  # the real one, behind what pytest captures
        self._signal = signal.SIGFPE  # no test sends it, and nothing does
        self._before = signal.signal(self._signal, self._raise)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="time limit", daemon=True)
        self._thread.start()

    def _raise(self, number: int, frame: FrameType | None) -> None:
        raise TimeLimit(f"Timeout (>{self.seconds:g} s)")

    def _watch(self) -> None:
        if self._over.wait(self.seconds):
            return
        _thread.interrupt_main(self._signal)
        for loop in loops.still_running():
            loop.call_soon_threadsafe(lambda: None)
        if not self._over.wait(GRACE):
            os.write(self.stderr, f"\n{self.test} cannot be interrupted\n".encode())
            faulthandler.dump_traceback(self.stderr, all_threads=True)
            os._exit(124)

    def cancel(self) -> None:
        """The test is over."""
        self._over.set()
        self._thread.join()
        signal.signal(self._signal, self._before)
