"""`driftline tail`: follow a topic, a line for each record."""

from __future__ import annotations

import base64
import contextlib
import itertools
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from stream.cli.common import ConfigOption, load, notes, out
from stream.cli.errors import CommandError

if TYPE_CHECKING:
    from kafka.consumer.fetcher import ConsumerRecord

VALUE_WIDTH = 160


def tail(
    topic: Annotated[
        str,
        typer.Argument(help="Short or full name: events, scores, fraud.scores, dead-letters, ..."),
    ],
    config: ConfigOption = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="All that is kept, not only what comes now.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after this many.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The records' values as they are, one a line.")
    ] = False,
) -> None:
    """Print records as they come, until Ctrl-C.

    Alerts are red, drift is yellow or red, dead letters show their reason and the original record.

    For example:

      driftline tail alerts -c fraud

      driftline tail dead-letters -c fraud --from-beginning --limit 20

      driftline tail scores -c fraud --json | jq .score
    """
    from stream.kafka_log import open_log

    settings = load(config)
    name = full_topic_name(topic, settings.app)
    with open_log(settings.kafka) as log, contextlib.suppress(KeyboardInterrupt):
        messages = log.follow(name, from_beginning=from_beginning)
        if not from_beginning and not as_json:
            notes().print(f"following {name} from now on; Ctrl-C stops", style="dim")
        _print(itertools.islice(messages, limit), name.removeprefix(f"{settings.app}."), as_json)


def full_topic_name(topic: str, app: str) -> str:
    """Complete a topic's name; what is not ours is refused, with what there is.

    Examples
    --------
    >>> full_topic_name("scores", "fraud"), full_topic_name("fraud.scores", "fraud")
    ('fraud.scores', 'fraud.scores')
    """
    from stream.topics import TOPICS

    short = topic.removeprefix(f"{app}.")
    names = [known.name for known in TOPICS]
    if short not in names and not short.startswith("by-"):
        raise CommandError(f"no topic {topic}: there are {', '.join(names)}")
    return f"{app}.{short}"


def _print(messages: Iterable[ConsumerRecord], topic: str, as_json: bool) -> None:
    console = out()
    for message in messages:
        if as_json:
            print((message.value or b"").decode(errors="replace"), flush=True)
        else:
            console.print(line_of(topic, message), overflow="ignore", no_wrap=True, crop=False)


def line_of(topic: str, message: ConsumerRecord) -> Text:
    """Write a record as one line: when and where, then what its topic's readers look for."""
    when = datetime.fromtimestamp(max(message.timestamp, 0) / 1000.0, UTC).strftime(
        "%Y-%m-%d %H:%M:%S"
    )
    line = Text(f"{when} {message.partition}/{message.offset} ", style="dim")
    body = _object(message.value)
    write = _WRITERS.get(topic)
    if body is None or write is None:
        key = "" if message.key is None else f"{_text(message.key)} "
        return line.append(f"{key}{_text(message.value)}", style="not dim")
    text, style = write(body)
    return line.append(text, style=f"not dim {style}")


def _reasons(reasons: Any) -> str:
    features = reasons.get("features") if isinstance(reasons, dict) else None
    return f": {'; '.join(str(reason.get('text')) for reason in features)}" if features else ""


def _score(body: dict[str, Any]) -> tuple[str, str]:
    style = "bold red" if body.get("decision") == "alert" else ""
    entity = f" {body['entity']}" if body.get("entity") is not None else ""
    arm = "" if body.get("arm", "champion") == "champion" else f"{body['arm']} "
    stale = " stale" if body.get("stale") else ""
    return (
        f"{body.get('event_id')}{entity} {_number(body.get('score'))} {body.get('decision')} "
        f"by {arm}{body.get('version')}{stale}{_reasons(body.get('reasons'))}",
        style,
    )


def _example(body: dict[str, Any]) -> tuple[str, str]:
    label, score = body.get("label"), _number(body.get("score"))
    days = (body.get("label_time", 0.0) - body.get("event_time", 0.0)) / 86_400
    return f"{body.get('event_id')} was {label}, scored {score}, label after {days:.1f} d", ""


def _drift(body: dict[str, Any]) -> tuple[str, str]:
    style = "bold red" if body.get("level") == "confirmed" else "yellow"
    if body.get("direction") == "improved":
        style = "green"
    return (
        f"{body.get('level')} {body.get('kind')} drift of {_subject(body)}: "
        f"{body.get('direction')}, {_number(body.get('before'))} to {_number(body.get('after'))} "
        f"at position {body.get('position')}",
        style,
    )


def _subject(body: dict[str, Any]) -> str:
    import msgspec

    from models.types import DriftSignal

    try:
        return msgspec.convert(body, DriftSignal).subject
    except msgspec.ValidationError:
        return str(body.get("what"))


def _version(body: dict[str, Any]) -> tuple[str, str]:
    return (
        f"{body.get('event')} {body.get('id')} ({body.get('reason')}), "
        f"{body.get('n_learned')} learned, fingerprint {body.get('fingerprint')}",
        "cyan",
    )


def _dead_letter(body: dict[str, Any]) -> tuple[str, str]:
    origin = f"{body.get('topic')} {body.get('partition')}/{body.get('offset')}"
    value = body.get("value")
    original = "null" if value is None else _text(base64.b64decode(value))
    return f"{body.get('reason')} ({body.get('detail')}) {origin}: {original}", "magenta"


_WRITERS = {
    "scores": _score,
    "alerts": _score,
    "shadows": _score,
    "examples": _example,
    "drift": _drift,
    "versions": _version,
    "dead-letters": _dead_letter,
}


def _number(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_number(part)}" for name, part in value.items())
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _object(value: bytes | None) -> dict[str, Any] | None:
    import msgspec

    try:
        body = msgspec.json.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _text(data: bytes | None) -> str:
    if data is None:
        return "null"
    # Control characters would move the terminal's cursor about.
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in _decoded(data))
    return text if len(text) <= VALUE_WIDTH else text[: VALUE_WIDTH - 3] + "..."


def _decoded(data: bytes) -> str:
    return data.decode(errors="replace")
