"""Turn rows of a file into the records that producers of events and labels would publish.

Each event is checked exactly as the worker will check it, so the summary can say beforehand how
many will become dead letters, and why; they are published all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec

from models.types import Features
from stream.decoding import Event, EventDecoder
from stream.messages import InvalidMessage
from stream.rows import Row
from stream.schedule import Due, LabelSchedule
from stream.settings import Settings


class Outgoing(NamedTuple):
    """A record to publish: to which topic, and its key and value."""

    kind: Literal["event", "label"]
    key: bytes | None
    value: bytes


class HeldLabel(NamedTuple):
    """A label that waits for its time."""

    event_id: str | int
    value: Any
    time: Any
    features: Features | None = None


class Feed:
    """Orders events and their late labels into one sequence of records, and counts them.

    Parameters
    ----------
    schedule
        When labels come.
    now
        The clock; it is the event time where events carry none.
    """

    def __init__(
        self,
        settings: Settings,
        schedule: LabelSchedule[HeldLabel],
        now: Callable[[], float],
        *,
        with_events: bool = True,
        with_labels: bool = True,
    ) -> None:
        self.n_rows = 0
        self.n_events = 0
        self.n_labels = 0
        self.invalid: Counter[str] = Counter()
        self._schedule = schedule
        self._now = now
        self._with_events = with_events
        self._with_labels = with_labels
        self._decoder = EventDecoder(settings.event)
        self._has_time = settings.event.time is not None
        self._latest = 0.0
        # Labels without events have nothing to join: where they may, they bring the features.
        self._carry_features = settings.label.features and not with_events
        self._encode_label = label_encoder(settings)

    def records(self, rows: Iterable[Row]) -> Iterator[Outgoing]:
        """Give the records in the order in which to publish them."""
        for row in rows:
            self.n_rows += 1
            event = self._check(row)
            self._latest = max(self._latest, event.event_time if event else 0.0)
            event_time = event.event_time if event else self._latest
            yield from self._labels(self._schedule.due(event_time))
            if self._with_events:
                self.n_events += 1
                yield Outgoing("event", _key(row, event), row.event)
            if self._with_labels and row.label is not None and row.event_id is not None:
                features = event.features if event and self._carry_features else None
                label = HeldLabel(row.event_id, row.label, row.label_time, features)
                self._schedule.add(label, event_time)
        yield from self._labels(self._schedule.rest())

    def _check(self, row: Row) -> Event | None:
        try:
            # Only without an event time is the clock the time of the event.
            return self._decoder.decode(
                row.event, 0 if self._has_time else int(self._now() * 1000.0)
            )
        except InvalidMessage as invalid:
            self.invalid[invalid.reason] += 1
            return None

    def _labels(self, due: Iterator[Due[HeldLabel]]) -> Iterator[Outgoing]:
        for label, time in due:
            self.n_labels += 1
            yield Outgoing("label", str(label.event_id).encode(), self._encode_label(label, time))


def _key(row: Row, event: Event | None) -> bytes | None:
    if event is not None:
        return (event.entity if event.entity is not None else event.event_id).encode()
    if row.entity is not None:
        return row.entity.encode()
    return None if row.event_id is None else str(row.event_id).encode()


def label_encoder(settings: Settings) -> Callable[[HeldLabel, float], bytes]:
    """Build what writes a label as its producer would, given when it is due."""
    label = settings.label
    encode = msgspec.json.Encoder().encode
    if label.time is None:
        return lambda held, time: encode(
            {label.id: held.event_id, label.value: held.value, **(held.features or {})}
        )
    name = label.time
    write = _TIME_WRITERS[label.time_format]
    return lambda held, time: encode(
        {
            label.id: held.event_id,
            label.value: held.value,
            name: write(time) if held.time is None else held.time,
            **(held.features or {}),
        }
    )


def _iso8601(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat()


_TIME_WRITERS: dict[str, Callable[[float], str | float]] = {
    "iso8601": _iso8601,
    "epoch_s": float,
    "epoch_ms": lambda time: round(time * 1000.0),
}
