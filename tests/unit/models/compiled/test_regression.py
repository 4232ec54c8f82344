"""Compiled regression trees and forests are River's to the last bit, on any stream."""

from __future__ import annotations

import itertools
import pickle
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import drift, forest, linear_model, metrics, optim, preprocessing, tree
from river.tree.splitter import EBSTSplitter, GaussianSplitter, QOSplitter, TEBSTSplitter

from models import Task
from models.model import Model
from models.pipelines import build, describe
from tests import streams
from tests.unit.models.compiled import guards

pytest.importorskip("models.compiled._native", reason="the extension is not built")
from benchmarks.parity import assert_parity, counts_of, worst_difference
from models.compiled.regression_forest import ARFRegressor
from models.compiled.regression_trees import HoeffdingTreeRegressor
from models.compiled.twins import compiled_twin

PAIRS = {
    "tree": (HoeffdingTreeRegressor, tree.HoeffdingTreeRegressor, {}),
    "forest": (ARFRegressor, forest.ARFRegressor, {"seed": 7, "n_models": 3}),
}
CODES = ["kind", "shop"]
EAGER = {"grace_period": 50, "delta": 0.01}
OPTIONS: dict[str, dict[str, Any]] = {
    "means": {"leaf_prediction": "mean", "nominal_attributes": CODES},
    "models": {"leaf_prediction": "model", "nominal_attributes": CODES},
    "adaptive": {"model_selector_decay": 0.5, "nominal_attributes": CODES},
    "own model": {
        "leaf_model": linear_model.LinearRegression(
            optim.SGD(0.05), l2=0.1, intercept_init=3.0, intercept_lr=0.2, clip_gradient=2.0
        )
    },
    "binary": {"binary_split": True, "nominal_attributes": CODES},
    "without poor ones": {"remove_poor_attrs": True, "nominal_attributes": CODES},
    "shallow": {"max_depth": 2, "nominal_attributes": CODES},
    "no null split": {"merit_preprune": False, "tau": 0.2},
    "hesitant": {"tau": 0.0, "delta": 1e-9, "min_samples_split": 20},
    "whole values": {"splitter": TEBSTSplitter(digits=0)},
    "all values": {"splitter": EBSTSplitter()},
    "stops": {"stop_mem_management": True, "tau": 0.2},
}
LENGTHS = {"tree": 6_000, "forest": 600}


def newcomer(rng: random.Random) -> Any:
    """A value of a feature that was never seen."""
    return rng.gauss(0.0, 10.0)


