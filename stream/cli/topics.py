"""`driftline topics`: create the application's topics and show what is there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from stream.cli.common import ConfigOption, JsonOption, load, notes, out, print_json
from stream.cli.errors import EXIT_FAILED

if TYPE_CHECKING:
    from kafka import KafkaAdminClient

    from stream.settings import Settings

CONNECT_TIMEOUT_MS = 10_000
CREATE_TIMEOUT_MS = 30_000

app = typer.Typer(no_args_is_help=True, help="Create and list the application's Kafka topics.")


@dataclass(frozen=True, slots=True)
class TopicState:
    """One topic: what is configured, and what the broker has (None: no such topic)."""

    name: str
    configured: int
    existing: int | None
    created: bool = False

    @property
    def has_too_few(self) -> bool:
        """Whether the topic exists with fewer partitions than configured."""
        return self.existing is not None and self.existing < self.configured


@app.command()
def create(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Create the topics that do not exist yet; existing ones are left as they are.

    Safe to repeat, and to run from several machines at once. A topic with fewer partitions than
    kafka.partitions is an error: adding partitions moves keys between lanes, so that is for you
    to decide.

    Example: driftline topics create -c fraud
    """
    settings = load(config)
    states = create_topics(settings)
    if as_json:
        print_json({state.name: _report(state) for state in states})
    else:
        for state in states:
            out().print(_sentence(state))
    if any(state.has_too_few for state in states):
        notes().print(
            f"error: fewer partitions than kafka.partitions = {settings.kafka.partitions}. Set "
            "kafka.partitions to what is there, or add partitions with "
            "`kafka-topics.sh --alter` while no worker and no producer runs",
            style="red",
        )
        raise typer.Exit(EXIT_FAILED)


@app.command("list")
def list_(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the topics: partitions, records, key, writer and reader.

    Example: driftline topics list -c fraud
    """
    from stream.kafka_log import open_log
    from stream.topology import all_topics

    settings = load(config)
    rows = [(topic, topic.full_name(settings.app)) for topic in all_topics(settings)]
    with admin_client(settings) as admin:
        existing = _partitions_on_broker(admin)
    with open_log(settings.kafka) as log:
        records = {
            topic.name: sum(end - first for first, end in log.ends(name).values())
            for topic, name in rows
            if name in existing
        }
    if as_json:
        print_json(
            {
                name: {"partitions": existing.get(name), "records": records.get(topic.name)}
                for topic, name in rows
            }
        )
        return
    table = Table(
        "topic", "partitions", "records", "key", "value", "written by", "read by", box=None
    )
    for topic, name in rows:
        n_partitions = existing.get(name)
        shown = "[red]missing[/red]" if n_partitions is None else str(n_partitions)
        count = "" if n_partitions is None else f"{records[topic.name]:,}"
        table.add_row(name, shown, count, topic.key, topic.value, topic.written_by, topic.read_by)
    out().print(table)


def create_topics(settings: Settings) -> list[TopicState]:
    """Create what is missing and tell what is there; others may create at the same time."""
    from kafka.errors import TopicAlreadyExistsError

    from stream.topology import all_topics

    states = []
    with admin_client(settings) as admin:
        existing = _partitions_on_broker(admin)
        for topic in all_topics(settings):
            name = topic.full_name(settings.app)
            configured = topic.partitions(settings.kafka.partitions)
            created = False
            if name not in existing:
                options = {
                    "num_partitions": configured,
                    "replication_factor": settings.kafka.replication,
                    "configs": topic.config(),
                }
                with contextlib.suppress(TopicAlreadyExistsError):
                    admin.create_topics(
                        {name: options}, timeout_ms=CREATE_TIMEOUT_MS, wait_for_metadata=True
                    )
                    created = True
            present = configured if created else existing.get(name, configured)
            states.append(TopicState(name, configured, present, created))
    return states


@contextlib.contextmanager
def admin_client(settings: Settings) -> Iterator[KafkaAdminClient]:
    """Connect kafka-python's admin client, and close it."""
    from kafka import KafkaAdminClient

    from stream.clients import kafka_python_config

    admin = KafkaAdminClient(
        **kafka_python_config(settings.kafka), bootstrap_timeout_ms=CONNECT_TIMEOUT_MS
    )
    try:
        yield admin
    finally:
        admin.close()


def _partitions_on_broker(admin: KafkaAdminClient) -> dict[str, int]:
    return {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics()}


def _report(state: TopicState) -> dict[str, Any]:
    return {
        "partitions": state.existing,
        "configured": state.configured,
        "created": state.created,
        "too_few": state.has_too_few,
    }


def _sentence(state: TopicState) -> str:
    if state.created:
        return f"created  {state.name} ({state.configured} partitions)"
    if state.has_too_few:
        return (
            f"[red]too few  {state.name}: {state.existing} of {state.configured} partitions[/red]"
        )
    return f"exists   {state.name} ({state.existing} partitions)"
