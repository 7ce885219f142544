"""Rows whose limit evenloop does not lift yet: the doctor and the tests expect them to fail."""

from __future__ import annotations

import sys

__all__ = ["PENDING", "is_pending"]

#: The ids of the rows, with the values of `sys.platform` where they wait. A row that works although
#: it is named here fails its test.
PENDING: dict[str, tuple[str, ...]] = {
    "ALL-FILES": ("linux", "darwin"),
    "ALL-PIPE-FILES": ("linux", "darwin"),
}


def is_pending(row: str) -> bool:
    """Whether the row of that id is not lifted on this system yet."""
    return sys.platform in PENDING.get(row, ())
