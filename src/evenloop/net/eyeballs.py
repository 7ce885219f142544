"""Happy eyeballs (RFC 8305): several addresses are tried in a staggered race; the first wins.

The rules kept here:

- Attempts start in the order of the addresses. The next one starts as soon as the latest one
  has failed, or has taken `delay` seconds without an answer. Earlier attempts go on meanwhile.
- The first to connect wins. The others are cancelled and waited for, and a socket that one of
  them still brings home is closed.
- A failure of the network is a reason to go on; anything else is a mistake, and ends the race.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine, Sequence

    Attempt = Callable[[], Coroutine[Any, Any, socket.socket]]

__all__ = ["interleave", "race"]

Info = TypeVar("Info", bound="tuple[Any, ...]")


def interleave(infos: Sequence[Info], first_count: int = 1) -> list[Info]:
    """Alternate between the address families of `infos`, each in its own order.

    The family of the first entry begins, with `first_count` entries.
    """
    families: dict[int, list[Info]] = {}
    for info in infos:
        families.setdefault(info[0], []).append(info)
    queues = list(families.values())
    head: list[Info] = []
    if queues and first_count > 1:
        head, queues[0] = queues[0][: first_count - 1], queues[0][first_count - 1 :]
    rounds = itertools.zip_longest(*queues)
    return head + [info for each in rounds for info in each if info is not None]


async def race(
    loop: asyncio.AbstractEventLoop, attempts: Sequence[Attempt], delay: float
) -> socket.socket | None:
    """Run attempts to connect, a new one every `delay` seconds or after a failure.

    Returns the socket of the first that succeeds, or None. An attempt keeps its own account of
    why it failed; only what is not an OSError is raised from here.
    """
    tasks: list[asyncio.Task[socket.socket]] = []
    running: set[asyncio.Task[socket.socket]] = set()
    done: set[asyncio.Task[socket.socket]] = set()
    winner: asyncio.Task[socket.socket] | None = None
    waiting = iter(attempts)
    latest: asyncio.Task[socket.socket] | None = None
    deadline: float | None = None
    try:
        while winner is None:
            if latest is None or latest.done() or _passed(loop, deadline):
                attempt = next(waiting, None)
                if attempt is not None:
                    latest = loop.create_task(attempt())
                    tasks.append(latest)
                    running.add(latest)
                    deadline = loop.time() + delay
                else:
                    # All have begun: there is nothing to wake up for but an outcome.
                    deadline = None
            if not running:
                return None
            timeout = None if deadline is None else max(0.0, deadline - loop.time())
            done, running = await asyncio.wait(
                running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
            for task in tasks:
                if task in done and _succeeded(task):
                    winner = task
                    break
        return winner.result()
    finally:
        while tasks:
            task = tasks.pop()
            if not task.done():
                task.add_done_callback(_discard)
                task.cancel()
            elif task is not winner:
                _discard(task)
        try:
            running = {task for task in running if not task.done()}
            if running:
                await asyncio.wait(running)
        finally:
            # A traceback that is kept holds this frame: let go of what would hold it in turn.
            task = winner = latest = None  # type: ignore[assignment]
            done = running = set()


def _passed(loop: asyncio.AbstractEventLoop, deadline: float | None) -> bool:
    return deadline is not None and loop.time() >= deadline


def _succeeded(task: asyncio.Task[socket.socket]) -> bool:
    """Whether an attempt that is over has won; raises what is no failure of the network."""
    if task.cancelled():
        return False
    exception = task.exception()
    if exception is None:
        return True
    if isinstance(exception, OSError):
        return False
    raise exception


def _discard(task: asyncio.Task[socket.socket]) -> None:
    """Close the socket of an attempt that was overtaken."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()
