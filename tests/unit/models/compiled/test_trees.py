"""Compiled trees and forests are River's: predictions, nodes, warnings, drifts, on any stream."""

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
from river import drift, forest, tree
from river.datasets import synth
from river.tree.splitter import GaussianSplitter

from models.pipelines import describe
from tests import streams
from tests.unit.models.compiled import guards

pytest.importorskip("models.compiled._native", reason="the extension is not built")
from benchmarks.parity import assert_parity, counts_of, leds
from models.compiled.adaptive_tree import HoeffdingAdaptiveTreeClassifier
from models.compiled.forest import ARFClassifier
from models.compiled.trees import HoeffdingTreeClassifier

PAIRS = {
    "tree": (HoeffdingTreeClassifier, tree.HoeffdingTreeClassifier, {}),
    "adaptive": (
        HoeffdingAdaptiveTreeClassifier,
        tree.HoeffdingAdaptiveTreeClassifier,
        {"seed": 7},
    ),
    "forest": (ARFClassifier, forest.ARFClassifier, {"seed": 7, "n_models": 3}),
}
CODES = ["elevel", "car", "zipcode"]
EAGER = {"grace_period": 50, "delta": 0.01}
OPTIONS: dict[str, dict[str, Any]] = {
    "majority": {"leaf_prediction": "mc"},
    "majority without poor ones": {
        "leaf_prediction": "mc",
        "remove_poor_attrs": True,
        "nominal_attributes": CODES,
    },
    "naive bayes": {"leaf_prediction": "nb", "nb_threshold": 30, "nominal_attributes": CODES},
    "binary": {"binary_split": True, "nominal_attributes": CODES},
    "gini": {"split_criterion": "gini", "nominal_attributes": CODES},
    "hellinger": {"split_criterion": "hellinger", "max_share_to_split": 1.0},
    "shallow": {"max_depth": 2, "nominal_attributes": CODES},
    "no null split": {"merit_preprune": False, "tau": 0.2},
    "few thresholds": {"splitter": GaussianSplitter(n_splits=3), "min_branch_fraction": 0.1},
    "stops": {"stop_mem_management": True, "tau": 0.2},
}
LENGTHS = {"tree": 8_000, "adaptive": 4_000, "forest": 600}


def newcomer(rng: random.Random) -> Any:
    """A value of a feature that was never seen."""
    return rng.gauss(0.0, 10.0)


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_every_option_is_rivers(kind: str, options: dict[str, Any]) -> None:
    """With gaps, new features and weights, and saved and restored on the way."""
    ours, theirs, usual = PAIRS[kind]
    parameters = {**EAGER, **usual, **options}
    n = LENGTHS[kind] // 4
    stream = streams.with_gaps(streams.agrawal(n), 3, newcomer)
    is_weighted = kind != "forest"
    weights = itertools.cycle([1.0, 2.0, 0.5]) if is_weighted else None
    assert assert_parity(stream, ours(**parameters), theirs(**parameters), weights) == n


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("stream", [streams.agrawal, streams.random_rbf, leds])
def test_synthetic_streams(kind: str, stream: Callable[[int], Iterable[streams.Row]]) -> None:
    """Codes, clouds and ten classes."""
    ours, theirs, usual = PAIRS[kind]
    assert_parity(stream(LENGTHS[kind]), ours(**EAGER, **usual), theirs(**EAGER, **usual))


