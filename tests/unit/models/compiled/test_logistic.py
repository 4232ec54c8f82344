"""The compiled logistic regression is River's: every prediction, to the last bit, on any stream."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import random
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import compose, evaluate, linear_model, metrics, optim, preprocessing

from models.pipelines import build
from models.types import Task
from tests import streams

pytest.importorskip("models.compiled._native", reason="the extension is not built")
from models.compiled.logistic import ScaledLogisticRegression
from models.compiled.twins import compiled_twin, river_twin

OPTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "plain": dict,
    "l2": lambda: {"l2": 0.01, "intercept_init": -3.0},
    "l1": lambda: {"l1": 0.001},
    "clipped and weighted": lambda: {
        "optimizer": optim.SGD(0.5),
        "clip_gradient": 0.3,
        "loss": optim.losses.Log(weight_pos=5.0, weight_neg=0.5),
        "intercept_lr": 0.1,
    },
    "AdaGrad": lambda: {"optimizer": optim.AdaGrad(0.1)},
    "AdaGrad with l1": lambda: {"optimizer": optim.AdaGrad(), "l1": 0.0001},
    "FTRL": lambda: {"optimizer": optim.FTRLProximal(l1=0.01)},
}
EVENTS = [({"a": 1.5, "b": 2}, True), ({"a": -1.0}, False), ({"b": 7, "a": 0.25}, True)] * 4


def river(with_std: bool = True, **options: Any) -> compose.Pipeline:
    """Build River's pipeline."""
    return preprocessing.StandardScaler(with_std) | linear_model.LogisticRegression(**options)


def assert_equal_over(stream: Iterable[streams.Row], theirs: Any, ours: Any) -> int:
    """Predict and learn with both, ours through dumps and River's own state now and then."""
    rng = random.Random(5)
    n = 0
    for n, (x, y) in enumerate(stream, start=1):
        assert ours.predict_proba_one(x) == theirs.predict_proba_one(x), n
        theirs.learn_one(x, y)
        ours.learn_one(x, y)
        if rng.random() < 0.0005:
            ours = pickle.loads(pickle.dumps(ours))
        elif rng.random() < 0.0005:
            ours = compiled_twin(river_twin(ours))
    return n


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_every_optimizer_is_rivers(options: Callable[[], dict[str, Any]]) -> None:
    """With gaps, new features, and saved and restored on the way."""
    stream = streams.with_gaps(streams.agrawal(3_000), 7, lambda rng: rng.gauss(0.0, 100.0))
    assert_equal_over(stream, river(**options()), ScaledLogisticRegression(**options()))


@pytest.mark.parametrize(("stream", "n"), [(streams.agrawal, 10_000), (streams.random_rbf, 20_000)])
def test_synthetic_streams(stream: Callable[[int], Any], n: int) -> None:
    """With the two real ones below, as many events as it takes for rare roundings to occur."""
    assert assert_equal_over(stream(n), river(), ScaledLogisticRegression()) == n


def test_all_of_elec2(data_file: Callable[[str], Path]) -> None:
    """A real stream that drifts."""
    stream = streams.elec2(data_file("elec2.csv.gz"))
    assert assert_equal_over(stream, river(), ScaledLogisticRegression()) == 45_312


def test_card_payments_through_the_whole_pipeline(data_file: Callable[[str], Path]) -> None:
    """Entities in front, from text; fraud is rare."""
    stream = streams.cards(data_file("card_transactions_60d.csv.gz"), 30_000)
    twin = compiled_twin(build("fraud", Task.BINARY, 1))
    assert type(twin["StandardScaler|LogisticRegression"]) is ScaledLogisticRegression
    assert assert_equal_over(stream, build("fraud", Task.BINARY, 1), twin) == 30_000


