"""Files to sockets: by the kernel itself where it can, through a buffer where it cannot.

The kernel can when the file is one that it can map and the way to the other side has nothing in
between: not under TLS. Whatever happens, the file's position is afterwards where the sending
ended.

While a transport's file is sent, its protocol is replaced by a proxy: reading pauses, and the
loss of the connection ends the sending.

Documented at https://docs.python.org/3/library/asyncio-eventloop.html#transferring-files
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
import socket
from asyncio.constants import _SendfileMode
from typing import TYPE_CHECKING, Any

from evenloop.engines import transmit
from evenloop.engines.engine import POLL_WRITE, Op
from evenloop.engines.readiness import SENDING_MEANS
from evenloop.net import checks
from evenloop.net.room import Room

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import BinaryIO

__all__ = ["Sendfile"]

# What is read of a file in one call: little at first, then twice as much each time.
SMALLEST = 16 * 1024
LARGEST = 256 * 1024
# One call to the kernel sends at most this much, and others have their turn after it.
CHUNK = 8 * 1024 * 1024


class _Writable(Op):
    """Completes a future when a socket can take more."""

    def __init__(self, sock: socket.socket) -> None:
        Op.__init__(self, POLL_WRITE, sock.fileno(), sock)
        self.future: asyncio.Future[None] | None = None

    def complete(self) -> None:
        future = self.future
        if future is None or future.done():
            return
        if self.error is not None:
            future.set_exception(self.error)
        else:
            future.set_result(None)


class _Proxy(asyncio.Protocol):
    """Stands in for the protocol of a transport while a file is sent."""

    def __init__(self, loop: Any, transport: Any) -> None:
        self._loop = loop
        self._transport = transport
        self._protocol = transport.get_protocol()
        self._reading = transport.is_reading()
        # asyncio's transports and ours call it by different names.
        paused = getattr(transport, "_protocol_paused", None)
        if paused is None:
            paused = getattr(transport, "_writing_paused", False)
        self._paused_before = bool(paused)
        self._paused = bool(paused)
        self._waiter: asyncio.Future[None] | None = None
        self._lost: BaseException | None = None
        transport.pause_reading()
        transport.set_protocol(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the sending, and tell the protocol."""
        self._lost = exc or ConnectionError("Connection is closed by peer")
        self._wake()
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """The transport has enough for now."""
        self._paused = True

    def resume_writing(self) -> None:
        """The transport can take more."""
        self._paused = False
        self._wake()

    def data_received(self, data: bytes) -> None:
        """Hand on what was on its way when reading paused."""
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        """Hand on an end that was on its way when reading paused."""
        return self._protocol.eof_received()  # type: ignore[no-any-return]

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def check(self) -> None:
        """Raise ConnectionError (or what it was) if the connection is lost."""
        if self._lost is not None:
            raise self._lost
        if self._transport.is_closing():
            raise ConnectionError("Connection closed by peer")

    async def drain(self) -> None:
        """Wait while the transport has enough; raises if the connection is lost."""
        self.check()
        while self._paused:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
            self.check()

    async def wait(self, op: _Writable) -> None:
        """Wait until the socket can take more; raises if the connection is lost."""
        self._waiter = op.future = self._loop.create_future()
        try:
            self._loop.engine.start(op)
            await op.future
        finally:
            self._waiter = op.future = None
            self._loop.engine.cancel(op)
        if self._lost is not None:
            raise self._lost

    def restore(self) -> None:
        """Give the transport its own protocol back."""
        if self._lost is not None:
            return
        self._transport.set_protocol(self._protocol)
        if self._reading:
            self._transport.resume_reading()
        if self._paused_before and not self._paused:
            self._protocol.resume_writing()
        elif self._paused and not self._paused_before:
            self._protocol.pause_writing()


