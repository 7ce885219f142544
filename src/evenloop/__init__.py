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
    from evenloop.runners import EventLoopPolicy

__all__ = [
    "ConsoleEvent",
    "EventLoop",
    "EventLoopPolicy",
    "ProactorEventLoop",
    "SelectorEventLoop",
    "__version__",
    "install",
    "new_event_loop",
    "open_unix_connection",
    "run",
    "start_unix_server",
    "unix_socket",
]


def __getattr__(name: str) -> Any:
    """Make the policy class only when it is asked for: newer Pythons deprecate its base."""
    if name == "EventLoopPolicy":
        from evenloop import runners

        return runners.EventLoopPolicy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
