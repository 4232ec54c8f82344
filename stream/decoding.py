"""Decoding is validation: the producer's JSON into events and labels, or a reason why not.

The configured fields become a msgspec struct type, so that JSON, types and ranges are checked in
one pass of C, under a microsecond an event; what does not fit raises `InvalidMessage` with a reason
code for the dead letter.

Why floats keep their order: a model's dot product depends on the order of the features, so
features always come in the order of the configuration, whatever order the producer wrote.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from models.types import Features, FeatureValue, Task, Truth
from stream.messages import FeatureFields, InvalidMessage
from stream.settings import NUMBER_MAX, EventSettings, FeatureSettings, LabelSettings

_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_TIME_MAX_S = 253_402_300_800.0  # The year 10000: beyond it datetimes can't be printed.


class Event(msgspec.Struct, frozen=True, gc=False):
    """A valid event; `values` are the features in the order of the configuration.

    `origin` is its partition and offset in the events topic, where it has come from another log.
    """

    event_id: str
    event_time: float
    entity: str | None
    values: tuple[FeatureValue | None, ...]
    features: Features
    origin: tuple[int, int] | None = None


class Label(msgspec.Struct, frozen=True, gc=False):
    """A valid label; `features` are its own, if it carries all that an event must have."""

    event_id: str
    truth: Truth
    label_time: float
    event_time: float
    weight: float = 1.0
    features: Features | None = None
    entity: str | None = None


_astuple = msgspec.structs.astuple


class EventDecoder:
    """Turn the producer's JSON into an `Event`, by the configured fields.

    Examples
    --------
    >>> from stream.settings import EventSettings
    >>> decoder = EventDecoder(EventSettings(features={"amount": {"min": 0}}))
    >>> event = decoder.decode(b'{"amount": 12, "id": 7, "shop": "x"}', timestamp_ms=1_000)
    >>> event.event_id, event.event_time, event.values, event.features
    ('7', 1.0, (12.0,), {'amount': 12.0})
    >>> decoder.decode(b'{"amount": -1, "id": 8}')
    Traceback (most recent call last):
        ...
    stream.messages.InvalidMessage: out_of_range: amount: Expected `float` >= 0.0
    """

    counter = "events"

    def __init__(self, settings: EventSettings) -> None:
        self.fields = FeatureFields(list(settings.features))
        self._bytes_max = settings.bytes_max
        self._future_max = settings.future_max
        self._categories = _categories(settings)
        self._to_seconds = _time_reader(settings.time_format)
        entity = settings.entity
        self._entity_in_features = (
            self.fields.names.index(entity) if entity in settings.features else None
        )
        columns: list[tuple[str, Any]] = [(settings.id, str | int)]
        columns += [(settings.time, _time_type(settings.time_format))] if settings.time else []
        self._has_time = settings.time is not None
        self._has_entity = entity is not None and self._entity_in_features is None
        columns += [(entity, str | int)] if entity is not None and self._has_entity else []
        self._n_head = len(columns)
        optional = [(name, _feature_type(f)) for name, f in settings.features.items()]
        required = [f.required for f in settings.features.values()]
        self._decode = _struct_decoder(columns, optional, required)

    def decode(self, value: bytes | None, timestamp_ms: int = 0) -> Event:
        """Validate one record's value; `timestamp_ms` is the event time if none is configured."""
        row = _decode_row(self._decode, value, self._bytes_max)
        values = row[self._n_head :]
        if self._categories:
            values = _text_categories(values, self._categories)
        event_time = timestamp_ms / 1000.0
        if self._has_time:
            event_time = _not_in_future(self._to_seconds(row[1]), timestamp_ms, self._future_max)
        entity: str | None = None
        if self._has_entity:
            entity = str(row[self._n_head - 1])
        elif self._entity_in_features is not None:
            found = values[self._entity_in_features]
            entity = None if found is None else str(found)
        return Event(str(row[0]), event_time, entity, values, self.fields.features(values))


def _categories(settings: EventSettings) -> list[int]:
    return [i for i, f in enumerate(settings.features.values()) if f.type == "category"]


def _text_categories(values: tuple[Any, ...], categories: Sequence[int]) -> tuple[Any, ...]:
    # River takes strings as nominal; mixed int and str categories make its splits raise.
    texts = list(values)
    for i in categories:
        if texts[i] is not None:
            texts[i] = str(texts[i])
    return tuple(texts)


