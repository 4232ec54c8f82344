"""Compiled trees refuse what would ruin them, hold their budget, and keep what they were given."""

from __future__ import annotations

import math
import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests import streams
from tests.unit.models.compiled import guards

pytest.importorskip("models.compiled._native", reason="the extension is not built")
from models.compiled.adaptive_tree import HoeffdingAdaptiveTreeClassifier
from models.compiled.forest import ARFClassifier
from models.compiled.trees import HoeffdingTreeClassifier

MODELS: dict[str, Callable[..., Any]] = {
    "tree": lambda **options: HoeffdingTreeClassifier(grace_period=50, **options),
    "adaptive": lambda **options: HoeffdingAdaptiveTreeClassifier(
        grace_period=50, seed=1, **options
    ),
    "forest": lambda **options: ARFClassifier(n_models=2, seed=1, **options),
}
GARBAGE: list[tuple[Any, Any, type[Exception]]] = [
    ({"a": math.nan}, True, ValueError),
    ({"a": math.inf}, True, ValueError),
    ({"a": 1e308}, True, ValueError),
    ({"a": 10**400}, True, ValueError),
    ({"a": None}, True, TypeError),
    ({"a": "text"}, True, TypeError),
    ({"t": 3.0}, True, TypeError),
    ({"a": [1.0]}, True, TypeError),
    ({"a": 1j}, True, TypeError),
    ({b"a": 1.0}, True, TypeError),
    ({"new": 1.0, "a": math.nan}, True, ValueError),
    ({"new": "x", "t": 1.0}, True, TypeError),
    ([("a", 1.0)], True, TypeError),
    ({"a": 1.0}, "yes", TypeError),
    ({"a": 1.0}, None, TypeError),
    ({"a": 1.0}, math.nan, ValueError),
    ({"a": 1.0}, 2**60, ValueError),
    ({"new": "x", "a": 1.0}, 10**400, ValueError),
    ({2**60: 1.0}, True, ValueError),
]


def trained(kind: str) -> Any:
    """A model that knows a number, a text and two classes."""
    model, rng = MODELS[kind](), random.Random(1)
    for _ in range(300):
        a = rng.random()
        model.learn_one({"a": a, "t": rng.choice("xyz")}, a > 0.5)
    return model


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(("x", "y", "error"), GARBAGE)
def test_garbage_is_refused_before_anything_changes(
    kind: str, x: Any, y: Any, error: type[Exception]
) -> None:
    """Alone, or at the end of a batch of good ones with names of their own."""
    good = [
        ({"a": 0.25, "t": "x", "first": 1.0}, True),
        ({"a": 0.5, "t": "unheard of", "second": "x"}, False),
    ]
    guards.assert_garbage_is_refused(trained(kind), (x, y), error, good)


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf, 1e300])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    """River divides by zero then, or worse."""
    model = trained("tree")
    before = model.dump()
    with pytest.raises(ValueError, match="weight"):
        model.learn_one({"a": 1.0}, True, w=weight)
    with pytest.raises(ValueError, match="weight"):
        model.learn_many([[1.0], [2.0]], [True, False], w=[1.0, weight], names=["a"])
    assert model.dump() == before


@pytest.mark.parametrize("kind", MODELS)
def test_arrays_are_checked_whole(kind: str) -> None:
    """Values, labels, names and shapes."""
    model = trained(kind)
    before = model.dump()
    calls: list[tuple[Any, Any, Any]] = [
        ([[1.0], [math.nan]], [True, False], ["a"]),
        ([[1.0], [2.0]], [True], ["a"]),
        ([[1.0], [2.0]], [True, "no"], ["new"]),
        ([[1.0, 2.0]], [True], ["a", "a"]),
        ([[1.0, 2.0]], [True], ["a"]),
        ([[1.0, 2.0]], [True], ["a", "t"]),
    ]
    for X, y, names in calls:
        with pytest.raises((TypeError, ValueError)):
            model.learn_many(X, y, names=names)
        assert model.dump() == before
    assert model.predict_proba_many(np.empty((0, 1)), names=["a"]).shape == (0, 2)


@pytest.mark.parametrize("kind", MODELS)
def test_labels_of_numpy_are_plain_ones(kind: str) -> None:
    """They come out of arrays, one by one as well."""
    model, same = trained(kind), trained(kind)
    for label in (np.True_, np.int64(0), 1.0):
        model.learn_one({"a": 0.5}, label)
        same.learn_one({"a": 0.5}, bool(label))
    assert model.dump() == same.dump()
    assert model.classes == (False, True)


