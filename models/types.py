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


class Choice(StrEnum):
    """An enumeration that may be part of a state: it is pickled by value.

    Python 3.11.0 to 3.11.3 would write `getattr` into the pickle, which no state may name.
    """

    def __reduce_ex__(self, protocol: Any) -> tuple[type[Choice], tuple[str]]:
        return type(self), (self.value,)


class Task(Choice):
    """What the model predicts."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"
    ANOMALY = "anomaly"


class Example(msgspec.Struct, frozen=True, gc=False):
    """One line of the examples log: what the model knew, what it said, and what was true.

    `features`, `score`, `version` and `model_position` are those of score time; nothing here is
    ever recomputed. `label` is None only for the unsupervised half of an anomaly task, where the
    event itself is learned before its label is known. `score`, `version` and `model_position` are
    None where the event was never scored: its label brought the features. `entity` says whose event
    it was. A corrected label is the next `revision`. `offset` and `floor` make the fold idempotent
    (see `models.seen.SeenOffsets`); times are seconds since the epoch. `arm` names the challenger
    whose score was served; it is unset where it was the champion's.
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
    entity: str | None = None
    schema: int = 1
    arm: str | msgspec.UnsetType = msgspec.UNSET

    @property
    def tests_champion(self) -> bool:
        """Whether `score` is one that the champion gave, which its label can be held against."""
        return self.score is not None and self.arm is msgspec.UNSET


class DriftKind(Choice):
    """What drifted: the error, the predictions or the data."""

    CONCEPT = "concept"
    PREDICTION = "prediction"
    DATA = "data"


class DriftLevel(Choice):
    """How sure the watch is: a jumpy detector warns, a strict one confirms."""

    WARNING = "warning"
    CONFIRMED = "confirmed"


class Direction(Choice):
    """Whether the error rose or fell, which detectors do not say; without labels: moved."""

    WORSENED = "worsened"
    IMPROVED = "improved"
    MOVED = "moved"


class Movement(msgspec.Struct, frozen=True):
    """How far a feature's distribution moved: 0 not at all, 1 to where it never was.

    `before` and `after` are means of numbers; of categories, the shares of `value`, the one whose
    share changed most.
    """

    feature: str
    distance: float
    before: float
    after: float
    value: str | None = None


class DriftSegment(msgspec.Struct, frozen=True):
    """The part of a stream that drifted: the events with a value of a field, and what of them.

    `value` is None for all values that have no watch of their own, taken together. An event
    without the field has the empty value.
    """

    field: str
    value: str | None
    what: str


class DriftSignal(msgspec.Struct, frozen=True):
    """Evidence that a stream changed: of prequential errors, or without labels of scores or data.

    `position` is the offset of the example that tripped the detector, `since` the estimated change
    point; `before` and `after` are the means on either side of it. `moved` are the features that
    moved most, if any moved beyond chance. `action` says what was done about it. Where `what` is
    "segment" it was a part of the stream, which `segment` names.
    """

    kind: DriftKind
    what: str
    level: DriftLevel
    direction: Direction
    before: float
    after: float
    position: int
    event_time: float
    since: int | None = None
    moved: tuple[Movement, ...] = ()
    action: str = "none"
    segment: DriftSegment | None = None

    @property
    def subject(self) -> str:
        """What drifted, in words.

        Examples
        --------
        >>> signal = DriftSignal(
        ...     DriftKind.CONCEPT, "error", DriftLevel.WARNING, Direction.WORSENED, 0.1, 0.2, 7, 1.0
        ... )
        >>> signal.subject, signal.within("country", "AT").subject
        ('error', 'error in country=AT')
        >>> signal.within("country", None).subject
        'error in the rest of country'
        """
        part = self.segment
        if part is None:
            return self.what
        where = f"the rest of {part.field}" if part.value is None else f"{part.field}={part.value}"
        return f"{part.what} in {where}"

    def within(self, field: str, value: str | None) -> DriftSignal:
        """Give the signal as one of a segment."""
        part = DriftSegment(field, value, self.what)
        return msgspec.structs.replace(self, what="segment", segment=part)


class PolicyStep(msgspec.Struct, frozen=True):
    """What a policy did at an example, and the drift that made it do so, if it was one."""

    policy: str
    step: str
    detail: str
    position: int
    event_time: float
    cause: DriftSignal | None


MetricValues: TypeAlias = dict[str, float]


class LearnOutcome(msgspec.Struct, frozen=True):
    """What absorbing a batch of examples did."""

    n_learned: int
    n_redelivered: int
    drifts: list[DriftSignal]
    steps: list[PolicyStep] = []


JsonObject: TypeAlias = dict[str, Any]
