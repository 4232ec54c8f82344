"""Dead letters as people handle them: addressed, chosen, explained.

A letter's **address** is where it stands on `<app>.dead-letters`, as `3/17`. Its **origin** is the
record that could not be used. A crash may publish a letter twice, at two addresses, of one origin:
whatever must happen once goes by the origin.
"""

from __future__ import annotations

import base64
import heapq
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from stream.messages import DeadLetter, decode_dead_letter

REPLAY_HEADER = "driftline-replay-of"
"""On a record that was published again: the origin of the letter that it comes from."""

HINTS = {
    "null_value": "The record has no value: its producer sends tombstones, and should not.",
    "too_large": "Raise event.bytes_max (labels: 65,536 is fixed), then replay; or send less.",
    "not_json": "Its producer has to mend it and send it anew: a replay fails again.",
    "not_finite": "Its producer should leave NaN and Infinity out: a replay fails again.",
    "not_an_object": "Its producer has to send JSON objects: a replay fails again.",
    "missing_field": "If the field may be absent, set required = false for it, then replay.",
    "wrong_type": "If the producer is right, change the field's type, then replay.",
    "out_of_range": "If the value is right, widen min, max or length_max, then replay.",
    "bad_time": "Check time_format and future_max of event or label, then replay.",
    "bad_label": "Check label.positive, label.negative and model.task, then replay.",
    "duplicate_label": "The event has this very label: there is nothing to do.",
    "correction_refused": 'If labels are corrected on purpose, set label.corrections to "learn".',
    "expired": "It came later than join.ttl after its event. The event may be forgotten by now.",
    "unknown_event": "If its event was a dead letter too, replay that first, then this one.",
    "other_features": "[features] changed while it was between two stages: publish it again.",
}
"""What to do, by reason."""


class Address(NamedTuple):
    """Where a letter stands on the topic of dead letters."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address as it is printed.

        Examples
        --------
        >>> str(Address.parse("3/17"))
        '3/17'
        """
        partition, slash, offset = text.partition("/")
        if not (slash and partition.isdecimal() and offset.isdecimal()):
            raise ValueError(f"{text!r} is no address: write it as the list does, 3/17")
        return cls(int(partition), int(offset))


class Origin(NamedTuple):
    """The record that a letter is about."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True)
class Letter:
    """A dead letter; `written_ms` is when it was written, in Kafka's milliseconds."""

    address: Address
    written_ms: int
    body: DeadLetter

    @property
    def origin(self) -> Origin:
        """The record that could not be used."""
        return Origin(self.body.topic, self.body.partition, self.body.offset)

    @property
    def replay_of(self) -> list[str]:
        """The origins that the record was published again from, oldest first."""
        return [
            base64.b64decode(value).decode(errors="replace")
            for name, value in self.body.headers
            if name == REPLAY_HEADER
        ]

    def key(self) -> bytes | None:
        """Give the original key."""
        return _bytes(self.body.key)

    def value(self) -> bytes | None:
        """Give the original value."""
        return _bytes(self.body.value)

    def headers(self) -> list[tuple[str, bytes]]:
        """Give the original headers."""
        return [(name, base64.b64decode(value)) for name, value in self.body.headers]


def letter_of(partition: int, offset: int, timestamp_ms: int, value: bytes) -> Letter:
    """Read a record of the topic of dead letters."""
    return Letter(Address(partition, offset), timestamp_ms, decode_dead_letter(value))


@dataclass(frozen=True)
class Selection:
    """Which letters are meant: all conditions that are set must hold; times in seconds."""

    reasons: Collection[str] = frozenset()
    topic: str | None = None
    partition: int | None = None
    since: float | None = None
    until: float | None = None
    addresses: Collection[Address] = frozenset()

    def takes(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        body, written = letter.body, letter.written_ms / 1000.0
        return (
            (not self.reasons or body.reason in self.reasons)
            and (self.topic is None or body.topic == self.topic)
            and (self.partition is None or body.partition == self.partition)
            and (self.since is None or written >= self.since)
            and (self.until is None or written < self.until)
            and (not self.addresses or letter.address in self.addresses)
        )

    @property
    def is_everything(self) -> bool:
        """Whether no condition is set."""
        moments_and_places = (self.topic, self.partition, self.since, self.until)
        return not (self.reasons or self.addresses) and moments_and_places == (None,) * 4


@dataclass
class Newest:
    """The newest letters and the counts of all, in memory that does not grow with the topic."""

    limit: int
    reasons: Counter[str] = field(default_factory=Counter)
    _heap: list[tuple[int, Address, Letter]] = field(default_factory=list)

    def add(self, letters: Iterable[Letter]) -> None:
        """Take letters in."""
        for letter in letters:
            self.reasons[letter.body.reason] += 1
            entry = (letter.written_ms, letter.address, letter)
            if len(self._heap) < self.limit:
                heapq.heappush(self._heap, entry)
            else:
                heapq.heappushpop(self._heap, entry)

    def letters(self) -> list[Letter]:
        """Give the newest, oldest of them first."""
        return [letter for _, _, letter in sorted(self._heap, key=lambda entry: entry[:2])]


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
