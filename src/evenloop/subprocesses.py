"""Child processes, and pipes as transports: the loop's methods.

`subprocess.Popen` starts the child: it has every option, and uses vfork, which no copy of this
process's page tables and no lock stands in the way of. Children may be started from any number
of loops in any threads. How their end is learnt: see `children`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evenloop.engines.descriptors import is_for_threads
from evenloop.scheduler import Scheduler, logger
from evenloop.transports.pipe import ReadPipeTransport, WritePipeTransport
from evenloop.transports.process import ProcessTransport

if TYPE_CHECKING:
    import asyncio

    from evenloop.engines.engine import Engine

__all__ = ["Processes"]


class Processes(Scheduler):
    """The loop's methods for child processes and pipes."""

    if TYPE_CHECKING:

        def create_future(self) -> asyncio.Future[Any]:
            """See `EventLoop`."""
            ...

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._children: set[ProcessTransport] = set()

    async def subprocess_exec(
        self,
        protocol_factory: Callable[[], asyncio.SubprocessProtocol],
        program: Any,
        *args: Any,
        stdin: Any = subprocess.PIPE,
        stdout: Any = subprocess.PIPE,
        stderr: Any = subprocess.PIPE,
        universal_newlines: Any = False,
        shell: Any = False,
        bufsize: Any = 0,
        encoding: Any = None,
        errors: Any = None,
        text: Any = None,
        **kwargs: Any,
    ) -> tuple[Any, Any]:
        """Start a program with arguments; return (transport, protocol).

        Takes every option of `subprocess.Popen`, but that pipes carry bytes: ValueError for
        `universal_newlines`, `text`, `encoding`, `errors`, `bufsize` and `shell`. Raises OSError
        (FileNotFoundError, PermissionError, ...) if the program cannot be started.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.subprocess_exec
        """
        _check_fixed(universal_newlines, bufsize, text, encoding, errors)
        if shell:
            raise ValueError("shell must be False")
        return await self._start_process(
            protocol_factory,
            (program, *args),
            f"execute program {program!r}",
            {"stdin": stdin, "stdout": stdout, "stderr": stderr, "shell": False, **kwargs},
        )

    async def subprocess_shell(
        self,
        protocol_factory: Callable[[], asyncio.SubprocessProtocol],
        cmd: bytes | str,
        *,
        stdin: Any = subprocess.PIPE,
        stdout: Any = subprocess.PIPE,
        stderr: Any = subprocess.PIPE,
        universal_newlines: Any = False,
        shell: Any = True,
        bufsize: Any = 0,
        encoding: Any = None,
        errors: Any = None,
        text: Any = None,
        **kwargs: Any,
    ) -> tuple[Any, Any]:
        """Have the shell run a command; return (transport, protocol).

        `cmd` is a string or bytes, ValueError otherwise; the rest is as in `subprocess_exec()`.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.subprocess_shell
        """
        if not isinstance(cmd, (bytes, str)):
            raise ValueError(f"cmd must be a string, got {cmd!r}")
        _check_fixed(universal_newlines, bufsize, text, encoding, errors)
        if not shell:
            raise ValueError("shell must be True")
        return await self._start_process(
            protocol_factory,
            cmd,
            f"run shell command {cmd!r}",
            {"stdin": stdin, "stdout": stdout, "stderr": stderr, "shell": True, **kwargs},
        )

    async def _start_process(
        self,
        protocol_factory: Callable[[], asyncio.SubprocessProtocol],
        args: Any,
        description: str,
        options: dict[str, Any],
    ) -> tuple[ProcessTransport, Any]:
        protocol = protocol_factory()
        debug = self.get_debug()
        if debug:
            logger.debug(_describe(description, options))
        popen = _popen(args, bufsize=0, **options)
        transport = ProcessTransport(self, protocol, popen)
        await transport.connect()
        if debug:
            logger.info("%s: %r", description, transport)
        return transport, protocol

    # ---- pipes -----------------------------------------------------------------------------

    async def connect_read_pipe(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], pipe: Any
    ) -> tuple[Any, Any]:
        """Read from `pipe`, a file object over a pipe, socket, terminal or regular file.

        Returns (transport, protocol); the transport is an `asyncio.ReadTransport` and owns the
        pipe. Raises ValueError for any other kind of file.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.connect_read_pipe
        """
        return await self._connect_pipe(ReadPipeTransport, "Read", protocol_factory, pipe)

    async def connect_write_pipe(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], pipe: Any
    ) -> tuple[Any, Any]:
        """Write to `pipe`, a file object over a pipe, socket, terminal or regular file.

        Returns (transport, protocol); the transport is an `asyncio.WriteTransport` and owns the
        pipe. Raises ValueError for any other kind of file.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.connect_write_pipe
        """
        return await self._connect_pipe(WritePipeTransport, "Write", protocol_factory, pipe)

    async def _connect_pipe(
        self,
        transport_class: type[ReadPipeTransport] | type[WritePipeTransport],
        direction: str,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        pipe: Any,
    ) -> tuple[Any, Any]:
        protocol = protocol_factory()
        waiter = self.create_future()
        transport: Any
        if is_for_threads(pipe):
            from evenloop.transports.regular import ReadFileTransport, WriteFileTransport

            for_files = ReadFileTransport if direction == "Read" else WriteFileTransport
            transport = for_files(self, pipe, protocol, waiter=waiter)
        else:
            transport = transport_class(self, pipe, protocol, waiter=waiter)
        try:
            await waiter
        except BaseException:
            transport.close()
            raise
        if self.get_debug():
            logger.debug(
                "%s pipe %r connected: (%r, %r)", direction, pipe.fileno(), transport, protocol
            )
        return transport, protocol

    if sys.platform == "win32":

        async def create_pipe_connection(
            self, protocol_factory: Callable[[], asyncio.BaseProtocol], address: str
        ) -> tuple[Any, Any]:
            r"""Connect to a named pipe (``\\.\pipe\name``) that is open both ways.

            Returns (transport, protocol); waits while every instance of the pipe is taken. Raises
            FileNotFoundError if there is no such pipe. On Windows only; asyncio's proactor has it
            too, and documents it nowhere.
            """
            from evenloop import named_pipes

            self._check_closed()
            return await named_pipes.connect_pipe(self, protocol_factory, address)

        async def start_serving_pipe(
            self, protocol_factory: Callable[[], asyncio.BaseProtocol], address: str
        ) -> list[Any]:
            r"""Serve a named pipe (``\\.\pipe\name``): a protocol and transport for each client.

            Returns a list of one server, which has `close()`. Raises PermissionError if the pipe
            has a server already. On Windows only; asyncio's proactor has it too, and documents it
            nowhere.
            """
            from evenloop import named_pipes

            self._check_closed()
            server = named_pipes.PipeServer(self, protocol_factory, address)
            self.call_soon(server.serve)
            return [server]

    def _close(self) -> None:
        for child in list(self._children):
            child._abandon()
        self._children.clear()
        super()._close()


