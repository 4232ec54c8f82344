"""Prequential metrics: any batching gives the same bits, and the figures are those of River."""

from __future__ import annotations

import math
import pickle
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import dummy, metrics

from models import Prequential, Score, Task, Truth
from models import prequential as module
from models.ranking import N_BINS

CLASSES = ("a", "b", "c")


def stream(task: Task, n: int, seed: int) -> tuple[list[Truth], list[Score]]:
    """Make truths and scores, some of them at the very ends of the range."""
    rng = random.Random(seed)
    truths: list[Truth] = []
    scores: list[Score] = []
    for _ in range(n):
        match task:
            case Task.BINARY | Task.ANOMALY:
                truth: Truth = rng.random() < 0.3
                score: Score = rng.choice([0.0, 1.0, rng.random() ** 3, rng.random()])
            case Task.MULTICLASS:
                truth = rng.choice(CLASSES)
                raw = {name: rng.random() for name in rng.sample(CLASSES, rng.randrange(4))}
                score = {name: value / sum(raw.values()) for name, value in raw.items()}
            case Task.REGRESSION:
                truth = 1e6 + rng.gauss(0.0, 3.0)
                score = truth + rng.gauss(0.0, 1.0)
        truths.append(truth)
        scores.append(score)
    return truths, scores


def observed(
    task: Task, truths: Sequence[Truth], scores: Sequence[Score], cuts: Sequence[int]
) -> Prequential:
    """Observe a stream in batches that end at the cuts."""
    prequential = Prequential(task, rolling_n=40)
    start = 0
    for end in [*sorted(cuts), len(truths)]:
        prequential.observe(truths[start:end], scores[start:end], threshold=0.5)
        start = end
    return prequential


@pytest.mark.parametrize("task", Task)
@given(
    seed=st.integers(0, 1000),
    cuts=st.lists(st.integers(0, 90), max_size=12),
    digest_at=st.sampled_from([1, 7, 1024]),
)
def test_the_batching_changes_not_one_bit(
    task: Task, seed: int, cuts: list[int], digest_at: int
) -> None:
    """A replay never has the batches of the first run, and must give its metrics."""
    truths, scores = stream(task, 90, seed)
    expected = observed(task, truths, scores, range(90)).values()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_DIGEST_AT", digest_at)
        assert observed(task, truths, scores, cuts).values() == expected


@pytest.mark.parametrize("task", Task)
@given(seed=st.integers(0, 1000), cut=st.integers(0, 90))
def test_a_copy_carries_on_where_the_original_was(task: Task, seed: int, cut: int) -> None:
    """A checkpoint holds the metrics whole."""
    truths, scores = stream(task, 90, seed)
    whole = observed(task, truths, scores, [])
    half = observed(task, truths[:cut], scores[:cut], [])
    half = pickle.loads(pickle.dumps(half))
    half.observe(truths[cut:], scores[cut:], threshold=0.5)
    assert half.values() == whole.values()


def test_binary_figures_are_those_of_river() -> None:
    """River's own metrics, fed event by event, are the reference."""
    truths, scores = stream(Task.BINARY, 500, seed=5)
    values = observed(Task.BINARY, truths, scores, [100]).values()["total"]
    references = {
        "accuracy": metrics.Accuracy(),
        "precision": metrics.Precision(),
        "recall": metrics.Recall(),
        "f1": metrics.F1(),
    }
    log_loss = squared = 0.0
    for truth, score in zip(truths, scores, strict=True):
        for reference in references.values():
            reference.update(truth, score >= 0.5)
        likelihood = score if truth else 1.0 - score
        log_loss -= math.log(max(likelihood, 1e-15))
        squared += (score - truth) ** 2
    for name, reference in references.items():
        assert values[name] == pytest.approx(reference.get()), name
    assert values["log_loss"] == pytest.approx(log_loss / 500)
    assert values["brier"] == pytest.approx(squared / 500)
    assert values["positive_rate"] == pytest.approx(sum(truths) / 500)


def test_multiclass_figures_are_those_of_river() -> None:
    """River's accuracy and macro F1; a model that knows no class yet is wrong."""
    truths, scores = stream(Task.MULTICLASS, 400, seed=6)
    values = observed(Task.MULTICLASS, truths, scores, []).values()["total"]
    pairs = [(t, max(s, key=s.get) if s else None) for t, s in zip(truths, scores, strict=True)]
    assert values["accuracy"] == sum(t == guess for t, guess in pairs) / 400
    macro_f1 = metrics.MacroF1()
    for truth, guess in pairs:
        macro_f1.update(truth, guess if guess is not None else "none")
    # River averages over the stand-in for "no answer" as well, whose F1 is 0.
    n_named = len({guess or "none" for _, guess in pairs} | set(truths))
    assert values["macro_f1"] == pytest.approx(macro_f1.get() * n_named / 3)


