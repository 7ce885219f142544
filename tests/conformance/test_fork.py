"""A forked child starts afresh; its parent does not notice."""

from __future__ import annotations

import asyncio
import os
import sys
import warnings
from collections.abc import Callable

import pytest

from tests.support.loops import TrackedFactory, run
from tests.support.protocols import Echo, Recorder

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def _in_child(work: Callable[[], bool]) -> int:
    """Fork, work in the child, and give its exit status: 0 when work() was true."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = os.fork()
        if pid == 0:
            try:
                status = 0 if work() else 1
            except BaseException as error:
                os.write(2, repr(error).encode())
                status = 2
            os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def _use_everything() -> bool:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    _, client = await loop.create_connection(Recorder, *server.sockets[0].getsockname())
    client.transport.write(b"child")
    assert await client.received(5) == b"child"
    client.transport.abort()
    server.close()
    assert await loop.run_in_executor(None, lambda: 3) == 3
    await asyncio.sleep(0.001)
    return True


def test_a_new_loop_in_the_child(new_loop: TrackedFactory) -> None:
    run(new_loop, asyncio.sleep(0))
    assert _in_child(lambda: run(new_loop, _use_everything())) == 0
    assert run(new_loop, _use_everything())


def test_a_new_loop_in_the_child_of_a_running_loop(new_loop: TrackedFactory) -> None:
    """In the child no loop runs, and the parent's goes on undisturbed."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        _, client = await loop.create_connection(Recorder, *server.sockets[0].getsockname())

        def child() -> bool:
            return run(new_loop, _use_everything())

        assert _in_child(child) == 0
        client.transport.write(b"parent")
        assert await client.received(6) == b"parent"
        client.transport.close()
        await client.closed
        server.close()
        await server.wait_closed()
        assert await loop.run_in_executor(None, lambda: 4) == 4

    run(new_loop, main())


def test_the_child_closes_the_loop_of_its_parent(new_loop: TrackedFactory) -> None:
    """What a child does to its copy of the loop does not reach the parent's descriptors."""
    loop = new_loop()
    read, write = os.pipe()
    seen: list[bytes] = []
    loop.add_reader(read, lambda: (seen.append(os.read(read, 10)), loop.stop()))

    def child() -> bool:
        loop.close()
        return True

    if sys.platform != "linux":
        pytest.skip("an epoll object is shared by fork on Linux")
    assert _in_child(child) == 0
    os.write(write, b"parent")
    if not new_loop.is_stock:
        loop.run_forever()
        assert seen == [b"parent"]
        loop.remove_reader(read)
    loop.close()
    os.close(read)
    os.close(write)
