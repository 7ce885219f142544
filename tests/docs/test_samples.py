"""Every Python sample of the documentation is run, and every command in it exists."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.needs import need
from tests.docs.pages import PAGES, Block, blocks, blocks_of

BLOCKS = [block for page in PAGES for block in blocks(page)]
SAMPLES = [block for block in BLOCKS if block.language in ("python", "py", "python3")]
# Packages that samples use, and the extra that brings them.
EXTRAS = {"aiohttp": "examples", "fastapi": "examples", "uvicorn": "examples"}
SECONDS = 30


def test_there_are_samples() -> None:
    assert len(SAMPLES) > 15


def test_notes_belong_to_blocks() -> None:
    with pytest.raises(ValueError, match="no block follows"):
        blocks_of("<!-- sample: needs 1 -->\nwords\n```python\n```\n", Path("x.md"))
    (block,) = blocks_of("<!-- sample: a -->\n\n```python\npass\n```\n", Path("x.md"))
    assert (block.note, block.text, block.line) == ("a", "pass\n", 3)


@pytest.mark.parametrize("block", SAMPLES, ids=str)
def test_sample(block: Block, tmp_path: Path) -> None:
    compile(block.text, str(block), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    note = block.note
    if re.fullmatch(r"\w+\.py", note) or note.startswith("compiles, "):
        return
    for package in re.findall(r"^(?:import|from) (\w+)", block.text, re.MULTILINE):
        if package in EXTRAS:
            need(package, EXTRAS[package])
    for other in blocks(block.page):
        if other.line < block.line and re.fullmatch(r"\w+\.py", other.note):
            (tmp_path / other.note).write_text(other.text, encoding="utf-8")
    if note == "pytest":
        file = tmp_path / "test_sample.py"
        file.write_text(block.text, encoding="utf-8")
        finish(start(["-m", "pytest", "-q", file.name], tmp_path))
    elif match := re.fullmatch(r"serves (\d+), says (.+?)(?:, until (\w+), prints (.+))?", note):
        serve(block, tmp_path, *match.groups())
    elif match := re.fullmatch(r"needs (\d+)", note):
        with a_server() as port:
            finish(run(block.text.replace(match[1], str(port)), tmp_path))
    elif note == "" or note.startswith("logs "):
        expected = next((b for b in blocks(block.page) if b.line > block.line), None)
        written, logged = finish(run(block.text, tmp_path), note.startswith("logs "))
        assert note.removeprefix("logs ") in logged
        if expected is not None and expected.note == "output":
            pattern = re.escape(expected.text).replace("…", ".*")
            assert re.fullmatch(pattern, written), written
    else:
        pytest.fail(f"{block}: nobody knows what <!-- sample: {note} --> means")


def run(source: str, folder: Path) -> subprocess.Popen[str]:
    file = folder / "sample.py"
    file.write_text(source, encoding="utf-8")
    return start([file.name], folder)


def start(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "default", *arguments],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"},
    )


def finish(program: subprocess.Popen[str], logs: bool = False) -> tuple[str, str]:
    """Let a program end, well and silently, and return what it wrote."""
    with program:
        try:
            written, logged = program.communicate("a line\n", timeout=SECONDS)
        except subprocess.TimeoutExpired:
            program.kill()
            pytest.fail(f"still runs after {SECONDS} s; wrote {program.communicate()}")
    assert program.returncode == 0, written + logged
    assert logs or logged == "", logged
    return written, logged


def serve(
    block: Block, folder: Path, port: str, says: str, until: str | None, prints: str | None
) -> None:
    """Start a sample that serves, ask it, and end it."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        free = found.getsockname()[1]
    with run(block.text.replace(port, str(free)), folder) as program:
        try:
            answer = ask(free, program)
            program.send_signal(getattr(signal, until or "SIGINT"))
            written, logged = program.communicate(timeout=SECONDS)
        except BaseException:
            program.kill()
            raise
    assert says in answer, answer + logged
    if prints is not None:
        assert (program.returncode, written) == (0, prints + "\n"), logged


def ask(port: int, program: subprocess.Popen[str]) -> str:
    """What the server answers to a request for `/`."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
                answer = b""
                while piece := client.recv(65536):
                    answer += piece
                return answer.decode()
        except ConnectionRefusedError:
            if program.poll() is not None:
                pytest.fail(f"ended with status {program.returncode}: {program.communicate()}")
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextlib.contextmanager
def a_server() -> Iterator[int]:
    """A server that takes connections, and says hello on each."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.sendall(b"hello\n")

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
