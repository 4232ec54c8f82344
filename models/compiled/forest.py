"""River's adaptive random forest, compiled; see `models.compiled.trees` for what differs."""

from __future__ import annotations

from typing import Any

from river import base, drift, metrics
from river.tree.splitter import GaussianSplitter, Splitter

from models.compiled import tree_dumps
from models.compiled._native import ForestKernel
from models.compiled.dumps import DumpReader, DumpWriter
from models.compiled.trees import Trees

_ALL, _SQRT, _LOG2, _NUMBER, _SHARE = range(5)


class ARFClassifier(ForestKernel, Trees):  # type: ignore[misc]
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
        self._keep(locals())
        self.metric = metrics.Accuracy() if metric is None else metric  # type: ignore[no-untyped-call]
        self.drift_detector = drift_detector or drift.ADWIN(delta=0.001)  # type: ignore[no-untyped-call]
        self.warning_detector = warning_detector or drift.ADWIN(delta=0.01)  # type: ignore[no-untyped-call]
        self._begin()

    def n_warnings_detected(self, tree_id: int | None = None) -> int:
        """Count warnings, of all trees or of one."""
        return self._sum_of(0, tree_id)

    def n_drifts_detected(self, tree_id: int | None = None) -> int:
        """Count drifts, of all trees or of one."""
        return self._sum_of(1, tree_id)

    @property
    def n_nodes(self) -> list[int]:
        """Splits and leaves of each tree; none before the first event."""
        return [int(counts[0]) for counts in self._counts()]

    @property
    def _mutable_attributes(self) -> set[str]:
        return {"max_features", "lambda_value", "grace_period", "delta", "tau"}

    def _sum_of(self, which: int, tree_id: int | None) -> int:
        numbers = self._statistics()[which::2]
        return sum(numbers) if tree_id is None else numbers[tree_id] if numbers else 0

    def _write_parameters(self, writer: DumpWriter) -> None:
        if type(self.metric) is not metrics.Accuracy:
            raise ValueError(f"the metric must be Accuracy, not {self.metric!r}")
        tree_dumps.write_parameters(writer, self)
        tree_dumps.write_detector(writer, None)
        detectors = (self.warning_detector, self.drift_detector)
        writer.pack("i", self.n_models)
        writer.pack("Bd", *_features(self.max_features))
        writer.pack("dB", self.lambda_value, self.disable_weighted_vote)
        writer.pack("BB", *(not isinstance(detector, drift.NoDrift) for detector in detectors))
        for detector in detectors:
            tree_dumps.write_detector(writer, detector)
        tree_dumps.write_names(writer, self.nominal_attributes)

    def _write_empty(self, writer: DumpWriter) -> None:
        writer.pack("B", False)

    @classmethod
    def _parameters_of(cls, reader: DumpReader) -> dict[str, Any]:
        found = tree_dumps.read_parameters(reader)
        # River's forest leaves the default to its trees.
        if found["splitter"].n_splits == GaussianSplitter().n_splits:
            found["splitter"] = None
        tree_dumps.read_detector(reader)
        (n_models,) = reader.unpack("i")
        kind, number = reader.unpack("Bd")
        lambda_value, disable_weighted_vote = reader.unpack("dB")
        has_warnings, has_drifts = reader.unpack("BB")
        warning, drifts = (tree_dumps.read_detector(reader) for _ in range(2))
        return {
            **found,
            "n_models": int(n_models),
            "max_features": (None, "sqrt", "log2", int(number), number)[int(kind)],
            "lambda_value": tree_dumps.plain(lambda_value),
            "disable_weighted_vote": bool(disable_weighted_vote),
            "warning_detector": warning if has_warnings else drift.NoDrift(),  # type: ignore[no-untyped-call]
            "drift_detector": drifts if has_drifts else drift.NoDrift(),  # type: ignore[no-untyped-call]
            "metric": metrics.Accuracy(),  # type: ignore[no-untyped-call]
            "nominal_attributes": tree_dumps.read_names(reader),
        }


def _features(wanted: Any) -> tuple[int, float]:
    match wanted:
        case None:
            return _ALL, 0.0
        case "sqrt":
            return _SQRT, 0.0
        case "log2":
            return _LOG2, 0.0
        case int():
            return _NUMBER, float(wanted)
        case float():
            return _SHARE, wanted
    raise ValueError(f"max_features must be a number, sqrt, log2 or None, not {wanted!r}")
