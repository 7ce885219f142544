"""Running functions in threads, the loop's methods.

The future of `run_in_executor()` is chained to the executor's by hand, for half of what
`asyncio.wrap_future()` costs: the result comes over with one thread-safe call, several of which
share one wake-up, and a cancellation goes back at the next turn.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evenloop.scheduler import Scheduler

if TYPE_CHECKING:
    from evenloop.engines.engine import Engine

__all__ = ["Executor"]


class Executor(Scheduler):
    """The loop's methods for executors."""

    if TYPE_CHECKING:

        def create_future(self) -> asyncio.Future[Any]:
            """See `EventLoop`."""
            ...

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._default_executor: concurrent.futures.Executor | None = None
        self._executor_shut_down = False

    def run_in_executor(
        self, executor: concurrent.futures.Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run `func(*args)` in an executor, None for the default one: a pool of threads.

        Returns an `asyncio.Future`. Raises TypeError if `func` cannot be called (in debug mode:
        or is a coroutine function) and RuntimeError if the loop is closed or the default
        executor was shut down.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.run_in_executor
        """
        if self._closed or self._debug or not callable(func):
            self._check_call("run_in_executor", func, any_thread=True)
        if executor is None:
            executor = self._default_executor
            if executor is None or self._executor_shut_down:
                executor = self._make_default_executor()
        work = executor.submit(func, *args)
        if not isinstance(work, concurrent.futures.Future):
            # An executor that is not the standard library's; asyncio says what it may return.
            return asyncio.wrap_future(work, loop=self)
        future = self.create_future()
        link = _Link(self, work, future)
        future.add_done_callback(link.future_done)
        work.add_done_callback(link.work_done)
        return future

    def _make_default_executor(self) -> concurrent.futures.Executor:
        if self._executor_shut_down:
            raise RuntimeError("Executor shutdown has been called")
        executor = concurrent.futures.ThreadPoolExecutor(thread_name_prefix="asyncio")
        self._default_executor = executor
        return executor

    def set_default_executor(self, executor: concurrent.futures.ThreadPoolExecutor) -> None:
        """Set the executor of `run_in_executor(None, ...)`.

        Raises TypeError if it is no `ThreadPoolExecutor`.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.set_default_executor
        """
        if not isinstance(executor, concurrent.futures.ThreadPoolExecutor):
            raise TypeError(f"executor must be ThreadPoolExecutor instance, got {executor!r}")
        self._default_executor = executor

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the default executor's threads to end; no more work is taken.

        After `timeout` seconds (None: never) it gives up with a RuntimeWarning, and the threads
        are left to themselves.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.shutdown_default_executor
        """
        self._executor_shut_down = True
        executor = self._default_executor
        if executor is None:
            return
        future = self.create_future()
        thread = threading.Thread(
            target=self._shut_down_executor, args=(executor, future), daemon=True
        )
        thread.start()
        try:
            async with asyncio.timeout(timeout):
                await future
        except TimeoutError:
            warnings.warn(
                f"The executor did not finishing joining its threads within {timeout} seconds.",
                RuntimeWarning,
                stacklevel=2,
            )
            executor.shutdown(wait=False)
        else:
            thread.join()

    def _shut_down_executor(
        self, executor: concurrent.futures.Executor, future: asyncio.Future[None]
    ) -> None:
        """Shut an executor down, in a thread."""
        error: Exception | None = None
        try:
            executor.shutdown(wait=True)
        except Exception as exc:
            error = exc
        try:
            self.call_soon_threadsafe(_settle, future, None, error)
        except RuntimeError:
            # The loop was closed meanwhile: nobody waits any more.
            return

    def _close(self) -> None:
        self._executor_shut_down = True
        executor = self._default_executor
        self._default_executor = None
        if executor is not None:
            executor.shutdown(wait=False)
        super()._close()


class _Link:
    """One piece of work and the future that waits for it."""

    __slots__ = ("future", "loop", "work")

    def __init__(
        self,
        loop: Scheduler,
        work: concurrent.futures.Future[Any],
        future: asyncio.Future[Any],
    ) -> None:
        self.loop = loop
        self.work: concurrent.futures.Future[Any] | None = work
        self.future = future

    def future_done(self, future: asyncio.Future[Any]) -> None:
        """If it was cancelled, so is the work."""
        work = self.work
        # The work remembers this link for good: without the way back its result is freed with
        # the future's, and not by the collector some time.
        self.work = None
        if work is not None and future.cancelled():
            work.cancel()

    def work_done(self, work: concurrent.futures.Future[Any]) -> None:
        """Hand the outcome to the loop; in whatever thread the work was done."""
        if self.loop.is_closed() or self.future.cancelled():
            # Nobody waits any more.
            return
        try:
            self.loop.call_soon_threadsafe(self.deliver, work)
        except RuntimeError:
            # The loop was closed this moment.
            return

    def deliver(self, work: concurrent.futures.Future[Any]) -> None:
        """Copy the outcome; on the loop's thread."""
        if work.cancelled():
            self.future.cancel()
            return
        error = work.exception()
        _settle(self.future, work.result() if error is None else None, error)


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    """Set a result or an exception, unless the future is done (cancelled)."""
    if future.done():
        return
    if error is None:
        future.set_result(result)
        return
    if isinstance(error, concurrent.futures.CancelledError):
        error = _converted(error, asyncio.CancelledError)
    elif isinstance(error, concurrent.futures.InvalidStateError):
        error = _converted(error, asyncio.InvalidStateError)
    try:
        future.set_exception(error)
    except TypeError:
        # StopIteration cannot leave a coroutine; without this the future would never be done.
        stopped = RuntimeError("the function raised StopIteration, which no future may raise")
        stopped.__cause__ = error
        future.set_exception(stopped)


def _converted(error: BaseException, to: type[BaseException]) -> BaseException:
    if type(error) in (
        concurrent.futures.CancelledError,
        concurrent.futures.InvalidStateError,
    ):
        return to(*error.args).with_traceback(error.__traceback__)
    return error
