"""What producers may send, and the reason that each bad record gets."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.types import Task
from stream.decoding import EventDecoder, LabelDecoder
from stream.messages import InvalidMessage
from stream.settings import EventSettings, LabelSettings

SETTINGS = EventSettings(
    id="id",
    time="at",
    entity="card",
    bytes_max=300,
    features={
        "amount": {"min": 0, "max": 100},
        "count": {"type": "integer", "min": 1, "max": 9, "required": False},
        "shop": {"type": "category", "length_max": 5, "required": False},
        "new": {"type": "boolean", "required": False},
    },
)
UP_DOWN = {"positive": "UP", "negative": "DOWN"}
GOOD: dict[str, Any] = {"id": "e1", "at": "2018-04-01T00:00:01", "card": 7, "amount": 5}


def decode(changes: dict[str, Any], without: str = "") -> Any:
    body = {name: value for name, value in (GOOD | changes).items() if name != without}
    return EventDecoder(SETTINGS).decode(json.dumps(body).encode())


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null_value"),
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b'{"id": "e1", "amount": NaN, "card": 1, "at": "2018-04-01"}', "not_finite"),
        (b'{"id": "e1", "amount": -Infinity, "card": 1, "at": "2018-04-01"}', "not_finite"),
        (b"[]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'"text"', "not_an_object"),
        (json.dumps(GOOD | {"note": "x" * 300}).encode(), "too_large"),
        (b"[" * 250, "not_an_object"),
    ],
)
def test_what_is_no_event_at_all_has_its_reason(value: bytes | None, reason: str) -> None:
    """The reason code is what ops filter by."""
    with pytest.raises(InvalidMessage) as caught:
        EventDecoder(SETTINGS).decode(value)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("changes", "without", "reason", "where"),
    [
        ({}, "id", "missing_field", "id"),
        ({}, "amount", "missing_field", "amount"),
        ({}, "at", "missing_field", "at"),
        ({}, "card", "missing_field", "card"),
        ({"id": 1.5}, "", "wrong_type", "id"),
        ({"id": None}, "", "wrong_type", "id"),
        ({"amount": "5"}, "", "wrong_type", "amount"),
        ({"amount": None}, "", "wrong_type", "amount"),
        ({"amount": True}, "", "wrong_type", "amount"),
        ({"amount": [1]}, "", "wrong_type", "amount"),
        ({"count": 1.5}, "", "wrong_type", "count"),
        ({"shop": {}}, "", "wrong_type", "shop"),
        ({"new": 1}, "", "wrong_type", "new"),
        ({"amount": -0.1}, "", "out_of_range", "amount"),
        ({"amount": 100.1}, "", "out_of_range", "amount"),
        ({"amount": 10**100}, "", "out_of_range", "amount"),
        ({"count": 0}, "", "out_of_range", "count"),
        ({"shop": "longer"}, "", "out_of_range", "shop"),
        ({"at": "yesterday"}, "", "bad_time", "yesterday"),
        ({"at": "2018-02-30"}, "", "bad_time", "2018-02-30"),
    ],
)
def test_a_bad_field_is_named_with_its_reason(
    changes: dict[str, Any], without: str, reason: str, where: str
) -> None:
    """Whoever reads the dead letter knows what to mend."""
    with pytest.raises(InvalidMessage) as caught:
        decode(changes, without)
    assert caught.value.reason == reason
    assert where in caught.value.detail


def test_features_come_in_the_configured_order_and_missing_ones_are_left_out() -> None:
    """The order of a sum must not depend on the producer."""
    event = decode({"new": False, "shop": 12, "unknown": [1, {"x": 2}], "count": None})
    assert list(event.features.items()) == [("amount", 5.0), ("shop", "12"), ("new", False)]
    assert event.values == (5.0, None, "12", False)
    assert (event.event_id, event.entity, event.event_time) == ("e1", "7", 1522540801.0)


def test_a_time_far_after_the_records_own_is_refused() -> None:
    """One wrong year would make everything that waits look expired."""
    body = json.dumps(GOOD).encode()
    at_ms = 1_522_540_801_000
    assert EventDecoder(SETTINGS).decode(body, at_ms - 86_400_000).event_id == "e1"
    with pytest.raises(InvalidMessage, match="bad_time"):
        EventDecoder(SETTINGS).decode(body, at_ms - 86_401_000)


@pytest.mark.parametrize(
    ("task", "settings", "value", "truth"),
    [
        (Task.BINARY, {}, 1, True),
        (Task.BINARY, {}, False, False),
        (Task.BINARY, {"positive": "UP", "negative": "DOWN"}, "DOWN", False),
        (Task.ANOMALY, {}, 0, False),
        (Task.MULTICLASS, {}, 3, "3"),
        (Task.MULTICLASS, {}, "cat", "cat"),
        (Task.REGRESSION, {}, 3, 3.0),
    ],
)
def test_a_label_takes_its_tasks_type(
    task: Task, settings: dict[str, str], value: object, truth: object
) -> None:
    """River compares labels by value: a mixture of types would raise later."""
    body = json.dumps({"id": 4, "label": value}).encode()
    label = LabelDecoder(LabelSettings(**settings), task).decode(body, 2_500)
    assert (label.event_id, label.truth, label.label_time) == ("4", truth, 2.5)
    assert type(label.truth) is type(truth)


@pytest.mark.parametrize(
    ("task", "settings", "body", "reason"),
    [
        (Task.BINARY, {}, {"id": 1, "label": 2}, "bad_label"),
        (Task.BINARY, {}, {"id": 1, "label": "true"}, "bad_label"),
        (Task.BINARY, {}, {"id": 1, "label": None}, "bad_label"),
        (
            Task.BINARY,
            {"positive": "UP", "negative": "DOWN"},
            {"id": 1, "label": "up"},
            "bad_label",
        ),
        (Task.REGRESSION, {}, {"id": 1, "label": 1e16}, "bad_label"),
        (Task.BINARY, {}, {"id": 1}, "missing_field"),
        (Task.BINARY, {}, {"label": True}, "missing_field"),
        (Task.BINARY, {}, {"id": [], "label": True}, "wrong_type"),
    ],
)
def test_a_bad_label_has_its_reason(
    task: Task, settings: dict[str, str], body: dict[str, Any], reason: str
) -> None:
    """A label that can't be used is told apart from a record that is none."""
    with pytest.raises(InvalidMessage) as caught:
        LabelDecoder(LabelSettings(**settings), task).decode(json.dumps(body).encode())
    assert caught.value.reason == reason


