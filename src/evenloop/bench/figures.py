"""What a run says: medians, spreads, ratios, means. Plain arithmetic over plain data."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from evenloop.bench.contenders import LIMIT, Contender

__all__ = ["Outcome", "Row", "Run", "geometric_mean", "spread", "summary"]

FORMAT = 1


@dataclass(slots=True)
class Outcome:
    """What one contender did in one case, over the rounds."""

    samples: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    """`none`: not implemented; `cannot`: not here; `failed`, `crashed`, `hangs`."""
    message: str = ""

    def values(self, measure: str) -> list[float]:
        """One kind of figure, round by round."""
        return [sample[measure] for sample in self.samples if measure in sample]

    def median(self, measure: str) -> float | None:
        """The figure that counts, or None if there is none."""
        values = self.values(measure)
        return statistics.median(values) if values and not self.error else None


@dataclass(slots=True)
class Row:
    """One case and everybody's outcomes."""

    name: str
    title: str
    topic: str
    measure: str
    curve: tuple[str, int] | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def figure(self, contender: str) -> float | None:
        """The median of what this row is compared by."""
        outcome = self.outcomes.get(contender)
        return None if outcome is None else outcome.median(self.measure)

    def ratio(self, ours: str, other: str) -> float | None:
        """How many times as fast (or small) `ours` is as `other`."""
        mine, theirs = self.figure(ours), self.figure(other)
        return theirs / mine if mine and theirs else None

    def best_rival(self, ours: str) -> str | None:
        """The rival with the smallest figure."""
        rivals = {
            name: figure
            for name in self.outcomes
            if is_rival(name, ours) and (figure := self.figure(name)) is not None
        }
        return min(rivals, key=rivals.__getitem__, default=None)

    def lead(self, ours: str) -> float | None:
        """The ratio to the best rival."""
        best = self.best_rival(ours)
        return None if best is None else self.ratio(ours, best)


@dataclass(slots=True)
class Run:
    """One run of the benchmark: all that is shown, stored and drawn."""

    subject: str
    """Whose ratios are shown: evenloop, in the shape that was asked for."""
    contenders: dict[str, str]
    """Names and versions, in the order of the tables."""
    machine: dict[str, Any]
    options: dict[str, Any]
    rows: list[Row] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Everything, and the summary for those who only want that."""
        rows = []
        for row in self.rows:
            medians = {name: row.figure(name) for name in row.outcomes}
            spreads = {
                name: spread(outcome.values(row.measure)) for name, outcome in row.outcomes.items()
            }
            rows.append(
                {
                    **asdict(row),
                    "medians": medians,
                    "spreads": spreads,
                    "best_rival": row.best_rival(self.subject),
                    "ratio_to_best_rival": row.lead(self.subject),
                    "ratio_to_uvloop": row.ratio(self.subject, "uvloop"),
                }
            )
        return {
            "format": FORMAT,
            "subject": self.subject,
            "contenders": self.contenders,
            "machine": self.machine,
            "options": self.options,
            "summary": {topic: summary(self, topic) for topic in self.topics()},
            "rows": rows,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Run:
        """A run that was stored.

        Raises:
            ValueError: It is not one, or of another format.
        """
        if stored.get("format") != FORMAT:
            raise ValueError("not a run of this version of evenloop bench")
        rows = []
        for one in stored["rows"]:
            outcomes = {name: Outcome(**outcome) for name, outcome in one["outcomes"].items()}
            curve = tuple(one["curve"]) if one["curve"] else None
            rows.append(
                Row(one["name"], one["title"], one["topic"], one["measure"], curve, outcomes)
            )
        return cls(
            stored["subject"], stored["contenders"], stored["machine"], stored["options"], rows
        )

    def compare_by(self, measure: str) -> None:
        """Compare all times by `wall` or `cpu`, whatever the cases themselves would choose."""
        for row in self.rows:
            if row.measure != "bytes":
                row.measure = measure

    def topics(self) -> list[str]:
        """The topics that have rows, in order."""
        return list(dict.fromkeys(row.topic for row in self.rows))

    def of(self, topic: str) -> list[Row]:
        """The rows of a topic."""
        return [row for row in self.rows if row.topic == topic]

    def failures(self) -> list[tuple[Row, Outcome]]:
        """Where the subject itself did not come through."""
        return [
            (row, outcome)
            for row in self.rows
            if (outcome := row.outcomes.get(self.subject)) is not None
            and outcome.error not in ("", "cannot")
        ]


def is_rival(name: str, ours: str) -> bool:
    """Whether a contender is one that `ours` competes with: no other shape of it, nor C."""
    return name not in (ours, LIMIT) and not Contender(name).ours


def geometric_mean(ratios: Iterable[float | None]) -> float | None:
    """The mean of ratios; those that are unknown do not count."""
    known = [ratio for ratio in ratios if ratio]
    return math.exp(statistics.fmean(map(math.log, known))) if known else None


def spread(values: list[float]) -> float | None:
    """Half the range of the rounds, relative to their median."""
    if len(values) < 2 or not (middle := statistics.median(values)):
        return None
    return (max(values) - min(values)) / 2 / middle


def summary(run: Run, topic: str) -> dict[str, Any]:
    """Geometric means of the ratios of a topic, and where the subject does not lead."""
    rows = [row for row in run.of(topic) if row.figure(run.subject) is not None]
    leads = {row.name: row.lead(run.subject) for row in rows}
    return {
        "rows": len(rows),
        "ratio_to_best_rival": geometric_mean(leads.values()),
        "ratio_to": {
            name: geometric_mean(row.ratio(run.subject, name) for row in rows)
            for name in run.contenders
            if name != run.subject
        },
        "behind": sorted(
            (name for name, lead in leads.items() if lead and lead < 1),
            key=lambda name: leads[name] or 0,
        ),
    }
