"""The order of addresses and the staggered race, with attempts that are made up."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from functools import partial
from typing import Any

import pytest

import evenloop
from evenloop.net.eyeballs import interleave, race

from tests.support.loops import run

V4, V6 = socket.AF_INET, socket.AF_INET6


def infos(*families: int) -> list[tuple[int, int]]:
    return [(family, number) for number, family in enumerate(families)]


@pytest.mark.parametrize(
    ("families", "first", "order"),
    [
        ((), 1, []),
        ((V6,), 1, [0]),
        ((V6, V6, V4, V4), 1, [0, 2, 1, 3]),
        ((V6, V6, V6, V4), 1, [0, 3, 1, 2]),
        ((V4, V6, V6), 1, [0, 1, 2]),
        ((V6, V6, V6, V4, V4), 2, [0, 1, 3, 2, 4]),
        ((V6, V6, V4), 9, [0, 1, 2]),
        ((V6, V6, V4, V4), 0, [0, 2, 1, 3]),
    ],
)
def test_interleave(families: tuple[int, ...], first: int, order: list[int]) -> None:
    assert [number for _, number in interleave(infos(*families), first)] == order


class Host:
    """Attempts that take so long and then succeed or fail; tells when each began."""

    def __init__(self) -> None:
        self.began: list[tuple[int, float]] = []
        self.cancelled: list[int] = []
        self.sockets: dict[int, socket.socket] = {}

    async def attempt(self, number: int, seconds: float, error: Exception | None) -> socket.socket:
        loop = asyncio.get_running_loop()
        self.began.append((number, loop.time()))
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        if error is not None:
            raise error
        self.sockets[number] = socket.socket()
        return self.sockets[number]

    async def race(self, delay: float, *plan: tuple[float, Exception | None]) -> int | None:
        """Run a race; return the number of the winner, whose socket is closed."""
        attempts = [
            partial(self.attempt, number, seconds, error)
            for number, (seconds, error) in enumerate(plan)
        ]
        won = await race(asyncio.get_running_loop(), attempts, delay)
        if won is None:
            return None
        won.close()
        return next(number for number, sock in self.sockets.items() if sock is won)


def play(main: Coroutine[Any, Any, None]) -> None:
    run(evenloop.new_event_loop, main)


def test_the_first_that_answers_in_time_is_the_only_one() -> None:
    async def main() -> None:
        host = Host()
        assert await host.race(0.5, (0.01, None), (0, None)) == 0
        assert [number for number, _ in host.began] == [0]

    play(main())


def test_the_next_begins_after_the_delay_and_may_win() -> None:
    async def main() -> None:
        host = Host()
        # The delay runs from here on; the first attempt's own task may come to begin later.
        asked = asyncio.get_running_loop().time()
        assert await host.race(0.05, (5, None), (0.01, None), (0, None)) == 1
        (_, first), (_, second) = host.began
        assert first < second
        assert 0.05 <= second - asked < 0.5
        assert host.cancelled == [0]

    play(main())


def test_the_next_begins_at_once_after_a_failure() -> None:
    async def main() -> None:
        host = Host()
        assert await host.race(5, (0, OSError("no")), (0, OSError("no")), (0, None)) == 2
        assert host.began[2][1] - host.began[0][1] < 1

    play(main())


def test_an_earlier_attempt_may_still_win() -> None:
    async def main() -> None:
        host = Host()
        assert await host.race(0.02, (0.1, None), (5, None), (0, OSError("no"))) == 0
        assert [number for number, _ in host.began] == [0, 1, 2]
        assert host.cancelled == [1]

    play(main())


def test_nobody_wins() -> None:
    async def main() -> None:
        host = Host()
        assert await host.race(0.01, (0.05, OSError("slow")), (0, OSError("fast"))) is None
        assert await host.race(0.01) is None

    play(main())


def test_a_mistake_ends_the_race() -> None:
    async def main() -> None:
        host = Host()
        with pytest.raises(OverflowError, match="port"):
            await host.race(0.01, (5, None), (0, OverflowError("port")), (5, None))
        assert 0 in host.cancelled

    play(main())


def test_a_loser_that_connects_all_the_same_is_closed() -> None:
    late = socket.socket()

    async def stubborn() -> socket.socket:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            pass
        return late

    async def main() -> None:
        host = Host()
        attempts = [stubborn, partial(host.attempt, 1, 0, None)]
        won = await race(asyncio.get_running_loop(), attempts, 0.01)
        assert won is host.sockets[1]
        won.close()
        await asyncio.sleep(0)
        assert late.fileno() == -1

    play(main())


def test_two_at_once() -> None:
    async def main() -> None:
        host = Host()
        go = asyncio.Event()

        async def attempt(number: int) -> socket.socket:
            await go.wait()
            return await host.attempt(number, 0, None)

        asyncio.get_running_loop().call_later(0.05, go.set)
        attempts = [partial(attempt, 0), partial(attempt, 1)]
        won = await race(asyncio.get_running_loop(), attempts, 0.01)
        assert won is host.sockets[0]
        await asyncio.sleep(0)
        assert all(sock.fileno() == -1 for sock in host.sockets.values() if sock is not won)
        won.close()

    play(main())


def test_a_cancelled_race_leaves_nobody_running() -> None:
    async def main() -> None:
        host = Host()
        task = asyncio.create_task(host.race(0.01, (5, None), (5, None)))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(host.cancelled) == [0, 1]
        assert len(asyncio.all_tasks()) == 1

    play(main())
