"""Builds evenloop: which modules are compiled, on which OS, and what happens when they can't be.

Everything static is in pyproject.toml. Four variables steer a build:

EVENLOOP_PURE=1               compile nothing: a wheel that runs anywhere.
EVENLOOP_REQUIRE_COMPILED=1   a release: a module that is missing or does not compile is an error.
EVENLOOP_CFLAGS="..."         more flags for the C compiler (say -g, or -fsanitize=address).
EVENLOOP_LIBKQUEUE=FOLDER     for tests on Linux, in place only: the kqueue engine, too, linked
                              with the libkqueue of this folder (.ci/kqueue makes one).

With none of them the package is compiled if it can be. If any module fails, for want of a
compiler or otherwise, none is shipped: the install succeeds, runs the Python sources, and
`evenloop doctor` gives the reason. `python setup.py build_ext` never swallows an error.
"""

from __future__ import annotations

import os
import runpy
import shlex
import sys
import textwrap
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

SOURCE = Path("src")  # relative to the project, where a build always runs

# The list of modules to compile has one home, which this reads without importing the package.
_mode = runpy.run_path("src/evenloop/_mode.py")
compilable: Any = _mode["compilable"]
KQUEUE: list[str] = _mode["KQUEUE"]
MODULES: list[str] = compilable()
# What those of a platform link with, besides Python.
LIBRARIES = {"win32": ["ws2_32", "mswsock", "ntdll"]}

# The same source runs uncompiled, so two of these are promises of the code: it never indexes
# from the end where it relies on speed, and never out of range (wraparound, boundscheck). What
# they change is only seen compiled; docs/ci.md says how the tests see both.
DIRECTIVES: dict[str, object] = {
    "language_level": 3,
    "annotation_typing": False,  # annotations are for mypy; C types live in the .pxd alone
    "freethreading_compatible": True,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "nonecheck": True,  # misuse of the loop is an exception, never a crash
    "cdivision": True,
    "binding": True,  # methods that look like Python's to inspect
}


def wanted(variable: str) -> bool:
    """Whether an on/off variable of the environment is on."""
    return os.environ.get(variable, "").strip().lower() not in ("", "0", "no", "false", "off")


PURE = wanted("EVENLOOP_PURE")
REQUIRED = wanted("EVENLOOP_REQUIRE_COMPILED")
MENDED = "tests/support/libkqueue.h"
LIBKQUEUE = os.environ.get("EVENLOOP_LIBKQUEUE", "")


def source_of(module: str) -> Path:
    """The file a module is compiled from."""
    stem = SOURCE.joinpath(*module.split("."))
    pyx = stem.with_suffix(".pyx")
    return pyx if pyx.exists() else stem.with_suffix(".py")


def extensions(platform: str = sys.platform) -> list[Extension]:
    """The modules to compile on a platform, or none in pure mode."""
    if PURE:
        if REQUIRED:
            raise SystemExit("evenloop: EVENLOOP_PURE and EVENLOOP_REQUIRE_COMPILED contradict")
        return []
    if sys.implementation.name != "cpython" and not REQUIRED:
        return []  # a JIT runs the Python sources far faster than it calls extensions
    # -g0: Python's own flags often ask for debug information, which doubles size and build time.
    flags = [] if platform == "win32" else ["-O3", "-g0", "-fno-strict-aliasing"]
    flags += shlex.split(os.environ.get("EVENLOOP_CFLAGS", ""))
    modules = compilable(platform)
    missing = [name for name in modules if not source_of(name).exists()]
    if missing and REQUIRED:
        raise SystemExit(f"evenloop: no source for {', '.join(missing)} (see setup.py)")
    return [
        Extension(
            name,
            [source_of(name).as_posix()],
            extra_compile_args=flags,
            libraries=LIBRARIES.get(platform, []),
        )
        for name in modules
        if name not in missing
    ] + on_libkqueue(flags)


