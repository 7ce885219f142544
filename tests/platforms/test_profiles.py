"""Profiles: how one is asked for, and what their limits are exactly."""

from __future__ import annotations

import asyncio
import os
import selectors
import socket
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import evenloop
from evenloop.platforms import limits, profiles

from tests.support.loops import bounded

NAMES = [name for name in profiles.NAMES if name != "stock"]


@pytest.fixture(autouse=True)
def no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVENLOOP_PROFILE", raising=False)


def profile_of(loop: evenloop.EventLoop) -> str | None:
    loop.close()
    return loop.profile


@pytest.mark.parametrize("name", NAMES)
def test_ways_to_ask(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> Any:
        loop: Any = asyncio.get_running_loop()
        return loop.profile

    assert profile_of(evenloop.EventLoop(profile=name)) == name
    assert profile_of(evenloop.new_event_loop(profile=name)) == name
    assert evenloop.run(main(), profile=name) == name
    monkeypatch.setenv("EVENLOOP_PROFILE", name)
    assert profile_of(evenloop.new_event_loop()) == name
    assert evenloop.run(main()) == name


def test_stock_is_this_machine() -> None:
    expected = {"win32": "windows-proactor", "darwin": "macos"}.get(sys.platform, "linux")
    assert profile_of(evenloop.EventLoop(profile="stock")) == expected


def test_names_are_checked() -> None:
    with pytest.raises(ValueError, match="no profile 'beos'; evenloop has linux, macos"):
        evenloop.EventLoop(profile="beos")
    with pytest.raises(TypeError, match="profile must be the name"):
        evenloop.EventLoop(profile=5)  # type: ignore[arg-type]

    async def main() -> None: ...

    coroutine = main()
    with pytest.raises(TypeError, match="loop_factory or profile"):
        evenloop.run(coroutine, loop_factory=evenloop.new_event_loop, profile="linux")
    coroutine.close()


def test_no_profile_costs_nothing() -> None:
    """The class of a loop without a profile is the plain one, with no limit among its bases."""
    loop = evenloop.EventLoop()
    loop.close()
    assert type(loop) is evenloop.EventLoop
    assert loop.profile is None
    assert not any(base.__module__.startswith("evenloop.platforms") for base in type(loop).__mro__)


def test_classes() -> None:
    """The default class of the platform, and its other one."""
    proactor = evenloop.EventLoop(profile="windows-proactor")
    selector = evenloop.EventLoop(profile="windows-selector")
    other = evenloop.SelectorEventLoop(profile="windows-proactor")
    for loop in (proactor, selector, other):
        loop.close()
    assert isinstance(proactor, evenloop.ProactorEventLoop)
    assert type(proactor).__name__ == "ProactorEventLoop"
    assert isinstance(selector, evenloop.SelectorEventLoop)
    assert other.profile == "windows-selector"
    assert "profile=windows-proactor" in repr(proactor)


def test_subclass() -> None:
    class Mine(evenloop.EventLoop):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.mine = True

    loop = Mine(profile="windows-proactor")
    loop.close()
    assert isinstance(loop, Mine)
    assert loop.mine
    with pytest.raises(NotImplementedError, match="WPRO-READER"):
        loop.add_reader(0, print)


def test_engine_and_profile() -> None:
    loop = evenloop.EventLoop("selector", profile="linux")
    loop.close()
    assert loop.engine.name == "selector"
    with pytest.raises(ValueError, match="waits with select"):
        evenloop.EventLoop("selector", profile="windows-selector")


def most_sockets(make: Any) -> int:
    """How many sockets of the user's a loop watches before it fails."""
    loop = make()
    sockets: list[socket.socket] = []
    try:
        for count in range(limits.MOST_SOCKETS + 3):
            sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            loop.add_reader(sockets[-1], int)
            if count >= limits.MOST_SOCKETS - 4:
                try:
                    loop.call_soon(loop.stop)
                    loop.run_forever()
                except ValueError as error:
                    assert str(error).startswith("too many file descriptors in select()")
                    return count
    finally:
        for sock in sockets:
            loop.remove_reader(sock)
            sock.close()
        loop.close()
    raise AssertionError("no limit")


def test_512_sockets_are_with_the_loops_own() -> None:
    assert most_sockets(lambda: evenloop.EventLoop(profile="windows-selector")) == 511


@pytest.mark.skipif(sys.platform != "win32", reason="asyncio on Windows")
def test_512_sockets_of_asyncio() -> None:
    assert most_sockets(asyncio.SelectorEventLoop) == 511


def test_the_clock_and_its_timers() -> None:
    """Both are on multiples of the step."""

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        times = []
        for _ in range(4):
            await asyncio.sleep(0.002)
            times.append(loop.time())
        return times

    times = evenloop.run(main(), profile="windows-proactor")
    assert all(time % limits.CLOCK_STEP == 0 for time in times)
    assert all(later - time >= limits.CLOCK_STEP for time, later in pairwise(times))


@pytest.mark.skipif(sys.platform == "win32", reason="no terminals, no PollSelector")
def test_character_devices_with_other_selectors() -> None:
    ours, theirs = os.openpty()
    try:
        loop = evenloop.SelectorEventLoop(profile="macos-10.8")
        with pytest.raises(OSError, match="MAC-CHARDEV") as caught:
            loop.add_reader(theirs, print)
        assert caught.value.errno == 22
        loop.close()
        for selector in (selectors.SelectSelector(), selectors.PollSelector()):
            loop = evenloop.SelectorEventLoop(selector, profile="macos-10.8")
            loop.add_reader(theirs, loop.stop)
            os.write(ours, b"line\n")
            loop.run_forever()
            loop.close()
    finally:
        os.close(ours)
        os.close(theirs)


class Numbered:
    """A file that is known by its number only."""

    def __init__(self, number: int) -> None:
        self.number = number

    def fileno(self) -> int:
        return self.number

    def close(self) -> None: ...


async def errors_of_closed_files(file: Any) -> list[str]:
    """What connect_write_pipe() says of it, and of a number that no file has."""
    told = []
    for closed in (file, Numbered(1_000_000)):
        try:
            await asyncio.get_running_loop().connect_write_pipe(asyncio.Protocol, closed)
        except (OSError, ValueError) as error:
            told.append(f"{type(error).__name__} {getattr(error, 'errno', None)}")
    return told


@pytest.mark.parametrize("profile", [None, "windows-proactor", "asyncio"])
@pytest.mark.leaks_allowed  # asyncio's own
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_is_closed_is_not_taken_for_another_kind(profile: str | None, tmp_path: Path) -> None:
    """ERROR_INVALID_HANDLE, EBADF as an errno, and not ERROR_INVALID_PARAMETER."""
    if profile == "asyncio" and sys.platform != "win32":
        pytest.skip("asyncio on Windows")
    file = (tmp_path / "file").open("wb")
    file.close()
    work = bounded(errors_of_closed_files(file))
    told = asyncio.run(work) if profile == "asyncio" else evenloop.run(work, profile=profile)
    assert told == ["ValueError None", "OSError 9"]


def test_reuse_port_of_datagrams() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(ValueError, match="WIN-REUSE-PORT"):
            await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, ("127.0.0.1", 0), reuse_port=True
            )

    evenloop.run(bounded(main()), profile="windows-proactor")


