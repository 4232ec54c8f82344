"""Whatever the schedule and the faults: no decision changes, each label is learned once."""

from __future__ import annotations

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
        scenario.settings(),
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
        for reason in (b"expired", b"duplicate_label", b"unknown_event", b"bad_label"):
            reached[reason.decode()] += reason in (letter.value or b"")
    reached["waited"] += any(e.origin.startswith("waited") for e in world.examples())
    n_examples = len(world.examples())
    reached["redelivered examples"] += n_examples - world.learner().n_learned


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
    ):
        assert reached[what] > 0, f"no seed reached: {what}"
