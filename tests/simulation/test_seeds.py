"""Whatever the schedule and the faults: no decision changes, each label is learned once."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation import scenario
from tests.simulation.oracle import check
from tests.simulation.world import Faults, World

FAILED_BEFORE = [
    int(line.split()[0])
    for line in (Path(__file__).parent / "seeds.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
]
SEEDS = [*FAILED_BEFORE, *range(200)]
FAULTS = Faults(crash=0.004, handover=0.004, zombie=0.006, redelivery=0.1)

reached: Counter[str] = Counter()


def simulate(seed: int, n_events: int = 40) -> World:
    """Run one seed of the full mix of faults."""
    rng = random.Random(seed)
    world = World(
        scenario.settings(corrections=("learn", "refuse")[seed % 4 == 3]),
        seed,
        n_workers=rng.randrange(1, 4),
        batch=rng.randrange(1, 6),
        faults=FAULTS,
    )
    world.run(scenario.records(rng, n_events), seconds_a_record=0.5)
    return world


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_change_nothing(seed: int) -> None:
    """All always-properties hold after any mix of faults."""
    world = simulate(seed)
    check(world)
    reached.update(world.reached)
    for letter in world.log.all("dead-letters"):
        reached[json.loads(letter.value or b"")["reason"]] += 1
    _note_examples(world)


def _note_examples(world: World) -> None:
    examples = world.examples()
    first = {e.event_id: e for e in reversed(examples) if e.revision == 1}
    for e in examples:
        was_silent = first[e.event_id].origin.startswith("silence")
        reached["waited"] += e.origin.startswith("waited")
        reached["negative"] += e.origin.startswith("silence")
        reached["own features"] += e.score is None
        reached["weighted"] += e.weight not in (1.0, 0.25)
        if e.revision > 1:
            reached[f"corrected to {e.label}"] += 1
            reached["corrected twice"] += e.revision > 2
            reached["corrected own features"] += first[e.event_id].score is None
            reached["corrected silence"] += was_silent
            reached["confirmed silence"] += was_silent and e.label is False
            reached["correction waited"] += e.origin.startswith("waited")
    reached["redelivered examples"] += len(examples) - world.learner().n_learned
    redelivered = Counter((e.origin, e.offset) for e in examples if e.origin.startswith("silence"))
    reached["redelivered negatives"] += sum(n > 1 for n in redelivered.values())


def test_every_fault_was_reached() -> None:
    """A property that was never put to the test says nothing."""
    if sum(reached.values()) == 0:
        pytest.skip("run with the seeds of this module")
    for what in (
        "crash",
        "handover",
        "zombie",
        "fenced",
        "redelivered records",
        "redelivered examples",
        "waited",
        "expired",
        "duplicate_label",
        "unknown_event",
        "bad_label",
        "out_of_range",
        "correction_refused",
        "negative",
        "redelivered negatives",
        "own features",
        "weighted",
        "corrected to True",
        "corrected to False",
        "corrected twice",
        "corrected own features",
        "corrected silence",
        "confirmed silence",
        "correction waited",
    ):
        assert reached[what] > 0, f"no seed reached: {what}"
