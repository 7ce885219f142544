"""The probes of the platform table that start children."""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
from typing import Any

from evenloop.platforms.probe import Bench, probe
from evenloop.platforms.probes.parts import check, expect
from evenloop.platforms.row_probes import TABLE, pipe

__all__: list[str] = []

_PYTHON = (sys.executable, "-I", "-S", "-c")
_WINDOWS = sys.platform == "win32"
# What only some systems have is looked up without the type checker, which has but one in mind.
_os: Any = importlib.import_module("os")


async def _child(**options: Any) -> str:
    child = await asyncio.create_subprocess_exec(
        *_PYTHON, "print('child')", stdout=subprocess.PIPE, **options
    )
    out, _ = await child.communicate()
    expect("the output", out.split(), [b"child"])
    return "a child, and its output"


@probe("subprocesses", TABLE, "subprocess_exec", "subprocess_shell")
async def subprocesses(bench: Bench) -> str:
    """A program, and a shell's command."""
    await _child()
    shell = await asyncio.create_subprocess_shell("exit 3")
    expect("the status", await shell.wait(), 3)
    return "a program and a shell"


@probe("subprocesses of the default loop", TABLE, "subprocess_exec")
async def default_subprocess(bench: Bench) -> str:
    """A child."""
    return await _child()


@probe("subprocesses in another thread", TABLE, "subprocess_exec")
async def thread_subprocess(bench: Bench) -> str:
    """A loop in a thread, and nothing in the main one that would help it."""

    def work() -> str:
        with asyncio.Runner(loop_factory=bench.new_loop) as runner:
            return runner.run(_child())

    return await asyncio.to_thread(work) + ", by a loop in a thread"


@probe("kill() and terminate()", TABLE, "subprocess_exec")
async def kill(bench: Bench) -> str:
    """Both end a child."""
    statuses = []
    for method in ("kill", "terminate"):
        child = await asyncio.create_subprocess_exec(*_PYTHON, "import time; time.sleep(60)")
        getattr(child, method)()
        statuses.append(await child.wait())
    check(all(statuses), f"the killed children ended with {statuses}")
    return f"statuses {statuses[0]} and {statuses[1]}"


@probe("pass_fds", TABLE, "subprocess_exec")
async def pass_fds(bench: Bench) -> str:
    """A child gets a descriptor."""
    with pipe() as (reading, writing):
        child = await asyncio.create_subprocess_exec(
            *_PYTHON, f"import os; os.write({writing}, b'x')", pass_fds=(writing,)
        )
        expect("the status", await child.wait(), 0)
        expect("the data", os.read(reading, 9), b"x")
    return "a descriptor inherited"


@probe("preexec_fn", TABLE, "subprocess_exec")
async def preexec_fn(bench: Bench) -> str:
    """A function runs in the child before the program."""
    return await _child(preexec_fn=int)


@probe("user and group", TABLE, "subprocess_exec")
async def user(bench: Bench) -> str:
    """A child of the same user and group, by name."""
    if _WINDOWS:
        return await _child(user=0, group=0)
    return await _child(user=_os.getuid(), group=_os.getgid())


@probe("start_new_session and umask", TABLE, "subprocess_exec")
async def session(bench: Bench) -> str:
    """They hold in the child, where there are sessions."""
    if _WINDOWS:
        return await _child(start_new_session=True, umask=0o77) + "; ignored"
    child = await asyncio.create_subprocess_exec(
        *_PYTHON,
        "import os; print(os.getsid(0) == os.getpid(), os.umask(0))",
        stdout=subprocess.PIPE,
        start_new_session=True,
        umask=0o77,
    )
    out, _ = await child.communicate()
    expect("the child's answer", out.split(), [b"True", b"63"])
    return "a session of its own"


@probe("creationflags", TABLE, "subprocess_exec")
async def creationflags(bench: Bench) -> str:
    """CREATE_NEW_PROCESS_GROUP."""
    return await _child(creationflags=0x200)


@probe("the number of a signal", TABLE, "subprocess_exec")
async def returncode(bench: Bench) -> str:
    """In the status of a child that it ended."""
    child = await asyncio.create_subprocess_exec(*_PYTHON, "import time; time.sleep(60)")
    child.kill()
    status = await child.wait()
    check(status < 0, f"the status is {status}")
    return f"the status is {status}"
