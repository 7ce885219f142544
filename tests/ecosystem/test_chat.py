"""A chat over websockets, joined by several processes and by a hundred guests at once."""

from __future__ import annotations

import asyncio
import contextlib

from .conftest import Runner, leave_out


def test_chat_between_processes(run: Runner) -> None:
    leave_out("websockets")
    server = run("websocket_chat.py", "serve", 0)
    port = server.port()
    ann = run("websocket_chat.py", "join", port, "Ann")
    ann.line_with("* Ann is here, 1 in the room")
    bob = run("websocket_chat.py", "join", port, "Bob")
    bob.line_with("* Bob is here, 2 in the room")
    ann.line_with("* Bob is here")
    ann.say("hello, Bob")
    bob.line_with("Ann: hello, Bob")
    bob.say("x" * 100_000)
    ann.line_with("Bob: " + "x" * 100_000)
    bob.end_input()
    assert bob.wait() == 0
    ann.line_with("* Bob has left")
    ann.end_input()
    assert ann.wait() == 0
    server.interrupt()
    assert server.lines[-1] == "KeyboardInterrupt"


def test_chat_with_a_crowd(run: Runner) -> None:
    leave_out("websockets")
    server = run("websocket_chat.py", "serve", 0)
    port = server.port()
    asyncio.run(_crowd(port, 100))
    server.interrupt()
    assert server.lines[-1] == "KeyboardInterrupt"


async def _crowd(port: int, count: int) -> None:
    """Everybody says one thing, and hears it from all others."""
    from websockets.asyncio.client import connect

    async with contextlib.AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(connect(f"ws://127.0.0.1:{port}", max_queue=None))
            for _ in range(count)
        ]
        for number, socket in enumerate(sockets):
            await socket.send(f"guest {number}")
            # Welcomed: the next one is not served before this one.
            assert f"guest {number} is here" in str(await socket.recv())

        async def hear(number: int) -> None:
            heard: set[str] = set()
            while len(heard) < count - 1:
                message = str(await sockets[number].recv())
                if not message.startswith("*"):
                    heard.add(message)
            assert heard == {f"guest {n}: I am {n}" for n in range(count) if n != number}

        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(hear(number))
            for number, socket in enumerate(sockets):
                await socket.send(f"I am {number}")
