"""One seed of everything that can go wrong at once, and what of it was reached."""

from __future__ import annotations

import json
import random
from collections import Counter

from tests.simulation import scenario
from tests.simulation.oracle import check
from tests.simulation.world import Faults, World

FAULTS = Faults(
    crash=0.004,
    handover=0.004,
    zombie=0.006,
    paused_worker=0.002,
    rebalance=0.001,
    store_outage=0.002,
    kafka_outage=0.002,
    clock_jump=0.002,
    redelivery=0.1,
    lost_answer=0.02,
    slow_store=0.01,
    unacknowledged=0.05,
)

SOMETIMES = (
    "crash",
    "handover",
    "zombie",
    "fenced",
    "paused worker",
    "rebalance",
    "lane given back",
    "lane not given back",
    "Redis away",
    "Kafka away",
    "answer lost",
    "slow store",
    "not acknowledged",
    "clock jump",
    "late publish",
    "late commit",
    "late cut_version",
    "late put_pending",
    "late claim",
    "late sweep_silent",
    "late read_keyed",
    "repeated on the way",
    "risky shop",
    "late rest",
    "late acquire",
    "late and fenced",
    "robbed",
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
    "drift",
    "drift of a segment",
)
"""What some seed must reach: a property that was never put to the test says nothing."""


def simulate(seed: int, n_events: int = 40) -> World:
    """Run one seed of the full mix of faults."""
    rng = random.Random(seed)
    windows = list(scenario.FEATURES)[seed % len(scenario.FEATURES)]
    world = World(
        scenario.settings(corrections=("learn", "refuse")[seed % 4 == 3], windows=windows),
        seed,
        n_workers=rng.randrange(1, 4),
        batch=rng.randrange(1, 6),
        faults=FAULTS,
    )
    fed = scenario.records(rng, n_events, shops="shops" in windows)
    world.run(fed, seconds_a_record=0.5)
    return world


def run_seed(seed: int) -> Counter[str]:
    """Run a seed and check that all that must hold does; give what it reached."""
    world = simulate(seed)
    check(world)
    reached = Counter(world.reached)
    for letter in world.log.all("dead-letters"):
        reached[json.loads(letter.value or b"")["reason"]] += 1
    _note_examples(world, reached)
    for record in world.log.all("drift"):
        is_part = json.loads(record.value or b"")["segment"] is not None
        reached["drift of a segment" if is_part else "drift"] += 1
    on_their_way = [json.loads(record.value or b"") for record in world.log.all("by-shop")]
    places = Counter((e["partition"], e["offset"]) for e in on_their_way if e["kind"] == "event")
    reached["repeated on the way"] += sum(n > 1 for n in places.values())
    risks = [e.features.get("shop.risk.200s", 0.0) for e in world.examples()]
    reached["risky shop"] += sum(float(risk) > 0 for risk in risks)
    return reached


def _note_examples(world: World, reached: Counter[str]) -> None:
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