numbers = st.floats(-1e15, 1e15) | st.floats(-3, 3) | st.integers(-5, 5) | st.booleans()
names = st.sampled_from(["a", "b", "c", 0, 1])
rates = st.floats(1e-3, 2.0)
optimizers = st.one_of(
    st.builds(optim.SGD, rates),
    st.builds(optim.AdaGrad, rates, st.floats(1e-9, 1e-3)),
    st.builds(
        optim.FTRLProximal,
        alpha=rates, beta=rates, l1=st.floats(0.0, 2.0), l2=st.floats(0.0, 2.0),
    ),
)  # fmt: skip
penalties = st.one_of(
    st.just({}),
    st.builds(lambda l2: {"l2": l2}, st.floats(1e-6, 1.0)),
    st.builds(lambda l1: {"l1": l1}, st.floats(1e-6, 0.1)),
)


@given(
    events=st.lists(
        st.tuples(st.dictionaries(names, numbers), st.booleans(), st.floats(0.0, 9.0)), max_size=30
    ),
    optimizer=optimizers,
    penalty=penalties,
    clip=st.sampled_from([1e12, 0.2]),
    with_std=st.booleans(),
    cut=st.integers(0, 30),
)
@settings(deadline=None, max_examples=200)
def test_any_small_stream_with_any_options(
    events: list[Any], optimizer: Any, penalty: Any, clip: float, with_std: bool, cut: int
) -> None:
    """One by one, in batches of dicts, and River's own: three equal models, in all they hold."""
    if "l1" in penalty and isinstance(optimizer, optim.FTRLProximal):
        penalty = {}
    options = {**penalty, "clip_gradient": clip}
    theirs = river(with_std=with_std, optimizer=copy.deepcopy(optimizer), **options)
    single, batch = (
        ScaledLogisticRegression(optimizer=optimizer, with_std=with_std, **options)
        for _ in range(2)
    )
    for x, y, w in events:
        expected = theirs.predict_proba_one(x)
        if not math.isfinite(expected[True]):
            return  # River itself is lost: rates this high diverge.
        assert single.predict_proba_one(x) == expected
        assert single.predict_one(x) == theirs.predict_one(x)
        theirs.learn_one(x, y, w=w)
        single.learn_one(x=x, y=y, w=w)
    for part in (events[:cut], events[cut:]):
        if part:
            batch.learn_dicts(*map(list, zip(*part, strict=True)))
    assert batch.dump() == single.dump()
    assert batch.probabilities([x for x, *_ in events]) == [
        theirs.predict_proba_one(x)[True] for x, *_ in events
    ]
    back = single.to_river()
    assert back[-1].weights == theirs[-1].weights
    assert back[-1].intercept == theirs[-1].intercept
    assert back[-1].optimizer.n_iterations == theirs[-1].optimizer.n_iterations
    assert back[0].counts == theirs[0].counts


def test_arrays_are_rows_one_after_the_other() -> None:
    """Learning a batch is not a step along its mean gradient, as it is in River."""
    rows = list(streams.agrawal(2_000))
    names = tuple(rows[0][0])
    X = np.array([[float(value) for value in x.values()] for x, _ in rows])
    y = np.array([label for _, label in rows])
    w = np.linspace(0.5, 2.0, len(rows))
    theirs = river()
    expected = []
    for (x, label), weight in zip(rows, w, strict=True):
        expected.append(theirs.predict_proba_one(x)[True])
        theirs.learn_one(x, label, w=weight)
    ours, learned = ScaledLogisticRegression(), ScaledLogisticRegression()
    said = [
        p
        for part in np.array_split(np.arange(len(rows)), 7)
        for p in ours.test_then_train_many(X[part], y[part], w[part], names=names)
    ]
    learned.learn_many(X, y.astype(float), w, names=list(names))
    assert said == expected
    assert learned.dump() == ours.dump()
    probabilities = ours.predict_proba_many(X[:5], names=names)
    assert probabilities.tolist() == [
        list(theirs.predict_proba_one(x).values()) for x, _ in rows[:5]
    ]


