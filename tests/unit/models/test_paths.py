"""Path attributions add up, and are the same whichever way a tree is run."""

from __future__ import annotations

import math
import pickle
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import drift, ensemble, forest, linear_model, preprocessing, tree
from river.datasets import synth
from river.tree.nodes.branch import NumericBinaryBranch
from river.tree.nodes.htc_nodes import LeafMajorityClass

from models import Learner, Task
from models.compiled import AVAILABLE
from models.paths import Told, path_attributions, share_out
from models.rare import RareClasses
from models.types import Example, Features
from tests import streams

EAGER: dict[str, Any] = {"grace_period": 50, "delta": 0.01}
CODES = ["elevel", "car", "zipcode"]
LENGTHS = {"tree": 4_000, "adaptive": 3_000, "forest": 500, "bag": 500}
compiled_only = pytest.mark.skipif(not AVAILABLE, reason="the extension is not built")


def rivers(kind: str, **parameters: Any) -> Any:
    """Make River's."""
    parameters = EAGER | parameters
    match kind:
        case "tree":
            return tree.HoeffdingTreeClassifier(**parameters)
        case "adaptive":
            return tree.HoeffdingAdaptiveTreeClassifier(seed=7, **parameters)
        case "forest":
            return forest.ARFClassifier(seed=7, n_models=3, **parameters)
    one = tree.HoeffdingTreeClassifier(**parameters)
    return ensemble.LeveragingBaggingClassifier(one, n_models=3, seed=7)


def pair(kind: str, **parameters: Any) -> tuple[Any, Any]:
    """Make a compiled model and River's."""
    from models.compiled.twins import compiled_twin

    theirs = rivers(kind, **parameters)
    ours = compiled_twin(rivers(kind, **parameters))
    assert type(ours).__module__.startswith("models.compiled.")
    return ours, theirs


def newcomer(rng: random.Random) -> float:
    """A value of a feature that was never seen."""
    return rng.gauss(0.0, 10.0)


def gaps(n: int) -> Iterable[streams.Row]:
    """Numbers and codes, some missing, and features that are new; codes get new values late."""
    for i, (x, y) in enumerate(streams.with_gaps(streams.agrawal(n), 3, newcomer)):
        if "car" in x and i % 11 == 0:
            x["car"] = 100.0 + i // 500
        yield x, y


def cards(n: int) -> Iterable[streams.Row]:
    """Amounts, and countries as text, of which new ones come up."""
    rng = random.Random(3)
    for i in range(n):
        country = f"c{min(rng.randrange(8), rng.randrange(4 + i // 200))}"
        amount = rng.lognormvariate(3, 1)
        risk = 0.9 if country in ("c1", "c5") and amount > 25 else 0.1
        x: dict[str, Any] = {"amount": amount, "country": country, "night": rng.random() < 0.3}
        if rng.random() < 0.1:
            del x[rng.choice(list(x))]
        yield x, rng.random() < risk