class Sendfile(Room):
    """The loop's methods that send files."""

    async def sendfile(
        self,
        transport: asyncio.WriteTransport,
        file: BinaryIO,
        offset: int = 0,
        count: int | None = None,
        *,
        fallback: bool = True,
    ) -> int:
        """Send a file through a transport; return how many bytes were sent.

        Args:
            transport: a stream transport, with or without TLS. What was written to it before
                goes out first; it cannot be written to meanwhile.
            file: a regular file, opened in binary mode.
            offset: where to begin, in bytes from the start of the file.
            count: how many bytes to send at most; None for all to the end.
            fallback: read and write where the kernel cannot do it alone (as under TLS).

        The file's position is afterwards behind what was sent, also after an error.

        Raises:
            ValueError, TypeError: for a file in text mode, or a wrong offset or count.
            RuntimeError: if the transport is closing, or cannot send files.
            asyncio.SendfileNotAvailableError: without `fallback`, if it would be needed.
            ConnectionError: if the connection is lost meanwhile.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.sendfile
        """
        self._check_closed()
        if not hasattr(transport, "is_closing"):
            raise AttributeError(f"transport must be a stream transport, got {transport!r}")
        if transport.is_closing():
            raise RuntimeError(f"Transport is closing: {transport!r}")
        mode = getattr(transport, "_sendfile_compatible", _SendfileMode.UNSUPPORTED)
        if mode is _SendfileMode.UNSUPPORTED:
            raise RuntimeError(f"sendfile is not supported for transport {transport!r}")
        if mode is _SendfileMode.FALLBACK and not fallback:
            raise asyncio.SendfileNotAvailableError(
                "fallback is disabled and native sendfile is not supported for transport "
                f"{transport!r}"
            )
        _check_range(file, offset, count)
        if mode is _SendfileMode.TRY_NATIVE:
            try:
                return await self._sendfile_native(transport, file, offset, count)
            except asyncio.SendfileNotAvailableError:
                if not fallback:
                    raise
        return await self._sendfile_fallback(transport, file, offset, count)

    async def sock_sendfile(
        self,
        sock: socket.socket,
        file: BinaryIO,
        offset: int = 0,
        count: int | None = None,
        *,
        fallback: bool = True,
    ) -> int:
        """Send a file through a connected, non-blocking stream socket.

        `file`, `offset`, `count` and `fallback` are those of `sendfile()`. Returns how many
        bytes were sent; the file's position is afterwards behind them. Raises ValueError or
        TypeError for arguments that do not fit, asyncio.SendfileNotAvailableError without
        `fallback` if it would be needed, and OSError if the connection fails.

        https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.sock_sendfile
        """
        self._check_closed()
        kind = checks.check_socket(sock)
        if self.get_debug() and sock.gettimeout() != 0:
            raise ValueError(
                f"the socket must be non-blocking: call sock.setblocking(False) on {sock!r} first"
            )
        checks.check_not_ssl_socket(sock)
        _check_range(file, offset, count)
        if kind != socket.SOCK_STREAM:
            raise ValueError(f"only SOCK_STREAM type sockets are supported, got {sock!r}")
        self._check_free(sock.fileno())
        try:
            return await self._sock_sendfile_native(sock, file, offset, count)
        except asyncio.SendfileNotAvailableError:
            if not fallback:
                raise
        return await self._sock_sendfile_fallback(sock, file, offset, count)

    # ---- the kernel does it ----------------------------------------------------------------

    async def _sendfile_native(
        self, transport: Any, file: BinaryIO, offset: int, count: int | None
    ) -> int:
        sock = getattr(transport, "_sock", None)
        if sock is None:
            raise asyncio.SendfileNotAvailableError(
                f"the system sends files to sockets only, not to {transport!r}"
            )
        source = _descriptor(file)
        proxy = _Proxy(self, transport)
        try:
            await transport._make_empty_waiter()
            try:
                return await self._send(sock, file, source, offset, count, proxy)
            finally:
                transport._reset_empty_waiter()
        finally:
            proxy.restore()

    async def _sock_sendfile_native(
        self, sock: socket.socket, file: BinaryIO, offset: int, count: int | None
    ) -> int:
        return await self._send(sock, file, _descriptor(file), offset, count, None)

    async def _send(
        self,
        sock: socket.socket,
        file: BinaryIO,
        source: int,
        offset: int,
        count: int | None,
        proxy: _Proxy | None,
    ) -> int:
        """Have the kernel send a file, part by part."""
        if transmit.available():
            return await self._transmit(sock, file, source, offset, count, proxy)
        op = _Writable(sock)
        system: Any = os  # not every system's has it
        sent = 0
        try:
            while count is None or sent < count:
                size = CHUNK if count is None else min(CHUNK, count - sent)
                try:
                    # Asked each time: it may be closed, and its number another file's.
                    part = system.sendfile(sock.fileno(), source, offset + sent, size)
                except (BlockingIOError, InterruptedError):
                    await self._wait_writable(op, proxy)
                    continue
                except OSError as exc:
                    if SENDING_MEANS.get(exc.errno or 0) == errno.EAGAIN:
                        await self._wait_writable(op, proxy)
                        continue
                    if sent == 0 and not isinstance(exc, ConnectionError):
                        # It is no file of the kind that the kernel can send.
                        raise asyncio.SendfileNotAvailableError(
                            f"os.sendfile call failed: {exc}"
                        ) from exc
                    raise
                if part == 0:
                    break
                sent += part
                # The kernel may take as fast as we give: let others have their turn.
                await asyncio.sleep(0)
                if proxy is not None and proxy._lost is not None:
                    raise proxy._lost
            return sent
        finally:
            _seek(file, source, offset + sent)

    async def _transmit(
        self,
        sock: socket.socket,
        file: BinaryIO,
        source: int,
        offset: int,
        count: int | None,
        proxy: _Proxy | None,
    ) -> int:
        """Have a kernel send a file that does so while a thread waits: Windows."""
        left = max(0, os.fstat(source).st_size - offset)
        if count is not None:
            left = min(left, count)
        sent = 0
        try:
            while sent < left:
                part = transmit.Transmission(sock, source, offset + sent, min(CHUNK, left - sent))
                running = self.run_in_executor(None, part.run)
                try:
                    await asyncio.wait([running])
                except asyncio.CancelledError:
                    part.cancel()
                    # The system has the socket and the file until the call is over.
                    await asyncio.wait([running])
                    if not running.cancelled() and running.exception() is None:
                        sent += running.result()
                    raise
                if proxy is not None and proxy._lost is not None:
                    sent += part.moved() if running.exception() else running.result()
                    raise proxy._lost
                try:
                    sent += running.result()
                except ConnectionError:
                    sent += part.moved()
                    raise
                except OSError as exc:
                    if sent == 0:
                        raise asyncio.SendfileNotAvailableError(
                            f"TransmitFile call failed: {exc}"
                        ) from exc
                    raise
            return sent
        finally:
            _seek(file, source, offset + sent)

    async def _wait_writable(self, op: _Writable, proxy: _Proxy | None) -> None:
        if proxy is not None:
            await proxy.wait(op)
            return
        op.future = self.create_future()
        self.engine.start(op)
        try:
            await op.future
        finally:
            op.future = None
            self.engine.cancel(op)

    # ---- through a buffer ------------------------------------------------------------------

    async def _sendfile_fallback(
        self, transport: Any, file: BinaryIO, offset: int, count: int | None
    ) -> int:
        proxy = _Proxy(self, transport)

        async def give(data: memoryview) -> AsyncIterator[int]:
            proxy.check()
            # A copy: the buffer is filled again while the transport may still hold this.
            transport.write(bytes(data))
            waiting = min(len(data), transport.get_write_buffer_size())
            yield len(data) - waiting
            await proxy.drain()
            yield waiting

        try:
            return await self._copy(file, offset, count, give)
        finally:
            proxy.restore()

    async def _sock_sendfile_fallback(
        self, sock: socket.socket, file: BinaryIO, offset: int, count: int | None
    ) -> int:
        async def give(data: memoryview) -> AsyncIterator[int]:
            await self.sock_sendall(sock, data)
            yield len(data)

        return await self._copy(file, offset, count, give)

    async def _copy(
        self,
        file: BinaryIO,
        offset: int,
        count: int | None,
        give: Callable[[memoryview], AsyncIterator[int]],
    ) -> int:
        """Read a file in a thread and give it away; `give` yields how much has gone."""
        seekable = hasattr(file, "seek")
        if seekable:
            file.seek(offset)
        buffer = memoryview(bytearray(SMALLEST))
        sent = 0
        try:
            while count is None or sent < count:
                room = len(buffer) if count is None else min(len(buffer), count - sent)
                size = await self.run_in_executor(None, _read_into, file, buffer[:room])
                if not size:
                    break
                async for part in give(buffer[:size]):
                    sent += part
                if size == len(buffer) < LARGEST:
                    buffer = memoryview(bytearray(2 * size))
            return sent
        finally:
            if seekable:
                file.seek(offset + sent)


