"""What reads, writes and keeps what in one configuration: its lanes as text and for a picture.

Of what lanes do, only that is told which the configuration leads to: no re-keyed log without a
further entity, no shadows where no challenger is allowed. Positions and states are left out: every
lane commits them to Redis.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from models.types import Task
from stream import topics
from stream.derived import Stage
from stream.settings import Settings
from stream.topology import event_stages, event_topics, lane_kind

PENDING = "pending events"
VERSIONS = "versions of the model"


@dataclass(frozen=True, slots=True)
class LaneFlow:
    """What the lanes of one kind do.

    `reads` and `writes` are full names of topics; `keeps` is what they write to Redis for
    themselves or for others, `asks` what they look up of others; `adds` are names of features.
    """

    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    keeps: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    adds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Flow:
    """All lanes of an application, in the order in which an event and its label meet them.

    `keys` says what the topics that events pass are partitioned by.
    """

    lanes: tuple[LaneFlow, ...]
    keys: dict[str, str]


def flow(settings: Settings) -> Flow:
    """Tell the ways of events and labels, from log to log."""
    path, made = event_topics(settings), event_stages(settings)
    first_key = settings.event.entity or "the producer's key"
    keys = [first_key, *(topic.key for topic in path[1:])]
    lanes, facts = [], []
    known = len(settings.event.features)
    for place, (topic, stage) in enumerate(zip(path, made, strict=True)):
        kind = lane_kind(place, len(path))
        last = kind == "score"
        onward = _of_scores(settings) if last else [path[place + 1]]
        lanes.append(
            LaneFlow(
                f"{kind} lanes",
                _names([topic], settings),
                _names([*onward, topics.DEAD_LETTERS], settings),
                (*_pasts(stage, keys[place]), *([PENDING] if last else [])),
                (VERSIONS,) if last else (),
                tuple(stage.fields.names[known:]),
            )
        )
        known = len(stage.fields.names)
        if stage.has_risk:
            facts.append(topic)
    told = _names([topics.EXAMPLES, *facts, topics.DEAD_LETTERS], settings)
    labels = _names([topics.LABELS], settings)
    lanes.append(LaneFlow("label lanes", labels, told, asks=(PENDING,)))
    learned = _names([topics.VERSIONS, topics.DRIFT, topics.AUDIT], settings)
    read = _names([topics.EXAMPLES, topics.CONTROL], settings)
    lanes.append(LaneFlow("learn lane", read, learned, keeps=(VERSIONS,)))
    full = (topic.full_name(settings.app) for topic in path)
    return Flow(tuple(lanes), dict(zip(full, keys, strict=True)))


def describe(settings: Settings) -> Iterator[str]:
    """Write the ways of events and labels, from log to log."""
    told = flow(settings)
    for lane in told.lanes:
        yield ", ".join(
            f"{topic}, by {told.keys[topic]}" if topic in told.keys else topic
            for topic in lane.reads
        )
        yield f"  {lane.name} -> {', '.join(lane.writes)}"
        if lane.keeps:
            yield f"    keep {', '.join(lane.keeps)}"
        if lane.asks:
            yield f"    look up {', '.join(lane.asks)}"
        yield from (f"    + {name}" for name in lane.adds)


def _of_scores(settings: Settings) -> list[topics.Topic]:
    written = [topics.SCORES, topics.ALERTS]
    if settings.challengers.max:
        written.append(topics.SHADOWS)
    if settings.drift.label_free:
        written.append(topics.DRIFT)
    if settings.model.task is Task.ANOMALY or settings.join.negative_after:
        written.append(topics.EXAMPLES)
    return written


def _pasts(stage: Stage, entity: str) -> Iterable[str]:
    return () if stage.fold is None else (f"pasts of {entity}",)


def _names(known: Iterable[topics.Topic], settings: Settings) -> tuple[str, ...]:
    return tuple(topic.full_name(settings.app) for topic in known)
