"""The limits of asyncio's loops, as classes that the loop of a profile inherits.

Nothing here is reached by a loop without a profile: `profiles.loop_class` puts these classes before
the loop's own. Each method that is limited asks `refuse`, which raises what stock asyncio
raises. `evenloop check` may ask to be told only: then the call goes on to the loop without limits,
so that one run finds every line.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import math
import os
import selectors
import socket
import stat
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from evenloop.engines import Engine, over_selector

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CLOCK_STEP",
    "ENOTSOCK",
    "MOST_SOCKETS",
    "CoarseClock",
    "NoCharacterDevices",
    "NoCreationFlags",
    "NoRegularFiles",
    "NoReusePort",
    "NoSendfile",
    "NoUnixDatagrams",
    "NoWatchOfFiles",
    "OnlyOverlapped",
    "OnlySockets",
    "PosixOptions",
    "Select512",
    "SelectOfSockets",
    "lenient",
    "missing",
    "observers",
    "refuse",
]

#: Seconds between two ticks of the Windows clock.
CLOCK_STEP = 1 / 64
#: What select() of Windows takes, in CPython's build (FD_SETSIZE).
MOST_SOCKETS = 512
#: WSAENOTSOCK.
ENOTSOCK = 10038
# Python names it on Unix only.
_AF_UNIX = getattr(socket, "AF_UNIX", 1)
#: ERROR_INVALID_PARAMETER, which is EINVAL as an errno.
_INVALID_PARAMETER = 87

#: Called with (profile, row, method, error) at every refusal, in the frame that is refused.
observers: list[Callable[[str, str, str, BaseException], None]] = []
#: The environment variable under which limits only tell.
LENIENT = "EVENLOOP_PROFILE_LENIENT"


_starts_process: ContextVar[bool] = ContextVar("starts_process", default=False)


def lenient() -> bool:
    """Whether what is refused is told to the observers only."""
    return bool(os.environ.get(LENIENT))


def refuse(loop: Any, row: str, method: str, make: Callable[[str], BaseException]) -> None:
    """Raise what `make` makes of the message, or only tell the observers of it.

    Args:
        loop: The loop under a profile.
        row: The id of the row whose limit this is.
        method: What was called.
        make: Makes the exception.
    """
    from evenloop.platforms import table

    profile = loop.profile
    found = table.row(row)
    error = make(
        f"{method}: {found.documented} (row {row}, profile {profile}). "
        f"evenloop without a profile: {found.lifted}"
    )
    for observer in list(observers):
        observer(profile, row, method, error)
    if not lenient():
        raise error


def missing(row: str, *methods: str) -> type:
    """Return a class whose `methods` raise NotImplementedError, as asyncio's do that lack them."""
    made: dict[str, Any] = {"__slots__": (), "__module__": __name__}
    for name in methods:
        made[name] = _missing(row, name)
    return type("Without" + row.title().replace("-", ""), (), made)


def _missing(row: str, name: str) -> Callable[..., Any]:
    def refused(loop: Any) -> Any:
        # A loop that lets things through may have handlers to remove when it closes.
        if not (lenient() and loop.is_closed()):
            refuse(loop, row, f"{name}()", NotImplementedError)
        # The next class that has it, after the one which is made of this.
        classes = iter(type(loop).__mro__)
        for cls in classes:
            if vars(cls).get(name) is method:
                break
        return next(vars(cls)[name] for cls in classes if name in vars(cls))

    method: Callable[..., Any]
    if inspect.iscoroutinefunction(getattr(asyncio.AbstractEventLoop, name)):

        async def coroutine(self: Any, *args: Any, **options: Any) -> Any:
            return await refused(self)(self, *args, **options)

        method = coroutine
    else:

        def function(self: Any, *args: Any, **options: Any) -> Any:
            return refused(self)(self, *args, **options)

        method = function
    method.__name__ = name
    method.__qualname__ = f"EventLoop.{name}"
    method.__doc__ = f"Raise NotImplementedError: see the row {row}."
    return method


def _os_error(number: int, winerror: int = 0) -> Callable[[str], OSError]:
    """Return what makes an OSError of a message: on Windows with the number of that system."""
    if winerror and sys.platform == "win32":
        return lambda text: OSError(0, text, None, winerror)
    return lambda text: OSError(number, text)


