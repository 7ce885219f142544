"""The links of the documentation lead somewhere: files, headings, and well-formed addresses."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.docs.pages import PAGES, ROOT, anchors, links

LINKS = [(page, link) for page in PAGES for link in dict.fromkeys(links(page))]
# Addresses in docstrings.
SOURCES = sorted((ROOT / "src" / "evenloop").rglob("*.py"))
ADDRESSES = sorted(
    {
        address.rstrip(".,;:")
        for source in SOURCES
        for address in re.findall(r"https?://[^\s\"'`)>\]}]+", source.read_text(encoding="utf-8"))
    }
)


def problem(page: Path, link: str) -> str:
    """What is wrong with a link on a page, or an empty string."""
    if "://" in link:
        return malformed(link)
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    if not target.exists():
        return f"there is no {target}"
    if anchor and anchor not in anchors(target):
        return f"{target.name} has no heading for #{anchor}"
    return ""


def malformed(address: str) -> str:
    """What is wrong with an address, by its form alone."""
    parts = urlsplit(address)
    local = parts.hostname in ("127.0.0.1", "localhost")
    if parts.scheme != "https" and not local:
        return "it is not https"
    host = parts.hostname or ""
    if not local and not re.fullmatch(r"([a-z\d]([a-z\d-]*[a-z\d])?\.)+[a-z]{2,}", host):
        return f"{host!r} is no name of a host"
    if re.search(r"[\s<>\"{}|\\^`]", address):
        return "it has characters that addresses have not"
    return ""


def test_links_are_found() -> None:
    assert (ROOT / "README.md", "docs/performance.md") in LINKS
    assert len(ADDRESSES) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    wrong = {link: problem(page, link) for of, link in LINKS if of == page}
    assert not {link: what for link, what in wrong.items() if what}


def test_addresses_in_docstrings() -> None:
    wrong = {address: malformed(address) for address in ADDRESSES if "{" not in address}
    assert not {address: what for address, what in wrong.items() if what}


def test_a_broken_link_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text("# Title here\n\n[x](#title-here) [y](b.md) [z](#no)\n", encoding="utf-8")
    assert links(page) == ["#title-here", "b.md", "#no"]
    assert problem(page, "#title-here") == ""
    assert "no heading" in problem(page, "#no")
    assert "there is no" in problem(page, "b.md")
    assert problem(page, "http://example.org") == "it is not https"
    assert "no name of a host" in problem(page, "https://nowhere/x")
