"""Wire formats: what Driftline writes, and what it keeps in Redis.

Every output is JSON with a `schema` number; readers ignore fields that they do not know. Pending
records are packed tightly, since millions of them wait in memory.
"""

from __future__ import annotations

import base64
import functools
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from models.compiled import AVAILABLE
from models.gate import Point
from models.lineage import Segment
from models.reasons import Reasons
from models.stores.base import RECORD_HEAD
from models.types import (
    DriftSignal,
    Example,
    Features,
    FeatureValue,
    Task,
)

if AVAILABLE:
    from models.compiled import _native

SCHEMA = 1
SHARD_KEY = b"0"
"""Key of the one shard's examples."""
CHAMPION = "champion"
"""The arm of scores that no challenger gave."""

_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()


class InvalidMessage(Exception):
    """A record that can't be used: it becomes a dead letter with this reason."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Decision(msgspec.Struct, frozen=True, gc=False, omit_defaults=False):
    """A score as published on `<app>.scores` and, if it alerts, on `<app>.alerts`.

    `arm` says who gave it: the champion, or the challenger whose share the entity is in. `version`
    and `model_position` are those of that model.
    """

    event_id: str
    score: float | dict[str, float]
    decision: str | None
    threshold: float
    version: str
    model_position: int
    event_time: float
    entity: str | None
    partition: int
    offset: int
    stale: bool
    arm: str = CHAMPION
    reasons: Reasons | msgspec.UnsetType = msgspec.UNSET
    schema: int = SCHEMA


class Shadow(msgspec.Struct, frozen=True, gc=False):
    """What a challenger would have said of an event, on `<app>.shadows`; nobody is served by it.

    Its fields are those of a decision, by the threshold that decided the event.
    """

    event_id: str
    arm: str
    score: float | dict[str, float]
    decision: str | None
    threshold: float
    version: str
    model_position: int
    event_time: float
    entity: str | None
    partition: int
    offset: int
    schema: int = SCHEMA


class Pending(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A scored event that waits for its label: the decision and the features it was made from.

    Positional msgpack, since a million of these wait in memory; time and offset stand in the
    record's head alone. `fields` names the `FeatureFields` that the values belong to, so a changed
    configuration can still read them. `origin` is the event's partition and offset in the events
    topic, where it was scored from another log. `arm` is the challenger that scored it; None: the
    champion did.
    """

    fields: int
    values: Sequence[FeatureValue | None]
    score: float | dict[str, float]
    threshold: float
    version: str
    model_position: int
    entity: str | None
    partition: int
    stale: bool
    reasons: Reasons | None = None
    origin: tuple[int, int] | None = None
    arm: str | None = None
    event_time: float = 0.0
    offset: int = 0


class DeadLetter(msgspec.Struct, frozen=True):
    """An unusable record as it came (base64), where from, and why it can't be used."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    reason: str
    detail: str
    key: str | None
    value: str | None
    headers: list[tuple[str, str]]
    schema: int = SCHEMA


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator wants done, on `<app>.control`; `why` is theirs, for the audit."""

    id: str
    command: str
    arguments: dict[str, Any]
    who: str
    why: str
    time: float
    schema: int = SCHEMA


class GateEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate knew of a challenger when it took over; `objections` were overruled.

    The advantage is by how much its mean loss is lower, `low` and `high` bound it. Of its way there
    `curve` has some points: (examples, advantage, low, high, log10 of the e-value).
    """

    loss: str
    n: int
    alpha: float
    margin: float
    champion_loss: float
    challenger_loss: float
    advantage: float
    low: float
    high: float
    log10_e: float
    passed_at: int | None
    objections: list[str]
    curve: list[Point]


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what to which `subject`, how it ended and why; on `<app>.audit`.

    Of a command, `why` is what its operator gave, and `version` is in force after it; of one that
    was applied, `segments` are those of its lineage. Of a promotion, `evidence` is the gate's.
    """

    id: str
    who: str
    what: str
    subject: str
    outcome: str
    reason: str
    detail: str
    time: float
    why: str = ""
    version: str | None = None
    segments: tuple[Segment, ...] | None = None
    evidence: GateEvidence | None = None
    schema: int = SCHEMA