def _descriptor(file: Any) -> int:
    """The number of a file, or -1 for what the loop itself will refuse."""
    if isinstance(file, int):
        return file
    try:
        return int(file.fileno())
    except (AttributeError, TypeError, ValueError):
        return -1


def _kind(file: Any) -> int:
    """The kind of a file as `stat` has it, 0 where there is none to tell."""
    if isinstance(file, socket.socket):
        return stat.S_IFSOCK
    number = _descriptor(file)
    if sys.platform == "win32":
        from evenloop.engines import winapi

        if number >= 0 and winapi.is_socket(number):
            return stat.S_IFSOCK
    try:
        return stat.S_IFMT(os.fstat(number).st_mode)
    except (OSError, OverflowError):
        return 0


class _Watching:
    """Asks `_check_watch` before a descriptor is watched."""

    __slots__ = ()

    def _check_watch(self, method: str, file: Any) -> None:
        raise NotImplementedError

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> Any:
        """See `EventLoop.add_reader`."""
        self._check_watch("add_reader()", fd)
        return super().add_reader(fd, callback, *args)  # type: ignore[misc]

    def add_writer(self, fd: Any, callback: Any, *args: Any) -> Any:
        """See `EventLoop.add_writer`."""
        self._check_watch("add_writer()", fd)
        return super().add_writer(fd, callback, *args)  # type: ignore[misc]


class _Connecting:
    """Asks `_check_pipe` before a pipe is connected."""

    __slots__ = ()

    def _check_pipe(self, method: str, file: Any) -> None:
        raise NotImplementedError

    async def connect_read_pipe(self, protocol_factory: Any, pipe: Any) -> Any:
        """See `EventLoop.connect_read_pipe`."""
        self._check_pipe("connect_read_pipe()", pipe)
        return await super().connect_read_pipe(protocol_factory, pipe)  # type: ignore[misc]

    async def connect_write_pipe(self, protocol_factory: Any, pipe: Any) -> Any:
        """See `EventLoop.connect_write_pipe`."""
        self._check_pipe("connect_write_pipe()", pipe)
        return await super().connect_write_pipe(protocol_factory, pipe)  # type: ignore[misc]


class NoWatchOfFiles(_Watching):
    """ALL-FILES with epoll."""

    __slots__ = ()

    def _check_watch(self, method: str, file: Any) -> None:
        if _kind(file) == stat.S_IFREG:
            refuse(self, "ALL-FILES", method, _os_error(errno.EPERM))


class NoRegularFiles(_Connecting):
    """ALL-PIPE-FILES on Unix."""

    __slots__ = ()

    def _check_pipe(self, method: str, file: Any) -> None:
        if _kind(file) == stat.S_IFREG:
            refuse(self, "ALL-PIPE-FILES", method, ValueError)


class OnlySockets(_Watching):
    """WSEL-HANDLE."""

    __slots__ = ()

    def _check_watch(self, method: str, file: Any) -> None:
        if _descriptor(file) >= 0 and _kind(file) not in (0, stat.S_IFSOCK):
            refuse(self, "WSEL-HANDLE", method, _os_error(ENOTSOCK, ENOTSOCK))


class OnlyOverlapped(_Connecting):
    """WPRO-PIPE: where handles are not Windows', only sockets are overlapped."""

    __slots__ = ()

    async def _start_process(self, *args: Any) -> Any:
        # The pipes to a child are overlapped there, and connected like any other.
        token = _starts_process.set(True)
        try:
            return await super()._start_process(*args)  # type: ignore[misc]
        finally:
            _starts_process.reset(token)

    def _check_pipe(self, method: str, file: Any) -> None:
        if not _starts_process.get() and _is_open(file) and not _overlapped(file):
            refuse(self, "WPRO-PIPE", method, _os_error(errno.EINVAL, _INVALID_PARAMETER))


def _overlapped(file: Any) -> bool:
    if _kind(file) == stat.S_IFSOCK:
        return True
    if sys.platform != "win32":
        return False
    from evenloop.engines import winapi

    return winapi.is_overlapped(_handle(file))


