"""Tables for the terminal: with rich in colour, without it in plain text."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from evenloop.bench.case import MATRIX, TOPICS
from evenloop.bench.contenders import LIMIT
from evenloop.bench.figures import Row, Run, spread, summary
from evenloop.bench.machine import lines

__all__ = ["Cell", "Table", "amount", "notes", "show", "tables"]

_ERRORS = {
    "none": "none",
    "cannot": "-",
    "failed": "FAILED",
    "crashed": "CRASHED",
    "hangs": "hangs",
}
# Each topic's unit for people, and how many of it are a second or a byte.
_UNITS = {
    MATRIX: ("ms", 1e3),
    "files": ("ms", 1e3),
    "server": ("µs", 1e6),
    "http": ("µs", 1e6),
    "memory": ("KiB", 1 / 1024),
    "start": ("ms", 1e3),
    "growth": ("µs", 1e6),
}
_FIRST = {
    "wall": "elapsed time ± spread, processor time behind it",
    "cpu": "processor time ± spread, elapsed time behind it",
    "bytes": "size ± spread",
}


class Cell(NamedTuple):
    """A piece of a table: what counts, what is beside it, and how the first is shown."""

    text: str
    beside: str = ""
    style: str = ""


class Table(NamedTuple):
    """A table before it is drawn."""

    title: str
    head: list[str]
    rows: list[list[Cell]]


def amount(value: float) -> str:
    """A figure with three digits."""
    for limit, form in ((100, ".0f"), (10, ".1f"), (1, ".2f")):
        if abs(value) >= limit:
            return format(value, form)
    return format(value, ".3f")


def tables(run: Run) -> list[Table]:
    """One table per topic."""
    return [_table(run, topic) for topic in run.topics()]


def _table(run: Run, topic: str) -> Table:
    rows = run.of(topic)
    unit, _ = _UNITS[topic]
    taking_part = [name for name in run.contenders if any(name in row.outcomes for row in rows)]
    order = [run.subject, *(name for name in taking_part if name != run.subject)]
    ratios = ["best rival", *(["uvloop"] if "uvloop" in order else [])]
    title = f"{TOPICS[topic]} ({unit}: {_FIRST[rows[0].measure]}; best rival and uvloop: ratios)"
    body = []
    for row in rows:
        figures = (row.figure(name) for name in order if name != LIMIT)
        best = min((figure for figure in figures if figure is not None), default=None)
        line = [Cell(row.title)]
        line += [_cell(row, name, best, topic) for name in order]
        line.append(_ratio(row.lead(run.subject)))
        if "uvloop" in order:
            line.append(_ratio(row.ratio(run.subject, "uvloop")))
        body.append(line)
    if len(rows) > 1:
        body.append(_means(run, topic, order))
    return Table(title, ["case", *order, *ratios], body)


def _cell(row: Row, name: str, best: float | None, topic: str) -> Cell:
    outcome = row.outcomes.get(name)
    if outcome is None:
        return Cell("")
    figure = row.figure(name)
    if figure is None:
        bad = "red" if outcome.error in ("failed", "crashed", "hangs") else "dim"
        return Cell(_ERRORS.get(outcome.error, "?"), "", bad)
    factor = _UNITS[topic][1]
    text = amount(figure * factor)
    noise = spread(outcome.values(row.measure))
    if noise is not None:
        text += f" ±{noise:.0%}"
    other = {"wall": "cpu", "cpu": "wall"}.get(row.measure)
    second = outcome.median(other) if other else None
    beside = "" if second is None else amount(second * factor)
    return Cell(text, beside, "bold green" if figure == best and name != LIMIT else "")


def _ratio(ratio: float | None) -> Cell:
    if ratio is None:
        return Cell("")
    return Cell(f"{ratio:.2f}", "", "bold green" if ratio >= 1 else "bold red")


def _means(run: Run, topic: str, order: list[str]) -> list[Cell]:
    told = summary(run, topic)
    line = [Cell("geometric mean of the ratios", "", "bold"), Cell("1.00")]
    for name in order[1:]:
        mean = told["ratio_to"].get(name)
        line.append(Cell(f"{mean:.2f}" if mean else ""))
    line.append(_ratio(told["ratio_to_best_rival"]))
    if "uvloop" in order:
        line.append(_ratio(told["ratio_to"].get("uvloop")))
    return line


def notes(run: Run) -> list[str]:
    """What a reader of the tables has to know: who is behind, and why a figure is missing."""
    told = []
    for topic in run.topics():
        behind = summary(run, topic)["behind"]
        if behind:
            told.append(f"{run.subject} is behind in {len(behind)} of {topic}: {', '.join(behind)}")
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in run.rows:
        for name, outcome in row.outcomes.items():
            if outcome.error:
                text = f"{_ERRORS.get(outcome.error, outcome.error)} ({outcome.message})"
                reasons.setdefault((name, text), []).append(row.name)
    for (name, text), where in reasons.items():
        places = ", ".join(where[:6]) + (f" and {len(where) - 6} more" if len(where) > 6 else "")
        told.append(f"{name}: {text} in {places}")
    samples = {
        sample["note"]: None
        for row in run.rows
        for outcome in row.outcomes.values()
        for sample in outcome.samples
        if sample.get("note")
    }
    return told + list(samples)


def show(run: Run) -> None:
    """Print the tables of a run and the machine it was made on."""
    write, draw = _writer()
    versions = ", ".join(f"{name} {version}".strip() for name, version in run.contenders.items())
    for name, value in [*lines(run.machine), ("loops", versions)]:
        write(f"{name:<9}", "bold")
        write(f"{value}\n", "")
    for table in tables(run):
        draw(table)
    write("\n", "")
    for note in notes(run):
        write(f"{note}\n", "")


Write = Callable[[str, str], None]
Draw = Callable[[Table], None]


def _writer() -> tuple[Write, Draw]:
    try:
        console_module = importlib.import_module("rich.console")
    except ImportError:
        return _write_plain, _draw_plain
    console = console_module.Console(highlight=False, emoji=False, markup=False, soft_wrap=True)
    if not console.is_terminal:
        return _write_plain, _draw_plain

    def write(text: str, style: str) -> None:
        console.print(text, style=style or None, end="")

    return write, lambda table: _draw_rich(console, table)


def _draw_rich(console: Any, table: Table) -> None:
    rich_table = importlib.import_module("rich.table").Table
    rich_text = importlib.import_module("rich.text").Text
    box = importlib.import_module("rich.box").SIMPLE_HEAD
    drawn = rich_table(
        title=table.title, box=box, title_justify="left", title_style="bold", pad_edge=False
    )
    for at, name in enumerate(table.head):
        drawn.add_column(name, justify="right" if at else "left", no_wrap=at > 0)
    for line in table.rows:
        cells = []
        for cell in line:
            text = rich_text(cell.text, style=cell.style)
            if cell.beside:
                text.append(f" {cell.beside}", style="dim")
            cells.append(text)
        drawn.add_row(*cells)
    console.print()
    console.print(drawn, soft_wrap=False)


def _write_plain(text: str, style: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _draw_plain(table: Table) -> None:
    texts = [table.head]
    texts += [[f"{cell.text} {cell.beside}".strip() for cell in line] for line in table.rows]
    widths = [max(len(line[at]) for line in texts) for at in range(len(table.head))]
    sys.stdout.write(f"\n{table.title}\n\n")
    for line in texts:
        first, *others = (
            text.rjust(width) if at else text.ljust(width)
            for at, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        sys.stdout.write("  ".join([first, *others]).rstrip() + "\n")
