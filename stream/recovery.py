"""Rebuild what Redis held from the logs in Kafka: positions, pending events, claims, the learner.

Each lane's outcomes are in the topics, so its position can be found there. What decides where:

- **Score lanes** go back to what their group had committed to Kafka, which was in Redis before.
  From there events are taken again, and since every decision that was published is pending again,
  byte for byte, it is published again and does not change. Without a committed offset they go back
  one batch before the first event that has no outcome: a crash may have published a batch's scores
  and not its alerts.
- **Label lanes** go on after the last label that has an outcome, never before it: a label that
  waited was appended under `waited/<p>`, and taken again it would come as `labels/<p>`, which the
  learner could not tell for the same. Labels below that have no outcome wait again, for the same
  reason: as `labels/<p>` they would lie below the floor of later examples and never be learned.
- **The learner** is the fold of the examples log, cut as a version so that scoring goes on with it.

The birth record is written last: until then workers refuse to start, and the command can be
repeated.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from models import checkpoint
from models.checkpoint import CutReason
from models.learner import Learner
from models.stores.base import Lease, NewPending, Store
from models.types import Example
from stream import topics
from stream.decoding import EventDecoder, LabelDecoder
from stream.label import claim_of, waiting_entry, waiting_label
from stream.messages import (
    Decision,
    InvalidMessage,
    Pending,
    decision_of,
    decode_decision,
    decode_example,
    encode_json,
    encode_pending,
)
from stream.ports import Ends, LogReader, LogRecord
from stream.replay import fold
from stream.runs import Runs, windows
from stream.settings import Settings

STORE_BATCH = 2_000
WINDOW_GAP_MAX = 20_000
"""Records that are cheaper to read over than to seek past: about one fetch."""

NO_EVENT = "decisions whose events are no longer kept: their labels will be unknown_event"
NO_DECISION = "events without a decision that is still kept, or whose ids had come before"
UNREADABLE_EVENTS = (
    "events that this configuration can't decode: their labels will be unknown_event"
)
UNREADABLE_LABELS = "labels without an outcome that this configuration can't decode"
NEVER_TAKEN = "events and labels that were removed before a worker took them"


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
class Recovered:
    """What was found and written; `gone` counts, by what it means, what could not be."""

    positions: dict[str, int] = field(default_factory=dict)
    n_pending: int = 0
    n_waiting: int = 0
    version: str | None = None
    n_learned: int = 0
    fingerprint: str = ""
    gone: Counter[str] = field(default_factory=Counter)


@dataclass
class _Input:
    """An input topic: what is kept of it, what came of it, and how far that has come in time."""

    name: str
    ends: Ends
    committed: Mapping[int, int]
    outcomes: dict[int, Runs] = field(default_factory=lambda: defaultdict(Runs))
    watermarks: dict[int, float] = field(default_factory=dict)

    def note(self, partition: int, offset: int, event_time: float | None = None) -> None:
        if offset >= self.ends.get(partition, (0, 0))[0]:
            self.outcomes[partition].add(offset)
        if event_time is not None:
            latest = self.watermarks.get(partition, event_time)
            self.watermarks[partition] = max(latest, event_time)


class Recovery:
    """One recovery of one application.

    Parameters
    ----------
    log, events_log
        Two readers of the same cluster: events are looked up while scores are read.
    committed
        What the group has committed: topic, without prefix, to offsets by partition.
    learner
        A fresh one.
    reading
        Told of every batch: topic and records in it.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        log: LogReader,
        events_log: LogReader,
        committed: Mapping[str, Mapping[int, int]],
        learner: Learner,
        reading: Callable[[str, int], None] = lambda topic, n: None,
    ) -> None:
        self._settings = settings
        self._log = log
        self._events_log = events_log
        self._learner = learner
        self._reading = reading
        self.found = Recovered()
        self._events = self._input(topics.EVENTS, committed)
        self._labels = self._input(topics.LABELS, committed)
        self._decoder = EventDecoder(settings.event)
        self._store: Store | None = None
        self._leases: dict[str, Lease] = {}

    async def run(self, store: Store | None, now: float, birth: bytes) -> Recovered:
        """Rebuild everything in the store; without a store, find out what would be written.

        1. Drop what is left, and take all lanes over.
        2. Read scores and dead letters: what came of each event.
        3. Read scores again with their events: the pending records.
        4. Read the examples: claims, what came of each label, and the learner.
        5. Read the labels that have no outcome: they wait.
        6. Write positions and the version; then the birth record.

        Raises
        ------
        LogIncomplete
            When examples are missing: the model could not be proven to be the one that was lost.
        RecoveryImpossible
            When a decision does not come out as it was published.
        """
        self._store = store
        if store is not None:
            await self._take_over(store, epoch=int(now * 1000))
        self._read_outcomes()
        await self._rebuild_pending()
        await self._rebuild_learner()
        waiting = self._find_waiting(now)
        await self._write_positions(waiting)
        await self._write_version(now)
        if store is not None:
            await store.bear(birth)
        return self.found

    def _input(self, topic: topics.Topic, committed: Mapping[str, Mapping[int, int]]) -> _Input:
        name = topic.full_name(self._settings.app)
        kept, before = self._log.ends(name), committed.get(topic.name, {})
        for partition, offset in before.items():
            first, end = kept.get(partition, (0, 0))
            if offset > end:
                raise RecoveryImpossible(
                    f"the workers had committed offset {offset} of {name}/{partition}, which ends "
                    f"at {end}: the topic was deleted and made again, or this is another cluster"
                )
            self.found.gone[NEVER_TAKEN] += max(0, first - offset)
        return _Input(name, kept, before)

    async def _take_over(self, store: Store, epoch: int) -> None:
        lanes = [f"score.{partition}" for partition in self._events.ends]
        lanes += [f"label.{partition}" for partition in self._labels.ends]
        lanes.append("learn.0")
        await store.start_over(lanes, epoch)
        for lane in lanes:
            self._leases[lane] = await store.acquire(lane)
        await store.save_fields(self._decoder.fields.id, self._decoder.fields.names)

    def _read(self, topic: topics.Topic) -> Iterator[Sequence[LogRecord]]:
        name = topic.full_name(self._settings.app)
        for batch in self._log.read(name):
            yield batch
            self._reading(name, len(batch))

    def _read_outcomes(self) -> None:
        for batch in self._read(topics.SCORES):
            for record in batch:
                score = _decision_origin(record.value or b"")
                self._events.note(score.partition, score.offset, score.event_time)
        inputs = {side.name: side for side in (self._events, self._labels)}
        for batch in self._read(topics.DEAD_LETTERS):
            for record in batch:
                letter = _letter_origin(record.value or b"")
                if letter.topic in inputs:
                    inputs[letter.topic].note(letter.partition, letter.offset)

    async def _rebuild_pending(self) -> None:
        # What every lane has passed by the TTL, no label can reach: workers would drop it at once.
        oldest = min(self._events.watermarks.values(), default=0.0) - self._settings.join.ttl
        for batch in self._read(topics.SCORES):
            wanted: dict[int, dict[int, tuple[Decision, bytes]]] = defaultdict(dict)
            for record in batch:
                decision = decode_decision(record.value or b"")
                if decision.event_time >= oldest:
                    places = wanted[decision.partition]
                    places[decision.offset] = decision, record.value or b""
            for partition, places in wanted.items():
                await self._put(partition, self._with_events(partition, places))

    def _with_events(
        self, partition: int, places: dict[int, tuple[Decision, bytes]]
    ) -> list[NewPending]:
        first, _ = self._events.ends.get(partition, (0, 0))
        kept = [offset for offset in places if offset >= first]
        found: list[NewPending] = []
        n_read = 0
        for window in windows(kept, WINDOW_GAP_MAX):
            for events in self._events_log.read(self._events.name, {partition: window}):
                for event in events:
                    if event.offset in places:
                        n_read += 1
                        found += self._pending(event, *places[event.offset])
        self.found.gone[NO_EVENT] += len(places) - n_read
        return found

    def _pending(self, record: LogRecord, decision: Decision, published: bytes) -> list[NewPending]:
        try:
            event = self._decoder.decode(record.value, record.timestamp)
        except InvalidMessage:
            self.found.gone[UNREADABLE_EVENTS] += 1
            return []
        pending = Pending(
            self._decoder.fields.id,
            event.values,
            decision.score,
            decision.threshold,
            decision.version,
            decision.model_position,
            decision.event_time,
            decision.entity,
            decision.partition,
            decision.offset,
            decision.stale,
        )
        rebuilt = encode_json(decision_of(self._settings.model.task, event.event_id, pending))
        if rebuilt != published:
            raise RecoveryImpossible(
                f"the event at {self._events.name}/{record.partition}/{record.offset} gives "
                f"another decision than was published for {decision.event_id!r}: is this the "
                "configuration (model.task, event.id) that the workers had?"
            )
        return [NewPending(event.event_id, decision.event_time, encode_pending(pending))]

    async def _put(self, partition: int, pending: list[NewPending]) -> None:
        for some in _parts(pending):
            if self._store is None:
                self.found.n_pending += len(some)
            else:
                first = await self._store.put_pending(self._leases[f"score.{partition}"], some)
                self.found.n_pending += first.count(None)

    async def _rebuild_learner(self) -> None:
        examples: list[Example] = []

        def batches() -> Iterator[list[tuple[int, bytes]]]:
            for batch in self._read(topics.EXAMPLES):
                examples[:] = [decode_example(record.value or b"") for record in batch]
                yield [(record.offset, record.value or b"") for record in batch]

        for _ in fold(self._learner, batches()):
            claims: dict[int, list[tuple[str, bytes]]] = defaultdict(list)
            for example in examples:
                lane, _, place = example.origin.partition("/")
                if lane != "events" and example.label is not None:
                    partition = int(place)
                    self._labels.note(partition, example.offset, example.label_time)
                    claim = claim_of(partition, example.offset, example.label)
                    claims[partition].append((example.event_id, claim))
            await self._claim(claims)

    async def _claim(self, claims: Mapping[int, list[tuple[str, bytes]]]) -> None:
        if self._store is not None:
            for partition, pairs in claims.items():
                for some in _parts(pairs):
                    await self._store.claim(self._leases[f"label.{partition}"], some)

    def _find_waiting(self, now: float) -> dict[int, dict[str, bytes | None]]:
        decoder = LabelDecoder(self._settings.label, self._settings.model.task)
        waiting: dict[int, dict[str, bytes | None]] = defaultdict(dict)
        for partition, (first, _) in self._labels.ends.items():
            position = self._position_of_label_lane(partition) or 0
            for gap in self._labels.outcomes[partition].gaps(first, position):
                for batch in self._log.read(self._labels.name, {partition: gap}):
                    for record in batch:
                        try:
                            decoder.decode(record.value, record.timestamp)
                        except InvalidMessage:
                            self.found.gone[UNREADABLE_LABELS] += 1
                            continue
                        place, content = waiting_entry(waiting_label(record, now))
                        waiting[partition][place] = content
        self.found.n_waiting = sum(map(len, waiting.values()))
        return waiting

    def _position_of_label_lane(self, partition: int) -> int | None:
        outcomes, committed = self._labels.outcomes[partition], self._labels.committed
        return max(committed.get(partition, 0), outcomes.end) or None

    def _position_of_score_lane(self, partition: int) -> int | None:
        committed = self._events.committed.get(partition)
        outcomes = self._events.outcomes[partition]
        if committed is not None or not outcomes:
            return committed
        start, end = next(iter(outcomes))
        scores = self._log.ends(topics.SCORES.full_name(self._settings.app))
        if not any(first for first, _ in scores.values()):
            # No decision was removed yet: events before the first outcome have none.
            start, _ = self._events.ends[partition]
        return max(start, end - self._settings.worker.batch_records_max)

    async def _write_positions(self, waiting: Mapping[int, dict[str, bytes | None]]) -> None:
        for partition, (first, _) in self._events.ends.items():
            position = self._position_of_score_lane(partition)
            mark = self._events.watermarks.get(partition)
            await self._commit(f"score.{partition}", position, {}, mark)
            gaps = self._events.outcomes[partition].gaps(first, position or 0)
            self.found.gone[NO_DECISION] += sum(end - start for start, end in gaps)
        for partition in self._labels.ends:
            position = self._position_of_label_lane(partition)
            mark = self._labels.watermarks.get(partition)
            await self._commit(f"label.{partition}", position, waiting.get(partition, {}), mark)

    async def _commit(
        self,
        lane: str,
        position: int | None,
        changes: Mapping[str, bytes | None],
        watermark: float | None,
    ) -> None:
        if position is not None:
            self.found.positions[lane] = position
            if self._store is not None:
                await self._store.commit(self._leases[lane], position, changes, watermark)

    async def _write_version(self, now: float) -> None:
        learner = self._learner
        self.found.n_learned = learner.n_learned
        if learner.position == 0:
            return
        self.found.fingerprint = learner.fingerprint()
        self.found.version = learner.version_id
        self.found.positions["learn.0"] = learner.position
        if self._store is not None:
            meta, blob = checkpoint.encode(
                learner,
                parent=None,
                libraries=checkpoint.libraries(),
                cut_time=now,
                reason=CutReason.REBUILT,
            )
            await self._store.cut_version(
                self._leases["learn.0"],
                learner.position,
                meta.id,
                checkpoint.seal(meta, blob, self._settings.versions.key_ring()),
                blob,
                self._settings.versions.keep,
            )


def _parts(items: Sequence[Any]) -> Iterable[list[Any]]:
    return (list(items[i : i + STORE_BATCH]) for i in range(0, len(items), STORE_BATCH))
