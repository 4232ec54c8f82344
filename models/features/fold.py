"""The state of all entities of a kind, led over one ordered log of events and label facts.

What is kept here are the histories as bytes, by entity. A lane loads those that it lacks, and takes
the changed ones for its commit; without a store (as in an evaluation) all of them just stay.

The clock is the latest event time so far. An entity is dropped once no window of an event that is
not late can reach anything of its history. Late events find what is left: they are counted in the
windows of those after them, their own windows may lack what was let go, and they are counted.

Why generations: entities expire in whole generations of an eighth of the horizon, by the time of
their newest event. An entity's history moves with it, so what is dropped is dropped by one command
and no entity needs an expiry of its own.

Events are counted in batches, by the compiled kernel where it was built, else here; both give the
same features and histories, to the last bit. A batch is checked whole before any of it counts.
"""

from __future__ import annotations

import hashlib
import math
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from models.compiled import AVAILABLE
from models.errors import CheckpointCorrupt
from models.features.history import HEAD, History, is_whole, newest_of
from models.features.specs import EntitySpec, Stat
from models.features.windows import RiskReader, Row, WindowReader, no_row
from models.stores.base import KeyedChange, KeyedChanges
from models.types import FeatureValue

if AVAILABLE:
    from models.compiled import _native

GENERATIONS = 8
ENTITY_OVERHEAD_BYTES = 190
"""What an entity costs in memory beside its key and history: two objects and a dictionary's place,
measured at a million (benchmarks/features.py)."""

NUMBER_MAX = 1e15
"""Beyond it, sums of squares lose what they are for; events with larger numbers are refused."""

_STAT_NUMBERS = {stat: number for number, stat in enumerate(Stat)}
_pack_double = struct.Struct("<d").pack
_pack_hash = struct.Struct("<Q").pack


class LabelFact(NamedTuple):
    """What a label said of an event, as the entity's history needs to know it."""

    entity: str
    event_hash: int
    event_time: float
    revision: int
    positive: bool


def plain_hash_of(text: str) -> int:
    """Hash an event's id, or a value to tell apart: 64 bits, the same everywhere.

    Examples
    --------
    >>> plain_hash_of("e1")
    292540415853092123
    """
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


_newest_of: Callable[[bytes], float] = _native.newest_of if AVAILABLE else newest_of
hash_of: Callable[[str], int] = _native.hash_of if AVAILABLE else plain_hash_of


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
    compiled
        Whether the kernel in native code counts events.
    """

    def __init__(
        self,
        spec: EntitySpec,
        fields: Sequence[str],
        *,
        memory_max: float = float("inf"),
        complete: bool = True,
        length: float | None = None,
        compiled: bool = AVAILABLE,
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
        self._head_end = [self._n_columns, self._layout]
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
        self._kernel = _kernel(spec, fields) if compiled else None
        self._histories: dict[str, bytes] = {}
        self._before: dict[str, bytes | None] = {}

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
        if not is_whole(data):
            raise CheckpointCorrupt(f"the history of {entity!r} is damaged in the store")
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
        return self.observe_many([entity], [time], [event_hash], [values])[0]

    def observe_many(
        self,
        entities: Sequence[str | None],
        times: Sequence[float],
        hashes: Sequence[int],
        values: Sequence[Sequence[FeatureValue | None]],
    ) -> list[Row]:
        """Count events in, one after the other; all of them or, where one is refused, none."""
        if self._kernel is not None:
            rows, changed, self.time, n_late, n_dropped = self._kernel.observe(
                self._histories, self.time, entities, times, hashes, values
            )
            self.n_late += n_late
            self.n_dropped += n_dropped
            self._put(changed)
            return rows
        events = list(zip(entities, times, hashes, values, strict=True))
        words = [
            [] if entity is None else self._words(time, row) for entity, time, _, row in events
        ]
        return [self._observe(*event, own) for event, own in zip(events, words, strict=True)]

    def _words(self, time: float, values: Sequence[FeatureValue | None]) -> list[bytes]:
        """Pack an event's columns, or refuse it."""
        words = []
        if not math.isfinite(time):
            raise ValueError(f"the time is {time!r}: it must be finite")
        for i in self._value_places:
            value = values[i]
            if value is None or isinstance(value, str):
                raise TypeError(f"{value!r} is not a number")
            if not -NUMBER_MAX <= value <= NUMBER_MAX:
                raise ValueError(f"{value!r} is not a number that windows can take")
            words.append(_pack_double(value))
        return words + [_pack_hash(hash_of(str(values[i]))) for i in self._distinct_places]

    def _observe(
        self,
        entity: str | None,
        time: float,
        event_hash: int,
        values: Sequence[FeatureValue | None],
        words: Sequence[bytes],
    ) -> Row:
        self.time = max(self.time, time)
        self.n_late += time < self.time - self.spec.lateness
        if entity is None:
            return no_row(self.names)
        low = self.low
        data = self._histories.get(entity)
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
                self._put({entity: changed})
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
        n, n_facts, *its = HEAD.unpack_from(data)
        low = self.low
        if not 0 < n < self.spec.events_max or its != self._head_end or hash_word in data:
            return None
        words = memoryview(data).cast("d")
        n_words = 1 + (2 + self._n_columns) * n
        if time < words[n] or time <= low or (n_facts and words[n_words] <= low):
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
        self._put({entity: changed})
        return row

    def learn(self, fact: LabelFact) -> None:
        """Note what a label said of an event, if any window can still reach it."""
        if fact.event_time <= self.low:
            return
        data = self._histories.get(fact.entity)
        history = History(data, self._layout, self._n_columns)
        changed = history.with_fact(fact.event_time, fact.event_hash, fact.revision, fact.positive)
        if changed is not history.data:
            self._put({fact.entity: changed})

    def _put(self, changed: Mapping[str, bytes]) -> None:
        histories, before = self._histories, self._before
        for entity, new in changed.items():
            # Out and in again: the order is that of use.
            old = histories.pop(entity, None)
            histories[entity] = new
            before.setdefault(entity, old)
            if old is None:
                self.n_bytes += len(new) + len(entity) + ENTITY_OVERHEAD_BYTES
            else:
                self.n_bytes += len(new) - len(old)

    def _generation(self, data: bytes) -> int:
        return int(_newest_of(data) // self.length)

    def take_changes(self) -> KeyedChanges:
        """Give what changed since the last time, and the first generation that is still needed."""
        histories, generation = self._histories, self._generation
        changes = [
            KeyedChange(
                entity,
                generation(histories[entity]),
                histories[entity],
                None if old is None else generation(old),
            )
            for entity, old in self._before.items()
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


def _kernel(spec: EntitySpec, fields: Sequence[str]) -> _native.WindowKernel:
    values, distincts = spec.values, spec.distincts
    windows = [
        (
            window.windows,
            [_STAT_NUMBERS[stat] for stat in window.stats],
            -1 if window.value is None else values.index(window.value),
            -1 if window.distinct is None else len(values) + distincts.index(window.distinct),
            window.current,
            window.since_last,
            window.first_seen,
        )
        for window in spec.windows
    ]
    return _native.WindowKernel(
        [fields.index(name) for name in values],
        [fields.index(name) for name in distincts],
        windows,
        spec.risks,
        spec.horizon,
        spec.lateness,
        spec.events_max,
        spec.layout,
    )
