"""`connect_read_pipe()` and `connect_write_pipe()` on regular files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.protocols import Terse as Recorder

Factory = Callable[[], asyncio.AbstractEventLoop]


def opened(path: Path, mode: str) -> Any:
    return open(path, mode, 0)


async def test_reading_from_the_position_to_the_end(new_loop: Factory, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    path = tmp_path / "file"
    content = bytes(range(256)) * 5000
    path.write_bytes(content)
    file = opened(path, "rb")
    file.seek(100)
    transport, protocol = await loop.connect_read_pipe(Recorder, file)
    assert isinstance(transport, asyncio.ReadTransport)
    assert transport.get_extra_info("pipe") is not None
    assert await protocol.closed is None
    assert protocol.data == content[100:]
    assert protocol.events == ["made", "eof", "lost"]
    assert transport.is_closing() and file.closed


async def test_streams(new_loop: Factory, tmp_path: Path) -> None:
    """asyncio's own reader and writer, with flow control."""
    loop = asyncio.get_running_loop()
    path = tmp_path / "file"
    lines = [b"line %d\n" % number for number in range(50_000)]
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, opened(path, "wb")
    )
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    for line in lines:
        writer.write(line)
        await writer.drain()
    writer.close()
    while path.stat().st_size < sum(map(len, lines)):
        await asyncio.sleep(0.001)
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), opened(path, "rb")
    )
    assert [line async for line in reader] == lines
    transport.close()
    await asyncio.sleep(0.01)


async def test_writing(new_loop: Factory, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    path = tmp_path / "file"
    path.write_bytes(b"start-")
    transport, protocol = await loop.connect_write_pipe(Recorder, opened(path, "ab"))
    assert isinstance(transport, asyncio.WriteTransport)
    transport.write(b"one")
    transport.writelines([b"two", b"three"])
    transport.write(b"x" * 100_000)
    assert transport.can_write_eof()
    transport.write_eof()
    transport.write(b"too late")
    assert await protocol.closed is None
    assert path.read_bytes() == b"start-onetwothree" + b"x" * 100_000
    assert protocol.events[0] == "made" and protocol.events[-1] == "lost"


async def test_pausing_and_closing(new_loop: Factory, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    path = tmp_path / "file"
    path.write_bytes(b"x" * 2_000_000)
    transport, protocol = await loop.connect_read_pipe(Recorder, opened(path, "rb"))
    transport.pause_reading()
    await asyncio.sleep(0.02)
    size = len(protocol.data)
    await asyncio.sleep(0.02)
    assert len(protocol.data) == size < 2_000_000
    transport.resume_reading()
    while len(protocol.data) == size:
        await asyncio.sleep(0)
    transport.close()
    assert await protocol.closed is None


async def test_errors_reach_the_protocol(new_loop: Factory, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    path = tmp_path / "file"
    path.touch()
    transport, protocol = await loop.connect_write_pipe(Recorder, opened(path, "rb"))
    transport.write(b"into a file that is open for reading")
    assert isinstance(await protocol.closed, OSError)
    transport, protocol = await loop.connect_write_pipe(Recorder, opened(path, "wb"))
    with pytest.raises(TypeError):
        transport.write("text")
    transport.abort()
    assert await protocol.closed is None