def _is_open(file: Any) -> bool:
    """Whether there is a file: what is closed the loop itself refuses, as stock asyncio does.

    Which is ValueError for an object, and for a number ERROR_INVALID_HANDLE: EBADF as an errno.
    """
    if sys.platform != "win32":
        return _kind(file) != 0
    from evenloop.engines import winapi

    try:
        return _descriptor(file) >= 0 and bool(winapi.handle_kind(_handle(file)))
    except OSError:
        return False


def _handle(file: Any) -> int:
    from evenloop.engines.descriptors import descriptor_of, of_system

    return of_system(file, descriptor_of(file))


class NoCharacterDevices(_Watching):
    """MAC-CHARDEV: as long as it is kqueue that waits."""

    # Whether another selector was given; set before a slot could be there.
    _by_hand: bool

    def _engine_over(self, selector: selectors.BaseSelector) -> Engine:
        kinds = [getattr(selectors, name, ()) for name in ("SelectSelector", "PollSelector")]
        self._by_hand = any(kind and isinstance(selector, kind) for kind in kinds)
        engine: Engine = super()._engine_over(selector)  # type: ignore[misc]
        return engine

    def _check_watch(self, method: str, file: Any) -> None:
        if _kind(file) == stat.S_IFCHR and not getattr(self, "_by_hand", False):
            refuse(self, "MAC-CHARDEV", method, _os_error(errno.EINVAL))

    async def connect_read_pipe(self, protocol_factory: Any, pipe: Any) -> Any:
        """See `EventLoop.connect_read_pipe`."""
        self._check_watch("connect_read_pipe()", pipe)
        return await super().connect_read_pipe(protocol_factory, pipe)  # type: ignore[misc]

    async def connect_write_pipe(self, protocol_factory: Any, pipe: Any) -> Any:
        """See `EventLoop.connect_write_pipe`."""
        self._check_watch("connect_write_pipe()", pipe)
        return await super().connect_write_pipe(protocol_factory, pipe)  # type: ignore[misc]


class CoarseClock:
    """WIN-CLOCK: the loop's time goes in steps, and everything goes by the loop's time."""

    __slots__ = ()

    def time(self) -> float:
        """Return the loop's clock, in seconds: a multiple of `CLOCK_STEP`."""
        now: float = super().time()  # type: ignore[misc]
        return math.floor(now / CLOCK_STEP) * CLOCK_STEP


