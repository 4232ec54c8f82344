"""What reasons cost: microseconds for an alert, by pipeline, beside a prediction.

    python -m benchmarks.reasons [--events 5000]

A batch of the score lane explains its alerts in one call, so the cost is shown for one alert in a
batch and for sixteen. "live" is for one alert after each 20 examples that the model learns, less
what learning them costs where nobody asks; "occluded" what the alert would cost by occlusion.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from time import process_time
from typing import Any

from models import Example, Learner, Task, build
from models.reasons import occlude, usual_values
from models.types import Features

PIPELINES = (
    ("logistic", Task.BINARY),
    ("fraud", Task.BINARY),
    ("gaussian-nb", Task.BINARY),
    ("hoeffding-tree", Task.BINARY),
    ("adaptive-random-forest", Task.BINARY),
    ("hoeffding-tree", Task.REGRESSION),
    ("adaptive-random-forest", Task.REGRESSION),
)
N_ROUNDS = 5
BATCH = 16
LEARNED_BETWEEN = 20


def events(pipeline: str, n: int) -> list[Features]:
    """Make card payments, or events of ten numbers."""
    rng = random.Random(1)
    if pipeline == "fraud":
        return [
            {
                "TX_AMOUNT": rng.lognormvariate(3, 1),
                "CUSTOMER_ID": f"c{rng.randrange(500)}",
                "TERMINAL_ID": f"t{rng.randrange(900)}",
            }
            for _ in range(n)
        ]
    return [{f"f{i}": rng.gauss(0, 1) for i in range(10)} for _ in range(n)]


def learned(pipeline: str, task: Task, rows: list[Features]) -> Learner:
    """Give a learner that has learned the rows."""
    learner = Learner(build(pipeline, task, 1), task)
    examples = examples_of(task, rows)
    learner.absorb(examples, range(len(rows)))
    return learner


def examples_of(task: Task, rows: list[Features]) -> list[Example]:
    """Label the rows."""

    def truth(x: Features) -> bool | float:
        if task is Task.REGRESSION:
            return 3.0 * float(x["f0"]) + 2.0 * (float(x["f1"]) > 0)
        return float(x.get("f0", 0)) > 1 or float(x.get("TX_AMOUNT", 0)) > 60

    return [
        Example(f"e{i}", x, truth(x), 0.5, "v1-0", 0, i, i, "labels/0", i, i)
        for i, x in enumerate(rows)
    ]


def microseconds(call: Callable[[], object], n: int) -> float:
    """Give the best time of a call for one of `n`."""
    best = float("inf")
    for _ in range(N_ROUNDS):
        start = process_time()
        call()
        best = min(best, process_time() - start)
    return best / n * 1e6


def live(pipeline: str, task: Task, rows: list[Features], n: int) -> float:
    """Give the time of an alert among examples, in microseconds, without what these take."""
    examples = examples_of(task, rows)
    more = [(e, i) for i, e in enumerate(examples[: n * LEARNED_BETWEEN])]
    parts = [more[i : i + LEARNED_BETWEEN] for i in range(0, len(more), LEARNED_BETWEEN)]
    best = {True: float("inf"), False: float("inf")}
    for _ in range(N_ROUNDS):
        for explains in (True, False):
            learner = learned(pipeline, task, rows)
            if explains:
                learner.explain_many(rows[:1])
            start = process_time()
            for part in parts:
                learner._model.learn_many(part)
                if explains:
                    learner.explain_many([part[0][0].features])
            best[explains] = min(best[explains], process_time() - start)
    return (best[True] - best[False]) / len(parts) * 1e6


def measure(pipeline: str, task: Task, n: int) -> None:
    """Print the line of a pipeline."""
    rows = events(pipeline, n)
    learner = learned(pipeline, task, rows)
    some = rows[: min(n, 512)]
    batches = [some[i : i + BATCH] for i in range(0, len(some), BATCH)]
    predict = microseconds(lambda: learner.score_many(some), len(some))
    one = microseconds(lambda: [learner.explain_many([x]) for x in some], len(some))
    many = microseconds(lambda: [learner.explain_many(b) for b in batches], len(some))
    method = learner.explain_many(some[:1])[0].method
    usual = usual_values(learner._probes)
    score_many: Any = learner.score_many
    hidden = microseconds(lambda: [occlude(x, usual, score_many) for x in some], len(some))
    among = live(pipeline, task, rows, 100)
    print(
        f"{pipeline:24}{task:12}{len(some[0]):7}   {method:10}{predict:9.2f}{one:7.1f}{many:9.1f}"
        f"{among:9.1f}{hidden:11.1f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_000)
    n = parser.parse_args().events
    print(
        f"{'us for each alert':24}{'task':11}features   method      predict    one  sixteen", end=""
    )
    print("     live   occluded")
    for pipeline, task in PIPELINES:
        measure(pipeline, task, n)


if __name__ == "__main__":
    main()
