"""River's Hoeffding trees, compiled; the forest is in `models.compiled.forest`.

They predict what River's predict, count the same nodes, warnings and drifts, and draw the same
random numbers from the same seed. What differs, on purpose:

- Learning refuses what would ruin the state (numbers that are not finite, or from 1e15 on; None;
  text where a number was, and the reverse; labels of two kinds) and then has changed nothing.
- Predicting never changes a model. In River it plants an untrained forest, and asks observers of
  nominal features about classes, which may change the order of later sums. A tree of naive Bayes
  leaves is taken to have scored each event before it learns it, as in test-then-train.
- `max_size` is a bound of what a tree takes, kept at every event; River looks at every
  `memory_estimate_period`th unit of weight, if it is hit exactly. Until the bound is reached it has
  no effect. From then on the leaves that promise least forget what they know of features, until a
  fifth of the bound is free; a leaf that was put to sleep wakes at a later split if there is room.
  Splits and the weights of classes stay, so when they alone fill the bound the tree stops growing.
  Names of categories may take half as much again; beyond it, new categories count as missing.
- Splits on one category of text are tried in sorted order, not in that of the process's hashes.
- Where River would divide by zero (Hellinger, without weight in a class), a split has no merit.
- Sums are those of Python 3.11; later ones add floats more exactly, and differ in the last bit.
- Only `GaussianSplitter`, `ADWIN` (or `NoDrift`, for a forest) and `Accuracy` are compiled; others
  are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from river import base
from river.tree.splitter import GaussianSplitter, Splitter

from models.compiled import tree_dumps
from models.compiled._native import TreeKernel
from models.compiled.arrays import rows_of
from models.compiled.dumps import DumpReader, DumpWriter
from models.compiled.tree_models import SingleTree, Trees


class ClassifierTrees(Trees, base.Classifier):
    """What all that predict classes have in common."""

    _classes: Any

    @property
    def classes(self) -> tuple[Any, ...]:
        """The classes seen so far, sorted: the columns of `predict_proba_many`."""
        found: tuple[Any, ...] = self._classes()
        return found

    def predict_proba_many(
        self, X: ArrayLike, names: Sequence[str | int] | None = None
    ) -> NDArray[np.float64]:
        """Predict the probability of each of `classes` for each row of an array."""
        return self._run(X, None, None, names, True)

    @property
    def _multiclass(self) -> bool:
        return True

    def _run(self, X: Any, y: Any, w: Any, names: Any, predicts: bool) -> NDArray[np.float64]:
        rows = rows_of(X)
        said = super()._run(rows, y, w, names, predicts)
        return said.reshape(len(rows), len(self.classes)) if predicts else said


class HoeffdingTreeClassifier(TreeKernel, SingleTree, ClassifierTrees):  # type: ignore[misc]
    """River's `tree.HoeffdingTreeClassifier`, compiled; parameters and defaults are River's.

    Examples
    --------
    >>> from river.datasets import synth
    >>> model = HoeffdingTreeClassifier(grace_period=100, delta=1e-5)
    >>> n_right = 0
    >>> for x, y in synth.Agrawal(seed=42).take(1_000):
    ...     n_right += model.predict_one(x) == y
    ...     model.learn_one(x, y)
    >>> n_right, model.n_nodes
    (876, 5)
    """

    _KIND = "HoeffdingTreeClassifier"

    def __init__(
        self,
        grace_period: int = 200,
        max_depth: int | None = None,
        split_criterion: str = "info_gain",
        delta: float = 1e-7,
        tau: float = 0.05,
        leaf_prediction: str = "nba",
        nb_threshold: int = 0,
        nominal_attributes: list[Any] | None = None,
        splitter: Splitter | None = None,
        binary_split: bool = False,
        min_branch_fraction: float = 0.01,
        max_share_to_split: float = 0.99,
        max_size: float = 100.0,
        memory_estimate_period: int = 1000000,
        stop_mem_management: bool = False,
        remove_poor_attrs: bool = False,
        merit_preprune: bool = True,
    ) -> None:
        self._begin(locals(), splitter=GaussianSplitter)

    def _write_parameters(self, writer: DumpWriter) -> None:
        tree_dumps.write_parameters(writer, self)
        tree_dumps.write_detector(writer, None)
        tree_dumps.write_names(writer, self.nominal_attributes)

    def _write_empty(self, writer: DumpWriter) -> None:
        tree_dumps.write_empty_tree(writer)

    @classmethod
    def _parameters_of(cls, reader: DumpReader) -> dict[str, Any]:
        found = tree_dumps.read_parameters(reader)
        tree_dumps.read_detector(reader)
        del found["seed"]
        return {**found, "nominal_attributes": tree_dumps.read_names(reader)}
