"""How callbacks and their origins are described in messages, and only there."""

from __future__ import annotations

import functools
import inspect
import reprlib
import sys
import traceback
from typing import Any

__all__ = ["DEBUG_STACK_DEPTH", "describe_callback", "extract_stack"]

# How many frames of an origin debug mode keeps, as asyncio does.
DEBUG_STACK_DEPTH = 10


def describe_callback(callback: Any, args: tuple[Any, ...] | None, debug: bool = False) -> str:
    """Describe a call as `name(args) at file:line`; argument values only in debug mode."""
    text = _describe_call(callback, args or (), {}, debug)
    source = _source_of(callback)
    return f"{text} at {source}" if source else text


def _describe_call(func: Any, args: Any, keywords: Any, debug: bool, suffix: str = "") -> str:
    if isinstance(func, functools.partial):
        suffix = _describe_args(args, keywords, debug) + suffix
        return _describe_call(func.func, func.args, func.keywords, debug, suffix)
    name = getattr(func, "__qualname__", None) or getattr(func, "__name__", None)
    if name is None:
        try:
            name = repr(func)
        except Exception as error:
            name = f"<{type(func).__name__} whose repr() raised {type(error).__name__}>"
    return f"{name}{_describe_args(args, keywords, debug)}{suffix}"


def _describe_args(args: Any, keywords: Any, debug: bool) -> str:
    if not args and not keywords:
        return "()"
    if not debug:
        # Arguments may hold secrets and their repr() may be slow or fail.
        return "(...)"
    items = [reprlib.repr(arg) for arg in args]
    items += [f"{name}={reprlib.repr(value)}" for name, value in (keywords or {}).items()]
    return f"({', '.join(items)})"


def _source_of(func: Any) -> str | None:
    func = inspect.unwrap(func) if hasattr(func, "__wrapped__") else func
    while isinstance(func, (functools.partial, functools.partialmethod)):
        func = func.func
    code = getattr(func, "__code__", None) or getattr(
        getattr(func, "__func__", None), "__code__", None
    )
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else None


def extract_stack() -> traceback.StackSummary:
    """Return the stack of the code that called into evenloop, innermost frame last."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("evenloop."):
        frame = frame.f_back
    stack = traceback.StackSummary.extract(
        traceback.walk_stack(frame), limit=DEBUG_STACK_DEPTH, lookup_lines=False
    )
    stack.reverse()
    return stack
