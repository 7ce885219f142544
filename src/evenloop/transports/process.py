"""The process transport: a child, the pipes to it, and the protocol that is told of both.

The order in which the protocol is called: `connection_made()` once every pipe is connected;
`pipe_data_received()`, `pipe_connection_lost()` and `process_exited()` as it happens; last,
when the child has ended and every pipe is closed, `connection_lost()`.

`wait()` ends with the child. But pipes that have only their end to deliver go first, so that
after it there is nothing left to close. A pipe that another process holds open, or that nobody
reads, is not waited for.

Documented at https://docs.python.org/3/library/asyncio-protocol.html#subprocess-transports
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import signal
import subprocess
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evenloop import children
from evenloop.engines.descriptors import hung_up
from evenloop.scheduler import logger

__all__ = ["PipeProtocol", "ProcessTransport"]

if TYPE_CHECKING:
    from evenloop.subprocesses import Processes


class PipeProtocol(asyncio.Protocol):
    """What connects one pipe to its process."""

    def __init__(self, process: ProcessTransport, fd: int) -> None:
        self.process: Any = process
        self.fd = fd
        self.pipe: Any = None
        self.disconnected: bool = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the pipe."""
        self.pipe = transport

    def data_received(self, data: bytes) -> None:
        """Tell the process."""
        self.process._pipe_data_received(self, data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the process."""
        self.disconnected = True
        process, self.process = self.process, None
        process._pipe_connection_lost(self.fd, exc)

    def pause_writing(self) -> None:
        """Tell the user's protocol."""
        self.process._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Tell the user's protocol."""
        self.process._protocol.resume_writing()

    def ends_soon(self) -> bool:
        """Whether all that will still come of this pipe is its end."""
        pipe = self.pipe
        if hasattr(pipe, "is_reading") and not (pipe.is_reading() or pipe.is_closing()):
            return False
        return hung_up(pipe.get_extra_info("pipe"))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} fd={self.fd} pipe={self.pipe!r}>"


