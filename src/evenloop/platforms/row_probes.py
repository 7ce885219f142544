"""The probes of the platform table: each succeeds where the limit of its row is not there."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

from evenloop.platforms.limits import MOST_SOCKETS
from evenloop.platforms.probe import Bench, NotHere, Topic, probe
from evenloop.platforms.probes.parts import Echo, Note, check, expect, pair, port_of

__all__ = ["TABLE", "pipe"]

TABLE = Topic("Platform table", "asyncio-platforms.html")
_WINDOWS = sys.platform == "win32"
# What only some systems have is looked up without the type checker, which has but one in mind.
_os: Any = importlib.import_module("os")
_signal: Any = signal


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of os.pipe(), closed at the end if they still are open."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            with contextlib.suppress(OSError):
                os.close(end)


def _loop(bench: Bench) -> Any:
    """The running loop, for calls that not every system's type stubs know."""
    return bench.loop


def _writer(descriptor: int) -> Any:
    """A file for a transport to write to, by what the system itself knows it by.

    On Windows that is a handle. The proactor of asyncio takes the number of every file for one, so
    that what it says of a descriptor goes by what happens to have that number.
    """
    if not _WINDOWS:
        return os.fdopen(os.dup(descriptor), "wb", 0)
    winapi: Any = importlib.import_module("_winapi")
    msvcrt: Any = importlib.import_module("msvcrt")
    windows_utils: Any = importlib.import_module("asyncio.windows_utils")
    here = winapi.GetCurrentProcess()
    handle = msvcrt.get_osfhandle(descriptor)
    same = winapi.DUPLICATE_SAME_ACCESS
    return windows_utils.PipeHandle(winapi.DuplicateHandle(here, handle, here, 0, False, same))


async def _turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0.002)


@probe("regular files are watched", TABLE, "add_reader", "add_writer")
async def files(bench: Bench) -> str:
    """A reader is called while there is something to read, and again when the file grows."""
    path = bench.folder / "log"
    path.write_bytes(b"first")
    got = bytearray()
    calls = 0
    with path.open("rb", buffering=0) as file, path.open("ab", buffering=0) as more:

        def read() -> None:
            nonlocal calls
            calls += 1
            got.extend(file.read(100))

        _loop(bench).add_reader(file, read)
        try:
            async with asyncio.timeout(3):
                while len(got) < 5:
                    await asyncio.sleep(0.002)
                await _turns(20)
                before = calls
                await _turns(20)
                check(calls - before <= 2, f"called {calls - before} times at the end of the file")
                more.write(b"more")
                while len(got) < 9:
                    await asyncio.sleep(0.002)
        finally:
            _loop(bench).remove_reader(file)
        writable = _loop(bench).create_future()
        _loop(bench).add_writer(more, lambda: writable.done() or writable.set_result(None))
        await writable
        _loop(bench).remove_writer(more)
    expect("the data", bytes(got), b"firstmore")
    return "5 bytes read, quiet at the end, 4 more when it grew"


@probe("regular files as pipes", TABLE, "connect_read_pipe", "connect_write_pipe")
async def pipe_files(bench: Bench) -> str:
    """A transport over a file."""
    path = bench.folder / "file"
    with path.open("wb", buffering=0) as file, _writer(file.fileno()) as pipe:
        transport, _ = await _loop(bench).connect_write_pipe(Note, pipe)
        transport.write(b"through a file")
        transport.close()
        async with asyncio.timeout(3):
            while path.stat().st_size < 14:
                await asyncio.sleep(0.005)
        await _turns()
    with path.open("rb", buffering=0) as file:
        transport, note = await _loop(bench).connect_read_pipe(Note, file)
        expect("the data", await note.received(14), b"through a file")
        transport.close()
        await _turns()
    return "14 bytes written and read"


@probe("the default loop", TABLE, "create_future")
async def default(bench: Bench) -> str:
    """On Windows it completes requests, or says it does."""
    loop: Any = bench.loop
    home: Any = sys.modules[type(loop).__module__.partition(".")[0]]
    proactor = getattr(home, "ProactorEventLoop", None)
    profile = getattr(loop, "profile", None)
    if profile is None and not _WINDOWS:
        raise NotHere("about Windows")
    if proactor is not None and isinstance(loop, proactor):
        return "a ProactorEventLoop"
    engine: Any = getattr(loop, "engine", None)
    completes = profile is None and getattr(engine, "model", "") == "completion"
    check(completes, f"a {type(loop).__name__}")
    return f"completions, by the engine {engine.name}"


