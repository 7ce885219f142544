"""add_signal_handler and remove_signal_handler."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from typing import Any

import pytest

from tests.support import signals
from tests.support.loops import TrackedFactory, turns, until

# Stock asyncio has none of this on Windows.
pytestmark = pytest.mark.evenloop_only if sys.platform == "win32" else []

Loop = asyncio.AbstractEventLoop


async def test_a_handler_is_called_with_its_arguments() -> None:
    loop = asyncio.get_running_loop()
    seen: list[tuple[Any, ...]] = []
    assert loop.add_signal_handler(signals.ONE, lambda *args: seen.append(args), 1, 2) is None
    signals.send()
    await until(lambda: seen)
    assert seen == [(1, 2)]
    assert loop.remove_signal_handler(signals.ONE) is True


async def test_it_may_use_the_loop() -> None:
    loop = asyncio.get_running_loop()
    arrived = loop.create_future()
    loop.add_signal_handler(signals.ONE, arrived.set_result, "signal")
    threading.Timer(0.01, signals.send).start()
    assert await arrived == "signal"
    loop.remove_signal_handler(signals.ONE)


async def test_remove_tells_whether_one_was_there() -> None:
    loop = asyncio.get_running_loop()
    assert loop.remove_signal_handler(signals.ONE) is False
    loop.add_signal_handler(signals.ONE, print)
    assert loop.remove_signal_handler(signals.ONE) is True
    assert loop.remove_signal_handler(signals.ONE) is False
    assert signal.getsignal(signals.ONE) is signal.SIG_DFL


async def test_sigint_is_python_s_again_after_removal() -> None:
    loop = asyncio.get_running_loop()
    seen: list[int] = []
    loop.add_signal_handler(signal.SIGINT, seen.append, 1)
    signals.send(signal.SIGINT)
    await until(lambda: seen)
    loop.remove_signal_handler(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


async def test_a_second_handler_replaces_the_first() -> None:
    loop = asyncio.get_running_loop()
    seen: list[str] = []
    loop.add_signal_handler(signals.ONE, seen.append, "first")
    loop.add_signal_handler(signals.ONE, seen.append, "second")
    signals.send()
    await until(lambda: seen)
    assert seen == ["second"]
    assert loop.remove_signal_handler(signals.ONE) is True


async def test_several_signals() -> None:
    loop = asyncio.get_running_loop()
    seen: list[int] = []
    numbers = {signals.ONE, signals.TWO, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGINT)}
    for number in numbers:
        loop.add_signal_handler(number, seen.append, number)
    for number in numbers:
        signals.send(number)
    await until(lambda: len(seen) == len(numbers))
    assert sorted(seen) == sorted(numbers)
    for number in numbers:
        assert loop.remove_signal_handler(number) is True


def test_a_signal_sent_before_the_loop_runs(loop: Loop) -> None:
    loop.add_signal_handler(signals.ONE, loop.stop)
    signals.send()
    loop.run_forever()
    assert loop.remove_signal_handler(signals.ONE) is True


def test_a_signal_between_two_runs(loop: Loop) -> None:
    seen: list[int] = []
    loop.add_signal_handler(signals.ONE, seen.append, 1)
    loop.run_until_complete(asyncio.sleep(0))
    signals.send()
    loop.run_until_complete(asyncio.sleep(0.005))
    assert seen == [1]
    loop.remove_signal_handler(signals.ONE)


def test_removal_on_a_loop_that_does_not_run(loop: Loop) -> None:
    loop.add_signal_handler(signals.ONE, print)
    assert loop.remove_signal_handler(signals.ONE) is True
    assert loop.remove_signal_handler(signals.ONE) is False


def test_close_removes_the_handlers(new_loop: TrackedFactory) -> None:
    loop = new_loop()
    loop.add_signal_handler(signals.ONE, print)
    assert signal.getsignal(signals.ONE) is not signal.SIG_DFL
    loop.close()
    assert signal.getsignal(signals.ONE) is signal.SIG_DFL
    assert signal.set_wakeup_fd(-1) == -1


def test_the_wakeup_descriptor_is_given_back(loop: Loop) -> None:
    loop.add_signal_handler(signals.ONE, print)
    loop.remove_signal_handler(signals.ONE)
    loop.run_until_complete(turns())
    assert signal.set_wakeup_fd(-1) == -1


async def test_a_raising_handler_is_reported() -> None:
    loop = asyncio.get_running_loop()
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    loop.add_signal_handler(signals.ONE, divmod, 1, 0)
    signals.send()
    await until(lambda: contexts)
    assert isinstance(contexts[0]["exception"], ZeroDivisionError)
    loop.remove_signal_handler(signals.ONE)


async def test_system_calls_are_restarted() -> None:
    """A handler of the loop's does not interrupt a thread's system call."""
    loop = asyncio.get_running_loop()
    seen: list[int] = []
    loop.add_signal_handler(signals.ONE, seen.append, 1)
    read, write = os.pipe()
    waiting = loop.run_in_executor(None, os.read, read, 1)
    signals.send()
    await until(lambda: seen)
    os.write(write, b"x")
    assert await waiting == b"x"
    loop.remove_signal_handler(signals.ONE)
    os.close(read)
    os.close(write)


def test_wrong_signals(loop: Loop) -> None:
    for method in (lambda sig: loop.add_signal_handler(sig, print), loop.remove_signal_handler):
        for bad in ("SIGUSR1", 1.5, None):
            with pytest.raises(TypeError, match="sig"):
                method(bad)
        for bad in (0, -1, signal.NSIG, 10_000):
            with pytest.raises(ValueError, match=str(bad)):
                method(bad)
    impossibles = [] if sys.platform == "win32" else [signal.SIGKILL, signal.SIGSTOP]
    for impossible in impossibles:
        with pytest.raises(RuntimeError, match=str(int(impossible))):
            loop.add_signal_handler(impossible, print)
    assert signal.set_wakeup_fd(-1) == -1


def test_coroutines_are_no_handlers(loop: Loop) -> None:
    async def handler() -> None: ...

    with pytest.raises(TypeError, match="coroutine"):
        loop.add_signal_handler(signals.ONE, handler)
    coroutine = handler()
    with pytest.raises(TypeError, match="coroutine"):
        loop.add_signal_handler(signals.ONE, coroutine)
    coroutine.close()


def test_only_in_the_main_thread(new_loop: TrackedFactory) -> None:
    errors: list[BaseException] = []

    def in_thread() -> None:
        loop = new_loop()
        try:
            loop.add_signal_handler(signals.ONE, print)
        except BaseException as error:
            errors.append(error)
        loop.close()

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert [type(error) for error in errors] == [RuntimeError]


async def test_many_signals_wake_the_loop_each_time() -> None:
    loop = asyncio.get_running_loop()
    seen: list[int] = []
    loop.add_signal_handler(signals.ONE, seen.append, 1)
    for number in range(50):
        signals.send()
        await until(lambda number=number: len(seen) == number + 1)
    loop.remove_signal_handler(signals.ONE)
