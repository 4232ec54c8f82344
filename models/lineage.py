"""A lineage: the segments of the log that a learner came by, and what they leave out.

A command (roll back, set the threshold) begins a lineage: it names the state to start from and the
position to go on from. These segments travel with every version cut after it, so the examples log
and a version's own metadata are all that it takes to make the version again.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from itertools import groupby
from math import inf

import msgspec
from msgspec.structs import astuple

from models.errors import UnknownVersion
from models.learner import Learner
from models.thresholds import ThresholdRule
from models.types import DriftSignal, Example, FeatureValue, LearnOutcome, PolicyStep

_ID = re.compile(r"v(\d{1,9})-(\d{1,18})")


class Exclusion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Examples that are left out, by any of these marks; ranges hold their start, not their end.

    `offsets` are those of the examples log, `times` are event times, `features` are names with
    values. With `entities` this is an erasure, which later lineages inherit.
    """

    offsets: tuple[tuple[int, int], ...] = ()
    times: tuple[tuple[float, float], ...] = ()
    events: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    features: tuple[tuple[str, FeatureValue], ...] = ()

    def __add__(self, other: Exclusion) -> Exclusion:
        """Leave out what either does."""
        return Exclusion(*(
            mine + tuple(each for each in theirs if each not in mine)
            for mine, theirs in zip(astuple(self), astuple(other), strict=True)
        ))  # fmt: skip

    @property
    def names_places(self) -> bool:
        """Whether offsets alone say what is left out: else the log has to be asked what that is."""
        return self == Exclusion(offsets=self.offsets)


class Fresh(msgspec.Struct, frozen=True):
    """An untrained learner: a pipeline by name, and its seed."""

    pipeline: str
    seed: int


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the log, up to the next segment: `lineage` folds it from `start`, as `base` was.

    `base` names a state, which need not be stored. `command` began the segment. What `without`
    names is not learned. `threshold` is the rule of decision from here on; None: the configured.
    With `fresh`, the first segment of a challenger that was promoted: it began with that learner.
    """

    lineage: int
    base: str
    start: int
    command: str
    without: Exclusion = Exclusion()
    threshold: ThresholdRule | None = None
    fresh: Fresh | None = None


def parse_id(version_id: str) -> tuple[int, int]:
    """Give (lineage, position) of a version by its id.

    Raises
    ------
    UnknownVersion
        If no version can be called that.

    Examples
    --------
    >>> parse_id("v1-45312")
    (1, 45312)
    """
    found = _ID.fullmatch(version_id)
    if found is None:
        raise UnknownVersion(f"{version_id!r} is no version: they are called like v1-45312")
    return int(found[1]), int(found[2])


class Lineage:
    """Folds examples into a learner, except those that its segments leave out.

    Exclusions hold for good: a label that comes late for a poisoned event is left out as well.
    """

    def __init__(self, segments: Sequence[Segment] = ()) -> None:
        self.segments = tuple(segments)
        self._offsets = [span for s in self.segments for span in s.without.offsets]
        self._times = [span for s in self.segments for span in s.without.times]
        self._events = frozenset(event for s in self.segments for event in s.without.events)
        self._entities = frozenset(name for s in self.segments for name in s.without.entities)
        self._features = [pair for s in self.segments for pair in s.without.features]
        self._leaves_nothing_out = all(s.without == Exclusion() for s in self.segments)

    @property
    def exclusion(self) -> Exclusion:
        """All that its segments leave out."""
        return sum((segment.without for segment in self.segments), Exclusion())

    @property
    def threshold(self) -> ThresholdRule | None:
        """The rule of decision in force; None: the configured one."""
        return self.segments[-1].threshold if self.segments else None

    @property
    def bases(self) -> tuple[str, ...]:
        """The versions that its segments began at: what to go back to, if one was wrong."""
        return tuple(segment.base for segment in self.segments)

    @property
    def erased(self) -> Exclusion:
        """Whose examples were erased: that stays so, whatever the champion is set back to."""
        found = Exclusion()
        for without in (segment.without for segment in self.segments):
            if without.entities:
                found += Exclusion(entities=without.entities, features=without.features)
        return found

    def leaves_out(self, example: Example, offset: int) -> bool:
        """Say whether the example at that offset is not to be learned."""
        time = example.event_time
        return (
            example.event_id in self._events
            or example.entity in self._entities
            or any(example.features.get(name) == value for name, value in self._features)
            or any(start <= offset < end for start, end in self._offsets)
            or any(start <= time < end for start, end in self._times)
        )

    def absorb(
        self, learner: Learner, examples: Sequence[Example], offsets: Sequence[int]
    ) -> LearnOutcome:
        """Fold a batch, as `Learner.absorb` does, without what is left out."""
        if self._leaves_nothing_out:
            return learner.absorb(examples, offsets)
        n_learned = n_redelivered = 0
        drifts: list[DriftSignal] = []
        steps: list[PolicyStep] = []
        pairs = zip(examples, offsets, strict=True)
        # In the order of the log: each example raises the floor for those after it.
        for left_out, run in groupby(pairs, lambda pair: self.leaves_out(*pair)):
            some, places = zip(*run, strict=True)
            if left_out:
                learner.leave_out(some, places)
            else:
                learned = learner.absorb(some, places)
                n_learned += learned.n_learned
                n_redelivered += learned.n_redelivered
                drifts += learned.drifts
                steps += learned.steps
        return LearnOutcome(n_learned, n_redelivered, drifts, steps)


class Course:
    """Leads a fresh learner through all segments of a version, over a log without holes."""

    def __init__(self, learner: Learner, segments: Sequence[Segment]) -> None:
        self._learner = learner
        self._segments = segments
        self._lineage = Lineage()
        self._turn()

    def absorb(self, examples: Sequence[Example], offsets: Sequence[int]) -> None:
        """Fold what each segment takes of a batch, and pass from one to the next."""
        while True:
            first = bisect_left(offsets, self._learner.position)
            end = bisect_left(offsets, self._until)
            if first >= end:
                return
            self._lineage.absorb(self._learner, examples[first:end], offsets[first:end])
            self._turn()

    @property
    def _until(self) -> float:
        ahead = self._segments[len(self._lineage.segments) :]
        return parse_id(ahead[0].base)[1] if ahead else inf

    def _turn(self) -> None:
        while self._learner.position >= self._until:
            self._lineage = Lineage(self._segments[: len(self._lineage.segments) + 1])
            segment = self._lineage.segments[-1]
            self._learner.branch(segment.lineage, segment.start, segment.threshold)
