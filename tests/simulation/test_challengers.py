"""Challengers among everything else: their states and their evidence can be made again."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from models import checkpoint
from models.duel import Duel
from models.gate import Evidence
from models.learner import Learner
from models.lineage import Course, Segment
from stream import topics
from stream.challenger import Challenger
from stream.challenger_settings import ChallengerSettings
from stream.challengers import Challengers
from stream.learners import learner_before
from tests.simulation import scenario
from tests.simulation.mix import FAULTS
from tests.simulation.oracle import check
from tests.simulation.test_commands import command, outcomes
from tests.simulation.world import World

SEEDS = range(24)
NAMES = ("same", "tree", "young")
ALPHA = 0.9
"""The gate opens at a whim: there are not many examples."""

reached: Counter[str] = Counter()


def some_commands(rng: random.Random) -> list[bytes]:
    """Challengers first; then what happens to them and to the champion."""
    chosen = [
        command(0, "challenger add", name="same"),
        command(1, "challenger add", name="tree", pipeline="hoeffding-tree"),
        command(2, "challenger add", name="young", begin="now", seed=5),
    ]
    for number in range(3, 7):
        kind = rng.choice(["promote", "promote", "drop", "rollback", "replay", "threshold"])
        name = rng.choice(NAMES)
        version = f"v1-{7 * rng.randrange(1, 5)}"
        match kind:
            case "promote":
                body = command(number, "promote", name=name, force=rng.random() < 0.7)
            case "drop":
                body = command(number, "challenger drop", name=name)
            case "rollback":
                body = command(number, "rollback", version=version)
            case "replay":
                without = {"events": ["e2", "e5"]}
                body = command(number, "rollback", version=version, replay=True, without=without)
            case _:
                body = command(number, "threshold", threshold=rng.random())
        chosen.append(body)
    return chosen


def challengers_of(world: World) -> Challengers:
    key = (topics.EXAMPLES.name, 0)
    handler: Any = world.workers[world.owner[key]].lanes[key].handler
    found: Challengers = handler._challengers
    return found


def folded(world: World, segments: tuple[Segment, ...], position: int) -> Learner:
    """Make a learner again, from the log and the segments that led to it."""
    learner = learner_before(world.settings, segments)
    Course(learner, segments).absorb(world.examples()[:position], range(position))
    return learner


def check_challenger(world: World, challenger: Challenger) -> None:
    """State and evidence are those of a fold, and of a comparison made in one go."""
    duel = challenger.duel
    again = folded(world, duel.lineage.segments, duel.position)
    assert again.fingerprint() == duel.learner.fingerprint(), challenger.name
    assert again.metrics() == duel.learner.metrics()
    assert duel.reference is not None, f"{challenger.name} has not caught up"
    before = folded(world, duel.lineage.segments, duel.since)
    fought = Duel(before, duel.lineage, loss=duel.loss, evidence=Evidence(alpha=ALPHA))
    # Thresholds that came since have only renamed the champion.
    champion = folded(world, duel.reference_lineage.segments, duel.since)
    champion.position = duel.since
    fought.face(champion, duel.reference_lineage)
    offsets = range(duel.since, duel.position)
    fought.absorb(world.examples()[duel.since : duel.position], offsets, lambda: 0.0)
    assert fought.evidence == duel.evidence, challenger.name
    reached["compared"] += duel.evidence.n > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_challengers_are_folds_whatever_happens(seed: int) -> None:
    """With crashes, handovers, zombies and promotions by hand and by the gate."""
    rng = random.Random(seed)
    mode = ("automatic", "propose", "manual")[seed % 3]
    settings = scenario.settings().model_copy(
        update={"challengers": ChallengerSettings(promotion=mode, alpha=ALPHA)}
    )
    world = World(
        settings, seed, n_workers=rng.randrange(1, 4), batch=rng.randrange(1, 6), faults=FAULTS
    )
    fed = scenario.records(rng, 40)
    bodies = some_commands(rng)
    places = sorted(rng.randrange(len(fed) // 5, len(fed)) for _ in bodies)
    for place, body in reversed(list(zip(places, bodies, strict=True))):
        fed.insert(place, ("control", 0, body))
    world.run(fed, seconds_a_record=0.5)
    check(world)
    told = outcomes(world)
    for record in told.values():
        reached[f"{record.what} {record.outcome}"] += 1
    assert {f"c{number}" for number in range(len(bodies))} <= set(told)
    champion, lineage = world.learner(), world.lineage()
    for challenger in challengers_of(world):
        assert challenger.failure == ""
        assert challenger.duel.position == champion.position
        check_challenger(world, challenger)
        if challenger.name == "same" and not lineage.segments:
            assert challenger.duel.learner.fingerprint() == champion.fingerprint()
            reached["equal to the champion"] += 1
    for version, (data, _) in world.store._versions.items():
        meta, _ = checkpoint.peek(data)
        rebuilt = folded(world, meta.segments, meta.position)
        assert (rebuilt.version_id, rebuilt.fingerprint()) == (version, meta.fingerprint)
        assert rebuilt.metrics() == meta.metrics, version
        reached["versions of a challenger"] += any(s.fresh is not None for s in meta.segments)
    reached.update(world.reached)


def test_every_case_was_reached() -> None:
    """A property that was never put to the test says nothing."""
    if sum(reached.values()) == 0:
        pytest.skip("run with the seeds of this module")
    for what in (
        *("challenger add applied", "challenger drop applied", "promote applied"),
        *("promote refused", "promote proposed", "versions of a challenger", "compared"),
        *("equal to the champion", "crash", "fenced", "handover"),
    ):
        assert reached[what] > 0, f"no seed reached: {what}"
