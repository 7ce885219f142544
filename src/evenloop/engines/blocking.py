"""Requests on Windows handles that no completion port takes: a thread each.

A port takes overlapped handles only. Anonymous pipes (`os.pipe()`), inherited standard streams,
consoles and files as Python opens them are not, and the only way to them is a call that blocks.
So an engine hands requests on such handles to a `Blocking`, which makes the calls on a thread
per handle and direction and completes the requests on the loop's thread:

    start, cancel, forget       as an engine's
    owns(op)                    whether a request was started here
    ready, deliver()            for the engine's `wait()` and `deliver()`
    wake                        the engine's, called when a thread has something

What follows from the system's ways:

- A read in flight cannot be taken back without a chance to lose what it has read. So the thread
  reads into memory of its own, a chunk ahead of the loop at most; a request that is cancelled
  and begun anew gets what was read meanwhile. For the same reason `cancel()` frees any request
  at once.
- What is written is copied when the request begins: the thread may need it longer than the
  request lasts.
- Readiness to be read is asked for with a read of no bytes, which ends when there is something
  (or the other end is gone); where that returns without anything to read, the pipe is looked at
  again after a hundredth of a second. A console's handle is signalled by itself. A regular file
  is readable while bytes lie behind its position, and is looked at from time to time.
- Readiness to be written cannot be known: a pipe with a reader that waits for more than fits
  into it says the same as a full one. So such a handle is always writable, as files are.
- `forget()` ends the call that a thread is in and waits for the thread: afterwards the handle
  may be closed. A handle closed while a thread reads from it would block, or be another file.
"""

from __future__ import annotations

import codecs
import collections
import errno
import logging
import threading
from typing import TYPE_CHECKING, Any

