"""A label whose event does not come is refused; the event that comes after all finds it refused."""

from __future__ import annotations

import json
from itertools import count

from stream import topics
from tests.simulation import scenario
from tests.simulation.crashes import LANES_IN_TURN, catch_up
from tests.simulation.oracle import every_label_accounted_for_once
from tests.simulation.world import World

SETTLE_ROUNDS = 5


def refused(world: World) -> bool:
    return any(b"unknown_event" in (r.value or b"") for r in world.log.all("dead-letters"))


def run(crash_at: int | None) -> tuple[int, bool]:
    """Crash at a step, then let the event come at once.

    Gives the step by which the label was refused, and whether that was before the crash.
    """
    world = World(scenario.settings(partitions=1), seed=1)
    steps = count()
    refused_at = 0

    def append(topic: topics.Topic, **body: object) -> None:
        world.log.append(topic.name, 0, None, json.dumps(body).encode())

    def drain() -> bool:
        lanes = [(topic, 0) for topic in LANES_IN_TURN if (topic, 0) in world.owner]
        return all(catch_up(world, lane, steps, crash_at) for lane in lanes)

    append(topics.EVENTS, id="last0", t=100.0, c=0, x=0.0, y=0.0)
    append(topics.LABELS, id="late", t=110.0, label=True)
    append(topics.EVENTS, id="last1", t=160.0, c=0, x=0.0, y=0.0)
    while not refused_at and drain():
        world.clock.advance(2.0)
        refused_at = next(steps) if refused(world) else 0
    was_refused = refused(world)
    append(topics.EVENTS, id="late", t=105.0, c=0, x=0.0, y=0.0)
    for _ in range(SETTLE_ROUNDS):
        drain()
        world.clock.advance(2.0)
    every_label_accounted_for_once(world)
    return refused_at, was_refused


def test_it_is_refused_or_learned_and_never_both() -> None:
    """Wherever the worker crashes around it, between the dead letter and the commit as well."""
    refused_at, _ = run(crash_at=None)
    outcomes = [run(crash_at)[1] for crash_at in range(refused_at - 60, refused_at)]
    assert {True, False} == set(outcomes), "no crash was just after the dead letter, or before"
