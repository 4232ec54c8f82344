"""What Kafka knows of an application's workers: the members of their group, and its offsets."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupIdNotFoundError,
    NotCoordinatorError,
)

from stream import topics
from stream.clients import kafka_python_config
from stream.kafka_log import CONNECT_TIMEOUT_S, open_log
from stream.settings import Settings
from stream.topology import inputs

POLL_S = 0.2
OUTPUTS = (topics.SCORES, topics.EXAMPLES, topics.DEAD_LETTERS)


def count_members(settings: Settings) -> int:
    """Count the workers that are in the application's group now."""
    name = topics.group(settings.app)
    with _admin(settings) as admin:
        try:
            described = _patiently(lambda: admin.describe_groups([name]))
        except GroupIdNotFoundError:
            return 0
    return len(described.get(name, {}).get("members") or ())


def committed_offsets(settings: Settings) -> dict[str, dict[int, int]]:
    """Tell what the group has committed: topic, without prefix, to offsets by partition."""
    name = topics.group(settings.app)
    names = {topic.full_name(settings.app): topic.name for topic in inputs(settings)}
    found: dict[str, dict[int, int]] = {}
    with _admin(settings) as admin:
        offsets = _patiently(lambda: admin.list_group_offsets(name)).get(name, {})
    for tp, committed in offsets.items():
        if tp.topic in names and committed.offset >= 0:
            found.setdefault(names[tp.topic], {})[tp.partition] = committed.offset
    return found


def traces(settings: Settings) -> list[str]:
    """Say what shows that workers of this application were at work before."""
    found = []
    if any(n for offsets in committed_offsets(settings).values() for n in offsets.values()):
        found.append(f"offsets committed by {topics.group(settings.app)}")
    with open_log(settings.kafka) as log:
        for topic in OUTPUTS:
            name = topic.full_name(settings.app)
            if any(end for _, end in log.ends(name).values()):
                found.append(f"records on {name}")
    return found


def _patiently(ask: Callable[[], Any]) -> Any:
    # A broker that has never had a group makes the topic of groups at the first question, then
    # loads it.
    deadline = time.monotonic() + CONNECT_TIMEOUT_S
    while True:
        try:
            return ask()
        except (
            CoordinatorNotAvailableError,
            CoordinatorLoadInProgressError,
            NotCoordinatorError,
        ):
            if time.monotonic() > deadline:
                raise
        time.sleep(POLL_S)


@contextlib.contextmanager
def _admin(settings: Settings) -> Iterator[Any]:
    admin = KafkaAdminClient(
        **kafka_python_config(settings.kafka), bootstrap_timeout_ms=CONNECT_TIMEOUT_S * 1000
    )
    try:
        yield admin
    finally:
        admin.close()