def _unix(error: OSError) -> NotHere:
    return NotHere(f"this system has no AF_UNIX ({error})")


@probe("UNIX sockets", TABLE, "create_unix_server", "create_unix_connection")
async def unix(bench: Bench) -> str:
    """A server and a client at a path."""
    path = bench.folder / "s"
    try:
        server = await _loop(bench).create_unix_server(Echo, path)
    except OSError as error:
        if _WINDOWS:
            raise _unix(error) from None
        raise
    async with server:
        transport, note = await _loop(bench).create_unix_connection(Note, path)
        transport.write(b"hello")
        expect("the echo", await note.received(5), b"hello")
        transport.close()
        await note.lost
    return "5 bytes echoed"


@probe("streams over UNIX sockets", TABLE, "create_unix_server")
async def unix_streams(bench: Bench) -> str:
    """start_unix_server() and open_unix_connection()."""
    # asyncio lacks these two on Windows.
    streams: Any = asyncio if hasattr(asyncio, "start_unix_server") else sys.modules["evenloop"]
    path = bench.folder / "s"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        writer.close()

    try:
        server = await streams.start_unix_server(serve, path)
    except OSError as error:
        if _WINDOWS:
            raise _unix(error) from None
        raise
    async with server:
        reader, writer = await streams.open_unix_connection(path)
        writer.write(b"line\n")
        expect("the answer", await reader.read(), b"LINE\n")
        writer.close()
        await writer.wait_closed()
    return "1 line answered, then end of file"


@probe("abstract addresses", TABLE, "create_unix_server")
async def abstract(bench: Bench) -> str:
    """Names outside of the file system."""
    name = f"\0evenloop-row-{os.getpid()}-{time.monotonic_ns()}"
    try:
        server = await _loop(bench).create_unix_server(Echo, name)
    except (OSError, ValueError):
        if sys.platform != "linux":
            raise NotHere("only Linux has abstract addresses") from None
        raise
    async with server:
        transport, note = await _loop(bench).create_unix_connection(Note, name)
        transport.write(b"hi")
        await note.received(2)
        transport.close()
        await note.lost
    return "2 bytes echoed, no file"


@probe("signal handlers", TABLE, "add_signal_handler", "remove_signal_handler")
async def signals(bench: Bench) -> str:
    """A signal reaches its handler."""
    seen = _loop(bench).create_future()
    number = _signal.SIGBREAK if _WINDOWS else signal.SIGTERM
    before = signal.getsignal(number)
    _loop(bench).add_signal_handler(number, seen.set_result, number)
    try:
        _loop(bench).call_later(0.001, signal.raise_signal, number)
        await seen
    finally:
        _loop(bench).remove_signal_handler(number)
        signal.signal(number, before)
    return f"{signal.Signals(number).name} handled"


@probe("more than 512 sockets", TABLE, "add_reader")
def many_sockets(bench: Bench) -> str:
    """Each is watched, in a loop that turns."""
    count = MOST_SOCKETS
    _raise_limit(count + 100)
    sockets: list[socket.socket] = []
    with bench.own_loop() as loop:
        try:
            for _ in range(count):  # and the loop's own
                sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                loop.add_reader(sockets[-1], int)
            loop.call_soon(loop.stop)
            loop.run_forever()
        finally:
            for sock in sockets:
                with contextlib.suppress(NotImplementedError):
                    loop.remove_reader(sock)
                sock.close()
    return f"{count} sockets, besides the loop's own"


def _raise_limit(wanted: int) -> None:
    try:
        resource: Any = importlib.import_module("resource")
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        if hard < wanted:
            raise NotHere(f"this process may open {hard} files only")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@probe("pipes are watched", TABLE, "add_reader")
def pipe_reader(bench: Bench) -> str:
    """add_reader() on one end of os.pipe()."""
    with bench.own_loop() as loop, pipe() as (reading, writing):
        seen: list[bytes] = []

        def read() -> None:
            seen.append(os.read(reading, 10))
            loop.stop()

        loop.add_reader(reading, read)
        try:
            os.write(writing, b"pipe")
            loop.call_later(3, loop.stop)
            loop.run_forever()
        finally:
            # A selector that failed is asked for it in vain.
            with contextlib.suppress(OSError, NotImplementedError):
                loop.remove_reader(reading)
        expect("the data", seen, [b"pipe"])
    return "4 bytes read from os.pipe()"


