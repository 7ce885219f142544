"""Every option of subprocess.Popen reaches the child."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import FAST, program

PIPE = asyncio.subprocess.PIPE
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may become another"
)


async def _output(source: str, **options: Any) -> str:
    process = await asyncio.create_subprocess_exec(*program(source), stdout=PIPE, **options)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().strip()


@pytest.mark.parametrize("kind", [str, Path, os.fsencode])
async def test_cwd(tmp_path: Path, kind: Any) -> None:
    assert await _output("import os; print(os.getcwd())", cwd=kind(str(tmp_path))) == str(
        tmp_path.resolve()
    )


async def test_env() -> None:
    environment = {**os.environ, "ONLY_HERE": "yes"}
    source = "import os; print(os.environ.get('ONLY_HERE'))"
    assert await _output(source, env=environment) == "yes"
    assert await _output(source) == "None"


@posix
async def test_an_empty_env() -> None:
    process = await asyncio.create_subprocess_exec("/usr/bin/env", env={}, stdout=PIPE)
    assert await process.communicate() == (b"", None)


async def test_executable() -> None:
    process = await asyncio.create_subprocess_exec(
        "another name", *FAST[1:], "print('ran')", executable=FAST[0], stdout=PIPE
    )
    out, _ = await process.communicate()
    assert out.strip() == b"ran"


@posix
async def test_a_shell_of_one_s_choice() -> None:
    process = await asyncio.create_subprocess_shell("echo $0", executable="/bin/sh", stdout=PIPE)
    out, _ = await process.communicate()
    assert out.strip() == b"/bin/sh"


@posix
@root
async def test_user_and_groups() -> None:
    # Not Python: its directory may be closed to nobody.
    process = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", "id -u; id -g; id -G"),
        stdout=PIPE,
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},  # this one's may hold folders closed to nobody
        user=65534,
        group=65533,
        extra_groups=[65532],
    )
    out, _ = await process.communicate()
    assert out.split() == [b"65534", b"65533", b"65533", b"65532"]


@posix
async def test_a_user_that_does_not_exist() -> None:
    with pytest.raises(KeyError):
        await asyncio.create_subprocess_exec("true", user="no-such-user-here")


@posix
async def test_umask() -> None:
    assert await _output("import os; print(oct(os.umask(0)))", umask=0o137) == "0o137"


@posix
async def test_process_group() -> None:
    source = "import os; print(os.getpgid(0) == os.getpid())"
    assert await _output(source) == "False"
    assert await _output(source, process_group=0) == "True"


@posix
async def test_start_new_session() -> None:
    source = "import os; print(os.getsid(0) == os.getpid())"
    assert await _output(source) == "False"
    assert await _output(source, start_new_session=True) == "True"


@posix
async def test_pass_fds() -> None:
    read, write = os.pipe()
    source = f"import os; os.write({write}, b'passed')"
    await _output(source, pass_fds=(write,))
    assert os.read(read, 10) == b"passed"
    os.close(read)
    os.close(write)


@posix
async def test_descriptors_are_closed_in_the_child() -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    source = f"""
import os
try:
    os.fstat({write}); print('open')
except OSError:
    print('closed')
"""
    assert await _output(source) == "closed"
    assert await _output(source, close_fds=False) == "open"
    os.close(read)
    os.close(write)


@posix
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
async def test_preexec_fn() -> None:
    source = "import os; print(os.environ.get('X'), os.nice(0))"
    assert (await _output(source, preexec_fn=lambda: os.nice(3))).endswith("3")


@posix
async def test_signals_are_restored() -> None:
    """SIGPIPE, which Python ignores, is back to its default in the child."""
    process = await asyncio.create_subprocess_shell(
        "kill -PIPE $$; echo survived", stdout=PIPE, restore_signals=True
    )
    out, _ = await process.communicate()
    assert (out, process.returncode) == (b"", -13)
    process = await asyncio.create_subprocess_shell(
        "kill -PIPE $$; echo survived", stdout=PIPE, restore_signals=False
    )
    out, _ = await process.communicate()
    assert out.strip() == b"survived"


@posix
async def test_the_standard_streams_of_the_child_block() -> None:
    source = "import os; print([os.get_blocking(fd) for fd in (0, 1)])"
    process = await asyncio.create_subprocess_exec(*program(source), stdin=PIPE, stdout=PIPE)
    out, _ = await process.communicate()
    assert out.strip() == b"[True, True]"


@posix
@pytest.mark.skipif(not hasattr(os, "pipe2"), reason="pipesize is for Linux")
async def test_pipesize() -> None:
    import fcntl

    process = await asyncio.create_subprocess_exec(*program("pass"), stdout=PIPE, pipesize=8192)
    assert process._transport.get_pipe_transport(1)  # type: ignore[attr-defined]
    pipe = process._transport.get_pipe_transport(1).get_extra_info("pipe")  # type: ignore[attr-defined]
    assert fcntl.fcntl(pipe.fileno(), 1032) in (4096, 8192)
    await process.communicate()


@posix
async def test_output_to_a_descriptor() -> None:
    read, write = os.pipe()
    process = await asyncio.create_subprocess_exec(*program("print('here')"), stdout=write)
    os.close(write)
    assert await process.wait() == 0
    assert os.read(read, 10).strip() == b"here"
    os.close(read)


async def test_a_command_in_bytes_and_paths(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        Path(FAST[0]), *FAST[1:3], "-c", b"print('bytes')", stdout=PIPE
    )
    out, _ = await process.communicate()
    assert out.strip() == b"bytes"


async def test_the_limit_of_the_streams() -> None:
    process = await asyncio.create_subprocess_exec(
        *program("print('x' * 1000)"), stdout=PIPE, limit=100
    )
    assert process.stdout
    with pytest.raises(ValueError, match="limit"):
        await process.stdout.readline()
    await process.communicate()
