"""The documentation site, all of its configuration: `sphinx-build -W --keep-going docs site`.

What can be read off the tree is made while the site is built, in the place of a comment:

- `<!-- made: public MODULE -->`: what `evenloop.__all__` has from that module, from its docstrings;
- `<!-- made: loop -->`: the methods of the loop, room by room;
- `<!-- made: engines -->`: the engines that are registered;
- `<!-- made: commands -->`: the help of each command;
- `<!-- made: examples -->`: the programs under examples/;
- `<!-- made: platforms -->`: the platform-support page, from `evenloop.platforms.table`;
- `<!-- made: changes -->`: the next entry of the change log, from the news fragments.

Nothing is fetched from the network, and nothing is written beside the sources.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_overloads

# The uncompiled sources tell signatures; extensions do not.
os.environ["EVENLOOP_PURE"] = "1"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from sphinx.ext.napoleon import GoogleDocstring  # noqa: E402

import evenloop.engines  # noqa: E402
from evenloop.platforms import page  # noqa: E402

# ---- Sphinx -------------------------------------------------------------------------------------

project = "evenloop"
author = "The evenloop authors"
copyright = author
version = release = evenloop.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "evenloop"
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["evenloop.css"]
html_theme_options = {
    "navigation_with_keys": True,
    "light_css_variables": {"color-brand-primary": "#0f6b5c", "color-brand-content": "#0f6b5c"},
    "dark_css_variables": {"color-brand-primary": "#5fd3bc", "color-brand-content": "#5fd3bc"},
}
highlight_language = "none"
python_maximum_signature_line_length = 96
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
# `name` in a docstring is code, and a link where evenloop has that name.
default_role = "py:obj"

# ---- what is made -------------------------------------------------------------------------------

MARK = re.compile(r"^<!-- made: (\w+)(?: ([\w.]+))? -->$", re.MULTILINE)


def public_names(module: str) -> list[str]:
    """What `evenloop.__all__` has from a module, or the whole of one that is public itself."""
    if module == "evenloop.engines":
        return [f"{module}.{name}" for name in evenloop.engines.__all__]
    found = [(name, getattr(evenloop, name)) for name in evenloop.__all__]
    found = [each for each in found if str(getattr(each[1], "__module__", "")).startswith(module)]
    # Functions first, and as they are written: the order of who explains them to whom.
    found.sort(
        key=lambda each: (
            isinstance(each[1], type),
            each[1].__module__,
            inspect.findsource(each[1])[1],
        )
    )
    return [f"evenloop.{name}" for name, _ in found]


def _public(module: str) -> str:
    """Each public name of a module, from its docstring."""
    return _rst(_described(name) for name in public_names(module))


def _described(name: str) -> str:
    module, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(module), attribute)
    if get_overloads(found):
        return _plain(name, found)
    if not isinstance(found, type):
        return f".. autofunction:: {name}"
    if issubclass(found, asyncio.AbstractEventLoop):
        return f".. autoclass:: {name}\n   :special-members: __init__"
    # What they inherit from Python's classes is told elsewhere.
    bases = [base for base in found.__mro__ if not base.__module__.startswith("evenloop")]
    told = ",".join(base.__name__ for base in bases)
    return f".. autoclass:: {name}\n   :members:\n   :inherited-members: {told}"


def _plain(name: str, function: Callable[..., Any]) -> str:
    """A function with one signature without types, where autodoc would show a page of overloads."""
    signature = inspect.signature(function)
    parameters = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    lines = str(GoogleDocstring(inspect.getdoc(function) or "")).splitlines()
    _shorten(None, "function", name, function, None, lines)
    text = textwrap.indent("\n".join(lines), "   ")
    return f".. py:function:: {name}{inspect.Signature(parameters)}\n\n{text}"


def loop_methods() -> Iterator[tuple[str, list[str]]]:
    """The loop's methods, as (title, names): one group for each class that it is composed of."""
    documented = dir(asyncio.AbstractEventLoop)
    for room in evenloop.EventLoop.__mro__:
        if room is asyncio.AbstractEventLoop:
            return
        own = room is evenloop.EventLoop
        names = [
            name for name in vars(room) if not name.startswith("_") and (own or name in documented)
        ]
        if names:
            words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", room.__name__).capitalize()
            yield ("Running" if own else words), names


def _loop() -> str:
    """The methods of the loop, room by room."""
    return "\n\n".join(
        f"## {title}\n\n" + _rst(f".. automethod:: evenloop.EventLoop.{name}" for name in names)
        for title, names in loop_methods()
    )


