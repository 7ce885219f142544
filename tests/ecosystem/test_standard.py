"""Programs that need nothing but the standard library, curl and openssl."""

from __future__ import annotations

import signal
import subprocess
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
