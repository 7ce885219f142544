"""Learning of the end of a child process, and sending it signals that reach no other.

Five ways, chosen by what is there:

- An engine over kqueue (macOS, the BSDs) is told of the end by process id: no descriptor either.
- A pidfd (Linux 5.3) is readable once the child has ended. It is a request to the engine like
  any other: no thread, no SIGCHLD, and any number of loops in any threads.
- Elsewhere, and where a sandbox forbids pidfds, a thread per child waits for it. It only looks
  (`waitid` with WNOWAIT): the child is collected on the loop's thread.
- Without `waitid` that thread collects the child itself.
- On Windows the handle of a process is signalled when it ends, and the engine waits for that.
  An exit status stays with the handle, and nothing else can have the process id before it is
  closed, so nothing needs to be collected.

A process id may be given to another process once the child was collected. In the first three
ways that happens on the loop's thread only, where signals are sent too, so the id is the
child's until we know of its end; in the fourth there is a lock. If other code of this program
collects the child (`os.wait()`), its status is lost: it is reported as 255, with a warning, as
asyncio does.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evenloop.engines import engine as _engine
from evenloop.engines.engine import EXIT
from evenloop.scheduler import logger

if TYPE_CHECKING:
    from evenloop.scheduler import Scheduler

__all__ = ["Child", "watch"]

# What only some systems have is looked up without the type checker, which has but one in mind.
_os: Any = os
_signal: Any = signal

#: Whether to use pidfds; False once the kernel said that it has none for us.
use_pidfd: bool = hasattr(os, "pidfd_open")

#: The status that is reported for a child which other code has collected.
UNKNOWN_STATUS = 255

# How long a killed child may take to go, in seconds, when no loop waits for it any more.
_LAST_PATIENCE = 2.0

_FORBIDDEN = frozenset((errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EINVAL))


class Child:
    """A child process that is watched until its end."""

    def __init__(
        self, loop: Scheduler, popen: subprocess.Popen[bytes], ended: Callable[[int], None]
    ) -> None:
        self.loop = loop
        self.pid: int = popen.pid
        self._popen = popen
        self._ended = ended
        self._over = False

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the child is known to have ended."""
        if not self._over:
            os.kill(self.pid, number)

    def abandon(self, killed: bool) -> None:
        """The loop closes: wait no longer, but for the end of a child that was killed."""
        # Nobody keeps the transport alive for this: its collection is to kill the child.
        self._ended = _nobody

    def collect(self) -> None:
        """Wait for the end of a child that was killed, without a loop; a zombie is no good."""
        try:
            self._popen.wait(_LAST_PATIENCE)
        except (subprocess.TimeoutExpired, OSError):
            return
        self._over = True

    def _report(self, status: int | None) -> None:
        """Tell of the end; None where the status is lost."""
        if self._over:
            return
        self._over = True
        if status is None:
            # Popen.poll(), called by the user, may have it.
            status = self._popen.returncode
        if status is None:
            logger.warning(
                "Unknown child process pid %d, will report returncode %d",
                self.pid,
                UNKNOWN_STATUS,
            )
            status = UNKNOWN_STATUS
        elif self.loop.get_debug():
            logger.debug("process %s exited with returncode %s", self.pid, status)
        if self._popen.returncode is None:
            self._popen.returncode = status
        ended, self._ended = self._ended, _nobody
        ended(status)


class _Exit(_engine.Op):
    """The request to tell when a process ends."""

    def __init__(self, child: AwaitedChild, fd: int) -> None:
        _engine.Op.__init__(self, EXIT, fd)
        self.size = child.pid
        self.child = child

    def complete(self) -> None:
        """Hand on the outcome."""
        self.child._completed(self)

    def is_closing(self) -> bool:
        """Whether the descriptor is about to be closed; what owns one is asked this."""
        return False


class AwaitedChild(Child):
    """A child whose end the engine waits for."""

    def __init__(
        self, loop: Scheduler, popen: subprocess.Popen[bytes], ended: Callable[[int], None]
    ) -> None:
        """Watch; raises OSError where the engine cannot."""
        super().__init__(loop, popen, ended)
        # Lasts as long as the child is not collected, even when the loop is closed.
        self._fd: int = self._open()
        self._exit: _Exit | None = _Exit(self, self._fd)
        if self._fd >= 0:
            loop.engine.adopt(self._fd, self._exit)
        if loop.engine.start(self._exit):
            loop.call_soon(self._completed, self._exit)

    def _open(self) -> int:
        """Return what stands for the process."""
        raise NotImplementedError

    def _completed(self, op: _Exit) -> None:
        self._close()
        error = op.error
        if error is None:
            self._report(op.result)
        elif isinstance(error, ChildProcessError):
            self._report(None)
        else:
            # The engine cannot watch it: this is the thread's child from now on.
            other = ThreadChild(self.loop, self._popen, self._ended)
            self._delegate(other.send_signal, other.abandon, other.collect)

    def _delegate(self, *methods: Any) -> None:
        for method in methods:
            setattr(self, method.__name__, method)

    def _close(self) -> None:
        if self._exit is not None:
            self._exit = None
            self.loop.engine.forget(self._fd)

    def abandon(self, killed: bool) -> None:
        """Let go of the descriptor; the loop closes."""
        super().abandon(killed)
        self._close()
        if killed:
            self.collect()
        # From now on signals go by number: nobody but Popen collects the child.
        self._delegate(self._popen.send_signal)