def wide(n: int) -> Any:
    """Noise in thirty numbers: every leaf is worth as much as any other."""
    rng = random.Random(2)
    for _ in range(n):
        x = {f"f{i}": rng.random() for i in range(30)}
        yield x, (x["f0"] > 0.5) ^ (x["f1"] > 0.5) ^ (rng.random() < 0.1)


@pytest.mark.parametrize("kind", ["tree", "adaptive"])
@pytest.mark.parametrize("stop", [False, True])
def test_the_budget_holds_at_every_event(kind: str, stop: bool) -> None:
    """River's is not looked at within a million units of weight."""
    budget_mib = 0.12
    free = MODELS[kind](tau=0.5)
    model = MODELS[kind](tau=0.5, max_size=budget_mib, stop_mem_management=stop)
    names = 30 * 200
    for i, (x, y) in enumerate(wide(6_000)):
        free.learn_one(x, y)
        model.learn_one(x, y)
        assert model.memory_bytes <= budget_mib * 2**20 + names
        if i % 1_000 == 999:
            counted, measured = model._memory()
            assert counted == measured
            model = pickle.loads(pickle.dumps(model))
    assert free.memory_bytes > 2 * budget_mib * 2**20
    assert model.n_inactive_leaves > 0
    assert model.predict_proba_one({"f0": 0.1, "f1": 0.9})[True] > 0.0


def test_a_budget_that_is_not_reached_has_no_effect() -> None:
    """Down to the last bit."""
    small, large = (HoeffdingTreeClassifier(tau=0.5, max_size=size) for size in (1.0, 100.0))
    for x, y in wide(2_000):
        assert small.predict_proba_one(x) == large.predict_proba_one(x)
        small.learn_one(x, y)
        large.learn_one(x, y)
    assert small.memory_bytes < 2**20


def test_a_resumed_tree_decides_by_size_as_the_one_that_went_on() -> None:
    """Memory is counted by what is there, not by what happens to be allocated."""
    model = HoeffdingTreeClassifier(grace_period=50, tau=0.5, max_size=0.12)
    resumed = HoeffdingTreeClassifier(grace_period=50, tau=0.5, max_size=0.12)
    for i, (x, y) in enumerate(wide(3_000)):
        model.learn_one(x, y)
        resumed.learn_one(x, y)
        if i % 97 == 0:
            resumed = HoeffdingTreeClassifier.load(resumed.dump())
    assert resumed.dump() == model.dump()


@pytest.mark.parametrize("kind", MODELS)
def test_ten_thousand_categories(kind: str) -> None:
    """Each one once, then again: neither slow nor without bound."""
    model = MODELS[kind](max_size=1.0, max_share_to_split=1.0)
    for turn in range(2):
        for i in range(10_000):
            model.learn_one({"id": f"customer-{i}", "k": turn}, i % 3 == 0)
    assert model.memory_bytes < 6 * 2**20
    assert 0.0 <= model.predict_proba_one({"id": "customer-1", "k": 0})[True] <= 1.0


@pytest.mark.parametrize("kind", MODELS)
def test_rising_numbers_and_a_single_class(kind: str) -> None:
    """A timestamp makes a chain in River, too deep to pickle; one class gives nothing to split."""
    model = MODELS[kind](max_depth=20)
    for i in range(8_000):
        model.learn_one({"time": 1.6e9 + i}, i // 100 % 2 == 0)
    assert max(counts[3] for counts in model._counts()) <= 21
    assert type(model).load(model.dump()).dump() == model.dump()
    single = MODELS[kind]()
    for i in range(1_000):
        single.learn_one({"a": float(i % 7)}, True)
    assert single.predict_proba_one({"a": 1.0}) == {True: 1.0}


@pytest.mark.parametrize("kind", MODELS)
def test_damaged_dumps_are_refused(kind: str) -> None:
    """Cut short, changed in one byte, or of another estimator; the model stays as it was."""
    others = [trained(other).dump() for other in MODELS if other != kind]
    guards.assert_damage_is_refused(trained(kind), others)


def test_two_threads_on_one_model_are_told() -> None:
    """The second call is refused while the first is at work without the interpreter's lock."""
    model = ARFClassifier(seed=1)
    guards.assert_a_second_thread_is_told(model, list(streams.agrawal(4_000)))
    assert len(model.n_nodes) == 10
