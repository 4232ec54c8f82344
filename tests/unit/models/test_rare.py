"""Rare classes: fewer negatives and heavier positives, and probabilities that stay honest."""

from __future__ import annotations

import math
import random
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from pydantic import ValidationError

from models import InvalidPipeline, Learner, Task, build
from models.rare import HonestScores, PlattScaling, RareClasses
from models.reliability import calibration_error_of
from models.types import Example
from stream.learners import new_learner
from stream.settings import Settings

N = 12_000
RATE = 0.01
DELAY = 500


def log(n: int = N, seed: int = 1) -> list[Example]:
    """Make examples of which one in a hundred is positive, mostly those where x is high."""
    rng = random.Random(seed)
    made = []
    for i in range(n):
        label = rng.random() < RATE
        features = {"x": rng.gauss(2.0 if label else 0.0, 1.0), "y": rng.gauss(0.0, 1.0)}
        made.append(Example(f"e{i}", features, label, 0.01, "v1-0", 0, i, i, "labels/0", i, i))
    return made


def learned(rare: RareClasses | None, cuts: list[int], pipeline: str = "logistic") -> Learner:
    """Learn the log in batches that end at the cuts; scores are as published."""
    learner = Learner(build(pipeline, Task.BINARY, 1), Task.BINARY, rare=rare)
    for start, end in pairwise([0, *cuts, N]):
        learner.absorb(scored(rare, pipeline)[start:end], range(start, end))
    return learner


@cache
def scored(rare: RareClasses | None, pipeline: str) -> list[Example]:
    """Score the log, each event 500 before its label is learned."""
    learner, made = Learner(build(pipeline, Task.BINARY, 1), Task.BINARY, rare=rare), []
    for i, one in enumerate(log()):
        score: Any = learner.score(one.features)
        made.append(structs.replace(one, score=score, model_position=learner.position))
        if i >= DELAY:
            learner.absorb([made[i - DELAY]], [i - DELAY])
    return made


def reliability(learner: Learner) -> tuple[float, float]:
    """Give the mean score and the calibration error on events that were not learned."""
    fresh = log(n=20_000, seed=2)
    scores: Any = np.array(learner.score_many([e.features for e in fresh]))
    truths = np.array([e.label for e in fresh])
    return float(scores.mean()), calibration_error_of(truths, scores) or 0.0


@pytest.mark.parametrize(
    "rare",
    [
        RareClasses(negatives_kept=0.1),
        RareClasses(positive_weight=10.0),
        RareClasses(negatives_kept=0.2, positive_weight=3.0),
        RareClasses(0.1, 1.0, "platt", 4_000),
        RareClasses(1.0, 1.0, "platt", 4_000),
    ],
)
def test_probabilities_are_those_of_the_real_world(rare: RareClasses) -> None:
    """The mean score is the rate of positives, however distorted what was learned."""
    mean, error = reliability(learned(rare, []))
    assert 0.5 * RATE < mean < 1.8 * RATE
    # A few thousand steps of gradient descent are not the end of it; calibration is faster.
    assert error < (0.013 if rare.calibration == "none" else 0.009)


def test_calibration_is_faster_than_the_model() -> None:
    """By what was published, and on events that come after."""
    plain, platt = RareClasses(0.1), RareClasses(0.1, 1.0, "platt", 4_000)
    one, other = learned(plain, []), learned(platt, [])
    assert other.metrics()["total"]["ece"] < 0.5 * one.metrics()["total"]["ece"]
    assert reliability(other)[1] < 0.7 * reliability(one)[1]


def test_without_correction_they_would_not_be() -> None:
    """The test above must be able to fail."""
    learner = learned(RareClasses(negatives_kept=0.1, positive_weight=5.0), [])
    assert learner._honest is not None
    learner._honest._lines.append((0, 1.0, 0.0))
    assert reliability(learner)[0] > 5 * RATE


def test_platt_makes_a_bad_calibration_good() -> None:
    """Naive Bayes with a copy of its feature says too much; ranking stays."""
    rng = random.Random(5)
    platt = PlattScaling(5_000)
    raw, truths = [], []
    for _ in range(20_000):
        logit = rng.gauss(-4.0, 2.0)
        truth = rng.random() < 1 / (1 + math.exp(-(0.5 * logit - 1.0)))
        platt.observe(logit, truth)
        raw.append(logit)
        truths.append(truth)
    assert (platt.slope, platt.shift) == (pytest.approx(0.5, abs=0.15), pytest.approx(-1, abs=0.4))
    said = [1 / (1 + math.exp(-logit)) for logit in raw]
    honest = [1 / (1 + math.exp(-platt.logit(logit))) for logit in raw]
    before = calibration_error_of(np.array(truths), np.array(said))
    after = calibration_error_of(np.array(truths), np.array(honest))
    assert before is not None
    assert after is not None
    assert after < 0.01 < before / 3
    assert sorted(range(500), key=raw.__getitem__) == sorted(range(500), key=honest.__getitem__)


