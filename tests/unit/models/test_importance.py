"""Which features matter is about the window, all of it and nothing else."""

from __future__ import annotations

import math
import random

from models.importance import Importance, Means, pool
from models.reasons import Attribution


def attribution(contributions: dict[str, float], unit: str = "score") -> Attribution:
    """Make what matters here of an attribution."""
    names, pushes = list(contributions), list(contributions.values())
    columns = names, [1.0] * len(names), [None] * len(names), pushes
    return Attribution("path", unit, 0.0, *columns, math.fsum(pushes))


def test_means_are_those_of_the_last_scores() -> None:
    """Whatever was in the window before, to the last bit; a missing feature has pushed nothing."""
    rng = random.Random(1)
    importance = Importance(20)
    told: list[dict[str, float]] = []
    for i in range(200):
        scale = 1e12 if i < 100 else 1e-3
        told.append({name: rng.gauss(0, scale) for name in rng.sample("abcdef", 4)})
        importance.add([attribution(told[-1])])
        last = told[-20:]
        found = importance.means(now=5.0)
        values = found.values
        assert (found.n, found.time) == (len(last), 5.0)
        assert values == {
            name: math.fsum(abs(one[name]) for one in last if name in one) / len(last)
            for name in values
        }
        assert set(values) == {name for one in last for name in one}
        assert list(values.values()) == sorted(values.values(), reverse=True)


def test_another_unit_begins_anew() -> None:
    """Log-odds and probabilities don't add up."""
    importance = Importance(9)
    assert importance.means(1.0) == Means("", 0, {}, 1.0)
    importance.add([attribution({"a": 4.0, "b": 1.0}, "log_odds")] * 3)
    importance.add([attribution({"a": 0.25}), attribution({"a": -0.75, "c": 0.5})])
    assert importance.means(2.0) == Means("score", 2, {"a": 0.5, "c": 0.25}, 2.0)


def test_pooled_means_are_those_of_all_scores_together() -> None:
    """However they were spread over partitions, of which one has seen more than another."""
    rng = random.Random(2)
    told = [
        attribution({name: rng.gauss(0, 1) for name in rng.sample("abcd", 3)}) for _ in "x" * 60
    ]
    together, apart = Importance(60), [Importance(60) for _ in range(3)]
    together.add(told)
    for one in told:
        apart[rng.choice((0, 0, 0, 1))].add([one])
    pooled = pool(one.means(float(i)) for i, one in enumerate(apart))
    expected = together.means(1.0)
    assert pooled is not None
    assert (pooled.n, pooled.unit, pooled.time) == (60, "score", 1.0)
    assert list(pooled.values) == list(expected.values)
    assert all(math.isclose(pooled.values[f], mean) for f, mean in expected.values.items())


def test_means_of_a_model_that_was_replaced_are_not_pooled() -> None:
    """A partition without alerts since then still tells of log-odds."""
    old, new = Means("log_odds", 9, {"a": 4.0}, 5.0), Means("score", 1, {"a": 0.5}, 6.0)
    assert pool([old, new]) == pool([new, old]) == new
    assert pool([]) is None
