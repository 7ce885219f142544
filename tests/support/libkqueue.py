"""`select.kqueue` on Linux, over libkqueue, for the uncompiled kqueue engine and for selectors.

`install()` puts it into the `select` module, as a system with kqueue has it, when
EVENLOOP_TEST_LIBKQUEUE names the folder that `.ci/kqueue` made. libkqueue.c tells what is mended
of the library's answers.
"""

from __future__ import annotations

import ctypes
import errno
import math
import os
import sys
from collections.abc import Iterable
from typing import Any

VARIABLE = "EVENLOOP_TEST_LIBKQUEUE"

CONSTANTS = {
    "KQ_FILTER_READ": -1,
    "KQ_FILTER_WRITE": -2,
    "KQ_FILTER_AIO": -3,
    "KQ_FILTER_VNODE": -4,
    "KQ_FILTER_PROC": -5,
    "KQ_FILTER_SIGNAL": -6,
    "KQ_FILTER_TIMER": -7,
    "KQ_EV_ADD": 0x1,
    "KQ_EV_DELETE": 0x2,
    "KQ_EV_ENABLE": 0x4,
    "KQ_EV_DISABLE": 0x8,
    "KQ_EV_ONESHOT": 0x10,
    "KQ_EV_CLEAR": 0x20,
    "KQ_EV_SYSFLAGS": 0xF000,
    "KQ_EV_FLAG1": 0x2000,
    "KQ_EV_EOF": 0x8000,
    "KQ_EV_ERROR": 0x4000,
    "KQ_NOTE_LOWAT": 0x1,
    "KQ_NOTE_DELETE": 0x1,
    "KQ_NOTE_WRITE": 0x2,
    "KQ_NOTE_EXTEND": 0x4,
    "KQ_NOTE_ATTRIB": 0x8,
    "KQ_NOTE_LINK": 0x10,
    "KQ_NOTE_RENAME": 0x20,
    "KQ_NOTE_REVOKE": 0x40,
    "KQ_NOTE_EXIT": 0x80000000,
    "KQ_NOTE_FORK": 0x40000000,
    "KQ_NOTE_EXEC": 0x20000000,
}


class _Event(ctypes.Structure):
    _fields_ = [
        ("ident", ctypes.c_size_t),
        ("filter", ctypes.c_short),
        ("flags", ctypes.c_ushort),
        ("fflags", ctypes.c_uint),
        ("data", ctypes.c_ssize_t),
        ("udata", ctypes.c_void_p),
    ]


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class kevent:  # noqa: N801
    """One change or event, as `select.kevent` is."""

    def __init__(
        self,
        ident: Any,
        filter: int = CONSTANTS["KQ_FILTER_READ"],
        flags: int = CONSTANTS["KQ_EV_ADD"],
        fflags: int = 0,
        data: int = 0,
        udata: int = 0,
    ) -> None:
        self.ident = ident if isinstance(ident, int) else ident.fileno()
        self.filter, self.flags, self.fflags = filter, flags, fflags
        self.data, self.udata = data, udata

    def __repr__(self) -> str:
        return (
            f"<kevent ident={self.ident} filter={self.filter} flags={self.flags:#x} "
            f"fflags={self.fflags:#x} data={self.data:#x} udata={self.udata:#x}>"
        )


def _library(folder: str) -> Any:
    return ctypes.CDLL(f"{folder}/libmended.so", use_errno=True)


def make(folder: str) -> type:
    """Return a class like `select.kqueue` over the library of this folder."""
    library = _library(folder)
    function = library.mended_kevent_code

    class kqueue:  # noqa: N801
        """As `select.kqueue` is."""

        def __init__(self) -> None:
            self._fd = library.kqueue()
            if self._fd < 0:
                raise _error()
            self._process = os.getpid()

        def fileno(self) -> int:
            if self.closed:
                raise ValueError("I/O operation on closed kqueue object")
            return int(self._fd)

        @property
        def closed(self) -> bool:
            # As in CPython: a fork closes it in the child.
            return self._fd < 0 or self._process != os.getpid()

        def close(self) -> None:
            fd, self._fd = self._fd, -1
            if fd >= 0 and self._process == os.getpid():
                library.mended_close(fd)

        def __del__(self) -> None:
            if sys is not None:  # at exit there is nothing left to close with
                self.close()

        def control(
            self, changelist: Iterable[Any] | None, max_events: int, timeout: float | None = None
        ) -> list[kevent]:
            fd = self.fileno()
            if max_events < 0:
                raise ValueError(f"Length of eventlist must be 0 or positive, got {max_events}")
            changes = [
                _Event(each.ident, each.filter, each.flags, each.fflags, each.data, each.udata)
                for each in changelist or ()
            ]
            until = None
            if timeout is not None:
                until = ctypes.byref(
                    _Timespec(int(timeout), min(math.ceil(timeout % 1 * 1e9), 999_999_999))
                )
            events = (_Event * max_events)()
            count = function(
                fd, (_Event * len(changes))(*changes), len(changes), events, max_events, until
            )
            if count < 0:
                # CPython waits on after a signal; to come back empty is as good to a loop.
                if -count == errno.EINTR:
                    return []
                raise OSError(-count, os.strerror(-count))
            return [
                kevent(e.ident, e.filter, e.flags, e.fflags, e.data, e.udata or 0)
                for e in events[:count]
            ]

    return kqueue


def _error() -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code))


def install() -> None:
    """Play kqueue, if the environment asks for it."""
    folder = os.environ.get(VARIABLE)
    if folder:
        from tests.support.kqueue_model import install_class

        install_class(make(folder))
