"""What a loop asks of an operating system: the `Engine`, and its requests, the `Op`s.

The contract has the shape of completions, because readiness can imitate a completion at
little cost and not the other way round. An `Op` is one request. Whoever makes it subclasses
`Op`, overrides `complete()`, and keeps the object for as long as the descriptor lives: a
stream has one for reading and one for writing, and uses both again and again.

Rules:

1. `start(op)` begins a request. True means that it is finished already: `result` and `error`
   are set and `complete()` will not be called. False means that it is in flight.
2. A one-shot op in flight completes exactly once. A multishot op stays armed and completes
   once per event until it is cancelled. `complete()` is always called by `deliver()`,
   on the loop's thread, with `result` or `error` set.
3. `cancel(op)` takes a request back. Where it returns True the op is free at once and
   `complete()` will not be called. Where it returns False the engine still owns the op and
   its buffer, and `complete()` comes with an error; only then may either be touched.
4. Between `start()` and completion the op's buffer belongs to the engine.
5. `wait(timeout)` is the only call that blocks, and the only one that lets go of the GIL. It
   collects what has happened; `deliver()` completes it, after the loop has run the callbacks
   that were ready before. `complete()` may raise `SystemExit` or `KeyboardInterrupt`; what was
   not delivered then comes with the next `wait()`.
6. `wake()` may be called by any thread and in a signal handler: the running or else the next
   `wait()` returns at once.
7. `forget(fd)` comes before every close of a descriptor that evenloop owns, and ends every op
   on it. Descriptors of the user's may be closed without a word; an engine must not be
   poisoned by a number that comes back as something else.
8. READ_FILE, WRITE_FILE and SYNC_FILE are only given to an engine whose `files` is true; for
   the others threads carry them out, above the engine. They are one-shot, several may be in
   flight for one descriptor and complete in any order, and a short count is a result. The
   descriptor is the user's and nobody adopts it. A cancelled one mostly stays the engine's
   until it completes (rule 3), as the kernel may be at its buffer; `close()` waits for those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    import cython
except ImportError:
    from evenloop import _cython as cython

if TYPE_CHECKING:
    import socket

__all__ = ["Engine", "Op"]

if not cython.compiled:
    from evenloop._clock import clock

    # The kinds of request. Reading kinds are those of READING, the others write.
    RECV = 1  # bytes of a stream (socket, pipe or terminal): result bytes, b"" at the end
    RECV_INTO = 2  # the same into the buffer that `acquire()` returns: result int
    SEND = 3  # the bytes-likes in the list that `acquire()` returns, what goes: result int
    ACCEPT = 4  # a connection: result (socket, address)
    CONNECT = 5  # to `address`
    # Of a datagram socket's `family` engines may know how to do without Python's sockets.
    RECVFROM = 6  # one datagram of at most `size` bytes: result (bytes, address)
    SENDTO = 7  # `buffer` to `address` (None: where it is connected to): result int
    POLL_READ = 8  # "it is readable", and nothing is read
    POLL_WRITE = 9  # "it is writable", and nothing is written
    EXIT = 10  # the end of the child process `size`: result its exit status; `exits_by_pid`
    # Of a file that can be seeked, at `offset` (-1: at the file's own position, which moves).
    READ_FILE = 11  # into the writable `buffer`, at most its length: result int, 0 at the end
    WRITE_FILE = 12  # the bytes-like `buffer`, what goes: result int
    SYNC_FILE = 13  # what was written is on the disk (fsync): result 0


class Op:
    """One request to an engine; subclassed by its maker."""

    def __init__(self, kind: int, fd: int, sock: socket.socket | None = None) -> None:
        self.kind = kind
        self.fd = fd
        # The socket object, where there is one: portable engines work through it.
        self.sock: Any = sock
        self.multishot = False
        # In flight: the engine's to write, anyone's to read.
        self.active = False
        # The engine's note that there was more than it likes to copy, or, of a SEND, than the
        # descriptor took: it is full.
        self.plenty = False
        # Arguments; `size` is also the process for EXIT.
        self.size = 0
        self.offset = -1
        self.family = 0
        self.buffer: Any = None
        self.address: Any = None
        # Outcome: the one or the other.
        self.result: Any = None
        self.error: Any = None  # an OSError, or what is wrong with the buffer
        # The next op that waits for the same descriptor and direction: the engine's.
        self.next: Op | None = None

    def complete(self) -> None:
        """Take `result` or `error`; called by the engine's `deliver()`."""
        raise NotImplementedError

    def wanted(self) -> bool:
        """Return whether somebody waits for the outcome; asked before a user's request is tried."""
        return True

    def acquire(self) -> Any:
        """Return the buffer, when the engine comes to need it.

        For RECV_INTO a writable one, or None to give the request up; for SEND a list.
        """
        return self.buffer

    def __reduce__(self) -> Any:
        raise TypeError(f"{self!r} belongs to its engine and cannot be copied or pickled")

    def __repr__(self) -> str:
        state = "in flight" if self.active else "idle"
        return f"<{type(self).__name__} kind={self.kind} fd={self.fd} {state}>"


