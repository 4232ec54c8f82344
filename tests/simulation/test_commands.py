"""Commands among everything else: each is decided once, and what it led to can be made again."""

from __future__ import annotations

import functools
import random
from collections import Counter
from itertools import count
from typing import Any

import pytest

from models import checkpoint
from models.lineage import Course, parse_id
from stream.learners import learner_before
from stream.messages import AuditRecord, Command, decode_audit, decode_decision, encode_json
from stream.succession import Succession, decode_succession
from tests.simulation import scenario
from tests.simulation.crashes import drain
from tests.simulation.mix import FAULTS
from tests.simulation.oracle import check
from tests.simulation.world import World

SEEDS = range(100)
POISONED = {"events": ["e2", "e5", "own3"], "times": [[300.0, 420.0]]}

reached: Counter[str] = Counter()


def command(number: int, name: str, /, **arguments: Any) -> bytes:
    """Write a command."""
    body = Command(
        id=f"c{number}", command=name, arguments=arguments, who="ana", why="", time=0.0
    )  # fmt: skip
    return encode_json(body)


def some_commands(rng: random.Random, n: int) -> list[bytes]:
    """Make commands that make sense, and some that do not; learning is not left frozen."""
    chosen = []
    for number in range(n):
        name = rng.choice(
            ["rollback", "rollback", "restore", "replay", "freeze", "thaw", "threshold"]
        )
        version = f"v1-{7 * rng.randrange(5)}"
        match name:
            case "rollback":
                body = command(number, "rollback", version=version)
            case "restore":
                body = command(number, "restore", version=version, replay=rng.random() < 0.5)
            case "replay":
                without = rng.choice([{}, POISONED])
                body = command(number, "rollback", version=version, replay=True, without=without)
            case "threshold":
                body = command(number, "threshold", threshold=rng.random())
            case _:
                body = command(number, name)
        chosen.append(body)
    return [*chosen, command(n, "thaw")]


def outcomes(world: World) -> dict[str, AuditRecord]:
    """Read the audit: one outcome a command, byte for byte, however often it was told."""
    told: dict[str, bytes] = {}
    for record in world.log.all("audit"):
        body = record.value or b""
        command_id = decode_audit(body).id
        assert told.setdefault(command_id, body) == body, command_id
    return {command_id: decode_audit(body) for command_id, body in told.items()}


def check_commands(world: World) -> dict[str, AuditRecord]:
    """Check what `check_outcomes` does, and that nothing is scored with what is not stored."""
    found = check_outcomes(world)
    # Before a command's version is stored, nothing is scored with it.
    lineages = {parse_id(version)[0] for version in world.store._versions}
    for record in world.log.all("scores"):
        decision = decode_decision(record.value or b"")
        assert parse_id(decision.version)[0] in {1, *lineages}, decision
    return found


