"""What tools/cross.py finds in a wheel that was built for another system."""

from __future__ import annotations

import runpy
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("setuptools.command.bdist_wheel", reason="the tool builds with setuptools 70")

ROOT = Path(__file__).parents[2]
#: The first bytes of an extension for each target, as their formats have it.
HEADS = {
    "macosx_11_0_arm64": b"\xcf\xfa\xed\xfe\x0c\x00\x00\x01",
    "macosx_11_0_x86_64": b"\xcf\xfa\xed\xfe\x07\x00\x00\x01",
    "freebsd_14_0_release_amd64": b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + b"\x3e\0libc.so.7",
    "win_amd64": b"MZ".ljust(60, b"\0") + b"\x80\0\0\0" + b"\0" * 64 + b"PE\0\0\x64\x86",
    "win_arm64": b"MZ".ljust(60, b"\0") + b"\x80\0\0\0" + b"\0" * 64 + b"PE\0\0\x64\xaa",
}


@pytest.fixture(scope="module")
def tool() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tools" / "cross.py"))


def wheel(tool: dict[str, Any], folder: Path, tag: str, **changed: bytes | None) -> Path:
    """Write a wheel that is as it should be, but for the files that are given."""
    target = next(each for each in tool["TARGETS"].values() if each.tag == tag)
    ending = target.ending.format("313")
    content: dict[str, bytes] = {
        f"evenloop/{name.split('.', 1)[1].replace('.', '/')}{ending}": HEADS[tag]
        + b"PyInit_"
        + name.rpartition(".")[2].encode()
        for name in tool["own_build"]().compilable(target.platform)
    }
    content["evenloop/py.typed"] = b""
    content["evenloop-1.dist-info/WHEEL"] = f"Tag: cp313-cp313-{tag}\n".encode()
    for name, data in changed.items():
        where = name.replace("__", "/") + ("" if "." in name else ending)
        if data is None:
            del content[where]
        else:
            content[where] = data
    path = folder / f"evenloop-1-cp313-cp313-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("tag", HEADS)
def test_a_wheel_as_it_should_be(tool: dict[str, Any], tmp_path: Path, tag: str) -> None:
    assert tool["check"](wheel(tool, tmp_path, tag)) == []


@pytest.mark.parametrize(
    ("name", "data", "finding"),
    [
        ("evenloop__handles", None, "lacks evenloop/handles.cpython-313-darwin.so"),
        ("evenloop__handles", b"\x7fELF\x02\x01\x01\x00PyInit_handles", "is not built for"),
        ("evenloop__handles", HEADS["macosx_11_0_arm64"], "does not export"),
        ("evenloop__engines__epoll", b"", "which is not this target's"),
        ("evenloop__handles.c", b"", "does not belong in a wheel"),
        ("tests__support.py", b"", "does not belong in a wheel"),
        ("evenloop-1.dist-info__WHEEL", b"Tag: cp313-cp313-linux_x86_64\n", "tags differ"),
    ],
)
def test_what_is_wrong(
    tool: dict[str, Any], tmp_path: Path, name: str, data: bytes | None, finding: str
) -> None:
    problems = tool["check"](wheel(tool, tmp_path, "macosx_11_0_arm64", **{name: data}))
    assert any(finding in problem for problem in problems), problems


def test_the_names_in_an_import_library(tool: dict[str, Any], tmp_path: Path) -> None:
    names = [b"PyOS_InputHook_no", b"__imp_PyList_New", b"PyList_New", b"__imp_Py_NoneStruct"]
    index = len(names).to_bytes(4, "big") + bytes(4 * len(names)) + b"\0".join(names) + b"\0"
    library = tmp_path / "python313.lib"
    library.write_bytes(b"!<arch>\n" + b"/ ".ljust(60) + index)
    assert tool["exports"](library) == [("PyList_New", False), ("Py_NoneStruct", True)]
