"""Addresses that need no look-up, and those that do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any

import pytest

import evenloop
from evenloop.net import resolve

from tests.support.loops import run

TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
V4, V6 = socket.AF_INET, socket.AF_INET6


def play(main: Coroutine[Any, Any, None]) -> None:
    run(evenloop.new_event_loop, main)


@pytest.mark.parametrize(
    ("host", "literal"),
    [
        ("127.0.0.1", True),
        (b"127.0.0.1", True),
        ("::1", True),
        ("fe80::1%lo", True),
        ("127.0.0.1%lo", False),
        ("127.1", False),
        ("localhost", False),
        ("", False),
        ("a\0b", False),
        ("ümlaut", False),
    ],
)
def test_is_literal(host: str | bytes, literal: bool) -> None:
    assert resolve.is_literal(host) is literal


@pytest.mark.parametrize(
    ("arguments", "info"),
    [
        (("1.2.3.4", 80, 0, STREAM, 0), (V4, STREAM, TCP, "", ("1.2.3.4", 80))),
        (("1.2.3.4", "80", V4, DGRAM, UDP), (V4, DGRAM, UDP, "", ("1.2.3.4", 80))),
        ((b"1.2.3.4", b"80", V4, STREAM, TCP), (V4, STREAM, TCP, "", ("1.2.3.4", 80))),
        (("1.2.3.4", None, 0, STREAM, 0), (V4, STREAM, TCP, "", ("1.2.3.4", 0))),
        (("1.2.3.4", "", 0, STREAM, 0), (V4, STREAM, TCP, "", ("1.2.3.4", 0))),
        (("::3", 80, 0, STREAM, 0), (V6, STREAM, TCP, "", ("::3", 80, 0, 0))),
        (("::3", 80, V6, STREAM, 0, 7, 2), (V6, STREAM, TCP, "", ("::3", 80, 7, 2))),
        (("::3", 80, V4, STREAM, 0), None),
        (("1.2.3.4", 80, V6, STREAM, 0), None),
        (("fe80::1%lo", 80, 0, STREAM, 0), None),
        (("1.2.3.4", "http", 0, STREAM, 0), None),
        (("1.2.3.4", 80, 0, 0, 0), None),
        (("1.2.3.4", 80, 0, STREAM, 999), None),
        ((None, 80, 0, STREAM, 0), None),
        (("localhost", 80, 0, STREAM, 0), None),
    ],
)
def test_literal_info(arguments: tuple[Any, ...], info: Any) -> None:
    assert resolve.literal_info(*arguments) == info


def test_a_literal_needs_no_thread() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def no_thread(*args: Any) -> Any:
            raise AssertionError("a thread was asked")

        loop.run_in_executor = no_thread  # type: ignore[method-assign]
        for host in ("127.0.0.1", "::1", b"127.0.0.1"):
            expected = socket.getaddrinfo(host, 80, type=STREAM)
            assert await loop.getaddrinfo(host, 80, type=STREAM) == expected
        numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        assert await loop.getnameinfo(("127.0.0.1", 80), numeric) == ("127.0.0.1", "80")
        with pytest.raises(AssertionError, match="asked"):
            await loop.getaddrinfo("localhost", 80)
        with pytest.raises(AssertionError, match="asked"):
            await loop.getaddrinfo("127.0.0.1", "http")
        with pytest.raises(AssertionError, match="asked"):
            await loop.getnameinfo(("127.0.0.1", 80))

    play(main())


def test_a_literal_that_does_not_fit_its_family() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("::1", 80, family=V4)

    play(main())


def test_an_overridden_getaddrinfo_is_asked() -> None:
    class Loop(evenloop.EventLoop):
        async def getaddrinfo(self, host: Any, port: Any, **kwargs: Any) -> Any:
            asked.append((host, port))
            return []

    asked: list[Any] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(OSError, match="empty list"):
            await loop.create_connection(asyncio.Protocol, "some.name", 80)
        with pytest.raises(OSError, match="empty list"):
            await loop.create_server(asyncio.Protocol, "other.name", 81)

    run(Loop, main())
    assert asked == [("some.name", 80), ("other.name", 81)]


def test_an_overridden_sock_connect_connects() -> None:
    class Loop(evenloop.EventLoop):
        async def sock_connect(self, sock: socket.socket, address: Any) -> None:
            asked.append(address)
            await super().sock_connect(sock, address)

    asked: list[Any] = []

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        for all_errors in (False, True):
            transport, _ = await loop.create_connection(
                asyncio.Protocol, *address, all_errors=all_errors
            )
            transport.close()
        server.close()
        await asyncio.sleep(0.01)
        assert asked == [address, address]

    run(Loop, main())


def test_slow_look_ups_are_told_in_debug_mode(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("DEBUG", logger="asyncio")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        await loop.getaddrinfo("127.0.0.1", 80, family=V4, flags=socket.AI_PASSIVE)

    play(main())
    text = caplog.text
    assert "Get address info 127.0.0.1:80, family=" in text
    assert "Getting address info 127.0.0.1:80" in text
