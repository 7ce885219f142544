"""Readers and writers: callbacks for descriptors that are ready, the user's own.

A watch is a multishot poll, and its callback a handle that runs whenever the poll completes.
Regular files are not for the engine, unless it says so: see `regular`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evenloop.engines import engine as _engine
from evenloop.engines.descriptors import descriptor_of, is_regular, of_system
from evenloop.engines.engine import POLL_READ, POLL_WRITE
from evenloop.handles import Handle
from evenloop.regular import RegularFiles
from evenloop.scheduler import Scheduler

if TYPE_CHECKING:
    from evenloop.engines.engine import Engine

__all__ = ["Readers"]


class _Watch(_engine.Op):
    """One reader or writer of the user's."""

    def __init__(self, kind: int, fd: int, loop: Scheduler, handle: Handle) -> None:
        _engine.Op.__init__(self, kind, fd, None)
        self.multishot = True
        self.loop = loop
        self.handle = handle
        #: Not the engine's.
        self.regular = False

    def complete(self) -> None:
        """Run the callback."""
        handle = self.handle
        if self.error is not None:
            # The descriptor can no longer be watched (it was closed): say so once, then stop.
            error, self.error = self.error, None
            self.loop.call_exception_handler(
                {
                    "message": f"descriptor {self.fd} can no longer be watched",
                    "exception": error,
                    "handle": handle,
                }
            )
        elif not handle.cancelled():
            self.loop._run_now(handle)


class Readers(Scheduler):
    """The loop's methods for watching descriptors."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._watches: dict[tuple[int, int], _Watch] = {}
        self._regular_files: RegularFiles | None = None

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:
        """Call `callback(*args)` whenever `fd` (a descriptor or an object with one) is readable.

        Replaces the reader that the descriptor had. Raises ValueError if `fd` is no descriptor,
        OSError if the operating system cannot watch it, and RuntimeError if a transport uses it.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.add_reader
        """
        self._watch(POLL_READ, "add_reader", fd, callback, args)

    def remove_reader(self, fd: Any) -> bool:
        """Stop watching `fd` for reading; True if it was watched.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.remove_reader
        """
        return self._unwatch(POLL_READ, fd)

    def add_writer(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:
        """Call `callback(*args)` whenever `fd` is writable; otherwise as `add_reader()`.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.add_writer
        """
        self._watch(POLL_WRITE, "add_writer", fd, callback, args)

    def remove_writer(self, fd: Any) -> bool:
        """Stop watching `fd` for writing; True if it was watched.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.remove_writer
        """
        return self._unwatch(POLL_WRITE, fd)

    def _watch(
        self, kind: int, method: str, fd: Any, callback: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        self._check_call(method, callback)
        number = descriptor_of(fd)
        # The user's number is the key: a closed file has no other any more.
        descriptor = of_system(fd, number)
        self._check_free(descriptor)
        handle = Handle(callback, args, self)
        if self.get_debug():
            handle._remember_source()
        previous = self._watches.pop((number, kind), None)
        if previous is not None:
            self._end_watch(previous)
        watch = _Watch(kind, descriptor, self, handle)
        self._start_watch(watch)
        self._watches[number, kind] = watch

    def _start_watch(self, watch: _Watch) -> None:
        engine = self.engine
        if engine.regular_files != "always ready" or not is_regular(watch.fd):
            try:
                engine.start(watch)
                return
            except PermissionError:
                if not is_regular(watch.fd):
                    raise
        if self._regular_files is None:
            self._regular_files = RegularFiles(self)
        self._regular_files.start(watch)
        watch.regular = True

    def _end_watch(self, watch: _Watch) -> None:
        watch.handle.cancel()
        if watch.regular and self._regular_files is not None:
            self._regular_files.cancel(watch)
        else:
            self.engine.cancel(watch)

    def _unwatch(self, kind: int, fd: Any) -> bool:
        if self.is_closed():
            return False
        number = descriptor_of(fd)
        self._check_free(of_system(fd, number))
        watch = self._watches.pop((number, kind), None)
        if watch is None:
            return False
        self._end_watch(watch)
        return True

    def _after_fork(self) -> None:
        """Go on in a forked child, where the engine does already."""
        if self._regular_files is not None:
            self._regular_files.after_fork()

    def _close(self) -> None:
        for watch in self._watches.values():
            watch.handle.cancel()
        self._watches.clear()
        if self._regular_files is not None:
            self._regular_files.close()
        super()._close()
