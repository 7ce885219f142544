"""Child processes and pipes."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE

from evenloop.bench.case import MATRIX, Bench, CannotRun, case

KIB = b"x" * 1024


def _needs_posix() -> None:
    if sys.platform == "win32":
        raise CannotRun("needs a POSIX system")


@case("process-true", "200 × /bin/true", MATRIX, 200)
async def process_true(bench: Bench) -> None:
    """A program is started and waited for, then the next one."""
    program = ["/bin/true" if os.path.exists("/bin/true") else "/usr/bin/true"]
    if sys.platform == "win32":
        program = ["cmd.exe", "/d", "/c", "exit 0"]  # the shortest that every Windows has
    with bench.watch:
        for _ in range(bench.n):
            process = await asyncio.create_subprocess_exec(*program)
            if await process.wait():
                raise RuntimeError("true returned false")


@case("process-cat", "100 × cat with 64 KiB each way", MATRIX, 100)
async def process_cat(bench: Bench) -> None:
    """A program is fed and read, then the next one."""
    program = ["cat"]
    if sys.platform == "win32":
        copy = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
        program = [sys.executable, "-I", "-S", "-c", copy]
    text = KIB * 64
    with bench.watch:
        for _ in range(bench.n):
            process = await asyncio.create_subprocess_exec(*program, stdin=PIPE, stdout=PIPE)
            out, _ = await process.communicate(text)
            if len(out) != len(text):
                raise RuntimeError(f"{len(out)} bytes came back")


@case("pipe-writes", "20k pipe writes, 1 KiB", MATRIX, 20_000)
async def pipe_writes(bench: Bench) -> None:
    """One end is written to whenever it takes more, the other end is read."""
    _needs_posix()
    loop = bench.loop
    done = loop.create_future()
    closed = loop.create_future()
    left = bench.n

    class Writer(asyncio.BaseProtocol):
        transport: asyncio.WriteTransport
        paused = False

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport  # type: ignore[assignment]

        def pause_writing(self) -> None:
            self.paused = True

        def resume_writing(self) -> None:
            self.paused = False
            self.write()

        def write(self) -> None:
            nonlocal left
            while left and not self.paused:
                left -= 1
                self.transport.write(KIB)

    class Reader(asyncio.Protocol):
        missing = bench.n * len(KIB)

        def data_received(self, data: bytes) -> None:
            self.missing -= len(data)
            if self.missing == 0:
                done.set_result(None)

        def connection_lost(self, error: Exception | None) -> None:
            closed.set_result(None)

    reading, writing = os.pipe()
    with open(reading, "rb", 0) as source, open(writing, "wb", 0) as sink:
        reading_end, _ = await loop.connect_read_pipe(Reader, source)
        _, writer = await loop.connect_write_pipe(Writer, sink)
        with bench.watch:
            writer.write()
            await done
        writer.transport.close()
        reading_end.close()
        await closed