class LabelDecoder:
    """Turn a label record into a `Label` of the task's type.

    Parameters
    ----------
    event
        Which fields of a label are features of its event, where `label.features` is set.

    Examples
    --------
    >>> from stream.settings import LabelSettings
    >>> decoder = LabelDecoder(LabelSettings(positive="UP", negative="DOWN"), Task.BINARY)
    >>> label = decoder.decode(b'{"id": "a", "label": "UP"}', timestamp_ms=2_000)
    >>> label.event_id, label.truth, label.label_time, label.weight, label.features
    ('a', True, 2.0, 1.0, None)
    """

    BYTES_MAX = 65_536

    def __init__(
        self, settings: LabelSettings, task: Task, event: EventSettings | None = None
    ) -> None:
        self._to_seconds = _time_reader(settings.time_format)
        self._has_time = settings.time is not None
        self._future_max = settings.future_max
        self._value_field = settings.value
        value_type, self._to_truth = _truth(settings, task)
        columns: list[tuple[str, Any]] = [(settings.id, str | int), (settings.value, value_type)]
        columns += [(settings.time, _time_type(settings.time_format))] if settings.time else []
        self._n_head = len(columns)
        optional: list[tuple[str, Any]] = []
        self._has_weight = settings.weight is not None
        if settings.weight is not None:
            optional.append((settings.weight, Annotated[float, Meta(ge=0, le=settings.weight_max)]))
        self._own = _OwnFeatures(event, settings) if settings.features and event else None
        if self._own is not None:
            optional += self._own.columns
        self._decode = _struct_decoder(columns, optional, [False] * len(optional))

    def decode(self, value: bytes | None, timestamp_ms: int = 0) -> Label:
        """Validate one record's value; `timestamp_ms` is the label time if none is configured."""
        try:
            row = _decode_row(self._decode, value, self.BYTES_MAX)
        except InvalidMessage as error:
            if error.reason != "missing_field" and error.detail.startswith(f"{self._value_field}:"):
                raise InvalidMessage("bad_label", error.detail) from None
            raise
        label_time = timestamp_ms / 1000.0
        if self._has_time:
            label_time = _not_in_future(self._to_seconds(row[2]), timestamp_ms, self._future_max)
        weight, n_read = 1.0, self._n_head
        if self._has_weight:
            weight = 1.0 if row[n_read] is None else row[n_read]
            n_read += 1
        truth = self._to_truth(row[1])
        if self._own is None:
            return Label(str(row[0]), truth, label_time, label_time, weight, None)
        own = self._own.read(row[n_read:], label_time, timestamp_ms)
        return Label(str(row[0]), truth, label_time, own.event_time, weight, *own[1:])


class _Own(NamedTuple):
    event_time: float
    features: Features | None
    entity: str | None


class _OwnFeatures:
    """The fields of an event that a label may carry; what is there must be valid."""

    def __init__(self, event: EventSettings, label: LabelSettings) -> None:
        self._fields = FeatureFields(list(event.features))
        self._categories = _categories(event)
        self._required = [i for i, f in enumerate(event.features.values()) if f.required]
        self._to_seconds = _time_reader(event.time_format)
        self._future_max = event.future_max
        # A field that is the label's own time says nothing about the event's.
        taken = (label.id, label.value, label.time, label.weight)
        self._has_time = event.time is not None and event.time not in taken
        self.columns: list[tuple[str, Any]] = []
        if self._has_time:
            self.columns.append((str(event.time), _time_type(event.time_format)))
        entity = event.entity
        self._entity_at = self._fields.names.index(entity) if entity in event.features else None
        self._has_entity = entity not in (None, event.time, *taken, *event.features)
        if self._has_entity:
            self.columns.append((str(entity), str | int))
        self.columns += [(name, _feature_type(f)) for name, f in event.features.items()]

    def read(self, row: tuple[Any, ...], label_time: float, timestamp_ms: int) -> _Own:
        """Give the event's time, as far as it is known, and its features, if they are all there."""
        event_time = label_time
        if self._has_time:
            time, *row_features = row
            row = tuple(row_features)
            if time is not None:
                seconds = self._to_seconds(time)
                event_time = _not_in_future(seconds, timestamp_ms, self._future_max)
        entity = None
        if self._has_entity:
            entity, *row_features = row
            row = tuple(row_features)
        if self._entity_at is not None:
            entity = row[self._entity_at]
        if any(row[i] is None for i in self._required) or all(value is None for value in row):
            return _Own(event_time, None, None)
        if self._categories:
            row = _text_categories(row, self._categories)
        return _Own(event_time, self._fields.features(row), None if entity is None else str(entity))


def _truth(settings: LabelSettings, task: Task) -> tuple[Any, Callable[[Any], Truth]]:
    if task in (Task.BINARY, Task.ANOMALY):
        if settings.positive is not None:
            positive = settings.positive
            return Literal[positive, settings.negative], lambda value: value == positive
        return bool | Literal[0, 1], bool
    if task is Task.REGRESSION:
        return Annotated[float, Meta(ge=-NUMBER_MAX, le=NUMBER_MAX)], float
    return str | int | bool, str


