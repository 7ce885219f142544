"""Clients of real databases: redis and PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Runner, free_port, leave_out, need


def wait_for(port: int, server: subprocess.Popen[bytes], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while server.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"{server.args!r} does not listen")


@pytest.fixture(scope="module")
def redis_server() -> Iterator[list[str]]:
    """A redis server's addresses: over TCP and over a UNIX socket."""
    leave_out("redis")
    program = need("redis-server")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="evenloop-redis-") as folder:
        path = f"{folder}/s"
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        command += ["--unixsocket", path, "--save", "", "--appendonly", "no"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_for(port, server)
            yield [f"redis://127.0.0.1:{port}", f"unix://{path}"]
        finally:
            server.terminate()
            server.wait(20)


@pytest.mark.parametrize("way", [0, 1], ids=["tcp", "unix"])
def test_redis(run: Runner, redis_server: list[str], way: int) -> None:
    program = run("redis_client.py", redis_server[way])
    assert program.wait(60) == 0, program.output
    assert program.lines == ["counted to 2000", "pipelined 1000", "heard one, two, three"]


@pytest.fixture(scope="module")
def postgres(certificate: tuple[Path, Path]) -> Iterator[str]:
    """The address of a PostgreSQL server with TLS, less the parameters."""
    leave_out("asyncpg")
    places = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    program, initdb = need("postgres", *places), need("initdb", *places)
    port = free_port()
    folder = tempfile.mkdtemp(prefix="evenloop-postgres-")
    who: dict[str, Any] = {}
    if os.geteuid() == 0:  # as root it refuses to run
        account = pwd.getpwnam("postgres")
        who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        os.chown(folder, account.pw_uid, account.pw_gid)
    for name, source in zip(("cert.pem", "key.pem"), certificate, strict=True):
        shutil.copy(source, f"{folder}/{name}")
        os.chmod(f"{folder}/{name}", 0o600)
        if who:
            os.chown(f"{folder}/{name}", who["user"], who["group"])
    data = f"{folder}/data"
    try:
        command = [initdb, "-D", data, "-U", "evenloop", "-A", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(
            [*command, "--no-locale"], check=True, stdout=subprocess.DEVNULL, cwd=folder, **who
        )
        settings = {
            "port": port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": folder,
            "fsync": "off",
            "ssl": "on",
            "ssl_cert_file": f"{folder}/cert.pem",
            "ssl_key_file": f"{folder}/key.pem",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with open(f"{folder}/log", "wb") as log:
            server = subprocess.Popen(
                [program, "-D", data, *options], stdout=log, stderr=log, cwd=folder, **who
            )
        try:
            wait_for(port, server)
            # It listens a moment before it answers.
            ready = need("pg_isready", *places)
            for _ in range(100):
                if not subprocess.run([ready, "-q", "-h", "127.0.0.1", "-p", str(port)]).returncode:
                    break
                time.sleep(0.05)
            yield f"postgresql://evenloop@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait(20)
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("security", ["disable", "require"])
def test_postgres(run: Runner, postgres: str, security: str) -> None:
    program = run("postgres_client.py", f"{postgres}?sslmode={security}")
    assert program.wait(60) == 0, program.output
    assert program.lines == [
        "500 queries, sum 249500",
        "copied 10000",
        "rolled back to 10000",
        "heard hello",
    ]