def test_regression_figures_are_those_of_river() -> None:
    """With a mean far from zero, where naive sums of squares lose their digits."""
    truths, scores = stream(Task.REGRESSION, 400, seed=7)
    values = observed(Task.REGRESSION, truths, scores, [7]).values()["total"]
    references = {"mae": metrics.MAE(), "rmse": metrics.RMSE(), "r2": metrics.R2()}
    for truth, score in zip(truths, scores, strict=True):
        for reference in references.values():
            reference.update(truth, score)
    for name, reference in references.items():
        assert values[name] == pytest.approx(reference.get(), rel=1e-6), name


@pytest.mark.parametrize("task", Task)
def test_the_rolling_view_is_that_of_its_window_alone(task: Task) -> None:
    """Nothing older than the window may show in it."""
    truths, scores = stream(task, 300, seed=8)
    rolling = observed(task, truths, scores, [33, 250]).values()["rolling"]
    alone = observed(task, truths[-40:], scores[-40:], []).values()
    assert rolling == alone["rolling"]
    for name in set(rolling) & set(alone["total"]):
        assert rolling[name] == pytest.approx(alone["total"][name], abs=0.02), name


def test_baselines_are_those_of_river() -> None:
    """No-change and majority, as River's dummy classifiers, from the second label on."""
    truths, scores = stream(Task.BINARY, 300, seed=9)
    baselines = observed(Task.BINARY, truths, scores, [10, 11]).values()["baselines"]
    no_change = dummy.NoChangeClassifier()
    right, n_true, right_majority = 0, 0, 0
    for i, truth in enumerate(truths):
        if i:
            right += no_change.predict_one({}) == truth
            right_majority += (2 * n_true > i) == truth
        no_change.learn_one({}, truth)
        n_true += bool(truth)
    assert baselines["no_change_accuracy"] == right / 299
    assert baselines["majority_accuracy"] == right_majority / 299


def test_regression_baselines_are_the_last_value_and_the_running_mean() -> None:
    """Against a loop."""
    truths = [3.0, 5.0, 4.0, 10.0]
    prequential = observed(Task.REGRESSION, truths, [0.0] * 4, [1, 3])
    baselines = prequential.values()["baselines"]
    assert baselines["no_change_mae"] == pytest.approx((2 + 1 + 6) / 3)
    assert baselines["mean_mae"] == pytest.approx((2 + 0 + 6) / 3)
    assert baselines["mean_rmse"] == pytest.approx(math.sqrt((4 + 0 + 36) / 3))


@pytest.mark.parametrize("task", Task)
def test_before_any_label_there_are_no_figures(task: Task) -> None:
    """A metric that is not defined is absent, not zero."""
    values = Prequential(task).values()
    assert values == {"n": 0, "total": {}, "rolling": {}, "baselines": {}}


def test_with_one_class_missing_a_ranking_is_absent() -> None:
    """No positive yet: no ROC area, rather than a flattering or a damning one."""
    prequential = observed(Task.BINARY, [False, False], [0.1, 0.2], [])
    values = prequential.values()
    assert "roc_auc" not in values["total"]
    assert "pr_auc" not in values["rolling"]
    assert values["total"]["accuracy"] == 1.0


def test_a_new_threshold_counts_from_where_it_was_set() -> None:
    """Past decisions stay what they were, however late they are digested."""
    prequential = Prequential(Task.BINARY)
    prequential.observe([True, True], [0.4, 0.6], threshold=0.5)
    prequential.observe([True, True], [0.4, 0.6], threshold=0.3)
    assert prequential.values()["total"]["recall"] == 0.75


def test_memory_is_bounded() -> None:
    """Ten times the labels fill the bins of the histogram, 16 bytes each, and nothing else."""
    for n in (5_000, 50_000):
        truths, scores = stream(Task.BINARY, n, seed=1)
        prequential = observed(Task.BINARY, truths, scores, range(0, n, 500))
        assert len(pickle.dumps(prequential)) < 16 * 2 * N_BINS
