"""Text in colour: with rich on a terminal, plain anywhere else and without rich."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["writer"]


def writer() -> tuple[Callable[[str, str], None], int]:
    """Something that writes text in a style of rich's, and the width of the line (0: no end)."""
    try:
        rich = importlib.import_module("rich.console")
    except ImportError:
        return _plain, 0
    console = rich.Console(highlight=False, emoji=False, markup=False, soft_wrap=True)
    # By itself rich would go on to write in bold. See https://no-color.org
    in_style = not os.environ.get("NO_COLOR")

    def styled(text: str, style: str) -> None:
        console.print(text, style=style if in_style and style else None, end="")

    return styled, console.width if console.is_terminal else 0


def _plain(text: str, style: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
