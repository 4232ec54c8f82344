"""River's `GaussianNB`, compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from river import base, naive_bayes, stats

from models.compiled._native import NaiveBayesKernel
from models.compiled.arrays import names_of, rows_of
from models.compiled.dumped import Dumped
from models.compiled.dumps import DumpReader, DumpWriter

_KIND = "GaussianNB"


class GaussianNB(NaiveBayesKernel, Dumped, base.Classifier):  # type: ignore[misc]
    """Gaussian naive Bayes with River's predictions, to about one part in 10**15.

    Not to the last bit: River sums with SciPy's `logsumexp`, whose exponential depends on the
    processor. Labels are str, int or bool; learning refuses others, and numbers that are not
    finite or beyond 1e15, and then has changed nothing.

    Examples
    --------
    >>> model = GaussianNB()
    >>> for height, kind in [(1.1, "child"), (1.8, "adult"), (1.2, "child"), (1.7, "adult")]:
    ...     model.learn_one({"height": height}, kind)
    >>> model.predict_one({"height": 1.75}), model.classes
    ('adult', ['child', 'adult'])
    """

    @classmethod
    def from_river(cls, river: naive_bayes.GaussianNB) -> Self:
        """Go on where River's stands; that one is left as it is.

        Raises
        ------
        ValueError
            When it is not River's, or has seen classes or features that are not str, int or bool.
        """
        if type(river) is not naive_bayes.GaussianNB:
            raise ValueError(f"not River's GaussianNB: {river}")
        classes = list(river.class_counts)
        features = list(dict.fromkeys(name for c in classes for name in river.gaussians.get(c, ())))
        if not all(isinstance(name, str | int) for name in (*classes, *features)):
            raise ValueError("classes and features must be str, int or bool")
        writer = DumpWriter(_KIND)
        writer.names(features)
        writer.names(classes)
        for c in classes:
            writer.pack("q", river.class_counts[c])
            of_class: dict[Any, Any] = river.gaussians.get(c, {})
            for name in features:
                variance = of_class[name]._var if name in of_class else stats.Var(ddof=0)
                writer.floats((variance.mean.n, variance.mean._mean, variance._S))
        return cls.load(writer.finish())

    def to_river(self) -> naive_bayes.GaussianNB:
        """Build River's model that stands where this one does."""
        reader = DumpReader(self.dump(), _KIND)
        features, classes = reader.names(), reader.names()
        river: Any = naive_bayes.GaussianNB()
        for c in classes:
            river.class_counts[c] = int(reader.unpack("q")[0])
            for name in features:
                n, mean, sum_of_squares = reader.floats(3)
                if n:
                    variance = river.gaussians[c][name]._var
                    variance.mean.n, variance.mean._mean = n, mean
                    variance._S = sum_of_squares
        found: naive_bayes.GaussianNB = river
        return found

    @property
    def _multiclass(self) -> bool:
        return True

    @property
    def memory_bytes(self) -> int:
        """What the model takes, without the Python objects of its names."""
        return int(self._memory())

    def learn_many(
        self, X: ArrayLike, y: ArrayLike, names: Sequence[str | int] | None = None
    ) -> None:
        """Learn the rows of an array, exactly as one after the other; all of them, or none.

        Columns are features: `names`, or 0, 1, 2 and so on, as in River's `iter_array`.
        """
        rows = rows_of(X)
        columns = names_of(names, rows)
        self.learn_dicts(
            [dict(zip(columns, row, strict=True)) for row in rows.tolist()], np.asarray(y).tolist()
        )

    def predict_proba_many(
        self, X: ArrayLike, names: Sequence[str | int] | None = None
    ) -> NDArray[np.float64]:
        """Predict the probability of each of `classes` for each row of an array."""
        rows = rows_of(X)
        out = np.empty((len(rows), len(self.classes)))
        self._predict_array(rows, names_of(names, rows), out)
        return out
