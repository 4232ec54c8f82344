"""What a model is made of, in numbers that people compare: weights by name, sizes of trees.

Found by walking River's own objects, so that a pipeline of one's own is shown as well, as far as it
holds linear models and trees; of anything else nothing is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from river import base

_TREE_SIZES = ("n_nodes", "n_leaves")
_DEPTH_MAX = 6


class Anatomy(msgspec.Struct, frozen=True):
    """Weights of linear models by feature (`class:feature` where there is one for each), sizes."""

    weights: dict[str, float]
    sizes: dict[str, int]


def anatomy(model: Any) -> Anatomy:
    """Take the numbers of all linear models and trees in a model; sizes of trees add up.

    Examples
    --------
    >>> from models.pipelines import build
    >>> from models.types import Task
    >>> model = build("logistic", Task.BINARY, seed=7)
    >>> model.learn_one({"a": 1.0}, True); model.learn_one({"a": 3.0}, False)
    >>> found = anatomy(model)
    >>> sorted(found.weights), found.sizes
    (['a', 'intercept'], {})
    """
    weights: dict[str, float] = {}
    sizes: dict[str, int] = {}
    for part in _parts(model, set(), 0):
        if isinstance(getattr(part, "weights", None), Mapping):
            weights |= _weights_of(part)
        elif all(hasattr(part, name) for name in _TREE_SIZES):
            sizes["trees"] = sizes.get("trees", 0) + 1
            for name in _TREE_SIZES:
                sizes[name] = sizes.get(name, 0) + int(getattr(part, name) or 0)
    return Anatomy(weights, sizes)


def _weights_of(part: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, weight in part.weights.items():
        if isinstance(weight, Mapping):
            found |= {f"{name}:{feature}": float(each) for feature, each in weight.items()}
        else:
            found[str(name)] = float(weight)
    if isinstance(intercept := getattr(part, "intercept", None), float | int):
        found["intercept"] = float(intercept)
    return found


def _parts(thing: Any, seen: set[int], depth: int) -> Iterator[Any]:
    """Give the estimators in it, the outermost first, each once; what trees hold is theirs."""
    if id(thing) in seen or depth > _DEPTH_MAX:
        return
    seen.add(id(thing))
    inner: Iterable[Any] = ()
    if isinstance(thing, base.Estimator):
        yield thing
        if not all(hasattr(thing, name) for name in _TREE_SIZES):
            inner = list(vars(thing).values())
    elif isinstance(thing, Mapping):
        inner = thing.values()
    elif isinstance(thing, list | tuple):
        inner = thing
    for each in inner:
        yield from _parts(each, seen, depth + 1)
