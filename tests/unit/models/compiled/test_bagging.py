"""Compiled bagging is River's: predictions, trees and replaced members, over any base."""

from __future__ import annotations

import math
import pickle
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import ensemble, linear_model, naive_bayes, optim, preprocessing, tree
from river.datasets import synth

from models import pickling
from models.compiled.twins import compiled_twin, is_compiled
from models.pipelines import describe
from tests import streams
from tests.unit.models.compiled import guards

pytest.importorskip("models.compiled._native", reason="the extension is not built")
from models.compiled.bagging import ADWINBaggingClassifier, LeveragingBaggingClassifier
from models.compiled.trees import HoeffdingTreeClassifier

PAIRS: dict[str, tuple[Any, Any]] = {
    "adwin": (ADWINBaggingClassifier, ensemble.ADWINBaggingClassifier),
    "leveraging": (LeveragingBaggingClassifier, ensemble.LeveragingBaggingClassifier),
}
EAGER: dict[str, Any] = {"grace_period": 50, "delta": 0.01, "max_depth": 20}
CODES = ["elevel", "car", "zipcode"]
BASES: dict[str, Callable[[], Any]] = {
    "tree": lambda: tree.HoeffdingTreeClassifier(**EAGER),
    "nominal": lambda: tree.HoeffdingTreeClassifier(**EAGER, nominal_attributes=CODES),
    "adaptive": lambda: tree.HoeffdingAdaptiveTreeClassifier(**EAGER, seed=5),
    "logistic": lambda: preprocessing.StandardScaler() | linear_model.LogisticRegression(),
}


