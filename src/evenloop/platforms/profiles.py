"""Profiles: loops with the limits of asyncio's own loops on another platform.

A profile is made of the rows of the table: the class of its loops inherits the limits of the rows
that have a refusal for it. A loop without a profile inherits none of this.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from evenloop.platforms.findings import report_if_asked
from evenloop.platforms.rows import LINUX, MACOS, MACOS_108, PROACTOR, SELECTOR

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NAMES", "Profile", "check_name", "loop_class", "of", "resolve"]


class Profile(NamedTuple):
    """One of asyncio's own loops."""

    name: str
    title: str
    """For people."""
    loop: str
    """Which class asyncio.EventLoop is there: `selector` or `proactor`."""
    platform: str
    """What `sys.platform` is there."""
    sibling: str
    """The profile of the other class of loop there; empty if there is none."""


_PROFILES = {
    one.name: one
    for one in (
        Profile(LINUX, "Linux", "selector", "linux", ""),
        Profile(MACOS, "macOS", "selector", "darwin", ""),
        Profile(MACOS_108, "macOS 10.6 to 10.8", "selector", "darwin", ""),
        Profile(PROACTOR, "Windows, ProactorEventLoop", "proactor", "win32", SELECTOR),
        Profile(SELECTOR, "Windows, SelectorEventLoop", "selector", "win32", PROACTOR),
    )
}

#: What `profile=` and EVENLOOP_PROFILE take; `stock` is this machine's own asyncio.
NAMES = (*_PROFILES, "stock")

_made: dict[tuple[type, str], type] = {}


def check_name(name: Any) -> None:
    """Raise TypeError or ValueError unless `name` is the name of a profile."""
    if not isinstance(name, str):
        raise TypeError(f"profile must be the name of a profile or None, got {name!r}")
    if name not in NAMES:
        raise ValueError(f"there is no profile {name!r}; evenloop has {', '.join(NAMES)}")


def resolve(name: str) -> str:
    """Return the name of a profile: what `stock` stands for on this machine, else `name`.

    Raises ValueError if there is no profile of that name.
    """
    check_name(name)
    if name != "stock":
        return name
    return {"win32": PROACTOR, "darwin": MACOS}.get(sys.platform, LINUX)


def of(name: str) -> Profile:
    """Return a profile by its name."""
    return _PROFILES[resolve(name)]


def loop_class(cls: type, name: str, plain: type, bases: Mapping[str, type]) -> Any:
    """Return the subclass of the loop class `cls` that has the limits of the profile `name`.

    Args:
        cls: The class that is asked for a loop.
        name: The profile. If `cls` is the other class of that platform's two, its limits count.
        plain: `EventLoop`, which stands for the class that is the default there.
        bases: The classes of loops by the kind that `Profile.loop` names.
    """
    profile = of(name)
    kinds = [kind for kind, base in bases.items() if issubclass(cls, base)]
    if kinds and kinds[0] != profile.loop and profile.sibling:
        profile = _PROFILES[profile.sibling]
    report_if_asked()
    key = (cls, profile.name)
    made = _made.get(key)
    if made is None:
        made = _made[key] = _make(cls, profile, plain, bases)
    return made


def _make(cls: type, profile: Profile, plain: type, bases: Mapping[str, type]) -> type:
    from evenloop.platforms.table import ROWS

    limits: list[type] = []
    for row in ROWS:
        refusal = row.refusals.get(profile.name)
        if refusal is not None and refusal.limit is not None and refusal.limit not in limits:
            limits.append(refusal.limit)
    base, namespace = cls, {}
    if cls is plain:
        base = bases[profile.loop]
        namespace["__init__"] = plain.__init__  # type: ignore[misc]  # it takes what `cls` takes
    return type(
        base.__name__,
        (*limits, base),
        {
            "__slots__": (),
            "__module__": base.__module__,
            "__doc__": f"A loop with the limits of asyncio's own on {profile.title}.",
            "profile": profile.name,
            **namespace,
        },
    )
