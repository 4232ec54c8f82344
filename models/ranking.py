"""How well scores rank positives above negatives: exact for a window, bounded memory for ever.

Both figures need only how many positives and negatives share each score, in the order of the
scores. For a window those groups are its distinct scores, and the figures are exact. For all time
they are the bins of a histogram, and pairs inside one bin count as ties; `ScoreHistogram` reports
how much that can matter at most.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

# Bins are cut on the bits of a float64, so they are fine where probabilities are small: 64 bins
# to each halving of p down to 2**-32, which makes a bin at most 1/64 of p wide. Above a half the
# bins mirror those of 1-p (an exact subtraction there). Integer arithmetic only: the same bin
# on every machine, in every batch.
_BINS_PER_OCTAVE_BITS = 6
_OCTAVES = 32
_BINS_PER_SIDE = _OCTAVES << _BINS_PER_OCTAVE_BITS
_HALF = 0.5
N_BINS = 2 * _BINS_PER_SIDE
_SHIFT = 52 - _BINS_PER_OCTAVE_BITS
_LOWEST = ((1023 - 1 - _OCTAVES) << _BINS_PER_OCTAVE_BITS) - 1


def bins_of(scores: Floats) -> Integers:
    """Return the histogram bin of each score in [0, 1]; never falls as the score rises.

    Examples
    --------
    >>> bins_of(np.array([0.0, 1e-12, 0.25, 0.5, 0.75, 1.0])).tolist()
    [0, 0, 1985, 2048, 2110, 4095]
    """
    low = scores < _HALF
    tail = np.where(low, scores, 1.0 - scores)
    side = np.clip((tail.view(np.int64) >> _SHIFT) - _LOWEST, 0, _BINS_PER_SIDE - 1)
    bins: Integers = np.where(low, side, N_BINS - 1 - side)
    return bins


def lower_edge(bin_: int) -> float:
    """Give the lowest score of a histogram bin.

    Examples
    --------
    >>> [lower_edge(bin_) for bin_ in (0, 1985, 2048)]
    [0.0, 0.25, 0.5]
    >>> edges = np.array([lower_edge(bin_) for bin_ in range(N_BINS)])
    >>> bool((bins_of(edges) == np.arange(N_BINS)).all())
    True
    """
    if bin_ == 0:
        return 0.0
    if bin_ < _BINS_PER_SIDE:
        bits = np.array([(bin_ + _LOWEST) << _SHIFT], dtype=np.int64)
        return float(bits.view(np.float64)[0])
    # The mirror of a bin's largest tail: the next bin's edge, without that edge itself.
    side = N_BINS - bin_
    tail = _HALF if side == _BINS_PER_SIDE else lower_edge(side)
    return float(np.nextafter(1.0 - tail, 1.0)) if side < _BINS_PER_SIDE else tail


def roc_auc(positives: Integers, negatives: Integers) -> float | None:
    """Return the area under the ROC curve from counts per group, in rising order of score.

    A tie counts a half (Mann-Whitney). None until both classes were seen.

    Examples
    --------
    >>> roc_auc(np.array([0, 1, 1]), np.array([1, 1, 0]))
    0.875
    """
    pairs = int(positives.sum()) * int(negatives.sum())
    if pairs == 0:
        return None
    negatives_below = np.cumsum(negatives) - negatives
    twice_won = int((positives * (2 * negatives_below + negatives)).sum())
    return twice_won / (2 * pairs)


def average_precision(positives: Integers, negatives: Integers) -> float | None:
    """Return the area under the precision-recall steps; None until there is a positive.

    Examples
    --------
    >>> average_precision(np.array([0, 1, 0, 1]), np.array([1, 0, 1, 0]))
    0.8333333333333333
    """
    n_positives = int(positives.sum())
    if n_positives == 0:
        return None
    found, seen = _cumulate_from_top(positives, negatives)
    some = positives[::-1] > 0
    return float((positives[::-1][some] * (found[some] / seen[some])).sum() / n_positives)


def groups_of(truths: Flags, scores: Floats) -> tuple[Integers, Integers]:
    """Count positives and negatives at each distinct score, in rising order of score."""
    distinct, group = np.unique(scores, return_inverse=True)
    positives = np.bincount(group[truths], minlength=len(distinct))
    negatives = np.bincount(group[~truths], minlength=len(distinct))
    return positives, negatives


class ScoreHistogram:
    """Counts of positives and negatives per score bin, over all time.

    The ROC area is off by at most half of the share of (positive, negative) pairs that fall into
    one bin. `roc_auc_error_max` says how much that is for the data seen, `pr_auc_error_max` the
    same for the average precision.

    Examples
    --------
    >>> histogram = ScoreHistogram()
    >>> histogram.add(np.array([True, False, True]), np.array([0.9, 0.2, 0.1]))
    >>> histogram.roc_auc(), histogram.roc_auc_error_max()
    (0.5, 0.0)
    """

    def __init__(self) -> None:
        self._positives: Integers = np.zeros(N_BINS, np.int64)
        self._negatives: Integers = np.zeros(N_BINS, np.int64)

    def add(self, truths: Flags, scores: Floats) -> None:
        """Count one batch; integer counts, so the batching cannot matter."""
        bins = bins_of(scores)
        self._positives += np.bincount(bins[truths], minlength=N_BINS)
        self._negatives += np.bincount(bins[~truths], minlength=N_BINS)

    def roc_auc(self) -> float | None:
        """Return the ROC area to within `roc_auc_error_max`."""
        return roc_auc(self._positives, self._negatives)

    def pr_auc(self) -> float | None:
        """Return the average precision to within `pr_auc_error_max`."""
        return average_precision(self._positives, self._negatives)

    def roc_auc_error_max(self) -> float:
        """Return the largest possible distance from the exact ROC area."""
        pairs = int(self._positives.sum()) * int(self._negatives.sum())
        return int((self._positives * self._negatives).sum()) / (2 * pairs) if pairs else 0.0

    def pr_auc_error_max(self) -> float:
        """Return the largest possible distance from the exact average precision.

        Within a bin no order is known: the precision at a positive is least when it comes first
        after all of the bin's negatives, and greatest when it comes last before any of them.
        """
        n_positives = int(self._positives.sum())
        if n_positives == 0:
            return 0.0
        positives, negatives = self._positives[::-1], self._negatives[::-1]
        found, seen = _cumulate_from_top(self._positives, self._negatives)
        some = positives > 0
        best = found[some] / (seen - negatives)[some]
        worst = (found - positives + 1)[some] / (seen - positives + 1)[some]
        return float((positives[some] * (best - worst)).sum() / n_positives)

    def __getstate__(self) -> dict[str, tuple[Integers, Integers]]:
        # Most bins of most models stay empty: 64 kB of zeros would dwarf a linear model.
        return {
            name: (np.flatnonzero(counts), counts[counts > 0])
            for name, counts in (("positives", self._positives), ("negatives", self._negatives))
        }

    def __setstate__(self, state: dict[str, tuple[Integers, Integers]]) -> None:
        self.__init__()  # type: ignore[misc]
        for counts, name in ((self._positives, "positives"), (self._negatives, "negatives")):
            bins, values = state[name]
            counts[bins] = values


def _cumulate_from_top(positives: Integers, negatives: Integers) -> tuple[Integers, Integers]:
    found = np.cumsum(positives[::-1])
    return found, found + np.cumsum(negatives[::-1])