class ProcessTransport(asyncio.SubprocessTransport):
    """An `asyncio.SubprocessTransport`; made by `subprocess_exec()` and `subprocess_shell()`."""

    def __init__(
        self,
        loop: Processes,
        protocol: asyncio.SubprocessProtocol,
        popen: subprocess.Popen[bytes],
    ) -> None:
        """Take over a child that was just started; `connect()` is to follow."""
        super().__init__({"subprocess": popen})
        self._closed = False
        self._loop = loop
        self._protocol: Any = protocol
        self._proc: subprocess.Popen[bytes] | None = popen
        self._pid = popen.pid
        self._returncode: int | None = None
        self._finished = False
        self._pipes: dict[int, PipeProtocol | None] = {
            fd: None
            for fd, file in enumerate((popen.stdin, popen.stdout, popen.stderr))
            if file is not None
        }
        self._waiters: list[asyncio.Future[int]] = []
        # What happened before connection_made() could be called; None afterwards.
        self._early: list[tuple[Callable[..., Any], tuple[Any, ...]]] | None = []
        self._context = contextvars.copy_context()
        try:
            self._child = children.watch(loop, popen, self._exited)
        except BaseException:
            self._closed = True
            popen.kill()
            popen.wait()
            for file in (popen.stdin, popen.stdout, popen.stderr):
                if file is not None:
                    file.close()
            raise
        loop._children.add(self)

    async def connect(self) -> None:
        """Connect the pipes, then introduce the protocol; if that fails the child is killed."""
        loop = self._loop
        popen = self._proc
        assert popen is not None
        files = (popen.stdin, popen.stdout, popen.stderr)
        try:
            for fd in self._pipes:
                connect = loop.connect_read_pipe if fd else loop.connect_write_pipe
                factory = functools.partial(PipeProtocol, self, fd)
                _, protocol = await connect(factory, files[fd])
                self._pipes[fd] = protocol
            connected = loop.create_future()
            loop.call_soon(self._begin, connected)
            await connected
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            for fd, protocol in list(self._pipes.items()):
                if protocol is None:
                    # The one that was about to be connected closes its file itself, later.
                    del self._pipes[fd]
                    loop.call_soon(files[fd].close)  # type: ignore[union-attr]
            self.close()
            await self._wait()
            raise

    def _begin(self, connected: asyncio.Future[None]) -> None:
        early = self._early
        self._early = None
        self._tell(self._protocol.connection_made, self)
        for callback, args in early or ():
            self._tell(callback, *args)
        if not connected.cancelled():
            connected.set_result(None)
        self._try_finish()

    # ---- what the protocol is told ---------------------------------------------------------

    def _tell(self, callback: Callable[..., Any], *args: Any) -> None:
        """Call the protocol, now or after connection_made(); what it raises is reported."""
        if self._early is not None:
            self._early.append((callback, args))
            return
        try:
            self._context.run(callback, *args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            name = getattr(callback, "__name__", callback)
            self._loop.call_exception_handler(
                {
                    "message": f"Exception in callback protocol.{name}()",
                    "exception": exc,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )

    def _pipe_data_received(self, pipe: PipeProtocol, data: bytes) -> None:
        self._tell(self._protocol.pipe_data_received, pipe.fd, data)
        if self._returncode is not None and self._waiters and not pipe.ends_soon():
            # The protocol has just paused it: its end may never come.
            self._wake_waiters()

    def _pipe_connection_lost(self, fd: int, exc: BaseException | None) -> None:
        self._tell(self._protocol.pipe_connection_lost, fd, exc)
        self._try_finish()

    def _exited(self, returncode: int) -> None:
        """Take note of the end of the child."""
        loop = self._loop
        loop._children.discard(self)
        self._returncode = returncode
        if loop.get_debug():
            logger.info("%r exited with return code %r", self, returncode)
        self._tell(self._protocol.process_exited)
        self._try_finish()
        if self._waiters and not self._ends_soon():
            self._wake_waiters()

    def _ends_soon(self) -> bool:
        """Whether connection_lost() is on its way: every pipe has only its end to deliver."""
        return not self._finished and all(
            pipe is not None and (pipe.disconnected or pipe.ends_soon())
            for pipe in self._pipes.values()
        )

    def _try_finish(self) -> None:
        """Say good-bye once the child has ended and all its pipes are closed."""
        if self._returncode is None or self._finished:
            return
        if self._early is not None and not self._closed:
            return
        if all(pipe is not None and pipe.disconnected for pipe in self._pipes.values()):
            self._finished = True
            self._tell(self._protocol.connection_lost, None)
            # Nothing is left to be closed.
            self._closed = True
            self._wake_waiters()
            self._proc = None
            self._protocol = None

    def _wake_waiters(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(self._returncode)  # type: ignore[arg-type]
        self._waiters.clear()

    async def _wait(self) -> int:
        """Wait for the end of the child and return its exit status."""
        if self._returncode is not None and not self._ends_soon():
            return self._returncode
        waiter: asyncio.Future[int] = self._loop.create_future()
        self._waiters.append(waiter)
        return await waiter

    # ---- what the user asks for ------------------------------------------------------------

    def get_pid(self) -> int:
        """Return the process id of the child.

        https://docs.python.org/3/library/asyncio-protocol.html#asyncio.SubprocessTransport.get_pid
        """
        return self._pid

    def get_returncode(self) -> int | None:
        """Return the exit status, -N for a child killed by signal N, None while it runs.

        https://docs.python.org/3/library/asyncio-protocol.html#asyncio.SubprocessTransport.get_returncode
        """
        return self._returncode

    def get_pipe_transport(self, fd: int) -> Any:
        """Return the transport of the pipe to stdin (0), stdout (1) or stderr (2), or None.

        https://docs.python.org/3/library/asyncio-protocol.html#asyncio.SubprocessTransport.get_pipe_transport
        """
        pipe = self._pipes.get(fd)
        return None if pipe is None else pipe.pipe

    def send_signal(self, signal: int) -> None:
        """Send the child a signal, a number of `signal`'s.

        Without effect on a child that has ended; raises ProcessLookupError after
        `connection_lost()`, and what the operating system says of a signal it does not have.

        https://docs.python.org/3/library/asyncio-protocol.html#asyncio.SubprocessTransport.send_signal
        """
        if self._finished:
            raise ProcessLookupError(f"process {self._pid} has ended")
        if self._returncode is None:
            self._child.send_signal(signal)

    def terminate(self) -> None:
        """Ask the child to end: SIGTERM; raises as `send_signal()` does.

        https://docs.python.org/3/library/asyncio-protocol.html#asyncio.SubprocessTransport.terminate
        """
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the child at once: SIGKILL; raises as `send_signal()` does.

        https://docs.python.org/3/library/asyncio-protocol.html#asyncio.SubprocessTransport.kill
        """
        self.send_signal(_KILL)

    def is_closing(self) -> bool:
        """Return True if the transport is closing or closed."""
        return self._closed

    def close(self) -> None:
        """Close the pipes and kill the child if it runs; `connection_lost()` follows.

        https://docs.python.org/3/library/asyncio-protocol.html#asyncio.SubprocessTransport.close
        """
        if self._closed:
            return
        self._closed = True
        loop_closed = self._loop.is_closed()
        if not loop_closed:
            for pipe in self._pipes.values():
                if pipe is not None:
                    pipe.pipe.close()
        if self._returncode is not None:
            return
        if self._loop.get_debug():
            logger.warning("Close running child process: kill %r", self)
        assert self._proc is not None
        if self._proc.poll() is not None:
            # It has ended and we were not told yet; the status is not lost.
            return
        try:
            self._proc.kill()
        except (ProcessLookupError, PermissionError):
            # It has ended this moment, or runs as somebody else.
            return
        if loop_closed:
            self._child.collect()

    def _abandon(self) -> None:
        """The loop closes: leave no zombie behind, if the child was killed."""
        self._child.abandon(self._closed)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Tell another protocol what happens from now on."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol that is told what happens."""
        return self._protocol  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        info = [type(self).__name__]
        if self._closed:
            info.append("closed")
        info.append(f"pid={self._pid}")
        info.append("running" if self._returncode is None else f"returncode={self._returncode}")
        for fd, name in enumerate(("stdin", "stdout", "stderr")):
            pipe = self._pipes.get(fd)
            if pipe is not None:
                info.append(f"{name}={pipe.pipe!r}")
        return f"<{' '.join(info)}>"

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if not self._closed:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            self.close()


# Windows has no such signal: there ending a process at once is what SIGTERM does.
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
