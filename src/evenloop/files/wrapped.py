"""Any other file object, with its methods run in threads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from evenloop.files.base import AsyncFile, Serial
from evenloop.files.transfer import in_thread

__all__ = ["WrappedFile"]


class WrappedFile(AsyncFile[Any]):
    """A file object whose methods run in threads, one after another.

    A method that has begun goes on although its caller is cancelled; what it read is lost then.
    What else the object has (`getvalue()`, `compresslevel`, ...) is reached through `wrapped`.
    """

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self._serial = Serial()

    @property
    def wrapped(self) -> Any:
        """The file object itself."""
        return self._file

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._closed or bool(getattr(self._file, "closed", False))

    async def _call(self, name: str, *args: Any) -> Any:
        self._check_open()
        return await self._serial.finish(in_thread(getattr(self._file, name), *args))

    async def read(self, *size: int) -> Any:
        """Read at most so many bytes or characters, by default all the rest."""
        return await self._call("read", *size)

    async def read1(self, *size: int) -> bytes:
        """Read with at most one read of what is under it."""
        return await self._call("read1", *size)  # type: ignore[no-any-return]

    async def readinto(self, buffer: Any, /) -> int:
        """Read into `buffer`, which must not be touched until the file is idle."""
        return await self._call("readinto", buffer)  # type: ignore[no-any-return]

    async def readline(self, *size: int) -> Any:
        """Read up to and with the next line end."""
        return await self._call("readline", *size)

    async def readlines(self, hint: int | None = -1, /) -> list[Any]:
        """Read the rest as a list of lines."""
        return await self._call("readlines", hint)  # type: ignore[no-any-return]

    async def write(self, data: Any, /) -> int:
        """Write; return how much was taken."""
        return await self._call("write", data)  # type: ignore[no-any-return]

    async def writelines(self, lines: Iterable[Any], /) -> None:
        """Write each of `lines`."""
        await self._call("writelines", lines)

    async def seek(self, offset: int, whence: int = 0, /) -> int:
        """Change the position, and return it."""
        return await self._call("seek", offset, whence)  # type: ignore[no-any-return]

    async def tell(self) -> int:
        """Return the position."""
        return await self._call("tell")  # type: ignore[no-any-return]

    async def truncate(self, *size: int | None) -> int:
        """Change the length, and return it."""
        return await self._call("truncate", *size)  # type: ignore[no-any-return]

    async def flush(self) -> None:
        """Hand everything written on."""
        await self._call("flush")

    async def close(self) -> None:
        """Close it; without effect if it is closed."""
        if not self._closed:
            self._closed = True
            await self._serial.finish(in_thread(self._file.close))