@pytest.mark.parametrize("kind", PAIRS)
def test_text_categories(kind: str, data_file: Callable[[str], Path]) -> None:
    """Card payments: hundreds of ids as text, most of them new, and one fraud in a hundred."""
    ours, theirs, usual = PAIRS[kind]
    parameters = {**EAGER, **usual, "max_share_to_split": 1.0}
    rows = streams.cards(data_file("card_transactions_60d.csv.gz"), LENGTHS[kind] // 2)
    coarse = (
        ({**x, "CUSTOMER_ID": "c" + x["CUSTOMER_ID"][:1], "TERMINAL_ID": x["TERMINAL_ID"][:2]}, y)
        for x, y in rows
    )
    assert_parity(coarse, ours(**parameters), theirs(**parameters))


@pytest.mark.parametrize("kind", PAIRS)
def test_elec2(kind: str, data_file: Callable[[str], Path]) -> None:
    """A real stream that drifts."""
    ours, theirs, usual = PAIRS[kind]
    rows = streams.elec2(data_file("elec2.csv.gz"), LENGTHS[kind])
    assert_parity(rows, ours(**EAGER, **usual), theirs(**EAGER, **usual))


def drifting(n: int) -> Iterable[streams.Row]:
    """The classes trade places now and then."""
    for i, (x, y) in enumerate(synth.SEA(variant=0, seed=3).take(n)):
        yield x, bool(y) ^ (i // 1_500 % 2 == 1)


def test_drifts_are_counted_as_in_river() -> None:
    """Warnings, drifts, alternates: each must have happened for this to say anything."""
    theirs: Any = forest.ARFClassifier(seed=1, n_models=3)
    ours = ARFClassifier(seed=1, n_models=3)
    assert_parity(drifting(3_000), ours, theirs)
    assert theirs.n_drifts_detected() > 0
    adaptive: Any = tree.HoeffdingAdaptiveTreeClassifier(seed=1, **EAGER)
    assert_parity(drifting(9_000), HoeffdingAdaptiveTreeClassifier(seed=1, **EAGER), adaptive)
    assert adaptive.n_alternate_trees > 0


@pytest.mark.parametrize("detector", ["drift_detector", "warning_detector"])
def test_a_forest_without_detectors(detector: str) -> None:
    """River then replaces trees at once, or never."""
    ours = ARFClassifier(seed=1, n_models=2, **{detector: drift.NoDrift()})
    theirs = forest.ARFClassifier(seed=1, n_models=2, **{detector: drift.NoDrift()})
    assert_parity(drifting(2_500), ours, theirs)


@pytest.mark.parametrize("max_features", [1, 100, 0.5, "log2", None, -1])
def test_a_forest_draws_the_same_features(max_features: Any) -> None:
    """However many were asked for."""
    ours = ARFClassifier(seed=2, n_models=2, max_features=max_features)
    theirs = forest.ARFClassifier(seed=2, n_models=2, max_features=max_features)
    assert_parity(streams.agrawal(500), ours, theirs)


# A few values each, so that splits, ties and unseen categories come about within a hundred events.
NUMBERS = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 3.0, 7.0])
CATEGORIES = st.sampled_from(["a", "b", "c", "d", "é"])
CODED = st.sampled_from([-1, 0, 1, 9, 17, 2.5])
EVENTS = st.fixed_dictionaries({}, optional={"x": NUMBERS, "t": CATEGORIES, "k": CODED, 3: NUMBERS})
TEXTLESS = st.fixed_dictionaries({}, optional={"x": NUMBERS, "z": NUMBERS, "k": CODED})
PARAMETERS = st.fixed_dictionaries(
    {
        "grace_period": st.sampled_from([1, 3, 10]),
        "delta": st.sampled_from([0.5, 0.1, 0.9]),
        "tau": st.sampled_from([0.05, 0.5, 2.0]),
        "split_criterion": st.sampled_from(["info_gain", "gini"]),
        "leaf_prediction": st.sampled_from(["mc", "nba"]),
        "max_share_to_split": st.sampled_from([0.8, 0.99, 1.0]),
        "min_branch_fraction": st.sampled_from([0.0, 0.01, 0.2]),
        "binary_split": st.booleans(),
        "merit_preprune": st.booleans(),
        "remove_poor_attrs": st.booleans(),
        "max_depth": st.sampled_from([1, 3, 20]),
    }
)
LABELS = st.sampled_from([[True, False], [0, 1, 2], ["no", "yes", "maybe"]])


