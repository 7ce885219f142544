"""Stands in for Cython's `cython` module where Cython is not installed.

The hot modules are ordinary Python, and ask `cython.compiled` where the two modes must differ:

    try:
        import cython
    except ImportError:
        from evenloop import _cython as cython

Compiled, Cython knows the name `cython` itself and the import costs nothing. All that the
modules may use of it is here; C types live in the .pxd files, not in decorators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["cclass", "compiled", "freelist", "nonecheck"]

compiled = False

_Class = TypeVar("_Class", bound=type)
_Any = TypeVar("_Any")


def cclass(made: _Class) -> _Class:
    """Mark what another decorator says of a compiled class."""
    return made


def freelist(size: int) -> Callable[[_Class], _Class]:
    """Keep `size` freed objects of a class for reuse; only compiled."""
    return lambda made: made


def nonecheck(on: bool) -> Callable[[_Any], _Any]:
    """Say whether a use of None in the place of an object of ours is looked for; only compiled."""
    return lambda made: made
