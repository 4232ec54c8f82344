"""What must always hold, whatever happened."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from stream.learners import new_learner
from tests.simulation.world import World


def check(world: World) -> dict[str, Any]:
    """Check every always-property; give what a run is compared by."""
    decisions = _one_decision_an_event(world)
    learned = _every_label_accounted_for_once(world)
    fingerprint = _recovered_equals_replayed(world)
    return {"decisions": decisions, "learned": learned, "fingerprint": fingerprint}


def _one_decision_an_event(world: World) -> dict[str, bytes]:
    decisions: dict[str, bytes] = {}
    for record in world.log.all("scores"):
        event_id = (record.key or b"").decode()
        assert decisions.setdefault(event_id, record.value or b"") == record.value, event_id
    refused = {(letter["partition"], letter["offset"]) for letter in _letters(world, "sim.events")}
    for (topic, partition), records in world.log.records.items():
        if topic != "events":
            continue
        for record in records:
            if (partition, record.offset) in refused:
                continue
            event_id = json.loads(record.value or b"")["id"]
            assert event_id in decisions, f"event {event_id} has no decision"
    return decisions


def _every_label_accounted_for_once(world: World) -> set[tuple[str, int]]:
    appended: dict[tuple[str, int], set[str]] = defaultdict(set)
    for example in world.examples():
        appended[example.origin.split("/")[1], example.offset].add(example.event_id)
    refused = {
        (str(letter["partition"]), letter["offset"]) for letter in _letters(world, "sim.labels")
    }
    waiting = {
        (lane.removeprefix("label."), int(offset))
        for lane, state in world.store._states.items()
        if lane.startswith("label.")
        for offset in state
    }
    n_labels = 0
    for (topic, partition), records in world.log.records.items():
        if topic != "labels":
            continue
        for record in records:
            n_labels += 1
            fates = [(str(partition), record.offset) in s for s in (appended, refused, waiting)]
            assert sum(fates) == 1, f"label {partition}@{record.offset}: {fates}"
    assert n_labels == len(appended) + len(refused) + len(waiting)
    assert not waiting, "labels still wait though all has settled"
    event_ids = [event_id for ids in appended.values() for event_id in ids]
    assert len(event_ids) == len(set(event_ids)), "an event was labelled by two labels"
    return set(appended)


def _recovered_equals_replayed(world: World) -> str:
    live = world.learner()
    replayed = new_learner(world.settings)
    examples = world.examples()
    replayed.absorb(examples, list(range(len(examples))))
    distinct = {(example.origin.split("/")[1], example.offset) for example in examples}
    assert replayed.n_learned == len(distinct), "the fold did not learn each label once"
    assert (live.position, live.n_learned) == (replayed.position, replayed.n_learned)
    assert live.fingerprint() == replayed.fingerprint()
    assert live.metrics() == replayed.metrics()
    return str(live.fingerprint())


def _letters(world: World, topic: str) -> list[dict[str, object]]:
    letters = [json.loads(record.value or b"") for record in world.log.all("dead-letters")]
    return [letter for letter in letters if letter["topic"] == topic]
