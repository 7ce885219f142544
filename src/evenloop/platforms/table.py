"""The platform table: what asyncio's documentation says is missing somewhere, and what is here.

Documentation, `evenloop doctor`, the profiles and the tests are all made of these rows: a row that
changes here changes there.

The rows up to MAC-CHARDEV are the platform-support page of asyncio's documentation, the others the
notes about platforms in its chapters on event loops, streams and subprocesses.
"""

from __future__ import annotations

import asyncio
import errno

from evenloop.platforms import child_probes as children
from evenloop.platforms import limits
from evenloop.platforms import row_probes as probes
from evenloop.platforms.probe import Failed
from evenloop.platforms.rows import LINUX, MACOS, MACOS_108, PROACTOR, SELECTOR, Refusal, Row

__all__ = ["ROWS", "row"]

_PAGE = "asyncio-platforms.html"
_LOOP = "asyncio-eventloop.html#asyncio.loop."
_WINDOWS = ("win32",)
_UNIX = ("linux", "darwin", "freebsd")
# A name that only asyncio on Windows has.
_NO_SUCH_NAME = dict.fromkeys((LINUX, MACOS, MACOS_108), Refusal(AttributeError, played=False))
_NO_UNIX = Refusal(
    NotImplementedError,
    limit=limits.missing("WIN-UNIX", "create_unix_connection", "create_unix_server"),
)
_NO_SIGNALS = Refusal(
    NotImplementedError,
    limit=limits.missing("WIN-SIGNAL", "add_signal_handler", "remove_signal_handler"),
)
_NO_CHILDREN = Refusal(
    NotImplementedError,
    limit=limits.missing("WSEL-SUBPROC", "subprocess_exec", "subprocess_shell"),
)
_NO_PIPES = Refusal(
    NotImplementedError,
    limit=limits.missing("WSEL-PIPE", "connect_read_pipe", "connect_write_pipe"),
)
_NO_READERS = Refusal(
    NotImplementedError,
    limit=limits.missing(
        "WPRO-READER", "add_reader", "remove_reader", "add_writer", "remove_writer"
    ),
)
_NO_FLAGS = Refusal(ValueError, limit=limits.NoCreationFlags)
_NO_DATAGRAMS = Refusal(TypeError, limit=limits.NoUnixDatagrams)
_STEPS = Refusal(Failed, limit=limits.CoarseClock, told=False)


def _by(other: str, exception: type[BaseException] = NotImplementedError) -> Refusal:
    return Refusal(exception, by=other)


