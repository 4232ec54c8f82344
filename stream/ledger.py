"""Account for every record: what came in must have come out, to the unit.

Every output names the input that it comes from (its partition and offset), so the account is kept
by inputs: an output that was published twice after a crash counts once, and is counted apart. Below
a lane's committed position nothing may be missing; above it nothing is owed yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from stream.messages import DeadLetter

Origin: TypeAlias = tuple[int, int]
"""Partition and offset of an input record."""
Ends: TypeAlias = Mapping[int, tuple[int, int]]


class _ScoreOrigin(msgspec.Struct, gc=False):
    event_id: str
    partition: int
    offset: int


class _ExampleOrigin(msgspec.Struct, gc=False):
    event_id: str
    origin: str
    offset: int
    score: Any = None
    revision: int = 1


@dataclass
class Topic:
    """An input topic: how far it goes, and how far its lanes have committed."""

    ends: Ends
    positions: Mapping[int, int]

    def owed(self, partition: int, offset: int) -> bool:
        """Whether an outcome of this record must exist."""
        first, _ = self.ends.get(partition, (0, 0))
        return first <= offset < self._position(partition)

    @property
    def n_owed(self) -> int:
        """Records that must have an outcome."""
        return sum(self._position(p) - first for p, (first, _) in self.ends.items())

    @property
    def n_records(self) -> int:
        """Records that Kafka keeps."""
        return sum(end - first for first, end in self.ends.values())

    def _position(self, partition: int) -> int:
        first, end = self.ends[partition]
        return min(max(self.positions.get(partition, first), first), end)


@dataclass
class Ledger:
    """The account of one application, filled record by record."""

    events: Topic
    labels: Topic
    n_waiting: int = 0
    moving: bool = False
    scores: dict[Origin, int] = field(default_factory=dict)
    examples: dict[Origin, str] = field(default_factory=dict)
    unlabelled: set[Origin] = field(default_factory=set)
    dead_events: dict[Origin, str] = field(default_factory=dict)
    dead_labels: dict[Origin, str] = field(default_factory=dict)
    repeated_events: set[Origin] = field(default_factory=set)
    redelivered: Counter[str] = field(default_factory=Counter)
    conflicts: Counter[str] = field(default_factory=Counter)
    negatives: set[Origin] = field(default_factory=set)
    n_corrections: int = 0
    n_own_features: int = 0
    on_the_way: set[Origin] = field(default_factory=set)
    """Events that stand in a re-keyed log and have yet to be scored."""
    re_keyed: bool = False
    _decisions: dict[str, int] = field(default_factory=dict)
    _revisions: set[tuple[str, int]] = field(default_factory=set)

    def add_score(self, value: bytes) -> None:
        """Enter a decision. Two different ones for an event are a conflict."""
        score = _decode_score(value)
        origin, content = (score.partition, score.offset), hash(value)
        if self._decisions.setdefault(score.event_id, content) != content:
            self.conflicts["different decisions for one event"] += 1
        if origin in self.scores:
            self.redelivered["scores"] += 1
        self.scores[origin] = content

    def add_example(self, value: bytes) -> None:
        """Enter an example. Two for one revision of an event's truth are a conflict."""
        example = _decode_example(value)
        lane, _, partition = example.origin.partition("/")
        origin = (int(partition), example.offset)
        if lane == "events":
            self.redelivered["unlabelled examples"] += origin in self.unlabelled
            self.unlabelled.add(origin)
            return
        silent = lane == "silence"
        if origin in (self.negatives if silent else self.examples):
            self.redelivered["examples"] += 1
            return
        if silent:
            self.negatives.add(origin)
        else:
            self.examples[origin] = example.event_id
            self.n_corrections += example.revision > 1
            self.n_own_features += example.revision == 1 and example.score is None
        revision = (example.event_id, example.revision)
        if revision in self._revisions:
            self.conflicts["two examples for one revision of an event"] += 1
        self._revisions.add(revision)

    def add_dead_letter(self, value: bytes, events_topic: str, labels_topic: str) -> None:
        """Enter a dead letter."""
        letter = _decode_dead_letter(value)
        book = {events_topic: self.dead_events, labels_topic: self.dead_labels}.get(letter.topic)
        if book is None:
            self.redelivered["dead letters of other topics"] += 1
            return
        origin = (letter.partition, letter.offset)
        self.redelivered["dead letters"] += origin in book
        book[origin] = letter.reason

    def add_unscored_event(self, partition: int, offset: int, event_id: str) -> None:
        """Enter an event without a decision of its own: its id may have come before."""
        if event_id in self._decisions:
            self.repeated_events.add((partition, offset))

    def lacks_outcome(self, partition: int, offset: int) -> bool:
        """Whether an event that is owed an outcome has neither decision nor dead letter."""
        origin = (partition, offset)
        return (
            self.events.owed(partition, offset)
            and origin not in self.scores
            and origin not in self.dead_events
        )

    def _n_revisions_alone(self) -> int:
        # Where the log was cut off, the first ones may be gone: the topic is kept for ever.
        alone = [
            n > 1 and (event_id, n - 1) not in self._revisions for event_id, n in self._revisions
        ]
        return sum(alone)

    def balance(self) -> Balance:
        """Draw the account up."""
        events, labels = self.events, self.labels
        scored = {o for o in self.scores if events.owed(*o)}
        dead = {o: reason for o, reason in self.dead_events.items() if events.owed(*o)}
        repeated = self.repeated_events - scored
        joined = {o for o in self.examples if labels.owed(*o)}
        refused = {o: reason for o, reason in self.dead_labels.items() if labels.owed(*o)}
        on_the_way = {o for o in self.on_the_way if events.owed(*o)}
        on_the_way -= scored | dead.keys() | repeated
        n_accounted = len(scored | dead.keys() | repeated | on_the_way)
        missing_events = events.n_owed - n_accounted
        unresolved = labels.n_owed - len(joined | refused.keys())
        # While lanes work, labels that waited when we looked may have found their events since.
        waiting = min(unresolved, self.n_waiting) if self.moving else self.n_waiting
        conflicts = Counter(self.conflicts)
        conflicts["events both scored and dead letters"] += len(scored & dead.keys())
        conflicts["labels both learned and dead letters"] += len(joined & refused.keys())
        conflicts["revisions without the one before"] += self._n_revisions_alone()
        # In a re-keyed log, negatives have their places from there.
        negatives = {o for o in self.negatives if events.owed(*o) and not self.re_keyed}
        conflicts["negatives of events without a decision"] += len(negatives - scored)
        return Balance(
            events={
                "events": events.n_owed,
                "scored": len(scored),
                "repeated ids, decided before": len(repeated),
                **_by_reason(dead),
                **({"on their way to their scores": len(on_the_way)} if on_the_way else {}),
                "MISSING": missing_events,
            },
            labels={
                "labels": labels.n_owed,
                "examples": len(joined),
                "waiting for their events": waiting,
                **_by_reason(refused),
                "MISSING": unresolved - waiting,
            },
            learned={
                "examples": len(self.examples) + len(self.negatives),
                "labels of events": len(self.examples) - self.n_corrections - self.n_own_features,
                "labels with features of their own": self.n_own_features,
                "corrections": self.n_corrections,
                "events without a label, as negatives": len(self.negatives),
            },
            backlog={
                "events": events.n_records - events.n_owed,
                "labels": labels.n_records - labels.n_owed,
            },
            redelivered={name: n for name, n in self.redelivered.items() if n},
            conflicts={name: n for name, n in conflicts.items() if n},
        )


@dataclass(frozen=True)
class Balance:
    """The account, drawn up: the first line of each side is the sum of the others."""

    events: dict[str, int]
    labels: dict[str, int]
    learned: dict[str, int]
    backlog: dict[str, int]
    redelivered: dict[str, int]
    conflicts: dict[str, int]

    @property
    def adds_up(self) -> bool:
        """Whether nothing is missing and nothing contradicts."""
        return not (self.events["MISSING"] or self.labels["MISSING"] or self.conflicts)


def event_id_of(value: bytes | None, id_field: str) -> str | None:
    """Find the id of an event, if it has one."""
    try:
        body = msgspec.json.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    found = body.get(id_field) if isinstance(body, dict) else None
    return str(found) if isinstance(found, str | int) else None


def _by_reason(dead: Mapping[Origin, str]) -> dict[str, int]:
    return {f"dead letter: {reason}": n for reason, n in Counter(dead.values()).most_common()}


_decode_score = msgspec.json.Decoder(_ScoreOrigin).decode
_decode_example = msgspec.json.Decoder(_ExampleOrigin).decode
_decode_dead_letter = msgspec.json.Decoder(DeadLetter).decode
