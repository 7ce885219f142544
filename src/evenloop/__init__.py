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
from evenloop.loop import EventLoop, ProactorEventLoop, SelectorEventLoop  # noqa: E402
from evenloop.runners import install, new_event_loop, run  # noqa: E402

if TYPE_CHECKING:
    from evenloop.runners import EventLoopPolicy

__all__ = [
    "EventLoop",
    "EventLoopPolicy",
    "ProactorEventLoop",
    "SelectorEventLoop",
    "__version__",
    "install",
    "new_event_loop",
    "run",
]


def __getattr__(name: str) -> Any:
    """Make the policy class only when it is asked for: newer Pythons deprecate its base."""
    if name == "EventLoopPolicy":
        from evenloop import runners

        return runners.EventLoopPolicy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
