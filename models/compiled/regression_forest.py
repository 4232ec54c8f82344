"""River's adaptive random forest for regression, compiled; see `regression_trees`."""

from __future__ import annotations

from typing import Any

from river import base, metrics
from river.tree.splitter import Splitter, TEBSTSplitter

from models.compiled import regression_dumps, tree_dumps
from models.compiled._native import RegressionForestKernel
from models.compiled.dumps import DumpReader, DumpWriter
from models.compiled.regression_trees import RegressionTrees
from models.compiled.tree_models import Forest

_AGGREGATIONS = ("mean", "median")
# River's forest does not pass its own on to its trees, so they have the default.
_MIN_SAMPLES_OF_TREES = 5


class ARFRegressor(RegressionForestKernel, Forest, RegressionTrees):
    """River's `forest.ARFRegressor`, compiled; parameters and defaults are River's.

    `max_features` stays what was asked for; River overwrites it at the first event. As in River,
    `min_samples_split` has no effect.

    Examples
    --------
    >>> from river.datasets import synth
    >>> model = ARFRegressor(n_models=3, seed=42)
    >>> off = 0.0
    >>> for x, y in synth.Friedman(seed=42).take(1_000):
    ...     off += abs(model.predict_one(x) - y)
    ...     model.learn_one(x, y)
    >>> round(off / 1_000, 2), model.n_warnings_detected(), model.n_drifts_detected()
    (2.68, 0, 0)
    """

    _KIND = "ARFRegressor"

    def __init__(
        self,
        n_models: int = 10,
        max_features: bool | str | int | float | None = "sqrt",
        aggregation_method: str = "median",
        lambda_value: int = 6,
        metric: metrics.base.RegressionMetric | None = None,
        disable_weighted_vote: bool = True,
        drift_detector: base.DriftDetector | None = None,
        warning_detector: base.DriftDetector | None = None,
        grace_period: int = 50,
        max_depth: int | None = None,
        delta: float = 0.01,
        tau: float = 0.05,
        leaf_prediction: str = "adaptive",
        leaf_model: base.Regressor | None = None,
        model_selector_decay: float = 0.95,
        nominal_attributes: list[Any] | None = None,
        splitter: Splitter | None = None,
        min_samples_split: int = 5,
        binary_split: bool = False,
        max_size: float = 500.0,
        memory_estimate_period: int = 2_000_000,
        stop_mem_management: bool = False,
        remove_poor_attrs: bool = False,
        merit_preprune: bool = True,
        seed: int | None = None,
    ) -> None:
        self._begin(locals(), metric=metrics.MSE)

    @property
    def _mutable_attributes(self) -> set[str]:
        return super()._mutable_attributes | {"aggregation_method", "model_selector_decay"}

    def _write_parameters(self, writer: DumpWriter) -> None:
        if type(self.metric) is not metrics.MSE:
            raise ValueError(f"the metric must be MSE, not {self.metric!r}")
        if self.aggregation_method not in _AGGREGATIONS:
            listed = " or ".join(_AGGREGATIONS)
            raise ValueError(
                f"aggregation_method must be {listed}, not {self.aggregation_method!r}"
            )
        regression_dumps.write_parameters(writer, self, _MIN_SAMPLES_OF_TREES)
        self._write_rules(writer)
        takes_median = self.aggregation_method == "median"
        writer.pack("Bd", takes_median, self.min_samples_split)
        tree_dumps.write_names(writer, self.nominal_attributes)

    @classmethod
    def _parameters_of(cls, reader: DumpReader) -> dict[str, Any]:
        found = regression_dumps.read_parameters(reader)
        # River's forest leaves the defaults to its trees.
        splitter = found["splitter"]
        if type(splitter) is TEBSTSplitter and splitter.digits == TEBSTSplitter().digits:
            found["splitter"] = None
        if regression_dumps.is_default(found["leaf_model"]):
            found["leaf_model"] = None
        rules = cls._read_rules(reader)
        takes_median, min_samples = reader.unpack("Bd")
        return {
            **found,
            **rules,
            "aggregation_method": _AGGREGATIONS[int(takes_median)],
            "min_samples_split": tree_dumps.plain(min_samples),
            "metric": metrics.MSE(),
            "nominal_attributes": tree_dumps.read_names(reader),
        }
