"""Streams over AF_UNIX as reader and writer, on every system.

asyncio has these two only where its `socket` module has AF_UNIX, and so not on Windows.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from os import PathLike

    Path = str | bytes | PathLike[str] | PathLike[bytes]
    Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]

__all__ = ["open_unix_connection", "start_unix_server"]

# What a reader takes in before it asks the other side to wait, in bytes; asyncio's own default.
LIMIT = 64 * 1024


async def open_unix_connection(
    path: Path | None = None, *, limit: int = LIMIT, **options: Any
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the UNIX socket at `path`; return `(reader, writer)`.

    As `asyncio.open_unix_connection`, but it exists on every system and works on Windows 10
    1803 and newer, on any running loop of evenloop's.

    Args:
        path: str, bytes or path-like; or None with `sock=` among the options.
        limit: how many bytes the reader takes in before the other side has to wait.
        options: further keywords of `loop.create_unix_connection()`.

    Raises:
        OSError: The connection fails, or this Windows has no such sockets.

    https://docs.python.org/3/library/asyncio-stream.html#asyncio.open_unix_connection
    """
    loop: Any = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_unix_connection(lambda: protocol, path, **options)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def start_unix_server(
    client_connected_cb: Serve, path: Path | None = None, *, limit: int = LIMIT, **options: Any
) -> asyncio.Server:
    """Listen at the UNIX socket `path`; return the server.

    As `asyncio.start_unix_server`, but it exists on every system and works on Windows 10 1803
    and newer, on any running loop of evenloop's.

    Args:
        client_connected_cb: called with `(reader, writer)` of each connection; a coroutine
            function runs as a task.
        path: str, bytes or path-like; or None with `sock=` among the options.
        limit: how many bytes a reader takes in before the other side has to wait.
        options: further keywords of `loop.create_unix_server()`.

    Raises:
        OSError: The path cannot be bound to, or this Windows has no such sockets.

    https://docs.python.org/3/library/asyncio-stream.html#asyncio.start_unix_server
    """
    loop: Any = asyncio.get_running_loop()

    def factory() -> asyncio.StreamReaderProtocol:
        reader = asyncio.StreamReader(limit=limit, loop=loop)
        return asyncio.StreamReaderProtocol(reader, client_connected_cb, loop=loop)

    return await loop.create_unix_server(factory, path, **options)  # type: ignore[no-any-return]
