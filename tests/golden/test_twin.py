"""The twin: over a real stream, a learner predicts exactly what a five-line River loop does."""

from __future__ import annotations

import pytest
from river import base, linear_model, preprocessing, tree

from models import Example, Features, Learner, Task, build
from models.compiled import twins


@pytest.mark.parametrize("is_compiled", [True, False])
@pytest.mark.parametrize(
    ("name", "model", "accuracy_min"),
    [
        (
            "logistic",
            preprocessing.StandardScaler() | linear_model.LogisticRegression(),
            0.80,
        ),
        (
            "hoeffding-adaptive-tree",
            tree.HoeffdingAdaptiveTreeClassifier(max_depth=20, max_share_to_split=1.0, seed=5),
            0.80,
        ),
    ],
)
def test_a_learner_is_the_twin_of_a_river_loop(
    elec2: list[tuple[Features, bool]],
    name: str,
    model: base.Classifier,
    accuracy_min: float,
    is_compiled: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without label delay: scored, absorbed, saved and restored, every prediction is equal.

    To the last bit, but for compiled trees: they add in another order, and are held to 1e-12.
    """
    if not is_compiled:
        monkeypatch.setattr(twins, "AVAILABLE", False)
    tolerance = 1e-12 if is_compiled and name.endswith("tree") else 0.0
    model = model.clone()
    learner = Learner(build(name, Task.BINARY, seed=5), Task.BINARY)
    n_right = 0
    for offset, (x, y) in enumerate(elec2):
        expected = model.predict_proba_one(x).get(True, 0.0)
        model.learn_one(x, y)

        score = learner.score(x)
        assert abs(score - expected) <= tolerance, offset
        learner.absorb([example(offset, x, y, expected)], [offset])
        if offset % 3_000 == 2_999:
            learner = Learner.load(learner.dump())
        n_right += (expected >= 0.5) == y
    metrics = learner.metrics()
    assert metrics["total"]["accuracy"] == n_right / len(elec2) >= accuracy_min


def example(offset: int, x: Features, y: bool, score: float) -> Example:
    """Wrap an event with its label, which came at once."""
    return Example(
        event_id=str(offset),
        features=x,
        label=y,
        score=score,
        version=f"v1-{offset}",
        model_position=offset,
        event_time=float(offset),
        label_time=float(offset),
        origin="labels/0",
        offset=offset,
        floor=offset,
    )
