"""The commands that the documentation tells: each exists, with the options that it is given."""

from __future__ import annotations

import functools
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from evenloop.cli.run import split

from tests.docs.needs import need
from tests.docs.pages import PAGES, ROOT, blocks

# Programs of the system, and of packages that are not ours to check.
ELSEWHERE = {"cd", "curl", "openssl", "git", "sphinx-build", "towncrier"}
TOOLS = {"uvicorn": "examples", "gunicorn": "examples", "pytest": "test"}
SHELL = ("sh", "bash", "console", "shell")
VARIABLES = re.compile(r"([A-Z_]+)=\S*$")


def commands(page: Path) -> list[str]:
    """The commands of a page: in blocks for the shell, indented, and of ours also in the text."""
    found = []
    for block in blocks(page):
        if block.language in SHELL:
            lines = block.text.replace("\\\n", " ").splitlines()
            found += [line.removeprefix("$ ") for line in lines if line.strip()]
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found += re.findall(r"^    ((?:evenloop|python -m|pip|bash|\.ci/\w+) .*)", text, re.MULTILINE)
    found += re.findall(r"`((?:python -m )?evenloop [a-z][^`]*)`", text)
    return [one.strip() for line in found for one in re.split(r" && ", _bare(line)) if one.strip()]


def _bare(line: str) -> str:
    """Without a comment, and without parentheses around it."""
    line = re.sub(r"(^|\s)#.*", "", line).replace("\n", " ")
    return line.replace("&& (", "&& ").rstrip(")") if "&& (" in line else line


COMMANDS = [(page, command) for page in PAGES for command in dict.fromkeys(commands(page))]


def _name(value: object) -> str:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else str(value)


def test_commands_are_found() -> None:
    assert ("README.md", "evenloop run app.py --its --own options") in [
        (page.name, command) for page, command in COMMANDS
    ]


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=_name)
def test_command(page: Path, command: str) -> None:
    check(shlex.split(command))


@pytest.mark.parametrize(
    "wrong",
    [
        "evenloop run --fast app.py",
        "evenloop dance",
        "EVENLOOP_NO_SUCH=1 evenloop doctor",
        "pip install '.[everything]'",
        "bash .ci/no_such",
        "frobnicate",
        "python -m evenloop bench --no-such",
    ],
)
def test_what_is_not_there_is_noticed(wrong: str) -> None:
    with pytest.raises(AssertionError):
        check(shlex.split(wrong))


def check(words: list[str]) -> None:
    """Fail unless these words are a command that exists."""
    while words and (variable := VARIABLES.match(words[0])):
        known = variable[1].startswith("PYTHON") or variable[1] in sources()
        assert known, f"nothing reads {variable[1]}"
        words = words[1:]
    if words[:1] and re.fullmatch(r"python[\d.]*", words[0]):
        assert len(words) > 1
        if words[1] != "-m":
            return  # a program of the reader's
        words = words[2:]
        if words[0] not in {"evenloop", "pip", *TOOLS}:
            assert is_module(words[0]), f"there is no module {words[0]}"
            return
    name, *rest = words
    if name == "evenloop":
        check_ours(rest)
    elif name == "pip":
        check_extras(rest)
    elif name in TOOLS:
        need(name, TOOLS[name])
        check_options(rest, help_of(name))
    elif name == "bash" or "/" in name:
        file = rest[0] if name == "bash" else name
        assert (ROOT / file).exists(), f"there is no {file}"
    else:
        assert name in ELSEWHERE, f"nobody knows the command {name}"


def check_ours(words: list[str]) -> None:
    if words in (["--help"], ["--version"], ["…"], ["..."]):
        return
    assert words[0] in re.findall(r"^    ([a-z]+) ", help_of("evenloop"), re.MULTILINE)
    ours, program = split(words)
    if words[0] == "check":  # like `run`: what follows the program's name belongs to it
        named = (at for at, word in enumerate(words) if at and (word[0] != "-" or word == "-m"))
        ours = words[: next(named, len(words))]
    check_options(ours[1:], help_of("evenloop", words[0]))
    if "-m" in ours and ours[-1] in TOOLS:
        need(ours[-1], TOOLS[ours[-1]])
        check_options(program, help_of(ours[-1]))


def check_options(words: list[str], text: str) -> None:
    for word in words:
        if word == "--":
            return
        if word.startswith("-"):
            option = word.split("=")[0]
            assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text), f"no {option}"


def check_extras(words: list[str]) -> None:
    with open(ROOT / "pyproject.toml", "rb") as file:
        known = tomllib.load(file)["project"]["optional-dependencies"]
    for word in words:
        if word.startswith("."):
            for extra in re.findall(r"[\w-]+", "".join(re.findall(r"\[(.*)\]", word))):
                assert extra in known, f"there is no extra {extra}"


@functools.cache
def help_of(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words, "--help"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "PYTHON_COLORS": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@functools.cache
def sources() -> str:
    """Whatever may read a variable of ours."""
    files = [
        file
        for folder in ("src/evenloop", ".ci", "tests")
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and file.suffix in ("", ".py", ".sh") and file.parent.name != "docs"
    ]
    return "\n".join(f.read_text(encoding="utf-8", errors="replace") for f in files) + (
        (ROOT / "setup.py").read_text(encoding="utf-8")
    )


def is_module(name: str) -> bool:
    stem = ROOT.joinpath(*name.split("."))
    return stem.is_dir() or stem.with_suffix(".py").exists() or name in ("pdb", "sphinx")
