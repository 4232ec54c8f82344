"""What policies did about drift, as records: on the audit, and on the drift that was the cause.

Why the time is that of the example: a policy's step is a part of the fold, and a fold that is done
again after a crash has to write the same record again.
"""

from __future__ import annotations

import msgspec

from models.types import PolicyStep
from stream import topics
from stream.messages import SHARD_KEY, AuditRecord, encode_drift, encode_json
from stream.ports import Message


def records_of(step: PolicyStep, shard: int, lineage: int, version: str | None) -> list[Message]:
    """Write a step for the audit, and if it came after its drift was told, that drift once more."""
    cause = step.cause
    why = "it was due, drift or not"
    if cause is not None:
        why = (
            f"{cause.subject} {cause.direction} from {cause.before:.4g} to {cause.after:.4g} since "
            f"{cause.since}, {cause.level} at {cause.position}"
        )
    audit = AuditRecord(
        id=f"{lineage}-{step.position}-{step.policy}-{step.step}",
        who=f"policy {step.policy}",
        what=step.step,
        subject="learner",
        outcome="applied",
        reason="",
        detail=step.detail,
        time=step.event_time,
        why=why,
        version=version,
    )
    records = [Message(topics.AUDIT.name, 0, SHARD_KEY, encode_json(audit))]
    if cause is not None and step.position > cause.position:
        news = msgspec.structs.replace(
            cause,
            position=step.position,
            event_time=step.event_time,
            action=f"{step.policy}: {step.step}, {step.detail}",
        )
        body = encode_drift(news, shard, lineage)
        records.append(Message(topics.DRIFT.name, 0, SHARD_KEY, body))
    return records
