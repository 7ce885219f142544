"""Every test, wherever it lies: warnings are errors and nothing may be left behind.

A test fails that leaves descriptors, threads, child processes or open loops, that makes asyncio
log a warning or an error it did not ask for, or whose garbage complains when collected (unclosed
transports, never awaited coroutines, destroyed pending tasks).

A test that *means* to provoke a log takes the fixture ``asyncio_log`` and clears what it checked.
``@pytest.mark.leaks_allowed`` turns the counting off for a test that cannot be judged.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key

from tests.support import leaks, limits

_LOGGERS = ("asyncio", "evenloop")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "leaks_allowed: do not count what this test leaves behind")
    filters = config.getini("filterwarnings")
    if "error" not in filters:
        filters.insert(0, "error")


if limits.NEEDED:
    # In the place of pytest-timeout's own, which would take the marked method, an alarm.

    @pytest.hookimpl(tryfirst=True)
    def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool:
        stderr = item.config.stash[fault_handler_stderr_fd_key]
        item.stash[_LIMIT] = limits.Limit(item.nodeid, settings.timeout, stderr)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_timeout_cancel_timer(item: pytest.Item) -> bool:
        limit = item.stash.get(_LIMIT, None)
        if limit is not None:
            limit.cancel()
            del item.stash[_LIMIT]
        return True


_LIMIT = pytest.StashKey[limits.Limit]()


class LogRecords(logging.Handler):
    """The warnings and errors that the loops logged during one test."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        """The messages with the text of their exceptions."""
        format_one = logging.Formatter("%(message)s").format
        return [format_one(record) for record in self.records]

    def clear(self) -> None:
        self.records.clear()

    def expect(self, text: str, count: int = 1) -> None:
        """Exactly `count` messages hold `text`; they are taken off the list."""
        matching = [
            record
            for record, message in zip(self.records, self.messages, strict=True)
            if text in message
        ]
        assert len(matching) == count, f"{text!r} not logged {count}x: {self.messages}"
        self.records = [record for record in self.records if record not in matching]


@pytest.fixture(scope="session", autouse=True)
def _collector_sees_only_the_test() -> Iterator[None]:
    """pytest's own objects are a hundred times a test's: out of the collector's way."""
    leaks.collect()
    yield


@pytest.fixture(autouse=True)
def asyncio_log() -> Iterator[LogRecords]:
    """Collect what the loops log; whatever the test did not clear fails it."""
    handler = LogRecords()
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(handler)
    try:
        yield handler
        leaks.collect()
    finally:
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(handler)
    assert not handler.records, "unexpected logs:\n" + "\n".join(handler.messages)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets that do not block."""
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        yield left, right


@pytest.fixture(autouse=True)
def _nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compare descriptors, threads and children with those before the test."""
    if request.node.get_closest_marker("leaks_allowed"):
        yield
        return
    before = leaks.Snapshot.take()
    yield
    found = before.leaks()
    if found:
        leaks.collect()
        found = before.leaks()
    assert not found, "left behind: " + "; ".join(found)