def drifting(n: int) -> Iterator[streams.Row]:
    """The classes trade places now and then."""
    for i, (x, y) in enumerate(synth.SEA(variant=0, seed=3).take(n)):
        yield x, bool(y) ^ (i // 500 % 2 == 1)


def assert_parity(stream: Any, ours: Any, theirs: Any, restore_every: int = 150) -> int:
    """Predict and learn with both, ours through dumps now and then."""
    n = 0
    for n, (x, y) in enumerate(stream, start=1):
        said, expected = ours.predict_proba_one(x), theirs.predict_proba_one(x)
        assert list(said) == list(expected), n
        assert list(said.values()) == pytest.approx(list(expected.values()), abs=1e-12), n
        theirs.learn_one(x, y)
        ours.learn_one(x, y)
        if n % restore_every == 0:
            dump = ours.dump()
            ours = type(ours).load(dump)
            assert ours.dump() == dump
    nodes = [member.n_nodes for member in theirs if hasattr(member, "n_nodes")]
    # River's tree without a root has no nodes to count.
    assert ours.n_nodes == [n_nodes or 0 for n_nodes in nodes]
    assert ours._statistics() == [getattr(theirs, "n_detected_changes", ours._statistics()[0])]
    counted, measured = ours._memory()
    assert counted == measured
    return n


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("base", ["tree", "adaptive", "logistic"])
def test_members_come_and_go_as_in_river(kind: str, base: str) -> None:
    """With drift, saved and restored on the way; some must have been replaced."""
    ours, theirs = PAIRS[kind]
    mine = ours(BASES[base](), n_models=3, seed=1)
    assert assert_parity(drifting(1_500), mine, theirs(BASES[base](), n_models=3, seed=1))
    replaying = ours(BASES[base](), n_models=3, seed=1)
    replaying.learn_dicts(*zip(*drifting(1_500), strict=True))
    assert replaying._statistics() > [0]


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("base", ["nominal", "logistic"])
def test_gaps_and_new_features(kind: str, base: str) -> None:
    """Members that drew zero have not met them."""
    ours, theirs = PAIRS[kind]
    stream = streams.with_gaps(streams.agrawal(900), 3, lambda rng: rng.gauss(0.0, 9.0))
    parameters = {"n_models": 4, "seed": 2}
    assert_parity(stream, ours(BASES[base](), **parameters), theirs(BASES[base](), **parameters))


@pytest.mark.parametrize(
    "options",
    [
        {"bagging_method": "wt", "w": 3},
        {"bagging_method": "subag"},
        {"w": 0.5, "adwin_delta": 0.1},
        {"w": 0},
    ],
)
def test_every_way_of_leveraging(options: dict[str, Any]) -> None:
    """Those that do not fail in River."""
    ours = LeveragingBaggingClassifier(BASES["tree"](), n_models=3, seed=4, **options)
    theirs = ensemble.LeveragingBaggingClassifier(BASES["tree"](), n_models=3, seed=4, **options)
    assert_parity(drifting(900), ours, theirs)


@pytest.mark.parametrize(
    "regression",
    [
        linear_model.LogisticRegression(optim.AdaGrad(0.1), l2=0.01),
        linear_model.LogisticRegression(optim.FTRLProximal(), intercept_init=-1.0),
        linear_model.LogisticRegression(l1=0.001, clip_gradient=0.5),
    ],
    ids=["adagrad", "ftrl", "l1"],
)
def test_options_of_a_logistic_regression(regression: Any) -> None:
    """River clones the base for each member: none shares an optimizer."""
    base = preprocessing.StandardScaler() | regression
    ours = ADWINBaggingClassifier(base.clone(), n_models=3, seed=4)
    theirs = ensemble.ADWINBaggingClassifier(base.clone(), n_models=3, seed=4)
    assert_parity(drifting(900), ours, theirs)


EVENTS = st.fixed_dictionaries(
    {}, optional={"x": st.sampled_from([-1.0, 0.0, 0.5, 3.0]), "z": st.sampled_from([0.0, 2.0])}
)


@pytest.mark.parametrize("kind", PAIRS)
@settings(max_examples=25, deadline=None)
@given(
    few=st.lists(st.tuples(EVENTS, st.booleans()), min_size=1, max_size=10),
    order=st.randoms(use_true_random=False),
    base=st.sampled_from(["tree", "adaptive", "logistic"]),
    n_models=st.integers(2, 4),
    seed=st.integers(0, 2**40),
)
def test_any_stream_and_parameters(
    kind: str, few: list[Any], order: random.Random, base: str, **parameters: Any
) -> None:
    """A short run of events repeated."""
    ours, theirs = PAIRS[kind]
    stream = [few[order.randrange(len(few))] for _ in range(80)]
    assert_parity(
        stream, ours(BASES[base](), **parameters), theirs(BASES[base](), **parameters), 17
    )


@pytest.mark.parametrize("base", BASES)
def test_arrays_and_dicts_learn_as_one_after_the_other(base: str) -> None:
    """One call for many events changes nothing but the time it takes."""
    rows = list(streams.agrawal(400))
    names = tuple(rows[0][0])
    X = np.array([list(x.values()) for x, _ in rows], dtype=float)
    labels = [y for _, y in rows]
    single, dicts, arrays = (
        LeveragingBaggingClassifier(BASES[base](), n_models=2, seed=3) for _ in range(3)
    )
    said = []
    for x, y in rows:
        said.append(single.predict_proba_one(x).get(True, 0.0))
        single.learn_one(x, y)
    dicts.learn_dicts([x for x, _ in rows], labels)
    tested = arrays.test_then_train_many(X, labels, names=names)
    assert tested[:, arrays.classes.index(True)].tolist() == said
    assert single.dump() == dicts.dump() == arrays.dump()


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("base", ["tree", "logistic"])
@pytest.mark.parametrize(
    ("x", "y", "error"),
    [
        ({"new": 1.0, "0": math.nan}, True, ValueError),
        ({"0": 1e308}, True, ValueError),
        ({"0": None}, True, TypeError),
        ({"0": "text"}, True, TypeError),
        ({"0": 1.0}, None, TypeError),
        ({"0": 1.0}, math.nan, ValueError),
    ],
)
def test_garbage_is_refused_before_anything_changes(
    kind: str, base: str, x: Any, y: Any, error: type[Exception]
) -> None:
    """Not even a draw is made."""
    model = PAIRS[kind][0](BASES[base](), n_models=2, seed=1)
    for row, label in drifting(200):
        model.learn_one({str(name): value for name, value in row.items()}, label)
    before = model.dump()
    # A label that logistic regression refuses is refused before it is looked at further.
    expected = (TypeError, ValueError) if y is not True else error
    with pytest.raises(expected):
        model.learn_one(x, y)
    with pytest.raises(expected):
        model.learn_dicts([{"0": 0.5, "first": 1.0}, x], [True, y])
    assert model.dump() == before


def test_a_logistic_regression_takes_two_classes_and_no_text() -> None:
    """River's would take any label for true, and fail on text half-way."""
    model = ADWINBaggingClassifier(BASES["logistic"](), n_models=2, seed=1)
    assert model.predict_proba_one({"a": 1.0}) == {False: 0.5, True: 0.5}
    before = model.dump()
    for x, y in (({"a": 1.0}, 2), ({"a": 1.0}, "yes"), ({"a": "text"}, True)):
        with pytest.raises((ValueError, TypeError), match=r"True or False|takes numbers"):
            model.learn_one(x, y)
    assert model.dump() == before
    model.learn_one({"a": 1}, 1)


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("base", BASES)
def test_parameters_survive(kind: str, base: str) -> None:
    """In clones, pickles and dumps; a dump is taken for no other's."""
    ours, theirs = PAIRS[kind]
    special = {"w": 2.5, "bagging_method": "subag"} if kind == "leveraging" else {}
    model = ours(BASES[base](), n_models=3, seed=9, **special)
    for x, y in drifting(150):
        model.learn_one(x, y)
    river = describe(theirs(BASES[base](), n_models=3, seed=9, **special))
    for copy in (
        pickle.loads(pickle.dumps(model)),
        pickling.loads(pickling.dumps(model)),
        ours.load(model.dump()),
        model.clone(),
    ):
        assert describe(copy) == describe(model) == river
    assert model.clone(include_attributes=True).dump() == model.dump()
    other = next(pair[0] for name, pair in PAIRS.items() if name != kind)
    with pytest.raises(ValueError, match="dump is of"):
        other.load(model.dump())


@pytest.mark.parametrize(
    ("base", "options"),
    [
        (naive_bayes.GaussianNB(), {}),
        (tree.HoeffdingAdaptiveTreeClassifier(), {}),
        (tree.HoeffdingTreeClassifier(), {"bagging_method": "me"}),
        (tree.HoeffdingTreeClassifier(), {"n_models": 1}),
        (tree.HoeffdingTreeClassifier(), {"w": -1.0}),
        (linear_model.LogisticRegression(), {}),
    ],
)
def test_what_is_not_compiled_is_refused(base: Any, options: dict[str, Any]) -> None:
    """At once, and not by other predictions."""
    with pytest.raises(ValueError, match="must"):
        LeveragingBaggingClassifier(base, **options)


def test_damaged_dumps_are_refused() -> None:
    """Cut short or changed in one byte; the model stays as it was."""
    model = ADWINBaggingClassifier(BASES["logistic"](), n_models=2, seed=1)
    for x, y in drifting(100):
        model.learn_one(x, y)
    guards.assert_damage_is_refused(model)


@pytest.mark.parametrize("kind", PAIRS)
def test_a_fresh_one_of_rivers_has_a_twin(kind: str) -> None:
    """One that has drawn, or has no seed to draw from, is left as it is."""
    theirs = PAIRS[kind][1]
    twin = compiled_twin(theirs(BASES["tree"](), n_models=2, seed=1))
    assert is_compiled(twin)
    assert isinstance(twin, PAIRS[kind][0])
    assert isinstance(compiled_twin(twin.model), HoeffdingTreeClassifier)
    used = theirs(BASES["tree"](), n_models=2, seed=1)
    used.learn_one({"a": 1.0}, True)
    for model in (used, theirs(BASES["tree"]()), theirs(naive_bayes.GaussianNB(), seed=1)):
        assert compiled_twin(model) is model
