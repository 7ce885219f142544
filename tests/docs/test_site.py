"""The site: built without a warning, whole in itself, with every public name in it."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import evenloop.engines

from tests.docs.needs import need
from tests.docs.pages import ROOT

pytestmark = pytest.mark.timeout(300)

PUBLIC = [f"evenloop.{name}" for name in evenloop.__all__]
LOOP = [f"evenloop.EventLoop.{name}" for name in dir(asyncio.AbstractEventLoop) if name[0] != "_"]
ENGINES = [f"evenloop.engines.{name}" for name in evenloop.engines.__all__]


class Page(HTMLParser):
    """What a page of the site points to, and what can be pointed to on it."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = dict(attrs)
        if of.get("id"):
            self.ids.add(str(of["id"]))
        if tag == "a" and of.get("href"):
            self.links.append(str(of["href"]))
        if tag in ("script", "img") and of.get("src"):
            self.loads.append(str(of["src"]))
        if tag == "link" and of.get("href"):
            self.loads.append(str(of["href"]))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as CI builds it."""
    for module in ("sphinx", "furo", "myst_parser", "towncrier"):
        need(module, "docs")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q"]
        + ["-d", str(folder / "doctrees"), "docs", str(folder / "html")],
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    found = {}
    for file in site.rglob("*.html"):
        if "_static" not in file.parts:
            page = found[file] = Page()
            page.feed(file.read_text(encoding="utf-8"))
    return found


def test_every_link_leads_somewhere(pages: dict[Path, Page]) -> None:
    wrong = []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            there = target in pages and (
                not parts.fragment or unquote(parts.fragment) in pages[target].ids
            )
            if not there and not (target.is_file() and not parts.fragment):
                wrong.append(f"{file.name}: {link}")
    assert not wrong


def test_nothing_comes_from_elsewhere(pages: dict[Path, Page]) -> None:
    for file, page in pages.items():
        for load in page.loads:
            parts = urlsplit(load)
            assert not parts.scheme and not parts.netloc, f"{file.name} loads {load}"
            assert not parts.path or (file.parent / unquote(parts.path)).exists(), load


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    inventory = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    known = {line.split(" ", 1)[0] for line in zlib.decompress(inventory).decode().splitlines()}
    missing = [name for name in PUBLIC + LOOP + ENGINES if name not in known]
    assert not missing, "docs/reference/ has no `made: public` comment for their modules"


def test_what_is_made_was_made(site: Path) -> None:
    for file in site.rglob("*.html"):
        assert "<!-- made:" not in file.read_text(encoding="utf-8"), file


@pytest.mark.parametrize("name", PUBLIC + LOOP + ENGINES)
def test_every_public_name_has_a_docstring(name: str) -> None:
    if name == "evenloop.__version__":
        return
    found = evenloop
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    documented = found.__doc__ or ""
    assert len(documented.split()) > 3, f"{name} has no docstring"
    assert not re.search(r"\b(TODO|XXX|FIXME)\b", documented)
