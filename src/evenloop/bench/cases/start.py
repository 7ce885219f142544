"""How long it takes until a program on this loop gets going."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile

from evenloop.bench.case import Bench, Sample, case

TIMES = 7
_PROGRAM = """
import json, sys, time
wall, cpu = time.perf_counter(), time.process_time()
import asyncio
import {package}
print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]))
"""


@case("start-import", "import of asyncio and the loop's package", "start", TIMES, warm=False)
async def start_import(bench: Bench) -> None:
    """In fresh interpreters, with what is compiled to bytecode already."""
    program = _PROGRAM.format(package=bench.contender.package)
    command = [sys.executable, "-P", "-c", program]
    with tempfile.TemporaryDirectory() as cache:
        # A checkout has no bytecode where the environment forbids it; everybody is to have some.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        told = []
        for _ in range(1 + bench.n):
            done = subprocess.run(command, check=True, capture_output=True, env=environment)
            told.append(json.loads(done.stdout))
        del told[0]
    bench.sample = Sample(*(statistics.median(column) for column in zip(*told, strict=True)))


@case("start-loop", "a loop made, run for one turn and closed, 100 times", "start", 100, warm=False)
async def start_loop(bench: Bench) -> None:
    """What every test of an asyncio program pays."""

    async def nothing() -> None:
        pass

    def rounds() -> None:
        with bench.watch:
            for _ in range(bench.n):
                with asyncio.Runner(loop_factory=bench.contender.factory) as runner:
                    runner.run(nothing())

    await asyncio.to_thread(rounds)
