"""Probes: what stays on this machine: UNIX sockets, pipes, child processes, signals."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
from typing import Any

from evenloop.engines.unix_socket import unix_socket
from evenloop.platforms.probe import Bench, Failed, NotHere, Topic, probe
from evenloop.platforms.probes.parts import Echo, Note, check, expect, ms

UNIX = Topic("UNIX sockets", "asyncio-eventloop.html#creating-network-servers")
PIPES = Topic("Pipes", "asyncio-eventloop.html#working-with-pipes")
CHILDREN = Topic("Child processes", "asyncio-eventloop.html#running-subprocesses")
SIGNALS = Topic("Signals", "asyncio-eventloop.html#unix-signals")

_PYTHON = (sys.executable, "-I", "-S", "-c")


def _need_unix() -> None:
    """Raise NotHere if the system itself has no such sockets."""
    try:
        unix_socket().close()
    except OSError as error:
        if error.errno != errno.EAFNOSUPPORT:
            raise
        raise NotHere(error.strerror) from None


@probe("create_unix_server", UNIX)
async def unix_server(bench: Bench) -> str:
    """A server on a path."""
    _need_unix()
    path = bench.folder / "s"
    start = time.perf_counter()
    async with await bench.loop.create_unix_server(Echo, path):
        transport, note = await bench.loop.create_unix_connection(Note, str(path))
        transport.write(b"hello")
        expect("the echo", await note.received(5), b"hello")
        transport.close()
        await note.lost
    return f"1 connection, 5 bytes echoed, {ms(start)}"


@probe("create_unix_connection", UNIX)
async def unix_connection(bench: Bench) -> str:
    """Streams over a path."""
    _need_unix()
    path = str(bench.folder / "s")
    # asyncio lacks these two on Windows.
    streams: Any = asyncio if hasattr(asyncio, "start_unix_server") else sys.modules["evenloop"]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        writer.close()

    async with await streams.start_unix_server(serve, path):
        reader, writer = await streams.open_unix_connection(path)
        writer.write(b"line\n")
        got = await reader.read()
        writer.close()
        await writer.wait_closed()
    expect("the answer", got, b"LINE\n")
    return "1 line answered, then end of file"


@probe("abstract address", UNIX, "create_unix_server", "create_unix_connection")
async def abstract(bench: Bench) -> str:
    """A name outside of the file system."""
    if sys.platform != "linux":
        raise NotHere("only Linux has abstract addresses")
    name = f"\0evenloop-probe-{os.getpid()}-{time.monotonic_ns()}"
    async with await bench.loop.create_unix_server(Echo, name):
        transport, note = await bench.loop.create_unix_connection(Note, name)
        transport.write(b"hi")
        await note.received(2)
        transport.close()
        await note.lost
    return "2 bytes echoed, no file"


@probe("connect_read_pipe", PIPES)
async def read_pipe(bench: Bench) -> str:
    """Data, then end of file."""
    out, into = os.pipe()
    transport, note = await bench.loop.connect_read_pipe(Note, os.fdopen(out, "rb", 0))
    with os.fdopen(into, "wb", 0) as writer:
        writer.write(b"through a pipe")
        got = await note.received(14)
    expect("connection_lost", await note.lost, None)
    expect("the data", got, b"through a pipe")
    transport.close()
    return f"{len(got)} bytes, then end of file"


@probe("connect_write_pipe", PIPES)
async def write_pipe(bench: Bench) -> str:
    """More than fits into the pipe arrives whole."""
    out, into = os.pipe()
    payload = bytes(1 << 18)
    transport, note = await bench.loop.connect_write_pipe(Note, os.fdopen(into, "wb", 0))
    transport.write(payload)
    transport.close()

    def read() -> int:
        with os.fdopen(out, "rb") as reader:
            return len(reader.read())

    got = await bench.loop.run_in_executor(None, read)
    await note.lost
    expect("bytes", got, len(payload))
    return f"{got >> 10} KiB"


class _Child(asyncio.SubprocessProtocol):
    """Notes what a child writes, and its end."""

    def __init__(self) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self.wrote: dict[int, bytes] = {1: b"", 2: b""}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.wrote[fd] += data

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set_result(error)


@probe("subprocess_exec", CHILDREN)
async def subprocess_exec(bench: Bench) -> str:
    """stdin, stdout, stderr and the exit status."""
    script = (
        "import sys; sys.stderr.write('err'); sys.stdout.write(sys.stdin.read().upper());"
        "sys.stdout.flush(); sys.exit(3)"
    )
    transport, child = await bench.loop.subprocess_exec(_Child, *_PYTHON, script)
    feed: Any = transport.get_pipe_transport(0)
    feed.write(b"data")
    feed.close()
    await child.ended
    status = transport.get_returncode()
    transport.close()
    expect("the output", child.wrote, {1: b"DATA", 2: b"err"})
    expect("the status", status, 3)
    return "4 bytes in and out, 3 on stderr, exit status 3"


@probe("subprocess_shell", CHILDREN)
async def subprocess_shell(bench: Bench) -> str:
    """A command line."""
    transport, child = await bench.loop.subprocess_shell(_Child, "echo hello", stdin=None)
    await child.ended
    transport.close()
    expect("the output", child.wrote[1].strip(), b"hello")
    return "echo said hello"


@probe(
    "create_subprocess_exec",
    CHILDREN,
    "subprocess_exec",
    section="asyncio-subprocess.html#asyncio.create_subprocess_exec",
)
async def communicate(bench: Bench) -> str:
    """communicate(), several at once."""

    async def one(number: int) -> bytes:
        child = await asyncio.create_subprocess_exec(
            *_PYTHON, f"print({number} * 2)", stdout=subprocess.PIPE
        )
        out, _ = await child.communicate()
        expect("the status", child.returncode, 0)
        return out.strip()

    got = await asyncio.gather(*map(one, range(4)))
    expect("the output", got, [b"0", b"2", b"4", b"6"])
    return "4 children at once"


@probe(
    "Process.kill",
    CHILDREN,
    "subprocess_exec",
    section="asyncio-subprocess.html#asyncio.subprocess.Process.kill",
)
async def kill(bench: Bench) -> str:
    """A child that is killed says so."""
    child = await asyncio.create_subprocess_exec(*_PYTHON, "import time; time.sleep(60)")
    start = time.perf_counter()
    child.kill()
    status = await child.wait()
    check(status != 0, "the killed child ended well")
    return f"exit status {status} after {ms(start)}"


@probe(
    "add_signal_handler, remove_signal_handler",
    SIGNALS,
    "add_signal_handler",
    "remove_signal_handler",
)
async def signals(bench: Bench) -> str:
    """A signal wakes the loop and runs the handler there."""
    seen = bench.loop.create_future()
    start = time.perf_counter()
    before = signal.getsignal(signal.SIGTERM)
    bench.loop.add_signal_handler(signal.SIGTERM, seen.set_result, "SIGTERM")
    try:
        bench.loop.call_later(0.001, signal.raise_signal, signal.SIGTERM)
        name = await seen
        took = ms(start)
    finally:
        removed = bench.loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)
    expect("remove_signal_handler", removed, True)
    expect("remove_signal_handler, again", bench.loop.remove_signal_handler(signal.SIGTERM), False)
    return f"{name} handled, {took}"


@probe("signals that cannot be handled", SIGNALS, "add_signal_handler")
async def refused(bench: Bench) -> str:
    """A number that is no signal is refused."""
    try:
        bench.loop.add_signal_handler(9999, print)
    except ValueError as error:
        return f"ValueError: {error}"
    raise Failed("the handler for signal 9999 was taken")
