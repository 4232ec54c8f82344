"""Rebuild what Redis held from the logs in Kafka: positions, pending events, claims, the learner.

Each lane's outcomes are in the topics, so its position can be found there (`outcomes`). What
decides what else there is:

- **Pending events**: every decision that was published is pending again, byte for byte; so events
  above the position, which are taken again, are published again and do not change.
- **Claims**: the newest example of an event is its revision in force. Nothing is in flight: a label
  that was claimed and is not in the examples log waits again, and claims again.
- **Entities**: what they had done is not in the outputs. Their pasts begin anew, and waiting events
  are learned without features of it; both are counted. Re-keyed logs go on at their ends.
- **Silence**: decided events that the sweep had not come to join its queue again; those above the
  position do so when they are taken again.
- **The learner** is the fold of the examples log, along the lineage that the audit says was in
  force, cut as a version so that scoring goes on with it. It stays frozen if it was.

The birth record is written last: until then workers refuse to start, and the command can be
repeated.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models import checkpoint
from models.checkpoint import CutReason
from models.learner import Learner
from models.seen import SeenOffsets
from models.stores.base import (
    GENERATIONS_PER_TTL,
    SWEPT,
    Lease,
    NewPending,
    SettledClaim,
    Store,
)
from models.types import Example
from stream import topics
from stream.commands import distinct
from stream.control import FROZEN
from stream.decided import DecidedEvents
from stream.decoding import LabelDecoder
from stream.derived import LOG
from stream.label import waiting_entry, waiting_label
from stream.learners import learner_before
from stream.messages import (
    Decision,
    InvalidMessage,
    decide,
    decode_decision,
    decode_example,
)
from stream.outcomes import Input, Outcomes, RecoveryImpossible
from stream.ports import LogReader, LogRecord
from stream.replay import fold
from stream.retracing import Retraced, retrace
from stream.settings import Settings
from stream.topology import event_topics, lane_kind

STORE_BATCH = 2_000

NO_DECISION = "events without a decision that is still kept, or whose ids had come before"
UNREADABLE_LABELS = "labels without an outcome that this configuration can't decode"
COMMANDS_TO_GIVE_AGAIN = "commands of an earlier release, which have to be given again"
WITHOUT_FEATURES = "events that wait for labels without features of their entities' pasts"
NEVER_TAKEN = "events and labels that were removed before a worker took them"


@dataclass
class Recovered:
    """What was found and written; `gone` counts, by what it means, what could not be."""

    positions: dict[str, int] = field(default_factory=dict)
    n_pending: int = 0
    n_waiting: int = 0
    version: str | None = None
    n_learned: int = 0
    frozen: bool = False
    fingerprint: str = ""
    gone: Counter[str] = field(default_factory=Counter)


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
        self._path = event_topics(settings)
        if len(self._path) > 1 and settings.join.negative_after:
            raise RecoveryImpossible(
                "join.negative_after can't be recovered with features of further entities: what "
                "was silent stands in the order of the re-keyed log. Set it to 0 to recover"
            )
        self._learner = learner
        self._reading = reading
        self.found = Recovered()
        self._outcomes = Outcomes(
            # What was taken from the events topic may not have got through the re-keyed logs.
            self._input(topics.EVENTS, committed if len(self._path) == 1 else {}),
            self._input(topics.LABELS, committed),
            all_scores_kept=not any(
                first for first, _ in log.ends(topics.SCORES.full_name(settings.app)).values()
            ),
            batch_records_max=settings.worker.batch_records_max,
        )
        self._decided = DecidedEvents(
            settings, log=events_log, events=self._outcomes.events, gone=self.found.gone
        )
        self._oldest = math.inf
        self._store: Store | None = None
        self._leases: dict[str, Lease] = {}
        self._retraced = Retraced((), {}, 0)

    async def run(self, store: Store | None, now: float, birth: bytes) -> Recovered:
        """Rebuild everything in the store; without a store, find out what would be written.

        1. Drop what is left, and take all lanes over.
        2. Read scores and dead letters: what came of each event.
        3. Read the audit and the commands: the lineage in force. Read the examples: the learner,
           what came of each label, how far silence was swept.
        4. Read the labels that have no outcome: they wait.
        5. Read scores again with their events: the pending records.
        6. Read the examples again: the claims.
        7. Write positions and the version; then the birth record.

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
        self._retrace_commands()
        self._rebuild_learner()
        waiting = self._find_waiting(now)
        await self._rebuild_pending()
        if self._settings.features.names():
            self.found.gone[WITHOUT_FEATURES] = self.found.n_pending
        await self._restore_claims()
        await self._write_positions(waiting)
        await self._write_version(now)
        if store is not None:
            await store.bear(birth)
        return self.found

    def _input(self, topic: topics.Topic, committed: Mapping[str, Mapping[int, int]]) -> Input:
        name = topic.full_name(self._settings.app)
        side = Input(name, self._log.ends(name), committed.get(topic.name, {}))
        self.found.gone[NEVER_TAKEN] += side.n_never_taken
        return side

    async def _take_over(self, store: Store, epoch: int) -> None:
        kinds = [lane_kind(place, len(self._path)) for place in range(len(self._path))]
        lanes = [
            f"{kind}.{partition}" for kind in kinds for partition in self._outcomes.events.ends
        ]
        lanes += [f"label.{partition}" for partition in self._outcomes.labels.ends]
        lanes.append("learn.0")
        await store.start_over(lanes, epoch)
        for lane in lanes:
            self._leases[lane] = await store.acquire(lane)
        await store.save_fields(self._decided.fields.id, self._decided.fields.names)

    def _read(self, topic: topics.Topic) -> Iterator[Sequence[LogRecord]]:
        name = topic.full_name(self._settings.app)
        for batch in self._log.read(name):
            yield batch
            self._reading(name, len(batch))

    def _read_outcomes(self) -> None:
        task = self._settings.model.task
        for batch in self._read(topics.SCORES):
            one = decode_decision(batch[0].value or b"")
            if decide(task, one.score, one.threshold, one.model_position) != one.decision:
                raise RecoveryImpossible(
                    f"{one.decision!r} for {one.event_id!r} is no decision of model.task = {task}"
                )
            for record in batch:
                self._outcomes.note_score(record.value or b"")
        for batch in self._read(topics.DEAD_LETTERS):
            for record in batch:
                self._outcomes.note_letter(record.value or b"")

    def _retrace_commands(self) -> None:
        values = (one.value or b"" for batch in self._read(topics.AUDIT) for one in batch)
        commands = (one for batch in self._read(topics.CONTROL) for one in batch)
        self._retraced = retrace(distinct(values), commands)
        if self._retraced.segments:
            # A challenger that was promoted began as another learner.
            self._learner = learner_before(self._settings, self._retraced.segments)
        self.found.frozen = self._retraced.changes.get(FROZEN) is not None
        self.found.gone[COMMANDS_TO_GIVE_AGAIN] = self._retraced.n_unknown

    def _rebuild_learner(self) -> None:
        def batches() -> Iterator[list[tuple[int, bytes]]]:
            for batch in self._read(topics.EXAMPLES):
                for record in batch:
                    self._outcomes.note_example(decode_example(record.value or b""))
                yield [(record.offset, record.value or b"") for record in batch]

        for _ in fold(self._learner, batches(), segments=self._retraced.segments):
            pass

    def _find_waiting(self, now: float) -> dict[int, dict[str, bytes | None]]:
        settings, labels = self._settings, self._outcomes.labels
        decoder = LabelDecoder(settings.label, settings.model.task, settings.event)
        waiting: dict[int, dict[str, bytes | None]] = defaultdict(dict)
        for partition in labels.ends:
            position = self._outcomes.label_position(partition)
            for gap in labels.gaps(partition, position):
                for batch in self._log.read(labels.name, {partition: gap}):
                    for record in batch:
                        try:
                            label = decoder.decode(record.value, record.timestamp)
                        except InvalidMessage:
                            self.found.gone[UNREADABLE_LABELS] += 1
                            continue
                        place, content = waiting_entry(waiting_label(record, now))
                        waiting[partition][place] = content
                        self._outcomes.hold_back(partition, label.label_time)
        self.found.n_waiting = sum(map(len, waiting.values()))
        return waiting

    async def _rebuild_pending(self) -> None:
        # What every lane has passed by the TTL, no label can reach: workers would drop it at once.
        self._oldest = oldest = self._outcomes.time_of_labels() - self._settings.join.ttl
        for batch in self._read(topics.SCORES):
            wanted: dict[int, dict[int, tuple[Decision, bytes]]] = defaultdict(dict)
            for record in batch:
                decision = decode_decision(record.value or b"")
                if decision.event_time >= oldest or self._is_unswept(decision):
                    places = wanted[decision.partition]
                    places[decision.offset] = decision, record.value or b""
                    self._oldest = min(self._oldest, decision.event_time)
            for partition, places in wanted.items():
                found = self._decided.pending(partition, places)
                # The queue has the order of the offsets, as a lane's own scores have. An id that
                # also came on another partition is among the scores of that one, out of order.
                at = self._place_in_queue(partition) if batch[0].partition == partition else None
                unswept = [found.pop(n) for n in list(found) if at is not None and n in at]
                await self._put(partition, unswept, sweep=True)
                await self._put(partition, list(found.values()))

    def _is_unswept(self, decision: Decision) -> bool:
        swept = self._outcomes.swept.get(decision.partition)
        on = self._settings.join.negative_after > 0
        return on and swept is not None and decision.offset >= swept

    def _place_in_queue(self, partition: int) -> range | None:
        if not self._settings.join.negative_after:
            return None
        position = self._outcomes.score_position(partition) or 0
        return range(self._outcomes.swept.get(partition, 0), position)

    async def _put(self, partition: int, pending: list[NewPending], *, sweep: bool = False) -> None:
        for some in _parts(pending):
            if self._store is None:
                self.found.n_pending += len(some)
            else:
                lease = self._leases[f"score.{partition}"]
                first = await self._store.put_pending(lease, some, sweep=sweep)
                self.found.n_pending += first.count(None)

    async def _restore_claims(self) -> None:
        if self._store is None:
            return
        # One that was appended twice may stand behind the revision that came after it.
        seen = SeenOffsets()
        for batch in self._read(topics.EXAMPLES):
            examples = [decode_example(record.value or b"") for record in batch]
            claims = [
                _claim(e)
                for e in examples
                if seen.admit(e.origin, e.offset, e.floor) and self._is_claim(e)
            ]
            for some in _parts(claims):
                await self._store.restore_claims(self._leases["learn.0"], some)

    def _is_claim(self, example: Example) -> bool:
        if example.label is None:
            return False
        oldest, join = self._oldest, self._settings.join
        if example.score is None and join.negative_after:
            # A label may come up to a TTL before its event, which silence must see.
            oldest -= join.ttl * (1 + 1 / GENERATIONS_PER_TTL)
        return example.event_time >= oldest

    async def _write_positions(self, waiting: Mapping[int, dict[str, bytes | None]]) -> None:
        outcomes = self._outcomes
        for partition in outcomes.events.ends:
            position = outcomes.score_position(partition)
            mark = outcomes.events.watermarks.get(partition)
            swept = outcomes.swept.get(partition)
            changes = {} if swept is None else {SWEPT: b"%d" % swept}
            await self._commit(
                f"{lane_kind(0, len(self._path))}.{partition}", position, changes, mark
            )
            gaps = outcomes.events.gaps(partition, position)
            self.found.gone[NO_DECISION] += sum(end - start for start, end in gaps)
        for place, topic in enumerate(self._path[1:], 1):
            # What has no outcome is taken from the events topic again, and comes behind the end.
            kind, name = lane_kind(place, len(self._path)), topic.full_name(self._settings.app)
            for partition, (_, end) in self._log.ends(name).items():
                mark = outcomes.events.watermarks.get(partition)
                log = {LOG: topic.name.encode()}
                await self._commit(f"{kind}.{partition}", end, log, mark)
        for partition in outcomes.labels.ends:
            position = outcomes.label_position(partition)
            mark = outcomes.labels.watermarks.get(partition)
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
        segments, changes, _ = self._retraced
        if learner.position == 0 and not segments:
            if changes:
                await self._commit("learn.0", 0, changes, None)
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
                segments=segments,
            )
            await self._store.cut_version(
                self._leases["learn.0"],
                learner.position,
                meta.id,
                checkpoint.seal(meta, blob, self._settings.versions.key_ring()),
                blob,
                self._settings.versions.keep,
                replace=True,  # This one is proven; what a store that lost data has is not.
                changes=changes,
            )


def _parts(items: Sequence[Any]) -> Iterable[list[Any]]:
    return (list(items[i : i + STORE_BATCH]) for i in range(0, len(items), STORE_BATCH))


def _claim(example: Example) -> SettledClaim:
    silent = example.origin.startswith("silence/")
    return SettledClaim(
        example.event_id,
        example.event_time,
        example.revision,
        None if silent else str(example.label),
        example.score is None,
    )
