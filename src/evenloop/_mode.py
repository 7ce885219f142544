"""Which of its two modes evenloop runs in: compiled, or pure Python; and why.

The hot modules exist once, as Python, and are compiled where that is possible. Import prefers a
compiled module to the source beside it, so nothing has to choose, but for one thing: with
EVENLOOP_PURE=1 in the environment the sources run although extensions are there. `apply()`
arranges that; the package calls it before it imports any module of its own.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

__all__ = ["Mode", "apply", "compilable", "mode", "pure_forced"]

VARIABLE = "EVENLOOP_PURE"

# Every module that is compiled where that is possible; the build reads the list from here.
# It is explicit: a file is compiled because someone decided it. Those of a platform are leaves
# written in Cython (.pyx), without which pure mode runs.
EVERYWHERE = [
    "evenloop.handles",
    "evenloop._queues",
    "evenloop.timers",
    "evenloop.scheduler",
    "evenloop.engines.engine",
    "evenloop.engines.readiness",
    "evenloop.engines.selector",
    "evenloop.transports.base",
    "evenloop.transports.feed",
    "evenloop.transports.outgoing",
    "evenloop.transports.stream",
    "evenloop.transports.datagram",
    "evenloop.transports.tls",
    "evenloop.transports.tls_records",
    "evenloop.transports.tls_transport",
    "evenloop.net.sockets",
    "evenloop.net.sock_methods",
    "evenloop.net.accepting",
]
POSIX = ["evenloop.engines.connections", "evenloop.engines.datagrams", "evenloop.engines.posix"]
KQUEUE = ["evenloop.engines.kevents", "evenloop.engines.kqueue"]
BY_PLATFORM = {
    "linux": [
        "evenloop.engines.cached",
        "evenloop.engines.waker",
        "evenloop.engines.ring",
        "evenloop.engines.provided",
        "evenloop.engines.ring_files",
        "evenloop.engines.aside",
        "evenloop.engines.epoll",
        "evenloop.engines.ring_engine",
        "evenloop.engines.uring",
    ],
    "darwin": KQUEUE,
    "freebsd": KQUEUE,
    "netbsd": KQUEUE,
    "openbsd": KQUEUE,
    "dragonfly": KQUEUE,
    "win32": [
        "evenloop.engines.ports",
        "evenloop.engines.overlapped",
        "evenloop.engines.exits",
        "evenloop.engines.afd",
        "evenloop.engines.iocp",
    ],
}

_PREFIX = "evenloop."
_FOLDER = os.path.dirname(__file__)


class Mode(NamedTuple):
    """How the core of evenloop runs in this process."""

    name: str
    """`"compiled"`, `"pure"`, or `"mixed"` (a build that was interrupted, or is out of date)."""
    reason: str
    """Why, in one line for people."""
    modules: dict[str, bool]
    """Each module that can be compiled here, and whether it is."""

    @property
    def compiled(self) -> bool:
        """Whether the whole core is compiled."""
        return self.name == "compiled"


def pure_forced() -> bool:
    """Whether the environment asks for the uncompiled sources."""
    return os.environ.get(VARIABLE, "").strip().lower() not in ("", "0", "no", "false", "off")


class _SourceFinder:
    """Finds evenloop's own modules as Python source only, never as an extension."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(_PREFIX) or path is None:
            return None
        for folder in path:
            if not os.path.isdir(folder):
                return None  # an archive: no extension can be imported from there anyhow
            finder = FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES))
            spec = finder.find_spec(name)
            if spec is not None and spec.loader is not None:
                return spec
        # Answering None would let the next finder load the extension after all.
        raise ModuleNotFoundError(
            f"no Python source for {name!r}, and {VARIABLE} forbids extensions", name=name
        )


def apply() -> None:
    """Make imports of evenloop's modules take the sources, if the environment asks for it."""
    if pure_forced() and _SourceFinder not in sys.meta_path:
        sys.meta_path.insert(0, _SourceFinder)


def mode() -> Mode:
    """Look at the modules that can be compiled and say which of them are, and why."""
    modules = {name: _is_extension(name) for name in compilable()}
    if pure_forced():
        return Mode("pure", f"{VARIABLE} is set", modules)
    if modules and all(modules.values()):
        suffix = EXTENSION_SUFFIXES[0] if EXTENSION_SUFFIXES else ""
        return Mode("compiled", f"extensions for this Python ({suffix})", modules)
    if any(modules.values()):
        missing = ", ".join(name for name, compiled in modules.items() if not compiled)
        return Mode("mixed", f"not compiled: {missing}", modules)
    return Mode("pure", _why_pure(), modules)


def compilable(platform: str = sys.platform) -> list[str]:
    """The modules that are compiled on a platform (a value of `sys.platform`)."""
    posix = [] if platform in ("win32", "cygwin") else POSIX
    # The BSDs have their release in the name: "freebsd14".
    leaves = [
        name for start, names in BY_PLATFORM.items() if platform.startswith(start) for name in names
    ]
    return EVERYWHERE + posix + leaves


def _is_extension(name: str) -> bool:
    """Whether a module is, or would be, loaded from an extension."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        spec = loaded.__spec__
        return spec is not None and isinstance(spec.loader, ExtensionFileLoader)
    if pure_forced():
        return False
    stem = os.path.join(_FOLDER, *name.removeprefix(_PREFIX).split("."))
    return any(os.path.exists(f"{stem}{suffix}") for suffix in EXTENSION_SUFFIXES)


def _why_pure() -> str:
    """The reason that no module is compiled, when nobody asked for that here and now."""
    # Not imported above: it takes as long as ten modules of ours, and this is its only use.
    from pathlib import Path

    folder = Path(_FOLDER)
    note = folder / "_why_pure.txt"
    if note.exists():
        return note.read_text(encoding="utf-8").strip()
    implementation = sys.implementation
    if implementation.name != "cpython":
        return f"{implementation.name} runs Python faster than it calls extensions"
    tag = implementation.cache_tag
    others = sorted({file.name.split(".", 1)[1] for file in folder.glob("*.*.so")})
    others += sorted({file.name.split(".", 1)[1] for file in folder.glob("*.*.pyd")})
    if others:
        return f"its extensions are for another Python ({', '.join(others)}, not {tag})"
    return "it has not been compiled for this Python"