class Select512(selectors.BaseSelector):
    """A selector that takes as many sockets as select() does on Windows."""

    def __init__(self, inner: selectors.BaseSelector | None = None) -> None:
        """Wait with `inner`, by default the best selector here."""
        self._inner = selectors.DefaultSelector() if inner is None else inner

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """See `selectors.BaseSelector`."""
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """See `selectors.BaseSelector`."""
        return self._inner.unregister(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """See `selectors.BaseSelector`."""
        return self._inner.get_map()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait; ValueError if there are more sockets to read from, or to write to, than go."""
        keys = self._inner.get_map()
        if len(keys) > MOST_SOCKETS:
            for event in (selectors.EVENT_READ, selectors.EVENT_WRITE):
                if sum(bool(key.events & event) for key in keys.values()) > MOST_SOCKETS:
                    refuse(self, "WSEL-512", "select()", _too_many)
        return self._inner.select(timeout)

    @property
    def profile(self) -> str:
        """The profile that it belongs to."""
        return "windows-selector"

    def close(self) -> None:
        """See `selectors.BaseSelector`."""
        self._inner.close()


def _too_many(text: str) -> ValueError:
    return ValueError(f"too many file descriptors in select(): {text}")


class SelectOfSockets:
    """WSEL-512: waits with `Select512`, whatever engines there are."""

    __slots__ = ()

    def _engine_for(self, engine: Any, model: str = "") -> Engine:
        if isinstance(engine, Engine):
            return engine
        if engine is not None:
            raise ValueError(
                f"engine must be None under the profile windows-selector, got {engine!r}: that "
                "loop waits with select()"
            )
        return over_selector(Select512())

    def _engine_over(self, selector: selectors.BaseSelector) -> Engine:
        return over_selector(Select512(selector))


class NoReusePort:
    """WIN-REUSE-PORT."""

    __slots__ = ()

    async def create_server(self, *args: Any, reuse_port: Any = None, **options: Any) -> Any:
        """See `EventLoop.create_server`."""
        if reuse_port:
            refuse(self, "WIN-REUSE-PORT", "create_server(reuse_port=True)", ValueError)
        return await super().create_server(*args, reuse_port=reuse_port, **options)  # type: ignore[misc]

    async def create_datagram_endpoint(
        self, *args: Any, reuse_port: Any = None, **options: Any
    ) -> Any:
        """See `EventLoop.create_datagram_endpoint`."""
        if reuse_port:
            refuse(self, "WIN-REUSE-PORT", "create_datagram_endpoint(reuse_port=True)", ValueError)
        return await super().create_datagram_endpoint(  # type: ignore[misc]
            *args, reuse_port=reuse_port, **options
        )


class NoSendfile:
    """SENDFILE: there is no system call, so only the fallback is left."""

    __slots__ = ()

    async def sendfile(self, *args: Any, fallback: bool = True, **options: Any) -> Any:
        """See `EventLoop.sendfile`."""
        if not fallback:
            refuse(self, "SENDFILE", "sendfile(fallback=False)", asyncio.SendfileNotAvailableError)
        return await super().sendfile(*args, fallback=fallback, **options)  # type: ignore[misc]

    async def sock_sendfile(self, *args: Any, fallback: bool | None = True, **options: Any) -> Any:
        """See `EventLoop.sock_sendfile`."""
        if not fallback:
            refuse(
                self, "SENDFILE", "sock_sendfile(fallback=False)", asyncio.SendfileNotAvailableError
            )
        return await super().sock_sendfile(*args, fallback=fallback, **options)  # type: ignore[misc]


class NoUnixDatagrams:
    """UNIX-DATAGRAMS: the family is not known, and so an address is a pair."""

    __slots__ = ()

    async def create_datagram_endpoint(self, *args: Any, family: int = 0, **options: Any) -> Any:
        """See `EventLoop.create_datagram_endpoint`."""
        if family == _AF_UNIX:
            method = "create_datagram_endpoint(family=AF_UNIX)"
            refuse(self, "UNIX-DATAGRAMS", method, TypeError)
        return await super().create_datagram_endpoint(*args, family=family, **options)  # type: ignore[misc]


class _ChildOptions:
    """Asks `_check_options` before a child is started."""

    __slots__ = ()

    def _check_options(self, method: str, options: dict[str, Any]) -> None:
        raise NotImplementedError

    async def subprocess_exec(self, *args: Any, **options: Any) -> Any:
        """See `EventLoop.subprocess_exec`."""
        self._check_options("subprocess_exec", options)
        return await super().subprocess_exec(*args, **options)  # type: ignore[misc]

    async def subprocess_shell(self, *args: Any, **options: Any) -> Any:
        """See `EventLoop.subprocess_shell`."""
        self._check_options("subprocess_shell", options)
        return await super().subprocess_shell(*args, **options)  # type: ignore[misc]


class PosixOptions(_ChildOptions):
    """WIN-PASS-FDS, WIN-PREEXEC and WIN-USER: options that Windows does not have."""

    __slots__ = ()

    def _check_options(self, method: str, options: dict[str, Any]) -> None:
        # As `subprocess.Popen` has it there.
        if options.get("pass_fds"):
            refuse(self, "WIN-PASS-FDS", f"{method}(pass_fds=...)", AssertionError)
        if options.get("preexec_fn"):
            refuse(self, "WIN-PREEXEC", f"{method}(preexec_fn=...)", ValueError)
        for name in ("user", "group", "extra_groups"):
            if options.get(name) is not None:
                refuse(self, "WIN-USER", f"{method}({name}=...)", ValueError)


class NoCreationFlags(_ChildOptions):
    """UNIX-CREATIONFLAGS: options that only Windows has."""

    __slots__ = ()

    def _check_options(self, method: str, options: dict[str, Any]) -> None:
        # As `subprocess.Popen` has it elsewhere.
        for name in ("startupinfo", "creationflags"):
            if options.get(name):
                refuse(self, "UNIX-CREATIONFLAGS", f"{method}({name}=...)", ValueError)
