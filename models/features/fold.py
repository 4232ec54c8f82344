"""The state of all entities of a kind, led over one ordered log of events and label facts.

What is kept here are the histories as bytes, by entity. A lane loads those that it lacks, and takes
the changed ones for its commit; without a store (as in an evaluation) all of them just stay.

The clock is the latest event time so far. An entity is dropped once no window of an event that is
not late can reach anything of its history. Late events find what is left: they are counted in the
windows of those after them, their own windows may lack what was let go, and they are counted.

Why generations: entities expire in whole generations of an eighth of the horizon, by the time of
their newest event. An entity's history moves with it, so what is dropped is dropped by one command
and no entity needs an expiry of its own.
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from models.features.history import HEAD, History, newest_of
from models.features.specs import EntitySpec
from models.features.windows import RiskReader, Row, WindowReader, no_row
from models.stores.base import KeyedChange, KeyedChanges
from models.types import FeatureValue

GENERATIONS = 8
ENTITY_OVERHEAD_BYTES = 190
"""What an entity costs in memory beside its key and history: two objects and a dictionary's place,
measured at a million (benchmarks/features.py)."""

_pack_double = struct.Struct("<d").pack
_pack_hash = struct.Struct("<Q").pack


class LabelFact(NamedTuple):
    """What a label said of an event, as the entity's history needs to know it."""

    entity: str
    event_hash: int
    event_time: float
    revision: int
    positive: bool


def hash_of(text: str) -> int:
    """Hash an event's id, or a value to tell apart: 64 bits, the same everywhere.

    Examples
    --------
    >>> hash_of("e1")
    292540415853092123
    """
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


