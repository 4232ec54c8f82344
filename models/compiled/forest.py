"""River's adaptive random forest, compiled; see `models.compiled.trees` for what differs."""

from __future__ import annotations

from typing import Any

from river import base, metrics
from river.tree.splitter import GaussianSplitter, Splitter

from models.compiled import tree_dumps
from models.compiled._native import ForestKernel
from models.compiled.dumps import DumpReader, DumpWriter
from models.compiled.tree_models import Forest
from models.compiled.trees import ClassifierTrees


class ARFClassifier(ForestKernel, Forest, ClassifierTrees):  # type: ignore[misc]
    """River's `forest.ARFClassifier`, compiled; parameters and defaults are River's.

    `max_features` stays what was asked for; River overwrites it at the first event.

    Examples
    --------
    >>> from river.datasets import synth
    >>> model = ARFClassifier(seed=8, leaf_prediction="mc")
    >>> n_right = 0
    >>> for x, y in synth.ConceptDriftStream(seed=42, position=500, width=40).take(1_000):
    ...     n_right += model.predict_one(x) == y
    ...     model.learn_one(x, y)
    >>> n_right, model.n_warnings_detected(), model.n_drifts_detected()
    (679, 2, 1)
    """

    _KIND = "ARFClassifier"

    def __init__(
        self,
        n_models: int = 10,
        max_features: bool | str | int | float | None = "sqrt",
        lambda_value: int = 6,
        metric: metrics.base.MultiClassMetric | None = None,
        disable_weighted_vote: bool = False,
        drift_detector: base.DriftDetector | None = None,
        warning_detector: base.DriftDetector | None = None,
        grace_period: int = 50,
        max_depth: int | None = None,
        split_criterion: str = "info_gain",
        delta: float = 0.01,
        tau: float = 0.05,
        leaf_prediction: str = "nba",
        nb_threshold: int = 0,
        nominal_attributes: list[Any] | None = None,
        splitter: Splitter | None = None,
        binary_split: bool = False,
        min_branch_fraction: float = 0.01,
        max_share_to_split: float = 0.99,
        max_size: float = 100.0,
        memory_estimate_period: int = 2_000_000,
        stop_mem_management: bool = False,
        remove_poor_attrs: bool = False,
        merit_preprune: bool = True,
        seed: int | None = None,
    ) -> None:
        self._begin(locals(), metric=metrics.Accuracy)

    def _write_parameters(self, writer: DumpWriter) -> None:
        if type(self.metric) is not metrics.Accuracy:
            raise ValueError(f"the metric must be Accuracy, not {self.metric!r}")
        tree_dumps.write_parameters(writer, self)
        tree_dumps.write_detector(writer, None)
        self._write_rules(writer)
        tree_dumps.write_names(writer, self.nominal_attributes)

    @classmethod
    def _parameters_of(cls, reader: DumpReader) -> dict[str, Any]:
        found = tree_dumps.read_parameters(reader)
        # River's forest leaves the default to its trees.
        if found["splitter"].n_splits == GaussianSplitter().n_splits:
            found["splitter"] = None
        tree_dumps.read_detector(reader)
        return {
            **found,
            **cls._read_rules(reader),
            "metric": metrics.Accuracy(),
            "nominal_attributes": tree_dumps.read_names(reader),
        }
