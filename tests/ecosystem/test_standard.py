"""Programs that need nothing but the standard library, curl and openssl."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

from .conftest import Runner, need


def test_echo_protocol(run: Runner) -> None:
    server = run("echo_protocol.py", "serve", 0)
    port = server.port()
    clients = [run("echo_protocol.py", "send", port, f"hello from {n}") for n in range(3)]
    for number, client in enumerate(clients):
        assert client.wait() == 0
        assert client.output == f"hello from {number}"
    assert server.interrupt() == -signal.SIGINT
    assert server.lines[-1] == "KeyboardInterrupt"
    assert "evenloop/cli" not in server.output


def test_echo_streams(run: Runner) -> None:
    program = run("echo_streams.py")
    assert program.wait() == 0
    assert program.output.startswith("1000 messages echoed")


def test_subprocess_pipeline(run: Runner) -> None:
    program = run("subprocess_pipeline.py", 100_000)
    assert program.wait(60) == 0
    assert program.output == "588890 bytes, then 294445 bytes, sum 2499950000, [0, 0, 0]"


def test_http_server(run: Runner) -> None:
    server = run("http_server.py", "serve", 0)
    port = server.port()
    client = run("http_server.py", "get", "127.0.0.1", port, "/a/path", 50)
    assert client.wait() == 0
    assert client.output == "50 answers, the last one: you asked for /a/path"
    server.interrupt()


def test_unix_chat(run: Runner, tmp_path: Path) -> None:
    server = run("unix_chat.py", "serve", tmp_path / "s")
    server.line_with("listening")
    ada = run("unix_chat.py", "join", tmp_path / "s", "Ada")
    ada.line_with("0 here already")
    grace = run("unix_chat.py", "join", tmp_path / "s", "Grace")
    grace.line_with("1 here already")
    ada.say("good evening")
    grace.line_with("Ada: good evening")
    grace.say("and to you")
    ada.line_with("Grace: and to you")
    for guest in (ada, grace):
        guest.end_input()
        assert guest.wait() == 0
    assert server.interrupt() == -signal.SIGINT


def test_tail(run: Runner, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\n")
    program = run("tail.py", log)
    for line in ("second\nthi", "rd\n", "end\n"):
        time.sleep(0.2)
        with log.open("a") as file:
            file.write(line)
    assert program.wait() == 0
    assert program.lines == ["first", "second", "third", "end", "4 lines"]


def test_tls_server_with_curl(run: Runner, certificate: tuple[Path, Path], tmp_path: Path) -> None:
    server = run("tls_server.py", *certificate, 0)
    port = server.port()

    def curl(
        *options: str, path: str = "/", trust: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        command = [need("curl"), "--silent", "--show-error", "--max-time", "30", *options]
        if trust:
            command += ["--cacert", str(certificate[0])]
        return subprocess.run(
            [*command, f"https://localhost:{port}{path}"], capture_output=True, check=False
        )

    got = curl(path="/some/where")
    assert (got.returncode, got.stdout) == (0, b"you asked for /some/where over TLSv1.3\n")
    got = curl("--tls-max", "1.2")
    assert (got.returncode, got.stdout) == (0, b"you asked for / over TLSv1.2\n")

    # Ten megabytes there and back.
    payload = bytes(range(256)) * 40_960
    (tmp_path / "payload").write_bytes(payload)
    got = curl("--data-binary", f"@{tmp_path / 'payload'}")
    assert got.returncode == 0, got.stderr
    assert got.stdout == payload

    # A client that does not trust the server hangs up, and the server serves on.
    assert curl(trust=False).returncode == 60
    got = curl("--parallel", "--parallel-immediate", *([f"https://localhost:{port}/x"] * 19))
    assert got.returncode == 0, got.stderr
    assert got.stdout.count(b"\n") == 20
    assert server.interrupt() == -signal.SIGINT
    assert "SSL" not in server.output
