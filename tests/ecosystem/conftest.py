"""Real programs, started with `evenloop run`, and real clients and servers that talk to them.

These tests need the extra `evenloop[ecosystem]` and, from the system, wrk, curl, openssl,
redis-server and PostgreSQL. They run on request: `python -m pytest -m ecosystem`, or with the
path of this folder. Then a missing program is a failure, unless EVENLOOP_TEST_WITHOUT names it
(`EVENLOOP_TEST_WITHOUT=postgres,redis-server`): what is not tested is decided by somebody.

Every test runs the program compiled and pure, or pure alone where evenloop is not compiled.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

import pytest

from evenloop import _mode

EXAMPLES = Path(__file__).parents[2] / "examples"
HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "ecosystem: drives real programs; needs them installed")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if HERE in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.ecosystem)
        item.add_marker(pytest.mark.timeout(400))
    named = any(
        path == HERE or HERE in path.parents
        for path in (Path(word.split("::")[0]).resolve() for word in config.args)
    )
    if "ecosystem" in config.option.markexpr or named or not ours:
        return
    config.hook.pytest_deselected(items=ours)
    items[:] = [item for item in items if item not in ours]


def modes() -> list[str]:
    return ["pure"] if _mode.mode().name == "pure" else ["compiled", "pure"]


@pytest.fixture(params=modes())
def mode(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


def need(program: str, *places: str) -> str:
    """The path of a program of the system; fails if it is missing, skips if it was left out."""
    leave_out(program)
    path = shutil.which(program) or next(
        (str(Path(place, program)) for place in places if Path(place, program).exists()), None
    )
    if path is None:
        pytest.fail(
            f"{program} is not installed; EVENLOOP_TEST_WITHOUT={program} runs the tests without it"
        )
    return path


def leave_out(name: str) -> None:
    if name in os.environ.get("EVENLOOP_TEST_WITHOUT", "").split(","):
        pytest.skip(f"EVENLOOP_TEST_WITHOUT names {name}")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class Program:
    """A child process whose lines can be waited for."""

    def __init__(self, command: list[str], environment: dict[str, str], cwd: Path) -> None:
        self.command = command
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=cwd,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._queue: Queue[str | None] = Queue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def line_with(self, text: str, seconds: float = 20) -> str:
        """The next line that holds the text."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._queue.get(timeout=max(0, deadline - time.monotonic()))
            except Empty:
                pytest.fail(f"no line with {text!r} in {seconds} s; got:\n{self.output}")
            if line is None:
                pytest.fail(f"ended without a line with {text!r}:\n{self.output}")
            self.lines.append(line)
            if text in line:
                return line

    def port(self, text: str = "listening on port") -> int:
        """The port that ends a line such as "listening on port 8080"."""
        line = self.line_with(text).replace("/", " ").replace(":", " ")
        return next(int(word) for word in reversed(line.split()) if word.isdigit())

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def wait(self, seconds: float = 20) -> int:
        """Its exit status, after it has written its last line."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still runs after {seconds} s; wrote:\n{self.output}")
        self._reader.join(seconds)
        while not self._queue.empty():
            line = self._queue.get()
            if line is not None:
                self.lines.append(line)
        return status

    def interrupt(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.wait()

    def dispose(self) -> None:
        """End it and the workers that it may have left: they would hold the pipe open."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(10)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


Runner = Callable[..., Program]


@pytest.fixture
def run(mode: str, tmp_path: Path) -> Iterator[Runner]:
    """Start a program with `evenloop run`, or plainly; its path may be the name of an example."""
    started: list[Program] = []
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "default"}
    environment.pop("EVENLOOP_PURE", None)
    if mode == "pure":
        environment["EVENLOOP_PURE"] = "1"
        environment.pop("EVENLOOP_ENGINE", None)  # it may name a compiled one

    def start(*words: object, plain: bool = False) -> Program:
        arguments = [str(word) for word in words]
        if (EXAMPLES / arguments[0]).is_file():
            arguments[0] = str(EXAMPLES / arguments[0])
        ours = [] if plain else ["-m", "evenloop", "run"]
        command = [sys.executable, *ours, *arguments]
        started.append(Program(command, environment, tmp_path))
        return started[-1]

    yield start
    for program in started:
        program.dispose()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key, made by openssl."""
    folder = tmp_path_factory.mktemp("certificate")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        + ["-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    return certificate, key
