"""One process that measures one case on one loop, once, and prints the sample as JSON.

    python -m evenloop.bench.worker LOOP CASE SCALE

A loop that leaves something out, fails or crashes is reported, not raised: that is a result too.
"""

from __future__ import annotations

import asyncio
import gc
import json
import math
import os
import sys
from collections.abc import Callable

from evenloop.bench.case import Bench, CannotRun, Case, Sample, all_cases
from evenloop.bench.contenders import LIMIT, Contender

__all__ = ["main", "measure"]

MARK = "evenloop-bench: "  # starts the line of the answer; a library may print others


def measure(
    case: Case,
    contender: Contender,
    scale: float = 1.0,
    each: Callable[[Sample], None] = lambda sample: None,
) -> Sample:
    """Run a case on a new loop and return what it measured.

    Args:
        case: What to do.
        contender: Whose loop to do it on.
        scale: How much of the case's work to do.
        each: Called with the sample before the loop is closed.
    """
    body = case.limit if contender.name == LIMIT else case.body
    if body is None:
        raise CannotRun("not a case for C")
    amount = max(1, math.ceil(case.n * scale))
    with asyncio.Runner(loop_factory=contender.factory) as runner:
        if case.warm:
            runner.run(_run(body, Bench(max(1, amount // 20), contender, scale / 20)))
        gc.collect()
        bench = Bench(amount, contender, scale)
        runner.run(_run(body, bench))
        sample = bench.outcome()
        each(sample)
    return sample


async def _run(body: Callable[[Bench], object], bench: Bench) -> None:
    await body(bench)  # type: ignore[misc]


def main(words: list[str]) -> None:
    """Measure and leave at once: how a rival closes its loop shall not matter."""
    name, case_name, scale = words
    cases = {one.name: one for one in all_cases()}
    try:
        measure(cases[case_name], Contender(name), float(scale), lambda one: _leave(one.as_json()))
    except CannotRun as error:
        _leave({"error": "cannot", "message": str(error)})
    except NotImplementedError as error:
        _leave({"error": "none", "message": str(error) or "NotImplementedError"})
    except BaseException as error:
        import traceback

        traceback.print_exc()
        _leave({"error": "failed", "message": f"{type(error).__name__}: {error}"})


def _leave(answer: dict[str, object]) -> None:
    print(MARK + json.dumps(answer), flush=True)
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
