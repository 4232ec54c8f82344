"""The fused path is River's to the last bit: predictions and state, in any mixture of the two."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import compose, linear_model, optim, preprocessing

from models.fused import fuse

numbers = st.floats(-1e6, 1e6) | st.integers(-5, 5) | st.booleans()
rows = st.lists(
    st.tuples(st.dictionaries(st.sampled_from("abcd"), numbers), st.booleans(), st.booleans()),
    max_size=40,
)


def plain(**options: object) -> compose.Pipeline:
    return preprocessing.StandardScaler() | linear_model.LogisticRegression(**options)


@given(rows, st.sampled_from([1e12, 0.3]))
@settings(deadline=None)
def test_it_is_river_to_the_last_bit(stream: list[tuple], clip: float) -> None:
    """New, missing and constant features, clipped gradients, and both paths by turns."""
    ours, river = (plain(clip_gradient=clip, optimizer=optim.SGD(0.5)) for _ in range(2))
    fused = fuse(ours)
    assert fused is not None
    for x, y, through_river in stream:
        assert fused.probability(x) == river.predict_proba_one(x)[True]
        river.learn_one(x, y)
        if through_river:
            ours.learn_one(x, y)
        else:
            fused.learn(x, y)
        assert ours.predict_proba_one(x) == river.predict_proba_one(x)
    (scaler, regression), (scaler2, regression2) = ours.steps.values(), river.steps.values()
    assert (scaler.counts, scaler.means, scaler.vars) == (
        scaler2.counts,
        scaler2.means,
        scaler2.vars,
    )
    assert regression.weights == regression2.weights
    assert regression.intercept == regression2.intercept
    assert regression.optimizer.n_iterations == regression2.optimizer.n_iterations


@given(st.floats(-60, 60), st.booleans())
def test_saturated_margins_are_rivers(margin: float, y: bool) -> None:
    """Far out, the sigmoid and the gradient take their other branches."""
    ours, river = (
        preprocessing.StandardScaler() | linear_model.LogisticRegression(intercept_init=margin)
        for _ in range(2)
    )
    fused = fuse(ours)
    assert fused is not None
    assert fused.probability({}) == river.predict_proba_one({})[True]
    fused.learn({"a": 1.0}, y)
    river.learn_one({"a": 1.0}, y)
    assert fused.probability({"a": 2.0}) == river.predict_proba_one({"a": 2.0})[True]


@pytest.mark.parametrize(
    "model",
    [
        linear_model.LogisticRegression(),
        plain(l2=0.1),
        plain(l1=0.1),
        plain(optimizer=optim.AdaGrad()),
        plain(optimizer=optim.SGD(optim.schedulers.InverseScaling(0.1))),
        plain(intercept_lr=optim.schedulers.InverseScaling(0.1)),
        plain(loss=optim.losses.Log(weight_pos=2.0)),
        plain(loss=optim.losses.Hinge()),
        preprocessing.StandardScaler(window_size=5) | linear_model.LogisticRegression(),
        preprocessing.StandardScaler(with_std=False) | linear_model.LogisticRegression(),
        preprocessing.MinMaxScaler() | linear_model.LogisticRegression(),
        preprocessing.StandardScaler() | linear_model.PAClassifier(),
        preprocessing.StandardScaler() | preprocessing.StandardScaler()
        | linear_model.LogisticRegression(),
    ],
)  # fmt: skip
def test_any_other_pipeline_is_left_to_river(model: object) -> None:
    """What is not exactly the plain case would not be equal."""
    assert fuse(model) is None


def test_a_copy_is_fused_with_its_own_state() -> None:
    """The calls hold the objects of one model: another one needs its own."""
    first = plain()
    second = pickle.loads(pickle.dumps(first))
    fused = fuse(first)
    assert fused is not None
    fused.learn({"a": 3.0}, True)
    assert second.predict_proba_one({"a": 1.0})[True] == 0.5