def assert_equal(
    stream: Iterable[streams.Row], ours: Any, theirs: Any, weights: Any = None
) -> None:
    """Fail at the first difference, if only in the last bit."""
    assert worst_difference(stream, ours, theirs, weights)[1] == 0.0


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_every_option_is_rivers(kind: str, options: dict[str, Any]) -> None:
    """With gaps, new features and weights, and saved and restored on the way."""
    ours, theirs, usual = PAIRS[kind]
    parameters = {**EAGER, **usual, **options}
    stream = streams.with_gaps(streams.coded(LENGTHS[kind] // 3), 3, newcomer)
    weights = itertools.cycle([1.0, 2.0, 0.5]) if kind == "tree" else None
    assert_equal(stream, ours(**parameters), theirs(**parameters), weights)


@pytest.mark.parametrize("kind", PAIRS)
def test_numbers(kind: str) -> None:
    """A target that five of ten numbers decide."""
    ours, theirs, usual = PAIRS[kind]
    river: Any = theirs(**EAGER, **usual)
    assert_equal(streams.friedman(LENGTHS[kind]), ours(**EAGER, **usual), river)
    assert river.n_nodes > 20 if kind == "tree" else len(river) == 3


@pytest.mark.parametrize("kind", PAIRS)
def test_elec2(kind: str, data_file: Callable[[str], Path]) -> None:
    """Real prices, which drift."""
    ours, theirs, usual = PAIRS[kind]
    rows = streams.elec2_price(data_file("elec2.csv.gz"), 2 * LENGTHS[kind])
    river: Any = theirs(**EAGER, **usual)
    assert_equal(rows, ours(**EAGER, **usual), river)
    if kind == "forest":
        assert river.n_warnings_detected() > river.n_drifts_detected() > 0


@pytest.mark.parametrize("kind", PAIRS)
def test_text_categories(kind: str, data_file: Callable[[str], Path]) -> None:
    """Card payments: ids as text, most of them new."""
    ours, theirs, usual = PAIRS[kind]
    parameters = {**EAGER, **usual, "leaf_prediction": "mean"}
    rows = streams.amounts(data_file("card_transactions_60d.csv.gz"), LENGTHS[kind] // 2)
    coarse = (({**x, "customer": x["customer"][:1]}, y) for x, y in rows)
    assert_equal(coarse, ours(**parameters), theirs(**parameters))


@pytest.mark.parametrize(
    "options",
    [
        {"max_features": 1},
        {"max_features": 0.5},
        {"max_features": "log2"},
        {"max_features": None},
        {"max_features": -1, "lambda_value": 1},
        {"aggregation_method": "mean"},
        {"n_models": 2, "min_samples_split": 50},
        {"n_models": 17, "aggregation_method": "mean", "disable_weighted_vote": False},
        {"drift_detector": drift.NoDrift()},
        {"warning_detector": drift.NoDrift()},
        {"drift_detector": drift.NoDrift(), "warning_detector": drift.NoDrift()},
    ],
    ids=str,
)
def test_options_of_the_forest(options: dict[str, Any], data_file: Callable[[str], Path]) -> None:
    """Draws, votes and detectors, on prices that drift."""
    parameters = {"seed": 2, "n_models": 4, **options}
    rows = streams.elec2_price(data_file("elec2.csv.gz"), 400)
    assert_equal(rows, ARFRegressor(**parameters), forest.ARFRegressor(**parameters))


# What rounds to the same, ties (some only seem to be), and numbers where decimals end.
NUMBERS = st.sampled_from(
    [-2.0, -0.25, -0.04, 0.0, 0.05, 0.15, 0.25, 0.35, 2.675, 7.0, 45035996273704.95, 1e15]
)
CATEGORIES = st.sampled_from(["a", "b", "c", "d", "é"])
CODED = st.sampled_from([-1, 0, 1, 9, 17, 2.5])
EVENTS = st.fixed_dictionaries({}, optional={"x": NUMBERS, "z": NUMBERS, "k": CODED, "w": NUMBERS})
TEXTS = st.fixed_dictionaries({}, optional={"x": NUMBERS, "t": CATEGORIES, "k": CODED})
TARGETS = st.sampled_from([-3.0, 0, 1, 2.5, 100.0, True])
PARAMETERS = st.fixed_dictionaries(
    {
        "grace_period": st.sampled_from([1, 3, 10]),
        "delta": st.sampled_from([0.5, 0.1, 0.9]),
        "tau": st.sampled_from([0.0, 0.05, 0.5]),
        "leaf_prediction": st.sampled_from(["mean", "model", "adaptive"]),
        "splitter": st.builds(TEBSTSplitter, st.integers(0, 3)) | st.builds(EBSTSplitter),
        "min_samples_split": st.sampled_from([0, 1, 5]),
        "binary_split": st.booleans(),
        "merit_preprune": st.booleans(),
        "remove_poor_attrs": st.booleans(),
        "max_depth": st.sampled_from([1, 3, 20]),
    }
)


@pytest.mark.parametrize("kind", PAIRS)
@settings(max_examples=60, deadline=None)
@given(data=st.data(), parameters=PARAMETERS)
def test_any_stream_and_parameters(
    kind: str, data: st.DataObject, parameters: dict[str, Any]
) -> None:
    """A short run of events repeated, so that trees grow from what few there are."""
    ours, theirs, usual = PAIRS[kind]
    features = TEXTS if parameters["leaf_prediction"] == "mean" else EVENTS
    few = data.draw(st.lists(st.tuples(features, TARGETS), min_size=1, max_size=12))
    order = data.draw(st.randoms(use_true_random=False))
    parameters = {**parameters, **usual, "nominal_attributes": ["k"]}
    stream = [few[order.randrange(len(few))] for _ in range(80)]
    first = next((i for i, (x, _) in enumerate(stream) if x), len(stream))
    try:
        assert_equal(stream[first:], ours(**parameters), theirs(**parameters))
    except ZeroDivisionError:
        # River's: no split is worth anything, and it asks which are worth much less.
        assert parameters["remove_poor_attrs"]


def test_nothing_is_poor_where_no_split_is_worth_anything() -> None:
    """River divides by zero there."""
    model = HoeffdingTreeRegressor(remove_poor_attrs=True, grace_period=5)
    for i in range(50):
        model.learn_one({"a": i % 3, "b": 1.0}, 2.0)
    assert (model.n_nodes, model.predict_one({})) == (1, 2.0)


@pytest.mark.parametrize("kind", PAIRS)
def test_arrays_and_dicts_learn_as_one_after_the_other(kind: str) -> None:
    """One call for many events changes nothing but the time it takes."""
    make, _, usual = PAIRS[kind]
    rows = list(streams.coded(1_200))
    models = [make(**EAGER, **usual, nominal_attributes=CODES) for _ in range(5)]
    guards.learn_in_every_way(models, rows, lambda model, x: model.predict_one(x))
    single, names = models[0], tuple(rows[0][0])
    later = [x for x, _ in streams.coded(200, seed=5)]
    later[7]["kind"], later[8]["kind"] = 77, 78
    expected = [single.predict_one(x) for x in later]
    assert single.predict_dicts(later) == expected
    X = [list(x.values()) for x in later]
    assert single.predict_many(X, names=names).tolist() == expected


def test_a_code_that_no_one_has_learned_counts_for_a_linear_model() -> None:
    """To a split it is no category; the model multiplies the number."""
    parameters = {"leaf_prediction": "model", "nominal_attributes": CODES}
    ours, river = HoeffdingTreeRegressor(**parameters), tree.HoeffdingTreeRegressor(**parameters)
    for x, y in streams.coded(150):
        ours.learn_one(x, y)
        river.learn_one(x, y)
    for code in (77, 78, 2):
        x["kind"] = code
        assert ours.predict_one(x) == river.predict_one(x)


def test_the_order_of_features_is_that_of_sums() -> None:
    """What was said for the same values in another order is not said again."""
    ours = HoeffdingTreeRegressor(leaf_prediction="model")
    river = tree.HoeffdingTreeRegressor(leaf_prediction="model")
    rng = random.Random(2)
    for _ in range(200):
        x = {name: rng.gauss(0.0, 1.0) for name in "abcdef"}
        for names in (sorted(x), sorted(x, reverse=True)):
            ordered = {name: x[name] for name in names}
            assert ours.predict_one(ordered) == river.predict_one(ordered)
        ours.learn_one(ordered, sum(x.values()))
        river.learn_one(ordered, sum(x.values()))


@pytest.mark.parametrize("kind", PAIRS)
def test_predicting_changes_nothing(kind: str) -> None:
    """Not even a forest that has learned nothing, nor what it knows of names."""
    make, _, usual = PAIRS[kind]
    model = make(**usual)
    before = model.dump()
    assert model.predict_one({"a": 1.0}) == 0.0
    assert model.predict_dicts([{}, {"c": 2.0}]) == [0.0, 0.0]
    assert model.dump() == before
    for x, y in streams.friedman(300):
        model.learn_one(x, y)
    before = model.dump()
    model.predict_one({"unheard": 1.0, "of": -1, 3: 3.0})
    assert model.dump() == before


def test_counts_before_the_first_event() -> None:
    """As River has them."""
    assert counts_of(HoeffdingTreeRegressor()) == counts_of(tree.HoeffdingTreeRegressor())
    assert (ARFRegressor().n_drifts_detected(), ARFRegressor().n_nodes) == (0, [])


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"nominal_attributes": ["a", 3], "max_depth": 4, "tau": 0.25, "min_samples_split": 9},
        {"splitter": TEBSTSplitter(2), "leaf_model": linear_model.LinearRegression(l2=0.5)},
    ],
)
def test_parameters_survive(kind: str, options: dict[str, Any]) -> None:
    """In clones, pickles and dumps; and may change while the model learns on."""
    make, theirs, usual = PAIRS[kind]
    model = make(**usual, **options)
    for x, y in streams.friedman(200):
        model.learn_one(x, y)
    for copy in (pickle.loads(pickle.dumps(model)), make.load(model.dump()), model.clone()):
        assert repr(copy) == repr(model)
        assert describe(copy) == describe(theirs(**usual, **options))
    assert model.clone(include_attributes=True).dump() == model.dump()
    before = model.predict_one({3: 1.0})
    model.mutate({"tau": 0.5})
    assert (make.load(model.dump()).tau, model.predict_one({3: 1.0})) == (0.5, before)


