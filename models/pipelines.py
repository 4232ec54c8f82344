"""Named factories of River pipelines.

A pipeline is chosen by name, or by `"module:function"` for a user's own: a function that takes
`seed=` and returns a fresh River estimator. Everything that is built here can be pickled, is
seeded, and learns only in `learn_one`.

Why `max_depth=20`: a monotone feature (a timestamp, an id) otherwise grows a chain so deep that
pickling it exceeds the recursion limit, and the checkpoint dies with the learner. Why
`max_share_to_split=1`: at River's 0.99 a leaf whose classes are more lopsided than that (any fraud
stream) has its statistics wiped at every grace period instead of being split.

Which depend on `PYTHONHASHSEED`: trees and forests that are given *text* features, because River
keeps the values of a nominal feature in a set and breaks ties between equally good splits in the
set's order. Run those with `PYTHONHASHSEED=0`. The other pipelines, and trees over numbers, give
the same predictions in any process.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from river import (
    anomaly,
    base,
    compose,
    forest,
    linear_model,
    naive_bayes,
    preprocessing,
    tree,
)

from models.errors import InvalidPipeline
from models.transformers import EntityPast, EntityRate, UsualRatio
from models.types import Task

Factory: TypeAlias = Callable[[int], base.Estimator]

_TREE: Mapping[str, Any] = {"max_depth": 20}
# The mean, because the linear models that River puts into leaves otherwise cannot take text.
_TREE_REGRESSOR: Mapping[str, Any] = {**_TREE, "leaf_prediction": "mean"}
_TREE_CLASSIFIER: Mapping[str, Any] = {**_TREE, "max_share_to_split": 1.0}


def _logistic(seed: int) -> base.Estimator:
    return preprocessing.StandardScaler() | linear_model.LogisticRegression()


def _fraud(seed: int) -> base.Estimator:
    """Build the pipeline for raw card payments, with labels that are days late.

    Three signs of fraud, each with the number that shows it: an unusual amount (in itself and for
    this customer), a terminal that has been tampered with, a card that has been stolen. Entity
    windows and delayed risk are taken too, where they are configured. The scaler comes last: a
    fraud rate of 0.01 would otherwise move nothing beside an amount of 100. The intercept starts at
    the log-odds of one fraud in 150, so that until the first labels arrive a payment is as
    suspicious as payments are, and not an even bet.
    """
    return compose.Pipeline(
        compose.TransformerUnion(
            UsualRatio("TX_AMOUNT", "CUSTOMER_ID"),
            EntityRate("TERMINAL_ID", fading=0.5),
            EntityRate("CUSTOMER_ID", fading=0.3),
            EntityPast(("CUSTOMER_ID", "TERMINAL_ID")),
        ),
        preprocessing.StandardScaler(),
        linear_model.LogisticRegression(intercept_init=-5.0),
    )


def _flights(seed: int) -> base.Estimator:
    """Build the pipeline for flights that may be late, with labels when they land.

    What the timetable says is weak; how late this airport, airline and destination were today is
    strong, and only who keeps learning knows it. The intercept starts at one late flight in four.
    """
    return compose.Pipeline(
        compose.TransformerUnion(
            compose.Select("distance", "hour", "weekday"),
            EntityRate("origin", fading=0.05),
            EntityRate("carrier", fading=0.05),
            EntityRate("destination", fading=0.1),
        ),
        preprocessing.StandardScaler(),
        linear_model.LogisticRegression(intercept_init=-1.2),
    )


def _softmax(seed: int) -> base.Estimator:
    return preprocessing.StandardScaler() | linear_model.SoftmaxRegression()


def _linear_regression(seed: int) -> base.Estimator:
    return preprocessing.StandardScaler() | linear_model.LinearRegression()


def _gaussian_nb(seed: int) -> base.Estimator:
    return naive_bayes.GaussianNB()  # type: ignore[no-untyped-call]


def _hoeffding_tree(seed: int) -> base.Estimator:
    return tree.HoeffdingTreeClassifier(**_TREE_CLASSIFIER)


def _hoeffding_tree_regressor(seed: int) -> base.Estimator:
    return tree.HoeffdingTreeRegressor(**_TREE_REGRESSOR)


def _hoeffding_adaptive_tree(seed: int) -> base.Estimator:
    return tree.HoeffdingAdaptiveTreeClassifier(seed=seed, **_TREE_CLASSIFIER)


def _hoeffding_adaptive_tree_regressor(seed: int) -> base.Estimator:
    return tree.HoeffdingAdaptiveTreeRegressor(seed=seed, **_TREE_REGRESSOR)


def _adaptive_random_forest(seed: int) -> base.Estimator:
    return forest.ARFClassifier(n_models=10, seed=seed, **_TREE_CLASSIFIER)


def _adaptive_random_forest_regressor(seed: int) -> base.Estimator:
    return forest.ARFRegressor(n_models=10, seed=seed, **_TREE_REGRESSOR)


def _half_space_trees(seed: int) -> base.Estimator:
    return preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(seed=seed)


_CLASSIFICATION = (Task.BINARY, Task.MULTICLASS)

_FACTORIES: dict[tuple[str, Task], Factory] = {
    ("logistic", Task.BINARY): _logistic,
    ("fraud", Task.BINARY): _fraud,
    ("flights", Task.BINARY): _flights,
    ("softmax", Task.MULTICLASS): _softmax,
    ("linear-regression", Task.REGRESSION): _linear_regression,
    ("half-space-trees", Task.ANOMALY): _half_space_trees,
    **{("gaussian-nb", task): _gaussian_nb for task in _CLASSIFICATION},
    **{("hoeffding-tree", task): _hoeffding_tree for task in _CLASSIFICATION},
    **{("hoeffding-adaptive-tree", task): _hoeffding_adaptive_tree for task in _CLASSIFICATION},
    **{("adaptive-random-forest", task): _adaptive_random_forest for task in _CLASSIFICATION},
    ("hoeffding-tree", Task.REGRESSION): _hoeffding_tree_regressor,
    ("hoeffding-adaptive-tree", Task.REGRESSION): _hoeffding_adaptive_tree_regressor,
    ("adaptive-random-forest", Task.REGRESSION): _adaptive_random_forest_regressor,
}


def names(task: Task) -> list[str]:
    """Name the pipelines that can do a task.

    Examples
    --------
    >>> names(Task.ANOMALY)
    ['half-space-trees']
    """
    return sorted(name for name, its_task in _FACTORIES if its_task is task)


def build(name: str, task: Task, seed: int) -> base.Estimator:
    """Build a fresh, seeded pipeline by name or from a user's `"module:function"`.

    Raises
    ------
    InvalidPipeline
        When there is no such pipeline, or it cannot do the task.

    Examples
    --------
    >>> describe(build("logistic", Task.BINARY, seed=7))
    'StandardScaler | LogisticRegression'
    """
    if ":" in name:
        pipeline = _build_custom(name, seed)
    elif (name, task) in _FACTORIES:
        pipeline = _FACTORIES[name, task](seed)
    else:
        raise InvalidPipeline(
            f"no pipeline {name!r} for the task {task}; "
            f"there are {', '.join(names(task))}, or your own 'module:function'"
        )
    _check_task(pipeline, name, task)
    return pipeline


def trusted_modules(*names: str) -> tuple[str, ...]:
    """Say which modules a checkpoint of this pipeline and detector may name, beyond River and ours.

    Examples
    --------
    >>> trusted_modules("acme.fraud:build", "adwin"), trusted_modules("logistic")
    (('acme.fraud',), ())
    """
    return tuple(name.partition(":")[0] for name in names if ":" in name)


def _build_custom(name: str, seed: int) -> base.Estimator:
    module_name, _, function_name = name.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidPipeline(f"cannot import the pipeline {name!r}: {error}") from error
    try:
        pipeline = function(seed=seed)
    except TypeError as error:
        raise InvalidPipeline(f"{name!r} must be callable with seed=: {error}") from error
    if not isinstance(pipeline, base.Estimator):
        raise InvalidPipeline(
            f"{name!r} returned {type(pipeline).__name__}, which is not a River estimator"
        )
    return pipeline


def _check_task(pipeline: base.Estimator, name: str, task: Task) -> None:
    kinds: dict[Task, type[base.Estimator]] = {
        Task.BINARY: base.Classifier,
        Task.MULTICLASS: base.Classifier,
        Task.REGRESSION: base.Regressor,
        Task.ANOMALY: base.AnomalyDetector,
    }
    final = final_step(pipeline)
    two_classes_only = isinstance(final, base.Classifier) and not final._multiclass
    if not isinstance(final, kinds[task]) or (task is Task.MULTICLASS and two_classes_only):
        raise InvalidPipeline(f"the pipeline {name!r} ({describe(pipeline)}) cannot do {task}")


def final_step(pipeline: base.Estimator) -> base.Estimator:
    """Return the estimator that predicts: the last step, or the estimator itself."""
    step = pipeline
    while isinstance(step, compose.Pipeline):
        step = list(step.steps.values())[-1]
    return step


def takes_weight(pipeline: base.Estimator) -> bool:
    """Say whether `learn_one` of the final step takes `w=`.

    Examples
    --------
    >>> takes_weight(build("logistic", Task.BINARY, 0))
    True
    >>> takes_weight(build("gaussian-nb", Task.BINARY, 0))
    False
    """
    learn_one = getattr(type(final_step(pipeline)), "learn_one", None)
    return learn_one is not None and "w" in inspect.signature(learn_one).parameters


def describe(pipeline: base.Estimator) -> str:
    """Describe a pipeline in one line: its steps, and the parameters that are not defaults.

    Examples
    --------
    >>> from river import linear_model, optim, preprocessing
    >>> describe(preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(0.05)))
    'StandardScaler | LogisticRegression(optimizer=SGD(lr=Constant(learning_rate=0.05)))'
    """
    if isinstance(pipeline, compose.Pipeline):
        return " | ".join(describe(step) for step in pipeline.steps.values())
    if isinstance(pipeline, compose.TransformerUnion):
        return "(" + " + ".join(describe(step) for step in pipeline.transformers.values()) + ")"
    return _text(pipeline, defaults=False)


def pipeline_hash(pipeline: base.Estimator) -> str:
    """Hash the structure and all parameters of a fresh pipeline.

    Equal in every process. Take it before the first example: some estimators write what they
    saw in the data over their parameters (a forest does so with `max_features`).
    """
    return hashlib.sha256(_text(pipeline, defaults=True).encode()).hexdigest()[:16]


def _text(value: Any, *, defaults: bool) -> str:
    """Write a value as text without memory addresses, clocks or hash order."""

    def text(inner: Any) -> str:
        return _text(inner, defaults=defaults)

    match value:
        case compose.Pipeline():
            return " | ".join(f"{name}:{text(step)}" for name, step in value.steps.items())
        case compose.TransformerUnion():
            parts = (f"{name}:{text(step)}" for name, step in value.transformers.items())
            return f"({' + '.join(parts)})"
        case None | bool() | int() | float() | str() | bytes():
            return repr(value)
        case Mapping():
            items = sorted((text(key), text(inner)) for key, inner in value.items())
            return "{" + ", ".join(f"{key}: {inner}" for key, inner in items) + "}"
        case set() | frozenset():
            return "{" + ", ".join(sorted(map(text, value))) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(text, value)) + "]"
    if inspect.isclass(value) or inspect.isroutine(value):
        return f"{value.__module__}.{value.__qualname__}"
    return _text_of_object(value, defaults=defaults)


def _text_of_object(value: Any, *, defaults: bool) -> str:
    kind = type(value)
    names_of_parameters = [
        name for name in inspect.signature(kind.__init__).parameters if hasattr(value, name)
    ]
    usual = None if defaults else _default_instance(kind)
    arguments = []
    for name in names_of_parameters:
        argument = getattr(value, name)
        is_default = usual is not None and _text(argument, defaults=True) == _text(
            getattr(usual, name, None), defaults=True
        )
        if defaults or not is_default:
            arguments.append(f"{name}={_text(argument, defaults=defaults)}")
    title = f"{kind.__module__}.{kind.__qualname__}" if defaults else kind.__qualname__
    return f"{title}({', '.join(arguments)})" if arguments or defaults else title


def _default_instance(kind: type[Any]) -> Any:
    # River resolves a default of None in the constructor, so signatures do not tell defaults.
    try:
        return kind()
    except TypeError:
        return None
