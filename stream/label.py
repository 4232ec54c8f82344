"""The label lane's handler: labels in, examples out.

A label finds its scored event and becomes an example, waits for an event that it overtook, or
becomes a dead letter with a reason. It claims the event first: the claim outlives crashes and
workers, so of two labels for one event that agree just one becomes an example, whoever handles
them, and of two that disagree the later claim is the next revision. A correction whose predecessor
is not in the examples log yet waits like a label without event: revisions are learned in order.

Why two origins: `labels/<p>` examples are appended in the order of the labels, `waited/<p>` ones
when their event has come. Each carries its origin's floor, below which everything was acknowledged
before; that is what lets the learner skip redeliveries with a memory of one batch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from models.stores.base import (
    GIVEN_UP,
    RECORD_HEAD,
    Claimed,
    Claims,
    Lease,
    NewClaim,
    PendingStore,
    Verdict,
)
from models.types import Example
from stream import topics
from stream.decoding import Label, LabelDecoder
from stream.fields import SavedFields
from stream.messages import (
    SHARD_KEY,
    InvalidMessage,
    decode_pending,
    encode_dead_letter,
    encode_json,
)
from stream.ports import Message, Outcome, Record
from stream.re_keyed import FactPublisher

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
    given_up: bool = False


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(WaitingLabel).decode


def waiting_label(record: Record, since: float) -> WaitingLabel:
    """Make the label that waits of a record."""
    headers = list(record.headers or ())
    return WaitingLabel(record.offset, record.timestamp, record.key, record.value, headers, since)


def waiting_entry(kept: WaitingLabel) -> tuple[str, bytes]:
    """Give the entry of the lane's state that keeps a label waiting."""
    return (GIVEN_UP if kept.given_up else "") + str(kept.offset), _encode(kept)


