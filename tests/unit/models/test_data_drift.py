"""Drift without labels: told within its budget, whatever the batching, and never on silence."""

from __future__ import annotations

import pickle
import random
from typing import Any

import pytest

from models import DriftLevel, DriftSettings, DriftSignal
from models.data_drift import THIN, DataWatch
from models.types import Direction, DriftKind


def events(n: int, seed: int, change: int | None = None) -> list[tuple[dict[str, Any], float]]:
    """Make rows with scores; from the change on, an amount and the scores are others."""
    rng = random.Random(seed)
    made = []
    for i in range(n):
        moved = change is not None and i >= change
        row = {
            "amount": rng.gauss(1.0 if moved else 0.0, 1.0),
            "age": rng.gauss(0.0, 1.0),
            "channel": rng.choice(["shop", "web", "post"]),
        }
        made.append((row, rng.betavariate(2.0, 5.0 if not moved else 2.0)))
    return made


def watch_in(
    made: list[tuple[dict[str, Any], float]], size: int, settings: DriftSettings | None = None
) -> list[DriftSignal]:
    """Watch events in batches of a size, through a pickle after each."""
    watch = DataWatch(settings)
    signals = []
    for start in range(0, len(made), size):
        rows, scores = zip(*made[start : start + size], strict=True)
        positions = range(start, start + len(rows))
        signals += watch.observe_many(rows, scores, positions, [float(p) for p in positions])
        watch = pickle.loads(pickle.dumps(watch))
    return signals


def test_what_moved_is_told_with_the_feature_and_the_place() -> None:
    """Scores and data are two kinds of evidence; neither is worse or better."""
    signals = watch_in(events(8_000, 1, change=5_000), 1_000)
    confirmed = {s.kind: s for s in signals if s.level is DriftLevel.CONFIRMED}
    assert set(confirmed) == {DriftKind.DATA, DriftKind.PREDICTION}
    data, scores = confirmed[DriftKind.DATA], confirmed[DriftKind.PREDICTION]
    assert data.what == "amount"
    assert [m.feature for m in data.moved] == ["amount"]
    assert scores.what == "score"
    assert {data.direction, scores.direction} == {Direction.MOVED}
    for signal in (data, scores):
        assert signal.since is not None
        assert 4_500 <= signal.since <= 5_500
        assert signal.position == signal.event_time < 6_000
    assert data.after - data.before == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize("size", [1, 7, 8_000])
def test_the_batching_changes_nothing(size: int) -> None:
    """One event at a time, or all at once."""
    made = events(8_000 if size > 1 else 4_000, 2, change=3_000)
    assert watch_in(made, size) == watch_in(made, 501)
    assert watch_in(made, size)


def test_what_does_not_change_is_called_drift_no_oftener_than_twice_the_budget() -> None:
    """Each kind has the whole budget; at a tight one there are alarms to be counted."""
    settings = DriftSettings(warning_every=2_000, confirmed_every=10_000)
    n_alarms = {DriftKind.DATA: 0, DriftKind.PREDICTION: 0}
    n = 0
    for seed in range(8):
        made = events(25_000, seed)
        n += len(made)
        for signal in watch_in(made, len(made), settings):
            n_alarms[signal.kind] += signal.level is DriftLevel.CONFIRMED
    for kind, found in n_alarms.items():
        assert found <= 2 * n / settings.confirmed_every, kind
    assert sum(n_alarms.values()) > 0


def test_a_movement_is_told_once() -> None:
    """After a confirmation what it moved to is normal."""
    signals = watch_in(events(20_000, 3, change=5_000), 1_000)
    kinds = [s.kind for s in signals if s.level is DriftLevel.CONFIRMED]
    assert sorted(kinds) == sorted({DriftKind.DATA, DriftKind.PREDICTION})


def test_scores_of_classes_are_compared_class_by_class() -> None:
    """Multiclass scores are a probability for each class."""
    watch = DataWatch()
    rng = random.Random(4)
    signals = []
    for i in range(6_000):
        high = rng.random() * (0.3 if i < 3_000 else 1.0)
        scores = [{"high": high, "low": 1.0 - high}]
        signals += watch.observe_many([{"x": 1.0}], scores, [i], [0.0])
    assert {s.what for s in signals if s.level is DriftLevel.CONFIRMED} <= {"high", "low"}
    assert signals
    assert signals[0].position >= 3_000 - THIN
