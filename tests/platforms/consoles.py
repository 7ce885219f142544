"""What a loop can do with the console that it has: for `terminal.py`, on Windows.

    python tests/platforms/consoles.py [ENGINE...]

No test of pytest's: that has no console. Prints what has passed, and asks for keys to be typed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from functools import partial
from typing import Any

import evenloop
from evenloop.engines import winapi

PATIENCE = 20.0
_signal: Any = signal
_system: Any = os


def ask(keys: str) -> None:
    print(f"TYPE {keys!r}", flush=True)


async def soon(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, PATIENCE)


async def reading() -> None:
    """A console is a pipe to read from; what comes after it was closed is another's."""
    loop = asyncio.get_running_loop()
    threads = threading.active_count()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(0), "rb", 0)
    )
    ask("first ä\r")
    assert await soon(reader.readline()) == "first ä\r\n".encode()
    await asyncio.sleep(0.1)  # it waits for the next line
    transport.close()
    while threading.active_count() > threads:
        await asyncio.sleep(0.01)
    ask("second\r")
    assert await loop.run_in_executor(None, sys.stdin.readline) == "second\n"


async def writing() -> None:
    """And one to write to, in UTF-8 whatever the code page is."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(_Closed, os.fdopen(os.dup(1), "wb", 0))
    transport.write("written: äöü €\r\n".encode())
    transport.close()
    await soon(protocol.closed)


class _Closed(asyncio.BaseProtocol):
    def __init__(self) -> None:
        self.closed = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(exc)


async def watching() -> None:
    """The reader callback runs when a line is there, and not before."""
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    loop.add_reader(0, came.set)
    await asyncio.sleep(0.1)
    assert not came.is_set()
    ask("third\r")
    await soon(came.wait())
    assert loop.remove_reader(0) is True
    assert sys.stdin.readline() == "third\n"


async def interrupting() -> None:
    """Ctrl-C that is typed, and one that this process sends to itself."""
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    loop.add_signal_handler(signal.SIGINT, came.set)
    ask("\x03")
    await soon(came.wait())
    came.clear()
    os.kill(0, _signal.CTRL_C_EVENT)
    await soon(came.wait())
    assert loop.remove_signal_handler(signal.SIGINT) is True


_CHILD = """
import asyncio, signal, sys, evenloop
async def main():
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    for number in (signal.SIGINT, signal.SIGBREAK):
        loop.add_signal_handler(number, done.set_result, number)
    sys.stdout.write("ready\\n"); sys.stdout.flush()
    sys.exit(40 + await done)
evenloop.run(main())
"""


async def children() -> None:
    """CTRL_C_EVENT reaches a child of this console, CTRL_BREAK_EVENT one with its own group."""
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    loop.add_signal_handler(signal.SIGINT, came.set)
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", _CHILD, stdout=-1)
    assert child.stdout is not None
    assert (await soon(child.stdout.readline())).strip() == b"ready"
    os.kill(0, _signal.CTRL_C_EVENT)
    assert await soon(child.wait()) == 40 + signal.SIGINT
    await soon(came.wait())
    loop.remove_signal_handler(signal.SIGINT)
    new_group = 0x200  # CREATE_NEW_PROCESS_GROUP
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _CHILD, stdout=-1, creationflags=new_group
    )
    assert child.stdout is not None
    assert (await soon(child.stdout.readline())).strip() == b"ready"
    child.send_signal(_signal.CTRL_BREAK_EVENT)
    status = await soon(child.wait())
    # Wine 10 ends the child without its handlers: that it was reached is all that can be seen.
    wine = hasattr(__import__("ctypes").WinDLL("ntdll"), "wine_get_version")
    print(f"status after CTRL_BREAK_EVENT: {status:#x}", flush=True)
    assert status == 40 + _signal.SIGBREAK or wine


def keyboard_interrupt(make_loop: Any) -> None:
    """A typed Ctrl-C cancels the main task and is raised by the runner."""
    seen = []

    async def main() -> None:
        ask("\x03")
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    try:
        with asyncio.Runner(loop_factory=make_loop) as runner:
            runner.run(main())
    except KeyboardInterrupt:
        seen.append("interrupted")
    assert seen == ["cancelled", "interrupted"], seen


def main(engines: list[str]) -> None:
    """Run everything on each engine."""
    console = [winapi.handle_kind(winapi.os_handle(number)) for number in (0, 1)]
    assert console == ["console", "console"], console
    for engine in engines:
        make_loop = partial(evenloop.new_event_loop, engine)
        for check in (reading, writing, watching, interrupting, children):
            with asyncio.Runner(loop_factory=make_loop) as runner:
                runner.run(check())
            print(f"passed on {engine}: {check.__name__}", flush=True)
        keyboard_interrupt(make_loop)
        print(f"passed on {engine}: keyboard_interrupt", flush=True)
    print("all passed", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or ["iocp", "afd", "selector"])
