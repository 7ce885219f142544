"""What every asynchronous file has, whatever its layer."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Coroutine, Iterable
from types import TracebackType
from typing import Any, Generic, TypeVar

__all__ = ["AsyncFile", "Serial", "Str"]

Str = TypeVar("Str", bytes, str)
_Self = TypeVar("_Self", bound="AsyncFile[Any]")
_T = TypeVar("_T")


class AsyncFile(Generic[Str]):
    """An open file whose methods that may wait are coroutines.

    The names, arguments, results and exceptions are those of `io`'s classes. `name`, `mode`,
    `closed`, `fileno()`, `isatty()`, `readable()`, `writable()` and `seekable()` do not wait.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._closed = False

    @property
    def name(self) -> Any:
        """What it was opened by: a path or a descriptor."""
        return self._file.name

    @property
    def mode(self) -> str:
        """The mode that it was opened in."""
        return self._file.mode  # type: ignore[no-any-return]

    @property
    def closed(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._closed

    def fileno(self) -> int:
        """Return the descriptor; ValueError if the file is closed."""
        self._check_open()
        return self._file.fileno()  # type: ignore[no-any-return]

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        self._check_open()
        return self._file.isatty()  # type: ignore[no-any-return]

    def readable(self) -> bool:
        """Return whether it can be read from."""
        self._check_open()
        return self._file.readable()  # type: ignore[no-any-return]

    def writable(self) -> bool:
        """Return whether it can be written to."""
        self._check_open()
        return self._file.writable()  # type: ignore[no-any-return]

    def seekable(self) -> bool:
        """Return whether it has positions."""
        self._check_open()
        return self._file.seekable()  # type: ignore[no-any-return]

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("I/O operation on closed file.")

    def _check_readable(self) -> None:
        self._check_open()
        if not self._file.readable():
            raise io.UnsupportedOperation("not readable")

    def _check_writable(self) -> None:
        self._check_open()
        if not self._file.writable():
            raise io.UnsupportedOperation("not writable")

    async def readline(self, size: int = -1, /) -> Str:
        """Read up to and with the next line end, at most `size` bytes or characters."""
        raise NotImplementedError

    async def write(self, data: Any, /) -> int:
        """Write; return how many bytes or characters were taken."""
        raise NotImplementedError

    async def readlines(self, hint: int | None = -1, /) -> list[Str]:
        """Read the rest as a list of lines; no more once they are longer than `hint` together."""
        lines: list[Str] = []
        total = 0
        while line := await self.readline():
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint < total:
                break
        return lines

    async def writelines(self, lines: Iterable[Any], /) -> None:
        """Write each of `lines`; no line ends are added."""
        for line in lines:
            await self.write(line)

    async def flush(self) -> None:
        """Hand everything written to the operating system."""
        self._check_open()

    async def close(self) -> None:
        """Write what is pending, then close; without effect on a closed file."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close it: the name that `contextlib.aclosing()` and anyio use."""
        await self.close()

    def __aiter__(self: _Self) -> _Self:
        self._check_open()
        return self

    async def __anext__(self) -> Str:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    async def __aenter__(self: _Self) -> _Self:
        self._check_open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<{type(self).__name__} name={getattr(self._file, 'name', None)!r} {state}>"


class Serial:
    """One thing after another; what has begun goes on although its caller is cancelled."""

    def __init__(self) -> None:
        self.lock: asyncio.Lock = asyncio.Lock()

    @property
    def free(self) -> bool:
        """Whether nothing is going on."""
        return not self.lock.locked()

    async def finish(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run `work` to its end, whether or not its caller waits for it, and return its result.

        What was cancelled keeps its error for nobody; `work` itself notes what matters.
        """
        task = asyncio.ensure_future(self._locked(work))
        waiter = asyncio.get_running_loop().create_future()

        def wake(_: object) -> None:
            if not waiter.done():
                waiter.set_result(None)

        task.add_done_callback(wake)
        try:
            # Not asyncio.shield(), which reports the error of what nobody waits for any more.
            await waiter
        except asyncio.CancelledError:
            task.add_done_callback(_retrieve)
            raise
        finally:
            task.remove_done_callback(wake)
        return task.result()

    async def _locked(self, work: Coroutine[Any, Any, _T]) -> _T:
        try:
            async with self.lock:
                return await work
        finally:
            work.close()


def _retrieve(task: asyncio.Future[Any]) -> None:
    """Look at the error of what nobody waits for any more, so that it is not reported."""
    if not task.cancelled():
        task.exception()
