"""Reasons add up to what they explain, whichever way a model is run."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from river import compose

from models import Learner, Task, build
from models.compiled import AVAILABLE
from models.compiled.twins import compiled_twin, river_twin
from models.reasons import Attribution, explain
from models.types import Example, Features

N_ALERTS = 1_000


def event(rng: random.Random) -> Features:
    """Make an event; amounts of some cards are unusual."""
    return {
        "TX_AMOUNT": rng.lognormvariate(3, 1),
        "CUSTOMER_ID": f"c{rng.randrange(20)}",
        "TERMINAL_ID": f"t{rng.randrange(9)}",
    }


def numbers(rng: random.Random) -> Features:
    """Make an event of numbers only."""
    return {name: rng.gauss(i, 1 + i) for i, name in enumerate("abcdef")}


def learned(pipeline: str, *, compiled: bool) -> tuple[Learner, Any]:
    """Give a learner that has learned 3,000 events, and what makes events for it."""
    make = event if pipeline == "fraud" else numbers
    learner = Learner(build(pipeline, Task.BINARY, 1), Task.BINARY)
    if not compiled:
        learner._model.estimator = river_twin(learner._model.estimator)
        learner._model.get_ready()
    rng = random.Random(3)
    for i in range(3_000):
        x = make(rng)
        first = next(iter(x.values()))
        label = first > (45.0 if pipeline == "fraud" else 0.5) or rng.random() < 0.05
        one = Example(f"e{i}", x, label, 0.5, "v1-0", 0, i, i, "labels/0", i, i)
        learner.absorb([one], [i])
    return learner, make


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("pipeline", ["logistic", "fraud"])
def test_contributions_of_a_linear_model_add_up_to_its_margin(
    pipeline: str, compiled: bool
) -> None:
    """Of a thousand alerts, to 1e-9: compiled, fused, and after transformers."""
    if compiled and not AVAILABLE:
        pytest.skip("not built here")
    learner, make = learned(pipeline, compiled=compiled)
    assert learner.is_compiled is compiled
    if not compiled and pipeline == "logistic":
        assert learner._model._fused is not None
    rng = random.Random(5)
    alerts: list[Features] = []
    while len(alerts) < N_ALERTS:
        x = make(rng)
        if learner.score(x) >= 0.5:
            alerts.append(x)
    river = river_twin(learner._model.estimator)
    assert isinstance(river, compose.Pipeline)
    for x, found in zip(alerts, learner.explain_many(alerts), strict=True):
        scaled, regression = river._transform_one(x)
        margin = regression._raw_dot_one(scaled)
        parts = math.fsum(part.contribution for part in found.parts)
        assert found.method == "linear"
        assert abs(found.base + parts - margin) < 1e-9
        assert abs(1 / (1 + math.exp(-margin)) - learner.score(x)) < 1e-9
        told = found.top(2, {})
        listed = math.fsum(reason.contribution for reason in told.features)
        assert abs(told.base + listed + told.rest - margin) < 1e-9
        left_out = [abs(part.contribution) for part in found.parts]
        assert [abs(r.contribution) for r in told.features] == sorted(left_out, reverse=True)[:2]


def test_a_reason_reads_like_a_sentence() -> None:
    """The value as it was before scaling, beside what is usual, under the name that people use."""
    learner, _ = learned("fraud", compiled=AVAILABLE)
    (found,) = learner.explain_many(
        [{"TX_AMOUNT": 900.0, "CUSTOMER_ID": "c1", "TERMINAL_ID": "t1"}]
    )
    (reason,) = found.top(1, {"TX_AMOUNT": "amount"}).features
    assert (reason.feature, reason.value) == ("TX_AMOUNT", 900.0)
    assert reason.contribution > 1.0
    assert 20.0 < float(reason.usual or 0) < 50.0
    assert reason.text == f"amount 900, usual {reason.usual:.3g}"


@pytest.mark.parametrize("pipeline", ["gaussian-nb", "hoeffding-tree"])
def test_other_models_are_explained_by_what_is_usual(pipeline: str) -> None:
    """The feature that labels follow from comes first; what it says adds up to the score."""
    learner, make = learned(pipeline, compiled=AVAILABLE)
    rng = random.Random(5)
    alerts = [x for x in (make(rng) for _ in range(300)) if learner.score(x) >= 0.5]
    assert len(alerts) > 50
    n_first = 0
    for x, found in zip(alerts, learner.explain_many(alerts), strict=True):
        told = found.top(3, {})
        listed = math.fsum(reason.contribution for reason in told.features)
        assert told.base + listed + told.rest == pytest.approx(learner.score(x), abs=1e-9)
        n_first += told.features[0].feature == "a"
    assert n_first > 0.9 * len(alerts)


def test_explaining_teaches_nothing() -> None:
    """The fold must not depend on who asked for reasons."""
    for pipeline in ("fraud", "gaussian-nb"):
        asked, make = learned(pipeline, compiled=AVAILABLE)
        before = asked.dump()
        asked.explain_many([make(random.Random(1))] * 5)
        assert asked.dump() == before
        assert asked.fingerprint() == learned(pipeline, compiled=AVAILABLE)[0].fingerprint()


def test_a_feature_that_was_never_learned_contributes_nothing() -> None:
    """It has no weight, and nothing is usual for it."""
    learner, _ = learned("logistic", compiled=AVAILABLE)
    (found,) = learner.explain_many([{"a": 2.0, "new": 9.0}])
    assert {part.feature: part.contribution for part in found.parts}["new"] == 0.0
    assert [reason.feature for reason in found.top(9, {}).features] == ["a"]


def test_an_explanation_of_nothing_is_empty() -> None:
    """A model without probes has nothing to compare with."""
    found = explain(compiled_twin(build("gaussian-nb", Task.BINARY, 1)), [{"a": 1.0}], dict, score)
    assert found == [Attribution("occlusion", "score", 0.5, [], [], [], [], 0.5)]


def score(rows: Any) -> list[float]:
    """Say one half of everything."""
    return [0.5 for _ in rows]
