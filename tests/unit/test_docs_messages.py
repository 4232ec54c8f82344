"""docs/messages.md says what is on the wire: every field, its type, and examples that decode."""

from __future__ import annotations

import json
import re
import types
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from models.checkpoint import VersionMeta, decode_meta
from models.reasons import Reason, Reasons
from models.types import (
    Direction,
    DriftKind,
    DriftLevel,
    DriftSegment,
    DriftSignal,
    Example,
    Task,
)
from stream.decoding import EventDecoder, LabelDecoder
from stream.messages import (
    AuditRecord,
    Command,
    DeadLetter,
    Decision,
    Shadow,
    decode_audit,
    decode_command,
    decode_dead_letter,
    decode_decision,
    decode_example,
    decode_shadow,
    encode_drift,
    encode_json,
)
from stream.replays import Replay, decode_replay
from stream.settings import load_settings
from stream.succession import Rollback
from stream.topics import TOPICS
from tests.source_files import ROOT

PAGE = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")
SIGNAL = DriftSignal(
    DriftKind.CONCEPT, "error", DriftLevel.WARNING, Direction.WORSENED, 0.1, 0.2, 7, 1.0, 5
)
DRIFT = {name: type(value) for name, value in json.loads(encode_drift(SIGNAL, 0, 1)).items()}
DRIFT["segment"] = DriftSegment | None
# What the learn lane adds to the metadata of a version.
NOTICE = {"event": str, "shard": int}
FIELDS: dict[str, dict[str, Any]] = {
    "scores": get_type_hints(Decision),
    "shadows": get_type_hints(Shadow),
    "examples": get_type_hints(Example),
    "drift": DRIFT,
    "versions": NOTICE | get_type_hints(VersionMeta),
    "control": get_type_hints(Command),
    "audit": get_type_hints(AuditRecord),
    "dead-letters": get_type_hints(DeadLetter),
    "replays": get_type_hints(Replay),
}


def section(topic: str) -> str:
    """Give the part of the page about a topic."""
    title = rf"^## [^\n]*`<app>\.{topic}`[^\n]*\n"
    found = re.search(title + r"(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None, f"no section about {topic}"
    return found[1]


def example(topic: str) -> Any:
    """Decode the section's example."""
    block = re.search(r"```json\n(.*?)```", section(topic), re.DOTALL)
    assert block is not None, f"no example of {topic}"
    return json.loads(block[1])


def in_words(kind: Any) -> str:
    """Write a type as the page does.

    Examples
    --------
    >>> in_words(str | None), in_words(float | dict[str, float]), in_words(list[int])
    ('text or null', 'number or object', 'array')
    """
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        words = [in_words(part) for part in get_args(kind)]
        return ", ".join(words[:-1]) + " or " + words[-1]
    if origin is Literal or (isinstance(kind, type) and issubclass(kind, Enum)):
        return "text"
    names = {
        bool: "true or false",
        int: "integer",
        float: "number",
        str: "text",
        list: "array",
        tuple: "array",
    }
    return {**names, type(None): "null", msgspec.UnsetType: "absent"}.get(origin or kind, "object")


def test_every_topic_has_a_section() -> None:
    """A topic that nobody describes is a topic that nobody can read."""
    for topic in TOPICS:
        assert len(section(topic.name)) > 100, topic.name


@pytest.mark.parametrize("topic", FIELDS)
def test_every_field_is_described_with_its_type(topic: str) -> None:
    """A field that is added, renamed or retyped has to be told."""
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \| (.+) \|$", section(topic), re.MULTILINE)

    assert {name for name, _, _ in rows} == set(FIELDS[topic])
    told = {name: sorted(re.split(r", | or ", kind)) for name, kind, _ in rows}
    real = {
        name: sorted(re.split(r", | or ", in_words(kind))) for name, kind in FIELDS[topic].items()
    }
    assert told == real


@pytest.mark.parametrize("topic", FIELDS)
def test_the_examples_have_exactly_the_fields(topic: str) -> None:
    """Examples are what people copy."""
    assert set(example(topic)) == set(FIELDS[topic])


def test_the_fields_of_reasons_are_told() -> None:
    """In words, since they are inside a field."""
    for name in (*Reasons.__struct_fields__, *Reason.__struct_fields__):
        assert f"`{name}`" in section("scores"), name
    told = example("scores")["reasons"]
    assert set(told) == set(Reasons.__struct_fields__)
    assert set(told["features"][0]) == set(Reason.__struct_fields__)


def test_the_examples_decode() -> None:
    """What is shown is what the code reads and writes."""
    decision = example("scores")
    assert json.loads(encode_json(decode_decision(json.dumps(decision).encode()))) == decision
    shadow = example("shadows")
    assert json.loads(encode_json(decode_shadow(json.dumps(shadow).encode()))) == shadow
    record = example("examples")
    assert json.loads(encode_json(decode_example(json.dumps(record).encode()))) == record
    letter = example("dead-letters")
    assert json.loads(encode_json(decode_dead_letter(json.dumps(letter).encode()))) == letter
    command = example("control")
    assert json.loads(encode_json(decode_command(json.dumps(command).encode()))) == command
    msgspec.convert(command["arguments"], Rollback)
    audit = example("audit")
    assert json.loads(encode_json(decode_audit(json.dumps(audit).encode()))) == audit
    note = example("replays")
    assert json.loads(encode_json(decode_replay(json.dumps(note).encode()))) == note
    assert decode_meta(json.dumps(example("versions")).encode()).id == "v1-39298"
    drift = example("drift")
    assert drift["id"] == f"1-{drift['position']}-{drift['what']}-{drift['level']}"
    known = {name: value for name, value in drift.items() if name in DriftSignal.__struct_fields__}
    msgspec.convert(known, DriftSignal)


def test_the_examples_for_producers_are_accepted_by_the_preset() -> None:
    """The first thing that a producer sends is a copy of these."""
    settings = load_settings("fraud")
    event = EventDecoder(settings.event).decode(json.dumps(example("events")).encode())
    label = LabelDecoder(settings.label, Task.BINARY).decode(json.dumps(example("labels")).encode())

    assert event.event_id == label.event_id == "32970"
    assert event.entity == "216"
    assert label.truth is True
    assert label.label_time > event.event_time


def test_every_setting_that_maps_a_field_is_named() -> None:
    """Producers see from the page which setting to change."""
    for topic, settings in (("events", "event"), ("labels", "label")):
        named = set(re.findall(rf"`{settings}\.(\w+)", section(topic)))
        fields = type(getattr(load_settings("fraud"), settings)).model_fields
        assert named == set(fields), topic
