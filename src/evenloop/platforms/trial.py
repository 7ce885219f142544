"""The rows of the platform table, tried on this machine: on asyncio's own loops and on evenloop."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evenloop.platforms.probe import DOCUMENTATION, Outcome, run_probe
from evenloop.platforms.rows import PROACTOR, SELECTOR, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Tried", "stock_loop", "try_rows"]


@dataclass(frozen=True, slots=True)
class Tried:
    """What a row's probe saw."""

    row: Row
    stock: Outcome
    """On asyncio's own loop: the one that the row is about if it is here, else the default."""
    ours: Outcome

    @property
    def broken(self) -> bool:
        """Whether evenloop breaks its promise."""
        failed = self.ours.status in ("missing", "failed")
        return failed and not self.row.stays

    @property
    def mark(self) -> tuple[str, str]:
        """One word, and its style."""
        if self.broken:
            return "BROKEN", "bold red"
        if self.ours.status in ("missing", "failed"):
            return "system", "yellow"
        if self.ours.status == "not here":
            return "not here", "yellow"
        return ("lifted", "bold green") if self.stock.status != "ok" else ("ok", "green")

    @property
    def stock_saw(self) -> str:
        """What asyncio's own loop did, in one line."""
        return self.stock.saw

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "id": self.row.id,
            "where": self.row.where,
            "documented": self.row.documented,
            "since": self.row.since,
            "documentation": DOCUMENTATION + self.row.section,
            "lifted": self.row.lifted,
            "stock": {"status": self.stock.status, "saw": self.stock.saw},
            "evenloop": {"status": self.ours.status, "saw": self.ours.saw},
            "verdict": self.mark[0],
        }


def stock_loop(profile: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return the class of asyncio's own loop, on this system, that a profile is named after."""
    if sys.platform == "win32":
        from asyncio import windows_events

        return (
            windows_events.SelectorEventLoop
            if profile == SELECTOR
            else (windows_events.ProactorEventLoop)
        )
    from asyncio import unix_events

    return unix_events.SelectorEventLoop


def _stock_for(row: Row) -> str:
    """Which of the system's two loops a row is about, where there are two."""
    return SELECTOR if PROACTOR not in row.refusals and SELECTOR in row.refusals else PROACTOR


def try_rows(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> Iterator[Tried]:
    """Try every row; `new_loop` makes evenloop's loops."""
    from evenloop.platforms.table import ROWS

    for row in ROWS:
        name = SELECTOR if row.id.startswith("WSEL-") else _stock_for(row)
        stock = run_probe(row.probe, stock_loop(name))
        yield Tried(row, stock, run_probe(row.probe, new_loop))
