"""Value types of the core: what goes into a learner and what comes out.

All are immutable `msgspec.Struct`s: they are created once per record on the hot path, where a
struct costs a fifth of a frozen dataclass, and the shell decodes JSON straight into them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeAlias

import msgspec

FeatureValue: TypeAlias = float | int | str | bool
Features: TypeAlias = dict[str, FeatureValue]
Truth: TypeAlias = bool | float | str
"""A label in its task's type: bool (binary, anomaly), str (multiclass), float (regression)."""
Score: TypeAlias = float | Mapping[str, float]
"""P(positive), anomaly score or predicted value; for multiclass, a probability per class."""


class Task(StrEnum):
    """What the model predicts."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"
    ANOMALY = "anomaly"

    def __reduce_ex__(self, protocol: Any) -> tuple[type[Task], tuple[str]]:
        # By value: Python 3.11.0 to 3.11.3 write getattr into the pickle, which no state may name.
        return Task, (self.value,)


class Example(msgspec.Struct, frozen=True, gc=False):
    """One line of the examples log: what the model knew, what it said, and what was true.

    `features`, `score`, `version` and `model_position` are those of score time; nothing here is
    ever recomputed. `label` is None only for the unsupervised half of an anomaly task, where the
    event itself is learned before its label is known. `score`, `version` and `model_position` are
    None where the event was never scored: its label brought the features. A corrected label is the
    next `revision`. `offset` and `floor` make the fold idempotent (see
    `models.seen.SeenOffsets`); times are seconds since the epoch.
    """

    event_id: str
    features: Features
    label: Truth | None
    score: float | dict[str, float] | None
    version: str | None
    model_position: int | None
    event_time: float
    label_time: float
    origin: str
    offset: int
    floor: int
    weight: float = 1.0
    revision: int = 1
    schema: int = 1


class DriftKind(StrEnum):
    """What drifted: the error, the predictions or the data."""

    CONCEPT = "concept"


class DriftLevel(StrEnum):
    """How sure the watch is: a jumpy detector warns, a strict one confirms."""

    WARNING = "warning"
    CONFIRMED = "confirmed"


class Direction(StrEnum):
    """Whether the error rose or fell; ADWIN alone does not say."""

    WORSENED = "worsened"
    IMPROVED = "improved"


class DriftSignal(msgspec.Struct, frozen=True):
    """Evidence that a stream of prequential errors changed.

    `position` is the offset of the example that tripped the detector; `before` and `after` are
    the mean errors on either side of the cut.
    """

    kind: DriftKind
    what: str
    level: DriftLevel
    direction: Direction
    before: float
    after: float
    position: int
    event_time: float


MetricValues: TypeAlias = dict[str, float]


class LearnOutcome(msgspec.Struct, frozen=True):
    """What absorbing a batch of examples did."""

    n_learned: int
    n_redelivered: int
    drifts: list[DriftSignal]


JsonObject: TypeAlias = dict[str, Any]
