"""High-resolution waits, against a record of what NT documents: Wine has no such packets.

The record is of CreateWaitableTimerExW, SetWaitableTimer and the three calls for wait completion
packets (learn.microsoft.com, "NtCreateWaitCompletionPacket" and its neighbours):

- A packet is associated with one object at a time; while it is, or while what it has posted lies
  in the port, to associate it again fails.
- When the object is signalled, the port gets a completion with the contexts that were given.
- To cancel undoes the association, and takes back what was posted but not yet fetched, if asked.
- A timer with a negative time is due so many units of 100 ns from now; to set it anew resets it.
"""

from __future__ import annotations

import asyncio
import ctypes
import sys
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

import evenloop
from evenloop.engines import choose

from tests.support.loops import run

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="Windows")

_STATUS_SUCCESS = 0
_STATUS_CANCELLED = 0xC0000120 - (1 << 32)
_STATUS_INVALID_PARAMETER = 0xC000000D - (1 << 32)
TIMER, PACKET = 0x4444, 0x8888


def _by_ctypes(function: Any) -> Any:
    """A function that takes the attributes which ctypes' functions have."""
    return lambda *arguments: function(*arguments)


class RecordedSystem:
    """The calls, with the documented answers; posts to the real port when a timer is due."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.due: list[int] = []
        self.posted = 0
        self.open: set[int] = set()
        self.associated = False
        self.version = 10
        self.association_fails = False
        self.error = 0
        self._waits: list[threading.Timer] = []
        self._port = 0
        for name in (
            "CreateWaitableTimerExW",
            "SetWaitableTimer",
            "CloseHandle",
            "NtCreateWaitCompletionPacket",
            "NtAssociateWaitCompletionPacket",
            "NtCancelWaitCompletionPacket",
        ):
            setattr(self, name, _by_ctypes(getattr(self, f"_{name}")))

    def end(self) -> None:
        for wait in self._waits:
            wait.cancel()
            wait.join()

    def _CreateWaitableTimerExW(  # noqa: N802
        self, attributes: Any, name: Any, flags: int, access: int
    ) -> int | None:
        # CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, TIMER_ALL_ACCESS
        assert (attributes, name, flags, access) == (None, None, 2, 0x1F0003)
        if self.version < 10:
            ctypes.set_last_error(87)  # type: ignore[attr-defined,unused-ignore]
            return None
        self.open.add(TIMER)
        return TIMER

    def _SetWaitableTimer(  # noqa: N802
        self, timer: int, due: Any, period: int, routine: Any, argument: Any, resume: Any
    ) -> int:
        assert (timer, period, routine, argument, resume) == (TIMER, 0, None, None, False)
        self.calls.append("set")
        self.due.append(due._obj.value)
        return 1

    def _NtCreateWaitCompletionPacket(  # noqa: N802
        self, handle: Any, access: int, attributes: Any
    ) -> int:
        # GENERIC_ALL
        assert (access, attributes) == (0x10000000, None)
        if self.error:
            return self.error
        handle._obj.value = PACKET
        self.open.add(PACKET)
        return _STATUS_SUCCESS

    def _NtAssociateWaitCompletionPacket(  # noqa: N802
        self, packet: int, port: int, target: int, *rest: Any
    ) -> int:
        # Key and context (what the port is to give), status and information, already signalled.
        assert (packet, target, rest) == (PACKET, TIMER, (None, None, 0, 0, None))
        self.calls.append("associate")
        if self.associated or self.association_fails:
            return _STATUS_INVALID_PARAMETER
        assert self.due[-1] < 0
        self.associated = True
        self._port = port
        wait = threading.Timer(-self.due[-1] / 1e7, self._signalled)
        self._waits.append(wait)
        wait.start()
        return _STATUS_SUCCESS

    def _signalled(self) -> None:
        windows: Any = ctypes
        self.posted += 1
        self.associated = False
        kernel32 = windows.WinDLL("kernel32")
        kernel32.PostQueuedCompletionStatus(ctypes.c_void_p(self._port), 0, None, None)

    def _NtCancelWaitCompletionPacket(self, packet: int, remove: Any) -> int:  # noqa: N802
        assert (packet, remove) == (PACKET, True)
        self.calls.append("cancel")
        if not self.associated:
            return _STATUS_CANCELLED
        self.associated = False
        self._waits[-1].cancel()
        return _STATUS_SUCCESS

    def _CloseHandle(self, handle: int) -> int:  # noqa: N802
        self.open.remove(handle)
        return 1


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordedSystem]:
    from evenloop.engines import alarm

    recorded = RecordedSystem()
    monkeypatch.setattr(alarm, "_kernel32", recorded)
    monkeypatch.setattr(alarm, "_ntdll", recorded)
    yield recorded
    recorded.end()
    assert not recorded.open


def test_an_alarm_is_set_and_set_again(system: RecordedSystem) -> None:
    """Rounded up to the next 100 ns, so never early; what was set before is taken back first."""
    from evenloop.engines.alarm import new_alarm

    alarm = new_alarm(77)
    assert alarm is not None
    assert alarm.set(3600.0) is True
    assert alarm.set(1800.00000005) is True
    assert system.due == [-36_000_000_001, -18_000_000_001]
    assert system.calls == ["cancel", "set", "associate"] * 2
    alarm.close()
    assert system.calls[-1] == "cancel"


@pytest.mark.parametrize("name", ["iocp", "afd"])
def test_waits_end_by_the_alarm(system: RecordedSystem, name: str) -> None:
    """An engine's wait ends by what the timer posts, and not before its time."""
    engine = choose(name)
    began = engine.now()
    assert engine.wait(0.05) is False
    assert engine.now() - began >= 0.05
    assert system.posted == 1
    # At once, or until something comes: no timer is needed.
    engine.wait(0.0)
    engine.wake()
    engine.wait(-1.0)
    assert len(system.due) == 1
    engine.close()


@pytest.mark.parametrize("name", ["iocp", "afd"])
def test_timers_of_a_loop(system: RecordedSystem, name: str) -> None:
    """One that is set serves a later deadline; for an earlier one it is set anew."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for delay in (0.03, 0.0007, 0.011):
            due = loop.time() + delay
            await asyncio.sleep(delay)
            assert loop.time() >= due
        later = loop.call_later(3600, print)
        await asyncio.sleep(0.01)
        later.cancel()

    run(partial(evenloop.new_event_loop, name), main())
    assert system.posted >= 1
    assert all(due < 0 for due in system.due)


@pytest.mark.parametrize("name", ["iocp", "afd"])
def test_a_packet_that_is_just_being_queued(system: RecordedSystem, name: str) -> None:
    """It cannot be associated again then: the wait is in whole milliseconds, and not early."""
    system.association_fails = True
    engine = choose(name)
    for timeout in (0.004, 0.0101):
        began = engine.now()
        assert engine.wait(timeout) is False
        assert engine.now() - began >= timeout
    assert system.calls == ["cancel", "set", "associate"] * 2
    assert system.posted == 0
    engine.close()


def test_a_windows_without(system: RecordedSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 10 1803 there is no such timer, before 8 no such packet: nothing stays open."""
    from evenloop.engines import alarm

    system.version = 7
    assert alarm.new_alarm(77) is None
    system.version = 10
    system.error = _STATUS_INVALID_PARAMETER
    assert alarm.new_alarm(77) is None
    assert not system.open
    monkeypatch.setattr(alarm, "_ntdll", object())
    assert alarm.new_alarm(77) is None
    assert not system.open
