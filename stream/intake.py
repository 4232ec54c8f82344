"""Taking records of events in: decoded, or made dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from models.features import LabelFact
from stream import topics
from stream.decoding import Event
from stream.messages import FeatureFields, InvalidMessage, encode_dead_letter
from stream.ports import Message, Outcome, Record

Item = TypeVar("Item", bound=Event | LabelFact)
Item_co = TypeVar("Item_co", bound=Event | LabelFact, covariant=True)


class Decoder(Protocol[Item_co]):
    """Reads what a log of events holds."""

    @property
    def fields(self) -> FeatureFields:
        """Names of the events' values."""
        ...

    @property
    def counter(self) -> str:
        """What its records are counted as."""
        ...

    def decode(self, value: bytes | None, timestamp_ms: int = 0) -> Item_co:
        """Read one record; raises `InvalidMessage`."""
        ...


def take_in(
    records: Sequence[Record], decoder: Decoder[Item], topic: str, partition: int, outcome: Outcome
) -> tuple[list[Item], list[int]]:
    """Give what the records say, and the offsets of the events among it."""
    items: list[Item] = []
    offsets: list[int] = []
    decode = decoder.decode
    for record in records:
        try:
            item = decode(record.value, record.timestamp)
            items.append(item)
            if type(item) is Event:
                offsets.append(record.offset)
        except InvalidMessage as error:
            letter = encode_dead_letter(record, topic, partition, error)
            outcome.messages.append(
                Message(topics.DEAD_LETTERS.name, partition, record.key, letter)
            )
            outcome.counts["dead_letters", error.reason] += 1
    outcome.counts[decoder.counter] += len(records)
    return items, offsets
