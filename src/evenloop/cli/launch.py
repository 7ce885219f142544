"""Become the program that was named, as `python FILE` and `python -m MODULE` do.

The standard `runpy.run_path` runs a program as a guest: it clears the program's globals when the
main thread leaves it, though other threads, exit functions and finalizers still need them, and
its frames show in every traceback. Here the program *is* `__main__` until the process ends, and
an exception is left to the interpreter, which reports it, runs the exit functions and chooses
the exit status as always; only the launcher's own frames are taken off the traceback.
"""

from __future__ import annotations

import builtins
import importlib.util
import io
import os
import sys
import zipfile
from importlib.machinery import PathFinder, SourceFileLoader, SourcelessFileLoader
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, NamedTuple

from evenloop.cli import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import TracebackType

__all__ = ["Program", "from_file", "from_module", "launch"]

_previous: list[ModuleType | None] = []  # keeps the replaced __main__, whose code is still running

# Python 3.15 no longer tells a module where its bytecode is.
_HAS_CACHED = sys.version_info < (3, 15)


class Program(NamedTuple):
    """A program ready to run."""

    code: CodeType
    module: ModuleType
    """Will be `sys.modules["__main__"]`."""
    name: str
    """Will be `sys.argv[0]`."""


def launch(load: Callable[[], Program], arguments: Sequence[str]) -> None:
    """Load a program and run it to its end as `__main__`.

    Raises:
        CommandError: There is no such program.
        BaseException: Whatever the program ends with, for the interpreter to report.
    """
    try:
        program = load()
        sys.argv[:] = [program.name, *arguments]
        _previous.append(sys.modules.get("__main__"))
        sys.modules["__main__"] = program.module
        exec(program.code, program.module.__dict__)
    except (CommandError, SystemExit):
        raise
    except BaseException:
        _report_without_launcher()
        raise


def from_file(path: str) -> Program:
    """Find the program in a file, or in a folder or zip archive with a `__main__.py`.

    Raises:
        CommandError: It cannot be opened.
    """
    if os.path.isdir(path) or _is_archive(path):
        place = os.path.abspath(path)
        _lead_path(place)
        spec = PathFinder.find_spec("__main__", [place])
        if spec is None:
            raise CommandError(f"can't find a __main__ module in {path!r}")
        return _from_spec(spec, path)
    file = os.path.abspath(path)
    try:
        with io.open_code(file) as stream:
            source = stream.read()
    except OSError as error:
        raise CommandError(f"can't open file {path!r}: {error.strerror}") from None
    _lead_path(os.path.dirname(os.path.realpath(file)))
    loader: SourceFileLoader | SourcelessFileLoader
    if file.endswith(".pyc"):
        loader = SourcelessFileLoader("__main__", file)
        code = loader.get_code("__main__")
        assert code is not None
    else:
        loader = SourceFileLoader("__main__", file)
        code = compile(source, file, "exec", dont_inherit=True)
    module = _main_module()
    module.__file__ = file
    module.__loader__ = loader
    if _HAS_CACHED:
        module.__dict__["__cached__"] = None
    return Program(code, module, path)


def from_module(name: str) -> Program:
    """Find the program in a module, or in the `__main__` module of a package.

    Raises:
        CommandError: It cannot be found, or is not Python code.
    """
    _lead_path(os.getcwd())
    if not name or name.startswith("."):
        raise CommandError(f"{name!r} is no module name: relative names are not supported")
    if name.endswith(".py") and os.path.exists(name):  # before a package "app" is imported for it
        raise CommandError(f"{name!r} is a file: leave out -m, evenloop run {name}")
    spec = _find(name)
    if spec is None:
        raise CommandError(f"no module named {name!r}")
    if spec.submodule_search_locations is not None:
        spec = _find(f"{name}.__main__")
        if spec is None:
            raise CommandError(
                f"no module named '{name}.__main__'; {name!r} is a package and cannot be run"
            )
    return _from_spec(spec, spec.origin or name)


def _find(name: str) -> ModuleSpec | None:
    """The spec of a module, or None if that module, or a package above it, does not exist."""
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            return None
        raise  # a package above it exists and fails on an import of its own
    except ValueError:
        return None  # it is imported already, and has no spec


def _from_spec(spec: ModuleSpec, name: str) -> Program:
    get_code = getattr(spec.loader, "get_code", None)
    code = None if get_code is None else get_code(spec.name)
    if code is None:
        raise CommandError(f"{spec.name!r} is not Python code that could be run")
    module = _main_module()
    module.__spec__ = spec
    module.__loader__ = spec.loader
    module.__package__ = spec.parent
    module.__file__ = spec.origin
    if _HAS_CACHED:
        module.__dict__["__cached__"] = spec.cached
    return Program(code, module, name)


def _main_module() -> ModuleType:
    """A new `__main__`, with what the interpreter has put into its own."""
    module = ModuleType("__main__")
    module.__dict__["__builtins__"] = builtins
    if sys.version_info < (3, 14):
        module.__annotations__ = {}
    return module


def _is_archive(path: str) -> bool:
    return os.path.isfile(path) and not path.endswith((".py", ".pyc")) and zipfile.is_zipfile(path)


def _lead_path(folder: str) -> None:
    """Put the program's folder where the launcher's stands now: first in `sys.path`."""
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _report_without_launcher() -> None:
    """Have the interpreter report what ends the program without the launcher's frames."""
    report = sys.excepthook

    def shown(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        while trace is not None and trace.tb_frame.f_code is not launch.__code__:
            trace = trace.tb_next
        while trace is not None and _is_launcher(trace):
            trace = trace.tb_next
        error.__traceback__ = trace
        report(kind, error, trace)

    sys.excepthook = shown


def _is_launcher(trace: TracebackType) -> bool:
    return str(trace.tb_frame.f_globals.get("__name__")).startswith("evenloop.cli.")
