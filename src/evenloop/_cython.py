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

__all__ = ["compiled"]

compiled = False
