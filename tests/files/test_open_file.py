"""`open_file()`: what it reads, writes and raises is what `io` reads, writes and raises."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import tempfile
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import evenloop
from evenloop.files import text, transfer

Factory = Callable[[], asyncio.AbstractEventLoop]

CONTENT = bytes(range(256)) * 600 + b"\nline\r\nanother\rlast"


@pytest.fixture(params=["at once", "by thread"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How cached data is read: as the system offers it, or by threads alone."""
    if request.param == "by thread":
        monkeypatch.setattr(transfer.cached, "OFFERED", False)
    elif not transfer.cached.OFFERED:
        pytest.skip("this system does not tell cached data from other")
    return str(request.param)


async def outcome(call: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await call()
    except (OSError, ValueError, TypeError) as error:
        return type(error)


def outcome_of(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (OSError, ValueError, TypeError) as error:
        return type(error)


# ---- against io --------------------------------------------------------------------------------

SIZES = st.one_of(st.integers(-1, 40), st.sampled_from([8191, 8192, 65535, 65536, 70000, 200000]))
PLACES = st.one_of(st.integers(0, 60), st.integers(0, 200000))
STEPS = st.one_of(
    st.tuples(st.just("read"), SIZES),
    st.tuples(st.just("readline"), SIZES.filter(bool)),
    st.tuples(st.just("readinto"), st.integers(0, 9000)),
    st.tuples(st.just("write"), st.binary(max_size=20)),
    st.tuples(st.just("write many"), st.sampled_from([9000, 70000])),
    st.tuples(st.just("seek"), PLACES),
    st.tuples(st.just("seek"), st.integers(-30, 30), st.sampled_from([1, 2])),
    st.tuples(st.just("tell")),
    st.tuples(st.just("truncate"), st.one_of(st.none(), PLACES)),
    st.tuples(st.just("flush")),
    st.tuples(st.just("readlines"), st.integers(0, 500)),
)


def arguments(step: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    name, *args = step
    if name == "write many":
        return "write", (bytearray(b"y" * args[0]),)
    return name, tuple(bytearray(arg) if name == "readinto" else arg for arg in args)


async def same_as_io(mode: str, buffering: int, steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        theirs, ours = Path(folder, "theirs"), Path(folder, "ours")
        if "x" not in mode:
            theirs.write_bytes(CONTENT)
            ours.write_bytes(CONTENT)
        with open(theirs, mode, buffering) as plain:
            async with evenloop.open_file(ours, mode, buffering) as file:
                for step in steps:
                    name, args = arguments(step)
                    _, other = arguments(step)
                    expected = outcome_of(lambda: getattr(plain, name)(*args))  # noqa: B023
                    got = await outcome(lambda: getattr(file, name)(*other))  # noqa: B023
                    assert got == expected, step
                    assert args == other, step
                    if "a" in mode and name == "write":
                        # Until it is written it stands elsewhere, and buffers differ in size.
                        plain.flush()
                        await file.flush()
                assert await outcome(file.tell) == outcome_of(plain.tell)
        assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("buffering", [-1, 0, 16])
@pytest.mark.parametrize("mode", ["rb", "r+b", "w+b", "wb", "ab", "a+b", "x+b"])
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(STEPS, max_size=14))
def test_binary_files(way: str, mode: str, buffering: int, steps: list[tuple[Any, ...]]) -> None:
    evenloop.run(same_as_io(mode, buffering, steps))


TEXT = (
    "first\nsecond\r\nthird\rfourth \u00e9\u20ac\U0001f600\u3042\u6f22\r\r\n\n\u3042\rlong "
    + "x" * 9000
    + "\nend\u3042"
)
TEXT_STEPS = st.one_of(
    st.tuples(st.just("read"), st.one_of(st.integers(-1, 30), st.just(9000))),
    st.tuples(st.just("readline"), st.integers(-1, 30)),
    st.tuples(st.just("again")),
    st.tuples(st.just("mark")),
    st.tuples(st.just("back")),
    st.tuples(st.just("seek"), st.just(0)),
    st.tuples(st.just("seek"), st.just(0), st.just(2)),
)


async def same_text_as_io(
    encoding: str, newline: str | None, steps: list[tuple[Any, ...]], added: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        theirs, ours = Path(folder, "theirs"), Path(folder, "ours")
        content = TEXT.encode(encoding, "ignore")
        theirs.write_bytes(content)
        ours.write_bytes(content)
        options: dict[str, Any] = {"encoding": encoding, "newline": newline}
        with open(theirs, "r+", **options) as plain:
            async with evenloop.open_file(ours, "r+", **options) as file:
                marks = (0, 0)
                for name, *args in steps:
                    if name == "mark":
                        marks = (plain.tell(), await file.tell())
                    elif name == "back":
                        plain.seek(marks[0])
                        await file.seek(marks[1])
                    elif name == "again":  # a mark of ours says the same to io
                        plain.seek(await file.tell())
                        marks = (plain.tell(), await file.tell())
                    else:
                        expected = getattr(plain, name)(*args)
                        assert await getattr(file, name)(*args) == expected, name
                plain.seek(0, 2)
                await file.seek(0, 2)
                assert plain.write(added) == await file.write(added)
                assert file.encoding == plain.encoding and file.errors == plain.errors
                assert file.newlines == plain.newlines
        assert ours.read_bytes() == theirs.read_bytes()
        with open(theirs, **options) as plain:
            async with evenloop.open_file(ours, **options) as file:
                assert [line async for line in file] == list(plain)


@pytest.mark.parametrize("newline", [None, "", "\n", "\r", "\r\n"])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-16", "utf-8-sig", "cp932", "shift_jisx0213", "iso2022_jp"]
)
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(TEXT_STEPS, max_size=10),
    added=st.sampled_from(["", "a\nb", "\r\n", "\u3042" * 9000]),
    piece=st.sampled_from([1, 7, 100, 65536]),
)
@example(steps=[("read", 9000), ("again",), ("back",), ("read", 9000)], added="", piece=65536)
@example(steps=[("read", 19), ("again",), ("back",), ("read", 9000)], added="", piece=65536)
def test_text_files(
    encoding: str,
    newline: str | None,
    steps: list[tuple[Any, ...]],
    added: str,
    piece: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # Where one piece ends and the next begins, all kinds of things are cut in two.
        patch.setattr(text, "_CHUNK", piece)
        evenloop.run(same_text_as_io(encoding, newline, steps, added))


@pytest.mark.parametrize("newline", [None, "", "\n", "\r", "\r\n"])
@pytest.mark.parametrize("piece", [1, 5, 65536])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig", "cp932", "iso2022_jp"])
async def test_every_position_of_a_text_file(
    tmp_path: Path,
    encoding: str,
    piece: int,
    newline: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`seek()` to what `tell()` gave comes back, and goes on as before; io agrees."""
    monkeypatch.setattr(text, "_CHUNK", piece)
    path = tmp_path / "file"
    path.write_bytes(TEXT[:60].encode(encoding, "ignore"))
    with open(path, encoding=encoding, newline=newline) as plain:
        whole = plain.read()
        async with evenloop.open_file(path, encoding=encoding, newline=newline) as file:
            for place in range(len(whole) + 1):
                await file.seek(0)
                assert await file.read(place) == whole[:place]
                mark = await file.tell()
                for _ in range(2):
                    plain.seek(mark)
                    assert plain.read() == whole[place:]
                    await file.seek(mark)
                    mark = await file.tell()
                    assert await file.read() == whole[place:]
                plain.seek(0)
                plain.read(place)
                await file.seek(plain.tell())
                assert await file.read() == whole[place:]


@pytest.mark.parametrize(
    "args",
    [
        ("missing",),
        ("missing", "q"),
        ("missing", "rb", 1, "utf-8"),
        ("missing", "r", 0),
        ("there", "x"),
        ("there", "r", -1, "no such encoding"),
        ("there", "r", -1, None, None, "x"),
        (".", "w"),
        (3.5,),
    ],
    ids=str,
)
async def test_errors_of_opening(
    args: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").touch()
    with pytest.raises((OSError, ValueError, TypeError, LookupError)) as expected:
        open(*args).close()
    with pytest.raises(type(expected.value)) as got:
        await evenloop.open_file(*args)
    assert str(got.value) == str(expected.value)


# ---- the rest of the interface -----------------------------------------------------------------


async def test_the_three_ways_to_open(new_loop: Factory, tmp_path: Path) -> None:
    path = tmp_path / "file"
    async with evenloop.open_file(path, "w", encoding="utf-8") as text:
        assert isinstance(text, evenloop.TextFile)
        assert await text.write("one\n") == 4
        await text.writelines(["two\n", "three"])
    assert text.closed
    file = await evenloop.open_file(path, "rb")
    assert isinstance(file, evenloop.BufferedFile)
    assert [line async for line in file] == [b"one" + os.linesep.encode(), *rest()]
    await file.close()
    await file.close()
    async with await evenloop.open_file(path, "rb", 0) as raw:
        assert isinstance(raw, evenloop.RawFile)
        assert (await raw.readall()).startswith(b"one")


def rest() -> list[bytes]:
    return [b"two" + os.linesep.encode(), b"three"]


async def test_attributes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    async with evenloop.open_file(path, encoding="ascii", errors="replace") as file:
        assert (file.name, file.mode, file.encoding, file.errors) == (
            str(path),
            "r",
            "ascii",
            "replace",
        )
        assert file.readable() and not file.writable() and file.seekable() and not file.isatty()
        assert file.fileno() == file.buffer.raw.fileno()
        assert repr(file) == f"<TextFile name={str(path)!r} open>"
    for call in (file.fileno, file.readable, file.isatty):
        with pytest.raises(ValueError, match="closed file"):
            call()
    for wait in (file.read, file.readline, file.flush, file.tell, file.fsync):
        with pytest.raises(ValueError, match="closed file"):
            await wait()
    with pytest.raises(ValueError, match="closed file"):
        await file.write("x")
    with pytest.raises(ValueError, match="closed file"):
        aiter(file)


async def test_positional_reads_and_writes(new_loop: Factory, way: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    async with evenloop.open_file(path, "r+b", 0) as file:
        places = [(n * 37) % len(CONTENT) for n in range(300)]
        found = await asyncio.gather(*[file.pread(100, place) for place in places])
        assert found == [CONTENT[place : place + 100] for place in places]
        assert await file.tell() == 0
        assert await file.pread(10, len(CONTENT)) == b""
        assert await file.pread(10, len(CONTENT) - 3) == b"ast"
        assert await file.pread(0, 0) == b""
        counts = await asyncio.gather(*[file.pwrite(b"%03d" % n, n * 3) for n in range(200)])
        assert counts == [3] * 200
        assert await file.pread(600, 0) == b"".join(b"%03d" % n for n in range(200))
        await file.fsync()
        for wrong in (file.pread(-1, 0), file.pread(1, -1), file.pwrite(b"x", -1)):
            with pytest.raises(ValueError, match="must not be negative"):
                await wrong
        with pytest.raises(TypeError):
            await file.pwrite("text", 0)


async def test_a_shared_position_is_the_descriptors(tmp_path: Path) -> None:
    """Whoever else has the descriptor sees where the file stands."""
    if os.name != "posix":
        pytest.skip("there the position is kept until flush()")
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with open(path, "rb", 0) as plain:
        plain.seek(2)
        async with evenloop.open_file(plain.fileno(), "rb", 0, closefd=False) as file:
            assert await file.read(3) == b"234"
            assert plain.read(2) == b"56"
            assert await file.read(9) == b"789"
        assert plain.read() == b""


async def test_a_pipe(new_loop: Factory) -> None:
    """What has no positions, and may wait for ever: what arrives late is not lost."""
    reading, writing = os.pipe()
    async with evenloop.open_file(reading, "rb") as file:
        async with evenloop.open_file(writing, "wb") as writer:
            assert not file.seekable()
            with pytest.raises(io.UnsupportedOperation):
                await evenloop.open_file(reading, "r+b", closefd=False)
            await writer.write(b"one\ntwo")
            await writer.flush()
            assert await file.readline() == b"one\n"
            task = asyncio.ensure_future(file.readline())
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await writer.write(b" and a half\nrest")
        assert await file.readline() == b"two and a half\n"
        assert await file.read() == b"rest"
        assert await file.read(1) == b""


async def test_wrapped_files(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    async with evenloop.wrap_file(gzip.open(path, "wb")) as file:
        assert isinstance(file, evenloop.WrappedFile)
        assert await file.write(b"one\ntwo\n") == 8
        await file.writelines([b"three"])
        await file.flush()
    async with evenloop.wrap_file(gzip.open(path, "rb")) as file:
        assert await file.readline() == b"one\n"
        assert await file.tell() == 4
        await file.seek(0)
        assert await file.readlines() == [b"one\n", b"two\n", b"three"]
        assert await file.read() == b""
        assert file.wrapped.mtime is not None
    assert file.closed
    memory = evenloop.wrap_file(io.StringIO("a\nb"))
    assert [line async for line in memory] == ["a\n", "b"]
    await memory.aclose()
    raw = evenloop.wrap_file(open(path, "rb", 0))  # noqa: SIM115
    assert isinstance(raw, evenloop.RawFile)
    await raw.close()
    with pytest.raises(TypeError, match="open file object"):
        evenloop.wrap_file(3)


async def test_it_runs_on_any_loop(tmp_path: Path) -> None:
    """Also on asyncio's own, where threads carry everything that is not cached."""

    def other() -> None:
        asyncio.run(use(), loop_factory=asyncio.SelectorEventLoop)  # type: ignore[call-arg]

    async def use() -> None:
        async with evenloop.open_file(tmp_path / "file", "w+b") as file:
            await file.write(b"there")
            await file.seek(0)
            assert await file.read() == b"there"

    if "loop_factory" in asyncio.run.__code__.co_varnames:
        await asyncio.to_thread(other)


async def test_other_tasks_have_their_turn(tmp_path: Path) -> None:
    """Cached reads never wait; the task that makes them does not keep the loop for itself."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 65536)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.ensure_future(count())
    async with evenloop.open_file(path, "rb", 0) as file:
        for _ in range(1000):
            await file.pread(100, 0)
    task.cancel()
    assert turns >= 1000 // 64


def test_a_file_that_is_never_closed(tmp_path: Path) -> None:
    """It complains, and what was written is there, as with `io`."""

    async def main() -> None:
        file = await evenloop.open_file(tmp_path / "file", "wb")
        await file.write(b"data")
        await file.write(b" and more")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        evenloop.run(main())
    assert any("unclosed file" in str(warning.message) for warning in caught)
    assert (tmp_path / "file").read_bytes() == b"data and more"


async def test_line_buffering(tmp_path: Path) -> None:
    path = tmp_path / "file"
    async with evenloop.open_file(path, "w", 1) as file:
        assert file.line_buffering
        await file.write("no line yet")
        assert path.read_text() == ""
        await file.write(", now\n")
        assert path.read_text() == "no line yet, now\n"


async def test_much_is_written_behind_in_order(new_loop: Factory, tmp_path: Path) -> None:
    path = tmp_path / "file"
    pieces = [bytes([n]) * 50_000 for n in range(100)]
    async with evenloop.open_file(path, "wb") as file:
        for piece in pieces:
            assert await file.write(piece) == len(piece)
        assert await file.tell() == 5_000_000
    assert path.read_bytes() == b"".join(pieces)