def on_libkqueue(flags: list[str]) -> list[Extension]:
    """The kqueue engine for tests on Linux, on a library that plays the system call."""
    if not LIBKQUEUE:
        return []
    if "--inplace" not in sys.argv:
        raise SystemExit("evenloop: EVENLOOP_LIBKQUEUE is for tests in place, never for a release")
    folder = Path(LIBKQUEUE).resolve()
    return [
        Extension(
            name,
            [source_of(name).as_posix()],
            extra_compile_args=flags + (["-include", MENDED] if "kevents" in name else []),
            include_dirs=[str(folder / "usr/include/kqueue")],
            library_dirs=[str(folder)],
            runtime_library_dirs=[str(folder)],
            libraries=["mended"],
        )
        for name in KQUEUE
    ]


def note_why_pure(package: Path, reason: str) -> None:
    """Leave the reason for a pure build where evenloop._mode finds it; none: remove it."""
    note = package / "evenloop" / "_why_pure.txt"
    if reason:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(reason + "\n", encoding="utf-8")
    else:
        note.unlink(missing_ok=True)


class BuildSources(build_py):
    """Copies the Python sources; in pure mode they are all there is."""

    def run(self) -> None:
        """Copy, and leave a note (and no stale extension) when nothing shall be compiled."""
        super().run()
        if not PURE:
            return
        package = SOURCE if self.editable_mode else Path(self.build_lib)
        note_why_pure(package, "it was built with EVENLOOP_PURE=1")
        for name in MODULES:
            for suffix in EXTENSION_SUFFIXES:
                package.joinpath(*name.split(".")).with_suffix(suffix).unlink(missing_ok=True)


class BuildAllOrNone(build_ext):
    """Compiles every module, or ships none of them."""

    def run(self) -> None:
        """Compile; on failure fall back to the Python sources unless compiling is a must."""
        if not self.extensions:
            return
        package = SOURCE if self.inplace else Path(self.build_lib)
        try:
            self._cythonize()
            super().run()
        except Exception as error:
            if REQUIRED or "build_ext" in sys.argv:
                raise
            self._fall_back(package, error)
        else:
            note_why_pure(package, "")

    def finalize_options(self) -> None:
        """Compile on all cores unless told otherwise."""
        super().finalize_options()
        if self.parallel is None:
            self.parallel = os.cpu_count() or 1

    def _cythonize(self) -> None:
        """Turn the sources into C, under build/, and point the extensions at it."""
        from Cython.Build import cythonize  # only a build that compiles needs it
        from Cython.Compiler import Options

        Options.fast_fail = True
        made = cythonize(
            [Extension(each.name, list(each.sources)) for each in self.extensions],
            include_path=[SOURCE.as_posix()],
            build_dir="build/cython",
            compiler_directives=DIRECTIVES,
            emit_linenums=False,
            force=bool(self.force),
        )
        sources = {each.name: each.sources for each in made}
        for extension in self.extensions:
            extension.sources = sources[extension.name]

    def _fall_back(self, package: Path, error: Exception) -> None:
        """Remove what was compiled before the failure, and say why none is there."""
        for extension in self.extensions:
            filename = self.get_ext_filename(extension.name)  # type: ignore[no-untyped-call]
            for folder in (package, Path(self.build_lib)):
                (folder / filename).unlink(missing_ok=True)
        self.extensions = []
        what = textwrap.shorten(f"{type(error).__name__}: {error}", 120, placeholder=" ...")
        reason = f"compiling failed when it was installed ({what})"
        note_why_pure(package, reason)
        print(
            f"evenloop: NOT compiled; the Python sources are installed and work. {reason}\n"
            "evenloop: for speed, install a C compiler and Python's headers, then reinstall with "
            "`pip install --force-reinstall --no-cache-dir evenloop`.",
            file=sys.stderr,
        )

    def get_outputs(self) -> list[str]:
        """What was built, for the record of installed files."""
        outputs: list[str] = super().get_outputs() if self.extensions else []
        return outputs


COMMANDS: dict[str, Any] = {"build_py": BuildSources, "build_ext": BuildAllOrNone}

if __name__ == "__main__":
    setup(ext_modules=extensions(), cmdclass=COMMANDS)
