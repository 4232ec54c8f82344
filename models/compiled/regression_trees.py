"""River's Hoeffding tree for regression, compiled; its forest is in `regression_forest`.

It predicts what River's predicts, to the last bit, and counts the same nodes. What differs is what
differs for classifiers (`models.compiled.trees`): garbage is refused before anything changes, and
`max_size` is a bound that is kept at every event, by having the deepest leaves forget what they
know of features. Besides:

- Targets are finite numbers within 1e15.
- Text is for trees of means: a linear model can't multiply it. River notices that when it has
  learned half of the event.
- Where River would divide by zero (`remove_poor_attrs`, when no split is worth anything), no
  feature is poor.
- Leaf models are `LinearRegression` with SGD at a constant rate, squared loss and no L1; splitters
  are `TEBSTSplitter` and `EBSTSplitter`. Others are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from river import base, linear_model
from river.tree.splitter import Splitter, TEBSTSplitter

from models.compiled import regression_dumps, tree_dumps
from models.compiled._native import RegressionTreeKernel
from models.compiled.dumps import DumpReader, DumpWriter
from models.compiled.tree_models import SingleTree, Trees


class RegressionTrees(Trees, base.Regressor):
    """What all that predict numbers have in common."""

    def predict_many(
        self, X: ArrayLike, names: Sequence[str | int] | None = None
    ) -> NDArray[np.float64]:
        """Predict for each row of an array."""
        return self._run(X, None, None, names, True)


class HoeffdingTreeRegressor(RegressionTreeKernel, SingleTree, RegressionTrees):
    """River's `tree.HoeffdingTreeRegressor`, compiled; parameters and defaults are River's.

    Examples
    --------
    >>> from river.datasets import synth
    >>> model = HoeffdingTreeRegressor(grace_period=100)
    >>> off = 0.0
    >>> for x, y in synth.Friedman(seed=42).take(1_000):
    ...     off += abs(model.predict_one(x) - y)
    ...     model.learn_one(x, y)
    >>> round(off / 1_000, 2), model.n_nodes
    (2.71, 11)
    """

    _KIND = "HoeffdingTreeRegressor"

    def __init__(
        self,
        grace_period: int = 200,
        max_depth: int | None = None,
        delta: float = 1e-7,
        tau: float = 0.05,
        leaf_prediction: str = "adaptive",
        leaf_model: base.Regressor | None = None,
        model_selector_decay: float = 0.95,
        nominal_attributes: list[Any] | None = None,
        splitter: Splitter | None = None,
        min_samples_split: int = 5,
        binary_split: bool = False,
        max_size: float = 500.0,
        memory_estimate_period: int = 1000000,
        stop_mem_management: bool = False,
        remove_poor_attrs: bool = False,
        merit_preprune: bool = True,
    ) -> None:
        self._begin(locals(), leaf_model=linear_model.LinearRegression, splitter=TEBSTSplitter)

    def _write_parameters(self, writer: DumpWriter) -> None:
        regression_dumps.write_parameters(writer, self, self.min_samples_split)
        tree_dumps.write_names(writer, self.nominal_attributes)

    def _write_empty(self, writer: DumpWriter) -> None:
        regression_dumps.write_empty_tree(writer)

    @classmethod
    def _parameters_of(cls, reader: DumpReader) -> dict[str, Any]:
        found = regression_dumps.read_parameters(reader)
        del found["seed"]
        return {**found, "nominal_attributes": tree_dumps.read_names(reader)}
