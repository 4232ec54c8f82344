"""Compiled half-space trees are River's: every score, on any stream, for any parameters."""

from __future__ import annotations

import itertools
import math
import pickle
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import anomaly

from models import Task
from models.learner import Learner
from models.pipelines import build, describe
from tests.example_logs import absorb_in, make_log, new_learner
from tests.unit.models.compiled import guards

pytest.importorskip("models.compiled._native", reason="the extension is not built")
from models.compiled.half_space import HalfSpaceTrees


def readings(n: int, seed: int = 1, n_features: int = 6) -> list[dict[str, float]]:
    """Numbers about a half, some missing, some features new, and now and then a strange event."""
    rng = random.Random(seed)
    rows = []
    for i in range(n):
        width = 0.1 if rng.random() < 0.99 else 2.0
        row = {f"f{k}": 0.5 + rng.gauss(0.0, width) for k in range(n_features)}
        if i and rng.random() < 0.1:
            del row[rng.choice(list(row))]
        if i and rng.random() < 0.05:
            row["unheard of"] = rng.random()
        rows.append(row)
    return rows


def assert_parity(rows: list[Any], ours: Any, theirs: Any, restore_every: int = 97) -> int:
    """Score and learn with both, ours through dumps now and then; say how many scored above 0."""
    n_scored = 0
    for i, x in enumerate(rows):
        if i:
            assert ours.score_one(x) == theirs.score_one(x), i
            n_scored += theirs.score_one(x) > 0
        theirs.learn_one(x)
        ours.learn_one(x)
        if i % restore_every == 0:
            dump = ours.dump()
            ours = type(ours).load(dump)
            assert ours.dump() == dump
    return n_scored


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"n_trees": 3, "height": 1, "window_size": 7},
        {"n_trees": 1, "height": 2, "window_size": 1},
        {"height": 12, "limits": {"f0": (-10, 10.0), "f3": (0.5, 0.5), "never": (0, 1)}},
    ],
)
def test_every_score_is_rivers(parameters: dict[str, Any]) -> None:
    """With gaps and new features, and saved and restored on the way."""
    ours = HalfSpaceTrees(seed=7, **parameters)
    theirs = anomaly.HalfSpaceTrees(seed=7, **parameters)
    assert assert_parity(readings(3_000), ours, theirs) > 1_000


ROWS = st.lists(
    st.dictionaries(
        st.sampled_from(["a", "b", "c"]), st.sampled_from([-1.0, 0.0, 0.3, 0.5, 0.7, 1.0, 9]),
    ),
    min_size=1,
    max_size=60,
)  # fmt: skip
RANGES = st.tuples(st.floats(-5, 5), st.floats(0.01, 5)).map(lambda pair: (pair[0], sum(pair)))


@settings(max_examples=60, deadline=None)
@given(
    rows=ROWS,
    n_trees=st.integers(1, 5),
    height=st.integers(0, 6),
    window_size=st.integers(1, 20),
    limits=st.dictionaries(st.sampled_from(["a", "b", "d"]), RANGES),
    seed=st.integers(0, 2**32),
)
def test_any_stream_and_parameters(rows: list[Any], **parameters: Any) -> None:
    """Small streams of few values."""
    rows = list(itertools.dropwhile(lambda x: not x, rows))
    assert_parity(
        rows, HalfSpaceTrees(**parameters), anomaly.HalfSpaceTrees(**parameters), restore_every=7
    )


def test_arrays_and_dicts_learn_as_one_after_the_other() -> None:
    """One call for many events changes nothing but the time it takes."""
    rng = np.random.default_rng(1)
    X = rng.random((900, 4))
    names = ("d", "b", "a", "c")
    rows = [dict(zip(names, row, strict=True)) for row in X.tolist()]
    single, dicts, arrays, both = (HalfSpaceTrees(seed=2, window_size=100) for _ in range(4))
    said = []
    for x in rows:
        said.append(single.score_one(x))
        single.learn_one(x)
    for at in range(0, len(rows), 128):
        dicts.learn_dicts(rows[at : at + 128])
        arrays.learn_many(X[at : at + 128], names=names)
    assert both.test_then_train_many(X, names=names).tolist() == said
    assert {model.dump() for model in (dicts, arrays, both)} == {single.dump()}
    assert single.score_dicts(rows) == single.score_many(X, names=names).tolist()
    assert single.memory_bytes > HalfSpaceTrees(seed=2).memory_bytes


GARBAGE: list[tuple[Any, type[Exception]]] = [
    ({"f0": math.nan}, ValueError),
    ({"f0": math.inf}, ValueError),
    ({"f0": 1e308}, ValueError),
    ({"f0": 10**400}, ValueError),
    ({"f0": None}, TypeError),
    ({"f0": "text"}, TypeError),
    ({b"f0": 1.0}, TypeError),
    ([("f0", 1.0)], TypeError),
]