@pytest.mark.parametrize("kind", PAIRS)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), parameters=PARAMETERS, classes=LABELS)
def test_any_stream_and_parameters(
    kind: str, data: st.DataObject, parameters: dict[str, Any], classes: list[Any]
) -> None:
    """A short run of events repeated, so that trees grow from what few there are."""
    ours, theirs, usual = PAIRS[kind]
    events = st.tuples(TEXTLESS, st.sampled_from(classes))
    few = data.draw(st.lists(events, min_size=1, max_size=12))
    order = data.draw(st.randoms(use_true_random=False))
    parameters = {**parameters, **usual, "nominal_attributes": ["k"]}
    if theirs is forest.ARFClassifier and not any(x for x, _ in few):
        return
    stream = [few[order.randrange(len(few))] for _ in range(80)]
    first = next((i for i, (x, _) in enumerate(stream) if x), len(stream))
    assert_parity(stream[first:], ours(**parameters), theirs(**parameters))


@pytest.mark.parametrize("kind", PAIRS)
def test_arrays_and_dicts_learn_as_one_after_the_other(kind: str) -> None:
    """One call for many events changes nothing but the time it takes."""
    make, _, usual = PAIRS[kind]
    rows = list(streams.agrawal(1_200))
    models = [make(**EAGER, **usual, nominal_attributes=CODES) for _ in range(5)]
    guards.learn_in_every_way(
        models, rows, lambda model, x: model.predict_proba_one(x).get(True, 0)
    )
    single, names = models[0], tuple(rows[0][0])
    later = list(streams.agrawal(200, seed=5))
    proba = single.predict_proba_many([list(x.values()) for x, _ in later], names=names)
    xs = [x for x, _ in later]
    assert single.predict_proba_dicts(xs) == [single.predict_proba_one(x) for x in xs]
    assert proba[:, single.classes.index(True)].tolist() == single.probabilities(xs)


@pytest.mark.parametrize("kind", PAIRS)
def test_predicting_changes_nothing(kind: str) -> None:
    """Not even a forest that has learned nothing, nor what it knows of names."""
    make, _, usual = PAIRS[kind]
    model = make(**usual)
    before = model.dump()
    model.predict_proba_one({"a": 1.0, "b": "text"})
    assert model.predict_one({}) is None
    assert model.probabilities([{"c": 2.0}]) == [0.0]
    assert model.dump() == before
    for x, y in streams.agrawal(300):
        model.learn_one(x, y)
    before = model.dump()
    model.predict_proba_one({"unheard": 1.0, "of": "it", "salary": 3.0})
    assert model.dump() == before


def test_counts_before_the_first_event() -> None:
    """As River has them."""
    assert counts_of(HoeffdingTreeClassifier()) == counts_of(tree.HoeffdingTreeClassifier())
    assert ARFClassifier().n_drifts_detected() == 0


@pytest.mark.parametrize("kind", PAIRS)
def test_parameters_survive(kind: str) -> None:
    """In clones, pickles and dumps; and may change while the model learns on."""
    make, theirs, usual = PAIRS[kind]
    parameters = {**usual, "max_depth": 4, "nominal_attributes": ["a", 3], "tau": 0.25}
    model = make(**parameters)
    for x, y in streams.agrawal(200):
        model.learn_one(x, y)
    for copy in (pickle.loads(pickle.dumps(model)), make.load(model.dump()), model.clone()):
        assert repr(copy) == repr(model)
        assert describe(copy) == describe(theirs(**parameters))
    assert model.clone(include_attributes=True).dump() == model.dump()
    before = model.predict_proba_one({"salary": 1.0})
    model.mutate({"tau": 0.5})
    assert (make.load(model.dump()).tau, model.predict_proba_one({"salary": 1.0})) == (0.5, before)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("tree", {"splitter": tree.splitter.HistogramSplitter()}),
        ("tree", {"split_criterion": "variance"}),
        ("adaptive", {"drift_detector": drift.PageHinkley()}),
        ("forest", {"max_features": "cube"}),
    ],
)
def test_what_is_not_compiled_is_refused(kind: str, options: dict[str, Any]) -> None:
    """At once, and not by other predictions."""
    with pytest.raises(ValueError, match="must be"):
        PAIRS[kind][0](**options)