def check_outcomes(world: World) -> dict[str, AuditRecord]:
    """Check that each is decided once, and every version is what its metadata says."""
    found = outcomes(world)
    assert len(found) == len(world.log.all("control")), "a command without an outcome"
    began = Counter(
        record.version
        for record in found.values()
        if record.outcome == "applied" and record.what in ("rollback", "restore", "threshold")
    )
    assert set(began.values()) <= {1}, "two commands began the same lineage"
    told = sorted(found.values(), key=lambda record: int(record.id.removeprefix("c")))
    line = functools.reduce(Succession.after, told, Succession(1))
    assert decode_succession(world.store._states["learn.0"]["succession"]) == line
    examples = world.examples()
    for version, (data, _) in world.store._versions.items():
        meta, _ = checkpoint.peek(data)
        rebuilt = learner_before(world.settings, meta.segments)
        Course(rebuilt, meta.segments).absorb(examples[: meta.position], range(meta.position))
        assert rebuilt.version_id == version
        assert rebuilt.fingerprint() == meta.fingerprint, version
        assert rebuilt.metrics() == meta.metrics, version
        reached["later lineages"] += len(meta.segments) > 1
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_commands_are_decided_once_whatever_happens(seed: int) -> None:
    """With crashes, handovers, zombies and redeliveries; all other properties hold as well."""
    rng = random.Random(seed)
    world = World(
        scenario.settings(), seed, n_workers=rng.randrange(1, 4), batch=rng.randrange(1, 6),
        faults=FAULTS,
    )  # fmt: skip
    fed = scenario.records(rng, 40)
    places = sorted(rng.randrange(len(fed) // 3, len(fed)) for _ in range(6))
    bodies = some_commands(rng, 5)
    for place, body in reversed(list(zip(places, bodies, strict=True))):
        fed.insert(place, ("control", 0, body))
    world.run(fed, seconds_a_record=0.5)
    check(world)
    for record in check_commands(world).values():
        reached[f"{record.what} {record.outcome}"] += 1
        reached["replays"] += "examples since" in record.detail
    reached.update(world.reached)
    told = [decode_audit(record.value or b"").id for record in world.log.all("audit")]
    reached["told twice"] += len(told) > len(set(told))


def test_every_case_was_reached() -> None:
    """A property that was never put to the test says nothing."""
    if sum(reached.values()) == 0:
        pytest.skip("run with the seeds of this module")
    names = ("rollback", "restore", "freeze", "thaw")
    every = [f"{name} {outcome}" for name in names for outcome in ("applied", "refused")]
    for what in (
        *every, "threshold applied", "replays", "told twice", "later lineages", "crash", "fenced"
    ):  # fmt: skip
        assert reached[what] > 0, f"no seed reached: {what}"


def run(crash_at: int | None) -> tuple[dict[str, Any], int]:
    """Run a fixed schedule with commands in it, and crash at one step while they are decided.

    These leave a state that does not depend on where they take effect: that may be earlier after a
    crash, since the learner stands at its last version then.
    """
    world = World(scenario.settings(partitions=1, version_interval=1e9), seed=1, batch=2)
    steps, never = count(), count(10**9)
    fed = scenario.records(random.Random(0), 12, partitions=1, jitter=0.0, step=40.0)
    half = len(fed) // 2
    given = [
        command(0, "freeze"),
        command(1, "rollback", version="v1-0", replay=True, without=POISONED),
        command(2, "thaw"),
        command(3, "threshold", threshold=0.3),
        command(4, "rollback", version="v9-9"),
        command(5, "restore", version="v1-7", replay=True),
    ]
    for records, commands in ((fed[:half], given[:2]), (fed[half:], given[2:])):
        for topic, partition, value in records:
            world.log.append(topic, partition, None, value)
        drain(world, never, None)
        for body in commands:
            world.log.append("control", 0, None, body)
            n = len(world.log.all("control"))
            while len(outcomes(world)) < n:
                drain(world, steps, crash_at)
    n_busy = next(steps)
    for _ in range(60):
        drain(world, never, None)
    check(world)
    found = check_commands(world)
    result = {
        "outcomes": [(r.id, r.outcome, r.reason) for r in found.values()],
        "fingerprint": world.learner().fingerprint(),
        "lineages": [(s.lineage, s.command, s.threshold) for s in world.lineage().segments],
    }
    return result, n_busy


def test_a_crash_at_any_step_around_commands_changes_nothing() -> None:
    """The same outcomes, once each, and the same learner."""
    undisturbed, n_busy = run(crash_at=None)
    assert [outcome for _, outcome, _ in undisturbed["outcomes"]] == [
        *["applied"] * 4,
        "refused",
        "applied",
    ]
    assert [place[:2] for place in undisturbed["lineages"]] == [(4, "c5")]
    assert n_busy > 50
    for crash_at in range(n_busy):
        recovered, _ = run(crash_at)
        assert recovered == undisturbed, f"a crash at step {crash_at} of {n_busy}"