@pytest.mark.parametrize(("x", "error"), GARBAGE)
@pytest.mark.parametrize("n_learned", [0, 400])
def test_garbage_is_refused_before_anything_changes(
    x: Any, error: type[Exception], n_learned: int
) -> None:
    """Alone, or after good ones; a model that has learned nothing stays fresh, too."""
    model = HalfSpaceTrees(seed=1, window_size=50)
    for row in readings(n_learned):
        model.learn_one(row)
    before = model.dump()
    calls = [
        lambda: model.learn_one(x),
        lambda: model.learn_dicts([{"g": 0.5}, {"h": 0.5}, x]),
    ]
    if x != GARBAGE[0][0]:
        calls.append(lambda: model.score_one(x))
    for call in calls:
        with pytest.raises(error):
            call()
        assert model.dump() == before
    with pytest.raises(ValueError, match="row 1, column 0"):
        model.learn_many([[0.5], [math.nan]], names=["f0"])
    assert model.dump() == before
    other = HalfSpaceTrees.load(before)
    rows = readings(60, seed=2)
    for row in rows:
        other.learn_one(row)
    model.learn_dicts(rows)
    assert model.dump() == other.dump()


def test_a_score_takes_nan_for_missing() -> None:
    """As a scaler gives for a feature that came after it last learned."""
    model = HalfSpaceTrees(seed=1, window_size=50)
    for row in readings(400):
        model.learn_one(row)
    row = {"f0": 0.5, "f1": 0.4, "f2": 0.2, "f3": 0.5, "f4": 0.5, "f5": 0.6}
    assert model.score_one({**row, "new": math.nan}) == model.score_one(row)
    missing = {name: value for name, value in row.items() if name != "f2"}
    assert model.score_one({**row, "f2": math.nan}) == model.score_one(missing)


@pytest.mark.parametrize(
    "first", [{}, {"flat": 0.5}, {"a": 0.5, 3: 0.5}], ids=["empty", "flat", "mixed names"]
)
def test_a_first_event_without_a_range_is_refused(first: dict[Any, float]) -> None:
    """River fails there, too; ours can then go on."""
    limits = {"flat": (1.0, 1.0)}
    with pytest.raises((ValueError, IndexError, TypeError)):
        anomaly.HalfSpaceTrees(limits=limits).learn_one(first)
    model = HalfSpaceTrees(limits=limits, seed=1)
    before = model.dump()
    with pytest.raises((ValueError, TypeError)):
        model.learn_one(first)
    assert model.dump() == before
    model.learn_one({"x": 0.5})


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_trees": 0},
        {"window_size": 0},
        {"height": 21},
        {"height": -1},
        {"n_trees": 1000, "height": 20},
        {"limits": {"a": (1.0, 0.0)}},
        {"limits": {"a": (math.nan, 1.0)}},
        {"limits": {"a": (0.0, math.inf)}},
    ],
)
def test_senseless_parameters_are_refused(parameters: dict[str, Any]) -> None:
    """And those that would ask for more memory than there is."""
    with pytest.raises(ValueError, match=r"limits|least|most"):
        HalfSpaceTrees(**parameters)


def test_parameters_survive() -> None:
    """In clones, pickles and dumps."""
    parameters: dict[str, Any] = {"n_trees": 4, "height": 3, "limits": {"a": (0.0, 2.0)}, "seed": 5}
    model = HalfSpaceTrees(**parameters)
    for x in readings(300):
        model.learn_one(x)
    for copy in (
        pickle.loads(pickle.dumps(model)),
        HalfSpaceTrees.load(model.dump()),
        model.clone(),
    ):
        assert repr(copy) == repr(model)
        assert describe(copy) == describe(anomaly.HalfSpaceTrees(**parameters))
    assert model.clone(include_attributes=True).dump() == model.dump()


def test_damaged_dumps_are_refused() -> None:
    """Cut short or changed in one byte; the model stays as it was."""
    model = HalfSpaceTrees(n_trees=2, height=3, window_size=20, seed=1)
    for x in readings(70):
        model.learn_one(x)
    guards.assert_damage_is_refused(model)


def test_a_learner_of_anomalies_runs_compiled() -> None:
    """And says what River's would."""
    log = make_log("half-space-trees", Task.ANOMALY, 900)
    learner = new_learner("half-space-trees", Task.ANOMALY)
    absorb_in(learner, log, range(900), [900])
    assert learner.is_compiled
    river: Any = build("half-space-trees", Task.ANOMALY, seed=11)
    for example in log:
        if example.label is None:
            river.learn_one(example.features)
    x = log[0].features
    assert learner.score(x) == river.score_one(x)
    assert 0.0 < river.score_one(x) < 1.0
    assert Learner.load(learner.dump()).fingerprint() == learner.fingerprint()
