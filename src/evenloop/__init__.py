"""evenloop: one asyncio event loop that is the same on every operating system.

import evenloop

evenloop.run(main())
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evenloop import _mode

# Before any other module of ours: it decides whether they are the compiled ones.
_mode.apply()

from evenloop._version import __version__  # noqa: E402
from evenloop.engines.console_events import ConsoleEvent  # noqa: E402
from evenloop.engines.unix_socket import unix_socket  # noqa: E402
from evenloop.loop import EventLoop, ProactorEventLoop, SelectorEventLoop  # noqa: E402
from evenloop.net.unix_streams import open_unix_connection, start_unix_server  # noqa: E402
from evenloop.runners import install, new_event_loop, run  # noqa: E402

if TYPE_CHECKING:
    from evenloop.files import (
        AsyncFile,
        BufferedFile,
        Path,
        RawFile,
        TextFile,
        WrappedFile,
        open_file,
        wrap_file,
    )
    from evenloop.runners import EventLoopPolicy

__all__ = [
    "AsyncFile",
    "BufferedFile",
    "ConsoleEvent",
    "EventLoop",
    "EventLoopPolicy",
    "Path",
    "ProactorEventLoop",
    "RawFile",
    "SelectorEventLoop",
    "TextFile",
    "WrappedFile",
    "__version__",
    "install",
    "new_event_loop",
    "open_file",
    "open_unix_connection",
    "run",
    "start_unix_server",
    "unix_socket",
    "wrap_file",
]


_OF_FILES = (
    "AsyncFile",
    "BufferedFile",
    "Path",
    "RawFile",
    "TextFile",
    "WrappedFile",
    "open_file",
    "wrap_file",
)


def __getattr__(name: str) -> Any:
    """Load what many programs never ask for when it is asked for.

    Files need `pathlib`, which takes as long to import as the loop. The policy class is made
    late because newer Pythons deprecate its base.
    """
    if name in _OF_FILES:
        from evenloop import files

        found = globals()[name] = getattr(files, name)
        return found
    if name == "EventLoopPolicy":
        from evenloop import runners

        return runners.EventLoopPolicy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
