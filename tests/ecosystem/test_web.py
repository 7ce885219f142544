"""Web servers under load: each answers a hundred thousand requests without one error."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.request
from typing import NamedTuple

from .conftest import EXAMPLES, Program, Runner, free_port, leave_out, need

#: Requests per test and mode. Pure mode is there to work, not to be fast.
REQUESTS = {"compiled": 100_000, "pure": 10_000}
if "EVENLOOP_TEST_REQUESTS" in os.environ:
    REQUESTS = dict.fromkeys(REQUESTS, int(os.environ["EVENLOOP_TEST_REQUESTS"]))


class Load(NamedTuple):
    requests: int
    rate: float


def wrk(url: str, requests: int) -> Load:
    """Load a server until it has answered so many requests; any error fails the test.

    wrk takes a time, not a number: the first second tells how long the others must be.
    """
    done, seconds, rate = 0, 1, 0.0
    while done < requests:
        output = subprocess.run(
            [need("wrk"), "--threads", "1", "--connections", "50", "--timeout", "10s"]
            + ["--duration", f"{seconds}s", url],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "Socket errors" not in output, output
        assert "Non-2xx" not in output, output
        count = re.search(r"(\d+) requests in", output)
        speed = re.search(r"Requests/sec:\s+([\d.]+)", output)
        assert count and speed, output
        done += int(count[1])
        rate = float(speed[1])
        assert rate > 0, output
        seconds = max(1, min(20, round((requests - done) / rate * 1.02 + 0.5)))
    return Load(done, rate)


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
        return body


def post(url: str, body: bytes, kind: str = "application/octet-stream") -> bytes:
    request = urllib.request.Request(url, body, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=10) as answer:
        got: bytes = answer.read()
        return got


def test_aiohttp(run: Runner, mode: str) -> None:
    leave_out("aiohttp")
    server = run("aiohttp_server.py", 0)
    port = server.port("Running on")
    url = f"http://127.0.0.1:{port}"
    assert get(url) == b"Hello!\n"
    assert json.loads(get(f"{url}/hello/world")) == {"hello": "world"}
    assert get(f"{url}/count") == b"0\n1\n2\n3\n4\n"
    assert json.loads(post(f"{url}/size", bytes(10 << 20))) == {"bytes": 10 << 20}
    load = wrk(url, REQUESTS[mode])
    assert load.requests >= REQUESTS[mode]
    assert server.interrupt(signal.SIGTERM) == 0
    assert "Traceback" not in server.output


def uvicorn(run: Runner, *options: object, plain: bool = False) -> Program:
    leave_out("uvicorn")
    words = ("-m", "uvicorn", "--app-dir", EXAMPLES, "--no-access-log", *options)
    return run(*words, "fastapi_app:app", plain=plain)


def test_fastapi_under_uvicorn(run: Runner, mode: str) -> None:
    server = uvicorn(run, "--port", 0)
    server.line_with("the loop is evenloop.")
    port = server.port("running on http://127.0.0.1:")
    url = f"http://127.0.0.1:{port}"
    assert json.loads(get(f"{url}/items/7")) == {"item": 7}
    item = {"name": "loop", "price": 1.5}
    assert json.loads(post(f"{url}/items", json.dumps(item).encode(), "application/json")) == item
    assert json.loads(get(f"{url}/threads")) == {"answer": "from a thread"}
    load = wrk(f"{url}/items/7", REQUESTS[mode])
    assert load.requests >= REQUESTS[mode]
    assert server.interrupt() in (0, -signal.SIGINT)
    assert "shut down" in server.lines


def test_uvicorn_told_to_use_evenloop(run: Runner) -> None:
    server = uvicorn(run, "--port", 0, "--loop", "evenloop:new_event_loop", plain=True)
    server.line_with("the loop is evenloop.")
    port = server.port("running on http://127.0.0.1:")
    assert json.loads(get(f"http://127.0.0.1:{port}/items/7")) == {"item": 7}
    assert server.interrupt() in (0, -signal.SIGINT)


def test_uvicorn_with_workers(run: Runner) -> None:
    """The workers are processes started afresh by multiprocessing: they follow."""
    port = free_port()
    server = uvicorn(run, "--port", port, "--workers", 2)
    for _ in range(2):
        server.line_with("the loop is evenloop.")
    assert json.loads(get(f"http://127.0.0.1:{port}/loop")) == "evenloop.loop"
    assert server.interrupt() in (0, -signal.SIGINT)


def test_aiohttp_under_gunicorn(run: Runner) -> None:
    leave_out("gunicorn")
    leave_out("aiohttp")
    server = run(
        *("-m", "gunicorn", "--chdir", EXAMPLES, "--bind", "127.0.0.1:0", "--workers", "2"),
        *("--worker-class", "aiohttp.GunicornWebWorker"),
        "aiohttp_server:app()",
    )
    line = server.line_with("Listening at: http://127.0.0.1:")
    url = re.search(r"http://[\d.:]+", line)
    assert url
    assert get(f"{url[0]}/loop") == b"evenloop.loop"
    assert server.interrupt() == 0
