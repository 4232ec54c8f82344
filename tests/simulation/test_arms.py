"""Arms among everything else: who decides for whom, by which state, and never otherwise again."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest

from models.learner import Learner
from models.lineage import Fresh, Segment, parse_id
from models.types import Features
from stream.arms import is_in_share, sample_place
from stream.challenger_settings import ChallengerSettings
from stream.learners import learner_before
from stream.messages import (
    CHAMPION,
    Decision,
    Shadow,
    decode_audit,
    decode_decision,
    decode_shadow,
)
from tests.simulation import scenario
from tests.simulation.mix import FAULTS
from tests.simulation.oracle import check
from tests.simulation.test_commands import command, outcomes
from tests.simulation.world import World

SEEDS = range(30)
SHARES = {"same": 0.4, "tree": 0.6}
PIPELINES = {"same": "logistic", "tree": "hoeffding-tree"}

reached: Counter[str] = Counter()


class Said(NamedTuple):
    """A score that somebody gave: by which state, of what."""

    by: str
    lineage: int
    position: int
    features: Features
    score: Any


def settings() -> Any:
    return scenario.settings().model_copy(
        update={"challengers": ChallengerSettings(serve_after_n=6, traffic_max=1.0)}
    )


def adding() -> list[bytes]:
    return [
        command(0, "challenger add", name="same", share=SHARES["same"] / 2, shadow=1.0),
        command(1, "challenger add", name="tree", pipeline=PIPELINES["tree"], shadow=0.5),
        command(2, "challenger traffic", name="same", share=SHARES["same"]),
        command(3, "challenger traffic", name="tree", share=SHARES["tree"]),
    ]


def steering(rng: random.Random, first: int) -> list[bytes]:
    """What takes entities away from arms again."""
    chosen = []
    for number in range(first, first + 4):
        name = rng.choice(list(SHARES))
        match rng.choice(["promote", "drop", "shrink", "threshold"]):
            case "promote":
                body = command(number, "promote", name=name, force=True)
            case "drop":
                body = command(number, "challenger drop", name=name)
            case "shrink":
                body = command(number, "challenger traffic", name=name, share=0.1, shadow=0.0)
            case _:
                body = command(number, "threshold", threshold=rng.random())
        chosen.append(body)
    return chosen


def simulate(seed: int, *, steered: bool) -> World:
    rng = random.Random(seed)
    # A simulated zombie shares its memory with the lanes that its process still has.
    faults = FAULTS if steered else FAULTS._replace(zombie=0.0)
    world = World(
        settings(), seed, n_workers=rng.randrange(1, 4), batch=rng.randrange(1, 6), faults=faults,
        # Who does not poll between batches must still look before the first one of a lane.
        polls=steered or seed % 2 == 0,
    )  # fmt: skip
    fed = scenario.records(rng, 60)
    bodies = adding()
    places = sorted(rng.randrange(len(fed) // 8, len(fed) // 3) for _ in bodies)
    if steered:
        later = steering(rng, len(bodies))
        places += sorted(rng.randrange(len(fed) // 2, len(fed)) for _ in later)
        bodies += later
    for place, body in reversed(list(zip(places, bodies, strict=True))):
        fed.insert(place, ("control", 0, body))
    world.run(fed, seconds_a_record=0.5)
    return world


def decisions(world: World) -> dict[str, Decision]:
    """Read the decisions; that of an event never changes."""
    told: dict[str, bytes] = {}
    for record in world.log.all("scores"):
        body = record.value or b""
        event_id = decode_decision(body).event_id
        assert told.setdefault(event_id, body) == body, event_id
    return {event_id: decode_decision(body) for event_id, body in told.items()}


def shadows(world: World) -> list[Shadow]:
    """Read the shadows: of an event and a challenger there is one."""
    told: dict[tuple[str, str], bytes] = {}
    for record in world.log.all("shadows"):
        body = record.value or b""
        one = decode_shadow(body)
        # Kafka may have taken a record twice; nobody may have scored twice.
        assert told.setdefault((one.event_id, one.arm), body) == body, one.event_id
    return [decode_shadow(body) for body in told.values()]


def check_scores(world: World, said: Iterable[Said]) -> None:
    """Whoever scored, wherever: what it said is what the fold of the log says at its position."""
    examples = world.examples()
    by_lineage: dict[tuple[str, int], list[Said]] = {}
    for one in said:
        by_lineage.setdefault((one.by, one.lineage), []).append(one)
    for (by, lineage), scores in by_lineage.items():
        learner = begun(world, by, lineage)
        for one in sorted(scores, key=lambda one: one.position):
            start = learner.position
            learner.absorb(examples[start : one.position], range(start, one.position))
            assert learner.score(one.features) == one.score, one
            reached[f"scores of {by}"] += 1


def begun(world: World, by: str, lineage: int) -> Learner:
    """Make the learner that an arm began as."""
    if by == CHAMPION:
        return learner_before(world.settings, ())
    fresh = Fresh(PIPELINES[by], world.settings.model.seed)
    return learner_before(
        world.settings, [Segment(lineage=lineage, base="v0-0", start=0, command="", fresh=fresh)]
    )


def check_arms(world: World) -> dict[str, Decision]:
    """Check who decided what, and what was said by whom; give the decisions."""
    decided = decisions(world)
    features = {e.event_id: e.features for e in world.examples() if e.score is not None}
    said = []
    for one in decided.values():
        if one.arm != CHAMPION:
            assert one.entity is not None
            assert is_in_share(one.arm, one.entity, SHARES[one.arm]), one
        lineage = parse_id(one.version)[0]
        known = one.arm != CHAMPION or lineage == 1
        if known and one.event_id in features:
            place = lineage, one.model_position, features[one.event_id]
            said.append(Said(one.arm, *place, one.score))
        reached[f"decided by {one.arm}"] += 1
    for shadow in shadows(world):
        served = decided[shadow.event_id]
        assert shadow.arm != served.arm
        assert sample_place(shadow.event_id) < (1.0 if shadow.arm == "same" else 0.5)
        if shadow.event_id in features:
            place = parse_id(shadow.version)[0], shadow.model_position, features[shadow.event_id]
            said.append(Said(shadow.arm, *place, shadow.score))
        reached[f"shadow of {shadow.arm}"] += 1
    check_scores(world, said)
    for example in world.examples():
        if example.score is not None:
            arm = decided[example.event_id].arm
            assert (example.arm or CHAMPION) == arm, example
            reached["judged by another's label"] += not example.tests_champion
    return decided


@pytest.mark.parametrize("seed", SEEDS)
def test_arms_change_nothing_but_who_decides(seed: int) -> None:
    """With crashes, handovers, zombies, drops and promotions; all other properties hold as well."""
    world = simulate(seed, steered=True)
    check(world)
    check_arms(world)
    for record in outcomes(world).values():
        reached[f"{record.what} {record.outcome}"] += 1
    reached.update(world.reached)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_entity_stays_with_its_arm(seed: int) -> None:
    """In the order of its log, whichever workers come and go; only its own arm may take it."""
    world = simulate(seed, steered=False)
    check(world)
    arms: dict[str | None, list[str]] = {}
    for one in sorted(check_arms(world).values(), key=lambda one: (one.partition, one.offset)):
        # A producer may repeat an event on another partition, whose lane is ahead or behind.
        if int(one.entity or 0) % world.settings.kafka.partitions == one.partition:
            arms.setdefault(one.entity, []).append(one.arm)
    for entity, seen in arms.items():
        # The younger one may come before the older is ready: then it gives the entity back.
        first = [arm for i, arm in enumerate(seen) if i == 0 or seen[i - 1] != arm]
        ways = ([CHAMPION, "tree", "same"], [CHAMPION, "same"], [CHAMPION, "tree"], [CHAMPION])
        assert first in (*ways, *(way[1:] for way in ways if len(way) > 1)), (entity, seen)
        reached[" then ".join(first)] += 1
    audit = [decode_audit(record.value or b"") for record in world.log.all("audit")]
    assert all(record.outcome == "applied" for record in audit)


def test_every_case_was_reached() -> None:
    """A property that was never put to the test says nothing."""
    if sum(reached.values()) == 0:
        pytest.skip("run with the seeds of this module")
    for what in (
        *(f"decided by {arm}" for arm in (CHAMPION, *SHARES)),
        *(f"shadow of {arm}" for arm in SHARES),
        *(f"scores of {arm}" for arm in (CHAMPION, *SHARES)),
        *("champion then same", "champion then tree", "champion", "judged by another's label"),
        *("promote applied", "challenger drop applied", "challenger traffic applied"),
        *("crash", "fenced", "handover", "zombie", "rebalance", "redelivered records"),
    ):
        assert reached[what] > 0, f"no seed reached: {what}"