def _feature_type(feature: FeatureSettings) -> Any:
    if feature.type == "category":
        return Annotated[str, Meta(max_length=feature.length_max)] | int
    if feature.type == "boolean":
        return bool
    if feature.type == "integer":
        return Annotated[int, Meta(ge=int(feature.min), le=int(feature.max))]
    return Annotated[float, Meta(ge=feature.min, le=feature.max)]


def _time_type(time_format: str) -> Any:
    if time_format == "iso8601":
        return Annotated[str, Meta(max_length=64)]
    limit = _TIME_MAX_S * (1000 if time_format == "epoch_ms" else 1)
    return Annotated[float, Meta(ge=0, le=limit)]


def _time_reader(time_format: str) -> Callable[[Any], float]:
    if time_format == "iso8601":
        return seconds_of_iso8601
    return float if time_format == "epoch_s" else lambda value: float(value) / 1000.0


def seconds_of_iso8601(text: str) -> float:
    """Give the seconds since the epoch of an ISO 8601 time; without a zone it is UTC.

    Examples
    --------
    >>> seconds_of_iso8601("2018-04-01 00:00:31"), seconds_of_iso8601("2018-04-01T02:00:31+02:00")
    (1522540831.0, 1522540831.0)
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidMessage("bad_time", f"{text[:64]!r} is not an ISO 8601 time") from None
    if moment.tzinfo is None:
        return (moment - _EPOCH).total_seconds()
    return (moment - _EPOCH_UTC).total_seconds()


def _not_in_future(seconds: float, timestamp_ms: int, future_max: float) -> float:
    """Refuse a time far after the record's own; records without a timestamp are trusted."""
    if timestamp_ms > 0 and seconds > timestamp_ms / 1000.0 + future_max:
        ahead = seconds - timestamp_ms / 1000.0
        raise InvalidMessage("bad_time", f"{ahead:.0f} s after the record's Kafka timestamp")
    return seconds


def _struct_decoder(
    columns: Sequence[tuple[str, Any]],
    features: Sequence[tuple[str, Any]],
    required: Sequence[bool],
) -> Callable[[bytes], Any]:
    """Build a decoder of flat JSON objects into a struct with these fields, in this order."""
    names = [name for name, _ in [*columns, *features]]
    # Field names are the producer's and need not be identifiers, so the struct's are numbered.
    members: list[Any] = [(f"f{i}", kind) for i, (_, kind) in enumerate(columns)]
    for i, ((_, kind), must) in enumerate(zip(features, required, strict=True), len(columns)):
        members.append((f"f{i}", kind) if must else (f"f{i}", kind | None, None))
    struct = msgspec.defstruct(
        "Record",
        members,
        rename={f"f{i}": name for i, name in enumerate(names)},
        kw_only=True,
        gc=False,
    )
    return msgspec.json.Decoder(struct).decode


def _decode_row(
    decode: Callable[[bytes], Any], value: bytes | None, bytes_max: int
) -> tuple[Any, ...]:
    if value is None:
        raise InvalidMessage("null_value", "the record has no value")
    if len(value) > bytes_max:
        raise InvalidMessage("too_large", f"{len(value)} bytes, at most {bytes_max} are taken")
    try:
        return _astuple(decode(value))
    except msgspec.ValidationError as error:
        raise _explain(str(error)) from None
    except RecursionError:  # Fields that nobody asked for are read as well.
        raise InvalidMessage("not_json", "nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _explain_syntax(value, str(error)) from None


def _explain(message: str) -> InvalidMessage:
    """Find the reason code for what msgspec says; its wording is pinned by tests."""
    found = _PATH.search(message)
    path = found["path"] if found else ""
    text = message[: found.start()] if found else message
    where = f"{path}: {text}" if path else text
    if "missing required field" in text:
        return InvalidMessage("missing_field", where)
    if not path:
        return InvalidMessage("not_an_object", where)
    in_range = (" >= ", " <= ", "of length", "out of range", "Invalid enum value")
    if any(mark in text for mark in in_range):
        return InvalidMessage("out_of_range", where)
    return InvalidMessage("wrong_type", where)


def _explain_syntax(value: bytes, message: str) -> InvalidMessage:
    # Python's json reads NaN and Infinity, which many producers write though JSON has no such
    # thing: say so instead of "invalid character".
    constants: list[str] = []
    try:
        json.loads(value, parse_constant=constants.append)
    except (ValueError, RecursionError):
        return InvalidMessage("not_json", message)
    if constants:
        return InvalidMessage("not_finite", f"{constants[0]} is not a JSON number")
    return InvalidMessage("not_json", message)
