"""What the rooms of the network stand on: the scheduler, and each other's methods.

`EventLoop` is composed of rooms; each sees the whole loop as `self`. For the type checker,
`Room` names what a room uses of the others; at run time it is the scheduler itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evenloop.scheduler import Scheduler

__all__ = ["Room"]

if TYPE_CHECKING:

    class Room(Scheduler):
        """A scheduler that has the other rooms' methods."""

        create_future: Any
        create_task: Any
        run_in_executor: Any
        sock_connect: Any
        sock_sendall: Any
        _check_free: Any
        _ensure_resolved: Any
        _open_stream: Any
        _serve: Any

else:
    Room = Scheduler
