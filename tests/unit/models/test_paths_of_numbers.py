"""Path attributions of trees that predict numbers: they add up, and are River's."""

from __future__ import annotations

import math
import pickle
import random
from collections.abc import Iterable
from typing import Any

import pytest
from river import drift, forest, tree
from river.stats import Var
from river.tree.nodes.branch import NumericBinaryBranch
from river.tree.nodes.htr_nodes import LeafMean

from models import Learner, Task, build
from models.compiled import AVAILABLE
from models.paths import Told, path_attributions
from models.types import Example, Features

EAGER: dict[str, Any] = {"grace_period": 50, "delta": 0.05, "leaf_prediction": "mean"}
KINDS: dict[str, dict[str, Any]] = {
    "tree": {},
    "median of three": {"n_models": 3},
    "median of four": {"n_models": 4},
    "mean": {"n_models": 3, "aggregation_method": "mean"},
    "weighted mean": {
        "n_models": 3,
        "aggregation_method": "mean",
        "disable_weighted_vote": False,
    },
}
compiled_only = pytest.mark.skipif(not AVAILABLE, reason="the extension is not built")


def rivers(kind: str, **parameters: Any) -> Any:
    """Make River's."""
    parameters = EAGER | KINDS[kind] | parameters
    if kind == "tree":
        return tree.HoeffdingTreeRegressor(**parameters)
    return forest.ARFRegressor(seed=7, **parameters)


def compiled(kind: str, **parameters: Any) -> Any:
    """Make the compiled one."""
    from models.compiled.twins import compiled_twin

    ours = compiled_twin(rivers(kind, **parameters))
    assert type(ours).__module__.startswith("models.compiled.")
    return ours


def fares(n: int, *, gaps: bool = False) -> Iterable[tuple[dict[str, Any], float]]:
    """Fares by distance, zone and hour, which are other ones from the middle on."""
    rng = random.Random(3)
    for i in range(n):
        zone = f"z{min(rng.randrange(6), rng.randrange(3 + i // 300))}"
        x: dict[str, Any] = {
            "km": round(rng.expovariate(0.2), 1),
            "zone": zone,
            "hour": rng.randrange(24),
            "night": rng.random() < 0.3,
        }
        rate = 3.0 if i < n // 2 else 1.0
        fare = 100.0 + rate * x["km"] + 20.0 * (zone in ("z1", "z4")) + 15.0 * (x["hour"] > 18)
        if gaps and rng.random() < 0.2:
            del x[rng.choice(list(x))]
        if gaps and rng.random() < 0.1:
            x["toll"] = rng.random()
        yield x, fare + rng.gauss(0.0, 1.0)


def rest_of(told: Told) -> float:
    """Give what nobody is credited with."""
    return told.total - told.base - math.fsum(told.contributions)


def explain_one(model: Any, x: Features) -> Told:
    """Explain one prediction."""
    (told,) = path_attributions(model, [x]) or ()
    return told


@compiled_only
@pytest.mark.parametrize("kind", KINDS)
def test_a_compiled_model_and_rivers_have_the_same_attributions(kind: str) -> None:
    """With missing values, new categories and new features."""
    ours, theirs = compiled(kind), rivers(kind)
    for i, (x, y) in enumerate(fares(1_500, gaps=True)):
        said = ours.predict_one(x)
        theirs.predict_one(x)
        if i % 7 == 0:
            mine, other = explain_one(ours, x), explain_one(theirs, x)
            assert list(mine.names) == list(other.names) == list(x)
            assert list(mine.values) == list(other.values) == list(x.values())
            assert mine.base == pytest.approx(other.base, abs=1e-9)
            assert mine.contributions == pytest.approx(other.contributions, abs=1e-9)
            assert mine.total == pytest.approx(other.total, abs=1e-9)
            assert mine.total == said
        ours.learn_one(x, y)
        theirs.learn_one(x, y)
    n_nodes = ours.n_nodes if kind == "tree" else max(ours.n_nodes)
    assert n_nodes > 5


@pytest.mark.parametrize("make", [rivers, *([compiled] if AVAILABLE else [])])
@pytest.mark.parametrize("kind", KINDS)
def test_all_of_a_prediction_is_credited_where_nothing_is_missing(make: Any, kind: str) -> None:
    """From the mean of all that the tree has seen on; nothing is left to the rest."""
    model = make(kind)
    n_moved = 0
    for i, (x, y) in enumerate(fares(900)):
        if i > 100 and i % 3 == 0:
            told = explain_one(model, x)
            assert abs(rest_of(told)) < 1e-9
            n_moved += max(map(abs, told.contributions)) > 1.0
        model.learn_one(x, y)
    assert n_moved > 100
    # A weighted mean of River's is the mean of what is weighted by parts of one.
    usual = 115.0 / 3 if kind == "weighted mean" else 115.0
    assert told.base == pytest.approx(usual, rel=0.15)


def leaf(weight: float, mean: float) -> LeafMean:
    """Make a leaf that has seen so much."""
    stats = Var()
    if weight:
        stats.update(mean, weight)
    return LeafMean(stats, 2, tree.HoeffdingTreeRegressor().splitter)


