"""Pictures of a run: the matrix as bars, the curves as lines, fit for the README.

`draw(run, "speed.svg")` writes the bars to that file and the curves, if the run has any, to
`speed-growth.svg`. They are light, and readable in black and white: evenloop is the dark one.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from evenloop.bench.case import MATRIX, TOPICS
from evenloop.bench.figures import Row, Run, geometric_mean
from evenloop.bench.machine import lines

__all__ = ["draw"]

_OURS = "#0b6e4f"
_THEIRS = ("#9aa5b1", "#e0a458", "#6a8caf", "#c97b84", "#b8a1d9", "#7fb7be", "#c2b280")
_ASYNCIO = "#d5dae0"
_LIMIT = "#444444"
_INK = "#24292f"
_FAR = 4.0  # ratios beyond this end at the edge, with their number
_BAR = 0.8  # the share of a row's height that its bars take


def draw(run: Run, path: str) -> list[str]:
    """Draw a run.

    Args:
        run: What to draw.
        path: The file for the bars; its suffix is the format.

    Returns:
        The files that were written.
    """
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    style = {
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "axes.edgecolor": "#c8ccd0",
        "xtick.color": _INK,
        "ytick.color": _INK,
        "svg.hashsalt": "evenloop",
    }
    drawn = []
    with pyplot.rc_context(style):
        rows = _rows_of_bars(run)
        if rows:
            _save(pyplot, _bars(pyplot, run, rows), path)
            drawn.append(path)
        curves = [row for row in run.rows if row.curve is not None]
        if curves:
            stem, suffix = os.path.splitext(path)
            name = path if not drawn else f"{stem}-growth{suffix}"
            _save(pyplot, _curves(pyplot, run, curves), name)
            drawn.append(name)
    return drawn


def _rows_of_bars(run: Run) -> list[Row]:
    """The matrix, or whatever else was measured if it was not."""
    found = [row for row in run.rows if row.topic == MATRIX]
    found = found or [row for row in run.rows if row.curve is None]
    return [row for row in found if row.figure(run.subject) is not None]


def _save(pyplot: Any, figure: Any, path: str) -> None:
    extra = {"metadata": {"Date": None}} if path.endswith(".svg") else {}
    figure.savefig(path, dpi=160, facecolor="white", bbox_inches="tight", **extra)
    pyplot.close(figure)


def _names(run: Run, rows: list[Row]) -> list[str]:
    """Who has a figure at all, the subject first."""
    found = [name for name in run.contenders if any(row.figure(name) is not None for row in rows)]
    return sorted(found, key=lambda name: name != run.subject)


def _colours(run: Run) -> dict[str, str]:
    others = [name for name in run.contenders if name not in (run.subject, "asyncio", "C")]
    known = {run.subject: _OURS, "asyncio": _ASYNCIO, "C": _LIMIT}
    return known | {name: _THEIRS[at % len(_THEIRS)] for at, name in enumerate(others)}


def _bars(pyplot: Any, run: Run, rows: list[Row]) -> Any:
    """One group of bars per case: how many times as fast as uvloop (or the first rival)."""
    names = _names(run, rows)
    base = "uvloop" if "uvloop" in names else next(iter(names[1:]), run.subject)
    colours = _colours(run)
    means = {name: geometric_mean(row.ratio(name, base) for row in rows) for name in names}
    groups: list[tuple[str, dict[str, float | None]]] = [
        (row.title, {name: row.ratio(name, base) for name in names}) for row in rows
    ]
    groups.append(("geometric mean", means))
    height = _BAR / len(names)
    figure, axes = pyplot.subplots(figsize=(8.4, 1.4 + len(groups) * (0.14 + 0.062 * len(names))))
    for at, (_, ratios) in enumerate(groups):
        for number, name in enumerate(names):
            ratio = ratios[name]
            if ratio is None:
                continue
            place = at - _BAR / 2 + (number + 0.5) * height
            axes.barh(place, min(ratio, _FAR), height * 0.92, color=colours[name])
            if name == run.subject or ratio > _FAR:
                weight = "bold" if name == run.subject else "normal"
                axes.text(
                    min(ratio, _FAR) + 0.03,
                    place,
                    f"{ratio:.1f} ×",
                    va="center",
                    fontsize=7 if name == run.subject else 5.5,
                    weight=weight,
                    color=_OURS if name == run.subject else _INK,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
                )
    axes.axvline(1, color=_INK, linewidth=0.7, zorder=3)
    axes.axhline(len(groups) - 1.5, color="#c8ccd0", linewidth=0.8)
    axes.set_yticks(range(len(groups)), [title.replace("`", "") for title, _ in groups])
    axes.get_yticklabels()[-1].set_weight("bold")
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.set_xlim(0, _FAR + 0.45)
    axes.tick_params(length=0)
    axes.set_xlabel(f"speed, {base} = 1 (longer is faster); {_small_print(run)}", fontsize=7.5)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="x", color="#eceef0", zorder=0)
    axes.set_axisbelow(True)
    labels = [f"{name} {run.contenders[name]}".strip() for name in names]
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=colours[name]) for name in names]
    axes.legend(
        handles,
        labels,
        loc="lower center",
        bbox_to_anchor=(0.3, 1.0),
        ncols=min(len(names), 4),
        frameon=False,
        fontsize=8,
    )
    return figure


def _curves(pyplot: Any, run: Run, rows: list[Row]) -> Any:
    """Microseconds per event against how much there is of everything."""
    kinds = list(dict.fromkeys(row.curve[0] for row in rows if row.curve))
    colours = _colours(run)
    figure, places = pyplot.subplots(
        1, len(kinds), figsize=(4.2 * len(kinds), 3.2), squeeze=False, layout="constrained"
    )
    for axes, kind in zip(places[0], kinds, strict=True):
        points = [row for row in rows if row.curve and row.curve[0] == kind]
        for name in reversed(_names(run, points)):
            known = [(row.curve[1], row.figure(name)) for row in points if row.curve]
            known = [(x, y) for x, y in known if y is not None]
            axes.plot(
                [x for x, _ in known],
                [y * 1e6 for _, y in known if y is not None],
                color=colours[name],
                linestyle="--" if name == "C" else "-",
                marker="o",
                markersize=3,
                linewidth=2.2 if name == run.subject else 1.3,
                label=name,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if value < 1e3 else "")
        axes.tick_params(labelsize=7, which="both")
        axes.set_xlabel(kind)
        axes.set_ylabel("processor time per event, µs")
        axes.grid(color="#eceef0")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], frameon=False, fontsize=7)
    figure.suptitle(f"{TOPICS['growth']} ({_small_print(run)})", fontsize=9)
    return figure


def _small_print(run: Run) -> str:
    known = dict(lines(run.machine))
    python = known["Python"].partition(",")[0]
    processor = known["machine"].partition(",")[0]
    return f"{python}, {processor}, medians of {run.options['rounds']} rounds"
