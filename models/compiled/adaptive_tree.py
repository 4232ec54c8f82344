"""River's adaptive Hoeffding tree, compiled; see `models.compiled.trees` for what differs."""

from __future__ import annotations

from typing import Any

from river import base, drift
from river.tree.splitter import GaussianSplitter, Splitter

from models.compiled import tree_dumps
from models.compiled._native import AdaptiveTreeKernel
from models.compiled.dumps import DumpReader, DumpWriter
from models.compiled.tree_models import SingleTree
from models.compiled.trees import ClassifierTrees


class HoeffdingAdaptiveTreeClassifier(AdaptiveTreeKernel, SingleTree, ClassifierTrees):  # type: ignore[misc]
    """River's `tree.HoeffdingAdaptiveTreeClassifier`, compiled; parameters are River's.

    Examples
    --------
    >>> from river.datasets import synth
    >>> model = HoeffdingAdaptiveTreeClassifier(grace_period=100, delta=1e-5, seed=0)
    >>> n_right = 0
    >>> for x, y in synth.Agrawal(seed=42).take(1_000):
    ...     n_right += model.predict_one(x) == y
    ...     model.learn_one(x, y)
    >>> n_right, model.n_nodes
    (910, 7)
    """

    _KIND = "HoeffdingAdaptiveTreeClassifier"

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
        bootstrap_sampling: bool = True,
        drift_window_threshold: int = 300,
        drift_detector: base.DriftDetector | None = None,
        switch_significance: float = 0.05,
        binary_split: bool = False,
        min_branch_fraction: float = 0.01,
        max_share_to_split: float = 0.99,
        max_size: float = 100.0,
        memory_estimate_period: int = 1000000,
        stop_mem_management: bool = False,
        remove_poor_attrs: bool = False,
        merit_preprune: bool = True,
        seed: int | None = None,
    ) -> None:
        self._begin(locals(), splitter=GaussianSplitter, drift_detector=drift.ADWIN)

    @property
    def n_alternate_trees(self) -> int:
        """Alternates that were started."""
        return int(self._statistics()[0])

    @property
    def n_pruned_alternate_trees(self) -> int:
        """Alternates that were given up."""
        return int(self._statistics()[1])

    @property
    def n_switch_alternate_trees(self) -> int:
        """Alternates that replaced a split."""
        return int(self._statistics()[2])

    @property
    def summary(self) -> dict[str, Any]:
        """What River's `summary` tells."""
        return {
            **super().summary,
            "n_alternate_trees": self.n_alternate_trees,
            "n_pruned_alternate_trees": self.n_pruned_alternate_trees,
            "n_switch_alternate_trees": self.n_switch_alternate_trees,
        }

    @property
    def _mutable_attributes(self) -> set[str]:
        return super()._mutable_attributes | {"drift_window_threshold", "switch_significance"}

    def _write_parameters(self, writer: DumpWriter) -> None:
        if isinstance(self.drift_detector, drift.NoDrift):
            raise ValueError("the drift detector must be ADWIN, not NoDrift")
        tree_dumps.write_parameters(writer, self)
        tree_dumps.write_detector(writer, self.drift_detector)
        self.write_rules(writer)
        tree_dumps.write_names(writer, self.nominal_attributes)

    def write_rules(self, writer: DumpWriter) -> None:
        """Write what an adaptive tree has beyond others."""
        writer.pack(
            "Bdd", self.bootstrap_sampling, self.drift_window_threshold, self.switch_significance
        )

    @staticmethod
    def read_rules(reader: DumpReader) -> dict[str, Any]:
        """Read what `write_rules` wrote."""
        bootstrap, threshold, significance = reader.unpack("Bdd")
        return {
            "bootstrap_sampling": bool(bootstrap),
            "drift_window_threshold": int(threshold),
            "switch_significance": significance,
        }

    def _write_empty(self, writer: DumpWriter) -> None:
        writer.pack("qqq", 0, 0, 0)
        tree_dumps.write_empty_tree(writer)

    @classmethod
    def _parameters_of(cls, reader: DumpReader) -> dict[str, Any]:
        found = tree_dumps.read_parameters(reader)
        found["drift_detector"] = tree_dumps.read_detector(reader)
        rules = cls.read_rules(reader)
        return {**found, **rules, "nominal_attributes": tree_dumps.read_names(reader)}
