"""Arrays as the kernels take them: contiguous, of one type, checked."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def rows_of(X: ArrayLike) -> NDArray[np.float64]:
    """Lay rows out as the kernels read them."""
    return np.ascontiguousarray(X, dtype=np.float64)


def names_of(names: Sequence[str | int] | None, rows: NDArray[np.float64]) -> tuple[Any, ...]:
    """Name the columns: as given, or 0, 1, 2 and so on, as River's `iter_array` does.

    Kernels remember the slots of a tuple that they have seen before, so pass the same one again.
    """
    return _numbered(rows.shape[1]) if names is None else tuple(names)


@functools.lru_cache(maxsize=64)
def _numbered(n: int) -> tuple[int, ...]:
    return tuple(range(n))


def binary_labels_of(y: ArrayLike) -> NDArray[np.uint8]:
    """Lay binary labels out.

    Raises
    ------
    ValueError
        When one is neither true nor false.
    """
    given = np.asarray(y)
    if given.dtype == np.bool_:
        return np.ascontiguousarray(given).view(np.uint8)
    # Element by element: an array of numbers may hold labels, too.
    labels = np.ascontiguousarray(given == True, dtype=np.uint8)  # noqa: E712
    if not np.array_equal(labels, given):
        raise ValueError("the labels must be True and False")
    return labels


def weights_of(w: ArrayLike | None) -> NDArray[np.float64] | None:
    """Lay weights out; None stays, and stands for 1.0 each.

    Raises
    ------
    ValueError
        When one is not finite.
    """
    if w is None:
        return None
    weights = np.ascontiguousarray(w, dtype=np.float64)
    if not np.isfinite(weights).all():
        raise ValueError("weights must be finite")
    return weights
