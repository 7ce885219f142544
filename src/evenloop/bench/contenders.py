"""The loops that can take part.

A contender is named by its package: `asyncio`, `uvloop`, … . evenloop itself can take part in more
than one shape: `evenloop:selector` is another engine, `evenloop@FOLDER` is the one under another
folder (the `src` of a second checkout, to see what a change brings), `evenloop:pure` the
uncompiled sources. `C` is the C server in the tables of servers: the limit.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["LIMIT", "RIVALS", "Contender", "installed", "named"]

RIVALS = ("asyncio", "uvloop", "rloop", "rsloop", "zuvloop", "winloop")
LIMIT = "C"


@dataclass(frozen=True, slots=True)
class Contender:
    """One loop that takes part."""

    name: str

    @property
    def ours(self) -> bool:
        """Whether it is evenloop in one of its shapes."""
        return self.package == "evenloop"

    @property
    def package(self) -> str:
        """What is imported for it."""
        return self.name.partition("@")[0].partition(":")[0]

    @property
    def folder(self) -> str | None:
        """The folder evenloop is imported from, if not the one of this program."""
        return self.name.partition("@")[2] or None

    @property
    def variant(self) -> str:
        """The engine, `pure`, or nothing."""
        return self.name.partition("@")[0].partition(":")[2]

    @property
    def environment(self) -> dict[str, str]:
        """What a process of this contender has in its environment."""
        extra = {}
        if self.variant == "pure":
            extra["EVENLOOP_PURE"] = "1"
        elif self.variant:
            extra["EVENLOOP_ENGINE"] = self.variant
        return extra

    @property
    def factory(self) -> Callable[[], asyncio.AbstractEventLoop]:
        """What makes its loops."""
        if self.package in ("asyncio", LIMIT):
            return asyncio.new_event_loop
        made: Callable[[], asyncio.AbstractEventLoop]
        made = importlib.import_module(self.package).new_event_loop
        return made

    @property
    def version(self) -> str:
        """Its version, as installed."""
        if self.package == "asyncio":
            return platform.python_version()
        if self.package == LIMIT:
            return ""
        if self.ours:
            from evenloop._version import __version__

            return __version__
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return "unknown"

    @property
    def missing(self) -> bool:
        """Whether it is not installed."""
        return self.package != LIMIT and importlib.util.find_spec(self.package) is None


def installed() -> list[Contender]:
    """The rivals that are installed here."""
    return [one for one in map(Contender, RIVALS) if not one.missing]


def named(names: Sequence[str]) -> list[Contender]:
    """The contenders of these names.

    Raises:
        LookupError: One of them is not known, or not installed.
    """
    chosen = []
    for name in names:
        one = Contender(name)
        if one.package not in (*RIVALS, "evenloop", LIMIT):
            known = ", ".join((*RIVALS, "evenloop:ENGINE", "evenloop:pure", "evenloop@FOLDER"))
            raise LookupError(f"there is no contender {name!r}; there are {known}")
        if one.missing:
            raise LookupError(f"{one.package} is not installed for this Python")
        if one.folder is not None and not os.path.isdir(os.path.join(one.folder, "evenloop")):
            raise LookupError(f"there is no evenloop in {one.folder!r}")
        chosen.append(one)
    return chosen
