"""getaddrinfo and getnameinfo."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("host", "port"),
    [("127.0.0.1", 80), ("::1", 80), ("127.0.0.1", "80"), ("localhost", 0), (None, 8080)],
)
async def test_it_gives_what_the_socket_module_gives(
    host: str | None, port: int | str | None
) -> None:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    assert found == socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    assert isinstance(found, list)


async def test_a_host_in_bytes() -> None:
    loop = asyncio.get_running_loop()
    assert await loop.getaddrinfo(b"127.0.0.1", 80) == socket.getaddrinfo(b"127.0.0.1", 80)


async def test_every_keyword() -> None:
    loop = asyncio.get_running_loop()
    options = {
        "family": socket.AF_INET,
        "type": socket.SOCK_DGRAM,
        "proto": socket.IPPROTO_UDP,
        "flags": socket.AI_PASSIVE,
    }
    assert await loop.getaddrinfo(None, 5, **options) == socket.getaddrinfo(None, 5, **options)


async def test_names_that_are_wrong() -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(socket.gaierror):
        await loop.getaddrinfo("not-a-number", 80, flags=socket.AI_NUMERICHOST)
    with pytest.raises(socket.gaierror):
        await loop.getaddrinfo("::1", 80, family=socket.AF_INET)
    with pytest.raises(socket.gaierror):
        await loop.getaddrinfo(None, None)
    with pytest.raises((socket.gaierror, UnicodeError)):
        await loop.getaddrinfo("x" * 300, 80)


async def test_getnameinfo() -> None:
    loop = asyncio.get_running_loop()
    flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    assert await loop.getnameinfo(("127.0.0.1", 80), flags) == ("127.0.0.1", "80")
    assert await loop.getnameinfo(("::1", 80, 0, 0), flags) == ("::1", "80")
    assert await loop.getnameinfo(("127.0.0.1", 80)) == socket.getnameinfo(("127.0.0.1", 80), 0)


async def test_getnameinfo_of_nonsense() -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(socket.gaierror):
        await loop.getnameinfo(("not-a-number", 80))
    with pytest.raises(TypeError):
        await loop.getnameinfo("127.0.0.1")  # type: ignore[arg-type]


async def test_a_cancelled_look_up_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    cancelled = threading.Event()
    look_up = socket.getaddrinfo

    def slow(*args: Any, **options: Any) -> Any:
        # A quick answer could be there before it is cancelled.
        cancelled.wait(10)
        return look_up(*args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    task = asyncio.ensure_future(loop.getaddrinfo("localhost", 80))
    await asyncio.sleep(0)
    task.cancel()
    try:
        with pytest.raises(asyncio.CancelledError):
            await task
    finally:
        cancelled.set()
    assert await loop.getaddrinfo("127.0.0.1", 80)


async def test_an_answer_is_the_callers_own() -> None:
    loop = asyncio.get_running_loop()
    first = await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
    expected = first.copy()
    first.clear()
    assert await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM) == expected


async def test_a_known_address_does_not_hide_what_is_wrong() -> None:
    loop = asyncio.get_running_loop()
    await loop.getaddrinfo("127.0.0.1", 80)
    with pytest.raises((TypeError, OSError)):
        await loop.getaddrinfo("127.0.0.1", 80.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        await loop.getaddrinfo("127.0.0.1", 80, family=[])  # type: ignore[arg-type]
    with pytest.raises(socket.gaierror):
        await loop.getaddrinfo("127.0.0.1", 80, family=socket.AF_INET6)
    if sys.platform != "win32":  # it finds nothing wrong with that
        stream = socket.SOCK_STREAM
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("127.0.0.1", 80, proto=socket.IPPROTO_UDP, type=stream)


async def test_a_replaced_getaddrinfo_is_asked_for_known_addresses_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    await loop.getaddrinfo("127.0.0.1", 80)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: ["replaced"])
    assert await loop.getaddrinfo("127.0.0.1", 80) == ["replaced"]
    monkeypatch.undo()
    assert await loop.getaddrinfo("127.0.0.1", 80) == socket.getaddrinfo("127.0.0.1", 80)