@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
def test_no_bytes_escape_as_another_error(value: bytes) -> None:
    """Whatever arrives is an event or a dead letter, never a crash."""
    with pytest.raises(InvalidMessage, match=r"^\w+: ."):
        EventDecoder(SETTINGS).decode(value)


@given(
    st.fixed_dictionaries(
        {"id": st.text() | st.integers(), "amount": st.floats(0, 100), "card": st.text()},
        optional={"count": st.integers(1, 9), "shop": st.text(max_size=5), "new": st.booleans()},
    )
)
def test_valid_values_arrive_unchanged(body: dict[str, Any]) -> None:
    """Floats to the last bit, texts to the last character."""
    event = decode(body) if len(json.dumps(GOOD | body)) <= 300 else None
    if event is not None:
        assert event.event_id == str(body["id"])
        expected = {k: v for k, v in body.items() if k not in ("id", "card")}
        assert event.features == expected


DEEP = b'{"id": "e1", "amount": 1, "label": true, "u": ' + b"[" * 60_000


@given(
    value=st.binary(max_size=300)
    | st.builds(
        lambda a, n: b'{"' + a + b'":' + b"[" * n, st.binary(max_size=9), st.integers(0, 60_000)
    )
)
@example(value=DEEP)
@example(value=b'{"id": "e1", "\xff": 1}')
def test_whatever_bytes_come_there_is_a_reason(value: bytes) -> None:
    """Anything else that is raised would end the worker, again at each restart."""
    decoders: list[Any] = [EventDecoder(EventSettings(features={"amount": {}}))]
    decoders += [LabelDecoder(LabelSettings(), task) for task in (Task.BINARY, Task.MULTICLASS)]
    for decoder in decoders:
        with contextlib.suppress(InvalidMessage):
            decoder.decode(value)


