"""Which topics an application has: those of all, and one re-keyed log for each further entity.

Events are partitioned by one entity, so one lane sees all events of a card in their order. What a
terminal has seen is spread over all of those lanes. So events that need a further entity's past are
published again, with the features that they have by then, to `<app>.by-<entity>`, partitioned by
that entity: there one lane sees all events of a terminal. An entity with `[[features.risk]]` needs
labels as well, which the label lanes append to the same log. So each stage is a fold over one
ordered log with a position, and commits as every lane does; the last one scores.
"""

from __future__ import annotations

import zlib

from models.stores.base import Lease
from stream import topics
from stream.birth import COMMAND, StateLost
from stream.derived import LOG, Stage, stages
from stream.messages import FeatureFields
from stream.settings import Settings


def event_stages(settings: Settings, *, bounded: bool = True) -> list[Stage]:
    """Make the stages of a worker: that of the events topic, then one a re-keyed log."""
    made = stages(settings, FeatureFields(list(settings.event.features)), bounded=bounded)
    for stage, topic in zip(made[1:], re_keyed(settings), strict=True):
        stage.log = topic.name.encode()
    return made


def check_log(lease: Lease, topic: topics.Topic) -> None:
    """Refuse a position of another log: the lane would skip events, or wait for ever.

    Raises
    ------
    StateLost
        When the configuration of features was changed so that events go another way.
    """
    expected = b"" if topic is topics.EVENTS else topic.name.encode()
    found = lease.state.get(LOG, b"")
    if lease.position is not None and found != expected:
        raise StateLost(
            f"lane {lease.lane} stands at {lease.position} of {found.decode() or 'events'}, and "
            f"now events are scored from {topic.name}: features of a further entity were added or "
            f"taken away. `{COMMAND} --force` finds the positions of the new way"
        )


def re_keyed(settings: Settings) -> list[topics.Topic]:
    """List the re-keyed logs, in the order in which events pass them."""
    return [re_keyed_topic(entity) for entity in settings.features.further(settings.event)]


def re_keyed_topic(entity: str) -> topics.Topic:
    """Describe the log that is partitioned by an entity."""
    return topics.Topic(
        f"by-{entity}",
        entity,
        "events so far, and label facts",
        "enrich lane, label lane",
        "score lane",
    )


def event_topics(settings: Settings) -> list[topics.Topic]:
    """List the topics that events pass, the last of which is scored."""
    return [topics.EVENTS, *re_keyed(settings)]


def inputs(settings: Settings) -> list[topics.Topic]:
    """List what lanes read, a lane for each partition."""
    return [*event_topics(settings), topics.LABELS, topics.EXAMPLES]


def all_topics(settings: Settings) -> list[topics.Topic]:
    """List all topics of an application."""
    return [*topics.TOPICS, *re_keyed(settings)]


def lane_kind(stage: int, n_stages: int) -> str:
    """Name the kind of lane of a stage: events are scored in the last one.

    Examples
    --------
    >>> [lane_kind(stage, 3) for stage in range(3)]
    ['enrich', 'enrich1', 'score']
    """
    if stage == n_stages - 1:
        return "score"
    return f"enrich{stage or ''}"


def partition_of(entity: str, n_partitions: int) -> int:
    """Give the partition of an entity in its log: the same for events and for facts.

    Examples
    --------
    >>> partition_of("t1", 8), partition_of("t2", 8)
    (7, 5)
    """
    return zlib.crc32(entity.encode()) % n_partitions