@probe("pipes are connected", TABLE, "connect_read_pipe", "connect_write_pipe")
async def pipes(bench: Bench) -> str:
    """An overlapped pipe on Windows, os.pipe() elsewhere."""
    if _WINDOWS:
        windows_utils: Any = importlib.import_module("asyncio.windows_utils")
        reading, writing = map(
            windows_utils.PipeHandle, windows_utils.pipe(overlapped=(True, True), duplex=True)
        )
        # Both ends, whatever becomes of them.
        with reading, writing:
            await _through(bench, reading, writing)
    elif getattr(bench.loop, "profile", None) == "windows-proactor":
        with pair() as (left, right):
            await _through(bench, left, right)
    else:
        with pipe() as (out, into):
            await _through(bench, os.fdopen(os.dup(out), "rb", 0), os.fdopen(os.dup(into), "wb", 0))
    return "4 bytes from one end to the other"


async def _through(bench: Bench, reading: Any, writing: Any) -> None:
    with contextlib.closing(writing), contextlib.closing(reading):
        into, _ = await _loop(bench).connect_write_pipe(Note, writing)
        out, note = await _loop(bench).connect_read_pipe(Note, reading)
        into.write(b"pipe")
        expect("the data", await note.received(4), b"pipe")
        into.close()
        out.close()
        await _turns()


@probe("pipes that are not overlapped", TABLE, "connect_write_pipe")
async def plain_pipe(bench: Bench) -> str:
    """The writing end of os.pipe(), as standard output often is."""
    with pipe() as (reading, writing):
        for file in (_writer(writing), os.fdopen(os.dup(writing), "wb", 0)):
            with file:
                transport, _ = await _loop(bench).connect_write_pipe(Note, file)
                transport.write(b"pipe")
                transport.close()
                await _turns()
            read = _loop(bench).run_in_executor(None, os.read, reading, 9)
            expect("the data", await read, b"pipe")
    return "4 bytes written to os.pipe(), twice"


@probe("add_reader with the default loop", TABLE, "add_reader", "add_writer")
async def reader(bench: Bench) -> str:
    """A socket is watched both ways."""
    with pair() as (left, right):
        loop = _loop(bench)
        readable, writable = loop.create_future(), loop.create_future()
        loop.add_reader(left, lambda: readable.done() or readable.set_result(None))
        loop.add_writer(left, lambda: writable.done() or writable.set_result(None))
        right.send(b"x")
        await asyncio.gather(readable, writable)
        loop.remove_reader(left)
        loop.remove_writer(left)
    return "a socket, readable and writable"


@probe("the clock", TABLE, "time", "call_later")
async def clock(bench: Bench) -> str:
    """It is finer than a millisecond, and timers are never early."""
    loop = _loop(bench)
    ends = time.perf_counter() + 0.05
    ticks = set()
    while time.perf_counter() < ends:
        ticks.add(loop.time())
    step = 0.05 / len(ticks)
    check(step < 0.001, f"time() goes in steps of about {step * 1e3:.1f} ms")
    start = loop.time()
    await asyncio.sleep(0.003)
    took = loop.time() - start
    check(took >= 0.003, f"a timer of 3 ms came after {took * 1e3:.3f} ms")
    return f"steps of {step * 1e6:.2f} µs or less; 3 ms took {took * 1e3:.2f}"


@probe("kqueue", TABLE, "add_reader")
async def full(bench: Bench) -> str:
    """A connection, a pipe and a child."""
    server = await _loop(bench).create_server(Echo, "127.0.0.1", 0)
    async with server:
        transport, note = await _loop(bench).create_connection(Note, "127.0.0.1", port_of(server))
        transport.write(b"hello")
        expect("the echo", await note.received(5), b"hello")
        transport.close()
        await note.lost
    return "a connection over TCP"


