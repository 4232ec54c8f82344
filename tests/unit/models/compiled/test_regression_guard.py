"""Compiled regression trees refuse what would ruin them, and hold their budget."""

from __future__ import annotations

import math
import pickle
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests import streams
from tests.unit.models.compiled import guards

pytest.importorskip("models.compiled._native", reason="the extension is not built")
from models.compiled.regression_forest import ARFRegressor
from models.compiled.regression_trees import HoeffdingTreeRegressor

MODELS: dict[str, Callable[..., Any]] = {
    "tree": lambda **options: HoeffdingTreeRegressor(grace_period=50, **options),
    "means": lambda **options: HoeffdingTreeRegressor(
        grace_period=50, leaf_prediction="mean", **options
    ),
    "forest": lambda **options: ARFRegressor(n_models=2, seed=1, **options),
}
GARBAGE: list[tuple[Any, Any, type[Exception]]] = [
    ({"a": math.nan}, 1.0, ValueError),
    ({"a": math.inf}, 1.0, ValueError),
    ({"a": 1e308}, 1.0, ValueError),
    ({"a": 10**400}, 1.0, ValueError),
    ({"a": None}, 1.0, TypeError),
    ({"a": "text"}, 1.0, TypeError),
    ({"a": [1.0]}, 1.0, TypeError),
    ({b"a": 1.0}, 1.0, TypeError),
    ({"new": 1.0, "a": math.nan}, 1.0, ValueError),
    ([("a", 1.0)], 1.0, TypeError),
    ({"a": 1.0}, "1.0", TypeError),
    ({"a": 1.0}, None, TypeError),
    ({"a": 1.0}, 1j, TypeError),
    ({"a": 1.0}, math.nan, ValueError),
    ({"a": 1.0}, -math.inf, ValueError),
    ({"a": 1.0}, 1e308, ValueError),
    ({"new": 2.0, "a": 1.0}, 10**400, ValueError),
    ({2**60: 1.0}, 1.0, ValueError),
]


def trained(kind: str) -> Any:
    """A model that knows two numbers, one of which is a code."""
    model, rng = MODELS[kind](nominal_attributes=["k"]), random.Random(1)
    for _ in range(300):
        a, k = rng.random(), rng.randrange(5)
        model.learn_one({"a": a, "k": k}, a + (k == 3))
    return model


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(("x", "y", "error"), GARBAGE)
def test_garbage_is_refused_before_anything_changes(
    kind: str, x: Any, y: Any, error: type[Exception]
) -> None:
    """Alone, or at the end of a batch of good ones with names of their own."""
    good = [({"a": 0.25, "k": 77, "first": 1.0}, 1.0), ({"a": 0.5, "second": 2}, 2)]
    guards.assert_garbage_is_refused(trained(kind), (x, y), error, good)


@pytest.mark.parametrize("kind", ["tree", "forest"])
def test_text_is_refused_where_linear_models_multiply(kind: str) -> None:
    """Learned or asked about, nominal or not; a tree of means takes it."""
    model = trained(kind)
    before = model.dump()
    for x in ({"k": "text"}, {"t": "text"}):
        with pytest.raises(TypeError, match="takes numbers"):
            model.learn_one(x, 1.0)
    with pytest.raises(TypeError, match="takes numbers"):
        model.predict_one({"k": "text"})
    assert model.dump() == before
    means = MODELS["means"]()
    means.learn_one({"t": "text"}, 1.0)
    with pytest.raises(TypeError, match="text so far"):
        means.learn_one({"t": 1.0}, 1.0)
    assert means.predict_one({"t": 2.0}) == 1.0


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf, 1e300])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    """And a forest takes none at all."""
    model = trained("tree")
    before = model.dump()
    with pytest.raises(ValueError, match="weight"):
        model.learn_one({"a": 1.0}, 1.0, w=weight)
    with pytest.raises(ValueError, match="row 1: the weight"):
        model.learn_many([[1.0], [2.0]], [1.0, 2.0], w=[1.0, weight], names=["a"])
    assert model.dump() == before
    with pytest.raises(TypeError, match="no weights"):
        trained("forest").learn_dicts([{"a": 1.0}], [1.0], [2.0])


