"""Decision thresholds: a number, one that follows from costs, or one that keeps a budget of alerts.

Why the budget is held by the fold and not by those who score: so the threshold is a pure function
of the examples log, is the same on every worker, travels in each version, and survives whatever the
learner survives. The price is that it follows the scores of events whose labels have come: what
labels do not cover, or cover late, it does not see.

A budget is one of all alerts that go out. So scores count whoever gave them, the champion or a
challenger with a share of the traffic, and one threshold decides for all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np

from models.ranking import N_BINS, Floats, bins_of, lower_edge
from models.types import Task

# The threshold moves this often in a window: rarely enough that scores in a row share one.
_MOVES_PER_WINDOW = 100
_HOUR_S = 3600.0
# No score is at or above it.
_NEVER = math.nextafter(1.0, 2.0)


class AlertShare(msgspec.Struct, frozen=True, tag_field="rule", tag="share"):
    """At most this share of events alert."""

    share: float
    window_n: int = 50_000

    def __post_init__(self) -> None:
        if not 0.0 < self.share < 1.0:
            raise ValueError(f"a share of {self.share:g} is not between 0 and 1")
        _check_window(self.window_n)


class AlertsAnHour(msgspec.Struct, frozen=True, tag_field="rule", tag="hourly"):
    """At most so many alerts in an hour of event time, on average."""

    per_hour: float
    window_n: int = 50_000

    def __post_init__(self) -> None:
        if not 0.0 < self.per_hour < math.inf:
            raise ValueError(f"{self.per_hour:g} alerts an hour are no budget")
        _check_window(self.window_n)


class ExpectedCost(msgspec.Struct, frozen=True, tag_field="rule", tag="cost"):
    """Alert where silence is expected to cost more than the alert.

    With p the probability of a positive, an alert costs (1 - p) * `false_positive` and silence
    p * `false_negative` on average, so the threshold is their balance (Elkan, "The foundations of
    cost-sensitive learning", IJCAI 2001). It is right as far as scores are probabilities.

    Examples
    --------
    >>> ExpectedCost(false_positive=5.0, false_negative=95.0).threshold
    0.05
    """

    false_positive: float
    false_negative: float

    def __post_init__(self) -> None:
        for cost in (self.false_positive, self.false_negative):
            if not 0.0 < cost < math.inf:
                raise ValueError(f"a cost of {cost:g} is not above 0")

    @property
    def threshold(self) -> float:
        """The probability from which on to alert."""
        return self.false_positive / (self.false_positive + self.false_negative)


Budget: TypeAlias = AlertShare | AlertsAnHour
ThresholdRule: TypeAlias = float | AlertShare | AlertsAnHour | ExpectedCost
"""How the decision threshold comes about; a number is itself."""


def _check_window(window_n: int) -> None:
    if window_n < _MOVES_PER_WINDOW:
        raise ValueError(f"a window of {window_n} scores is below {_MOVES_PER_WINDOW}")


def fixed_threshold(rule: ThresholdRule | None) -> float | None:
    """Give the threshold that a rule fixes; None of a budget, whose threshold moves."""
    if isinstance(rule, ExpectedCost):
        return rule.threshold
    return None if isinstance(rule, AlertShare | AlertsAnHour) else rule


def problem_with(rule: ThresholdRule, task: Task) -> str | None:
    """Say why a rule makes no sense for a task; None if it does."""
    if task not in (Task.BINARY, Task.ANOMALY):
        return f"the task {task} has no alerts"
    if isinstance(rule, ExpectedCost) and task is Task.ANOMALY:
        return "the scores of anomaly detection are no probabilities, which costs could weigh"
    fixed = fixed_threshold(rule)
    if fixed is not None and not 0.0 <= fixed <= 1.0:
        return f"a threshold of {fixed} is not in 0 to 1"
    return None


def describe_rule(rule: ThresholdRule) -> str:
    """Say in words what alerts.

    Examples
    --------
    >>> describe_rule(0.8), describe_rule(AlertShare(0.005))
    ('scores from 0.8 on are alerts', 'at most 0.5 % of events are alerts')
    >>> describe_rule(ExpectedCost(5.0, 95.0))
    'scores from 0.05 on are alerts, by costs of 5 and 95'
    """
    match rule:
        case AlertShare():
            return f"at most {rule.share * 100:g} % of events are alerts"
        case AlertsAnHour():
            return f"at most {rule.per_hour:g} alerts an hour"
        case ExpectedCost():
            costs = f"{rule.false_positive:g} and {rule.false_negative:g}"
            return f"scores from {rule.threshold:g} on are alerts, by costs of {costs}"
    return f"scores from {rule:g} on are alerts"


class BudgetKeeper:
    """Keeps the threshold above which a budgeted share of recent scores lies.

    The scores are counted in a histogram whose bins are narrow relative to the score (as in
    DDSketch: Masson, Rim and Lee, VLDB 2019) and which fades with a window of `window_n` scores.
    The threshold is the lowest edge of a bin with no more than the budget at or above it, so a
    budget is never exceeded by scores like those seen; if the highest score alone is too common,
    nothing alerts. It moves after every hundredth of a window, counted over all examples, so
    batches don't matter.

    Examples
    --------
    >>> keeper = BudgetKeeper(AlertShare(0.1, window_n=100_000))
    >>> keeper.add([i / 1000 for i in range(1000)], [0.0] * 1000, 1000)
    >>> round(keeper.threshold, 2)
    0.9
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.threshold: float | None = None
        self._every_n = budget.window_n // _MOVES_PER_WINDOW
        self._n_since = 0
        self._scores: list[float] = []
        self._counts: Floats = np.zeros(N_BINS)
        self._latest: float | None = None
        self._began: float | None = None
        self._n_events = self._seconds = 0.0

    def parts(self, n: int) -> Iterator[slice]:
        """Cut `n` examples where the threshold moves; `add` each part before the next."""
        start = 0
        while start < n:
            end = min(n, start + self._every_n - self._n_since)
            yield slice(start, end)
            start = end

    def add(self, scores: Sequence[float], event_times: Sequence[float], n: int) -> None:
        """Count the scores that are among a part of `n`; then move the threshold if due."""
        self._scores += scores
        self._n_since += n
        if event_times:
            if self._latest is None:
                self._began = self._latest = min(event_times)
            self._latest = max(self._latest, *event_times)
        if self._n_since == self._every_n:
            self._move()

    def _move(self) -> None:
        keep = 1.0 - 1.0 / _MOVES_PER_WINDOW
        new = np.array(self._scores, dtype=np.float64)
        self._counts = self._counts * keep + np.bincount(bins_of(new), minlength=N_BINS)
        if self._latest is not None and self._began is not None:
            self._seconds = self._seconds * keep + (self._latest - self._began)
        self._n_events = self._n_events * keep + len(new)
        self._began, self._n_since, self._scores = self._latest, 0, []
        share = self._share()
        if share is None or not self._counts.any():
            return
        from_top = np.add.accumulate(self._counts[::-1])
        n_bins = int(np.searchsorted(from_top, share * from_top[-1], side="right"))
        self.threshold = _NEVER if n_bins == 0 else lower_edge(N_BINS - n_bins)

    def _share(self) -> float | None:
        if isinstance(self.budget, AlertShare):
            return self.budget.share
        if not (self._seconds and self._n_events):
            return None
        return min(1.0, self.budget.per_hour / (self._n_events / self._seconds * _HOUR_S))

    def __getstate__(self) -> dict[str, Any]:
        bins = np.flatnonzero(self._counts)
        return {**self.__dict__, "_counts": (bins, self._counts[bins])}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        bins, counts = state["_counts"]
        self._counts = np.zeros(N_BINS)
        self._counts[bins] = counts