class EntityFold:
    """Computes the features of one kind of entity, event by event.

    Parameters
    ----------
    spec
        What is computed.
    fields
        Names of the events' values, in their order.
    memory_max
        Bytes that histories may take here; beyond, `trim` lets go of those unused for longest.
    complete
        Whether an entity that is not here has no history anywhere.
    length
        Seconds of a generation, where histories are stored in such already.
    """

    def __init__(
        self,
        spec: EntitySpec,
        fields: Sequence[str],
        *,
        memory_max: float = float("inf"),
        complete: bool = True,
        length: float | None = None,
    ) -> None:
        self.spec = spec
        self.names = spec.names
        self.time = float("-inf")
        self.n_bytes = 0
        self.n_late = 0
        self.n_dropped = 0
        """Events that are not kept because their entities had more than `events_max`."""
        self._complete = complete
        self._memory_max = memory_max
        self._horizon = spec.horizon
        self.length = length or self._horizon / GENERATIONS
        self._layout = spec.layout
        values, distincts = spec.values, spec.distincts
        self._value_places = [fields.index(name) for name in values]
        self._distinct_places = [fields.index(name) for name in distincts]
        self._n_columns = len(values) + len(distincts)
        self._readers = [
            (
                WindowReader(
                    window,
                    values.index(window.value) if window.value is not None else 0,
                    len(values) + (distincts.index(window.distinct) if window.distinct else 0),
                ),
                None if window.value is None else fields.index(window.value),
            )
            for window in spec.windows
        ]
        self._additive = all(reader.is_additive for reader, _ in self._readers)
        self._risks = [RiskReader(risk, self._n_columns) for risk in spec.risks]
        self._histories: dict[str, bytes] = {}
        self._before: dict[str, int | None] = {}

    def __len__(self) -> int:
        return len(self._histories)

    @property
    def low(self) -> float:
        """Time up to which nothing matters any more."""
        return self.time - self._horizon

    def missing(self, entities: Iterable[str | None]) -> list[str]:
        """Say whose histories have to be loaded first."""
        if self._complete:
            return []
        here = self._histories
        return [e for e in dict.fromkeys(entities) if e is not None and e not in here]

    def load(self, entity: str, data: bytes) -> None:
        """Take a history from where it was stored."""
        self._histories[entity] = data
        self.n_bytes += len(data) + len(entity) + ENTITY_OVERHEAD_BYTES

    def observe(
        self,
        entity: str | None,
        time: float,
        event_hash: int,
        values: Sequence[FeatureValue | None],
    ) -> Row:
        """Count an event in, unless it has been before, and give its features."""
        self.time = max(self.time, time)
        self.n_late += time < self.time - self.spec.lateness
        if entity is None:
            return no_row(self.names)
        low = self.low
        data = self._histories.get(entity)
        words = [_pack_double(values[i]) for i in self._value_places]  # type: ignore[arg-type]
        for i in self._distinct_places:
            words.append(_pack_hash(hash_of(str(values[i]))))
        if data is not None and self._additive:
            row = self._observe_next(entity, data, time, _pack_hash(event_hash), values, words)
            if row is not None:
                return row
        history = History(data, self._layout, self._n_columns)
        place = history.find(event_hash)
        if place < 0 or history.times[place] <= low:
            events_max = self.spec.events_max
            if history.n_events >= events_max and history.times[0] > low:
                self.n_dropped += 1
            changed, place = history.with_event(time, event_hash, words, low, events_max)
            history = History(changed, self._layout, self._n_columns)
            # What is older than all that may be kept is seen in its own windows alone.
            if time > low and history.n_events <= events_max:
                self._put(entity, data, changed)
        row = []
        for reader, own_place in self._readers:
            own = 0.0 if own_place is None else float(values[own_place] or 0.0)
            reader.read(history, place, time, own, row)
        for risk in self._risks:
            risk.read(history.data, history.n_events, history.n_facts, time, row)
        return row

    def _observe_next(
        self,
        entity: str,
        data: bytes,
        time: float,
        hash_word: bytes,
        values: Sequence[FeatureValue | None],
        value_words: Sequence[bytes],
    ) -> Row | None:
        """Count in an event that is simply the next one of its entity; None if it is not.

        Why a second way: nearly all events take it, and it makes neither views nor a copy to read
        from. It gives what the first way gives, to the last bit.
        """
        n, n_facts, _, layout = HEAD.unpack_from(data)
        low = self.time - self._horizon
        if not 0 < n < self.spec.events_max or layout != self._layout or hash_word in data:
            return None
        words = memoryview(data).cast("d")
        n_words = 1 + (2 + self._n_columns) * n
        if time < words[n] or (n_facts and words[n_words] <= low):
            return None
        first = 0 if words[1] > low else bisect_right(words, low, 1, n + 1) - 1
        row: Row = []
        for reader, own_place in self._readers:
            own = 0.0 if own_place is None else float(values[own_place] or 0.0)
            reader.read_next(words, n, n, first, time, own, row)
        parts = [HEAD.pack(n - first + 1, n_facts, self._n_columns, self._layout)]
        start = 8
        for word in (_pack_double(time), hash_word, *value_words):
            parts += (data[start + 8 * first : start + 8 * n], word)
            start += 8 * n
        if n_facts:
            parts.append(data[start:])
        changed = b"".join(parts)
        for risk in self._risks:
            risk.read(changed, n - first + 1, n_facts, time, row)
        self._put(entity, data, changed)
        return row

    def learn(self, fact: LabelFact) -> None:
        """Note what a label said of an event, if any window can still reach it."""
        if fact.event_time <= self.low:
            return
        data = self._histories.get(fact.entity)
        history = History(data, self._layout, self._n_columns)
        changed = history.with_fact(fact.event_time, fact.event_hash, fact.revision, fact.positive)
        if data is not None or History(changed, self._layout, self._n_columns).n_facts:
            self._put(fact.entity, data, changed)

    def _put(self, entity: str, old: bytes | None, new: bytes) -> None:
        if entity not in self._before:
            self._before[entity] = None if old is None else self._generation(old)
        if old is None:
            self.n_bytes += len(new) + len(entity) + ENTITY_OVERHEAD_BYTES
        else:
            self.n_bytes += len(new) - len(old)
            del self._histories[entity]  # So that the order is that of use.
        self._histories[entity] = new

    def _generation(self, data: bytes) -> int:
        return int(newest_of(data) // self.length)

    def take_changes(self) -> KeyedChanges:
        """Give what changed since the last time, and the first generation that is still needed."""
        histories = self._histories
        changes = [
            KeyedChange(entity, self._generation(histories[entity]), histories[entity], before)
            for entity, before in self._before.items()
        ]
        self._before.clear()
        return KeyedChanges(changes, self._floor())

    def _floor(self) -> int | None:
        return None if self.time == float("-inf") else int(self.low // self.length)

    def trim(self) -> None:
        """Let go of histories that are over, and of those unused for longest beyond the memory.

        To be called when all changes are stored.
        """
        histories = self._histories
        floor = self._floor()
        while histories:
            oldest = next(iter(histories))
            data = histories[oldest]
            over = floor is not None and self._generation(data) < floor
            if not over and self.n_bytes <= self._memory_max:
                break
            # What is over is gone from the store as well; what is only unused can be had again.
            self._complete = self._complete and over
            del histories[oldest]
            self.n_bytes -= len(data) + len(oldest) + ENTITY_OVERHEAD_BYTES
