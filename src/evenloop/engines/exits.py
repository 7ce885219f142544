"""The ends of processes, on a completion port.

A process is signalled when it ends, and stays so. The system's thread pool waits for many with
one thread and has the port told. Such a wait is ended before the request is: whoever has taken
the request back, or has got its outcome, may close the handle.
"""

from __future__ import annotations

import sys
from typing import Any

try:
    import cython
except ImportError:
    from evenloop import _cython as cython

from evenloop.engines import winapi

assert sys.platform == "win32"

if not cython.compiled:
    from evenloop.engines._win32 import Port, Watch
    from evenloop.engines.engine import Op

__all__ = ["Exit"]


class Exit(Watch):
    """A request for the end of a process."""

    def __init__(self, port: Port, waiting: list[Any], op: Op) -> None:
        Watch.__init__(self, port)
        self.op: Op | None = op
        # What waits for the same process: this is in it from start() until the end.
        self.waiting: Any = waiting

    def start(self) -> bool:
        """Begin; True if the process has ended. OSError if the handle is not to be waited for."""
        op = self.op
        assert op is not None
        op.result = op.error = None
        if winapi.is_signalled(op.fd):
            self.op = None
            self.outcome(op)
            return True
        self.watch(op.fd)
        self.waiting.append(self)
        op.active = True
        return False

    def outcome(self, op: Op) -> None:
        """Make the exit status the request's result."""
        try:
            op.result = winapi.exit_code(op.fd)
        except OSError as error:
            op.error = error

    def arrived(self) -> None:
        """Complete the request, if there is still one."""
        op = self.op
        if op is not None:
            self.give_up()
            self.outcome(op)
            op.complete()

    def give_up(self) -> None:
        """End the request; it is free at once."""
        op = self.op
        self.op = None
        if op is not None:
            op.active = False
            self.waiting.remove(self)
        self.unwatch()
