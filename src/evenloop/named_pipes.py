"""Named pipes of Windows, open both ways, as transports; and their servers.

These are what asyncio's proactor has and documents nowhere, `create_pipe_connection()` and
`start_serving_pipe()`, with the same server class, whose instances are the ends of the pipe that
wait for a client.

How such pipes behave, and what follows:

- The server makes an instance for each client, and more that wait, or else a client would be
  told that there is no such pipe.
- A client that finds none that waits is told that the pipe is busy, and tries again.
- `ConnectNamedPipe` is overlapped and signals an event. The engine waits for it as it does for
  the end of a process: on the port, without a thread of ours, and on the `selector` engine in
  one. The handle itself joins the port only when a transport owns it.
- Both directions end together, so no half can be closed.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evenloop.engines import engine as _engine
from evenloop.engines import winapi
from evenloop.engines.descriptors import prepare_pipe
from evenloop.engines.engine import EXIT
from evenloop.transports.stream import StreamTransport

assert sys.platform == "win32"

from asyncio import windows_events, windows_utils  # noqa: E402

if TYPE_CHECKING:
    from evenloop.scheduler import Scheduler

__all__ = ["DuplexPipeTransport", "PipeServer", "connect_pipe"]

_overlapped: Any = importlib.import_module("_overlapped")
_PipeServer: Any = windows_events.PipeServer

_ERROR_PIPE_BUSY = 231
# Instances that wait for a client: as many may come in one turn without finding the pipe busy.
_WAITING = 16
# How long a client waits before it tries a busy pipe again, in seconds: at first, and at most.
_SHORTEST_REST = 0.001
_LONGEST_REST = 0.1


class DuplexPipeTransport(StreamTransport):
    """An `asyncio.Transport` over one end of a named pipe."""

    _start_tls_compatible = False
    _sendfile_compatible = asyncio.constants._SendfileMode.FALLBACK

    def __init__(
        self, loop: Scheduler, pipe: Any, protocol: asyncio.BaseProtocol, address: str
    ) -> None:
        """Take ownership of `pipe`, an overlapped end of a named pipe."""
        self._file = None
        file, _ = prepare_pipe(pipe)
        super().__init__(loop, file, protocol, extra={"pipe": pipe, "addr": address})

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return asyncio.Transport

    def can_write_eof(self) -> bool:
        """Return False: both directions end together."""
        return False

    def write_eof(self) -> None:
        """Raise NotImplementedError, as asyncio's; `can_write_eof()` says so before."""
        raise NotImplementedError("a named pipe has no half that can be closed: use close()")

    def _ended(self) -> None:
        super()._ended()
        self.close()


class _Instance(_engine.Op):
    """An end of the pipe that waits for a client, and the request to tell when one is there."""

    def __init__(self, server: PipeServer, pipe: Any) -> None:
        self.server = server
        self.pipe = pipe
        self.call: Any = _overlapped.Overlapped()
        _engine.Op.__init__(self, EXIT, self.call.event)

    def complete(self) -> None:
        """Have a look: an event, unlike a process, has no exit status."""
        self.server._arrived(self)


class PipeServer(_PipeServer):  # type: ignore[misc]
    """A server of a named pipe; `close()` ends it, and leaves its connections open."""

    def __init__(
        self, loop: Any, protocol_factory: Callable[[], asyncio.BaseProtocol], address: str
    ) -> None:
        """Make the first instance; PermissionError if the pipe has another server."""
        self._loop = loop
        self._factory = protocol_factory
        self._path = address
        self._instances: set[_Instance] = set()
        super().__init__(address)

    def serve(self) -> None:
        """Have several instances wait for clients; take those who are there already."""
        while len(self._instances) < _WAITING and not self.closed():
            instance = _Instance(self, self._get_unconnected_pipe())
            self._instances.add(instance)
            try:
                there = instance.call.ConnectNamedPipe(instance.pipe.fileno())
            except OSError as error:
                if not self._client_went(instance, error):
                    return
                continue
            if there or self._loop.engine.start(instance):
                self._take(instance)

    def close(self) -> None:
        """Serve no more clients."""
        for instance in self._instances:
            self._loop.engine.cancel(instance)
            # Without a reference the call is cancelled and waited for; then the pipe may close.
            instance.call = None
            instance.pipe.close()
        self._instances.clear()
        super().close()

    __del__ = close

    def _arrived(self, instance: _Instance) -> None:
        self._take(instance)
        self.serve()

    def _take(self, instance: _Instance) -> None:
        """Make a transport of an instance that has a client now."""
        try:
            instance.call.getresult()
        except OSError as error:
            self._client_went(instance, error)
            return
        pipe = self._give_away(instance)
        if _is_over(pipe.fileno()):
            # It only looked whether there is such a pipe: os.stat() does, and a transport that
            # was still to learn of it would keep the name after the server's end.
            pipe.close()
            return
        try:
            DuplexPipeTransport(self._loop, pipe, self._factory(), self._path)
        except (SystemExit, KeyboardInterrupt):
            pipe.close()
            raise
        except BaseException as exc:
            pipe.close()
            self._report("Error on accepting a client of a named pipe", exc)

    def _give_away(self, instance: _Instance) -> Any:
        """Return the pipe of an instance, which waits no more."""
        self._instances.discard(instance)
        self._free_instances.discard(instance.pipe)
        instance.call = None
        return instance.pipe

    def _client_went(self, instance: _Instance, error: OSError) -> bool:
        """Give up an instance whose client was gone at once; False if it is another matter."""
        self._give_away(instance).close()
        if isinstance(error, BrokenPipeError):
            return True
        self._report("Pipe accept failed", error)
        return False

    def _report(self, message: str, error: BaseException) -> None:
        self._loop.call_exception_handler({"message": message, "exception": error, "server": self})


def _is_over(handle: int) -> bool:
    """Whether a client is gone and has left nothing to be read."""
    if not winapi.pipe_is_closing(handle):
        return False
    try:
        return not winapi.peek(handle)
    except OSError:
        return True


async def connect_pipe(
    loop: Any, protocol_factory: Callable[[], asyncio.BaseProtocol], address: str
) -> tuple[DuplexPipeTransport, asyncio.BaseProtocol]:
    """Connect to the named pipe `address`; waits while it is busy."""
    rest = _SHORTEST_REST
    while True:
        try:
            handle = _overlapped.ConnectPipe(address)
            break
        except OSError as error:
            if error.winerror != _ERROR_PIPE_BUSY:
                raise
        await asyncio.sleep(rest)
        rest = min(2 * rest, _LONGEST_REST)
    pipe = windows_utils.PipeHandle(handle)
    try:
        protocol = protocol_factory()
        return DuplexPipeTransport(loop, pipe, protocol, address), protocol
    except BaseException:
        pipe.close()
        raise
