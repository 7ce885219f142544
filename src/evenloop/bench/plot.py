"""Pictures of a run."""

from __future__ import annotations

from evenloop.bench.figures import Run

__all__ = ["draw"]


def draw(run: Run, path: str) -> list[str]:
    """To come."""
    raise NotImplementedError
