"""Silence becomes a negative: events that nobody labelled in time are learned as what most are.

The score lane queues its events in the store as it scores them, and sweeps that queue in order once
their time is over. An event is claimed for silence as it would be for a label, so it becomes an
example once; a label that comes later is the next revision. The queue's order is that of the
offsets, and the lane's state says how far its negatives are in the log: that is the floor of their
origin, `silence/<p>`, by which the learner tells repetitions.

Why in the order of offsets and not of times: a bounded look at the head of a queue is all that a
sweep costs. An event waits for those before it, so disorder can make a negative late, never early.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from models.stores.base import SWEPT, Lease, PendingStore
from models.types import Example
from stream import topics
from stream.fields import SavedFields
from stream.messages import SHARD_KEY, decode_pending, encode_json
from stream.ports import Message, Outcome

SWEEP_EVENTS_MAX = 2048
RETRY_MIN_S = 0.02
RETRY_MAX_S = 1.0


class Silence:
    """Sweeps the events of one partition.

    Parameters
    ----------
    negative_after
        Seconds of event time after which an event without a label is a negative.
    weight
        What such a negative weighs.
    """

    def __init__(
        self, partition: int, *, store: PendingStore, negative_after: float, weight: float
    ) -> None:
        self._partition = partition
        self._store = store
        self._negative_after = negative_after
        self._weight = weight
        self._fields = SavedFields(store)
        self._retry_at = 0.0
        self._retry_after = RETRY_MIN_S

    async def sweep(self, lease: Lease, now: float) -> Outcome | None:
        """Make negatives of the next events that are due; look less often while none is."""
        if now < self._retry_at:
            return None
        swept = await self._store.sweep_silent(lease, self._negative_after, SWEEP_EVENTS_MAX)
        moved = swept.next > swept.floor
        self._retry_after = RETRY_MIN_S if moved else min(self._retry_after * 2, RETRY_MAX_S)
        self._retry_at = now if swept.more else now + self._retry_after
        if not moved:
            return None
        outcome = Outcome(changes={SWEPT: b"%d" % swept.next}, counts=Counter())
        await self._fields.know(record for _, record in swept.silent)
        for event_id, record in swept.silent:
            example = self._negative(event_id, record, swept.floor)
            outcome.messages.append(
                Message(topics.EXAMPLES.name, 0, SHARD_KEY, encode_json(example))
            )
        outcome.counts["examples"] = outcome.counts["negatives"] = len(swept.silent)
        return outcome

    def _negative(self, event_id: str, record: bytes, floor: int) -> Example:
        pending = decode_pending(record)
        return Example(
            event_id,
            self._fields.features(pending),
            False,
            pending.score,
            pending.version,
            pending.model_position,
            pending.event_time,
            pending.event_time + self._negative_after,
            f"silence/{self._partition}",
            pending.offset,
            floor,
            self._weight,
            entity=pending.entity,
            arm=pending.arm or msgspec.UNSET,
        )