def test_columns_without_names_are_numbered() -> None:
    """As River's iter_array does."""
    model = ScaledLogisticRegression()
    model.learn_many([[1.0, 5.0], [2.0, 3.0]], [True, False])
    assert list(model.weights) == [0, 1]
    assert (
        model.predict_proba_many([[1.0, 5.0]])[0, 1] == model.probabilities([{0: 1.0, 1: 5.0}])[0]
    )


POISON = [
    ({"a": math.nan}, ValueError, "'a' is nan"),
    ({"a": math.inf}, ValueError, "'a' is inf"),
    ({"a": -1.1e15}, ValueError, "within 1e15"),
    ({"a": 10**400}, ValueError, "within 1e15"),
    ({"a": 1.0, "b": "text"}, TypeError, "'b' is 'text'"),
    ({"new": 1.0, "a": None}, TypeError, "'a' is None"),
    ({"a": 1j}, TypeError, "takes numbers"),
    ({("a",): 1.0}, TypeError, "neither a str nor an int"),
    ([1.0], TypeError, "must be a dict"),
]


@pytest.mark.parametrize(("x", "error", "message"), POISON)
def test_what_is_refused_changes_nothing(x: Any, error: type[Exception], message: str) -> None:
    """Alone, as the last of a batch, or only predicted for."""
    model = ScaledLogisticRegression()
    for good, y in EVENTS:
        model.learn_one(good, y)
    before = model.dump()
    with pytest.raises(error, match=message):
        model.learn_one(x, True)
    with pytest.raises(error, match=message):
        model.predict_proba_one(x)
    with pytest.raises(error, match="row 2: .*" + message):
        model.learn_dicts([{"a": 5.0}, {"fresh": 1.0}, x], [True, False, True])
    with pytest.raises(error, match="row 1: .*" + message):
        model.probabilities([{"a": 5.0}, x])
    assert model.dump() == before


@pytest.mark.parametrize("label", ["yes", None, 2, 0.5])
def test_a_label_is_true_or_false(label: Any) -> None:
    """River would take 2 and learn a nonsense gradient."""
    model = ScaledLogisticRegression()
    before = model.dump()
    with pytest.raises(ValueError, match="label"):
        model.learn_one({"a": 1.0}, label)
    with pytest.raises(ValueError, match="row 1: the label"):
        model.learn_dicts([{"a": 1.0}] * 2, [np.True_, label])
    with pytest.raises(ValueError, match="labels"):
        model.learn_many([[1.0], [2.0]], [True, label])
    assert model.dump() == before


def test_batches_that_do_not_fit_are_refused() -> None:
    """Too few labels, weights or names; weights and cells that are not finite."""
    model = ScaledLogisticRegression()
    before = model.dump()
    x, rows = {"a": 1.0}, [[1.0, 2.0], [3.0, 4.0]]
    with pytest.raises(ValueError, match="1 labels for 2 rows"):
        model.learn_dicts([x, x], [True])
    with pytest.raises(ValueError, match="1 weights for 2 rows"):
        model.learn_dicts([x, x], [True, False], [1.0])
    with pytest.raises(ValueError, match="weight is nan"):
        model.learn_one(x, True, w=math.nan)
    with pytest.raises(ValueError, match="row 1: the weight is inf"):
        model.learn_dicts([x, x], [True, False], [1.0, math.inf])
    with pytest.raises(ValueError, match="y has 1 items for 2 rows"):
        model.learn_many(rows, [True])
    with pytest.raises(ValueError, match="weights must be finite"):
        model.learn_many(rows, [True, False], [1.0, math.nan])
    with pytest.raises(ValueError, match="2 columns need a tuple of as many names"):
        model.learn_many(rows, [True, False], names=("a",))
    with pytest.raises(ValueError, match="repeat"):
        model.learn_many(rows, [True, False], names=("a", "a"))
    with pytest.raises(ValueError, match="row 1, column 0: nan"):
        model.learn_many([[1.0, 2.0], [math.nan, 4.0]], [True, False])
    assert model.dump() == before


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": optim.Adam()},
        {"optimizer": optim.SGD(optim.schedulers.InverseScaling(0.1))},
        {"intercept_lr": optim.schedulers.InverseScaling(0.1)},
        {"loss": optim.losses.Hinge()},
        {"optimizer": optim.FTRLProximal(), "l1": 0.1},
    ],
)
def test_options_that_are_not_compiled_are_refused_and_left_to_river(options: Any) -> None:
    """They would not be equal."""
    with pytest.raises(ValueError, match=r"must be|its own l1"):
        ScaledLogisticRegression(**options)
    model = river(**options)
    assert compiled_twin(model) is model


