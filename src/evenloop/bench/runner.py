"""Runs the workers: each case on each contender in its own process, in interleaved rounds.

The rounds of a case go A B C, B C A, C A B: whatever disturbs the machine for a while, or comes
from what ran just before, falls on all alike.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from evenloop.bench.case import Case
from evenloop.bench.contenders import LIMIT, Contender
from evenloop.bench.figures import Outcome, Row
from evenloop.bench.worker import MARK

__all__ = ["matching", "measure_row", "rounds_of", "sample"]

_PACKAGE = Path(__file__).resolve().parents[2]
_STARTING = 20.0  # seconds that a process may take besides its case, on a busy machine

Each = Callable[[int, Contender], None]


def matching(cases: Sequence[Case], patterns: Sequence[str]) -> list[Case]:
    """The cases whose name, topic or title fits one of the patterns.

    A pattern is a part of the text, or has the wildcards of file names.

    Raises:
        LookupError: A pattern fits none.
    """
    chosen: dict[str, Case] = {}
    for pattern in patterns:
        wanted = pattern.lower()
        found = [one for one in cases if _fits(one, wanted)]
        if not found:
            raise LookupError(f"no case fits {pattern!r}; evenloop bench --list shows them")
        chosen.update((one.name, one) for one in found)
    return [one for one in cases if one.name in chosen] if patterns else list(cases)


def _fits(case: Case, pattern: str) -> bool:
    if pattern in (case.topic, case.name.lower()):
        return True
    texts = (case.name.lower(), case.title.lower())
    if any(character in pattern for character in "*?["):
        return any(fnmatchcase(text, pattern) for text in texts)
    return any(pattern in text for text in texts)


def rounds_of(case: Case, rounds: int) -> int:
    """How many rounds a case gets."""
    return rounds if case.rounds is None else min(rounds, case.rounds)


def measure_row(
    case: Case,
    contenders: Sequence[Contender],
    rounds: int,
    scale: float,
    each: Each = lambda number, contender: None,
) -> Row:
    """Measure one case on all contenders.

    Args:
        case: What to measure.
        contenders: Who takes part.
        rounds: How often each.
        scale: How much of the case's work.
        each: Called before each process with the number of the round and the contender.
    """
    taking_part = [one for one in contenders if one.name != LIMIT or case.limit is not None]
    row = Row(case.name, case.title, case.topic, case.measure, case.curve)
    row.outcomes = {one.name: Outcome() for one in taking_part}
    for number in range(rounds_of(case, rounds)):
        first = number % len(taking_part)
        for contender in taking_part[first:] + taking_part[:first]:
            each(number, contender)
            outcome = row.outcomes[contender.name]
            if outcome.error:
                continue
            answer = sample(case, contender, scale)
            if "error" in answer:
                outcome.error, outcome.message = answer["error"], answer["message"]
            else:
                outcome.samples.append(answer)
    return row


def sample(case: Case, contender: Contender, scale: float) -> dict[str, Any]:
    """One measurement in a process of its own; errors are answers too."""
    command = [sys.executable, "-P", "-m", "evenloop.bench.worker"]
    command += [contender.name, case.name, repr(scale)]
    process = subprocess.Popen(
        command,
        env=_environment(contender),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    patience = _STARTING + case.preparation + case.patience * max(scale, 0.1)
    try:
        out, err = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        return {"error": "hangs", "message": f"no answer after {patience:.0f} s"}
    finally:
        _end(process)
    for line in reversed(out.splitlines()):
        if line.startswith(MARK):
            answer: dict[str, Any] = json.loads(line[len(MARK) :])
            return answer
    status = process.returncode
    how = signal.strsignal(-status) if status < 0 else f"exit status {status}"
    last = err.strip().splitlines()[-1:] or ["no message"]
    return {"error": "crashed", "message": f"{how}: {last[0]}"}


def _environment(contender: Contender) -> dict[str, str]:
    """The environment of a worker: this evenloop (or the contender's own) comes first."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "EVENLOOP_ENGINE")
    }
    paths = [str(_PACKAGE), *environment.get("PYTHONPATH", "").split(os.pathsep)]
    if contender.folder is not None:
        paths.insert(0, os.path.abspath(contender.folder))
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment | contender.environment


def _end(process: subprocess.Popen[str]) -> None:
    """End a worker and whatever it started: they are a process group of their own."""
    if process.poll() is None:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