def test_platt_never_turns_the_ranking_round() -> None:
    """Even if every score is wrong."""
    platt = PlattScaling(100)
    for i in range(500):
        platt.observe(3.0 if i % 2 else -3.0, i % 2 == 0)
    assert platt.slope > 0.0


@pytest.mark.parametrize("pipeline", ["logistic", "hoeffding-tree"])
@pytest.mark.parametrize(
    "rare", [RareClasses(negatives_kept=0.2), RareClasses(0.3, 4.0, "platt", 1_000)]
)
def test_the_fold_is_the_same_in_any_batches_and_after_a_restart(
    rare: RareClasses, pipeline: str
) -> None:
    """Which negatives are kept, and what calibration has learned."""
    one = learned(rare, [], pipeline)
    other = learned(rare, [1, 2, 3, 50, 3_333], pipeline)
    half = Learner(build(pipeline, Task.BINARY, 1), Task.BINARY, rare=rare)
    half.absorb(scored(rare, pipeline)[:5_999], range(5_999))
    restored = Learner.load(half.dump())
    restored.absorb(scored(rare, pipeline)[5_999:], range(5_999, N))
    for again in (other, restored):
        assert again.fingerprint() == one.fingerprint()
        assert again.n_learned == one.n_learned < N / 2


def test_a_correction_is_learned_and_a_negative_stays_left_out() -> None:
    """A choice by id holds for every revision."""
    honest = HonestScores(RareClasses(negatives_kept=0.5))
    negatives = [(structs.replace(one, label=False), i) for i, one in enumerate(log(1_000))]
    kept = {one.event_id for one, _ in honest.weigh(negatives)}
    assert 400 < len(kept) < 600
    again = [(structs.replace(one, revision=2, weight=3.0), i) for one, i in negatives]
    assert {one.event_id for one, _ in honest.weigh(again)} == kept
    corrected = [(structs.replace(one, label=True), i) for one, i in negatives]
    assert len(honest.weigh(corrected)) == 1_000


def test_calibration_knows_the_line_that_a_score_was_published_by() -> None:
    """However late its label: else it would calibrate what was calibrated."""
    rare = RareClasses(calibration="platt", calibration_n=400)
    honest, rng = HonestScores(rare), random.Random(3)
    waiting: list[Example] = []
    (first,) = log(1)
    for i in range(6_000):
        raw = rng.gauss(-2.0, 1.0)
        label = rng.random() < 1 / (1 + math.exp(-(raw - 1.5)))
        (score,) = honest.correct([1 / (1 + math.exp(-raw))])
        one = structs.replace(first, label=label, score=score, model_position=max(0, i - 999))
        waiting.append(one)
        if i >= 1_000:
            honest.observe([waiting[i - 1_000]], [i - 1_000])
    slope, shift = honest.line
    assert slope == pytest.approx(1.0, abs=0.5)
    assert slope * -2.0 + shift == pytest.approx(-3.5, abs=0.5)
    assert len(honest._lines) == 501


def test_off_it_changes_nothing() -> None:
    """Neither predictions nor hashes nor the state: older releases read it."""
    plain, off = learned(None, []), learned(RareClasses(), [])
    assert plain.fingerprint() == off.fingerprint()
    assert plain.pipeline_hash == off.pipeline_hash
    assert plain.pipeline == off.pipeline == "StandardScaler | LogisticRegression"
    assert "_honest" not in off.__dict__


def test_on_it_is_another_pipeline() -> None:
    """A version says how it was learned."""
    on = Learner(
        build("logistic", Task.BINARY, 1), Task.BINARY, rare=RareClasses(calibration="platt")
    )
    plain = Learner(build("logistic", Task.BINARY, 1), Task.BINARY)
    assert on.pipeline_hash != plain.pipeline_hash
    assert on.pipeline == "StandardScaler | LogisticRegression, calibration=platt/20000"


def test_reasons_explain_the_corrected_score() -> None:
    """Contributions add up to its log-odds: Platt scaling is a line."""
    learner = learned(RareClasses(0.2, 2.0, "platt"), [])
    x = {"x": 3.0, "y": 0.1}
    (found,) = learner.explain_many([x])
    margin = found.base + math.fsum(part.contribution for part in found.parts)
    score: Any = learner.score(x)
    assert margin == pytest.approx(math.log(score / (1 - score)), abs=1e-9)
    assert margin == pytest.approx(found.total, abs=1e-12)


def test_weights_that_a_pipeline_does_not_take_are_refused() -> None:
    """It would ignore them, and its probabilities would be corrected for nothing."""
    settings = Settings(
        event={"features": {"x": {}}},
        model={"pipeline": "gaussian-nb"},
        rare={"positive_weight": 5.0},
    )
    with pytest.raises(InvalidPipeline, match="negatives_kept"):
        new_learner(settings)


def test_rare_classes_are_of_binary_tasks() -> None:
    """Elsewhere there is no positive."""
    with pytest.raises(ValidationError, match="binary"):
        Settings(
            event={"features": {"x": {}}},
            model={"task": "regression", "pipeline": "linear-regression"},
            rare={"negatives_kept": 0.5},
        )
