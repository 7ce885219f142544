"""The examples that make sense on Windows, under `evenloop run` there."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import evenloop

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="the ecosystem's tests run them")

EXAMPLES = Path(__file__).parents[2] / "examples"
_PATIENCE = 30.0


class Program:
    """A child process whose lines can be waited for."""

    def __init__(self, *words: object) -> None:
        name, *arguments = map(str, words)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "evenloop", "run", str(EXAMPLES / name), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip())

    def line(self) -> str:
        return self._lines.get(timeout=_PATIENCE)

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._thread.join()
        for file in (self.process.stdin, self.process.stdout):
            assert file is not None
            file.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """Start examples; what still runs in the end is ended."""
    started: list[Program] = []

    def run(*words: object) -> Program:
        started.append(Program(*words))
        return started[-1]

    yield run
    while started:
        started.pop().end()


def test_http_server_and_client(start: Callable[..., Program]) -> None:
    port = start("http_server.py", "serve", 0).line().rpartition(" ")[2]
    client = start("http_server.py", "get", "127.0.0.1", port, "/a/path", 50)
    assert client.line() == "50 answers, the last one: you asked for /a/path"
    assert client.process.wait(_PATIENCE) == 0


def test_echo_streams(start: Callable[..., Program]) -> None:
    assert start("echo_streams.py").line().startswith("1000 messages echoed")


def test_subprocess_pipeline(start: Callable[..., Program]) -> None:
    """The lines end in two characters there, which the child's text layer adds."""
    line = start("subprocess_pipeline.py", 10_000).line()
    assert line == "58890 bytes, then 29445 bytes, sum 24995000, [0, 0, 0]"


def test_tail(start: Callable[..., Program], tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\n")
    program = start("tail.py", log)
    assert program.line() == "first"
    for text in ("second\nthi", "rd\n", "end\n"):
        time.sleep(0.1)
        with log.open("a") as file:
            file.write(text)
    assert [program.line() for _ in range(4)] == ["second", "third", "end", "4 lines"]


def test_unix_chat(start: Callable[..., Program], tmp_path: Path) -> None:
    try:
        evenloop.unix_socket().close()
    except OSError as exc:
        # What the program itself then ends with.
        lines = start("unix_chat.py", "serve", tmp_path / "s")
        while (line := lines.line()) and not line.startswith("OSError"):
            continue
        assert "Windows 10 version 1803" in line
        pytest.skip(f"this system has no AF_UNIX: {exc}")
    start("unix_chat.py", "serve", tmp_path / "s").line()
    ada = start("unix_chat.py", "join", tmp_path / "s", "Ada")
    assert ada.line() == "0 here already"
    grace = start("unix_chat.py", "join", tmp_path / "s", "Grace")
    assert grace.line() == "1 here already"
    ada.say("good evening")
    assert grace.line() == "Ada: good evening"
