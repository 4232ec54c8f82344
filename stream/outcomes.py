"""What came of each event and label, as the outputs in Kafka tell: where the lanes had got to.

- **Score lanes** go back to what their group had committed to Kafka, which was in Redis before.
  Without a committed offset they go back one batch before the first event that has no outcome: a
  crash may have published a batch's scores and not its alerts.
- **Label lanes** go on after the last label that has an outcome, never before it: a label that
  waited was appended under `waited/<p>`, and taken again it would come as `labels/<p>`, which the
  learner could not tell for the same. Labels below that have no outcome wait again, for the same
  reason: as `labels/<p>` they would lie below the floor of later examples and never be learned.
- **The sweep of silent events** had come as far as its last negative or that one's floor, whichever
  is further: negatives are appended in the order of the offsets. What it passed after that without
  a trace was labelled, and will be passed again.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from models.types import Example
from stream.ports import Ends
from stream.runs import Runs


class RecoveryImpossible(Exception):
    """The logs and the configuration do not belong together; the message says how it shows."""


class _DecisionOrigin(msgspec.Struct, gc=False):
    partition: int
    offset: int
    event_time: float


class _LetterOrigin(msgspec.Struct, gc=False):
    topic: str
    partition: int
    offset: int


_decision_origin = msgspec.json.Decoder(_DecisionOrigin).decode
_letter_origin = msgspec.json.Decoder(_LetterOrigin).decode


@dataclass
class Input:
    """An input topic: what is kept of it, what came of it, and how far that has come in time."""

    name: str
    ends: Ends
    committed: Mapping[int, int]
    runs: dict[int, Runs] = field(default_factory=lambda: defaultdict(Runs))
    watermarks: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for partition, offset in self.committed.items():
            _, end = self.ends.get(partition, (0, 0))
            if offset > end:
                raise RecoveryImpossible(
                    f"the workers had committed offset {offset} of {self.name}/{partition}, which "
                    f"ends at {end}: the topic was deleted and made again, or this is another "
                    "cluster"
                )

    @property
    def n_never_taken(self) -> int:
        """How many were removed before a worker took them."""
        firsts = {partition: first for partition, (first, _) in self.ends.items()}
        return sum(max(0, firsts.get(p, 0) - offset) for p, offset in self.committed.items())

    def note(self, partition: int, offset: int, event_time: float | None = None) -> None:
        """Take in that something came of this record."""
        if offset >= self.ends.get(partition, (0, 0))[0]:
            self.runs[partition].add(offset)
        if event_time is not None:
            latest = self.watermarks.get(partition, event_time)
            self.watermarks[partition] = max(latest, event_time)

    def gaps(self, partition: int, position: int | None) -> Iterator[tuple[int, int]]:
        """Give what is kept below a position and came to nothing."""
        return self.runs[partition].gaps(self.ends[partition][0], position or 0)


class Outcomes:
    """The two input topics, and how far silent events were swept.

    Parameters
    ----------
    all_scores_kept
        Whether no decision was removed yet.
    batch_records_max
        How many records a lane takes before it commits.
    """

    def __init__(
        self, events: Input, labels: Input, *, all_scores_kept: bool, batch_records_max: int
    ) -> None:
        self.events = events
        self.labels = labels
        self.swept: dict[int, int] = {}
        self._all_scores_kept = all_scores_kept
        self._batch_records_max = batch_records_max
        self._inputs = {side.name: side for side in (events, labels)}

    def note_score(self, value: bytes) -> None:
        """Take in a published decision."""
        score = _decision_origin(value)
        self.events.note(score.partition, score.offset, score.event_time)

    def note_letter(self, value: bytes) -> None:
        """Take in a dead letter."""
        letter = _letter_origin(value)
        if letter.topic in self._inputs:
            self._inputs[letter.topic].note(letter.partition, letter.offset)

    def note_example(self, example: Example) -> None:
        """Take in an example: of a label, of silence, or of an event that was learned as it is."""
        lane, _, place = example.origin.partition("/")
        partition = int(place)
        if lane == "silence":
            reached = max(example.floor, example.offset + 1, self.swept.get(partition, 0))
            self.swept[partition] = reached
        elif lane != "events":
            self.labels.note(partition, example.offset, example.label_time)

    def score_position(self, partition: int) -> int | None:
        """Tell where a score lane goes on."""
        committed, runs = self.events.committed.get(partition), self.events.runs[partition]
        if committed is not None or not runs:
            return committed
        start, end = next(iter(runs))
        if self._all_scores_kept:
            start, _ = self.events.ends[partition]  # Events before the first outcome have none.
        return max(start, end - self._batch_records_max)

    def label_position(self, partition: int) -> int | None:
        """Tell where a label lane goes on."""
        committed = self.labels.committed.get(partition, 0)
        return max(committed, self.labels.runs[partition].end) or None

    def hold_back(self, partition: int, label_time: float) -> None:
        """Set a label lane's time back to that of a label that will wait again.

        Silence must not be first to claim an event whose label had come in time.
        """
        latest = self.labels.watermarks.get(partition, label_time)
        self.labels.watermarks[partition] = min(latest, label_time)

    def time_of_labels(self) -> float:
        """Tell up to which time all events were decided and all labels joined that have come."""
        marks = list(self.events.watermarks.values())
        for partition, (_, end) in self.labels.ends.items():
            position = self.label_position(partition) or 0
            if position < end or any(self.labels.gaps(partition, position)):
                marks.append(self.labels.watermarks.get(partition, -math.inf))
        return min(marks, default=0.0)
