"""What changed between two versions: metrics, settings, libraries, examples, the model itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec

from models.anatomy import Anatomy
from models.checkpoint import VersionMeta
from models.exposure import Exposure
from models.lineage import Lineage

T = TypeVar("T")
_VIEWS = ("rolling", "total")


class Change(msgspec.Struct, Generic[T], frozen=True):
    """A value in either version; None where one does not have it."""

    before: T | None
    after: T | None

    @property
    def delta(self) -> float | None:
        """How much it rose; None where that means nothing."""
        if isinstance(self.before, int | float) and isinstance(self.after, int | float):
            return self.after - self.before
        return None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """From one version to another. All but the metrics and the examples hold what differs only.

    `examples` counts the places of the log that only the one, and only the other has read.
    `weights` come in the order of how far they moved.
    """

    versions: Change[str]
    examples: Change[int]
    learned: Change[int]
    settings: dict[str, Change[Any]]
    libraries: dict[str, Change[str]]
    metrics: dict[str, dict[str, Change[float]]]
    weights: dict[str, Change[float]]
    sizes: dict[str, Change[int]]


def difference(
    a: VersionMeta, b: VersionMeta, anatomies: tuple[Anatomy, Anatomy] | None
) -> Difference:
    """Compare two versions; what they consist of only by their anatomies."""
    exposures = Exposure(a.id, a.segments), Exposure(b.id, b.segments)
    weights: dict[str, Change[float]] = {}
    sizes: dict[str, Change[int]] = {}
    if anatomies is not None:
        moved = _changed(anatomies[0].weights, anatomies[1].weights)
        weights = dict(sorted(moved.items(), key=_how_far))
        sizes = _changed(anatomies[0].sizes, anatomies[1].sizes)
    return Difference(
        versions=Change(a.id, b.id),
        examples=Change(exposures[0].n_only_here(exposures[1]),
                        exposures[1].n_only_here(exposures[0])),
        learned=Change(a.n_learned, b.n_learned),
        settings=_changed(_settings(a), _settings(b)),
        libraries=_changed(a.libraries, b.libraries),
        metrics={view: _both(a.metrics.get(view, {}), b.metrics.get(view, {})) for view in _VIEWS},
        weights=weights,
        sizes=sizes,
    )  # fmt: skip


def _settings(meta: VersionMeta) -> dict[str, Any]:
    return {
        "task": str(meta.task),
        "pipeline": meta.pipeline,
        "pipeline_hash": meta.pipeline_hash,
        "threshold": Lineage(meta.segments).threshold,
    }


def _both(a: Mapping[str, T], b: Mapping[str, T]) -> dict[str, Change[T]]:
    return {name: Change(a.get(name), b.get(name)) for name in {**a, **b}}


def _changed(a: Mapping[str, T], b: Mapping[str, T]) -> dict[str, Change[T]]:
    return {name: change for name, change in _both(a, b).items() if change.before != change.after}


def _how_far(item: tuple[str, Change[float]]) -> tuple[float, str]:
    name, change = item
    return -abs((change.after or 0.0) - (change.before or 0.0)), name
