"""Build evenloop on Linux for other systems, and check what comes out.

    cross.py wheel TARGET FOLDER     # a wheel into FOLDER; TARGET `all`: one for each target
    cross.py extensions TARGET       # the extensions, beside their sources
    cross.py check FOLDER            # look into the wheels of a folder

Targets are macos-arm64, macos-x86_64, freebsd-x86_64, windows-x64 and windows-arm64. The compiler
is zig (`pip install ziglang`), or mingw-w64 with `--compiler mingw` for windows-x64. For Windows
`--python` is the folder of a Windows Python: its headers and its import library are used, nothing
of it is run. For the others it is the Python that runs this: its headers, but for `pyconfig.h`, are
the same everywhere, and the extensions use none of what differs.

The build is setup.py's own. Told here is only what setuptools would read off the running Python:
the compiler, the ending of extensions, where headers and libraries are, and the wheel's tag.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel

PROJECT = Path(__file__).resolve().parent.parent
ZIG = f"{sys.executable} -m ziglang"


@dataclass(frozen=True)
class Target:
    """A system to build for."""

    platform: str  # as sys.platform has it there
    zig: str  # as zig calls it
    tag: str  # as a wheel calls it
    ending: str  # of extensions; {} is the "313" of a Python
    magic: bytes  # that they begin with
    machine: tuple[int, bytes]  # and what follows where
    options: str = ""  # for the linker
    needs: bytes = b""  # what they name, where the format does not tell the system


# Mach-O, 64 bits: CPU type. ELF: the machine, and the C library that it needs. PE: the machine,
# after its own header.
MACHO, ELF, PE = b"\xcf\xfa\xed\xfe", b"\x7fELF\x02\x01", b"MZ"
TARGETS = {
    "macos-arm64": Target(
        "darwin", "aarch64-macos.11.0", "macosx_11_0_arm64", ".cpython-{}-darwin.so", MACHO,
        (4, b"\x0c\x00\x00\x01"), "-undefined dynamic_lookup",
    ),
    "macos-x86_64": Target(
        "darwin", "x86_64-macos.11.0", "macosx_11_0_x86_64", ".cpython-{}-darwin.so", MACHO,
        (4, b"\x07\x00\x00\x01"), "-undefined dynamic_lookup",
    ),
    "freebsd-x86_64": Target(
        "freebsd14", "x86_64-freebsd", "freebsd_14_0_release_amd64", ".cpython-{}.so", ELF,
        (18, b"\x3e\x00"), needs=b"libc.so.7",
    ),
    "windows-x64": Target(
        "win32", "x86_64-windows-gnu", "win_amd64", ".cp{}-win_amd64.pyd", PE, (-1, b"\x64\x86")
    ),
    "windows-arm64": Target(
        "win32", "aarch64-windows-gnu", "win_arm64", ".cp{}-win_arm64.pyd", PE, (-1, b"\x64\xaa")
    ),
}  # fmt: skip
# What the compilers for Windows are called, and what of theirs goes in: Windows has no libgcc.
MINGW = "x86_64-w64-mingw32ucrt-gcc"


def windows_version(python: Path) -> str:
    """The "313" of a folder with python313.dll."""
    found = [re.fullmatch(r"python(3\d+)\.dll", file.name) for file in python.glob("python3*.dll")]
    versions = [match[1] for match in found if match]
    if len(versions) != 1:
        raise SystemExit(f"{python} is no Windows Python: it has {len(versions)} python3*.dll")
    return versions[0]


def exports(library: Path) -> list[tuple[str, bool]]:
    """The names in an import library, and whether each is data, not a function."""
    data = library.read_bytes()
    assert data.startswith(b"!<arch>\n/ "), f"{library} is no import library"
    start = 8 + 60  # behind the archive's header and that of its first member, the index
    count = int.from_bytes(data[start : start + 4], "big")
    start += 4 + 4 * count
    names = {name.decode() for name in data[start:].split(b"\0", count)[:count]}
    wanted = sorted(name.removeprefix("__imp_") for name in names if name.startswith("__imp_"))
    return [(name, name not in names) for name in wanted]


def import_library(python: Path, version: str, folder: Path) -> Path:
    """Make the import library for arm64 from the one for x64: both export the same names."""
    folder.mkdir(parents=True, exist_ok=True)
    definitions = folder / f"python{version}.def"
    lines = [f"LIBRARY python{version}.dll", "EXPORTS"]
    for name, is_data in exports(python / "libs" / f"python{version}.lib"):
        lines.append(f"  {name} DATA" if is_data else f"  {name}")
    definitions.write_text("\n".join(lines) + "\n", encoding="ascii")
    made = folder / f"python{version}.lib"
    command = [*ZIG.split(), "dlltool", "-m", "arm64", "-d", str(definitions), "-l", str(made)]
    subprocess.run(command, check=True)
    return folder


def own_headers(folder: Path) -> Path:
    """The headers of the running Python, in one folder: Debian keeps two."""
    shutil.copytree(sysconfig.get_path("include"), folder, dirs_exist_ok=True)
    shutil.copy(sysconfig.get_config_h_filename(), folder / "pyconfig.h")
    return folder


def own_build() -> ModuleType:
    """setup.py, as a module."""
    spec = importlib.util.spec_from_file_location("evenloop_setup", PROJECT / "setup.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands(build: ModuleType, target: Target, compiler: str, python: Path | None) -> Any:
    """setup.py's commands, for the target; and the "313" of the Python it is for."""
    windows = target.platform == "win32"
    if windows and python is None:
        raise SystemExit("a build for Windows needs --python, the folder of a Windows Python")
    version = windows_version(python) if windows and python else "{}{}".format(*sys.version_info)
    if compiler == "mingw":
        compile_with = f"{MINGW} -O3 -fno-strict-aliasing"
        link_with = f"{MINGW} -shared -s -static-libgcc"
    else:
        compile_with = f"{ZIG} cc -target {target.zig} -O3 -fno-strict-aliasing -fPIC -w"
        link_with = f"{ZIG} cc -target {target.zig} -shared -s {target.options}"
    scratch = Path(f"build/cross.{target.tag}-{version}")

    class CrossBuild(build.BuildAllOrNone):  # type: ignore[name-defined, misc]
        def finalize_options(self) -> None:
            self.build_temp = f"build/temp.{target.tag}-{version}"
            super().finalize_options()
            # Those of the Linux Python would come first otherwise.
            self.library_dirs, self.libraries = [], []
            if windows and python:
                self.include_dirs = [str(python / "include")]
                libraries = python / "libs"
                if target.tag == "win_arm64":
                    libraries = import_library(python, version, scratch / "libs")
                self.library_dirs, self.libraries = [str(libraries)], [f"python{version}"]
            else:
                self.include_dirs = [str(own_headers(scratch / "include"))]

        def build_extensions(self) -> None:
            self.compiler.set_executables(compiler_so=compile_with, linker_so=link_with)
            super().build_extensions()

        def get_libraries(self, ext: Any) -> list[str]:
            return list(ext.libraries)

        def get_ext_filename(self, fullname: str) -> str:
            return fullname.replace(".", "/") + target.ending.format(version)

    class Wheel(bdist_wheel):
        def finalize_options(self) -> None:
            self.bdist_dir = f"build/bdist.{target.tag}-{version}"
            super().finalize_options()

        def get_tag(self) -> tuple[str, str, str]:
            return f"cp{version}", f"cp{version}", target.tag

    return {**build.COMMANDS, "build_ext": CrossBuild, "bdist_wheel": Wheel}, version


