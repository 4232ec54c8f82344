"""What each response policy is worth: real streams, and concepts that recur.

Run: DRIFTLINE_DATA=... python -m benchmarks.policies [--pipeline NAME] [--seeds N]

Real streams: test-then-train accuracy, each example scored before it is learned. Recurring: two
concepts take turns; after each return to a concept that was there before, how many examples pass
until the model is as good on fresh events of it as it was when that concept went (less a
hundredth).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from models import Example, Features, Learner, Policy, ResponseSettings, Task, build

STREAMS = {"elec2": ("class", "UP", ("date",)), "noaa_weather": ("target", "1", ())}
N_EACH, N_TURNS, LABEL_DELAY, N_FEATURES, TOLERANCE = 4_000, 6, 10, 10, 0.01


def rows_of(name: str) -> Iterator[tuple[Features, bool]]:
    label, positive, dropped = STREAMS[name]
    path = Path(os.environ["DRIFTLINE_DATA"]) / f"{name}.csv.gz"
    with gzip.open(path, "rt") as file:
        for row in csv.DictReader(file):
            truth = row.pop(label) in (positive, f"{positive}.0")
            yield {n: float(value) for n, value in row.items() if n not in dropped}, truth


def example_of(offset: int, features: Features, truth: bool, score: object) -> Example:
    return Example(
        str(offset), features, truth, float(score), "v1-0", 0, float(offset), float(offset),  # type: ignore[arg-type]
        "labels/0", offset, offset,
    )  # fmt: skip


def learner_of(policy: Policy, pipeline: str, seed: int = 1) -> Learner:
    response = ResponseSettings(policy=policy)
    return Learner(build(pipeline, Task.BINARY, seed), Task.BINARY, response=response)


def accuracy(name: str, policy: Policy, pipeline: str) -> tuple[float, int]:
    """Give the accuracy over the whole stream, and how often the model was exchanged."""
    learner = learner_of(policy, pipeline)
    n = n_right = n_exchanged = 0
    for features, truth in rows_of(name):
        score = learner.score(features)
        n_right += (score >= 0.5) == truth  # type: ignore[operator]
        outcome = learner.absorb([example_of(n, features, truth, score)], [n])
        n_exchanged += sum(
            s.step in ("swapped", "reset", "recalled", "rolled") for s in outcome.steps
        )
        n += 1
    return n_right / n, n_exchanged


def recoveries(policy: Policy, pipeline: str, seed: int) -> list[int]:
    """Give, for each return to a concept, the examples until the model was as good as before."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=N_FEATURES)
    weights *= 4.0 / np.linalg.norm(weights)
    concepts = (weights, np.where(rng.permutation(N_FEATURES) < 7, -weights, weights))

    def draw(n: int, concept: int) -> tuple[list[Features], list[bool]]:
        x = rng.normal(size=(n, N_FEATURES))
        chance = 1.0 / (1.0 + np.exp(-np.einsum("ij,j->i", x, concepts[concept])))
        rows: list[Features] = [{f"x{i}": v for i, v in enumerate(row)} for row in x.tolist()]
        return rows, (rng.random(n) < chance).tolist()

    probes = [draw(1_000, concept) for concept in (0, 1)]
    learner = learner_of(policy, pipeline, seed)

    def quality(concept: int) -> float:
        rows, truths = probes[concept]
        scores = learner.score_many(rows)
        right = ((s >= 0.5) == t for s, t in zip(scores, truths, strict=True))  # type: ignore[operator]
        return sum(right) / len(truths)

    found = []
    offset = 0
    reached = [0.0, 0.0]
    for turn in range(N_TURNS):
        concept = turn % 2
        wanted = reached[concept] - TOLERANCE
        recovered: int | None = None
        for start in range(0, N_EACH, LABEL_DELAY):
            rows, truths = draw(LABEL_DELAY, concept)
            scores = learner.score_many(rows)
            batch = zip(range(offset, offset + LABEL_DELAY), rows, truths, scores, strict=True)
            learner.absorb([example_of(*one) for one in batch], range(offset, offset + LABEL_DELAY))
            offset += LABEL_DELAY
            if recovered is None and quality(concept) >= wanted:
                recovered = start + LABEL_DELAY
        reached[concept] = quality(concept)
        if turn >= 2:
            found.append(N_EACH if recovered is None else recovered)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pipeline", default="logistic")
    parser.add_argument("--seeds", type=int, default=5)
    chosen = parser.parse_args()
    print(f"{chosen.pipeline}: accuracy, against alert, models exchanged")
    for name in STREAMS:
        alert = 0.0
        for policy in Policy:
            value, n_exchanged = accuracy(name, policy, chosen.pipeline)
            alert = value if policy is Policy.ALERT else alert
            print(
                f"{name:<14}{policy:<10}{value:>8.4f}{value - alert:>+9.4f}{n_exchanged:>5}",
                flush=True,
            )
    print(f"recurring: examples until as good as before, of {N_EACH:,}, {chosen.seeds} seeds")
    for policy in Policy:
        found = [n for seed in range(chosen.seeds) for n in recoveries(policy, "logistic", seed)]
        print(
            f"{'recurring':<14}{policy:<10}median {statistics.median(found):>6.0f}  "
            f"mean {statistics.mean(found):>7.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
