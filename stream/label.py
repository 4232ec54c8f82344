"""The label lane's handler: labels in, examples out.

A label finds its scored event and becomes an example, waits for an event that it overtook, or
becomes a dead letter with a reason. It claims the event first: the claim outlives crashes and
workers, so of two labels for one event just one becomes an example, whoever handles them.

Why two origins: `labels/<p>` examples are appended in the order of the labels, `waited/<p>` ones
when their event has come. Each carries its origin's floor, below which everything was acknowledged
before; that is what lets the learner skip redeliveries with a memory of one batch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from models.stores.base import Claimed, Claims, Lease, PendingStore
from models.types import Example, Truth
from stream import topics
from stream.decoding import Label, LabelDecoder
from stream.messages import (
    FeatureFields,
    InvalidMessage,
    decode_pending,
    decode_pending_fields,
    encode_dead_letter,
    encode_json,
)
from stream.ports import Message, Outcome, Record
from stream.score import SHARD_KEY

RETRY_MIN_S = 0.02
RETRY_MAX_S = 1.0
RETRY_LABELS_MAX = 4096


class WaitingLabel(msgspec.Struct, frozen=True, array_like=True):
    """A label that overtook its event, as it is kept in the lane's state."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    since: float


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(WaitingLabel).decode


def waiting_label(record: Record, since: float) -> WaitingLabel:
    """Make the label that waits of a record."""
    headers = list(record.headers or ())
    return WaitingLabel(record.offset, record.timestamp, record.key, record.value, headers, since)


def waiting_entry(kept: WaitingLabel) -> tuple[str, bytes]:
    """Give the entry of the lane's state that keeps a label waiting."""
    return str(kept.offset), _encode(kept)


def claim_of(partition: int, offset: int, truth: Truth) -> bytes:
    """Write the claim of a label: where it was read, and what it says."""
    return f"{partition}@{offset}={truth}".encode()


