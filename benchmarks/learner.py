"""What the learner costs above River's own calls, per event, for binary classification.

Run: DRIFTLINE_DATA=... PYTHONPATH=. python benchmarks/learner.py
CPU time, the best of several rounds; each round folds the whole of elec2.
"""

from __future__ import annotations

import csv
import gzip
import os
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

from models import Example, Learner, Task, build
from models.drift import DriftWatch
from models.prequential import Prequential
from models.seen import SeenOffsets

N_ROUNDS = 5
BATCHES = (1, 32, 512)


def examples() -> list[Example]:
    path = Path(os.environ["DRIFTLINE_DATA"]) / "elec2.csv.gz"
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    found = []
    score = 0.5
    for offset, row in enumerate(rows):
        label = row.pop("class") == "UP"
        row.pop("date")
        # Scores that follow the truth with inertia: spread over the bins, as a model's would be.
        score += 0.3 * (label - score)
        features = {name: float(value) for name, value in row.items()}
        found.append(
            Example(
                event_id=str(offset),
                features=features,
                label=label,
                score=score,
                version="v1-0",
                model_position=0,
                event_time=float(offset),
                label_time=float(offset),
                origin="labels/0",
                offset=offset,
                floor=offset // 512 * 512,
            )
        )
    return found


class Nothing:
    """An estimator that does nothing, so that all the time is ours."""

    def learn_one(self, x: object, y: object) -> None:
        pass


def best(action: object, n_events: int) -> float:
    times = []
    for _ in range(N_ROUNDS):
        start = process_time()
        action()  # type: ignore[operator]
        times.append(process_time() - start)
    return min(times) / n_events * 1e6


def batches(log: list[Example], size: int) -> list[tuple[list[Example], range]]:
    return [
        (log[start : start + size], range(start, min(start + size, len(log))))
        for start in range(0, len(log), size)
    ]


def main() -> None:
    log = examples()
    n = len(log)
    print(f"{'us per event':<44}" + "".join(f"{f'b={size}':>9}" for size in BATCHES))

    def river() -> None:
        model = build("logistic", Task.BINARY, 0)
        for example in log:
            model.learn_one(example.features, example.label)

    def empty_loop() -> None:
        learn_one = Nothing().learn_one
        for example in log:
            learn_one(example.features, example.label)

    def absorb(size: int, nothing: bool) -> None:
        learner = Learner(build("logistic", Task.BINARY, 0), Task.BINARY)
        if nothing:
            learner._model.estimator, learner._model._takes_weight = Nothing(), False
        for batch, offsets in batches(log, size):
            learner.absorb(batch, offsets)

    def observe(size: int) -> None:
        prequential = Prequential(Task.BINARY)
        for batch, _ in batches(log, size):
            prequential.observe([e.label for e in batch], [e.score for e in batch], 0.5)

    def drift(size: int) -> None:
        watch = DriftWatch()
        for batch, offsets in batches(log, size):
            errors = [1.0 if (e.score >= 0.5) != e.label else 0.0 for e in batch]
            watch.observe_many(errors, offsets, offsets)

    def admit(size: int) -> None:
        seen = SeenOffsets()
        for example in log:
            seen.admit(example.origin, example.offset, example.floor)

    def score(size: int) -> None:
        for batch, _ in batches(log, size):
            trained.score_many([e.features for e in batch])

    def river_score() -> None:
        predict = trained_by_river.predict_proba_one
        for example in log:
            predict(example.features).get(True, 0.0)

    trained = Learner(build("logistic", Task.BINARY, 0), Task.BINARY)
    trained.absorb(log[:1000], range(1000))
    trained_by_river: Any = build("logistic", Task.BINARY, 0)
    for example in log[:1000]:
        trained_by_river.learn_one(example.features, example.label)
    plain, loop = best(river, n), best(empty_loop, n)
    print(f"{'River: logistic learn_one':<44}{plain:9.2f}")
    print(f"{'River: logistic predict_proba_one':<44}{best(river_score, n):9.2f}")
    for name, action in (
        ("score_many, logistic", score),
        ("absorb, logistic", lambda size: absorb(size, nothing=False)),
        ("absorb, without the model: our overhead", lambda size: absorb(size, nothing=True)),
        ("  of which prequential metrics", observe),
        ("  of which drift", drift),
        ("  of which exactly-once bookkeeping", admit),
    ):
        figures = [best(partial(action, size), n) for size in BATCHES]
        print(f"{name:<44}" + "".join(f"{figure:9.2f}" for figure in figures))
    print(f"{'(the empty loop itself)':<44}{loop:9.2f}")


if __name__ == "__main__":
    main()
