"""Build evenloop for Windows on Linux, with mingw-w64 for the universal C runtime.

    cross_windows.py PYTHON pyd              # the extensions, beside their sources
    cross_windows.py PYTHON wheel FOLDER     # a wheel for win_amd64, as a release has it

PYTHON is the folder of the Windows Python that the build is for: its headers and its import
library are used, nothing of it is run. It needs Cython, setuptools and the compiler; `.ci/wine pyd`
and `.ci/wine wheel` run it where they are.

The build is setup.py's own. Told here is only what setuptools would read off the running Python:
the compiler, the ending of extensions, where headers and libraries are, and the wheel's tag.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel

PROJECT = Path(__file__).resolve().parent.parent
TARGET = "x86_64-w64-mingw32ucrt"
PLATFORM = "win_amd64"


def version_of(python: Path) -> str:
    """The "313" of a folder with python313.dll."""
    found = [re.fullmatch(r"python(3\d+)\.dll", file.name) for file in python.glob("python3*.dll")]
    versions = [match[1] for match in found if match]
    if len(versions) != 1:
        raise SystemExit(f"{python} is no Windows Python: it has {len(versions)} python3*.dll")
    return versions[0]


def own_build() -> ModuleType:
    """setup.py, as a module."""
    spec = importlib.util.spec_from_file_location("evenloop_setup", PROJECT / "setup.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands(build: ModuleType, python: Path) -> dict[str, Any]:
    """setup.py's commands, for the target."""
    version = version_of(python)

    class CrossBuild(build.BuildAllOrNone):  # type: ignore[name-defined, misc]
        def finalize_options(self) -> None:
            self.build_temp = f"build/temp.{PLATFORM}-{version}"
            super().finalize_options()
            # Those of the Linux Python would come first otherwise.
            self.include_dirs = [str(python / "include")]
            self.library_dirs = [str(python / "libs")]
            self.libraries = [f"python{version}"]

        def build_extensions(self) -> None:
            self.compiler.set_executables(
                compiler_so=f"{TARGET}-gcc -O3 -fno-strict-aliasing",
                # What gcc needs at run time goes in: Windows has no libgcc.
                linker_so=f"{TARGET}-gcc -shared -s -static-libgcc",
            )
            super().build_extensions()

        def get_libraries(self, ext: Any) -> list[str]:
            return list(ext.libraries)

        def get_ext_filename(self, fullname: str) -> str:
            return f"{fullname.replace('.', '/')}.cp{version}-{PLATFORM}.pyd"

    class Wheel(bdist_wheel):
        def finalize_options(self) -> None:
            self.bdist_dir = f"build/bdist.{PLATFORM}-{version}"
            super().finalize_options()

        def get_tag(self) -> tuple[str, str, str]:
            return f"cp{version}", f"cp{version}", PLATFORM

    return {**build.COMMANDS, "build_ext": CrossBuild, "bdist_wheel": Wheel}


def main() -> None:
    """Run the build."""
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("python", type=Path)
    parser.add_argument("what", choices=("pyd", "wheel"))
    parser.add_argument("folder", nargs="?", default="dist")
    given = parser.parse_args()
    python = given.python.resolve()
    os.chdir(PROJECT)
    os.environ["EVENLOOP_REQUIRE_COMPILED"] = "1"  # a cross-build that is pure is a mistake
    build = own_build()
    version = version_of(python)
    words = ["-q", "build_ext", "--inplace"]
    if given.what == "wheel":
        library = f"build/lib.{PLATFORM}-{version}"
        words = ["-q", "build", "--build-lib", library, "bdist_wheel", "--dist-dir", given.folder]
    sys.argv = ["setup.py", *words]
    setup(ext_modules=build.extensions("win32"), cmdclass=commands(build, python))


if __name__ == "__main__":
    main()