@probe("character devices", TABLE, "add_reader")
async def character_devices(bench: Bench) -> str:
    """A terminal is watched."""
    if _WINDOWS:
        raise NotHere("Windows has no terminals of this kind")
    ours, theirs = _os.openpty()
    try:
        seen = _loop(bench).create_future()
        _loop(bench).add_reader(theirs, lambda: seen.done() or seen.set_result(None))
        _os.write(ours, b"line\n")
        await seen
        _loop(bench).remove_reader(theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    return "a terminal, readable"


@probe("reuse_port", TABLE, "create_server", "create_datagram_endpoint")
async def reuse_port(bench: Bench) -> str:
    """Two servers on one port."""
    first = await _loop(bench).create_server(Echo, "127.0.0.1", 0, reuse_port=True)
    async with first:
        if _WINDOWS:  # Wine does not share a port
            return "a server that shares its port"
        async with await _loop(bench).create_server(
            Echo, "127.0.0.1", port_of(first), reuse_port=True
        ):
            return "two servers on one port"


@probe("reuse_address", TABLE, "create_server")
async def reuse_address(bench: Bench) -> str:
    """A server comes back to a port at once, after a connection there."""
    port = 0
    for _ in range(2):
        server = await _loop(bench).create_server(Echo, "127.0.0.1", port)
        async with server:
            port = port_of(server)
            transport, note = await _loop(bench).create_connection(Note, "127.0.0.1", port)
            transport.write(b"x")
            await note.received(1)
            transport.close()
            await note.lost
    return "a second server on the port of the first"


@probe("sendfile without a fallback", TABLE, "sock_sendfile")
async def sendfile(bench: Bench) -> str:
    """The kernel sends a file."""
    path = bench.folder / "file"
    path.write_bytes(bytes(1000))
    # Not pair(): the system's own call may want a socket of the Internet.
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as left:
            with server.accept()[0] as right, path.open("rb") as file:
                left.setblocking(False)
                right.setblocking(False)
                sent = await _loop(bench).sock_sendfile(left, file, fallback=False)
                got = 0
                while got < 1000:
                    got += len(await _loop(bench).sock_recv(right, 1000))
    return f"{sent} bytes sent by the kernel"


@probe("UDP", TABLE, "create_datagram_endpoint")
async def udp(bench: Bench) -> str:
    """A datagram from one endpoint to another."""
    loop = _loop(bench)
    arrived = loop.create_future()

    class Receive(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            if not arrived.done():
                arrived.set_result(data)

    to, _ = await loop.create_datagram_endpoint(Receive, ("127.0.0.1", 0))
    at = to.get_extra_info("sockname")
    out, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=at)
    out.sendto(b"datagram")
    expect("the data", await arrived, b"datagram")
    out.close()
    to.close()
    await _turns()
    return "8 bytes in a datagram"


@probe("the class ProactorEventLoop", TABLE, "close")
def proactor_class(bench: Bench) -> str:
    """It can be named everywhere."""
    with bench.own_loop() as loop:
        home: Any = sys.modules[type(loop).__module__.partition(".")[0]]
    home.ProactorEventLoop().close()
    return f"{home.__name__}.ProactorEventLoop()"


@probe("policies", TABLE, "close")
def policies(bench: Bench) -> str:
    """One of the system's name makes a loop."""
    with bench.own_loop() as loop:
        home: Any = sys.modules[type(loop).__module__.partition(".")[0]]
    if not hasattr(asyncio, "AbstractEventLoopPolicy"):
        raise NotHere("this Python has no policies")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        policy = getattr(home, "EventLoopPolicy", None) or home.WindowsProactorEventLoopPolicy
        policy().new_event_loop().close()
    return f"{home.__name__}.{policy.__name__}()"


@probe("TLS with the default loop", TABLE, "create_server", "create_connection")
async def tls(bench: Bench) -> str:
    """A handshake, and data both ways."""
    from evenloop.platforms.probes import secure

    answer: str = await secure.tls.function(bench)  # type: ignore[misc]
    return answer


@probe("UNIX datagrams", TABLE, "create_datagram_endpoint")
async def unix_datagrams(bench: Bench) -> str:
    """An endpoint at a path."""
    family = getattr(socket, "AF_UNIX", 1)  # Python does not name it on Windows
    path = str(bench.folder / "s")
    transport, _ = await _loop(bench).create_datagram_endpoint(
        asyncio.DatagramProtocol, path, family=family
    )
    transport.close()
    await _turns()
    return "an endpoint at a path"


@probe("path-like addresses", TABLE, "create_unix_server")
async def path_like(bench: Bench) -> str:
    """bytes, str and path-like."""
    kinds = []
    makers: tuple[Any, ...] = (str, os.fsencode, lambda path: path)
    for number, kind in enumerate(makers):
        path = kind(bench.folder / f"s{number}")
        try:
            server = await _loop(bench).create_unix_server(Echo, path)
        except OSError as error:
            if _WINDOWS:
                raise _unix(error) from None
            raise
        server.close()
        await server.wait_closed()
        kinds.append(type(path).__name__)
    return ", ".join(kinds)
