"""The score lane's handler: events in, decisions out, each remembered until its label comes.

Why the decision is stored before it is published: whoever redelivers an event, this worker after a
crash or another one after a rebalance, finds the first decision and publishes that again, byte
for byte, with the arm that made it. A decision that a consumer has seen never changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from models.reasons import Attribution, Reasons
from models.stores.base import Lease, NewPending, Store
from models.types import Example, Features, Score, Task
from stream import topics
from stream.arms import Arms, plain
from stream.decoding import Event
from stream.derived import Stage
from stream.explaining import Explaining
from stream.intake import Decoder, take_in
from stream.messages import (
    SHARD_KEY,
    Pending,
    decision_of,
    decode_pending,
    encode_json,
    encode_pending,
)
from stream.ports import Message, Outcome, Record
from stream.shadows import Shadows
from stream.silence import Silence


class Scorer(Protocol):
    """What scores: the model in force, or a challenger."""

    def score_many(self, rows: Sequence[Features]) -> list[Score]:
        """Score events, in order."""
        ...

    def explain_many(self, rows: Sequence[Features]) -> list[Attribution]:
        """Attribute the scores that `score_many` gives now to features."""
        ...

    def stamp(self) -> tuple[str, int, bool]:
        """Give (version id, model position, stale) of the model that scores now."""
        ...


class Champion(Scorer, Protocol):
    """The model in force: the live learner where this worker owns it, else a snapshot."""

    @property
    def threshold(self) -> float | None:
        """The threshold that comes with it; None: the configured one."""
        ...


Observer: TypeAlias = Callable[[Sequence[Features], Sequence[Score], Sequence[float]], None]


class ScoreHandler:
    """Validate, score and remember the events of one partition.

    Parameters
    ----------
    arms
        Challengers that decide for some entities, or score some events unserved.
    silence
        Makes negatives of events that nobody labelled in time; None: they are just forgotten.
    explaining
        Says which scores get reasons; None: none.
    stage
        Adds features of the past; None: events are scored as they come.
    observe
        Told of all events that are scored: features, scores and event times.
    """

    def __init__(
        self,
        partition: int,
        *,
        topic: str,
        decoder: Decoder[Any],
        scorer: Champion,
        arms: Arms,
        store: Store,
        task: Task,
        threshold: float,
        ttl: float,
        silence: Silence | None = None,
        explaining: Explaining | None = None,
        stage: Stage | None = None,
        observe: Observer | None = None,
    ) -> None:
        self._partition = partition
        self._topic = topic
        self._decoder = decoder
        self._scorer = scorer
        self._arms = arms
        self._shadows = Shadows(arms, task, partition)
        self._store = store
        self._task = task
        self._threshold = threshold
        self._ttl = ttl
        self._silence = silence
        self.explaining = explaining
        self.stage = stage
        self._observe = observe
        self._fields = decoder.fields if stage is None else stage.fields
        self._lease: Lease | None = None
        self._watermark = float("-inf")
        self._generation_checked = float("-inf")

    @property
    def watermark(self) -> float:
        """The latest event time seen."""
        return self._watermark

    async def open(self, lease: Lease) -> int | None:
        """Take the position from the lease, and write down which features we store."""
        self._lease = lease
        await self._store.save_fields(self._fields.id, self._fields.names)
        if self.stage is not None:
            self.stage.open(lease)
        if self._silence is None:
            # It may have been on before: what is queued would be kept for ever.
            await self._store.forget_silent(lease)
        return lease.position

    async def absorb(self, records: Sequence[Record], position: int, now: float) -> Outcome:
        """Score a batch; events seen before get their stored decision."""
        outcome = Outcome(counts=Counter())
        decoder = self._decoder
        events, offsets = take_in(records, decoder, self._topic, self._partition, outcome)
        assert self._lease is not None, "absorb before open"
        if self.stage is not None:
            events = await self.stage.pass_through(events, self._lease, self._store, outcome)
        pending = self._decide(events, offsets, self._scorer, None)
        if self._arms:
            self._let_arms_decide(events, offsets, pending, outcome)
        news = [
            NewPending(event.event_id, event.event_time, encode_pending(record))
            for event, record in zip(events, pending, strict=True)
        ]
        firsts: list[bytes | None] = []
        if news:
            sweep = self._silence is not None
            firsts = await self._store.put_pending(self._lease, news, sweep=sweep)
        for i, first in enumerate(firsts):
            if first is not None:
                pending[i] = decode_pending(first)
                outcome.counts["redelivered_events"] += 1
        self._publish(events, pending, outcome)
        if self._arms:
            self._shadows.note(zip(events, pending, firsts, strict=True))
        if self._task is Task.ANOMALY:
            self._publish_unlabelled(events, offsets, pending, position, outcome)
        self._watermark = max((event.event_time for event in events), default=self._watermark)
        outcome.watermark = self._watermark
        return outcome

    def _let_arms_decide(
        self, events: list[Event], offsets: list[int], pending: list[Pending], outcome: Outcome
    ) -> None:
        """Let arms decide for their entities; where one fails, the champion has decided."""
        for arm, places in self._arms.shares([event.entity for event in events]):
            mine, at = [events[i] for i in places], [offsets[i] for i in places]
            try:
                decided = self._decide(mine, at, arm, arm.name)
            except Exception as error:
                # A pipeline may raise anything; the champion is not concerned.
                arm.note_failure(error)
                outcome.counts["arm_failures", arm.name] += len(places)
                continue
            arm.note_success()
            outcome.counts["arm_scores", arm.name] += len(places)
            for i, record in zip(places, decided, strict=True):
                pending[i] = record

    def _decide(
        self, events: list[Event], offsets: list[int], scorer: Scorer, arm: str | None
    ) -> list[Pending]:
        """Score events, and decide by the threshold in force: it is one for all arms."""
        rows = [event.features for event in events]
        found = scorer.score_many(rows)
        if arm is None and self._observe is not None:
            self._observe(rows, found, [event.event_time for event in events])
        scores = plain(found)
        version, position, stale = scorer.stamp()
        fields, partition = self._fields.id, self._partition
        threshold = self._scorer.threshold
        if threshold is None:
            threshold = self._threshold
        # By the very model that scored: it learns nothing before this returns.
        reasons: list[Reasons | None] = [None] * len(events)
        if self.explaining is not None and (
            chosen := self.explaining.choose(scores, threshold, position)
        ):
            explained = scorer.explain_many([rows[i] for i in chosen])
            if arm is None:
                self.explaining.note(explained)
            for i, attribution in zip(chosen, explained, strict=True):
                reasons[i] = self.explaining.tell(attribution)
        return [
            Pending(
                fields,
                event.values,
                score,
                threshold,
                version,
                position,
                event.entity,
                partition,
                stale,
                why,
                event.origin,
                arm,
                event.event_time,
                offset,
            )
            for event, score, offset, why in zip(events, scores, offsets, reasons, strict=True)
        ]

    def _publish(self, events: list[Event], pending: list[Pending], outcome: Outcome) -> None:
        task, partition, messages = self._task, self._partition, outcome.messages
        n_alerts = 0
        for event, record in zip(events, pending, strict=True):
            decision = decision_of(task, event.event_id, record)
            body, key = encode_json(decision), event.event_id.encode()
            # Scores stay in their event's partition: those of one entity keep their order.
            messages.append(Message(topics.SCORES.name, partition, key, body))
            if decision.decision == "alert":
                entity = decision.entity
                alert_key = key if entity is None else entity.encode()
                messages.append(Message(topics.ALERTS.name, partition, alert_key, body))
                n_alerts += 1
        outcome.counts["scores"] += len(events)
        outcome.counts["alerts"] += n_alerts

    def _publish_unlabelled(
        self,
        events: list[Event],
        offsets: list[int],
        pending: list[Pending],
        position: int,
        outcome: Outcome,
    ) -> None:
        """Append what an unsupervised model learns from: the event itself, without a label."""
        origin = f"events/{self._partition}"
        for event, offset, record in zip(events, offsets, pending, strict=True):
            if record.offset != offset:
                continue  # The id came before: it was appended then.
            example = Example(
                event.event_id,
                event.features,
                None,
                record.score,
                record.version,
                record.model_position,
                record.event_time,
                record.event_time,
                origin,
                offset,
                position,
                entity=record.entity,
                arm=record.arm or msgspec.UNSET,
            )
            outcome.messages.append(
                Message(topics.EXAMPLES.name, 0, SHARD_KEY, encode_json(example))
            )
            outcome.counts["examples"] += 1

    async def tick(self, position: int, now: float) -> Outcome | None:
        """Sweep silent events, publish shadows, let generations go that no label can reach.

        And save which features have mattered, now and then.
        """
        if self._watermark - self._generation_checked > self._ttl / 64:
            self._generation_checked = self._watermark
            await self._store.expire(self._ttl)
        assert self._lease is not None, "tick before open"
        outcome = None if self._silence is None else await self._silence.sweep(self._lease, now)
        if changes := self._news(now):
            outcome = outcome or Outcome(counts=Counter())
            outcome.changes |= changes
        return self._shadows.add_to(outcome) if self._shadows else outcome

    def _news(self, now: float, *, last: bool = False) -> dict[str, bytes | None]:
        return {} if self.explaining is None else self.explaining.news(now, last=last)

    def hold(self, records: Sequence[Record]) -> bool:
        """Never: events depend on no other lane."""
        return False

    def final(self, now: float) -> Outcome | None:
        """Save which features have mattered; every batch is committed whole."""
        changes = self._news(now, last=True)
        return Outcome(changes=changes, counts=Counter()) if changes else None

    def close(self) -> None:
        """Forget the lease: the lane went to another worker."""
        self._lease = None
        self._shadows.forget()