LEARNED = linear_model.LinearRegression()
LEARNED.learn_one({"a": 1.0}, 1.0)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("tree", {"splitter": QOSplitter()}),
        ("tree", {"splitter": GaussianSplitter()}),
        ("tree", {"splitter": TEBSTSplitter(digits=-1)}),
        ("tree", {"leaf_prediction": "median"}),
        ("tree", {"leaf_model": linear_model.PARegressor()}),
        ("tree", {"leaf_model": linear_model.LinearRegression(optim.Adam())}),
        ("tree", {"leaf_model": linear_model.LinearRegression(l1=0.1)}),
        ("tree", {"leaf_model": LEARNED}),
        ("forest", {"drift_detector": drift.PageHinkley()}),
        ("forest", {"metric": metrics.MAE()}),
        ("forest", {"aggregation_method": "mode"}),
        ("forest", {"max_features": "cube"}),
    ],
    ids=str,
)
def test_what_is_not_compiled_is_refused(kind: str, options: dict[str, Any]) -> None:
    """At once, and not by other predictions."""
    with pytest.raises(ValueError, match="must be"):
        PAIRS[kind][0](**options)


@pytest.mark.parametrize("name", ["hoeffding-tree", "adaptive-random-forest"])
def test_a_shipped_pipeline_runs_compiled(name: str) -> None:
    """And says what River's says."""
    model = Model(build(name, Task.REGRESSION, seed=3), Task.REGRESSION)
    river: Any = build(name, Task.REGRESSION, seed=3)
    assert model.is_compiled
    rows = list(streams.coded(400))
    for x, y in rows:
        model.estimator.learn_one(x, y)
        river.learn_one(x, y)
    model.n_learned = len(rows)
    model.get_ready()
    later = [x for x, _ in rows[:50]]
    assert model.score_many(later) == [river.predict_one(x) for x in later]


