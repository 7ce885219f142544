"""Drives the load generator from within the process of the server that is measured.

The server's loop is left alone meanwhile: a thread waits for the answer, asleep.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from evenloop.bench import native
from evenloop.bench.case import Bench, CannotRun, Sample

__all__ = ["few", "hold", "load", "raise_limit", "wait_in_thread"]

SECONDS = 1.0
MANY = 64 << 20  # bytes under way, from which on a second is not enough to average over
PATIENCE = 150.0
SPARE = 60  # descriptors that are not connections


def few(bench: Bench, number: int) -> int:
    """A number of connections, fewer in a rehearsal: with less than a twentieth of the work."""
    return number if bench.scale >= 0.05 else min(number, 5)


def raise_limit(connections: int) -> int:
    """Allow this many connections to this process and its children; returns how many it can be."""
    if sys.platform == "win32":
        return connections
    import resource

    wanted = connections + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return connections
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return min(connections, hard - SPARE)
    return connections


def _command(kind: str, address: object, *options: object) -> list[str]:
    program: list[str]
    if kind == "tls" and native.tls_load_program() is None:
        native.load_program()  # or the reason that there is none
        program = [sys.executable, "-P", "-m", "evenloop.bench.tls_load"]
    else:
        program = [native.load_program()]
    return [*program, kind, str(address), *map(str, options)]


async def wait_in_thread(function: Any, *arguments: Any) -> Any:
    """Call a blocking function in a thread of its own, not one of the loop's."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def call() -> None:
        try:
            result, error = function(*arguments), None
        except BaseException as problem:
            result, error = None, problem
        loop.call_soon_threadsafe(finish, result, error)

    def finish(result: Any, error: BaseException | None) -> None:
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    thread = threading.Thread(target=call)
    thread.start()
    try:
        return await done
    finally:
        thread.join()


async def load(
    bench: Bench,
    kind: str,
    address: object,
    size: int,
    connections: int,
    window: int = 0,
    server: int | None = None,
) -> None:
    """Put a server under load and keep the cost of a message as the sample.

    Args:
        bench: Of the case.
        kind: `tcp`, `tls`, `udp` or `unix`.
        address: The port or the path of the server.
        size: Bytes of a message.
        connections: How many there are.
        window: How many of them have a message under way at a time; 0: all.
        server: The process whose processor time counts; None: this one.
    """
    seconds = max(0.02, SECONDS * bench.scale)
    if size * connections > MANY:
        seconds *= 3
    options = ["-s", size, "-c", connections, "-w", window, "-t", seconds]
    command = _command(kind, address, *options, "-p", server or os.getpid())
    told = await wait_in_thread(_answer, command)
    count = told["messages"]
    if not count:
        raise RuntimeError("no message came back in time")
    lost = f"{told['lost'] / count:.2%} of the datagrams were lost" if told.get("lost") else ""
    bench.sample = Sample(told["seconds"] / count, told["cpu"] / count, note=lost)


def _answer(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"load: exit status {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@asynccontextmanager
async def hold(kind: str, address: object, connections: int, size: int = 64) -> AsyncIterator[None]:
    """Keep idle connections to a server, each of which has answered once."""
    process = subprocess.Popen(
        _command(kind, address, "-s", size, "-c", connections, "-H"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout and process.stderr
    with process:
        line = await wait_in_thread(process.stdout.readline)
        if not line:
            raise RuntimeError(process.stderr.read().strip() or "load: no answer")
        if json.loads(line)["held"] != connections:
            raise CannotRun(f"load: {line}")
        try:
            yield
        finally:
            process.stdin.close()
            await wait_in_thread(process.wait)
