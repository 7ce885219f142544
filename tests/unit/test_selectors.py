"""A loop on the selector that it is given: the documentation's way for character devices."""

from __future__ import annotations

import asyncio
import os
import selectors
import socket
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import evenloop
from evenloop.engines.selector import SelectorEngine

NAMES = ["SelectSelector", "PollSelector", "EpollSelector", "DevpollSelector", "KqueueSelector"]
HERE = [name for name in NAMES if hasattr(selectors, name)]


class Own(selectors.BaseSelector):
    """A selector of the user's, which counts and cannot be made without an argument."""

    def __init__(self, inner: selectors.BaseSelector) -> None:
        self.inner = inner
        self.selects = 0
        self.closed = False

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self.inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self.inner.unregister(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.selects += 1
        return self.inner.select(timeout)

    def close(self) -> None:
        self.closed = True
        self.inner.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self.inner.get_map()


@pytest.fixture(params=[*HERE, "Own"])
def selector(request: pytest.FixtureRequest) -> selectors.BaseSelector:
    if request.param == "Own":
        return Own(selectors.SelectSelector())
    made: selectors.BaseSelector = getattr(selectors, request.param)()
    return made


@pytest.fixture
def loop(
    selector: selectors.BaseSelector, monkeypatch: pytest.MonkeyPatch
) -> Iterator[evenloop.SelectorEventLoop]:
    # What the environment wants for other loops has no say here.
    monkeypatch.setenv("EVENLOOP_ENGINE", "no such engine")
    made = evenloop.SelectorEventLoop(selector)
    yield made
    made.close()


async def echo() -> bytes:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"round and round")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer


def test_the_loop_waits_with_the_selector(
    loop: evenloop.SelectorEventLoop, selector: selectors.BaseSelector
) -> None:
    assert isinstance(loop.engine, SelectorEngine)
    assert loop.engine.selector is selector
    assert loop.run_until_complete(echo()) == b"round and round"
    assert loop.engine.selector is selector
    if isinstance(selector, Own):
        assert selector.selects > 3
        loop.close()
        assert selector.closed


def test_readers_are_in_the_selector(
    loop: evenloop.SelectorEventLoop, selector: selectors.BaseSelector
) -> None:
    left, right = socket.socketpair()
    loop.add_reader(left, loop.stop)
    assert left.fileno() in selector.get_map()
    right.send(b"x")
    loop.run_forever()
    loop.remove_reader(left)
    assert left.fileno() not in selector.get_map()
    left.close()
    right.close()


def test_the_example_of_the_documentation(selector: selectors.BaseSelector) -> None:
    """https://docs.python.org/3/library/asyncio-platforms.html#macos"""
    loop = evenloop.SelectorEventLoop(selector)
    with warnings.catch_warnings():
        # Policies are deprecated from 3.14 on; this call is not.
        warnings.simplefilter("error")
        asyncio.set_event_loop(loop)
        try:
            assert asyncio.get_event_loop() is loop
            assert loop.run_until_complete(echo()) == b"round and round"
        finally:
            asyncio.set_event_loop(None)
    loop.close()


@pytest.mark.skipif(os.name != "posix", reason="a device of POSIX")
@pytest.mark.parametrize("name", sorted({"SelectSelector", "PollSelector"} & set(HERE)))
def test_character_devices(name: str) -> None:
    loop = evenloop.SelectorEventLoop(getattr(selectors, name)())
    master, slave = os.openpty()
    null = os.open("/dev/null", os.O_RDONLY)
    seen: list[str] = []
    loop.add_reader(null, seen.append, "null")
    loop.add_reader(slave, seen.append, "terminal")
    os.write(master, b"typed\n")
    loop.run_until_complete(asyncio.sleep(0.05))
    assert {"null", "terminal"} <= set(seen)
    for fd in (null, slave):
        loop.remove_reader(fd)
    loop.close()
    for fd in (null, slave, master):
        os.close(fd)


def test_children_and_pipes(loop: evenloop.SelectorEventLoop) -> None:
    if os.name != "posix":
        pytest.skip("a shell of POSIX")

    async def main() -> tuple[bytes, int | None]:
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", "cat; exit 3", stdin=-1, stdout=-1
        )
        output, _ = await process.communicate(b"through it")
        return output, process.returncode

    assert loop.run_until_complete(main()) == (b"through it", 3)


def test_what_is_no_selector_is_refused() -> None:
    with pytest.raises(TypeError, match=r"must be a selectors\.BaseSelector, got 'poll'"):
        evenloop.SelectorEventLoop("poll")  # type: ignore[arg-type]
