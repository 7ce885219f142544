"""How a callback is called: inside a contextvars context, with its arguments.

Compiled modules take the C twins of these functions from `_calls.pxd`; this file is what
the uncompiled core uses. Both are the only places that enter a context.

A frame that an exception's traceback leads to lives as long as the exception, which may be the
outcome of the very task that the callback belongs to. So these frames keep nothing: a failed
task is freed as soon as nobody asks for it, and not when the collector comes by.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

__all__ = [
    "call_args",
    "call_caught",
    "call_none",
    "call_one",
    "copy_context",
    "drop_dict",
    "new_context",
]

new_context = Context


def call_args(context: Context, callback: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Call `callback(*args)` inside `context`."""
    try:
        return context.run(callback, *args)
    finally:
        del callback, args


def call_caught(
    context: Context, callback: Callable[..., Any], args: tuple[Any, ...]
) -> BaseException | None:
    """Call `callback(*args)` inside `context`; return what it raises, unless it ends the loop."""
    try:
        context.run(callback, *args)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as exc:
        return exc
    finally:
        del callback, args
    return None


def call_none(context: Context, callback: Callable[[], Any]) -> Any:
    """Call `callback()` inside `context`."""
    try:
        return context.run(callback)
    finally:
        del callback


def call_one(context: Context, callback: Callable[[Any], Any], arg: Any) -> Any:
    """Call `callback(arg)` inside `context`."""
    try:
        return context.run(callback, arg)
    finally:
        del callback, arg


def drop_dict(instance: Any) -> None:
    """Forget an empty dictionary that Cython made for an instance: CPython makes none."""