def _rst(directives: Iterator[str]) -> str:
    body = "\n\n".join(directives)
    return f"```{{eval-rst}}\n{body}\n```" if body else ""


def _engines() -> str:
    """The engines, as they are registered."""
    lines = ["| engine | where | compiled only | what it is |", "| --- | --- | --- | --- |"]
    for name, entry in evenloop.engines._ENGINES.items():
        where = ", ".join(_SYSTEMS.get(each, each) for each in entry.platforms)
        compiled = "yes" if entry.compiled else "no"
        lines.append(f"| `{name}` | {where or 'everywhere'} | {compiled} | {entry.summary} |")
    return "\n".join(lines)


_SYSTEMS = {
    "linux": "Linux",
    "win32": "Windows",
    "darwin": "macOS",
    "freebsd": "FreeBSD",
    "openbsd": "OpenBSD",
    "netbsd": "NetBSD",
    "dragonfly": "DragonFly",
}


def _commands() -> str:
    """The help of each command, as it prints it."""
    parts = []
    for name in COMMAND.findall(_help()):
        parts.append(f"## evenloop {name}\n\n```text\n{_help(name)}```")
    return "\n\n".join(parts)


# A line of the list of commands in argparse's help.
COMMAND = re.compile(r"^    ([a-z]+) ", re.MULTILINE)


def _help(*words: str) -> str:
    command = [sys.executable, "-m", "evenloop", *words, "--help"]
    environment = {**os.environ, "COLUMNS": "100", "PYTHONPATH": str(ROOT / "src")}
    environment |= {"NO_COLOR": "1", "PYTHON_COLORS": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def _examples() -> str:
    """The table of examples, and each of them whole."""
    folder = ROOT / "examples"
    text = (folder / "README.md").read_text(encoding="utf-8")
    names = re.findall(r"\]\((\w+\.py)\)", text)
    for name in names:
        text = text.replace(f"]({name})", f"](#{name.replace('.', '')})")
        text += f"\n## {name}\n\n```python\n{(folder / name).read_text(encoding='utf-8')}```\n"
    return text


def _platforms() -> str:
    """The page made from the table of promises."""
    return re.sub(r"\A# .*\n", "", page.markdown())  # the page that asks has its title


def _changes() -> str:
    """The news fragments as the next entry of the change log."""
    command = [sys.executable, "-m", "towncrier", "build", "--draft"]
    command += ["--version", release, "--date", "not yet released"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


_MADE: dict[str, Callable[..., str]] = {
    "public": _public,
    "loop": _loop,
    "engines": _engines,
    "commands": _commands,
    "examples": _examples,
    "platforms": _platforms,
    "changes": _changes,
}


def _make(app: Any, name: str, content: list[str]) -> None:
    """Put what is made into a page, in the place of its comment."""

    def made(mark: re.Match[str]) -> str:
        kind, argument = mark.groups()
        return _MADE[kind](argument) if argument else _MADE[kind]()

    content[0] = MARK.sub(made, content[0])
    # The examples are on a page of the site.
    page = "../" * name.count("/") + "guide/examples.md"
    content[0] = re.sub(r"\]\((?:\.\./)+examples/(\w+)\.py\)", rf"]({page}#\1py)", content[0])


def _shorten(app: Any, what: str, name: str, of: Any, options: Any, lines: list[str]) -> None:
    """Show the address of asyncio's documentation, a line of its own in docstrings, as words."""
    for at, line in enumerate(lines):
        if re.fullmatch(r"https://docs\.python\.org/\S+", line.strip()):
            lines[at] = f"`Python's documentation <{line.strip()}>`__"


_kept: dict[str, list[str]] = {}


def _keep(app: Any, what: str, name: str, of: Any, options: Any, lines: list[str]) -> None:
    """Note an attribute's docstring before napoleon takes what is before a colon for a type."""
    if what in ("attribute", "property"):
        _kept[name] = list(lines)


def _restore(app: Any, what: str, name: str, of: Any, options: Any, lines: list[str]) -> None:
    lines[:] = _kept.pop(name, lines)


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _make)
    # napoleon's own priority is 500.
    app.connect("autodoc-process-docstring", _keep, priority=400)
    app.connect("autodoc-process-docstring", _restore, priority=600)
    app.connect("autodoc-process-docstring", _shorten, priority=700)