class Engine:
    """An operating system's way to wait for many things at once."""

    #: What `EventLoop(engine=...)` and EVENLOOP_ENGINE call it.
    name = "abstract"
    #: What the operating system tells: "readiness" or "completion".
    model = "readiness"
    #: Whether `start()` takes READ_FILE, WRITE_FILE and SYNC_FILE; an instance may differ.
    files: bool = False
    #: Why it takes none, where it might.
    no_files: str = ""
    #: How polls of regular files go: "refused" (PermissionError from `start()`), "always ready"
    #: (never asked of the engine, then), or "watched", which means readable while unread bytes
    #: lie behind the position.
    regular_files: str = "always ready"
    #: Whether an EXIT may go by its process id alone: its descriptor is -1.
    exits_by_pid = False

    def __reduce__(self) -> Any:
        raise TypeError(f"{self!r} cannot be copied or pickled")

    def now(self) -> float:
        """Return the loop's clock: seconds, monotonic."""
        return clock()

    def start(self, op: Op) -> bool:
        """Begin a request; True when it is finished already."""
        raise NotImplementedError

    def send_now(self, op: Op, data: bytes) -> int:
        """Send at once what goes of `data`, and return how much; -1: `start()` it instead.

        The short way for most writes, which engines need not have. `op` is a SEND that is not in
        flight, of a descriptor that is owned; it gets the error, if there is one.
        """
        return -1

    def cancel(self, op: Op) -> bool:
        """Take a request back; True when the op is free at once."""
        raise NotImplementedError

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds (negative: for ever); True if there is to deliver."""
        raise NotImplementedError

    def deliver(self) -> None:
        """Complete what the last `wait()` has collected."""
        raise NotImplementedError

    def wake(self) -> None:
        """Make `wait()` return; from any thread, or a signal handler."""
        raise NotImplementedError

    def signal_fd(self) -> int:
        """Return a descriptor for `signal.set_wakeup_fd()`: a byte written to it wakes."""
        raise NotImplementedError

    def adopt(self, fd: int, owner: object) -> None:
        """Note that `owner` (a transport) owns this descriptor until `forget()`."""
        raise NotImplementedError

    def owner(self, fd: int) -> Any:
        """Return who owns this descriptor, or None."""
        raise NotImplementedError

    def name_of(self, sock: Any) -> Any:
        """Return the address that an open socket is bound to, None if it cannot be told."""
        try:
            return sock.getsockname()
        except OSError:
            return None

    def forget(self, fd: int) -> None:
        """Drop all that is known of a descriptor, before it is closed."""
        raise NotImplementedError

    def after_fork(self) -> None:
        """Make this engine whole again in a forked child, without touching the parent's."""
        raise NotImplementedError

    def close(self) -> None:
        """Release what the operating system lent."""
        raise NotImplementedError

    def stats(self) -> dict[str, int]:
        """Return counters since the start: waits, events, changes, wakes."""
        raise NotImplementedError