class FeatureFields:
    """The names of the configured features, in order, under a short stable id."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.id = zlib.crc32("\0".join(self.names).encode())
        self._blank = dict.fromkeys(self.names)

    def features(self, values: Sequence[FeatureValue | None]) -> Features:
        """Name the values; missing ones are left out, as River expects."""
        if AVAILABLE:
            return _native.name_values(self.names, self._blank, values)
        if None in values:
            pairs = zip(self.names, values, strict=True)
            return {name: value for name, value in pairs if value is not None}
        return dict(zip(self.names, values, strict=True))  # type: ignore[arg-type]


def decide(
    task: Task, score: float | Mapping[str, float], threshold: float, model_position: int
) -> str | None:
    """Turn a score into a decision; None where the task has no decision (regression).

    A model that has seen no example yet (position 0) alerts on nothing: many pipelines begin at
    one half, and days of alerts on every event are no way to start.
    """
    if not isinstance(score, float | int):  # To ask for a Mapping takes ten times as long.
        return max(score, key=lambda name: (score[name], name)) if score else None
    if task is Task.REGRESSION:
        return None
    return "alert" if model_position > 0 and score >= threshold else "pass"


def decision_of(task: Task, event_id: str, pending: Pending) -> Decision:
    """Rebuild the published decision from its pending record: always the same bytes."""
    partition, offset = pending.origin or (pending.partition, pending.offset)
    return Decision(
        event_id,
        pending.score,
        decide(task, pending.score, pending.threshold, pending.model_position),
        pending.threshold,
        pending.version,
        pending.model_position,
        pending.event_time,
        pending.entity,
        partition,
        offset,
        pending.stale,
        pending.arm or CHAMPION,
        reasons=msgspec.UNSET if pending.reasons is None else pending.reasons,
    )


def shadow_of(
    task: Task, event_id: str, served: Pending, arm: str, score: Any, version: str, position: int
) -> Shadow:
    """Put beside a served decision what a challenger says of the event."""
    partition, offset = served.origin or (served.partition, served.offset)
    return Shadow(
        event_id, arm, score, decide(task, score, served.threshold, position), served.threshold,
        version, position, served.event_time, served.entity, partition, offset,
    )  # fmt: skip


encode_json: Callable[[Any], bytes] = _json.encode


class _PendingFields(msgspec.Struct, frozen=True, gc=False, array_like=True):
    fields: int


_decode_body = msgspec.msgpack.Decoder(Pending).decode
_decode_fields = msgspec.msgpack.Decoder(_PendingFields).decode
_set = msgspec.structs.force_setattr
_pack_head, _unpack_head, _HEAD_BYTES = RECORD_HEAD.pack, RECORD_HEAD.unpack_from, RECORD_HEAD.size
FIELDS_MARK = slice(_HEAD_BYTES, _HEAD_BYTES + 6)
"""Where a pending record begins with what `decode_pending_fields` reads: equal bytes, equal id."""


@functools.lru_cache(maxsize=64)
def _in_few_bytes(number: float) -> float | msgspec.Raw:
    # In single precision where nothing is lost: MessagePack knows it, msgspec does not write it.
    # A million records wait, and Redis rounds each up by tens of bytes.
    try:
        single = struct.pack(">f", number)
    except OverflowError:
        return number
    return msgspec.Raw(b"\xca" + single) if struct.unpack(">f", single) == (number,) else number


def encode_pending(pending: Pending) -> bytes:
    """Write a pending record: the store's head, then what is ours."""
    body: tuple[Any, ...] = (
        pending.fields,
        pending.values,
        pending.score,
        _in_few_bytes(pending.threshold),
        pending.version,
        pending.model_position,
        pending.entity,
        pending.partition,
        pending.stale,
    )
    # An array: what is left out is at its end.
    if pending.arm is not None:
        body += (pending.reasons, pending.origin, pending.arm)
    elif pending.origin is not None:
        body += (pending.reasons, pending.origin)
    elif pending.reasons is not None:
        body += (pending.reasons,)
    return _pack_head(pending.event_time, pending.offset, pending.partition) + _msgpack.encode(body)


def decode_pending(record: bytes) -> Pending:
    """Read a pending record."""
    event_time, offset, _ = _unpack_head(record)
    pending = _decode_body(memoryview(record)[_HEAD_BYTES:])
    _set(pending, "event_time", event_time)  # Nobody else has seen it yet.
    _set(pending, "offset", int(offset))
    return pending


def decode_pending_fields(record: bytes) -> int:
    """Give the id of the feature names that a pending record refers to."""
    return _decode_fields(memoryview(record)[_HEAD_BYTES:]).fields


decode_example: Callable[[bytes], Example] = msgspec.json.Decoder(Example).decode
decode_decision: Callable[[bytes], Decision] = msgspec.json.Decoder(Decision).decode
decode_shadow: Callable[[bytes], Shadow] = msgspec.json.Decoder(Shadow).decode
decode_command: Callable[[bytes], Command] = msgspec.json.Decoder(Command).decode
decode_audit: Callable[[bytes], AuditRecord] = msgspec.json.Decoder(AuditRecord).decode
decode_dead_letter: Callable[[bytes], DeadLetter] = msgspec.json.Decoder(DeadLetter).decode


def encode_dead_letter(record: Any, topic: str, partition: int, error: InvalidMessage) -> bytes:
    """Wrap an unusable Kafka record, byte for byte, with its origin and reason."""
    return _json.encode(
        DeadLetter(
            topic,
            partition,
            record.offset,
            record.timestamp,
            error.reason,
            error.detail[:1024],
            _base64(record.key),
            _base64(record.value),
            [(name, _base64(value) or "") for name, value in record.headers or ()],
        )
    )


def encode_drift(signal: DriftSignal, shard: int, source: int | str) -> bytes:
    """Write a drift message, said by a lineage or a worker; a lineage folded again says the same.

    At one position one thing of one segment drifts: so the id needs no value of the field.
    """
    body = msgspec.to_builtins(signal)
    part = "" if signal.segment is None else f"-{signal.segment.what}"
    body["id"] = f"{source}-{signal.position}-{signal.what}{part}-{signal.level}"
    body |= {"shard": shard, "schema": SCHEMA}
    return _json.encode(body)


def drift_count(signal: DriftSignal) -> tuple[str, str]:
    """Give the key that an outcome counts a signal by."""
    scope = "all" if signal.segment is None else "segment"
    return "drift", f"{signal.kind}/{signal.level}/{signal.direction}/{scope}"


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