def test_what_is_not_compiled_or_has_learned_stays_rivers() -> None:
    """The same object, at the end of a pipeline as well."""
    other = tree.HoeffdingTreeRegressor(leaf_model=linear_model.PARegressor())
    unseeded = forest.ARFRegressor()
    grown = tree.HoeffdingTreeRegressor()
    grown.learn_one({"a": 1.0}, 1.0)
    for model in (other, unseeded, grown):
        assert compiled_twin(model) is model
    piped = preprocessing.StandardScaler() | tree.HoeffdingTreeRegressor()
    assert type(compiled_twin(piped)[-1]) is HoeffdingTreeRegressor


def test_a_scaler_before_it_changes_nothing() -> None:
    """The parity holds for what comes out of a scaler, which rounding makes the most of."""
    ours = preprocessing.StandardScaler() | HoeffdingTreeRegressor(grace_period=100)
    river = preprocessing.StandardScaler() | tree.HoeffdingTreeRegressor(grace_period=100)
    for x, y in streams.friedman(3_000):
        assert ours.predict_one(x) == river.predict_one(x)
        ours.learn_one(x, y)
        river.learn_one(x, y)
    assert ours[-1].n_nodes == river[-1].n_nodes > 10


def test_parity_is_of_use() -> None:
    """Models that differ are told apart."""
    with pytest.raises(AssertionError):
        assert_parity(
            streams.friedman(500),
            HoeffdingTreeRegressor(grace_period=60),
            tree.HoeffdingTreeRegressor(grace_period=50),
        )
