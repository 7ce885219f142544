"""The exception handler, and debug mode."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import threading
import time
from typing import Any

import pytest

from tests.conftest import LogRecords
from tests.support.loops import TrackedFactory, until

Loop = asyncio.AbstractEventLoop
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


async def test_set_and_get() -> None:
    loop = asyncio.get_running_loop()
    assert loop.get_exception_handler() is None

    def handler(loop: Loop, context: dict[str, Any]) -> None: ...

    assert loop.set_exception_handler(handler) is None
    assert loop.get_exception_handler() is handler
    loop.set_exception_handler(None)
    assert loop.get_exception_handler() is None


async def test_it_is_called_with_loop_and_context() -> None:
    loop = asyncio.get_running_loop()
    calls: list[tuple[Loop, dict[str, Any]]] = []
    loop.set_exception_handler(lambda *args: calls.append(args))
    context = {"message": "said", "anything": 1}
    loop.call_exception_handler(context)
    assert calls == [(loop, context)]


async def test_the_default_handler_logs(asyncio_log: LogRecords) -> None:
    loop = asyncio.get_running_loop()
    error = LookupError("the reason")
    loop.call_exception_handler({"message": "what happened", "exception": error, "extra": 42})
    (record,) = asyncio_log.records
    assert record.name == "asyncio"
    assert record.levelno == logging.ERROR
    assert "what happened" in record.getMessage()
    assert "extra: 42" in record.getMessage()
    assert record.exc_info
    assert record.exc_info[1] is error
    asyncio_log.clear()
    loop.default_exception_handler({"message": "directly"})
    asyncio_log.expect("directly")


async def test_the_default_message(asyncio_log: LogRecords) -> None:
    asyncio.get_running_loop().call_exception_handler({})
    asyncio_log.expect("Unhandled exception in event loop")


async def test_a_callback_that_raises_is_logged(asyncio_log: LogRecords) -> None:
    def fail() -> None:
        raise LookupError("logged")

    asyncio.get_running_loop().call_soon(fail)
    await asyncio.sleep(0)
    asyncio_log.expect("LookupError: logged")


async def test_a_handler_may_call_the_default(asyncio_log: LogRecords) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: loop.default_exception_handler(context))
    loop.call_exception_handler({"message": "passed on"})
    asyncio_log.expect("passed on")


async def test_a_handler_that_raises(asyncio_log: LogRecords) -> None:
    loop = asyncio.get_running_loop()

    def handler(loop: Loop, context: dict[str, Any]) -> None:
        raise LookupError("in the handler")

    loop.set_exception_handler(handler)
    loop.call_exception_handler({"message": "the first problem"})
    asyncio_log.expect("Unhandled error in exception handler")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_a_handler_that_ends_the_program(loop: Loop, kind: type[BaseException]) -> None:
    def handler(loop: Loop, context: dict[str, Any]) -> None:
        raise kind

    loop.set_exception_handler(handler)
    loop.call_soon(divmod, 1, 0)
    with pytest.raises(kind):
        loop.run_forever()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the context is the source's since 3.12")
async def test_the_handler_runs_in_the_context_of_the_source() -> None:
    loop = asyncio.get_running_loop()
    seen: list[str] = []
    loop.set_exception_handler(lambda *_: seen.append(VARIABLE.get()))
    context = contextvars.copy_context()
    context.run(VARIABLE.set, "of the callback")
    loop.call_soon(divmod, 1, 0, context=context)
    await asyncio.sleep(0)
    assert seen == ["of the callback"]


# ---------------------------------------------------------------- debug mode


async def test_get_and_set_debug() -> None:
    loop = asyncio.get_running_loop()
    assert loop.get_debug() is False
    loop.set_debug(True)
    assert loop.get_debug() is True
    loop.set_debug(False)
    assert loop.get_debug() is False


def test_the_environment_turns_debug_on(
    new_loop: TrackedFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    loop = new_loop()
    assert loop.get_debug() is True
    loop.close()


async def test_slow_callbacks_are_logged(asyncio_log: LogRecords) -> None:
    loop = asyncio.get_running_loop()
    loop.slow_callback_duration = 0.005

    def slow_one() -> None:
        time.sleep(0.01)

    loop.call_soon(slow_one)
    await asyncio.sleep(0.001)
    assert not asyncio_log.records
    loop.set_debug(True)
    loop.call_soon(slow_one)
    await asyncio.sleep(0.001)
    record = next(record for record in asyncio_log.records if "slow_one" in record.getMessage())
    assert record.levelno == logging.WARNING
    assert "took" in record.getMessage()
    asyncio_log.clear()
    loop.set_debug(False)


async def test_the_default_of_slow() -> None:
    assert asyncio.get_running_loop().slow_callback_duration == 0.1


def test_calls_from_the_wrong_thread(loop: Loop) -> None:
    loop.set_debug(True)
    loop.slow_callback_duration = 5
    errors: list[Exception] = []

    def in_thread() -> None:
        for call in (
            lambda: loop.call_soon(print),
            lambda: loop.call_later(1, print),
            lambda: loop.call_at(1, print),
        ):
            try:
                call()
            except RuntimeError as error:
                errors.append(error)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=in_thread)
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    assert len(errors) == 3
    assert all("on an event loop other than the current one" in str(error) for error in errors)


async def test_what_is_not_callable_is_refused() -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)

    async def coroutine_function() -> None: ...

    for bad in (5, "print", coroutine_function):
        for call in (
            lambda bad=bad: loop.call_soon(bad),
            lambda bad=bad: loop.call_soon_threadsafe(bad),
            lambda bad=bad: loop.call_later(1, bad),
            lambda bad=bad: loop.call_at(1, bad),
            lambda bad=bad: loop.run_in_executor(None, bad),
        ):
            with pytest.raises(TypeError):
                call()
    coroutine = coroutine_function()
    with pytest.raises(TypeError, match="coroutine"):
        loop.call_soon(coroutine)
    coroutine.close()


async def test_handles_remember_where_they_came_from() -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    handle = loop.call_later(60, print)
    assert "created at" in repr(handle)
    assert "test_exception_handler.py" in repr(handle)
    handle.cancel()
    soon = loop.call_soon(int)
    assert "created at" in repr(soon)


async def test_the_origin_of_a_failed_callback_is_logged(asyncio_log: LogRecords) -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 5
    loop.call_soon(divmod, 1, 0)
    await asyncio.sleep(0)
    (record,) = asyncio_log.records
    assert "Object created at" in record.getMessage()
    assert "test_exception_handler.py" in record.getMessage()
    asyncio_log.clear()


def test_coroutine_origins(loop: Loop) -> None:
    async def depth() -> int:
        return sys.get_coroutine_origin_tracking_depth()

    outside = sys.get_coroutine_origin_tracking_depth()
    assert loop.run_until_complete(depth()) == outside
    loop.set_debug(True)
    assert loop.run_until_complete(depth()) > outside
    assert sys.get_coroutine_origin_tracking_depth() == outside
    loop.set_debug(False)
    assert loop.run_until_complete(depth()) == outside


async def test_set_debug_while_running_reaches_the_coroutines() -> None:
    loop = asyncio.get_running_loop()
    outside = sys.get_coroutine_origin_tracking_depth()
    loop.set_debug(True)
    await until(lambda: sys.get_coroutine_origin_tracking_depth() > outside)
    loop.set_debug(False)
    await until(lambda: sys.get_coroutine_origin_tracking_depth() == outside)


async def test_everything_works_in_debug_mode() -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 5

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"line\n")
        assert await reader.read() == b"line\n"
        writer.close()
        await writer.wait_closed()
    assert await loop.run_in_executor(None, int) == 0
