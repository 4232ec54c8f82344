"""The compiled naive Bayes is River's, for two classes and for ten."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import naive_bayes

from tests import streams

pytest.importorskip("models.compiled._native", reason="the extension is not built")
from models.compiled.naive_bayes import GaussianNB

# What SciPy's exponential may be off by, on another processor.
CLOSE = {"rel": 1e-12, "abs": 1e-300}


def assert_equal_over(stream: Iterable[streams.Row], predict_every: int = 1) -> None:
    """Predict and learn with both; River predicts slowly, so not always."""
    theirs: Any = naive_bayes.GaussianNB()
    ours = GaussianNB()
    for n, (x, y) in enumerate(stream):
        if n % predict_every == 0:
            expected, said = theirs.predict_proba_one(x), ours.predict_proba_one(x)
            assert list(said.items()) == [
                (c, pytest.approx(p, **CLOSE)) for c, p in expected.items()
            ], n
            assert ours.predict_one(x) == theirs.predict_one(x), n
        theirs.learn_one(x, y)
        ours.learn_one(x=x, y=y)
        if n % 5_000 == 2_000:
            ours = pickle.loads(pickle.dumps(ours))
        elif n % 5_000 == 4_000:
            ours = GaussianNB.from_river(ours.to_river())
    assert ours.to_river().class_counts == theirs.class_counts


@pytest.mark.parametrize(
    ("stream", "n"),
    [(streams.agrawal, 6_000), (streams.random_rbf, 20_000), (streams.led, 10_000)],
)
def test_synthetic_streams(stream: Callable[[int], Any], n: int) -> None:
    """With gaps and new features."""
    gappy = streams.with_gaps(stream(n), 3, lambda rng: rng.gauss(0.0, 9.0))
    assert_equal_over(gappy, predict_every=10)


def test_all_of_elec2(data_file: Callable[[str], Path]) -> None:
    """A real stream."""
    assert_equal_over(streams.elec2(data_file("elec2.csv.gz")), predict_every=40)


values = st.floats(-1e15, 1e15) | st.floats(-3, 3) | st.integers(-5, 5) | st.booleans()
rows = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(["a", "b", 0, 1]), values),
        st.sampled_from(["x", "y", True, False, 7, 8, 9, "z", "", "u", "v"]),
    ),
    max_size=25,
)


@given(rows)
@settings(deadline=None)
def test_any_small_stream(events: list[Any]) -> None:
    """One by one, in batches of dicts and through River's own state: equal."""
    theirs: Any = naive_bayes.GaussianNB()
    single, batch = GaussianNB(), GaussianNB()
    for x, y in events:
        expected = theirs.predict_proba_one(x)
        assert single.predict_proba_one(x) == pytest.approx(expected, **CLOSE)
        theirs.learn_one(x, y)
        single.learn_one(x, y)
    batch.learn_dicts([x for x, _ in events], [y for _, y in events])
    assert batch.dump() == single.dump()
    assert GaussianNB.from_river(single.to_river()).predict_proba_one({"a": 1.0}) == (
        single.predict_proba_one({"a": 1.0})
    )
    assert [type(c) for c in GaussianNB.load(single.dump()).classes] == [
        type(c) for c in theirs.class_counts
    ]
    assert batch.probabilities([x for x, _ in events], "x") == [
        single.predict_proba_one(x).get("x", 0.0) for x, _ in events
    ]


def test_arrays_are_rows_one_after_the_other() -> None:
    """With classes in the order in which they came."""
    events = list(streams.led(200))
    names = tuple(events[0][0])
    X = np.array([list(x.values()) for x, _ in events], dtype=float)
    single, batch = GaussianNB(), GaussianNB()
    assert batch.predict_proba_many(X[:3], names=names).shape == (3, 0)
    assert batch.predict_proba_one({"a": 1.0}) == {}
    assert batch.predict_one({"a": 1.0}) is None
    for x, y in events:
        single.learn_one(x, y)
    batch.learn_many(X, np.array([y for _, y in events]), names=names)
    assert batch.dump() == single.dump()
    assert batch.predict_proba_many(X[:9], names=names).tolist() == [
        list(single.predict_proba_one(x).values()) for x, _ in events[:9]
    ]
    assert batch.classes == list(single.predict_proba_one(events[0][0]))


@pytest.mark.parametrize(
    ("x", "y"),
    [({"a": math.nan}, "x"), ({"new": 1e16}, "x"), ({"a": "text"}, "x"), ({"a": 1.0}, 0.5),
     ({"a": 1.0}, None), (None, "x")],
)  # fmt: skip
def test_what_is_refused_changes_nothing(x: Any, y: Any) -> None:
    """River would keep one bad number for good."""
    model = GaussianNB()
    model.learn_one({"a": 1.0}, "x")
    before = model.dump()
    with pytest.raises((ValueError, TypeError)):
        model.learn_one(x, y)
    with pytest.raises((ValueError, TypeError), match="row 1"):
        model.learn_dicts([{"fresh": 1.0}, x], ["new", y])
    with pytest.raises(ValueError, match="1 labels for 2 rows"):
        model.learn_dicts([{"a": 1.0}] * 2, ["x"])
    with pytest.raises(ValueError, match="no weights"):
        model.learn_dicts([{"a": 1.0}], ["x"], [2.0])  # type: ignore[arg-type]
    assert model.dump() == before
    assert model.clone().dump() != before == model.clone(include_attributes=True).dump()
