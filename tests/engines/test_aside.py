"""The ring beside the epoll engine: requests on files where readiness says nothing."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import threading
from pathlib import Path

import pytest

import evenloop
from evenloop.engines import available
from evenloop.files import transfer

from tests.support.forbidden import forbidden

if not any(choice.name == "epoll" and choice.usable for choice in available()):
    pytest.skip("no epoll here", allow_module_level=True)

_CHOICE = next(choice for choice in available() if choice.name == "uring")
needs_ring = pytest.mark.skipif(not _CHOICE.usable, reason=f"no io_uring here: {_CHOICE.reason}")


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> asyncio.AbstractEventLoop:
    """An epoll loop on which no read is made at once."""
    monkeypatch.setattr(transfer.cached, "OFFERED", False)
    return evenloop.new_event_loop("epoll")


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    """What is in the file `big`, none of it in memory where the file system can forget."""
    data = os.urandom(4_000_000)
    with open(tmp_path / "big", "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return data


@needs_ring
def test_more_at_once_than_the_ring_has_places(
    loop: asyncio.AbstractEventLoop, tmp_path: Path, content: bytes
) -> None:
    """3000 reads, at places for 128 and room for 1024 completions; nothing else wakes the loop."""

    async def main() -> None:
        assert loop.engine.files
        async with evenloop.open_file(tmp_path / "big", "rb", 0) as file:
            chance = random.Random(3)
            places = [chance.randrange(len(content) - 5000) for _ in range(3000)]
            found = await asyncio.gather(*[file.pread(5000, place) for place in places])
            assert found == [content[place : place + 5000] for place in places]

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(asyncio.wait_for(main(), 30))


@needs_ring
def test_a_request_outlives_the_thread_that_made_it(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    """The kernel cancels what a thread leaves behind, and the loop asks again."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    writer = os.open(gate, os.O_RDWR)
    asked: list[asyncio.Future[bytes]] = []
    files: list[evenloop.RawFile] = []

    async def ask() -> None:
        files.append(await evenloop.open_file(gate, "rb", 0))
        asked.append(asyncio.ensure_future(files[0].read(100)))
        await asyncio.sleep(0.01)

    async def hear() -> None:
        await asyncio.sleep(0.01)
        os.write(writer, b"late")
        assert await asyncio.wait_for(asked[0], 10) == b"late"
        await files[0].close()

    thread = threading.Thread(target=loop.run_until_complete, args=(ask(),))
    thread.start()
    thread.join()
    try:
        loop.run_until_complete(hear())
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        os.close(writer)


@needs_ring
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_leaves_the_requests_to_its_parent(
    loop: asyncio.AbstractEventLoop, tmp_path: Path, content: bytes
) -> None:
    """In the child they fail, and new ones go through a ring of its own."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    writer = os.open(gate, os.O_RDWR)

    async def ask() -> tuple[evenloop.RawFile, asyncio.Future[bytes]]:
        file = await evenloop.open_file(gate, "rb", 0)
        asked = asyncio.ensure_future(file.read(100))
        await asyncio.sleep(0.01)
        return file, asked

    async def child(asked: asyncio.Future[bytes]) -> None:
        with pytest.raises(OSError, match="Operation canceled") as caught:
            await asked
        assert caught.value.errno == errno.ECANCELED
        assert loop.engine.files
        with open(tmp_path / "big", "rb", 0) as plain:
            reader = transfer.Transfer(plain)
            assert await reader.read_at(3000, 70_000) == content[70_000:73_000]

    file, asked = loop.run_until_complete(ask())
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            loop.run_until_complete(asyncio.wait_for(child(asked), 10))
            status = 0
        finally:
            os._exit(status)
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        os.write(writer, b"parent's")
        assert loop.run_until_complete(asyncio.wait_for(asked, 10)) == b"parent's"
        loop.run_until_complete(file.close())
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        os.close(writer)


@needs_ring
def test_without_descriptors_there_is_a_ring_later(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    import evenloop.engines.aside  # noqa: F401  (which would need a descriptor)

    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        assert not loop.engine.files
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert loop.engine.no_files == ""
    assert loop.engine.files
    loop.close()
    assert not loop.engine.files


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS])
def test_without_io_uring_threads_do_it(code: int) -> None:
    """`doctor` says so, and why."""
    answer = forbidden(code, "from evenloop.cli import main; sys.exit(main(['doctor', '--json']))")
    assert "by threads" in answer
    assert f"(io_uring_setup: {os.strerror(code)})" in answer


def test_without_io_uring_all_faults_are_borne() -> None:
    """The tests of faults, on this engine, in a process that io_uring is taken from."""
    answer = forbidden(
        errno.EPERM,
        """
        import pytest
        status = pytest.main(["-q", "-p", "no:cacheprovider", "-k", "epoll", "tests/faults"])
        assert status == 0, status
        """,
    )
    assert " passed" in answer