def test_a_model_takes_one_caller_at_a_time() -> None:
    """A value that calls back would see half an update."""
    model = ScaledLogisticRegression()

    class Meddler:
        def __float__(self) -> float:
            model.learn_one({"a": 1.0}, True)
            return 1.0

    with pytest.raises(RuntimeError, match="one thread at a time"):
        model.learn_one({"a": Meddler()}, True)
    model.learn_one({"a": 1.0}, True)


def test_values_may_change_the_dict_they_are_in() -> None:
    """What converts to a number runs code of its own; nothing that it drops is read afterwards."""
    model = ScaledLogisticRegression()

    class Emptying:
        def __init__(self, x: dict[str, Any]) -> None:
            self.x = x

        def __float__(self) -> float:
            self.x.clear()
            return 1.0

    for i in range(1_000):
        x: dict[str, Any] = {"a": 1.0}
        x["".join(["name", str(i)])] = Emptying(x)
        model.learn_one(x, True)
    assert list(model.weights) == ["a", *(f"name{i}" for i in range(1_000))]


def test_values_may_add_to_the_dict_they_are_in() -> None:
    """An event is what it was when it came, and no wider than its features are many."""

    class Returning:
        n_left = 50

        def __init__(self, x: dict[str, Any]) -> None:
            self.x = x

        def __float__(self) -> float:
            if self.n_left > 0:
                self.n_left -= 1
                del self.x["a"]
                self.x["a"] = self
            return 1.0

    model, same = ScaledLogisticRegression(), ScaledLogisticRegression()
    x: dict[str, Any] = {}
    x |= {"a": Returning(x), "b": 2.0}
    model.learn_one(x, True)
    same.learn_one({"a": 1.0, "b": 2.0}, True)
    assert model.dump() == same.dump()


def test_batches_leave_the_interpreter_to_others_but_not_the_model() -> None:
    """A second thread runs meanwhile; it is refused this model."""
    model = ScaledLogisticRegression()
    X, y = np.ones((1_000_000, 8)), np.ones(1_000_000, dtype=bool)
    batch = threading.Thread(target=model.learn_many, args=(X, y))
    batch.start()
    refused = False
    while batch.is_alive():
        try:
            model.predict_one({0: 1.0})
        except RuntimeError:
            refused = True
    batch.join()
    assert refused
    assert model.to_river()[0].counts[0] == 1_000_000


def test_it_is_an_estimator_like_any_of_rivers() -> None:
    """In pipelines and evaluation, with parameters, clones and copies."""
    model = ScaledLogisticRegression(optim.AdaGrad(0.3), l1=0.01)
    pipeline = compose.Select("a") | model
    metric = evaluate.progressive_val_score(EVENTS, pipeline, metrics.Accuracy())
    assert metric.get() > 0.5
    assert list(inspect.signature(type(model).learn_one).parameters) == ["self", "x", "y", "w"]
    fresh = model.clone()
    assert fresh.dump() == ScaledLogisticRegression(optim.AdaGrad(0.3), l1=0.01).dump()
    assert fresh._get_params().keys() == inspect.signature(type(model)).parameters.keys()
    assert model.clone({"l1": 0.0}).l1 == 0.0
    for same in (model.clone(include_attributes=True), copy.deepcopy(model)):
        assert same.dump() == model.dump() != fresh.dump()
        assert same.optimizer.lr.learning_rate == 0.3
        assert same.l1 == 0.01
