"""HTTP servers under wrk: what a web service gains from its loop."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from evenloop.bench.case import Bench, CannotRun, Case, Sample, register
from evenloop.bench.load import wait_in_thread

CONNECTIONS = 100
SECONDS = 2  # wrk counts in whole ones
BODY = b"Hello, world!"


def _needs(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise CannotRun(f"{name} is not installed") from None


@asynccontextmanager
async def uvicorn(listener: socket.socket) -> AsyncIterator[None]:
    """The smallest ASGI program under uvicorn, with whatever parser it finds."""
    library = _needs("uvicorn")

    async def app(
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(BODY))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": BODY})

    config = library.Config(app, log_level="error", access_log=False, lifespan="off", ws="none")
    server = library.Server(config)
    # It would take the signals of the process, which are not its own here.
    server.capture_signals = contextlib.nullcontext
    task = asyncio.get_running_loop().create_task(server.serve(sockets=[listener]))
    while not server.started:
        if task.done():
            await task
        await asyncio.sleep(0.01)
    yield
    server.should_exit = True
    server.force_exit = True
    await task


@asynccontextmanager
async def aiohttp(listener: socket.socket) -> AsyncIterator[None]:
    """The smallest handler under aiohttp's server."""
    web = _needs("aiohttp.web")

    async def hello(request: Any) -> Any:
        return web.Response(body=BODY, content_type="text/plain")

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    yield
    await runner.cleanup()


Server = Callable[[socket.socket], AbstractAsyncContextManager[None]]


def _case(name: str, server: Server) -> Case:
    async def body(bench: Bench) -> None:
        program = shutil.which("wrk")
        if program is None:
            raise CannotRun("wrk is not installed")
        seconds = max(1, round(SECONDS * bench.scale))
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        options = ["-t1", f"-c{CONNECTIONS}"]
        with listener:
            async with server(listener):
                if bench.scale >= 0.05:  # else it is a rehearsal
                    await wait_in_thread(_wrk, [program, *options, "-d1s", url])
                before = time.process_time()  # without wrk, which is a child
                count, elapsed = await wait_in_thread(
                    _wrk, [program, *options, f"-d{seconds}s", url]
                )
                used = time.process_time() - before
        bench.sample = Sample(elapsed / count, used / count)

    return Case(
        f"http-{name}",
        f"{name}, {CONNECTIONS} connections",
        "http",
        1,
        body,
        measure="cpu",
        quick=False,
        warm=False,
    )


def _wrk(command: list[str]) -> tuple[int, float]:
    """Requests and seconds."""
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m),", done.stdout)
    if found is None or "Non-2xx" in done.stdout or not int(found[1]):
        raise RuntimeError(f"wrk: {done.stdout.strip() or done.stderr.strip()}")
    return int(found[1]), float(found[2]) * {"ms": 1e-3, "s": 1.0, "m": 60.0}[found[3]]


for _name, _server in (("uvicorn", uvicorn), ("aiohttp", aiohttp)):
    register(_case(_name, _server))