class PidfdChild(AwaitedChild):
    """A child watched through a pidfd."""

    def _open(self) -> int:
        return _os.pidfd_open(self.pid)  # type: ignore[no-any-return]

    def _close(self) -> None:
        if self._exit is not None:
            super()._close()
            os.close(self._fd)

    def send_signal(self, number: int) -> None:
        """Send a signal; the kernel itself sees to it that nobody else gets it."""
        if self._over:
            return
        try:
            _signal.pidfd_send_signal(self._fd, number)
        except OSError as error:
            if error.errno == errno.ENOSYS:
                os.kill(self.pid, number)
            elif error.errno != errno.ESRCH:
                raise


class PidChild(AwaitedChild):
    """A child whose end the engine hears of by its process id."""

    def _open(self) -> int:
        return -1

    def _close(self) -> None:
        if self._exit is not None:
            self.loop.engine.cancel(self._exit)
            self._exit = None


class HandleChild(AwaitedChild):
    """A child watched through its handle, which is `Popen`'s: on Windows."""

    def _open(self) -> int:
        popen: Any = self._popen
        return int(popen._handle)

    def send_signal(self, number: int) -> None:
        """End the child (SIGTERM), or send CTRL_C_EVENT or CTRL_BREAK_EVENT to its group."""
        if not self._over:
            self._popen.send_signal(number)


class ThreadChild(Child):
    """A child that a thread waits for."""

    def __init__(
        self, loop: Scheduler, popen: subprocess.Popen[bytes], ended: Callable[[int], None]
    ) -> None:
        """Watch; raises RuntimeError where no thread can be started."""
        super().__init__(loop, popen, ended)
        self._lock = threading.Lock()
        # Where the thread has to collect the child itself.
        self._collected = False
        self._status: int | None = None
        self._abandoned = False
        self._thread = threading.Thread(
            target=self._wait, name=f"evenloop-waitpid-{self.pid}", daemon=True
        )
        self._thread.start()

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the child was collected."""
        with self._lock:
            if not self._over and not self._collected:
                os.kill(self.pid, number)

    def _wait(self) -> None:
        """Wait for the end, in the thread."""
        looked = False
        try:
            looked = _look_for_end(self.pid)
            if not looked:
                self._collect_by_waiting()
            self.loop.call_soon_threadsafe(self._completed)
        except RuntimeError:
            # The loop is closed.
            if looked:
                _poll(self.pid)
            if not self._abandoned:
                logger.warning("Loop %r that handles pid %r is closed", self.loop, self.pid)

    def _collect_by_waiting(self) -> None:
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:
            return
        with self._lock:
            self._status = os.waitstatus_to_exitcode(status)
            self._collected = True

    def _completed(self) -> None:
        self._thread.join()
        self._report(self._status if self._collected else _poll(self.pid))

    def abandon(self, killed: bool) -> None:
        """The thread goes on, as long as the child does."""
        super().abandon(killed)
        self._abandoned = True
        if killed:
            self.collect()
            if self._over:
                self._thread.join(_LAST_PATIENCE)


def _nobody(status: int) -> None:
    """Hear of an end that nobody waits for any more."""


def _look_for_end(pid: int) -> bool:
    """Wait for the end of a child without collecting it; False where that cannot be done."""
    if not hasattr(os, "waitid"):
        return False
    try:
        _os.waitid(_os.P_PID, pid, _os.WEXITED | _os.WNOWAIT)
    except ChildProcessError:
        # Collected by others; that will be found out in a moment.
        return True
    except OSError:
        return False
    return True


def _poll(pid: int) -> int | None:
    """Collect a child that has ended; None if it is gone."""
    try:
        found, status = os.waitpid(pid, _os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if found else None


def watch(loop: Scheduler, popen: subprocess.Popen[bytes], ended: Callable[[int], None]) -> Child:
    """Have `ended(status)` called on the loop's thread when the child has ended."""
    global use_pidfd
    if sys.platform == "win32":
        return HandleChild(loop, popen, ended)
    if loop.engine.exits_by_pid:
        try:
            return PidChild(loop, popen, ended)
        except OSError as error:
            logger.debug("the engine does not watch process %d (%s)", popen.pid, error)
            return ThreadChild(loop, popen, ended)
    if use_pidfd:
        try:
            return PidfdChild(loop, popen, ended)
        except OSError as error:
            # ESRCH: collected by others; EMFILE: no descriptor left. The thread copes.
            if error.errno in _FORBIDDEN:
                use_pidfd = False
                logger.debug("no pidfds here (%s): a thread waits for each child", error)
    return ThreadChild(loop, popen, ended)
