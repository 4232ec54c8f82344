"""`driftline config`: check a configuration, look a key up, start from a preset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from stream.cli.common import ConfigOption, load, out
from stream.cli.errors import CommandError

if TYPE_CHECKING:
    from stream.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Check, look up and start a configuration.")


@app.command()
def check(config: ConfigOption = None) -> None:
    """Check a configuration; print what it says, or every wrong key with its fix.

    Also builds the pipeline, so a misspelt name is found here and not by the worker.

    Example: driftline config check -c driftline.toml
    """
    from stream.clients import aiokafka_config, redis_config
    from stream.learners import check_learner
    from stream.settings import find_file

    settings = load(config)
    aiokafka_config(settings.kafka)
    redis_config(settings.redis)
    pipeline = check_learner(settings).pipeline
    out().print(f"OK: {find_file(config)}", style="green")
    out().print(_summary(settings, pipeline))


@app.command("reference")
def reference_() -> None:
    """Print every key with its type, default and environment variable, in Markdown."""
    from stream.reference import reference

    print(reference(), end="")


@app.command()
def show(
    preset: Annotated[str, typer.Argument(help="A shipped preset (fraud, elec2).")],
) -> None:
    """Print a preset as a file to start from.

    Example: driftline config show fraud > driftline.toml
    """
    from stream.settings import PRESETS

    path = PRESETS / f"{Path(preset).name}.toml"
    if not path.is_file():
        shipped = ", ".join(sorted(p.stem for p in PRESETS.glob("*.toml")))
        raise CommandError(f"no preset {preset}: there are {shipped}")
    print(path.read_text(encoding="utf-8"), end="")


def _summary(settings: Settings, pipeline: str) -> Table:
    from stream.cli.errors import without_password

    event, label = settings.event, settings.label
    features = ", ".join(event.features)
    table = Table(show_header=False, box=None)
    table.add_row("app", settings.app)
    table.add_row("kafka", f"{settings.kafka.bootstrap} ({settings.kafka.security_protocol})")
    table.add_row("redis", without_password(settings.redis.url))
    table.add_row(
        "events", f"id {event.id}, time {event.time or 'of Kafka'}, entity {event.entity}"
    )
    table.add_row("features", f"{len(event.features)}: {features}")
    if derived := settings.features.names():
        table.add_row("derived", f"{len(derived)}: {', '.join(derived)}")
    table.add_row("labels", f"id {label.id}, value {label.value}, time {label.time or 'of Kafka'}")
    table.add_row("model", f"{settings.model.task}, {settings.model.pipeline}: {pipeline}")
    ring = settings.versions.key_ring()
    signed = "not signed" if ring is None else f"signed by {ring.signing_id}"
    others = f", also accepted: {', '.join(ring.ids[1:])}" if ring and ring.ids[1:] else ""
    table.add_row("versions", signed + others)
    table.add_row("labels wait", f"{settings.join.ttl / 86_400:g} d at most")
    return table
