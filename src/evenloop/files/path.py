"""`Path`: `pathlib.Path` with asynchronous methods.

What asks the file system is a coroutine, and what lists it an asynchronous iterator; each runs
in a thread. What only takes a path apart is as in `pathlib`.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from evenloop.files.opening import Opening, open_file
from evenloop.files.transfer import in_thread

__all__ = ["Path"]

# So many entries of a folder are fetched at a time.
_BATCH = 256

_PathLike = str | os.PathLike[str]


class Path:
    """A path of the file system, like `pathlib.Path`, which it wraps and converts to."""

    __slots__ = ("__weakref__", "_path")

    def __init__(self, *parts: _PathLike) -> None:
        self._path = pathlib.Path(*[os.fspath(part) for part in parts])

    # ---- taking it apart -------------------------------------------------------------------

    def __fspath__(self) -> str:
        return str(self._path)

    def __str__(self) -> str:
        return str(self._path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path.as_posix()!r})"

    def __bytes__(self) -> bytes:
        return bytes(self._path)

    def __hash__(self) -> int:
        return hash(self._path)

    def __eq__(self, other: object) -> bool:
        theirs = _plain(other)
        return self._path == theirs if theirs is not None else NotImplemented

    def __lt__(self, other: Path | pathlib.Path) -> bool:
        theirs = _plain(other)
        return self._path < theirs if theirs is not None else NotImplemented

    def __le__(self, other: Path | pathlib.Path) -> bool:
        theirs = _plain(other)
        return self._path <= theirs if theirs is not None else NotImplemented

    def __gt__(self, other: Path | pathlib.Path) -> bool:
        theirs = _plain(other)
        return self._path > theirs if theirs is not None else NotImplemented

    def __ge__(self, other: Path | pathlib.Path) -> bool:
        theirs = _plain(other)
        return self._path >= theirs if theirs is not None else NotImplemented

    def __truediv__(self, other: _PathLike) -> Path:
        return Path(self._path / os.fspath(other))

    def __rtruediv__(self, other: _PathLike) -> Path:
        return Path(os.fspath(other) / self._path)

    @property
    def parts(self) -> tuple[str, ...]:
        """The components."""
        return self._path.parts

    @property
    def drive(self) -> str:
        """The drive letter or name, if any."""
        return self._path.drive

    @property
    def root(self) -> str:
        """The root, if any."""
        return self._path.root

    @property
    def anchor(self) -> str:
        """Drive and root together."""
        return self._path.anchor

    @property
    def name(self) -> str:
        """The last component."""
        return self._path.name

    @property
    def suffix(self) -> str:
        """The ending of the name, with its dot."""
        return self._path.suffix

    @property
    def suffixes(self) -> list[str]:
        """The endings of the name."""
        return self._path.suffixes

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return self._path.stem

    @property
    def parent(self) -> Path:
        """The path without its last component."""
        return Path(self._path.parent)

    @property
    def parents(self) -> Sequence[Path]:
        """The folders above, the nearest first."""
        return tuple(Path(path) for path in self._path.parents)

    def as_posix(self) -> str:
        """Return it with slashes."""
        return self._path.as_posix()

    def as_uri(self) -> str:
        """Return it as a file: URI."""
        return self._path.as_uri()

    def is_absolute(self) -> bool:
        """Return whether it begins at the root."""
        return self._path.is_absolute()

    def is_relative_to(self, other: _PathLike) -> bool:
        """Return whether it lies below `other`."""
        return self._path.is_relative_to(os.fspath(other))

    def match(self, pattern: str, **options: Any) -> bool:
        """Return whether it matches a pattern of the shell's kind."""
        return self._path.match(pattern, **options)

    def joinpath(self, *others: _PathLike) -> Path:
        """Return it with more components."""
        return Path(self._path, *others)

    def relative_to(self, *other: _PathLike, **options: Any) -> Path:
        """Return it as seen from `other`; ValueError if it does not lie below."""
        return Path(self._path.relative_to(*[os.fspath(path) for path in other], **options))

    def with_name(self, name: str) -> Path:
        """Return it with another last component."""
        return Path(self._path.with_name(name))

    def with_stem(self, stem: str) -> Path:
        """Return it with another name before the ending."""
        return Path(self._path.with_stem(stem))

    def with_suffix(self, suffix: str) -> Path:
        """Return it with another ending."""
        return Path(self._path.with_suffix(suffix))

    # ---- asking the file system ------------------------------------------------------------

    @classmethod
    async def cwd(cls) -> Path:
        """Return the current folder."""
        return cls(await in_thread(pathlib.Path.cwd))

    @classmethod
    async def home(cls) -> Path:
        """Return the user's folder."""
        return cls(await in_thread(pathlib.Path.home))

    async def _call(self, name: str, *args: Any, **options: Any) -> Any:
        return await in_thread(_call, getattr(self._path, name), args, options)

    async def exists(self, **options: Any) -> bool:
        """Return whether there is something."""
        return await self._call("exists", **options)  # type: ignore[no-any-return]

    async def is_file(self, **options: Any) -> bool:
        """Return whether it is a regular file."""
        return await self._call("is_file", **options)  # type: ignore[no-any-return]

    async def is_dir(self, **options: Any) -> bool:
        """Return whether it is a folder."""
        return await self._call("is_dir", **options)  # type: ignore[no-any-return]

    async def is_symlink(self) -> bool:
        """Return whether it is a symbolic link."""
        return await self._call("is_symlink")  # type: ignore[no-any-return]

    async def is_mount(self) -> bool:
        """Return whether it is a mount point."""
        return await self._call("is_mount")  # type: ignore[no-any-return]

    async def is_socket(self) -> bool:
        """Return whether it is a socket."""
        return await self._call("is_socket")  # type: ignore[no-any-return]

    async def is_fifo(self) -> bool:
        """Return whether it is a named pipe."""
        return await self._call("is_fifo")  # type: ignore[no-any-return]

    async def is_block_device(self) -> bool:
        """Return whether it is a block device."""
        return await self._call("is_block_device")  # type: ignore[no-any-return]

    async def is_char_device(self) -> bool:
        """Return whether it is a character device."""
        return await self._call("is_char_device")  # type: ignore[no-any-return]

    async def samefile(self, other: _PathLike) -> bool:
        """Return whether it is the same file as `other`."""
        return await self._call("samefile", os.fspath(other))  # type: ignore[no-any-return]

    async def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return what the system tells of it."""
        return await self._call("stat", follow_symlinks=follow_symlinks)  # type: ignore[no-any-return]

    async def lstat(self) -> os.stat_result:
        """Return the same, of a symbolic link itself."""
        return await self._call("lstat")  # type: ignore[no-any-return]

    async def owner(self) -> str:
        """Return the name of its owner."""
        return await self._call("owner")  # type: ignore[no-any-return]

    async def group(self) -> str:
        """Return the name of its group."""
        return await self._call("group")  # type: ignore[no-any-return]

    async def absolute(self) -> Path:
        """Return it as seen from the root."""
        return Path(await self._call("absolute"))

    async def resolve(self, strict: bool = False) -> Path:
        """Return it without symbolic links and `..`."""
        return Path(await self._call("resolve", strict))

    async def expanduser(self) -> Path:
        """Return it with `~` replaced."""
        return Path(await self._call("expanduser"))

    async def readlink(self) -> Path:
        """Return what a symbolic link points to."""
        return Path(await self._call("readlink"))

    # ---- changing it -----------------------------------------------------------------------

    async def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Make a folder."""
        await self._call("mkdir", mode, parents, exist_ok)

    async def rmdir(self) -> None:
        """Remove an empty folder."""
        await self._call("rmdir")

    async def touch(self, mode: int = 0o666, exist_ok: bool = True) -> None:
        """Make an empty file, or have an existing one changed now."""
        await self._call("touch", mode, exist_ok)

    async def unlink(self, missing_ok: bool = False) -> None:
        """Remove a file or symbolic link."""
        await self._call("unlink", missing_ok)

    async def rename(self, target: _PathLike) -> Path:
        """Rename it, and return the new path."""
        return Path(await self._call("rename", os.fspath(target)))

    async def replace(self, target: _PathLike) -> Path:
        """Rename it over whatever is there, and return the new path."""
        return Path(await self._call("replace", os.fspath(target)))

    async def chmod(self, mode: int, *, follow_symlinks: bool = True) -> None:
        """Change its permissions."""
        await self._call("chmod", mode, follow_symlinks=follow_symlinks)

    async def symlink_to(self, target: _PathLike, target_is_directory: bool = False) -> None:
        """Make it a symbolic link to `target`."""
        await self._call("symlink_to", os.fspath(target), target_is_directory)

    async def hardlink_to(self, target: _PathLike) -> None:
        """Make it another name of the file `target`."""
        await self._call("hardlink_to", os.fspath(target))

    # ---- its content -----------------------------------------------------------------------

    def open(
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Opening[Any]:
        """Open it; see `open_file()`."""
        return open_file(self, mode, buffering, encoding, errors, newline)

    async def read_bytes(self) -> bytes:
        """Return its content."""
        return await self._call("read_bytes")  # type: ignore[no-any-return]

    async def read_text(self, *args: Any, **options: Any) -> str:
        """Return its content as text; the arguments are those of `pathlib.Path.read_text()`."""
        return await self._call("read_text", *args, **options)  # type: ignore[no-any-return]

    async def write_bytes(self, data: Any) -> int:
        """Replace its content; return how many bytes were written."""
        return await self._call("write_bytes", data)  # type: ignore[no-any-return]

    async def write_text(self, data: str, *args: Any, **options: Any) -> int:
        """Replace its content by text; the arguments are those of `pathlib.Path.write_text()`."""
        return await self._call("write_text", data, *args, **options)  # type: ignore[no-any-return]

    # ---- listing it ------------------------------------------------------------------------

    async def iterdir(self) -> AsyncIterator[Path]:
        """Go through the entries of a folder."""
        async for path in _listed(self._path.iterdir):
            yield Path(path)

    async def glob(self, pattern: str, **options: Any) -> AsyncIterator[Path]:
        """Go through what matches a pattern below it."""
        async for path in _listed(self._path.glob, pattern, **options):
            yield Path(path)

    async def rglob(self, pattern: str, **options: Any) -> AsyncIterator[Path]:
        """Go through what matches a pattern, at any depth."""
        async for path in _listed(self._path.rglob, pattern, **options):
            yield Path(path)

    async def walk(
        self, *args: Any, **options: Any
    ) -> AsyncIterator[tuple[Path, list[str], list[str]]]:
        """Go through the folders below it, with the names of their folders and files.

        Removing names from the list of folders keeps the walk out of them, as in `os.walk()`,
        whose arguments this takes.
        """
        walking = os.walk(self._path, *args, **options)
        while (step := await in_thread(next, walking, None)) is not None:
            folder, folders, files = step
            yield Path(folder), folders, files


def _plain(other: object) -> pathlib.Path | None:
    if isinstance(other, Path):
        return other._path
    return other if isinstance(other, pathlib.Path) else None


def _call(method: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return method(*args, **options)


async def _listed(
    method: Callable[..., Iterator[pathlib.Path]], *args: Any, **options: Any
) -> AsyncIterator[pathlib.Path]:
    """Go through what a method lists, which is fetched in batches by a thread."""
    listing = await in_thread(lambda: iter(method(*args, **options)))
    while batch := await in_thread(lambda: list(islice(listing, _BATCH))):
        for path in batch:
            yield path