def test_each_split_is_credited_with_the_change_to_its_branch() -> None:
    """By hand; a way taken for want of a feature, and an empty leaf, are left to the rest."""
    model: Any = tree.HoeffdingTreeRegressor(leaf_prediction="mean")
    # What a split itself has kept, from when it was one, is out of date.
    inner = NumericBinaryBranch(Var(), "b", 0.0, 1, leaf(30.0, 4.0), leaf(10.0, 8.0))
    model._root = NumericBinaryBranch(Var(), "a", 0.0, 0, leaf(60.0, 0.0), inner)
    events: list[Features] = [{"b": 1, "a": 1}, {"a": -1, "b": 1}, {"a": 1}, {"b": 1}, {}]
    assert path_attributions(model, events) == [
        Told(2.0, ["b", "a"], [1, 1], [3.0, 3.0], 8.0),
        Told(2.0, ["a", "b"], [-1, 1], [-2.0, 0.0], 0.0),
        Told(2.0, ["a"], [1], [3.0], 4.0),
        Told(2.0, ["b"], [1], [0.0], 0.0),
        Told(2.0, [], [], [], 0.0),
    ]
    inner.children[1] = leaf(0.0, 0.0)
    told = explain_one(model, {"a": 1, "b": 1})
    assert (told.contributions, told.total) == ([pytest.approx(4.0 - 4 / 3), 0.0], 0.0)
    assert rest_of(told) == pytest.approx(-4.0)


def test_a_median_is_what_the_tree_in_the_middle_says() -> None:
    """A mean of all trees' ways would explain another number."""
    model = rivers("median of three")
    model.predict_one({"a": 1})
    for one, means in zip(model, [(1.0, 9.0), (50.0, 70.0), (6.0, 20.0)], strict=True):
        branches = leaf(1.0, means[0]), leaf(3.0, means[1])
        one._root = NumericBinaryBranch(Var(), "a", 0.0, 0, *branches)
    assert explain_one(model, {"a": 1}) == Told(16.5, ["a"], [1], [3.5], 20.0)
    assert explain_one(model, {"a": -1}) == Told(16.5, ["a"], [-1], [-10.5], 6.0)


@compiled_only
@pytest.mark.parametrize("kind", ["tree", "median of three"])
def test_what_a_tree_remembers_of_its_sums_is_what_it_would_count_again(kind: str) -> None:
    """Bit for bit, asked at any time: splits and drifts change the sums on the way."""
    more = {"drift_detector": drift.ADWIN(delta=0.05)} if kind != "tree" else {}
    ours = compiled(kind, **more)
    rng = random.Random(5)
    rows = list(fares(1_500, gaps=True))
    for i, (x, y) in enumerate(rows):
        if i and rng.random() < 0.1:
            batch = [x for x, _ in rng.sample(rows, 3)]
            afresh = pickle.loads(pickle.dumps(ours))
            assert path_attributions(ours, batch) == path_attributions(afresh, batch)
        ours.learn_one(x, y)
    if kind != "tree":
        assert ours.n_drifts_detected() > 0


@compiled_only
@pytest.mark.parametrize("kind", ["tree", "median of three"])
def test_explaining_changes_neither_what_is_learned_nor_when_room_is_made(kind: str) -> None:
    """The fold must not depend on who asked for reasons, at the bound of memory either."""
    asked, unasked = compiled(kind, max_size=0.05), compiled(kind, max_size=0.05)
    for i, (x, y) in enumerate(fares(1_500, gaps=True)):
        if i % 5 == 0:
            path_attributions(asked, [x])
        asked.learn_one(x, y)
        unasked.learn_one(x, y)
    assert asked.dump() == unasked.dump()
    assert asked.memory_bytes > unasked.memory_bytes
    assert asked._memory()[0] == asked._memory()[1]


@pytest.mark.parametrize("make", [rivers, *([compiled] if AVAILABLE else [])])
@pytest.mark.parametrize("kind", ["tree", "median of three"])
@pytest.mark.parametrize("leaf_prediction", ["model", "adaptive"])
def test_linear_models_in_leaves_are_left_to_occlusion(
    make: Any, kind: str, leaf_prediction: str
) -> None:
    """What they say is measured from zero, so it does not go on from a mean."""
    assert path_attributions(make(kind, leaf_prediction=leaf_prediction), [{"a": 1.0}]) is None
    learner = Learner(rivers(kind, leaf_prediction=leaf_prediction), Task.REGRESSION)
    learn(learner, [({"a": i / 50.0}, i / 10.0) for i in range(50)])
    assert learner.explain_many([{"a": 0.5}])[0].method == "occlusion"


def learn(learner: Learner, rows: Iterable[tuple[Features, float]]) -> None:
    """Learn rows."""
    for i, (x, y) in enumerate(rows):
        one = Example(f"e{i}", x, y, 100.0, "v1-0", 0, i, i, "labels/0", i, i)
        learner.absorb([one], [i])


@pytest.mark.parametrize("pipeline", ["hoeffding-tree", "adaptive-random-forest"])
def test_reasons_of_shipped_pipelines_add_up_to_what_is_published(pipeline: str) -> None:
    """In the unit of the prediction, with what is usual."""
    learner = Learner(build(pipeline, Task.REGRESSION, 1), Task.REGRESSION)
    learn(learner, fares(2_000))
    rows: list[Features] = [x for x, _ in fares(50)]
    for x, found in zip(rows, learner.explain_many(rows), strict=True):
        assert (found.method, found.unit, found.total) == ("path", "score", learner.score(x))
        told = found.top(2, {})
        listed = math.fsum(reason.contribution for reason in told.features)
        assert told.base + listed + told.rest == pytest.approx(found.total, abs=1e-9)
        assert told.features
