"""River's half-space trees, compiled: anomaly scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from river import base

from models.compiled import tree_dumps
from models.compiled._native import HalfSpaceKernel
from models.compiled.arrays import names_of, rows_of
from models.compiled.dumped import Dumped
from models.compiled.dumps import DumpReader, DumpWriter

_KIND = "HalfSpaceTrees"
_HEIGHT_MAX, _LEAVES_MAX, _WINDOW_MAX = 20, 2**24, 2**27
_NUMBER_MAX = 1e15
_RULES = "iii"


class HalfSpaceTrees(HalfSpaceKernel, Dumped, base.AnomalyDetector):
    """River's `anomaly.HalfSpaceTrees`, compiled, with River's scores to the last bit.

    Numbers that are not finite or beyond 1e15, and anything else that is no number, are refused
    before anything changes; scoring takes NaN for missing, since a scaler gives it for a feature
    that it has not learned. A dump holds the counts of the leaves and the generator that the trees
    were drawn from: the trees are drawn again.

    Examples
    --------
    >>> model = HalfSpaceTrees(n_trees=5, height=3, window_size=3, seed=42)
    >>> for x in [0.5, 0.45, 0.43, 0.5, 0.45, 0.43]:
    ...     model.learn_one({"x": x})
    >>> round(model.score_one({"x": 0.44}), 3), round(model.score_one({"x": 0.0}), 3)
    (0.107, 0.853)
    """

    def __init__(
        self,
        n_trees: int = 10,
        height: int = 8,
        window_size: int = 250,
        limits: Mapping[Any, tuple[float, float]] | None = None,
        seed: int | None = None,
    ) -> None:
        self.n_trees = n_trees
        self.height = height
        self.window_size = window_size
        self.limits = dict(limits or {})
        self.seed = seed
        self._restore(self._fresh_dump())

    @property
    def memory_bytes(self) -> int:
        """What the model takes; all of it from the first event on."""
        return int(self._memory())

    def learn_many(self, X: ArrayLike, names: Sequence[str | int] | None = None) -> None:
        """Learn the rows of an array, exactly as one after the other; all of them, or none."""
        rows = rows_of(X)
        self._run_array(rows, names_of(names, rows), True, None)

    def score_many(
        self, X: ArrayLike, names: Sequence[str | int] | None = None
    ) -> NDArray[np.float64]:
        """Score each row of an array."""
        rows = rows_of(X)
        out = np.empty(len(rows))
        self._run_array(rows, names_of(names, rows), False, out)
        return out

    def test_then_train_many(
        self, X: ArrayLike, names: Sequence[str | int] | None = None
    ) -> NDArray[np.float64]:
        """Score each row, and learn it before the next is scored."""
        rows = rows_of(X)
        out = np.empty(len(rows))
        self._run_array(rows, names_of(names, rows), True, out)
        return out

    def __setstate__(self, dump: bytes) -> None:
        self._restore(dump)
        reader = DumpReader(dump, _KIND)
        self.n_trees, self.height, self.window_size = map(int, reader.unpack(_RULES))
        self.seed = tree_dumps.read_seed(reader)
        tree_dumps.read_generator(reader)
        names = reader.names()
        self.limits = {name: (low, high) for name in names for low, high in [reader.unpack("dd")]}

    def _fresh_dump(self) -> bytes:
        if self.n_trees < 1 or self.window_size < 1 or not 0 <= self.height <= _HEIGHT_MAX:
            raise ValueError(
                f"one tree and a window of one event at least, height 0 to {_HEIGHT_MAX}"
            )
        if self.n_trees << self.height > _LEAVES_MAX or self.window_size > _WINDOW_MAX:
            raise ValueError(f"at most {_LEAVES_MAX:,} leaves, and {_WINDOW_MAX:,} events a window")
        writer = DumpWriter(_KIND)
        writer.pack(_RULES, self.n_trees, self.height, self.window_size)
        tree_dumps.write_seed(writer, self.seed)
        tree_dumps.write_generator(writer, self.seed)
        writer.names(list(self.limits))
        for name, (low, high) in self.limits.items():
            if not -_NUMBER_MAX <= low <= high <= _NUMBER_MAX or math.isnan(low):
                raise ValueError(f"the limits of {name!r} are no range of numbers: {(low, high)}")
            writer.pack("dd", low, high)
        writer.names([])
        return writer.finish()