def test_remove_methods() -> None:
    loop = evenloop.EventLoop(profile="windows-proactor")
    for name in ("remove_reader", "remove_writer", "remove_signal_handler"):
        with pytest.raises(NotImplementedError, match=name):
            getattr(loop, name)(0)
    loop.close()


def test_sendfile_has_its_fallback(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"data")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as server:
            with socket.create_connection(server.getsockname()) as left:
                left.setblocking(False)
                with path.open("rb") as file:
                    with pytest.raises(asyncio.SendfileNotAvailableError, match="SENDFILE"):
                        await loop.sock_sendfile(left, file, fallback=False)
                    assert await loop.sock_sendfile(left, file) == 4

    evenloop.run(bounded(main()), profile="windows-selector")


@pytest.mark.skipif(sys.platform == "win32", reason="the console of Wine is not this test's")
def test_command_line(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncio\n"
        "async def main():\n"
        "    print(asyncio.get_running_loop().profile)\n"
        "asyncio.run(main())\n"
    )
    run = [sys.executable, "-m", "evenloop", "run", "--profile"]
    seen = subprocess.run([*run, "windows-selector", program], capture_output=True, text=True)
    assert (seen.stdout.strip(), seen.returncode) == ("windows-selector", 0), seen.stderr
    seen = subprocess.run([*run, "beos", program], capture_output=True, text=True)
    assert seen.returncode == 2
    assert "no profile 'beos'" in seen.stderr
