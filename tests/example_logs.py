"""Examples logs for tests of the core: made from a seed, for any task, in any batching."""

from __future__ import annotations

import random
from collections.abc import Sequence

from models import DriftSettings, Example, Features, Learner, Score, Task, Truth, build

CLASSES = ("low", "middle", "high")
# One pipeline per kind of state: linear, trees with and without their own generators, forest,
# windows, per-class models.
PIPELINES = [
    ("logistic", Task.BINARY),
    ("hoeffding-tree", Task.BINARY),
    ("hoeffding-adaptive-tree", Task.BINARY),
    ("adaptive-random-forest", Task.BINARY),
    ("gaussian-nb", Task.BINARY),
    ("fraud", Task.BINARY),
    ("softmax", Task.MULTICLASS),
    ("hoeffding-tree", Task.MULTICLASS),
    ("linear-regression", Task.REGRESSION),
    ("hoeffding-adaptive-tree", Task.REGRESSION),
    ("half-space-trees", Task.ANOMALY),
]


# Some watch segments as well, under a budget in time: few values, so that some are pooled.
WATCHED = {"logistic": "c", "fraud": "TERMINAL_ID", "softmax": "c", "half-space-trees": "c"}


def new_learner(name: str, task: Task, *, rolling_n: int = 50) -> Learner:
    """Build a fresh learner."""
    drift = DriftSettings()
    if name in WATCHED:
        drift = DriftSettings(segment=WATCHED[name], segments_max=2, confirmed_s=5_000.0)
    return Learner(build(name, task, seed=11), task, rolling_n=rolling_n, drift=drift)


def features_for(name: str, rng: random.Random) -> Features:
    """Make one event's features, of the kinds that the pipeline takes."""
    if name == "fraud":
        return {
            "TX_AMOUNT": round(rng.expovariate(0.02), 2),
            "CUSTOMER_ID": str(rng.randrange(20)),
            "TERMINAL_ID": str(rng.randrange(10)),
        }
    return {"a": rng.random(), "b": rng.gauss(0.0, 1.0), "c": rng.randrange(5)}


def truth_for(task: Task, x: Features, rng: random.Random, drifted: bool) -> Truth:
    """Make the truth: mostly a function of the features, which turns around when it drifts."""
    signal = float(x.get("a", float(x.get("TX_AMOUNT", 0.0)) / 100.0))
    if drifted:
        signal = 1.0 - signal
    signal += rng.gauss(0.0, 0.1)
    match task:
        case Task.MULTICLASS:
            return CLASSES[min(2, max(0, int(signal * 3)))]
        case Task.REGRESSION:
            return signal
        case _:
            return signal > 0.5


def make_log(name: str, task: Task, n: int, seed: int = 1, n_lanes: int = 2) -> list[Example]:
    """Make an examples log: scores as the model would have said, with drift at the middle.

    Scores are those of a learner that is at most ten examples behind, as in production.
    """
    rng = random.Random(seed)
    model = new_learner(name, task)
    log: list[Example] = []
    for i in range(n):
        x = features_for(name, rng)
        unsupervised = task is Task.ANOMALY and i % 3 > 0
        truth = None if unsupervised else truth_for(task, x, rng, drifted=i > n // 2)
        score: Score = model.score(x)
        lane = i % n_lanes
        own_offset = i // n_lanes
        log.append(
            Example(
                event_id=f"e{i}",
                features=x,
                label=truth,
                score=dict(score) if isinstance(score, dict) else score,
                version=model.version_id,
                model_position=model.position,
                event_time=float(i),
                label_time=float(i + 5),
                origin=f"labels/{lane}",
                offset=own_offset,
                floor=own_offset // 4 * 4,
                weight=0.5 if i % 7 == 0 else 1.0,
            )
        )
        if i % 10 == 9:
            model.absorb(log[-10:], range(i - 9, i + 1))
    return log


def absorb_in(
    learner: Learner,
    log: Sequence[Example],
    offsets: Sequence[int],
    sizes: Sequence[int],
) -> list[object]:
    """Absorb a log in batches of the given sizes, repeated as needed; return the drift signals."""
    drifts: list[object] = []
    start, turn = 0, 0
    while start < len(log):
        size = sizes[turn % len(sizes)]
        turn += 1
        batch = slice(start, start + size)
        drifts += learner.absorb(log[batch], offsets[batch]).drifts
        start += size
    return drifts


def everything(learner: Learner) -> tuple[object, ...]:
    """What two learners must agree on to be the same, bit for bit."""
    watches = [learner._drift.whole, *learner._drift._segments.values()]
    return (
        learner.n_learned,
        learner.metrics(),
        learner.fingerprint(),
        learner._probes,
        [*learner._drift._segments],
        learner._drift._budgeting.settings,
        [watch.recent()[0] for watch in watches],
        [
            (window.river.width, window.river.total)
            for watch in watches
            for window in (watch._warning, watch._drift)
        ],
        [features for _, _, features in learner._sample._rows(learner._sample._n)],
        learner._seen._origins,
    )