WEIGHED = LabelSettings(time="known", time_format="epoch_s", weight="w", weight_max=5.0)
OWN = LabelSettings(time="known", time_format="epoch_s", weight="w", features=True)


def decode_label(settings: LabelSettings, **fields: Any) -> Any:
    body = {"id": "e1", "label": True, "known": 9.0, **fields}
    return LabelDecoder(settings, Task.BINARY, SETTINGS).decode(json.dumps(body).encode())


def test_a_label_weighs_one_unless_it_says_otherwise() -> None:
    """Within the bounds that are configured; nothing but a number."""
    assert decode_label(WEIGHED).weight == decode_label(WEIGHED, w=None).weight == 1.0
    assert decode_label(WEIGHED, w=0).weight == 0.0
    assert decode_label(WEIGHED, w=2.5).weight == 2.5
    for wrong, reason in ((5.1, "out_of_range"), (-0.1, "out_of_range"), ("2", "wrong_type")):
        with pytest.raises(InvalidMessage) as caught:
            decode_label(WEIGHED, w=wrong)
        assert caught.value.reason == reason


def test_a_label_may_carry_the_features_of_its_event() -> None:
    """All that an event must have, in the order of the configuration, and the event's time."""
    label = decode_label(OWN, w=2, shop=3, amount=5, at="1970-01-01T00:00:07")
    assert label.features == {"amount": 5.0, "shop": "3"}
    assert list(label.features) == ["amount", "shop"]
    assert (label.event_time, label.label_time, label.weight) == (7.0, 9.0, 2.0)
    assert decode_label(OWN, amount=5).event_time == 9.0
    assert decode_label(WEIGHED, amount=5).features is None


def test_a_label_without_what_an_event_must_have_is_a_plain_label() -> None:
    """Its event has the features; but what is there and wrong is refused."""
    assert decode_label(OWN).features is None
    assert decode_label(OWN, shop="a", count=2).features is None
    for wrong, reason in (({"amount": 101}, "out_of_range"), ({"new": 1}, "wrong_type")):
        with pytest.raises(InvalidMessage) as caught:
            decode_label(OWN, **wrong)
        assert caught.value.reason == reason


def test_one_field_can_be_the_time_of_the_label_alone() -> None:
    """Where events and labels name their times alike, a label does not tell its event's."""
    settings = LabelSettings(time="at", features=True)
    body = b'{"id": "e1", "label": true, "at": "1970-01-01T00:00:08", "amount": 1}'
    label = LabelDecoder(settings, Task.BINARY, SETTINGS).decode(body)
    assert (label.event_time, label.label_time) == (8.0, 8.0)


def test_a_label_with_features_says_whose_event_it_was() -> None:
    """By a field of its own or by a feature; where it does not say, nobody knows."""
    event = EventSettings(entity="card", features={"amount": {}})
    decode = LabelDecoder(OWN, Task.BINARY, event).decode
    body = {"id": "e1", "label": True, "known": 9.0, "amount": 5}
    for said, entity in (({"card": 7}, "7"), ({"card": "c7"}, "c7"), ({}, None)):
        assert decode(json.dumps(body | said).encode()).entity == entity
    assert decode(json.dumps(body | {"card": "c7"}).encode()).features == {"amount": 5.0}
    by_feature = SETTINGS.model_copy(update={"entity": "shop"})
    label = LabelDecoder(OWN, Task.BINARY, by_feature).decode(
        json.dumps(body | {"shop": 3, "at": "1970-01-01T00:00:07"}).encode()
    )
    assert label.entity == "3"