def _popen(args: Any, **options: Any) -> subprocess.Popen[bytes]:
    """Start a child; its pipes are such as an engine can wait for."""
    if sys.platform == "win32":
        # The same class but for its pipes: overlapped at our end, which os.pipe() is not.
        from asyncio import windows_utils

        return windows_utils.Popen(args, **options)
    return subprocess.Popen(args, **options)


def _check_fixed(
    universal_newlines: Any, bufsize: Any, text: Any, encoding: Any, errors: Any
) -> None:
    """Raise ValueError for an option that would have a pipe carry anything but bytes."""
    if universal_newlines:
        raise ValueError("universal_newlines must be False")
    if bufsize != 0:
        raise ValueError("bufsize must be 0")
    if text:
        raise ValueError("text must be False")
    if encoding is not None:
        raise ValueError("encoding must be None")
    if errors is not None:
        raise ValueError("errors must be None")


def _describe(description: str, options: dict[str, Any]) -> str:
    """Say for the log what is about to be started, without its arguments: they may be secret."""
    info = [description]
    for name in ("stdin", "stdout", "stderr"):
        value = options[name]
        if value is not None:
            shown = "<pipe>" if value == subprocess.PIPE else repr(value)
            info.append(f"{name}={'<stdout>' if value == subprocess.STDOUT else shown}")
    return " ".join(info)
