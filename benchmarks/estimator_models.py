"""The estimators of the benchmark: each of ours beside River's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from river import anomaly, ensemble, forest, linear_model, naive_bayes, preprocessing, tree

from models.compiled.adaptive_tree import HoeffdingAdaptiveTreeClassifier
from models.compiled.bagging import ADWINBaggingClassifier, LeveragingBaggingClassifier
from models.compiled.forest import ARFClassifier
from models.compiled.half_space import HalfSpaceTrees
from models.compiled.logistic import ScaledLogisticRegression
from models.compiled.naive_bayes import GaussianNB
from models.compiled.regression_forest import ARFRegressor
from models.compiled.regression_trees import HoeffdingTreeRegressor
from models.compiled.trees import HoeffdingTreeClassifier


@dataclass(frozen=True)
class Contender:
    """An estimator of ours beside River's: one line in MODELS."""

    name: str
    river: Callable[[], Any]
    ours: Callable[[], Any]
    takes_text: bool = True
    # River's forests take a millisecond an event: fewer events, or a run takes minutes.
    share_of_events: float = 1.0
    is_regression: bool = False


class Scores:
    """Anomaly scores, said and learned through the calls of a classifier."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def predict_proba_one(self, x: dict[Any, Any]) -> dict[bool, float]:
        return {True: self._model.score_one(x)}

    def learn_one(self, x: dict[Any, Any], y: bool) -> None:
        self._model.learn_one(x)

    def dump(self) -> bytes:
        dump: bytes = self._model.dump()
        return dump

    def test_then_train_many(self, rows: Any, y: Any, names: Any) -> Any:
        return self._model.test_then_train_many(rows, names=names)


MODELS = [
    Contender("gaussian-nb", naive_bayes.GaussianNB, GaussianNB, takes_text=False),
    Contender(
        "logistic",
        lambda: preprocessing.StandardScaler() | linear_model.LogisticRegression(),
        ScaledLogisticRegression,
        takes_text=False,
    ),
    Contender(
        "hoeffding-tree",
        tree.HoeffdingTreeClassifier,
        HoeffdingTreeClassifier,
    ),
    Contender(
        "hoeffding-adaptive-tree",
        lambda: tree.HoeffdingAdaptiveTreeClassifier(seed=7),
        lambda: HoeffdingAdaptiveTreeClassifier(seed=7),
    ),
    Contender(
        "adaptive-random-forest",
        lambda: forest.ARFClassifier(n_models=10, seed=7),
        lambda: ARFClassifier(n_models=10, seed=7),
        share_of_events=0.3,
    ),
    Contender(
        "adwin-bagging",
        lambda: ensemble.ADWINBaggingClassifier(tree.HoeffdingTreeClassifier(), seed=7),
        lambda: ADWINBaggingClassifier(HoeffdingTreeClassifier(), seed=7),
        share_of_events=0.3,
    ),
    Contender(
        "leveraging-bagging",
        lambda: ensemble.LeveragingBaggingClassifier(tree.HoeffdingTreeClassifier(), seed=7),
        lambda: LeveragingBaggingClassifier(HoeffdingTreeClassifier(), seed=7),
        share_of_events=0.2,
    ),
    Contender(
        "hoeffding-tree-regressor",
        tree.HoeffdingTreeRegressor,
        HoeffdingTreeRegressor,
        is_regression=True,
    ),
    Contender(
        "adaptive-random-forest-regressor",
        lambda: forest.ARFRegressor(n_models=10, seed=7),
        lambda: ARFRegressor(n_models=10, seed=7),
        share_of_events=0.2,
        is_regression=True,
    ),
    Contender(
        "half-space-trees",
        lambda: Scores(anomaly.HalfSpaceTrees(seed=7)),
        lambda: Scores(HalfSpaceTrees(seed=7)),
        takes_text=False,
    ),
]
