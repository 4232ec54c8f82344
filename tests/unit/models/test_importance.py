"""Which features matter is about the window, all of it and nothing else."""

from __future__ import annotations

import math
import random

from models.importance import Importance
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
        values = importance.values()
        assert importance.n == len(last)
        assert values == {
            name: math.fsum(abs(one[name]) for one in last if name in one) / len(last)
            for name in values
        }
        assert set(values) == {name for one in last for name in one}
        assert list(values.values()) == sorted(values.values(), reverse=True)


def test_another_unit_begins_anew() -> None:
    """Log-odds and probabilities don't add up."""
    importance = Importance(9)
    assert (importance.n, importance.values(), importance.unit) == (0, {}, "")
    importance.add([attribution({"a": 4.0, "b": 1.0}, "log_odds")] * 3)
    importance.add([attribution({"a": 0.25}), attribution({"a": -0.75, "c": 0.5})])
    assert (importance.n, importance.unit) == (2, "score")
    assert importance.values() == {"a": 0.5, "c": 0.25}
