"""Cohorts in bounded memory, and estimates that come true."""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import numpy as np
import pytest

from models.clocks import WIDTH_S, Cohorts, Estimate, coverage, estimate
from models.prequential import Prequential
from models.types import Task

DAY_S = 86_400.0


class Event(NamedTuple):
    time: float
    score: float
    truth: bool


def events(n: int, seed: int, *, wrong_by: float = 1.0, days: float = 4.0) -> list[Event]:
    """Make events, of few positives, whose odds are those of their score times `wrong_by`."""
    rng = random.Random(seed)
    made = []
    for i in range(n):
        score = rng.betavariate(0.3, 3.0)
        odds = wrong_by * score / (1.0 - score)
        made.append(Event(i * days * DAY_S / n, score, rng.random() < odds / (1.0 + odds)))
    return made


def counted(some: list[Event], mark: float, *, labelled: bool = False) -> Cohorts:
    cohorts = Cohorts()
    for start in range(0, len(some), 1000):
        part = some[start : start + 1000]
        cohorts.add(
            [e.time for e in part],
            [e.score for e in part],
            [e.score >= 0.5 for e in part],
            [e.truth for e in part] if labelled else None,
        )
        cohorts.advance(part[-1].time)
    cohorts.advance(mark)
    return cohorts


def estimated(all_events: list[Event], labelled: list[Event]) -> Estimate:
    mark = all_events[-1].time
    return estimate(counted(all_events, mark), counted(labelled, mark, labelled=True))


def realized(some: list[Event]) -> dict[str, float]:
    prequential = Prequential(Task.BINARY, 10)
    prequential.observe([e.truth for e in some], [e.score for e in some], 0.5)
    return prequential.values()["total"]


@pytest.mark.parametrize("wrong_by", [1.0, 0.3, 3.0])
def test_the_estimate_is_what_the_labels_say_later(wrong_by: float) -> None:
    """With scores that are probabilities, and with scores that older labels correct."""
    made = events(40_000, 1, wrong_by=wrong_by)
    labelled = [e for e in made if e.time < 2 * DAY_S]
    found = estimated(made, labelled)
    later = [e for e in made if e.time >= 2 * DAY_S]
    truth = realized(later)
    assert found.n == len(later)
    assert found.n_calibrated > 5_000
    for name, tolerance in (("accuracy", 0.01), ("roc_auc", 0.015), ("f1", 0.04)):
        assert found.metrics[name] == pytest.approx(truth[name], abs=tolerance), name


def test_early_labels_do_not_calibrate() -> None:
    """Only positives are known so far: scores are taken at their word, and it says so."""
    made = events(20_000, 2)
    found = estimated(made, [e for e in made if e.truth])
    assert found.n_calibrated == 0
    waiting = [e.score for e in made if not e.truth]
    by_hand = sum(max(p, 1 - p) for p in waiting) / len(waiting)
    assert found.metrics["accuracy"] == pytest.approx(by_hand, abs=1e-9)


def test_the_expected_confusion_is_the_sum_of_the_scores() -> None:
    """By hand, for four events; one more is labelled and does not count."""
    made = [Event(0.0, p, True) for p in (0.9, 0.6, 0.2, 0.1, 0.8)]
    found = estimated(made, made[4:])
    caught, wrong, missed = 0.9 + 0.6, 0.1 + 0.4, 0.2 + 0.1
    assert (found.n, found.n_calibrated) == (4, 0)
    assert found.metrics["accuracy"] == pytest.approx((caught + 0.8 + 0.9) / 4)
    assert found.metrics["precision"] == pytest.approx(caught / (caught + wrong))
    assert found.metrics["recall"] == pytest.approx(caught / (caught + missed))
    assert found.metrics["f1"] == pytest.approx(2 * caught / (2 * caught + wrong + missed))
    pairs = [(a, b) for a in (0.9, 0.6, 0.2, 0.1) for b in (0.9, 0.6, 0.2, 0.1)]
    better = sum(a * (1 - b) * ((a > b) + 0.5 * (a == b)) for a, b in pairs)
    area = better / sum(a * (1 - b) for a, b in pairs)
    assert found.metrics["roc_auc"] == pytest.approx(area)


def test_nothing_waits() -> None:
    """There is nothing to estimate."""
    made = events(100, 3)
    assert estimated(made, made) == Estimate(0, 0, {})


def test_coverage_tells_the_ages_apart() -> None:
    """Labels that take a day: the young are not labelled, the old are, none is lost."""
    made = events(30_000, 4)
    mark = made[-1].time
    labelled = [e for e in made if e.time < mark - DAY_S]
    found = coverage(counted(made, mark), counted(labelled, mark, labelled=True))
    assert sum(one.n for one in found) == len(made)
    assert sum(one.n_labelled for one in found) == len(labelled)
    assert [one.younger_than for one in found] == sorted(one.younger_than for one in found)
    for one in found:
        if one.younger_than < DAY_S:
            assert one.share == 0.0
        if one.younger_than > 8 * DAY_S:
            assert one.share == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_cohorts_do_not_depend_on_the_order_or_the_batches(seed: int) -> None:
    """What is counted apart, early or late, is the same once it stands at one mark."""
    made = events(3_000, seed)
    mark = made[-1].time + 5.0
    shuffled = random.Random(seed).sample(made, len(made))
    one, other = counted(made, mark), counted(shuffled, mark)
    assert one.slots.keys() == other.slots.keys()
    for at, slot in one.slots.items():
        np.testing.assert_allclose(slot, other.slots[at], rtol=1e-12, atol=1e-12)


def test_memory_grows_with_the_logarithm_of_time() -> None:
    """A year of events every ten minutes; what is forgotten is gone."""
    cohorts = Cohorts()
    for minute in range(0, 365 * 1440, 600):
        cohorts.add([minute * 60.0], [0.5], [True])
        cohorts.advance(minute * 60.0)
        assert len(cohorts.slots) <= 8 * (2 + math.log(1 + minute * 60.0 / WIDTH_S, 4))
    cohorts.forget(cohorts.mark - 30 * DAY_S)
    assert 30 * 2 < sum(int(n.sum()) for n in cohorts.by_age(0).values()) < 120 * 3
