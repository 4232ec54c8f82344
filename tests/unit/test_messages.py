"""What is written can be read again, and a decision is always the same bytes."""

from __future__ import annotations

import base64
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from models.types import Task
from stream.messages import (
    InvalidMessage,
    Pending,
    decide,
    decision_of,
    decode_dead_letter,
    decode_decision,
    decode_pending,
    decode_pending_fields,
    encode_dead_letter,
    encode_json,
    encode_pending,
)

finite = st.floats(allow_nan=False, allow_infinity=False)
values = st.lists(finite | st.text(max_size=9) | st.booleans() | st.none(), max_size=5)
pendings = st.builds(
    Pending,
    fields=st.integers(0, 2**32 - 1),
    values=values,
    score=finite | st.dictionaries(st.text(max_size=4), finite, max_size=3),
    threshold=st.floats(0, 1),
    version=st.just("v1-7"),
    model_position=st.integers(0, 2**40),
    event_time=st.floats(0, 1e10),
    entity=st.none() | st.text(max_size=9),
    partition=st.integers(0, 99),
    offset=st.integers(0, 2**40),
    stale=st.booleans(),
    origin=st.none() | st.tuples(st.integers(0, 99), st.integers(0, 2**40)),
    arm=st.none() | st.text(min_size=1, max_size=9),
)


class FakeRecord(NamedTuple):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


@given(pendings, st.sampled_from([Task.BINARY, Task.REGRESSION]), st.text(max_size=9))
def test_a_stored_decision_is_published_again_byte_for_byte(
    pending: Pending, task: Task, event_id: str
) -> None:
    """A redelivered event must not get a decision that differs in a single bit."""
    stored = decode_pending(encode_pending(pending))
    first = encode_json(decision_of(task, event_id, pending))
    assert encode_json(decision_of(task, event_id, stored)) == first
    assert decode_decision(first).event_id == event_id
    assert decode_decision(first).arm == (pending.arm or "champion")
    assert stored.arm == pending.arm
    assert decode_pending_fields(encode_pending(pending)) == pending.fields


@given(st.none() | st.binary(), st.none() | st.binary(), st.text(), st.text())
def test_a_dead_letter_keeps_the_record_byte_for_byte(
    key: bytes | None, value: bytes | None, reason: str, detail: str
) -> None:
    """What is mended later must be what came."""
    record = FakeRecord(5, 6, key, value, [("trace", b"\xff")])
    letter = decode_dead_letter(
        encode_dead_letter(record, "app.events", 3, InvalidMessage(reason, detail))
    )
    assert (letter.topic, letter.partition, letter.offset, letter.timestamp) == (
        "app.events",
        3,
        5,
        6,
    )
    assert letter.key == (None if key is None else base64.b64encode(key).decode())
    assert letter.value == (None if value is None else base64.b64encode(value).decode())
    assert letter.reason == reason


def test_a_model_that_has_seen_nothing_alerts_on_nothing() -> None:
    """Many pipelines begin at one half; days of alerts on every event are no way to start."""
    assert decide(Task.BINARY, 0.5, 0.5, model_position=0) == "pass"
    assert decide(Task.BINARY, 0.5, 0.5, model_position=1) == "alert"
    assert decide(Task.BINARY, 0.49, 0.5, model_position=1) == "pass"
    assert decide(Task.ANOMALY, 0.9, 0.5, model_position=1) == "alert"
    assert decide(Task.REGRESSION, 0.9, 0.5, model_position=1) is None
    assert decide(Task.MULTICLASS, {"a": 0.4, "b": 0.6}, 0.5, model_position=1) == "b"
    assert decide(Task.MULTICLASS, {}, 0.5, model_position=0) is None