ROWS: tuple[Row, ...] = (
    Row(
        "ALL-FILES",
        "all platforms",
        "add_reader() and add_writer() cannot watch regular files",
        "always",
        f"{_PAGE}#all-platforms",
        "a reader runs while there is something to read and when the file grows, a writer always; "
        "open_file() gives asynchronous files",
        "registering a regular file fails as the selector there fails: PermissionError with "
        "epoll, not a socket (10038) with select() on Windows. kqueue takes regular files.",
        probes.files,
        {
            LINUX: Refusal(PermissionError, errno.EPERM, limits.NoWatchOfFiles),
            PROACTOR: _by("WPRO-READER"),
            SELECTOR: Refusal(OSError, limits.ENOTSOCK, by="WSEL-HANDLE"),
        },
    ),
    Row(
        "ALL-PIPE-FILES",
        "all platforms",
        "connect_read_pipe() and connect_write_pipe() cannot be used with regular files",
        "always",
        f"{_PAGE}#all-platforms",
        "both take regular files",
        "ValueError on Unix; on Windows the limits of its two loops",
        probes.pipe_files,
        {
            LINUX: Refusal(ValueError, limit=limits.NoRegularFiles),
            MACOS: Refusal(ValueError, limit=limits.NoRegularFiles),
            MACOS_108: Refusal(ValueError, limit=limits.NoRegularFiles),
            PROACTOR: Refusal(OSError, errno.EINVAL, by="WPRO-PIPE"),
            SELECTOR: _by("WSEL-PIPE"),
        },
    ),
    Row(
        "WIN-DEFAULT",
        "Windows",
        "ProactorEventLoop is the default loop",
        "3.8",
        f"{_PAGE}#windows",
        "EventLoop completes requests there, by the engine iocp",
        "new_event_loop() gives a ProactorEventLoop under windows-proactor, a SelectorEventLoop "
        "under the others",
        probes.default,
        {
            LINUX: Refusal(Failed, told=False),
            MACOS: Refusal(Failed, told=False),
            MACOS_108: Refusal(Failed, told=False),
            SELECTOR: Refusal(Failed, told=False),
        },
        _WINDOWS,
    ),
    Row(
        "WIN-UNIX",
        "Windows, both loops",
        "create_unix_connection() and create_unix_server() are not supported",
        "always",
        f"{_PAGE}#windows",
        "both work on Windows 10 1803 and later; an older one gives OSError",
        "NotImplementedError",
        probes.unix,
        {PROACTOR: _NO_UNIX, SELECTOR: _NO_UNIX},
        _WINDOWS,
    ),
    Row(
        "WIN-SIGNAL",
        "Windows, both loops",
        "add_signal_handler() and remove_signal_handler() are not supported",
        "always",
        f"{_PAGE}#windows",
        "SIGINT, SIGBREAK, SIGTERM and the events of a console reach handlers",
        "NotImplementedError",
        probes.signals,
        {PROACTOR: _NO_SIGNALS, SELECTOR: _NO_SIGNALS},
        _WINDOWS,
    ),
    Row(
        "WSEL-512",
        "Windows, SelectorEventLoop",
        "SelectSelector waits, for 512 sockets at most",
        "always",
        f"{_PAGE}#windows",
        "any number of sockets, on every engine",
        "waiting for more than 512 sockets, the loop's own included, raises ValueError as "
        "select() does, out of run_forever()",
        probes.many_sockets,
        {
            PROACTOR: _by("WPRO-READER"),
            SELECTOR: Refusal(ValueError, limit=limits.SelectOfSockets),
        },
        _WINDOWS,
    ),
    Row(
        "WSEL-HANDLE",
        "Windows, SelectorEventLoop",
        "add_reader() and add_writer() take sockets only, no descriptors of pipes",
        "always",
        f"{_PAGE}#windows",
        "pipes, consoles and files can be watched",
        "OSError, 10038, at the call itself; select() says so in the loop's next turn, where the "
        "line is lost",
        probes.pipe_reader,
        {
            PROACTOR: _by("WPRO-READER"),
            SELECTOR: Refusal(OSError, limits.ENOTSOCK, limits.OnlySockets),
        },
        _WINDOWS,
    ),
    Row(
        "WSEL-PIPE",
        "Windows, SelectorEventLoop",
        "connect_read_pipe() and connect_write_pipe() are not implemented",
        "always",
        f"{_PAGE}#windows",
        "implemented, for anonymous and named pipes and for consoles",
        "NotImplementedError",
        probes.pipes,
        {SELECTOR: _NO_PIPES},
        _WINDOWS,
    ),
    Row(
        "WSEL-SUBPROC",
        "Windows, SelectorEventLoop",
        "subprocess_exec() and subprocess_shell() are not implemented",
        "always",
        f"{_PAGE}#windows",
        "implemented",
        "NotImplementedError",
        children.subprocesses,
        {SELECTOR: _NO_CHILDREN},
        _WINDOWS,
    ),
    Row(
        "WPRO-READER",
        "Windows, ProactorEventLoop",
        "add_reader() and add_writer() are not supported",
        "always",
        f"{_PAGE}#windows",
        "supported: polls of the socket driver, on the loop's completion port",
        "NotImplementedError",
        probes.reader,
        {PROACTOR: _NO_READERS},
        _WINDOWS,
    ),
    Row(
        "WPRO-PIPE",
        "Windows, ProactorEventLoop",
        "connect_read_pipe() and connect_write_pipe() take only handles opened for overlapped I/O",
        "always",
        f"{_PAGE}#windows",
        "anonymous pipes, inherited standard streams, consoles and files are taken too",
        "OSError, ERROR_INVALID_PARAMETER (EINVAL), for what is neither a socket nor overlapped. "
        "Of a pipe to read from asyncio says so in a later turn, to the log; and it takes the "
        "number of a descriptor for a handle, which may give ERROR_INVALID_HANDLE (EBADF) instead",
        probes.plain_pipe,
        {
            PROACTOR: Refusal(OSError, errno.EINVAL, limits.OnlyOverlapped),
            SELECTOR: _by("WSEL-PIPE"),
        },
        _WINDOWS,
    ),
    Row(
        "WIN-CLOCK",
        "Windows",
        "the monotonic clock goes in steps of about 15.6 ms, 0.5 ms at best",
        "always; CPython itself reads a finer clock from 3.13 on",
        f"{_PAGE}#windows",
        "time() goes by the performance counter, and timers use high-resolution waits",
        "time() goes in steps of 15.625 ms, and timers fire on them",
        probes.clock,
        {PROACTOR: _STEPS, SELECTOR: _STEPS},
        _WINDOWS,
    ),
    Row(
        "WIN-SUBPROC",
        "Windows",
        "the default loop, ProactorEventLoop, supports subprocesses; SelectorEventLoop does not",
        "3.8",
        f"{_PAGE}#subprocess-support-on-windows",
        "both do",
        "as documented: NotImplementedError under windows-selector",
        children.default_subprocess,
        {SELECTOR: _by("WSEL-SUBPROC")},
        _WINDOWS,
    ),
    Row(
        "MAC-FULL",
        "macOS",
        "modern macOS is fully supported",
        "macOS 10.9",
        f"{_PAGE}#macos",
        "the same",
        "none",
        probes.full,
        {},
        ("darwin",),
    ),
    Row(
        "MAC-CHARDEV",
        "macOS 10.6 to 10.8",
        "the default loop's KqueueSelector does not support character devices; SelectSelector "
        "or PollSelector, given by hand, does",
        "until macOS 10.9",
        f"{_PAGE}#macos",
        "character devices are watched in another way where kqueue refuses them, and "
        "SelectorEventLoop uses the selector it is given",
        "OSError, EINVAL, unless the loop was given a SelectSelector or a PollSelector",
        probes.character_devices,
        {
            MACOS_108: Refusal(OSError, errno.EINVAL, limits.NoCharacterDevices),
            PROACTOR: _by("WPRO-READER"),
            SELECTOR: Refusal(OSError, limits.ENOTSOCK, by="WSEL-HANDLE"),
        },
        ("darwin",),
    ),
    Row(
        "WIN-UNIX-STREAMS",
        "Windows, both loops",
        "open_unix_connection() and start_unix_server() are there on Unix only",
        "always",
        "asyncio-stream.html#asyncio.open_unix_connection",
        "evenloop has both on every system",
        "NotImplementedError, from the method of the loop that they call",
        probes.unix_streams,
        {PROACTOR: _by("WIN-UNIX"), SELECTOR: _by("WIN-UNIX")},
        _WINDOWS,
    ),
    Row(
        "UNIX-PATHS",
        "Unix",
        "the address of a UNIX socket may be str, bytes or path-like",
        "3.7",
        f"{_LOOP}create_unix_server",
        "the same, on Windows too",
        "as WIN-UNIX",
        probes.path_like,
        {PROACTOR: _by("WIN-UNIX"), SELECTOR: _by("WIN-UNIX")},
    ),
    Row(
        "UNIX-ABSTRACT",
        "Linux",
        "abstract addresses are supported; only Linux has them",
        "3.7",
        f"{_LOOP}create_unix_server",
        "the same",
        "as WIN-UNIX; on macOS no restriction, what its kernel answers is not ours to play",
        probes.abstract,
        {PROACTOR: _by("WIN-UNIX"), SELECTOR: _by("WIN-UNIX")},
        ("linux",),
    ),
    Row(
        "WIN-REUSE-PORT",
        "Windows, both loops",
        "reuse_port of create_server() and create_datagram_endpoint() is not supported",
        "3.4.4",
        f"{_LOOP}create_server",
        "SO_REUSEADDR, which means the same there, is set",
        "ValueError",
        probes.reuse_port,
        {
            PROACTOR: Refusal(ValueError, limit=limits.NoReusePort),
            SELECTOR: Refusal(ValueError, limit=limits.NoReusePort),
        },
        _WINDOWS,
    ),
    Row(
        "UNIX-REUSE-ADDRESS",
        "Unix",
        "create_server() sets SO_REUSEADDR unless it is told otherwise, on Unix only",
        "3.4.4",
        f"{_LOOP}create_server",
        "the same; on Windows a port can be bound again without it",
        "none: nothing fails for it",
        probes.reuse_address,
    ),
    Row(
        "SENDFILE",
        "Windows, SelectorEventLoop; TLS everywhere",
        "where the system has no sendfile(), only the fallback that reads and sends is left, and "
        "fallback=False raises SendfileNotAvailableError",
        "3.7",
        f"{_LOOP}sendfile",
        "every engine sends plain files by a call of the system's (TransmitFile on Windows)",
        "SendfileNotAvailableError without the fallback",
        probes.sendfile,
        {SELECTOR: Refusal(asyncio.SendfileNotAvailableError, limit=limits.NoSendfile)},
        _WINDOWS,
    ),
    Row(
        "WIN-UDP",
        "Windows",
        "create_datagram_endpoint() works with ProactorEventLoop too",
        "3.8",
        f"{_LOOP}create_datagram_endpoint",
        "the same",
        "none",
        probes.udp,
        {},
        _WINDOWS,
    ),
    Row(
        "UNIX-DATAGRAMS",
        "Unix",
        "create_datagram_endpoint() takes AF_UNIX, which is specific to Unix",
        "3.7",
        f"{_LOOP}create_datagram_endpoint",
        "as the system: Windows has no datagrams in AF_UNIX, and TypeError says that an address "
        "is a pair",
        "TypeError",
        probes.unix_datagrams,
        {PROACTOR: _NO_DATAGRAMS, SELECTOR: _NO_DATAGRAMS},
        (),
        _WINDOWS,
    ),
    Row(
        "WIN-TLS",
        "Windows",
        "create_connection() and create_server() support TLS with ProactorEventLoop too",
        "3.5",
        f"{_LOOP}create_connection",
        "the same",
        "none",
        probes.tls,
        {},
        _WINDOWS,
    ),
    Row(
        "WIN-POLICIES",
        "Linux, macOS",
        "WindowsSelectorEventLoopPolicy and WindowsProactorEventLoopPolicy are there on Windows "
        "only",
        "3.7; deprecated in 3.14",
        "asyncio-policy.html#asyncio.WindowsSelectorEventLoopPolicy",
        "evenloop.EventLoopPolicy is there on every system, as long as Python has policies",
        "none: a profile limits loops, not the names in a module",
        probes.policies,
        _NO_SUCH_NAME,
        ("linux", "darwin"),
    ),
    Row(
        "UNIX-PROACTOR",
        "Linux, macOS",
        "the class ProactorEventLoop is there on Windows only",
        "3.4",
        "asyncio-eventloop.html#asyncio.ProactorEventLoop",
        "evenloop has both classes on every system",
        "none: a profile limits loops, not the names in a module",
        probes.proactor_class,
        _NO_SUCH_NAME,
        ("linux", "darwin"),
    ),
    Row(
        "WIN-PASS-FDS",
        "Windows",
        "subprocesses take pass_fds on POSIX only",
        "3.2",
        "subprocess.html#subprocess.Popen",
        "as the system: AssertionError on Windows, which has no descriptors to inherit",
        "AssertionError under windows-proactor; as WSEL-SUBPROC under windows-selector",
        children.pass_fds,
        {
            PROACTOR: Refusal(AssertionError, limit=limits.PosixOptions),
            SELECTOR: _by("WSEL-SUBPROC"),
        },
        _WINDOWS,
        _WINDOWS,
    ),
    Row(
        "WIN-PREEXEC",
        "Windows",
        "subprocesses take preexec_fn on POSIX only",
        "2.4",
        "subprocess.html#subprocess.Popen",
        "as the system: ValueError on Windows, which does not fork",
        "ValueError under windows-proactor; as WSEL-SUBPROC under windows-selector",
        children.preexec_fn,
        {
            PROACTOR: Refusal(ValueError, limit=limits.PosixOptions),
            SELECTOR: _by("WSEL-SUBPROC"),
        },
        _WINDOWS,
        _WINDOWS,
    ),
    Row(
        "WIN-USER",
        "Windows",
        "subprocesses take user, group and extra_groups on POSIX only",
        "3.9",
        "subprocess.html#subprocess.Popen",
        "as the system: ValueError on Windows",
        "ValueError under windows-proactor; as WSEL-SUBPROC under windows-selector",
        children.user,
        {
            PROACTOR: Refusal(ValueError, limit=limits.PosixOptions),
            SELECTOR: _by("WSEL-SUBPROC"),
        },
        _WINDOWS,
        _WINDOWS,
    ),
    Row(
        "WIN-SESSION",
        "Windows",
        "start_new_session, process_group and umask of subprocesses are for POSIX; Windows ignores "
        "them",
        "3.2; umask 3.9; process_group 3.11",
        "subprocess.html#subprocess.Popen",
        "the same",
        "none of its own, nothing fails for it; as WSEL-SUBPROC under windows-selector",
        children.session,
        {SELECTOR: _by("WSEL-SUBPROC")},
        _WINDOWS,
    ),
    Row(
        "UNIX-CREATIONFLAGS",
        "Linux, macOS",
        "subprocesses take creationflags and startupinfo on Windows only",
        "always",
        "subprocess.html#subprocess.Popen",
        "as the system: ValueError where it is not Windows",
        "ValueError under linux and macos; as WSEL-SUBPROC under windows-selector",
        children.creationflags,
        {
            LINUX: _NO_FLAGS,
            MACOS: _NO_FLAGS,
            MACOS_108: _NO_FLAGS,
            SELECTOR: _by("WSEL-SUBPROC"),
        },
        _UNIX,
        _UNIX,
    ),
    Row(
        "WIN-RETURNCODE",
        "Windows",
        "a returncode of -N, for a child that signal N ended, is there on POSIX only",
        "always",
        "asyncio-subprocess.html#asyncio.subprocess.Process.returncode",
        "as the system: 1, from TerminateProcess(), on Windows",
        "none of its own: the system tells the status; as WSEL-SUBPROC under windows-selector",
        children.returncode,
        {PROACTOR: Refusal(Failed, played=False), SELECTOR: _by("WSEL-SUBPROC")},
        _WINDOWS,
        _WINDOWS,
    ),
    Row(
        "WIN-KILL",
        "Windows",
        "kill() and terminate() are one thing, TerminateProcess(), and send_signal() knows "
        "SIGTERM, CTRL_C_EVENT and CTRL_BREAK_EVENT",
        "always",
        "asyncio-subprocess.html#asyncio.subprocess.Process.send_signal",
        "the same",
        "none of its own; as WSEL-SUBPROC under windows-selector",
        children.kill,
        {SELECTOR: _by("WSEL-SUBPROC")},
        _WINDOWS,
    ),
    Row(
        "CHILD-THREADS",
        "Unix, Windows",
        "loops in any thread may start subprocesses; on Windows the selector loop may not",
        "3.8; 3.12 where the system has no pidfd",
        "asyncio-subprocess.html#subprocess-and-threads",
        "the same, and the main thread need not run a loop",
        "none of its own; as WSEL-SUBPROC under windows-selector",
        children.thread_subprocess,
        {SELECTOR: _by("WSEL-SUBPROC")},
    ),
)

_BY_ID = {one.id: one for one in ROWS}


def row(name: str) -> Row:
    """Return the row of that id; KeyError if there is none."""
    return _BY_ID[name]
