"""The `selector` engine on Windows, whose selectors take nothing but sockets.

Requests on other handles (pipes, consoles, files, processes) go to threads: see `blocking`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evenloop.engines import winapi
from evenloop.engines.blocking import Blocking
from evenloop.engines.selector import SelectorEngine

if TYPE_CHECKING:
    import selectors

    from evenloop.engines.engine import Op

__all__ = ["WindowsSelectorEngine"]


class WindowsSelectorEngine(SelectorEngine):
    """Readiness through a `selectors` object, and threads for what is no socket."""

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        """Take the selector to wait with; by default the best that this system has."""
        super().__init__(selector)
        self._blocking = Blocking(self.wake)

    def start(self, op: Op) -> bool:
        """Begin a request; see `engine`."""
        if op.sock is None and not winapi.is_socket(op.fd):
            return self._blocking.start(op)
        return super().start(op)

    def cancel(self, op: Op) -> bool:
        """Take a request back: always free at once."""
        if op.sock is None and self._blocking.owns(op):
            return self._blocking.cancel(op)
        return super().cancel(op)

    def forget(self, fd: int) -> None:
        """Drop all that is known of a descriptor, before it is closed."""
        self._blocking.forget(fd)
        super().forget(fd)

    def wait(self, timeout: float) -> bool:
        """Wait for events."""
        arrived = super().wait(0.0 if self._blocking.ready else timeout)
        return self._blocking.ready or arrived

    def deliver(self) -> None:
        """Dispatch the events of the last wait, and what threads have done."""
        super().deliver()
        self._blocking.deliver()

    def close(self) -> None:
        """Close the selector and the waker, and end the threads."""
        self._blocking.close()
        super().close()
