"""Exchange River's models for their compiled twins and back, state included.

Why the stored state of these is River's own: it is small, so rewriting it costs nothing, and a
version then loads on a machine without the extension, in a release that has another dump format,
and beside the versions that were cut before there were kernels. Either twin goes on where the
other stopped, so it does not matter which of them learned what.

A tree is exchanged only while it is fresh. Its state is stored as the kernel's dump, a thirtieth of
River's in size and a hundredth in time: it needs the extension wherever it is loaded.
"""

from __future__ import annotations

import inspect
import random
from typing import Any

from river import anomaly, compose, ensemble, forest, naive_bayes, tree

from models.compiled import AVAILABLE


def compiled_twin(model: Any) -> Any:
    """Give the compiled twin of a River model, in the same state, or the model if it has none.

    Of a pipeline, the last steps may have a twin; the steps before are then shared.

    Examples
    --------
    >>> from river import linear_model, preprocessing
    >>> river = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    >>> type(river_twin(compiled_twin(river))).__name__
    'Pipeline'
    """
    if not AVAILABLE:
        return model
    from models.compiled.logistic import ScaledLogisticRegression
    from models.compiled.naive_bayes import GaussianNB

    try:
        if type(model) is naive_bayes.GaussianNB:
            return GaussianNB.from_river(model)
        if type(model) is not compose.Pipeline:
            return _tree_twin(model)
        *first, (name, last) = model.steps.items()
        if (tree_twin := _tree_twin(last)) is not last:
            return compose.Pipeline(*first, (name, tree_twin))
        if type(last) is naive_bayes.GaussianNB:
            return compose.Pipeline(*first, (name, GaussianNB.from_river(last)))
        *before, scaler = first
        pair = compose.Pipeline(scaler, (name, last))
        twin = ScaledLogisticRegression.from_river(pair)
    except ValueError:
        # Something about it is not compiled, and River has it.
        return model
    return compose.Pipeline(*before, (f"{scaler[0]}|{name}", twin)) if before else twin


def _tree_twin(model: Any) -> Any:
    from models.compiled.adaptive_tree import HoeffdingAdaptiveTreeClassifier
    from models.compiled.bagging import ADWINBaggingClassifier, LeveragingBaggingClassifier
    from models.compiled.forest import ARFClassifier
    from models.compiled.half_space import HalfSpaceTrees
    from models.compiled.regression_forest import ARFRegressor
    from models.compiled.regression_trees import HoeffdingTreeRegressor
    from models.compiled.trees import HoeffdingTreeClassifier

    twins: dict[type[Any], type[Any]] = {
        tree.HoeffdingTreeClassifier: HoeffdingTreeClassifier,
        tree.HoeffdingTreeRegressor: HoeffdingTreeRegressor,
        tree.HoeffdingAdaptiveTreeClassifier: HoeffdingAdaptiveTreeClassifier,
        forest.ARFClassifier: ARFClassifier,
        forest.ARFRegressor: ARFRegressor,
        anomaly.HalfSpaceTrees: HalfSpaceTrees,
        ensemble.ADWINBaggingClassifier: ADWINBaggingClassifier,
        ensemble.LeveragingBaggingClassifier: LeveragingBaggingClassifier,
    }
    if type(model) not in twins or not _is_fresh(model):
        return model
    names = inspect.signature(type(model)).parameters
    if "seed" in names and model.seed is None:
        # What River's would have drawn is in its generator alone.
        return model
    try:
        return twins[type(model)](**{name: getattr(model, name) for name in names})
    except ValueError:
        # Something about it is not compiled, and River has it.
        return model


def _is_fresh(model: Any) -> bool:
    match model:
        case forest.ARFClassifier() | forest.ARFRegressor():
            return len(model) == 0
        case anomaly.HalfSpaceTrees():
            return not model.trees
        case ensemble.ADWINBaggingClassifier() | ensemble.LeveragingBaggingClassifier():
            # Whatever it learns, it draws for first.
            fresh: Any = random.Random(model.seed)
            return bool(model._rng.getstate() == fresh.getstate())
    return model._root is None


def river_twin(model: Any) -> Any:
    """Give the River model that stands where a model with a compiled twin does, or the model."""
    if type(model) is not compose.Pipeline:
        to_river = getattr(model, "to_river", None)
        return model if to_river is None else to_river()
    *before, (name, last) = model.steps.items()
    stands_for = river_twin(last)
    if stands_for is last:
        return model
    is_pipeline = type(stands_for) is compose.Pipeline
    steps = stands_for.steps.items() if is_pipeline else [(name, stands_for)]
    return compose.Pipeline(*before, *steps)


def is_compiled(model: Any) -> bool:
    """Say whether a model is a compiled estimator, or ends in one."""
    if not AVAILABLE:
        return False
    from models.compiled import _native

    last = list(model.steps.values())[-1] if type(model) is compose.Pipeline else model
    return any(kind.__module__ == _native.__name__ for kind in type(last).__mro__)