class LabelHandler:
    """Join the labels of one partition with the events that wait for them.

    Parameters
    ----------
    ttl
        Seconds after its event when a label has expired.
    corrections
        Whether a label that contradicts an earlier one is learned, else it is a dead letter.
    grace
        Seconds by which events must have passed a label's time, and that the label must have
        waited, before its event is unknown.
    waiting_max
        Labels that may wait; with more, new ones are left in Kafka.
    scored_until
        Event time up to which this worker's score lanes have come, infinite where they have no
        backlog: labels beyond it would only wait.
    facts
        Tells the lanes of entities with risks; None: there are none.
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
        corrections: bool = True,
        scored_until: Callable[[], float] = lambda: math.inf,
        facts: FactPublisher | None = None,
    ) -> None:
        self._partition = partition
        self._topic = topic
        self._decoder = decoder
        self._store = store
        self._ttl = ttl
        self._grace = grace
        self._waiting_max = waiting_max
        self._corrections = corrections
        self._scored_until = scored_until
        self._facts = facts
        self._lease: Lease | None = None
        self._waiting: dict[int, tuple[WaitingLabel, Label]] = {}
        self._fields = SavedFields(store)
        self._expired_until = -math.inf
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
        claims = await self._claim(labels, sources)
        origin = f"labels/{self._partition}"
        for label, record, found in zip(labels, sources, claims.found, strict=True):
            if found.verdict in (Verdict.NO_EVENT, Verdict.BLOCKED):
                self._wait(label, record, now, outcome)
            else:
                self._settle(label, record, found, origin, position, outcome)
        if labels:
            outcome.watermark = max(label.label_time for label in labels)
            await self._expire_own(labels, outcome.watermark)
        return outcome

    async def _expire_own(self, labels: Sequence[Label], watermark: float) -> None:
        # Score lanes do this too, but there may be no events where labels bring the features.
        if watermark - self._expired_until > self._ttl / 64 and labels[-1].features is not None:
            self._expired_until = watermark
            await self._store.expire(self._ttl)

    async def tick(self, position: int, now: float) -> Outcome | None:
        """Try again for the labels that wait, less and less often while none is found."""
        if not self._waiting or now < self._retry_at:
            return None
        outcome = Outcome(counts=Counter())
        # Every waiting label below the floor was appended and committed before this batch.
        floor = min(self._waiting)
        await self._let_given_up_go(floor, outcome)
        batch = list(self._waiting.values())[:RETRY_LABELS_MAX]
        claims = await self._claim([label for _, label in batch], [kept for kept, _ in batch])
        origin = f"waited/{self._partition}"
        for (kept, label), found in zip(batch, claims.found, strict=True):
            if found.verdict is Verdict.NO_EVENT:
                if self._unknown(label, kept, claims, now):
                    self._keep(msgspec.structs.replace(kept, given_up=True), label, outcome)
            elif found.verdict is not Verdict.BLOCKED:
                self._settle(label, kept, found, origin, floor, outcome)
                self._wait_no_more(kept, outcome)
        self._retry_after = RETRY_MIN_S if outcome.changes else self._retry_after * 2
        self._retry_at = now + min(self._retry_after, RETRY_MAX_S)
        return outcome if outcome.changes else None

    async def _let_given_up_go(self, floor: int, outcome: Outcome) -> None:
        """Refuse labels, a step after they were given up.

        From then on they claim nothing, whatever comes late: else an event could be claimed by a
        label that was refused, and have no truth. What they had claimed before then stands.
        """
        gone = [entry for entry in self._waiting.values() if entry[0].given_up]
        claims = await self._claim([label for _, label in gone], [kept for kept, _ in gone])
        for (kept, label), found in zip(gone, claims.found, strict=True):
            if found.verdict in (Verdict.JOINED, Verdict.OWN_FEATURES):
                self._settle(label, kept, found, f"waited/{self._partition}", floor, outcome)
            else:
                detail = f"no event with id {label.event_id[:64]!r} came, or it expired long ago"
                self._refuse(kept, InvalidMessage("unknown_event", detail), outcome)
            self._wait_no_more(kept, outcome)

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
    ) -> Claims:
        """Claim the labels' events, in order."""
        assert self._lease is not None, "a label before open"
        if not labels:
            return Claims([], None)
        ttl = self._ttl
        wanted = [
            NewClaim(
                label.event_id,
                source.offset,
                str(label.truth),
                label.label_time - ttl,
                None if label.features is None else label.event_time,
            )
            for label, source in zip(labels, sources, strict=True)
        ]
        claims = await self._store.claim(self._lease, wanted, corrections=self._corrections)
        await self._fields.know(claimed.record for claimed in claims.found)
        return claims

    def _wait(self, label: Label, record: Record, now: float, outcome: Outcome) -> None:
        self._keep(waiting_label(record, now), label, outcome)
        outcome.counts["early_labels"] += 1

    def _keep(self, kept: WaitingLabel, label: Label, outcome: Outcome) -> None:
        self._waiting[kept.offset] = (kept, label)
        place, content = waiting_entry(kept)
        outcome.changes[place] = content
        if kept.given_up:
            outcome.changes[str(kept.offset)] = None

    def _wait_no_more(self, kept: WaitingLabel, outcome: Outcome) -> None:
        outcome.changes[waiting_entry(kept)[0]] = None
        del self._waiting[kept.offset]

    def _unknown(self, label: Label, kept: WaitingLabel, claims: Claims, now: float) -> bool:
        # Both clocks: event time alone runs away while events are caught up with or while its own
        # lane rests; waiting alone would give up on a backlog. No watermark: all lanes are idle.
        passed = claims.watermark is None or claims.watermark > label.label_time + self._grace
        return passed and now - kept.since > self._grace

    def _settle(
        self,
        label: Label,
        source: Record | WaitingLabel,
        found: Claimed,
        origin: str,
        floor: int,
        outcome: Outcome,
    ) -> None:
        """Make of a label what its claim says: an example or a dead letter."""
        match found.verdict:
            case Verdict.JOINED:
                example = self._joined(label, source, found, origin, floor)
                self._tell(example, found, outcome)
                outcome.label_delays.append(example.label_time - example.event_time)
            case Verdict.OWN_FEATURES:
                example = _own_example(label, source, found, origin, floor)
                outcome.counts["own_features"] += 1
            case _:
                self._refuse(source, self._why_not(label, found), outcome)
                return
        outcome.messages.append(Message(topics.EXAMPLES.name, 0, SHARD_KEY, encode_json(example)))
        outcome.counts["examples"] += 1
        if example.revision > 1:
            outcome.counts["corrections"] += 1

    def _tell(self, example: Example, found: Claimed, outcome: Outcome) -> None:
        if self._facts is not None:
            assert found.record is not None
            entity = decode_pending(found.record).entity
            outcome.messages += self._facts.messages(example, entity)

    def _joined(
        self,
        label: Label,
        source: Record | WaitingLabel,
        found: Claimed,
        origin: str,
        floor: int,
    ) -> Example:
        assert found.record is not None
        pending = decode_pending(found.record)
        return Example(
            label.event_id,
            self._fields.features(pending),
            label.truth,
            pending.score,
            pending.version,
            pending.model_position,
            pending.event_time,
            label.label_time,
            origin,
            source.offset,
            floor,
            label.weight,
            found.revision,
            pending.entity,
            arm=pending.arm or msgspec.UNSET,
        )

    def _why_not(self, label: Label, found: Claimed) -> InvalidMessage:
        if found.verdict is Verdict.DUPLICATE:
            detail = f"the event was labelled {label.truth} before"
            return InvalidMessage("duplicate_label", detail)
        if found.verdict is Verdict.REFUSED:
            detail = f"the event was labelled {found.before} before; this one says {label.truth}"
            return InvalidMessage("correction_refused", detail)
        assert found.verdict is Verdict.EXPIRED and found.record is not None, found
        delay = label.label_time - RECORD_HEAD.unpack_from(found.record)[0]
        detail = f"{delay:.0f} s after its event; at most {self._ttl:.0f} s are waited"
        return InvalidMessage("expired", detail)

    def _refuse(
        self, record: Record | WaitingLabel, error: InvalidMessage, outcome: Outcome
    ) -> None:
        letter = encode_dead_letter(record, self._topic, self._partition, error)
        outcome.messages.append(
            Message(topics.DEAD_LETTERS.name, self._partition, record.key, letter)
        )
        outcome.counts["dead_letters", error.reason] += 1


def _own_example(
    label: Label, source: Record | WaitingLabel, found: Claimed, origin: str, floor: int
) -> Example:
    """Make an example of a label alone: nothing was scored, so there is nothing to test."""
    assert label.features is not None, label.event_id
    return Example(
        label.event_id,
        label.features,
        label.truth,
        None,
        None,
        None,
        label.event_time,
        label.label_time,
        origin,
        source.offset,
        floor,
        label.weight,
        found.revision,
        label.entity,
    )