def cross_build(name: str, given: argparse.Namespace) -> None:
    """Build for one target."""
    target = TARGETS[name]
    build = own_build()
    made, version = commands(build, target, given.compiler, given.python)
    words = ["-q", "build_ext", "--inplace"]
    if given.what == "wheel":
        # Nothing that an earlier build has left there may get in.
        library = f"build/lib.{target.tag}-{version}"
        shutil.rmtree(library, ignore_errors=True)
        words = ["-q", "build", "--build-lib", library, "bdist_wheel", "--dist-dir", given.folder]
    sys.argv = ["setup.py", *words]
    setup(ext_modules=build.extensions(target.platform), cmdclass=made)


def check(wheel: Path) -> list[str]:
    """Look into a wheel: return what is wrong with it."""
    modules = own_build().compilable
    python, _, tag = wheel.stem.split("-")[2:5]
    [target] = [each for each in TARGETS.values() if each.tag == tag]
    ending = target.ending.format(python.removeprefix("cp"))
    expected = {name.replace(".", "/") + ending for name in modules(target.platform)}
    belongs = {"evenloop", "evenloop_pytest.py", f"evenloop-{wheel.stem.split('-')[1]}.dist-info"}
    problems = []
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        found = {name for name in names if name.endswith((".so", ".pyd"))}
        problems += [f"lacks {name}" for name in sorted(expected - found)]
        problems += [f"has {name}, which is not this target's" for name in sorted(found - expected)]
        problems += [
            f"has {name}, which does not belong in a wheel"
            for name in names
            if name.endswith((".c", ".h.in", ".pyc", ".o", "_why_pure.txt"))
            or name.split("/")[0] not in belongs
        ]
        for name in sorted(found & expected):
            content = archive.read(name)
            offset, machine = target.machine
            if offset < 0:
                offset = int.from_bytes(content[60:64], "little") + 4
            fits = content.startswith(target.magic) and content[offset:].startswith(machine)
            if not fits or target.needs not in content:
                problems.append(f"{name} is not built for {target.zig}")
            if f"PyInit_{name.split('/')[-1].removesuffix(ending)}".encode() not in content:
                problems.append(f"{name} does not export its initialisation")
        [facts] = [name for name in names if name.endswith(".dist-info/WHEEL")]
        stated = re.findall(r"^Tag: (.*)$", archive.read(facts).decode(), re.MULTILINE)
        if stated != [f"{python}-{python}-{tag}"]:
            problems.append(f"its name and its tags differ: {stated}")
    print(f"{wheel.name}: {len(found)} extensions, {len(problems)} problems")
    return [f"{wheel.name} {problem}" for problem in problems]


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("what", choices=("wheel", "extensions", "check"))
    parser.add_argument("target")
    parser.add_argument("folder", nargs="?", default="dist")
    parser.add_argument("--python", type=lambda text: Path(text).resolve())
    parser.add_argument("--compiler", choices=("zig", "mingw"), default="zig")
    given = parser.parse_args()
    if given.what == "check":
        wheels = sorted(Path(given.target).glob("*.whl"))
        problems = [problem for wheel in wheels for problem in check(wheel.resolve())]
        print(*problems, sep="\n")
        raise SystemExit(bool(problems) or not wheels)
    given.folder = str(Path(given.folder).resolve())
    os.chdir(PROJECT)
    os.environ["EVENLOOP_REQUIRE_COMPILED"] = "1"  # a cross-build that is pure is a mistake
    if given.target != "all":
        if given.target not in TARGETS:
            parser.error(f"target must be one of {', '.join(TARGETS)} or all, not {given.target}")
        cross_build(given.target, given)
        return
    for name in TARGETS:
        # setuptools keeps state: one process each.
        with tempfile.TemporaryFile("w+") as log:
            command = [sys.executable, __file__, given.what, name, given.folder]
            command += ["--python", str(given.python)] if given.python else []
            done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT)
            log.seek(0)
            if done.returncode:
                raise SystemExit(f"{name}: the build failed\n{log.read()}")
        print(f"{name}: built", flush=True)


if __name__ == "__main__":
    main()
