"""Three clocks: how good the model was, how good it probably is, and how much is known by now.

Labels come late, and not at random: frauds are reported, honest payments hardly ever. A metric of
what is labelled says how good the model was on what is labelled. So beside it stand an estimate for
the events that still wait, made of their scores alone, and the share of events that are labelled,
by age: where that is low, the matured figure is one of early labels.

The estimate is confidence-based performance estimation (CBPE, as in NannyML): if scores are
probabilities, an event that scores p is a positive with probability p, so the expected confusion
matrix of events without labels is a sum of their scores. It holds as far as the scores are
calibrated, and as long as what a score means has not changed: concept drift it can't see. Scores
are calibrated here by the cohorts that are labelled nearly whole, for which early labels are no
bias; where there are none yet, they are taken at their word, and the estimate says so.

Why cohorts and not events: the scores of an age fit into one small histogram, so memory grows with
the logarithm of the time that labels may take, and lanes or files can be counted apart and added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from models.types import MetricValues

Array = npt.NDArray[np.float64]

WIDTH_S = 7.5
"""Width of the youngest cohorts; each level is four times as wide as the one before."""
_FACTOR, _KEPT = 4, 4
_LEVELS = 14
# Bounds of the scores' bins, even in log-odds: where scores crowd, near 0 and 1, bins are narrow.
_BOUNDS = 1.0 / (1.0 + np.exp(-np.linspace(-8.0, 8.0, 32)))
_BINS = len(_BOUNDS) + 1
_N, _SCORES, _POSITIVES = range(3)
# Of a cohort that counts as known: fewer labels may be those that come early.
_KNOWN_SHARE = 0.95
_CALIBRATED_FROM = 500


class Coverage(msgspec.Struct, frozen=True):
    """Events between two ages in seconds, and how many of them are labelled."""

    younger_than: float
    n: int
    n_labelled: int

    @property
    def share(self) -> float:
        """The share that is labelled."""
        return self.n_labelled / self.n if self.n else 0.0


class Estimate(msgspec.Struct, frozen=True):
    """What the model probably does on the events that still wait for their labels.

    `n_calibrated` labels of known cohorts say what a score means; 0: scores are taken as they are.
    """

    n: int
    n_calibrated: int
    metrics: MetricValues


class Cohorts:
    """Scored events by age: their number, their scores, and of labelled ones the truths.

    Examples
    --------
    >>> cohorts = Cohorts()
    >>> cohorts.add([0.0, 1.0, 900.0], scores=[0.1, 0.9, 0.2], alerts=[False, True, False])
    >>> cohorts.advance(1_000.0)
    >>> [int(counts.sum()) for counts in cohorts.by_age(_N).values()]
    [2, 1]
    """

    def __init__(self) -> None:
        # Level and index to (what, alert, bin).
        self._slots: dict[tuple[int, int], Array] = {}
        self.mark = -np.inf

    def add(
        self,
        times: Sequence[float],
        scores: Sequence[float],
        alerts: Sequence[bool],
        truths: Sequence[bool] | None = None,
    ) -> None:
        """Count events; of labelled ones with their truths."""
        if not times:
            return
        p = np.asarray(scores, dtype=np.float64)
        places = np.asarray(alerts, dtype=np.int64) * _BINS + np.searchsorted(_BOUNDS, p)
        slots = np.floor_divide(np.asarray(times, dtype=np.float64), WIDTH_S).astype(np.int64)
        indices, which = np.unique(slots, return_inverse=True)
        places += which * 2 * _BINS
        shape, size = (len(indices), 2 * _BINS), len(indices) * 2 * _BINS
        counts = np.zeros((3, *shape))
        counts[_N] = np.bincount(places, minlength=size).reshape(shape)
        counts[_SCORES] = np.bincount(places, p, minlength=size).reshape(shape)
        if truths is not None:
            positive = np.asarray(truths, dtype=np.float64)
            counts[_POSITIVES] = np.bincount(places, positive, minlength=size).reshape(shape)
        for n, index in enumerate(indices.tolist()):
            self._slot(0, index)[:] += counts[:, n]

    def advance(self, mark: float) -> None:
        """Let it be later: what grows old is merged. Two that stand at one mark can be compared."""
        self.mark = max(self.mark, mark)
        for level in range(_LEVELS - 1):
            width = WIDTH_S * _FACTOR**level
            for at in [place for place in self._slots if place[0] == level]:
                parent = at[1] // _FACTOR
                if (parent + 1) * _FACTOR * width <= self.mark - _KEPT * width:
                    self._slot(level + 1, parent)[:] += self._slots.pop(at)

    def forget(self, before: float) -> None:
        """Drop cohorts that end before that time."""
        for level, index in list(self._slots):
            if (index + 1) * WIDTH_S * _FACTOR**level <= before:
                del self._slots[level, index]

    @property
    def slots(self) -> Mapping[tuple[int, int], Array]:
        """The cohorts by level and index."""
        return self._slots

    def by_age(self, what: int) -> dict[int, Array]:
        """Add up the cohorts of each level, the oldest first."""
        found: dict[int, Array] = {}
        for (level, _), slot in sorted(self._slots.items(), reverse=True):
            found[level] = found.get(level, 0.0) + slot[what]
        return found

    def _slot(self, level: int, index: int) -> Array:
        if (level, index) not in self._slots:
            self._slots[level, index] = np.zeros((3, 2 * _BINS))
        return self._slots[level, index]


def coverage(scored: Cohorts, labelled: Cohorts) -> list[Coverage]:
    """Say how many events are labelled, by age, the youngest first."""
    done = labelled.by_age(_N)
    return [
        Coverage(
            (_KEPT + _FACTOR) * WIDTH_S * _FACTOR**level,
            int(counts.sum()),
            min(int(counts.sum()), int(np.sum(done.get(level, 0.0)))),
        )
        for level, counts in sorted(scored.by_age(_N).items())
    ]


def estimate(scored: Cohorts, labelled: Cohorts) -> Estimate:
    """Estimate the metrics on events without labels from their scores.

    Binary tasks: accuracy, precision, recall and F1 of the decisions as they were published, and
    the area under the ROC curve.
    """
    assert scored.mark == labelled.mark, "cohorts of different ages"
    nothing = np.zeros((3, 2 * _BINS))
    waiting = sum(
        (slot - labelled.slots.get(at, nothing) for at, slot in scored.slots.items()), nothing
    )
    n = np.maximum(waiting[_N], 0.0)
    known = [
        labelled.slots[at]
        for at, slot in scored.slots.items()
        if at in labelled.slots
        and labelled.slots[at][_N].sum() >= _KNOWN_SHARE * slot[_N].sum()
    ]  # fmt: skip
    means = np.divide(waiting[_SCORES], n, out=np.zeros_like(n), where=n > 0)
    p, n_calibrated = _probabilities(np.clip(means, 0.0, 1.0), known)
    return Estimate(int(n.sum()), n_calibrated, _expected(n, p))


def _probabilities(means: Array, known: Iterable[Array]) -> tuple[Array, int]:
    """Say what a score of each bin means, by the cohorts that are known."""
    total = sum(known, np.zeros((3, 2 * _BINS))).reshape(3, 2, _BINS).sum(axis=1)
    n_known = int(total[_N].sum())
    if n_known < _CALIBRATED_FROM:
        return means, 0
    seen = total[_N] > 0
    at = total[_SCORES][seen] / total[_N][seen]
    rates = _isotonic(total[_POSITIVES][seen] / total[_N][seen], total[_N][seen])
    return np.interp(means, at, rates), n_known


def _isotonic(values: Array, weights: Array) -> Array:
    """Fit what never falls, by pooling adjacent violators."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        pool = (value, weight, 1)
        while pools and pools[-1][0] >= pool[0]:
            before = pools.pop()
            both = before[1] + pool[1]
            mean = (before[0] * before[1] + pool[0] * pool[1]) / both
            pool = (mean, both, before[2] + pool[2])
        pools.append(pool)
    return np.repeat([pool[0] for pool in pools], [pool[2] for pool in pools])


def _expected(n: Array, p: Array) -> MetricValues:
    """Compute metrics of the expected confusion matrix; those that are not defined are absent."""
    if not n.sum():
        return {}
    positive, negative = (n * p).reshape(2, _BINS), (n * (1.0 - p)).reshape(2, _BINS)
    missed, caught = positive.sum(axis=1).tolist()
    passed, wrong = negative.sum(axis=1).tolist()
    found = {"accuracy": (caught + passed) / float(n.sum())}
    if caught + wrong > 0:
        found["precision"] = caught / (caught + wrong)
    if caught + missed > 0:
        found["recall"] = caught / (caught + missed)
        found["f1"] = 2 * caught / (2 * caught + wrong + missed)
        if passed + wrong > 0:
            found["roc_auc"] = _auc(positive.sum(axis=0), negative.sum(axis=0))
    return found


def _auc(positive: Array, negative: Array) -> float:
    # Bins rise with the score, and so do the probabilities: within a bin all are ties.
    above = positive.sum() - np.cumsum(positive)
    return float((negative * (above + positive / 2)).sum() / (positive.sum() * negative.sum()))
