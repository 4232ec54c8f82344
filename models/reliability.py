"""Whether scores are probabilities: of those that say 0.2, one in five has to be true."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

_N_GROUPS = 15


def calibration_error(scores: Floats, positives: Integers, counts: Integers) -> float | None:
    """Give the expected calibration error: how far scores are from the rates of positives.

    Scores are grouped into fifteen groups of about equal size and not of equal width, since of a
    rare class nearly all are small (as Nixon et al., "Measuring calibration in deep learning",
    2019). `scores` rise; each stands for `counts` examples. None without any.

    Examples
    --------
    >>> scores, ones = np.array([0.2, 0.2, 0.2, 0.2, 0.2]), np.ones(5, np.int64)
    >>> calibration_error(scores, np.array([0, 0, 0, 0, 1]), ones)
    0.32
    >>> calibration_error(scores[:1], np.array([1]), np.array([5]))
    0.0
    """
    total = int(counts.sum())
    if not total:
        return None
    before = np.cumsum(counts) - counts
    groups = np.minimum((2 * before + counts) * _N_GROUPS // (2 * total), _N_GROUPS - 1)
    said = np.bincount(groups, weights=scores * counts, minlength=_N_GROUPS)
    true = np.bincount(groups, weights=positives, minlength=_N_GROUPS)
    return float(np.abs(said - true).sum() / total)


def calibration_error_of(truths: NDArray[np.bool_], scores: Floats) -> float | None:
    """Give the expected calibration error of a window of scores."""
    # Equal scores stay together: which of them are true is not for the score to know.
    distinct, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    positives = np.bincount(place[truths], minlength=len(distinct))
    return calibration_error(distinct, positives, counts)
