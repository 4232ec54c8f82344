"""What stands in a re-keyed log: events with the features that they have so far, and label facts.

Both are for the workers alone. An event is the same however often it is appended, and its entity's
history knows it by its id; a fact is known by its event and revision. So what a crash appends twice
counts once.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from models.features import LabelFact, hash_of
from models.types import Example, FeatureValue
from stream.decoding import Event
from stream.derived import Stage
from stream.messages import SCHEMA, FeatureFields, InvalidMessage
from stream.ports import Message
from stream.topics import Topic
from stream.topology import partition_of


class Enriched(msgspec.Struct, frozen=True, gc=False, tag="event", tag_field="kind"):
    """An event on its way; `fields` names its values, `partition` and `offset` are its first."""

    event_id: str
    event_time: float
    entity: str | None
    fields: int
    values: list[FeatureValue | None]
    partition: int
    offset: int
    schema: int = SCHEMA


class Fact(msgspec.Struct, frozen=True, gc=False, tag="label", tag_field="kind"):
    """What a label said of an event of `entity`, the one that the log is partitioned by."""

    entity: str
    event_id: str
    event_time: float
    revision: int
    positive: bool
    schema: int = SCHEMA


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Enriched | Fact).decode


def origin_of(value: bytes | None) -> tuple[int, int] | None:
    """Give the place of an event in the events topic; None of a fact."""
    record = _decode(value or b"")
    return None if isinstance(record, Fact) else (record.partition, record.offset)


class EnrichedDecoder:
    """Reads a re-keyed log.

    Parameters
    ----------
    fields
        Names of the values that events have there.
    """

    counter = "re_keyed"

    def __init__(self, fields: FeatureFields) -> None:
        self.fields = fields

    def decode(self, value: bytes | None, timestamp_ms: int = 0) -> Event | LabelFact:
        """Read an event or a fact."""
        record = _decode(value or b"")
        if isinstance(record, Fact):
            about = record.entity, hash_of(record.event_id), record.event_time
            return LabelFact(*about, record.revision, record.positive)
        if record.fields != self.fields.id:
            raise InvalidMessage(
                "other_features", "it was on its way when the configuration of features changed"
            )
        values = tuple(record.values)
        return Event(
            record.event_id,
            record.event_time,
            record.entity,
            values,
            self.fields.features(values),
            (record.partition, record.offset),
        )


class Rekeyer:
    """Publishes to one re-keyed log.

    Parameters
    ----------
    stage
        The one that reads the log.
    """

    def __init__(self, topic: Topic, stage: Stage, n_partitions: int) -> None:
        self._topic = topic.name
        self._stage = stage
        self._n_partitions = n_partitions

    def event(self, event: Event, fields: FeatureFields) -> Message:
        """Pass an event on; one that names no entity goes by its id."""
        assert event.origin is not None
        entity = self._stage.entity_of(event)
        partition, offset = event.origin
        body = Enriched(
            event.event_id,
            event.event_time,
            event.entity,
            fields.id,
            list(event.values),
            partition,
            offset,
        )
        return self._message(event.event_id if entity is None else entity, body)

    def fact(self, example: Example, event_entity: str | None) -> Message | None:
        """Tell what a label said, if the log's entities have risks and it can matter."""
        name = self._stage.named_by
        entity = event_entity if name is None else example.features.get(name)
        # Most are negative at first, and nothing depends on them.
        matters = bool(example.label) or example.revision > 1
        if not self._stage.has_risk or entity is None or not matters:
            return None
        body = Fact(
            str(entity),
            example.event_id,
            example.event_time,
            example.revision,
            bool(example.label),
        )
        return self._message(str(entity), body)

    def _message(self, key: str, body: Enriched | Fact) -> Message:
        partition = partition_of(key, self._n_partitions)
        return Message(self._topic, partition, key.encode(), _encode(body))


class FactPublisher:
    """Tells all logs whose entities have risks what a label said."""

    def __init__(self, rekeyers: Sequence[Rekeyer]) -> None:
        self._rekeyers = rekeyers

    def messages(self, example: Example, event_entity: str | None) -> list[Message]:
        """Give what to publish with an example."""
        facts = [rekeyer.fact(example, event_entity) for rekeyer in self._rekeyers]
        return [fact for fact in facts if fact is not None]
