"""Builds the C programs of the benchmarks when they are first needed.

The sources are in `benchmarks/` of the project: beside the `src` that evenloop is imported from,
in the current folder, or where EVENLOOP_BENCHMARKS says. What was built stays in the user's
cache, under a name made from the source and the command, so it is built once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from evenloop.bench.case import CannotRun

__all__ = ["cache_folder", "echo_program", "load_program", "tls_load_program"]

FLAGS = ("-O2", "-g0")
TLS_FLAGS = ("-DWITH_TLS",)
TLS_LIBRARIES = ("-lssl", "-lcrypto")


def load_program() -> str:
    """The path of the load generator; it may speak TLS or not.

    Raises:
        CannotRun: It cannot be built here.
    """
    return tls_load_program() or _built("load")


@cache
def tls_load_program() -> str | None:
    """The load generator that speaks TLS, or None where OpenSSL's headers are missing."""
    try:
        return _built("load", TLS_FLAGS, TLS_LIBRARIES)
    except CannotRun:
        return None


def echo_program() -> str:
    """The path of the C server.

    Raises:
        CannotRun: It cannot be built here.
    """
    return _built("echo")


@cache
def _built(name: str, flags: tuple[str, ...] = (), libraries: tuple[str, ...] = ()) -> str:
    if not sys.platform.startswith("linux"):
        raise CannotRun("the load generator needs Linux")
    source = _sources() / f"{name}.c"
    compiler = _compiler()
    command = [compiler, *FLAGS, *flags]
    mark = hashlib.sha256(repr((command, libraries)).encode() + source.read_bytes()).hexdigest()
    folder = Path(cache_folder())
    program = folder / f"{name}-{mark[:16]}"
    if program.exists():
        return str(program)
    try:
        with tempfile.TemporaryDirectory(dir=folder) as own:
            fresh = os.path.join(own, name)
            subprocess.run(
                [*command, str(source), "-o", fresh, *libraries],
                check=True,
                capture_output=True,
                text=True,
            )
            os.replace(fresh, program)
    except subprocess.CalledProcessError as error:
        first = str(error.stderr).strip().partition("\n")[0]
        raise CannotRun(f"{source.name} does not compile: {first}") from None
    except OSError as error:
        raise CannotRun(f"{source.name} cannot be built: {error}") from None
    return str(program)


def cache_folder() -> str:
    """Where things that the benchmarks make are kept.

    Raises:
        CannotRun: It cannot be made.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evenloop-bench"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotRun(f"no folder to keep things in: {error}") from None
    return str(folder)


def _compiler() -> str:
    named = os.environ.get("CC", "").split()[:1]
    for name in (*named, "cc", "gcc", "clang"):
        path = shutil.which(name)
        if path is not None:
            return path
    raise CannotRun("the load generator needs a C compiler")


def _sources() -> Path:
    named = os.environ.get("EVENLOOP_BENCHMARKS")
    beside = Path(__file__).resolve().parents[3] / "benchmarks"
    for folder in [Path(named)] if named else [beside, Path.cwd() / "benchmarks"]:
        if (folder / "load.c").exists() and (folder / "echo.c").exists():
            return folder
    raise CannotRun("the load generator's source is missing: run this in a checkout of evenloop")