def trading_places(n: int) -> Iterable[streams.Row]:
    """The classes trade places now and then."""
    for i, (x, y) in enumerate(synth.SEA(variant=0, seed=3).take(n)):
        yield x, bool(y) ^ (i // 700 % 2 == 1)


def rest_of(told: Told) -> float:
    """Give what nobody is credited with."""
    return told.total - told.base - math.fsum(told.contributions)


def assert_alike(ours: Any, theirs: Any, rows: Iterable[streams.Row], every: int) -> int:
    """Let both learn, and compare what they say; give how many splits they have at the end."""
    for i, (x, y) in enumerate(rows):
        said = ours.predict_proba_one(x)
        theirs.predict_proba_one(x)
        if i > 20 and i % every == 0:
            (mine,), (other,) = path_attributions(ours, [x]) or (), path_attributions(theirs, [x])
            assert list(mine.names) == list(other.names) == list(x)
            assert list(mine.values) == list(other.values) == list(x.values())
            assert mine.base == pytest.approx(other.base, abs=1e-9)
            assert mine.contributions == pytest.approx(other.contributions, abs=1e-9)
            assert mine.total == pytest.approx(other.total, abs=1e-9)
            assert mine.total == said.get(True, 0.0)
        ours.learn_one(x, y)
        theirs.learn_one(x, y)
    return int(sum(ours.n_nodes)) if isinstance(ours.n_nodes, list) else ours.n_nodes


@compiled_only
@pytest.mark.parametrize("leaf_prediction", ["mc", "nb", "nba"])
@pytest.mark.parametrize("kind", ["tree", "adaptive", "forest"])
def test_a_compiled_model_and_rivers_have_the_same_attributions(
    kind: str, leaf_prediction: str
) -> None:
    """With missing values, new categories and new features."""
    n = LENGTHS[kind]
    chosen = {"leaf_prediction": leaf_prediction, "nominal_attributes": CODES}
    assert assert_alike(*pair(kind, **chosen), gaps(n), 7) > 3
    chosen["max_share_to_split"] = 1.0
    assert assert_alike(*pair(kind, **chosen), cards(n), 7) > 3


@compiled_only
@pytest.mark.parametrize("kind", ["tree", "adaptive", "forest"])
def test_the_same_on_a_real_stream(kind: str, data_file: Callable[[str], Path]) -> None:
    """Electricity: numbers only, and it drifts."""
    rows = streams.elec2(data_file("elec2.csv.gz"), LENGTHS[kind])
    assert assert_alike(*pair(kind), rows, 11) > 3


@compiled_only
def test_a_bag_of_trees_is_explained_as_its_mean() -> None:
    """A bag of what is no tree is not."""
    from models.compiled.twins import compiled_twin

    ours = compiled_twin(rivers("bag"))
    theirs = rivers("bag")
    rows = list(gaps(LENGTHS["bag"]))
    for x, y in rows:
        ours.learn_one(x, y)
        theirs.learn_one(x, y)
    for (x, _), mine, other in zip(
        rows,
        path_attributions(ours, [x for x, _ in rows]) or (),
        path_attributions(theirs, [x for x, _ in rows]) or (),
        strict=True,
    ):
        assert mine.contributions == pytest.approx(other.contributions, abs=1e-9), x
        assert mine.base == pytest.approx(other.base, abs=1e-9)
    linear = ensemble.ADWINBaggingClassifier(linear_model.LogisticRegression(), seed=1)
    assert path_attributions(linear, [{"a": 1.0}]) is None
    assert path_attributions(compiled_twin(linear), [{"a": 1.0}]) is None


MAKERS = [rivers, *([lambda kind, **given: pair(kind, **given)[0]] if AVAILABLE else [])]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("leaf_prediction", ["mc", "nb", "nba"])
@pytest.mark.parametrize("kind", ["tree", "forest"])
def test_all_of_a_score_is_credited_where_nothing_is_missing(
    make: Callable[..., Any], kind: str, leaf_prediction: str
) -> None:
    """By counts and by naive Bayes: `rest` is nil, and no contribution is more than all of P."""
    model = make(kind, leaf_prediction=leaf_prediction)
    n, n_moved = 0, 0
    for i, (x, y) in enumerate(streams.agrawal(LENGTHS[kind] // 2)):
        if i > 60:
            (told,) = path_attributions(model, [x]) or ()
            assert abs(rest_of(told)) < 1e-9
            assert all(abs(contribution) <= 1.0 for contribution in told.contributions)
            n += 1
            n_moved += any(abs(contribution) > 0.01 for contribution in told.contributions)
        model.predict_proba_one(x)
        model.learn_one(x, y)
    # A tree that predicts by its counts has no reasons before it has split.
    assert n_moved > n * (0.5 if leaf_prediction == "mc" else 0.9)


def test_each_split_is_credited_with_the_change_to_its_branch() -> None:
    """By hand; a way taken for want of a feature is left to the rest."""
    model: Any = tree.HoeffdingTreeClassifier(leaf_prediction="mc")

    def leaf(negatives: float, positives: float) -> LeafMajorityClass:
        return LeafMajorityClass({False: negatives, True: positives}, 2, model.splitter)

    # What a split itself has kept, from when it was one, is out of date.
    inner = NumericBinaryBranch({False: 9.0}, "b", 0.0, 1, leaf(20.0, 10.0), leaf(0.0, 10.0))
    model._root = NumericBinaryBranch({True: 9.0}, "a", 0.0, 0, leaf(60.0, 0.0), inner)
    model.classes = {False, True}
    events: list[Features] = [{"b": 1, "a": 1}, {"a": -1, "b": 1}, {"a": 1}, {"b": 1}, {}]
    assert path_attributions(model, events) == [
        Told(0.2, ["b", "a"], [1, 1], [0.5, 0.3], 1.0),
        Told(0.2, ["a", "b"], [-1, 1], [-0.2, 0.0], 0.0),
        Told(0.2, ["a"], [1], [0.3], pytest.approx(1 / 3)),
        Told(0.2, ["b"], [1], [0.0], 0.0),
        Told(0.2, [], [], [], 0.0),
    ]


@compiled_only
@pytest.mark.parametrize("kind", ["tree", "adaptive", "forest"])
def test_what_a_tree_remembers_of_its_sums_is_what_it_would_count_again(kind: str) -> None:
    """Bit for bit, asked at any time: splits, drifts and alternates change the sums on the way."""
    detectors = {"drift_detector": drift.ADWIN(delta=0.05)} if kind != "tree" else {}
    ours, _ = pair(kind, **detectors)
    rng = random.Random(5)
    rows = list(trading_places(2 * LENGTHS[kind]))
    for i, (x, y) in enumerate(rows):
        if i and rng.random() < 0.1:
            batch = [x for x, _ in rng.sample(rows, 3)]
            afresh = pickle.loads(pickle.dumps(ours))
            assert path_attributions(ours, batch) == path_attributions(afresh, batch)
        ours.learn_one(x, y)
    if kind == "adaptive":
        assert ours.n_alternate_trees > 0


@compiled_only
@pytest.mark.parametrize("kind", ["tree", "adaptive", "forest"])
def test_explaining_changes_neither_what_is_learned_nor_when_room_is_made(kind: str) -> None:
    """The fold must not depend on who asked for reasons, at the bound of memory either."""
    asked, _ = pair(kind, max_size=0.02)
    unasked, _ = pair(kind, max_size=0.02)
    for i, (x, y) in enumerate(gaps(LENGTHS[kind])):
        if i % 5 == 0:
            path_attributions(asked, [x])
        asked.learn_one(x, y)
        unasked.learn_one(x, y)
    assert asked.dump() == unasked.dump()
    assert asked.memory_bytes > unasked.memory_bytes
    assert asked._memory()[0] == asked._memory()[1]


@given(
    st.lists(st.floats(-50, 50), max_size=6),
    st.floats(-30, 30),
)
def test_shares_add_up_and_go_the_way_of_their_step(steps: list[float], start: float) -> None:
    """However nearly the steps cancel out, none gets more than the curve has."""

    def curve(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    shares = share_out(curve, start, steps)
    end = start + (sum(s for s in steps if s > 0) + sum(s for s in steps if s < 0))
    assert math.fsum(shares) == pytest.approx(curve(end) - curve(start), abs=1e-12)
    for step, share in zip(steps, shares, strict=True):
        assert share * step >= 0.0
        assert abs(share) <= 1.0


def learned(model: Any, rare: RareClasses | None = None) -> tuple[Learner, list[Features]]:
    """Give a learner that has learned, and events that it may be asked about."""
    learner = Learner(model, Task.BINARY, rare=rare)
    rows = list(cards(2_000))
    for i, (x, y) in enumerate(rows):
        one = Example(f"e{i}", x, y, 0.5, "v1-0", 0, i, i, "labels/0", i, i)
        learner.absorb([one], [i])
    return learner, [x for x, _ in rows[:300]]


@pytest.mark.parametrize(
    "rare",
    [None, RareClasses(negatives_kept=0.1), RareClasses(0.2, 3.0, "platt", 200)],
    ids=["as it is", "sampled", "calibrated"],
)
@pytest.mark.parametrize("kind", ["tree", "forest"])
def test_reasons_add_up_to_the_score_that_is_published(kind: str, rare: RareClasses | None) -> None:
    """Also where it is not the model's own: corrected for what was sampled, and calibrated."""
    learner, alerts = learned(rivers(kind, max_share_to_split=1.0), rare)
    for x, found in zip(alerts, learner.explain_many(alerts), strict=True):
        assert (found.method, found.unit) == ("path", "score")
        assert found.total == pytest.approx(learner.score(x), abs=1e-12)
        told = found.top(2, {})
        listed = math.fsum(reason.contribution for reason in told.features)
        assert told.base + listed + told.rest == pytest.approx(learner.score(x), abs=1e-9)
        assert 0.0 <= told.base <= 1.0


def test_behind_a_scaler_values_are_those_that_people_know() -> None:
    """The tree sees scaled ones."""
    model = preprocessing.StandardScaler() | rivers("tree")
    learner = Learner(model, Task.BINARY)
    rng = random.Random(2)
    for i in range(1_500):
        x: Features = {"a": rng.gauss(500, 100), "b": rng.gauss(0, 1)}
        one = Example(f"e{i}", x, x["a"] > 550, 0.5, "v1-0", 0, i, i, "labels/0", i, i)
        learner.absorb([one], [i])
    (found,) = learner.explain_many([{"a": 700.0, "b": 0.0}])
    (reason,) = found.top(1, {}).features
    assert (reason.feature, reason.value) == ("a", 700.0)
    assert 450 < float(reason.usual or 0) < 550
    assert found.total == learner.score({"a": 700.0, "b": 0.0}) > 0.9