from evenloop.engines import winapi
from evenloop.engines.engine import (
    EXIT,
    POLL_READ,
    POLL_WRITE,
    RECV,
    RECV_INTO,
    SEND,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenloop.engines.engine import Op

__all__ = ["Blocking"]

logger: logging.Logger = logging.getLogger("asyncio")

# One read takes at most this much.
READ_SIZE = 64 * 1024
# How often a thread looks where nothing tells it, in seconds.
LOOK_AGAIN = 0.01
LOOK_AT_FILE = 0.05
# How long a thread may take to leave its call, in seconds, and how often it is asked.
_PATIENCE = 5.0
_ASK_AGAIN = 0.02


class Blocking:
    """Carries requests on handles out in threads."""

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._workers: dict[tuple[int, int], _Worker] = {}
        # Workers that have an outcome, and polls for writing, which complete every time.
        self._finished: collections.deque[_Worker] = collections.deque()
        self._writable: list[Op] = []

    @property
    def ready(self) -> bool:
        """Whether there is something to deliver."""
        return bool(self._finished or self._writable)

    def start(self, op: Op) -> bool:
        """Begin a request on a handle: never finished at once. May raise OSError."""
        op.result = op.error = None
        if op.kind == POLL_WRITE:
            winapi.handle_kind(op.fd)
            op.active = True
            self._writable.append(op)
            return False
        key = (op.fd, _direction(op.kind))
        if key[1] not in _CALLS:
            raise OSError(errno.EINVAL, f"no such request on a handle: {op!r}")
        worker = self._workers.get(key)
        if worker is None:
            source = _source_of(op)
            worker = self._workers[key] = _Worker(self, key, source)
        op.active = True
        worker.take(op)
        return False

    def owns(self, op: Op) -> bool:
        """Whether a request was started here."""
        if op.kind == POLL_WRITE:
            return op in self._writable
        worker = self._workers.get((op.fd, _direction(op.kind)))
        return worker is not None and op in worker.ops

    def cancel(self, op: Op) -> bool:
        """Take a request back: it is free at once."""
        op.active = False
        if op in self._writable:
            self._writable.remove(op)
        key = (op.fd, _direction(op.kind))
        worker = self._workers.get(key)
        if worker is not None and op in worker.ops:
            worker.ops.remove(op)
            if not worker.ops and op.kind in (POLL_READ, EXIT):
                # The user's own handle: there will be no forget().
                self._end([key])
        return True

    def forget(self, fd: int) -> None:
        """End everything on a handle; afterwards it may be closed."""
        for op in [op for op in self._writable if op.fd == fd]:
            op.active = False
            self._writable.remove(op)
        self._end([key for key in self._workers if key[0] == fd])

    def close(self) -> None:
        """End everything."""
        for op in self._writable:
            op.active = False
        self._writable.clear()
        self._end(list(self._workers))
        self._finished.clear()

    def _end(self, keys: list[tuple[int, int]]) -> None:
        for key in keys:
            worker = self._workers.pop(key)
            for op in worker.ops:
                op.active = False
            worker.ops.clear()
            worker.stop()

    def deliver(self) -> None:
        """Complete what the threads have done; on the loop's thread."""
        for _ in range(len(self._finished)):
            worker = self._finished.popleft()
            if self._workers.get(worker.key) is worker:
                worker.deliver()
        for op in list(self._writable):
            if op.active:
                if not op.multishot:
                    op.active = False
                    self._writable.remove(op)
                op.complete()

    def post(self, worker: _Worker) -> None:
        """A worker has an outcome; in its thread."""
        self._finished.append(worker)
        self._wake()


class _Worker:
    """One direction of a handle: its requests, its thread, and what that has done."""

    def __init__(self, home: Blocking, key: tuple[int, int], source: _Source) -> None:
        self.key = key
        #: Requests in the order they came; the loop's thread alone touches them.
        self.ops: list[Op] = []
        self._home = home
        self._source = source
        # The thread has been asked for something that was not delivered yet.
        self._busy = False
        self._arrived = False
        # For whom it writes: a request that was cancelled meanwhile hears nothing.
        self._writes_for: Op | None = None
        # What was asked for, and the outcome: the thread's while it is busy.
        self._job: Any = None
        self._result: Any = None
        self._error: BaseException | None = None
        self._go = threading.Semaphore(0)
        self._thread = threading.Thread(
            target=self._run, name=f"evenloop-handle-{key[0]}", daemon=True
        )
        self._thread.start()

    # ---- on the loop's thread --------------------------------------------------------------

    def take(self, op: Op) -> None:
        """Begin a request."""
        self.ops.append(op)
        if self._arrived:
            # Read before for somebody who then paused.
            self._home._finished.append(self)
        else:
            self._ask()

    def _ask(self) -> None:
        """Have the thread do what the first request needs."""
        if self._busy or not self.ops:
            return
        op = self.ops[0]
        if op.kind == SEND:
            self._writes_for = op
            self._job = b"".join(op.acquire())
        else:
            self._job = op.size or READ_SIZE
        self._busy = True
        self._go.release()

    def deliver(self) -> None:
        """Complete the first request with what the thread has done."""
        self._busy = False
        self._arrived = True
        writes_for, self._writes_for = self._writes_for, None
        if writes_for is not None and (not self.ops or self.ops[0] is not writes_for):
            # A write whose request was taken back.
            self._arrived = False
        while self._arrived and self.ops:
            op = self.ops[0]
            if not self._fill(op):
                break
            if not op.multishot:
                self.ops.pop(0)
                op.active = False
            ended = op.error is not None or (op.kind == RECV and not op.result)
            op.complete()
            if ended and self.ops and self.ops[0] is op:
                # It knows; asked again, the handle would say the same for ever.
                return
        if not self._arrived:
            self._ask()

    def _fill(self, op: Op) -> bool:
        """Put the outcome into a request; False if that one will not have it."""
        op.result = None
        op.error, self._error = self._error, None
        if op.error is not None:
            self._arrived = False
            return True
        result = self._result
        if op.kind == RECV_INTO:
            buffer = op.acquire()
            if buffer is None:
                return False
            count = min(len(buffer), len(result))
            buffer[:count] = result[:count]
            op.result = count
            self._result = result[count:]
            # The rest, if the buffer was too small, is for the next one.
            self._arrived = len(self._result) > 0
            return True
        op.result = result if type(result) is not memoryview else bytes(result)
        self._result = None
        self._arrived = False
        return True

    def stop(self) -> None:
        """End the thread, whatever it is in."""
        source, thread = self._source, self._thread
        source.stopping.set()
        self._go.release()
        for _ in range(int(_PATIENCE / _ASK_AGAIN)):
            source.interrupt(thread)
            thread.join(_ASK_AGAIN)
            if not thread.is_alive():
                break
        else:
            logger.warning("the system does not let go of a call on handle %d", self.key[0])
            return
        source.close()

    # ---- on its own ------------------------------------------------------------------------

    def _run(self) -> None:
        source, call = self._source, _CALLS[self.key[1]]
        while True:
            self._go.acquire()
            if source.stopping.is_set():
                return
            try:
                self._result = call(source, self._job)
            except OSError as exc:
                self._error = exc
            self._job = None
            if source.stopping.is_set():
                return
            self._home.post(self)


class _Source:
    """How to read, write and watch one kind of handle with calls that block."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.stopping: threading.Event = threading.Event()

    def read(self, size: int) -> bytes:
        """Return the next bytes; b"" at the end."""
        return winapi.read(self.handle, size)

    def write(self, data: bytes) -> int:
        """Write everything; return how much that is."""
        view = memoryview(data)
        while view and not self.stopping.is_set():
            view = view[winapi.write(self.handle, view) :]
        return len(data)

    def poll(self) -> None:
        """Return when there is something to read, or the end."""
        raise NotImplementedError

    def interrupt(self, thread: threading.Thread) -> None:
        """End the call that the thread is in."""
        if thread.native_id is not None:
            winapi.cancel_call_of(thread.native_id)

    def close(self) -> None:
        """Release what was made for it; the handle is its owner's."""


class _Pipe(_Source):
    """A pipe that is not overlapped, or whatever else can be read like one."""

    def poll(self) -> None:
        while not self.stopping.is_set():
            try:
                winapi.read(self.handle, 0)
                if self.stopping.is_set() or winapi.peek(self.handle):
                    return
            except OSError:
                # The end, an error: reading will tell.
                return
            self.stopping.wait(LOOK_AGAIN)


class _Overlapped(_Source):
    """An overlapped pipe, for engines that have no port."""

    def __init__(self, handle: int) -> None:
        super().__init__(handle)
        self._request: Any = None

    def read(self, size: int) -> bytes:
        try:
            request = self._finish(winapi.start_read(self.handle, size))
        except OSError as exc:
            if getattr(exc, "winerror", None) in winapi.BROKEN_PIPE:
                return b""
            raise
        return bytes(request.getbuffer())

    def write(self, data: bytes) -> int:
        self._finish(winapi.start_write(self.handle, data))
        return len(data)

    def poll(self) -> None:
        while not self.stopping.is_set():
            try:
                self._finish(winapi.start_read(self.handle, 0))
                if self.stopping.is_set() or winapi.peek(self.handle):
                    return
            except OSError:
                return
            self.stopping.wait(LOOK_AGAIN)

    def _finish(self, request: Any) -> Any:
        self._request = request
        try:
            if self.stopping.is_set():
                request.cancel()
            request.GetOverlappedResult(True)
        finally:
            self._request = None
        return request

    def interrupt(self, thread: threading.Thread) -> None:
        request = self._request
        if request is not None:
            request.cancel()


class _Signalled(_Source):
    """A handle that the system signals by itself."""

    def __init__(self, handle: int) -> None:
        super().__init__(handle)
        self._stop = winapi.Event()

    def poll(self) -> None:
        winapi.wait_any([self.handle, self._stop.handle])

    def interrupt(self, thread: threading.Thread) -> None:
        self._stop.set()

    def close(self) -> None:
        self._stop.close()


class _Process(_Signalled):
    """A process: signalled when it ends."""

    def wait(self) -> int | None:
        """Return its exit code, None if this was to stop."""
        if winapi.wait_any([self.handle, self._stop.handle]) == 0:
            return winapi.exit_code(self.handle)
        return None


class _Console(_Signalled):
    """A console; what goes through is UTF-8, as it is with Python's own streams."""

    def __init__(self, handle: int) -> None:
        super().__init__(handle)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read(self, size: int) -> bytes:
        while True:
            self.poll()
            if self.stopping.is_set():
                return b""
            try:
                return winapi.read_console(self.handle)
            except OSError as exc:
                if getattr(exc, "winerror", None) != winapi.ERROR_OPERATION_ABORTED:
                    raise

    def write(self, data: bytes) -> int:
        winapi.write_console(self.handle, data, self._decoder)
        return len(data)

    def poll(self) -> None:
        while not self.stopping.is_set():
            super().poll()
            if self.stopping.is_set() or winapi.skip_to_key(self.handle):
                return

    def interrupt(self, thread: threading.Thread) -> None:
        super().interrupt(thread)
        _Source.interrupt(self, thread)


class _File(_Source):
    """A regular file: what lies behind its position can be read, and may grow."""

    def poll(self) -> None:
        while not self.stopping.is_set() and winapi.file_room(self.handle) <= 0:
            self.stopping.wait(LOOK_AT_FILE)


_SOURCES = {winapi.PIPE: _Pipe, winapi.CONSOLE: _Console, winapi.FILE: _File, winapi.OTHER: _Pipe}

# What a thread does for each kind of request.
_CALLS: dict[int, Callable[[Any, Any], Any]] = {
    RECV: lambda source, size: source.read(size),
    SEND: lambda source, data: source.write(data),
    POLL_READ: lambda source, _: source.poll(),
    EXIT: lambda source, _: source.wait(),
}


def _direction(kind: int) -> int:
    """Return which thread of a handle a request is for."""
    return RECV if kind == RECV_INTO else kind


def _source_of(op: Op) -> _Source:
    """Return how to make the calls of a request; OSError if its handle is none."""
    if op.kind == EXIT:
        return _Process(op.fd)
    kind = winapi.handle_kind(op.fd)
    if kind == winapi.SOCKET:
        raise OSError(errno.EINVAL, f"{op.fd} is a socket: not for a thread")
    if kind == winapi.PIPE and winapi.is_overlapped(op.fd):
        return _Overlapped(op.fd)
    return _SOURCES[kind](op.fd)