class LabelHandler:
    """Join the labels of one partition with the events that wait for them.

    Parameters
    ----------
    ttl
        Seconds after its event when a label has expired.
    grace
        Seconds by which events must have passed a label's time, and that the label must have
        waited, before its event is unknown.
    waiting_max
        Labels that may wait; with more, new ones are left in Kafka.
    scored_until
        Event time up to which this worker's score lanes have come, infinite where they have no
        backlog: labels beyond it would only wait.
    """

    def __init__(
        self,
        partition: int,
        *,
        topic: str,
        decoder: LabelDecoder,
        store: PendingStore,
        ttl: float,
        grace: float,
        waiting_max: int,
        scored_until: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self._partition = partition
        self._topic = topic
        self._decoder = decoder
        self._store = store
        self._ttl = ttl
        self._grace = grace
        self._waiting_max = waiting_max
        self._scored_until = scored_until
        self._lease: Lease | None = None
        self._waiting: dict[int, tuple[WaitingLabel, Label]] = {}
        self._fields: dict[int, FeatureFields] = {}
        self._retry_at = 0.0
        self._retry_after = RETRY_MIN_S

    @property
    def n_waiting(self) -> int:
        """Labels that wait for their events."""
        return len(self._waiting)

    async def open(self, lease: Lease) -> int | None:
        """Load the labels that wait."""
        self._lease = lease
        kept = sorted((_decode(value) for value in lease.state.values()), key=lambda w: w.offset)
        self._waiting = {
            waiting.offset: (waiting, self._decoder.decode(waiting.value, waiting.timestamp))
            for waiting in kept
        }
        return lease.position

    async def absorb(self, records: Sequence[Record], position: int, now: float) -> Outcome:
        """Join new labels; those whose event is not there yet wait."""
        outcome = Outcome(counts=Counter())
        outcome.counts["labels"] += len(records)
        labels, sources = self._decode_all(records, outcome)
        own, claims = await self._claim(labels, sources)
        origin = f"labels/{self._partition}"
        for label, record, claim, found in zip(labels, sources, own, claims.found, strict=True):
            if found.record is None:
                self._wait(label, record, now, outcome)
            else:
                self._join(label, record, claim, found, origin, position, outcome)
        if labels:
            outcome.watermark = max(label.label_time for label in labels)
        return outcome

    async def tick(self, position: int, now: float) -> Outcome | None:
        """Try again for the labels that wait, less and less often while none is found."""
        if not self._waiting or now < self._retry_at:
            return None
        outcome = Outcome(counts=Counter())
        # Every waiting label below the floor was appended and committed before this batch.
        floor = min(self._waiting)
        batch = list(self._waiting.values())[:RETRY_LABELS_MAX]
        own, claims = await self._claim([x for _, x in batch], [kept for kept, _ in batch])
        origin = f"waited/{self._partition}"
        for (kept, label), claim, found in zip(batch, own, claims.found, strict=True):
            if found.record is not None:
                self._join(label, kept, claim, found, origin, floor, outcome)
            elif self._unknown(label, kept, claims, now):
                detail = f"no event with id {label.event_id[:64]!r} came, or it expired long ago"
                self._refuse(kept, InvalidMessage("unknown_event", detail), outcome)
            else:
                continue
            outcome.changes[str(kept.offset)] = None
            del self._waiting[kept.offset]
        self._retry_after = RETRY_MIN_S if outcome.changes else self._retry_after * 2
        self._retry_at = now + min(self._retry_after, RETRY_MAX_S)
        return outcome if outcome.changes else None

    def hold(self, records: Sequence[Record]) -> bool:
        """Leave labels in the queue that would run ahead of their events."""
        if len(self._waiting) >= self._waiting_max:
            return True
        scored_until = self._scored_until()
        if scored_until == math.inf:
            return False
        last = records[-1]
        try:
            return self._decoder.decode(last.value, last.timestamp).label_time > scored_until
        except InvalidMessage:
            return False

    def final(self, now: float) -> Outcome | None:
        """Give nothing: every batch is committed whole."""
        return None

    def close(self) -> None:
        """Forget the lane: it went to another worker."""
        self._lease = None
        self._waiting = {}

    def _decode_all(
        self, records: Sequence[Record], outcome: Outcome
    ) -> tuple[list[Label], list[Record]]:
        labels: list[Label] = []
        sources: list[Record] = []
        for record in records:
            try:
                labels.append(self._decoder.decode(record.value, record.timestamp))
                sources.append(record)
            except InvalidMessage as error:
                self._refuse(record, error, outcome)
        return labels, sources

    async def _claim(
        self, labels: Sequence[Label], sources: Sequence[Record | WaitingLabel]
    ) -> tuple[list[bytes], Claims]:
        """Claim the labels' events; give our claims, and those in force."""
        assert self._lease is not None, "a label before open"
        if not labels:
            return [], Claims([], None)
        own = [
            claim_of(self._partition, source.offset, label.truth)
            for label, source in zip(labels, sources, strict=True)
        ]
        pairs = [(label.event_id, claim) for label, claim in zip(labels, own, strict=True)]
        claims = await self._store.claim(self._lease, pairs)
        await self._know_fields(claims.found)
        return own, claims

    async def _know_fields(self, found: Sequence[Claimed]) -> None:
        """Load the feature names that records of another configuration refer to."""
        used = {decode_pending_fields(claimed.record) for claimed in found if claimed.record}
        if not used <= self._fields.keys():
            saved = await self._store.load_fields()
            self._fields = {key: FeatureFields(names) for key, names in saved.items()}

    def _wait(self, label: Label, record: Record, now: float, outcome: Outcome) -> None:
        kept = waiting_label(record, now)
        self._waiting[record.offset] = (kept, label)
        place, content = waiting_entry(kept)
        outcome.changes[place] = content
        outcome.counts["early_labels"] += 1

    def _unknown(self, label: Label, kept: WaitingLabel, claims: Claims, now: float) -> bool:
        # Both clocks: event time alone runs away while events are caught up with or while its own
        # lane rests; waiting alone would give up on a backlog. No watermark: all lanes are idle.
        passed = claims.watermark is None or claims.watermark > label.label_time + self._grace
        return passed and now - kept.since > self._grace

    def _join(
        self,
        label: Label,
        source: Record | WaitingLabel,
        own_claim: bytes,
        found: Claimed,
        origin: str,
        floor: int,
        outcome: Outcome,
    ) -> None:
        assert found.record is not None and found.claim is not None
        pending = decode_pending(found.record)
        delay = label.label_time - pending.event_time
        if found.claim != own_claim:
            first = found.claim.decode().partition("=")[2]
            detail = f"the event was labelled {first} before; this one says {label.truth}"
            self._refuse(source, InvalidMessage("duplicate_label", detail), outcome)
        elif delay > self._ttl:
            detail = f"{delay:.0f} s after its event; at most {self._ttl:.0f} s are waited"
            self._refuse(source, InvalidMessage("expired", detail), outcome)
        else:
            example = Example(
                label.event_id,
                self._fields[pending.fields].features(pending.values),
                label.truth,
                pending.score,
                pending.version,
                pending.model_position,
                pending.event_time,
                label.label_time,
                origin,
                source.offset,
                floor,
            )
            outcome.messages.append(
                Message(topics.EXAMPLES.name, 0, SHARD_KEY, encode_json(example))
            )
            outcome.counts["examples"] += 1
            outcome.label_delays.append(delay)

    def _refuse(
        self, record: Record | WaitingLabel, error: InvalidMessage, outcome: Outcome
    ) -> None:
        letter = encode_dead_letter(record, self._topic, self._partition, error)
        outcome.messages.append(
            Message(topics.DEAD_LETTERS.name, self._partition, record.key, letter)
        )
        outcome.counts["dead_letters", error.reason] += 1
