"""Streams whose change points are known, and how the drift watches do on them.

A learner takes each stream as a worker would, labels twenty events late; the error, the scores and
the features are watched. At a change the rule turns, and two of the five numbers move with it;
`within` changes in one segment only, a tenth of the events. An alarm (a confirmation; of errors,
one that rose; of all or of a segment, which share their budget) within `HORIZON` after a change
detects it. Any other alarm is a false one, except in a learner's first `WARM_UP` examples, which
change by design.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from models.data_drift import DataWatch
from models.drift import DriftSettings
from models.learner import Learner
from models.pipelines import build
from models.types import Direction, DriftLevel, DriftSignal, Example, Features, Task

LABEL_DELAY = 20
WARM_UP = 2_000
HORIZON = 4_000
ALWAYS_EVERY = 100
MONITORS = ("error", "score", "data", "always", "never")
_RAMP = 2_000
_N_NUMBERS = 5
_CHANNELS = ("shop", "web", "post")
SEGMENT = "segment"
_N_SEGMENTS = 10
EVENT_EVERY_S = 30.0
_DAY_S = 86_400.0


class Truth(NamedTuple):
    """A kind of stream: how long it is, where it changes, and how long a change takes."""

    n: int
    changes: tuple[int, ...]
    takes: int = 0


KINDS = {
    "stable": Truth(20_000, ()),
    "abrupt": Truth(14_000, (9_000,)),
    "gradual": Truth(14_000, (9_000,), _RAMP),
    "incremental": Truth(14_000, (9_000,), _RAMP),
    "recurring": Truth(18_000, (6_000, 10_000, 14_000)),
    "within": Truth(14_000, (9_000,)),
}


class Tally(msgspec.Struct):
    """What one monitor did on streams of one kind."""

    n_changes: int = 0
    n_missed: int = 0
    n_false: int = 0
    n_quiet: int = 0
    delays: list[int] = []

    def add(self, truth: Truth, alarms: Sequence[int]) -> None:
        """Count the alarms of one stream."""
        windows = [(change, min(change + HORIZON, truth.n)) for change in truth.changes]
        alarms = [alarm for alarm in alarms if alarm >= WARM_UP]
        for start, end in windows:
            inside = [alarm for alarm in alarms if start <= alarm < end]
            self.n_changes += 1
            self.n_missed += not inside
            self.delays += [min(inside) - start] if inside else []
        self.n_false += sum(not any(a <= alarm < b for a, b in windows) for alarm in alarms)
        self.n_quiet += truth.n - WARM_UP - sum(end - start for start, end in windows)

    def row(self) -> dict[str, Any]:
        """Give the figures: delays are medians over the changes that were seen."""
        return {
            "changes": self.n_changes,
            "missed": self.n_missed,
            "delay_median": int(np.median(self.delays)) if self.delays else None,
            "delay_p90": int(np.quantile(self.delays, 0.9)) if self.delays else None,
            "false_alarms": self.n_false,
            "quiet_examples": self.n_quiet,
        }


def stream(kind: str, seed: int) -> Iterator[tuple[Features, bool]]:
    """Make one stream: features and truths, the same for the same seed."""
    truth = KINDS[kind]
    rng = np.random.default_rng([seed, sorted(KINDS).index(kind)])
    weights = rng.normal(size=_N_NUMBERS)
    weights *= 3.0 / np.linalg.norm(weights)
    turned = np.where(rng.permutation(_N_NUMBERS) < 3, -weights, weights)
    shift = np.where(rng.permutation(_N_NUMBERS) < 2, 1.0, 0.0)
    numbers = rng.normal(size=(truth.n, _N_NUMBERS))
    channels = rng.integers(len(_CHANNELS), size=truth.n).tolist()
    # Drawn apart: the streams are the same as without.
    segments = np.random.default_rng([seed, 1]).integers(_N_SEGMENTS, size=truth.n)
    share = _shares(kind, truth)
    if kind == "within":
        share *= segments == 0
    if kind != "incremental":
        share = (rng.random(truth.n) < share).astype(float)
    slopes = weights + share[:, None] * (turned - weights)
    chance = 1.0 / (1.0 + np.exp(-np.einsum("ij,ij->i", slopes, numbers)))
    labels = (rng.random(truth.n) < chance).tolist()
    rows = (numbers + share[:, None] * shift).tolist()
    columns = zip(rows, channels, segments.tolist(), labels, strict=True)
    for values, channel, segment, label in columns:
        features: Features = {f"x{i}": value for i, value in enumerate(values)}
        features |= {"channel": _CHANNELS[channel], SEGMENT: segment}
        yield features, label


def _shares(kind: str, truth: Truth) -> np.ndarray[Any, Any]:
    # How much of the new concept there is at each row; it turns over at each change.
    share, sign = np.zeros(truth.n), 1.0
    for change in truth.changes:
        places = np.arange(truth.n) - change
        ramp = (places >= 0).astype(float) if not truth.takes else places / truth.takes
        share += sign * np.clip(ramp, 0.0, 1.0)
        sign = -sign
    return share


def watch(kind: str, seed: int, settings: DriftSettings) -> tuple[list[DriftSignal], Learner]:
    """Let a learner and a label-free watch take a stream; gives all signals, and the learner.

    Whatever field the settings name for segments, here it is `SEGMENT`.
    """
    unknown = {SEGMENT} if settings.segment is None else set()
    if settings.segment is not None:
        settings = msgspec.structs.replace(settings, segment=SEGMENT)
    learner = Learner(build("logistic", Task.BINARY, seed), Task.BINARY, drift=settings)
    data = DataWatch(settings)
    signals: list[DriftSignal] = []
    rows = [
        ({name: value for name, value in row.items() if name not in unknown}, label)
        for row, label in stream(kind, seed)
    ]
    for start in range(0, len(rows), LABEL_DELAY):
        batch = rows[start : start + LABEL_DELAY]
        offsets = range(start, start + len(batch))
        numbers = [{k: v for k, v in row.items() if k != "channel"} for row, _ in batch]
        scores = [float(score) for score in learner.score_many(numbers)]  # type: ignore[arg-type]
        if start >= WARM_UP:
            features, times = (
                [row for row, _ in batch],
                [offset * EVENT_EVERY_S for offset in offsets],
            )
            signals += data.observe_many(features, scores, offsets, times)
        examples = [
            _example(offset, row, label, score)
            for offset, row, (_, label), score in zip(offsets, numbers, batch, scores, strict=True)
        ]
        signals += learner.absorb(examples, offsets).drifts
    return signals, learner


def _example(offset: int, features: Features, label: bool, score: float) -> Example:
    return Example(
        str(offset), features, label, score, "v1-0", 0, offset * EVENT_EVERY_S,
        (offset + LABEL_DELAY) * EVENT_EVERY_S, "labels/0", offset, offset,
    )  # fmt: skip


def alarms_of(signals: Sequence[DriftSignal], monitor: str, n: int) -> list[int]:
    """Give the positions at which a monitor alarmed; the baselines see nothing."""
    if monitor == "never":
        return []
    if monitor == "always":
        return list(range(0, n, ALWAYS_EVERY))
    kind = {"error": "concept", "score": "prediction", "data": "data"}[monitor]
    return [
        signal.position
        for signal in signals
        if signal.kind == kind
        and signal.level is DriftLevel.CONFIRMED
        and signal.direction is not Direction.IMPROVED
    ]


class DriftTruth:
    """Runs the streams, and keeps a tally for each kind and monitor."""

    def __init__(self, settings: DriftSettings, n_seeds: int) -> None:
        self.settings = settings
        self.n_seeds = n_seeds
        self.tallies = {(kind, monitor): Tally() for kind in KINDS for monitor in MONITORS}

    @property
    def n_streams(self) -> int:
        """How many streams there are to run."""
        return self.n_seeds * len(KINDS)

    def run(self) -> Iterator[int]:
        """Run stream after stream; gives their number, for progress."""
        n = 0
        for seed in range(self.n_seeds):
            for kind, truth in KINDS.items():
                signals, _ = watch(kind, seed, self.settings)
                for monitor in MONITORS:
                    alarms = alarms_of(signals, monitor, truth.n)
                    self.tallies[kind, monitor].add(truth, alarms)
                n += 1
                yield n

    @property
    def budget(self) -> float:
        """In how many examples there may be one false alarm, at the pace of these streams."""
        seconds = self.settings.confirmed_s
        return self.settings.confirmed_every if seconds is None else seconds / EVENT_EVERY_S

    def report(self) -> dict[str, Any]:
        """Give a row for each kind and monitor, and each monitor's rate against the budget."""
        return {
            "seeds": self.n_seeds,
            "detector": self.settings.detector,
            "segments": self.settings.segment is not None,
            "budget": self.budget,
            "budget_days": _days(self.budget),
            "rows": [
                {"stream": kind, "monitor": monitor, **tally.row()}
                for (kind, monitor), tally in self.tallies.items()
            ],
            "budgets": [self._budget(monitor) for monitor in MONITORS],
        }

    def _budget(self, monitor: str) -> dict[str, Any]:
        tallies = [self.tallies[kind, monitor] for kind in KINDS]
        n_false, n_quiet = sum(t.n_false for t in tallies), sum(t.n_quiet for t in tallies)
        return {
            "monitor": monitor,
            "false_alarms": n_false,
            "quiet_examples": n_quiet,
            "quiet_days": _days(n_quiet),
            "allowed": n_quiet / self.budget,
            "of_budget": n_false * self.budget / n_quiet,
            "examples_each": n_quiet / n_false if n_false else None,
            "days_each": _days(n_quiet / n_false) if n_false else None,
        }


def _days(n_examples: float) -> float:
    return n_examples * EVENT_EVERY_S / _DAY_S
