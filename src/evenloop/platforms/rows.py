"""What a row of the platform table is made of."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evenloop.platforms.probe import Probe

__all__ = ["LINUX", "MACOS", "MACOS_108", "PROACTOR", "SELECTOR", "Refusal", "Row"]

# The stock loops that a row can be about; each is a profile of that name.
LINUX = "linux"
MACOS = "macos"
MACOS_108 = "macos-10.8"
PROACTOR = "windows-proactor"
SELECTOR = "windows-selector"


@dataclass(frozen=True, slots=True)
class Refusal:
    """How one stock loop fails at what a row is about."""

    exception: type[BaseException]
    """The type, exactly."""
    errno: int | None = None
    """The error number of an OSError."""
    limit: type | None = None
    """The class that a profile's loop inherits to fail like that; None if `by` brings it, or if
    the profile does not play this limit (`Row.restriction` says why)."""
    by: str = ""
    """The row whose limit it is that shows here, if it is another one."""
    played: bool = True
    """Whether the loop of the profile fails as the stock loop does."""
    told: bool = True
    """Whether the profile's message can name the row: it cannot where the limit is no error, but
    what the probe makes of it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One statement of asyncio's documentation about a platform, and what evenloop makes of it."""

    id: str
    """Stable; errors, reports and tests name it."""
    where: str
    """The platforms and loops concerned, for people."""
    documented: str
    """What the documentation says of stock asyncio, in our words."""
    since: str
    """Since when, or since which version."""
    section: str
    """Where it says so, below `evenloop.platforms.probe.DOCUMENTATION`."""
    lifted: str
    """What evenloop does by default."""
    restriction: str
    """What a profile does."""
    probe: Probe
    """Succeeds where the limit is not there, and fails as `refusals` tell where it is."""
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    """How the stock loops fail that do, by the name of the profile."""
    platforms: tuple[str, ...] = ()
    """Values of `sys.platform` that the row is about; empty: all."""
    beyond: tuple[str, ...] = ()
    """What `sys.platform` begins with where the limit is the system's own, so that it stays."""

    @property
    def profiles(self) -> tuple[str, ...]:
        """The profiles that are more limited than evenloop in this."""
        return tuple(name for name, refusal in self.refusals.items() if refusal.played)

    @property
    def stays(self) -> bool:
        """Whether the limit is there on this system whatever a loop does."""
        return sys.platform.startswith(self.beyond)

    @property
    def test(self) -> str:
        """The test that proves the row."""
        return f"tests/platforms/test_table.py -k {self.id}"
