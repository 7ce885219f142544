"""`Path`: `pathlib.Path` with asynchronous methods."""

from __future__ import annotations

import os
import pathlib
import sys

import pytest

import evenloop

WINDOWS = sys.platform == "win32"


def test_every_public_name_of_pathlib_is_there() -> None:
    missing = {
        name
        for name in dir(pathlib.Path)
        if not name.startswith("_") and not hasattr(evenloop.Path, name)
    }
    # Deprecated, of some versions alone, or a way to make what this is not.
    assert missing <= {
        "is_reserved", "link_to", "lchmod", "is_junction", "full_match", "with_segments",
        "from_uri", "parser", "copy", "copy_into", "move", "move_into", "info",
    }  # fmt: skip


def test_taking_it_apart() -> None:
    path = evenloop.Path("folder") / "sub" / "file.tar.gz"
    plain = pathlib.Path("folder", "sub", "file.tar.gz")
    assert os.fspath(path) == str(path) == str(plain)
    for name in ("name", "stem", "suffix", "suffixes", "parts", "drive", "root", "anchor"):
        assert getattr(path, name) == getattr(plain, name)
    assert path == plain and path == evenloop.Path(plain) and hash(path) == hash(plain)
    assert path != "folder" and path.parent == plain.parent
    assert [str(each) for each in path.parents] == [str(each) for each in plain.parents]
    assert path.with_suffix(".xz") == plain.with_suffix(".xz")
    assert path.with_name("x") == plain.with_name("x") and path.with_stem("y").name == "y.gz"
    assert path.relative_to("folder") == plain.relative_to("folder")
    assert path.is_relative_to("folder") and path.match("*.gz") and not path.is_absolute()
    assert "top" / path == pathlib.Path("top") / plain
    assert path.joinpath("a", "b") == plain.joinpath("a", "b")
    assert sorted([path, evenloop.Path("a")])[0].name == "a"
    assert repr(path) == "Path('folder/sub/file.tar.gz')"
    with pytest.raises(ValueError, match="elsewhere"):
        path.relative_to("elsewhere")


async def test_asking_and_changing(tmp_path: pathlib.Path) -> None:
    folder = evenloop.Path(tmp_path) / "new" / "folder"
    assert not await folder.exists()
    await folder.mkdir(parents=True)
    assert await folder.is_dir() and not await folder.is_file()
    file = folder / "file"
    assert await file.write_text("text", encoding="utf-8") == 4
    assert await file.read_text() == "text" and await file.read_bytes() == b"text"
    assert await file.write_bytes(b"more") == 4
    assert (await file.stat()).st_size == 4
    async with file.open("rb") as opened:
        assert await opened.read() == b"more"
    other = await file.rename(folder / "other")
    assert other.name == "other" and not await file.exists()
    await file.touch()
    assert await other.replace(file) == file
    assert await file.samefile(tmp_path / "new" / "folder" / "file")
    assert await (await evenloop.Path("x").absolute()).parent.samefile(await evenloop.Path.cwd())
    assert await (folder / ".." / "folder").resolve() == await folder.resolve()
    if not WINDOWS:
        link = folder / "link"
        await link.symlink_to(file)
        assert await link.is_symlink() and await link.readlink() == file
        assert (await link.lstat()).st_size != 4
        await (folder / "hard").hardlink_to(file)
        await file.chmod(0o600)
        assert (await file.stat()).st_mode & 0o777 == 0o600
        assert await file.owner() == pathlib.Path(file).owner()
        await link.unlink()
        await (folder / "hard").unlink()
    await file.unlink()
    await file.unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        await file.unlink()
    await folder.rmdir()


async def test_listing(tmp_path: pathlib.Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(300):
            (tmp_path / name / f"{number}.txt").touch()
    folder = evenloop.Path(tmp_path)
    assert {path.name async for path in folder.iterdir()} == {"a", "b"}
    found = {str(path) async for path in folder.glob("a/*.txt")}
    assert found == {str(path) for path in tmp_path.glob("a/*.txt")} and len(found) == 300
    assert len([path async for path in folder.rglob("*.txt")]) == 600
    async for top, folders, files in folder.walk():
        if top == folder:
            assert sorted(folders) == ["a", "b"]
            folders.remove("a")
        else:
            assert top.name == "b" and len(files) == 300
    with pytest.raises(FileNotFoundError):
        async for _ in (folder / "missing").iterdir():
            raise AssertionError
