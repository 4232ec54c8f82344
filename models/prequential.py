"""Test-then-train metrics: the score published at the time against the truth that came later.

Each task has a ledger with two views: `total`, over all time in bounded memory, and `rolling`,
exact over the last `rolling_n` labels. Baselines that learn nothing stand beside them, because
"85 % right" means little on a stream where repeating the last label is 85 % right.

Why results do not depend on batching: counts are integers, sums of floats are carried from event
to event in order (`numpy.add.accumulate`, never a pairwise sum of a batch), and logarithms are
taken one by one. So a replay in other batches gives the same bits.

Why observing is lazy: numpy costs about 60 us a call whatever the batch. Small batches are
collected until there are enough of them or somebody asks for the values.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol, TypeAlias, cast

import numpy as np

from models.ranking import Flags, Floats, ScoreHistogram, average_precision, groups_of, roc_auc
from models.reliability import calibration_error_of
from models.types import MetricValues, Score, Task, Truth

PrequentialValues: TypeAlias = dict[str, Any]

# Collected this many, numpy's cost per event is lost in the noise.
_DIGEST_AT = 1024
# A probability of exactly 0 for the truth would make the log loss infinite for ever.
_PROBABILITY_MIN = 1e-15


class Prequential:
    """Metrics of one learner, by its task.

    Examples
    --------
    >>> prequential = Prequential(Task.BINARY, rolling_n=2)
    >>> prequential.observe([True, False, True, True], [0.9, 0.6, 0.8, 0.4], threshold=0.5)
    >>> values = prequential.values()
    >>> values["n"], values["total"]["accuracy"], values["rolling"]["accuracy"]
    (4, 0.5, 0.5)
    >>> values["total"]["roc_auc"], values["baselines"]["no_change_accuracy"]
    (0.6666666666666666, 0.3333333333333333)
    """

    def __init__(self, task: Task, rolling_n: int = 1000) -> None:
        assert rolling_n > 0, rolling_n
        self._ledger: _Ledger = _LEDGERS[task](task, rolling_n)
        self._truths: list[Truth] = []
        self._scores: list[Score] = []
        self._threshold = 0.5

    def observe(
        self, truths: Sequence[Truth], scores: Sequence[Score], threshold: float = 0.5
    ) -> None:
        """Add labels with the scores that were published for them, in order."""
        if threshold != self._threshold:
            self._digest()
            self._threshold = threshold
        self._truths += truths
        self._scores += scores
        if len(self._truths) >= _DIGEST_AT:
            self._digest()

    def values(self) -> PrequentialValues:
        """Compute all metrics: `{"n", "total", "rolling", "baselines"}`.

        A metric that is not defined yet (a ROC area while one class is missing) is absent. A
        baseline has no prediction for the first label, which therefore does not count for it;
        those of the rolling window are prefixed with `rolling_`.
        """
        self._digest()
        ledger = self._ledger
        return {
            "n": ledger.n,
            "total": ledger.total(self._threshold),
            "rolling": ledger.rolling(self._threshold),
            "baselines": ledger.baselines(),
        }

    def _digest(self) -> None:
        if self._truths:
            self._ledger.add(self._truths, self._scores, self._threshold)
            self._truths, self._scores = [], []

    def __getstate__(self) -> dict[str, Any]:
        # Pickles hold the ledger only, so that equal states pickle alike however they were fed.
        self._digest()
        return self.__dict__.copy()


class _Ledger(Protocol):
    n: int

    def add(self, truths: list[Truth], scores: list[Score], threshold: float) -> None: ...
    def total(self, threshold: float) -> MetricValues: ...
    def rolling(self, threshold: float) -> MetricValues: ...
    def baselines(self) -> MetricValues: ...


class _BinaryLedger:
    # Binary classification, and anomaly detection (whose scores are not probabilities, so it has
    # neither log loss nor Brier score).
    def __init__(self, task: Task, rolling_n: int) -> None:
        self.n = 0
        self._has_probabilities = task is Task.BINARY
        self._confusion = (0, 0, 0, 0)
        self._log_loss = self._squared = 0.0
        self._histogram = ScoreHistogram()
        self._last: bool | None = None
        self._n_positive = self._n_no_change = self._n_majority = 0
        self._recent_truths: deque[bool] = deque(maxlen=rolling_n)
        self._recent_scores: deque[float] = deque(maxlen=rolling_n)

    def add(self, truths: list[Truth], scores: list[Score], threshold: float) -> None:
        truth = np.array(truths, dtype=np.bool_)
        score = np.array(scores, dtype=np.float64)
        counts = _confusion(truth, score >= threshold)
        self._confusion = cast(
            tuple[int, int, int, int],
            tuple(old + new for old, new in zip(self._confusion, counts, strict=True)),
        )
        if self._has_probabilities:
            self._log_loss = _carry_on(self._log_loss, _log_losses(truth, score))
            self._squared = _carry_on(self._squared, (score - truth) ** 2)
        self._histogram.add(truth, score)
        self._add_baselines(truth)
        self._recent_truths.extend(cast(list[bool], truths))
        self._recent_scores.extend(cast(list[float], scores))

    def _add_baselines(self, truth: Flags) -> None:
        if self._last is not None:
            self._n_no_change += int(truth[0] == self._last)
        self._n_no_change += int(np.count_nonzero(truth[1:] == truth[:-1]))
        n_before = self.n + np.arange(len(truth))
        n_positive_before = self._n_positive + np.cumsum(truth) - truth
        right = (2 * n_positive_before > n_before) == truth
        self._n_majority += int(np.count_nonzero(right[n_before > 0]))
        self.n += len(truth)
        self._n_positive += int(np.count_nonzero(truth))
        self._last = bool(truth[-1])

    def total(self, threshold: float) -> MetricValues:
        values = _decision_metrics(self._confusion)
        if self.n and self._has_probabilities:
            values |= {"log_loss": self._log_loss / self.n, "brier": self._squared / self.n}
        histogram = self._histogram
        if self._has_probabilities:
            values |= _present("ece", histogram.calibration_error())
        values |= _present("roc_auc", histogram.roc_auc()) | _present("pr_auc", histogram.pr_auc())
        if "roc_auc" in values:
            values["roc_auc_error_max"] = histogram.roc_auc_error_max()
            values["pr_auc_error_max"] = histogram.pr_auc_error_max()
        return values

    def rolling(self, threshold: float) -> MetricValues:
        truth = np.array(self._recent_truths, dtype=np.bool_)
        score = np.array(self._recent_scores, dtype=np.float64)
        values = _decision_metrics(_confusion(truth, score >= threshold))
        if len(truth) and self._has_probabilities:
            values["log_loss"] = math.fsum(_log_losses(truth, score)) / len(truth)
            values["brier"] = math.fsum((score - truth) ** 2) / len(truth)
            values |= _present("ece", calibration_error_of(truth, score))
        groups = groups_of(truth, score)
        return (
            values
            | _present("roc_auc", roc_auc(*groups))
            | _present("pr_auc", average_precision(*groups))
        )

    def baselines(self) -> MetricValues:
        if self.n <= 1:
            return {}
        return {
            "no_change_accuracy": self._n_no_change / (self.n - 1),
            "majority_accuracy": self._n_majority / (self.n - 1),
            **_no_skill(self._n_positive / self.n),
        } | _rolling_label_baselines(list(self._recent_truths))


class _MulticlassLedger:
    def __init__(self, task: Task, rolling_n: int) -> None:
        self.n = 0
        self._pairs: Counter[tuple[str, str | None]] = Counter()
        self._log_loss = 0.0
        self._last: str | None = None
        self._n_of: Counter[str] = Counter()
        self._n_no_change = self._n_majority = 0
        self._recent: deque[tuple[str, str | None, float]] = deque(maxlen=rolling_n)

    def add(self, truths: list[Truth], scores: list[Score], threshold: float) -> None:
        for truth, score in zip(cast(list[str], truths), scores, strict=True):
            probabilities = cast(Mapping[str, float], score)
            # River's own choice: the first of the likeliest; nothing from a model that knows none.
            guess = max(probabilities, key=probabilities.__getitem__) if probabilities else None
            loss = -math.log(max(probabilities.get(truth, 0.0), _PROBABILITY_MIN))
            self._pairs[truth, guess] += 1
            self._log_loss += loss
            self._recent.append((truth, guess, loss))
            if self._last is not None:
                self._n_no_change += truth == self._last
                self._n_majority += truth == max(self._n_of, key=self._n_of.__getitem__)
            self._n_of[truth] += 1
            self._last = truth
            self.n += 1

    def total(self, threshold: float) -> MetricValues:
        if not self.n:
            return {}
        return _label_metrics(self._pairs) | {"log_loss": self._log_loss / self.n}

    def rolling(self, threshold: float) -> MetricValues:
        if not self._recent:
            return {}
        pairs = Counter((truth, guess) for truth, guess, _ in self._recent)
        loss = math.fsum(loss for *_, loss in self._recent) / len(self._recent)
        return _label_metrics(pairs) | {"log_loss": loss}

    def baselines(self) -> MetricValues:
        if self.n <= 1:
            return {}
        return {
            "no_change_accuracy": self._n_no_change / (self.n - 1),
            "majority_accuracy": self._n_majority / (self.n - 1),
        } | _rolling_label_baselines([truth for truth, *_ in self._recent])


class _RegressionLedger:
    def __init__(self, task: Task, rolling_n: int) -> None:
        self.n = 0
        self._absolute = self._squared = 0.0
        # Moments of the truths about the first of them: about zero, a large mean would drown
        # their variance in rounding.
        self._origin = self._last = 0.0
        self._moment_1 = self._moment_2 = 0.0
        self._baseline_sums = dict.fromkeys(_REGRESSION_BASELINES, 0.0)
        self._recent_truths: deque[float] = deque(maxlen=rolling_n)
        self._recent_scores: deque[float] = deque(maxlen=rolling_n)

    def add(self, truths: list[Truth], scores: list[Score], threshold: float) -> None:
        truth = np.array(truths, dtype=np.float64)
        error = np.array(scores, dtype=np.float64) - truth
        if self.n == 0:
            self._origin = float(truth[0])
        centred = truth - self._origin
        self._add_baselines(truth, centred)
        self._absolute = _carry_on(self._absolute, np.abs(error))
        self._squared = _carry_on(self._squared, error**2)
        self._moment_1 = _carry_on(self._moment_1, centred)
        self._moment_2 = _carry_on(self._moment_2, centred**2)
        self.n += len(truth)
        self._last = float(truth[-1])
        self._recent_truths.extend(cast(list[float], truths))
        self._recent_scores.extend(cast(list[float], scores))

    def _add_baselines(self, truth: Floats, centred: Floats) -> None:
        no_change = truth - np.concatenate(([self._last], truth[:-1]))
        sum_before = np.add.accumulate(np.concatenate(([self._moment_1], centred)))[:-1]
        mean = centred - sum_before / np.maximum(self.n + np.arange(len(truth)), 1)
        first = 1 if self.n == 0 else 0
        for name, error in (("no_change", no_change[first:]), ("mean", mean[first:])):
            for suffix, losses in (("mae", np.abs(error)), ("rmse", error**2)):
                key = f"{name}_{suffix}"
                self._baseline_sums[key] = _carry_on(self._baseline_sums[key], losses)

    def total(self, threshold: float) -> MetricValues:
        if not self.n:
            return {}
        spread = self._moment_2 - self._moment_1**2 / self.n
        return _error_metrics(self.n, self._absolute, self._squared, spread)

    def rolling(self, threshold: float) -> MetricValues:
        truth = np.array(self._recent_truths, dtype=np.float64)
        if not len(truth):
            return {}
        error = np.array(self._recent_scores, dtype=np.float64) - truth
        spread = math.fsum((truth - math.fsum(truth) / len(truth)) ** 2)
        return _error_metrics(len(truth), math.fsum(np.abs(error)), math.fsum(error**2), spread)

    def baselines(self) -> MetricValues:
        if self.n <= 1:
            return {}
        values = _means(self._baseline_sums, self.n - 1)
        truth = np.array(self._recent_truths, dtype=np.float64)
        if len(truth) > 1:
            error = np.diff(truth)
            sums = {
                "rolling_no_change_mae": math.fsum(np.abs(error)),
                "rolling_no_change_rmse": math.fsum(error**2),
            }
            values |= _means(sums, len(error))
        return values


_REGRESSION_BASELINES = ("no_change_mae", "no_change_rmse", "mean_mae", "mean_rmse")
_LEDGERS: dict[Task, type[_BinaryLedger | _MulticlassLedger | _RegressionLedger]] = {
    Task.BINARY: _BinaryLedger,
    Task.ANOMALY: _BinaryLedger,
    Task.MULTICLASS: _MulticlassLedger,
    Task.REGRESSION: _RegressionLedger,
}


def _carry_on(total: float, losses: Floats) -> float:
    # One addition after the other, from the running total: what a loop would give, bit for bit.
    return float(np.add.accumulate(np.concatenate(([total], losses)))[-1])


def _log_losses(truth: Flags, score: Floats) -> Floats:
    # `math.log` and not `numpy.log`, whose vector lanes need not round as its remainder loop does.
    likelihood = np.maximum(np.where(truth, score, 1.0 - score), _PROBABILITY_MIN)
    return -np.array(list(map(math.log, likelihood.tolist())))


def _confusion(truth: Flags, decision: Flags) -> tuple[int, int, int, int]:
    n_true_positive = int(np.count_nonzero(truth & decision))
    n_truth, n_decision = int(np.count_nonzero(truth)), int(np.count_nonzero(decision))
    n_false_positive, n_false_negative = n_decision - n_true_positive, n_truth - n_true_positive
    n_true_negative = len(truth) - n_true_positive - n_false_positive - n_false_negative
    return n_true_positive, n_false_positive, n_false_negative, n_true_negative


def _decision_metrics(confusion: tuple[int, int, int, int]) -> MetricValues:
    # Precision without an alarm and recall without a positive are 0, as in River.
    n_true_positive, n_false_positive, n_false_negative, n_true_negative = confusion
    n = sum(confusion)
    if not n:
        return {}
    n_wrong = n_false_positive + n_false_negative
    return {
        "accuracy": (n_true_positive + n_true_negative) / n,
        "precision": _ratio(n_true_positive, n_true_positive + n_false_positive),
        "recall": _ratio(n_true_positive, n_true_positive + n_false_negative),
        "f1": _ratio(2 * n_true_positive, 2 * n_true_positive + n_wrong),
        "positive_rate": (n_true_positive + n_false_negative) / n,
    }


def _label_metrics(pairs: Counter[tuple[str, str | None]]) -> MetricValues:
    n_right: Counter[str] = Counter()
    n_named: Counter[str] = Counter()
    for (truth, guess), count in pairs.items():
        n_named[truth] += count
        if guess is not None:
            n_named[guess] += count
        if guess == truth:
            n_right[truth] += count
    f1 = math.fsum(2 * n_right[label] / n_named[label] for label in n_named) / len(n_named)
    return {"accuracy": sum(n_right.values()) / sum(pairs.values()), "macro_f1": f1}


def _error_metrics(n: int, absolute: float, squared: float, spread: float) -> MetricValues:
    values = {"mae": absolute / n, "rmse": math.sqrt(squared / n)}
    return values | _present("r2", 1.0 - squared / spread if spread > 0.0 else None)


def _rolling_label_baselines(truths: Sequence[Truth]) -> MetricValues:
    # Of the window alone: repeat its previous label; always say its most frequent one.
    if len(truths) <= 1:
        return {}
    n_same = sum(a == b for a, b in pairwise(truths))
    return {
        "rolling_no_change_accuracy": n_same / (len(truths) - 1),
        "rolling_majority_accuracy": max(Counter(truths).values()) / len(truths),
    }


def _no_skill(positive_rate: float) -> MetricValues:
    # Of a score that is the positive rate, whatever the event.
    return {
        "no_skill_pr_auc": positive_rate,
        "no_skill_roc_auc": 0.5,
        "no_skill_brier": positive_rate * (1.0 - positive_rate),
    }


def _means(sums: Mapping[str, float], n: int) -> MetricValues:
    means = ((name, total / n) for name, total in sums.items())
    return {name: math.sqrt(mean) if name.endswith("rmse") else mean for name, mean in means}


def _present(name: str, value: float | None) -> MetricValues:
    return {} if value is None else {name: value}


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
