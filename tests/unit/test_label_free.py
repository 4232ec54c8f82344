"""Drift that a worker sees in what it scores, before any label."""

from __future__ import annotations

import json
import random

import pytest

from models import DriftSettings
from models.types import DriftSignal
from stream import topics
from stream.label_free import LabelFree
from stream.learners import new_learner
from stream.scorer import ModelInForce
from stream.settings import Settings


def score_events(model: ModelInForce, n: int, mean: float, rng: random.Random) -> None:
    """Let a model score events, a hundred at a time."""
    for _ in range(n // 100):
        model.score_many([{"x": rng.gauss(mean, 1.0)} for _ in range(100)])


def test_the_model_in_force_shows_what_it_scores() -> None:
    """A feature that moves is told once, with an id that names the worker."""
    settings = Settings(event={"features": {"x": {}}})
    model = ModelInForce(lambda: new_learner(settings), lambda: 7.0, 60.0)
    watch = LabelFree(DriftSettings(), "host-a:1", lambda: 7.0)
    model.observe = watch.observe
    rng = random.Random(1)
    score_events(model, 4_000, 0.0, rng)
    assert [s for s in watch.take() if s.level == "confirmed"] == []
    score_events(model, 4_000, 2.0, rng)
    told: list[DriftSignal] = [s for s in watch.take() if s.level == "confirmed"]
    assert [(s.kind, s.what) for s in told] == [("data", "x")]
    assert told[0].since == pytest.approx(4_000, abs=500)
    assert watch.take() == []

    record = watch.record_of(told[0])
    body = json.loads(record.value)
    assert record.topic == topics.DRIFT.name
    assert body["id"] == f"host-a:1-7000-{told[0].position}-x-confirmed"
    assert body["action"] == "none"
    assert body["moved"][0]["after"] == pytest.approx(2.0, abs=0.3)