def _check_range(file: Any, offset: Any, count: Any) -> None:
    """Check what `sendfile()` and `sock_sendfile()` have in common."""
    if not hasattr(file, "readinto") and not hasattr(file, "read"):
        raise AttributeError(f"file must be a file opened in binary mode, got {file!r}")
    mode = getattr(file, "mode", "b")
    if isinstance(mode, str) and "b" not in mode:
        raise ValueError(f"file should be opened in binary mode, not {mode!r}")
    if count is not None:
        problem = f"count must be a positive integer (got {count!r}), or None for all"
        if not isinstance(count, int):
            raise TypeError(problem)
        if count <= 0:
            raise ValueError(problem)
    problem = f"offset must be a non-negative integer (got {offset!r})"
    if not isinstance(offset, int):
        raise TypeError(problem)
    if offset < 0:
        raise ValueError(problem)


def _descriptor(file: Any) -> int:
    """Return the descriptor of a file that the kernel could send."""
    if not hasattr(os, "sendfile") and not transmit.available():
        raise asyncio.SendfileNotAvailableError("os.sendfile() is not available")
    try:
        descriptor = int(file.fileno())
        os.fstat(descriptor)
    except (AttributeError, io.UnsupportedOperation, OSError):
        raise asyncio.SendfileNotAvailableError(f"not a regular file: {file!r}") from None
    return descriptor


def _seek(file: Any, descriptor: int, position: int) -> None:
    """Put a file where the sending ended; through its own buffer, where it has one."""
    if hasattr(file, "seek"):
        file.seek(position)
    else:
        os.lseek(descriptor, position, os.SEEK_SET)


def _read_into(file: Any, buffer: memoryview) -> int:
    """Read into a buffer; return how many bytes, 0 at the end."""
    if hasattr(file, "readinto"):
        return file.readinto(buffer) or 0
    data = file.read(len(buffer))
    buffer[: len(data)] = data
    return len(data)
