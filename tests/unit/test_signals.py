"""Signal handlers and the wake-up descriptor."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import evenloop

from tests.support import signals
from tests.support.loops import run

SIGNAL = signals.ONE


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """A test leaves every signal and the wake-up descriptor as they were."""
    handlers = {sig: signal.getsignal(sig) for sig in (SIGNAL, signal.SIGINT, signal.SIGTERM)}
    yield
    assert {sig: signal.getsignal(sig) for sig in handlers} == handlers
    fd = signal.set_wakeup_fd(-1)
    assert fd == -1


@pytest.fixture
def loop() -> Iterator[Any]:
    fresh = evenloop.new_event_loop()
    yield fresh
    fresh.close()


def test_delivered_with_arguments() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        came: asyncio.Future[tuple[int, str]] = loop.create_future()
        loop.add_signal_handler(SIGNAL, lambda *args: came.set_result(args), 1, "two")
        signals.send(SIGNAL)
        assert await came == (1, "two")
        assert loop.remove_signal_handler(SIGNAL) is True
        assert loop.remove_signal_handler(SIGNAL) is False
        assert signal.getsignal(SIGNAL) is signal.SIG_DFL

    run(evenloop.new_event_loop, main())


def test_ends_a_long_wait_at_once(loop: Any) -> None:
    """Also when the kernel gives the signal to another thread."""
    loop.add_signal_handler(SIGNAL, loop.stop)
    main = threading.get_ident()

    def send() -> None:
        time.sleep(0.1)
        signals.send(SIGNAL)  # to this thread, where the OS makes a difference

    targets: list[Any] = [send]
    if hasattr(signal, "pthread_kill"):
        targets.append(lambda: (time.sleep(0.1), signal.pthread_kill(main, SIGNAL)))
    for target in targets:
        thread = threading.Thread(target=target)
        thread.start()
        started = time.monotonic()
        timer = loop.call_later(10, loop.stop)
        loop.run_forever()
        timer.cancel()
        assert time.monotonic() - started < 2
        thread.join()


def test_sent_before_the_loop_runs(loop: Any) -> None:
    calls: list[int] = []
    loop.add_signal_handler(SIGNAL, calls.append, 1)
    signals.send(SIGNAL)
    assert not calls
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert calls == [1]


def test_sent_between_two_runs(loop: Any) -> None:
    calls: list[int] = []
    loop.add_signal_handler(SIGNAL, calls.append, 1)
    loop.call_soon(loop.stop)
    loop.run_forever()
    signals.send(SIGNAL)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert calls == [1]


def test_remove_on_a_stopped_loop(loop: Any) -> None:
    loop.add_signal_handler(SIGNAL, print)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert loop.remove_signal_handler(SIGNAL) is True
    assert signal.getsignal(SIGNAL) is signal.SIG_DFL
    assert loop.remove_signal_handler(SIGNAL) is False


def test_interrupt_gets_its_own_default_back(loop: Any) -> None:
    loop.add_signal_handler(signal.SIGINT, loop.stop)
    loop.call_soon(signals.send, signal.SIGINT)
    loop.run_forever()
    assert loop.remove_signal_handler(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_replaced(loop: Any) -> None:
    calls: list[int] = []
    loop.add_signal_handler(SIGNAL, calls.append, 1)
    loop.add_signal_handler(SIGNAL, calls.append, 2)
    loop.call_soon(signals.send, SIGNAL)
    loop.call_later(0.05, loop.stop)
    loop.run_forever()
    assert calls == [2]


def test_closing_removes_all() -> None:
    loop = evenloop.new_event_loop()
    loop.add_signal_handler(SIGNAL, print)
    loop.add_signal_handler(signal.SIGTERM, print)
    loop.close()
    assert signal.getsignal(SIGNAL) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_many_signals_in_order(loop: Any) -> None:
    calls: list[int] = []
    loop.add_signal_handler(SIGNAL, calls.append, 1)
    loop.add_signal_handler(signal.SIGTERM, calls.append, 2)

    def send() -> None:
        for _ in range(50):
            signal.raise_signal(SIGNAL)
            signal.raise_signal(signal.SIGTERM)
        loop.call_later(0.05, loop.stop)

    loop.call_soon(send)
    loop.run_forever()
    assert calls == [1, 2] * 50


def test_error_in_the_callback_is_reported(loop: Any, asyncio_log: Any) -> None:
    loop.add_signal_handler(SIGNAL, lambda: 1 / 0)
    loop.call_soon(signals.send, SIGNAL)
    loop.call_later(0.05, loop.stop)
    loop.run_forever()
    asyncio_log.expect("ZeroDivisionError")


def test_refusals(loop: Any) -> None:
    async def coroutine() -> None: ...

    with pytest.raises(TypeError, match="coroutines"):
        loop.add_signal_handler(SIGNAL, coroutine)
    made = coroutine()
    with pytest.raises(TypeError, match="coroutines"):
        loop.add_signal_handler(SIGNAL, made)
    made.close()
    with pytest.raises(TypeError, match="must be an int"):
        loop.add_signal_handler("SIGUSR1", print)
    for number in (0, -1, signal.NSIG + 1):
        with pytest.raises(ValueError, match="invalid signal"):
            loop.add_signal_handler(number, print)
        with pytest.raises(ValueError, match="invalid signal"):
            loop.remove_signal_handler(number)
    with pytest.raises(RuntimeError, match="cannot be caught"):
        loop.add_signal_handler(signal.SIGKILL, print)
    assert loop.remove_signal_handler(signal.SIGKILL) is False


def test_closed_loop() -> None:
    loop = evenloop.new_event_loop()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.add_signal_handler(SIGNAL, print)
    assert loop.remove_signal_handler(SIGNAL) is False


def test_other_threads_may_not() -> None:
    errors: list[BaseException] = []

    async def main() -> None:
        asyncio.get_running_loop().add_signal_handler(SIGNAL, print)

    def thread() -> None:
        try:
            run(evenloop.new_event_loop, main())
        except RuntimeError as error:
            errors.append(error)

    worker = threading.Thread(target=thread)
    worker.start()
    worker.join()
    assert len(errors) == 1


def test_wakeup_descriptor_is_put_back(loop: Any) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    signal.set_wakeup_fd(ours.fileno())
    seen: list[int] = []

    def look() -> None:
        fd = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(fd)
        seen.append(fd)
        loop.stop()

    loop.call_soon(look)
    loop.run_forever()
    assert signal.set_wakeup_fd(-1) == ours.fileno()
    assert seen[0] not in (-1, ours.fileno())
    ours.close()
    theirs.close()


def test_wakeup_descriptor_closed_meanwhile(loop: Any) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    signal.set_wakeup_fd(ours.fileno())
    loop.call_soon(ours.close)
    loop.call_soon(loop.stop)
    loop.run_forever()
    theirs.close()


def test_wakeup_descriptor_of_somebody_who_came_later(loop: Any) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    loop.call_soon(lambda: signal.set_wakeup_fd(ours.fileno()))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert signal.set_wakeup_fd(-1) == ours.fileno()
    ours.close()
    theirs.close()


def test_keyboard_interrupt_in_a_blocked_wait() -> None:
    def interrupt() -> None:
        time.sleep(0.1)
        signals.send(signal.SIGINT)

    threading.Thread(target=interrupt).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        evenloop.run(asyncio.sleep(10))
    assert time.monotonic() - started < 2
