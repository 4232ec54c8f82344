"""A crash at every single step of the commit order, one run each, against the undisturbed run.

Labels come after their events here: where one that overtook its event stands in the examples log
depends on when it is tried again, and the log's order is the record. The seeds cover those. There
are corrections, labels with features of their own, weights, and negatives of silence that labels
correct later.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count, groupby
from typing import Any

import msgspec

from stream import topics
from stream.messages import decode_decision
from tests.simulation import scenario
from tests.simulation.oracle import check
from tests.simulation.world import World

LANES_IN_TURN = (topics.EXAMPLES.name, topics.LABELS.name, "by-shop", topics.EVENTS.name)
"""Learn first, then join, then score: with a fixed order, decisions do not depend on timing."""

Record = tuple[str, int, bytes | None]


def run(
    pipeline: str, crash_at: int | None, n_events: int = 12, *, windows: str = ""
) -> tuple[dict[str, Any], int]:
    """Run a fixed schedule and crash at one yield point of it; give the result and busy steps."""
    settings = scenario.settings(pipeline, partitions=1, version_interval=1e9, windows=windows)
    world = World(settings, seed=1, batch=2)
    steps = count()
    # Steps so long that events become negatives, and are labelled after all, within the run.
    like = {"partitions": 1, "jitter": 0.0, "step": 40.0, "shops": "shops" in windows}
    fed = scenario.records(random.Random(0), n_events, **like)
    for chunk in _chunks(fed):
        for topic, partition, value in chunk:
            world.log.append(topic, partition, None, value)
        drain(world, steps, crash_at)
    n_busy = next(steps)
    for _ in range(60):  # Let the graces of labels that wait run out.
        drain(world, steps, crash_at)
    result = check(world)
    # An example that was appended twice moves later positions by one: the state that scored is the
    # same, its place in the log is not.
    result["decisions"] = {
        event_id: msgspec.structs.replace(decode_decision(body), version="", model_position=0)
        for event_id, body in result["decisions"].items()
    }
    return result, n_busy


def _chunks(fed: list[Record]) -> Iterator[list[Record]]:
    """Up to three of one topic: whether a label or the silence of another event comes first is not
    in the logs, so the two must not be due at once.
    """
    for _, group in groupby(fed, key=lambda record: record[0]):
        records = list(group)
        yield from (records[i : i + 3] for i in range(0, len(records), 3))


def drain(world: World, steps: Iterator[int], crash_at: int | None) -> None:
    """Let each lane in turn take all there is, again while anything moves."""
    n_quiet = 0
    # Twice: a lane that was taken over holds the time back until it has rested for a round.
    while n_quiet < 2:
        before = world.progress()
        turns = [(topic, 0) for topic in LANES_IN_TURN if (topic, 0) in world.owner]
        while not all(catch_up(world, key, steps, crash_at) for key in turns):
            pass  # It crashed: once more from the first lane, so that learning is done first.
        # Longer than any retry is put off, so that retries do not depend on when a lane opened.
        world.clock.advance(2.0)
        n_quiet = 0 if world.progress() != before else n_quiet + 1


def catch_up(
    world: World, key: tuple[str, int], steps: Iterator[int], crash_at: int | None
) -> bool:
    """Let a lane take all there is; False if the worker crashed meanwhile."""
    while True:
        before = world.workers[0].lanes[key].position
        finished = False
        while not finished:
            if next(steps) == crash_at:
                world.crash(0)
                return False
            finished = world.advance(world.workers[0], key)
        if world.workers[0].lanes[key].position == before:
            return True