@pytest.mark.parametrize("kind", MODELS)
def test_arrays_are_checked_whole(kind: str) -> None:
    """Values, targets, names and shapes."""
    model = trained(kind)
    before = model.dump()
    calls: list[tuple[Any, Any, Any]] = [
        ([[1.0], [math.nan]], [1.0, 2.0], ["a"]),
        ([[1.0], [2.0]], [1.0], ["a"]),
        ([[1.0], [2.0]], [1.0, "no"], ["new"]),
        ([[1.0, 2.0]], [1.0], ["a", "a"]),
        ([[1.0, 2.0]], [1.0], ["a"]),
        ([1.0], [1.0], ["a"]),
    ]
    for X, y, names in calls:
        with pytest.raises((TypeError, ValueError, IndexError)):
            model.learn_many(X, y, names=names)
        assert model.dump() == before
    assert model.predict_many(np.empty((0, 1)), names=["a"]).shape == (0,)


def wide(n: int) -> Iterator[streams.Row]:
    """Noise in thirty numbers of many values: search trees grow with every event."""
    rng = random.Random(2)
    for _ in range(n):
        x = {f"f{i}": rng.gauss(0.0, 50.0) for i in range(30)}
        yield x, x["f0"] + (x["f1"] > 0.0) * 100.0 + rng.gauss(0.0, 20.0)


@pytest.mark.parametrize("stop", [False, True])
def test_the_budget_holds_at_every_event(stop: bool) -> None:
    """River's is not looked at within a million units of weight."""
    budget_mib, rows = 0.3, list(wide(3_000))
    free = MODELS["means"](tau=0.5)
    model = MODELS["means"](tau=0.5, max_size=budget_mib, stop_mem_management=stop)
    names, most_asleep = 30 * 200, 0
    for i, (x, y) in enumerate(rows):
        free.learn_one(x, y)
        model.learn_one(x, y)
        assert model.memory_bytes <= budget_mib * 2**20 + names
        most_asleep = max(most_asleep, model.n_inactive_leaves)
        if i % 500 == 499:
            counted, measured = model._memory()
            assert counted == measured
            model = pickle.loads(pickle.dumps(model))
    assert free.memory_bytes > 2 * budget_mib * 2**20
    assert most_asleep > 0
    assert model.predict_one(rows[0][0]) != 0.0


def test_a_resumed_tree_decides_by_size_as_the_one_that_went_on() -> None:
    """Memory is counted by what is there, not by what happens to be allocated."""
    model, resumed = (MODELS["tree"](tau=0.5, max_size=0.3) for _ in range(2))
    for i, (x, y) in enumerate(wide(1_500)):
        model.learn_one(x, y)
        resumed.learn_one(x, y)
        if i % 97 == 0:
            resumed = HoeffdingTreeRegressor.load(resumed.dump())
    assert resumed.dump() == model.dump()


@pytest.mark.parametrize("kind", MODELS)
def test_ten_thousand_categories(kind: str) -> None:
    """Each one once, then again: neither slow nor without bound."""
    model = MODELS[kind](max_size=1.0, nominal_attributes=["id"])
    for turn in range(2):
        for i in range(10_000):
            model.learn_one({"id": i, "turn": turn}, i % 3)
    assert model.memory_bytes < 6 * 2**20
    assert math.isfinite(model.predict_one({"id": 1, "turn": 0}))


@pytest.mark.parametrize("kind", MODELS)
def test_rising_numbers_and_a_single_target(kind: str) -> None:
    """A timestamp makes a chain of a search tree and of a tree; one target gives no split."""
    model = MODELS[kind](max_depth=20)
    for i in range(4_000):
        model.learn_one({"time": i * 0.1}, i // 100 % 2)
    assert max(counts[3] for counts in model._counts()) <= 21
    assert type(model).load(model.dump()).dump() == model.dump()
    single = MODELS[kind]()
    for i in range(1_000):
        single.learn_one({"a": float(i % 7)}, 4.0)
    assert {counts[0] for counts in single._counts()} == {1}


@pytest.mark.parametrize("kind", MODELS)
def test_damaged_dumps_are_refused(kind: str) -> None:
    """Cut short, changed in one byte, or of another estimator; the model stays as it was."""
    other = trained("tree" if kind == "forest" else "forest")
    guards.assert_damage_is_refused(trained(kind), [other.dump()])


def test_two_threads_on_one_model_are_told() -> None:
    """The second call is refused while the first is at work without the interpreter's lock."""
    model = ARFRegressor(seed=1)
    guards.assert_a_second_thread_is_told(model, list(streams.friedman(3_000)))
    assert len(model.n_nodes) == 10
