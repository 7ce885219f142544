"""The pages of the documentation, taken apart: fenced blocks, commands, links, anchors.

A comment before a block says how the tests treat it; a page's reader does not see it:

    <!-- sample: NAME.py -->                 is kept under that name for the samples after it
    <!-- sample: needs 8080 -->              runs beside a server that the test has at that port
    <!-- sample: serves 8080, says TEXT -->  is asked for `/` and has to answer with the text;
                                             then `, until SIGTERM` ends it (else SIGINT), and
                                             `, prints TEXT` is what it prints by then
    <!-- sample: logs TEXT -->               the text is on stderr, which is else to be empty
    <!-- sample: pytest -->                  pytest runs it
    <!-- sample: compiles, REASON -->        is not run
    <!-- sample: output -->                  a block of text: what the sample before it printed

Without a comment a Python block is a program that ends with status 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "examples" / "README.md",
    ROOT / "changes" / "README.md",
]

_NOTE = re.compile(r"<!-- sample: (.*) -->")
_FENCE = re.compile(r"(\s*)(`{3,}|:{3,})\s*([^`]*)$")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    language: str
    note: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return blocks_of(page.read_text(encoding="utf-8"), page)


def blocks_of(text: str, page: Path) -> list[Block]:
    """The fenced blocks of a text."""
    found = []
    note = ""
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if match := _NOTE.fullmatch(line.strip()):
            note = match[1]
        elif match := _FENCE.fullmatch(line):
            indent, fence, language = match.groups()
            body = []
            for _, inner in lines:
                if inner.strip() == fence:
                    break
                body.append(inner.removeprefix(indent))
            else:
                raise ValueError(f"{page}:{number}: the block has no end")
            found.append(Block(page, number, language.strip(), note, "\n".join(body) + "\n"))
            note = ""
        elif line.strip() and note:
            raise ValueError(f"{page}:{number}: no block follows <!-- sample: {note} -->")
    return found


def prose(page: Path) -> str:
    """A page without its code and comments."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"^(\s*)(`{3,}|:{3,}).*?^\1\2\s*$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    return re.sub(r"^    .*$", "", text, flags=re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What can stand behind `#` in a link to a page: its headings, as MyST and GitHub name them."""
    found: set[str] = set()
    for title in re.findall(r"^#+ +(.+)$", prose(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        number = 1
        while slug in found:
            slug, number = f"{slug.removesuffix(f'-{number - 1}')}-{number}", number + 1
        found.add(slug)
    return found


def links(page: Path) -> list[str]:
    """The targets of a page's links."""
    text = re.sub(r"(`+).+?\1", "", prose(page), flags=re.DOTALL)
    text += "".join(
        label for label in re.findall(r"\[`[^`]*`\]\([^)]*\)", prose(page))
    )  # a label may be code
    inline = re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", text)
    return inline + re.findall(r"<(https?:[^>]+)>", text)
