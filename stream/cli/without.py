"""What `--without` names: examples by offset, time, event, entity or a feature's value."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream.cli.errors import CommandError

if TYPE_CHECKING:
    from models.types import FeatureValue
    from stream.settings import Settings

EVENTS_MAX = 10_000
KINDS = "offsets=A..B, time=FROM..TO, events=ID,ID, events=@FILE, entity=FIELD:VALUE or "
KINDS += "segment=FEATURE:VALUE"


def exclusion(settings: Settings, texts: list[str]) -> dict[str, Any]:
    """Read what --without names; the same as `models.lineage.Exclusion` holds."""
    found: dict[str, list[Any]] = {
        "offsets": [], "times": [], "events": [], "entities": [], "features": []
    }  # fmt: skip
    for text in texts:
        kind, is_given, value = text.partition("=")
        match kind if is_given else "":
            case "offsets":
                found["offsets"].append(_span(text, kind, value))
            case "time":
                found["times"].append(_span(text, kind, value))
            case "events":
                found["events"] += _events(value)
            case "entity":
                entity = named_entity(settings, value)
                found["entities"].append(entity)
                if settings.event.entity in settings.event.features:
                    # Examples of an early release have no field for the entity.
                    found["features"].append(_feature(settings, str(settings.event.entity), entity))
            case "segment":
                name, _, wanted = value.partition(":")
                found["features"].append(_feature(settings, name, wanted))
            case _:
                raise CommandError(f"--without {text!r}: write {KINDS}")
    if len(found["events"]) > EVENTS_MAX:
        raise CommandError(f"--without events: over {EVENTS_MAX:,} ids; leave out a range instead")
    return found


def named_entity(settings: Settings, text: str) -> str:
    """Read FIELD:VALUE, where FIELD is the configured entity."""
    field, is_given, value = text.partition(":")
    if settings.event.entity is None:
        raise CommandError("event.entity is not set: examples do not say whose they are")
    if not is_given or not value or field != settings.event.entity:
        hint = f"; or segment={text}" if field in settings.event.features else ""
        raise CommandError(f"entity {text!r}: write {settings.event.entity}:VALUE{hint}")
    return value


def _feature(settings: Settings, name: str, text: str) -> tuple[str, FeatureValue]:
    feature = settings.event.features.get(name)
    if feature is None:
        known = ", ".join(settings.event.features)
        raise CommandError(f"--without segment: {name!r} is no feature; there are: {known}")
    try:
        match feature.type:
            case "number":
                return name, float(text)
            case "integer":
                return name, int(text)
            case "boolean":
                return name, {"true": True, "false": False}[text.lower()]
            case _:
                return name, text
    except (ValueError, KeyError):
        raise CommandError(f"--without segment: {name} is a {feature.type}, not {text!r}") from None


def _events(value: str) -> list[str]:
    if not value.startswith("@"):
        return [event for event in value.split(",") if event]
    try:
        lines = Path(value[1:]).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise CommandError(f"--without events: {value[1:]}: {error.strerror}") from None
    return [line.strip() for line in lines if line.strip()]


def _span(text: str, kind: str, value: str) -> tuple[float, float]:
    from stream.decoding import seconds_of_iso8601
    from stream.messages import InvalidMessage

    first, _, last = value.partition("..")
    try:
        read = int if kind == "offsets" else seconds_of_iso8601
        start, end = read(first), read(last)
    except (ValueError, InvalidMessage):
        kinds = "offsets" if kind == "offsets" else "ISO 8601 times"
        raise CommandError(f"--without {text!r}: write two {kinds} with .. between") from None
    if start >= end:
        raise CommandError(f"--without {text!r} holds nothing: the end is not above the start")
    return start, end
