"""The learn lane under commands: each is decided once, and in force only once it is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from models import checkpoint
from models.errors import CheckpointConflict
from models.learner import Learner
from models.types import Example
from stream.control import SLICE_EXAMPLES
from stream.decision_settings import DecisionSettings
from stream.learners import new_learner
from stream.messages import decode_example
from stream.settings import Settings
from tests.learn_lane import Crash, LearnLane

SETTINGS = Settings(
    event={"features": {"x": {}}}, versions={"every_n": 10, "interval": 1e9, "keep": 500}
)


def example(i: int, *, poisoned: bool = False) -> Example:
    """Make an example whose label follows from its feature, or is the opposite."""
    x = float(i * 7919 % 13) - 6.0
    return Example(
        f"e{i}", {"x": x}, (x > 0) != poisoned, 0.5, "v1-0", 0, float(i), i + 2.0, "labels/0", i, 0,
        entity=f"c{i // 8}",
    )  # fmt: skip


def run(body: Callable[[LearnLane], Awaitable[None]]) -> None:
    """Run with thirty examples learned."""

    async def main() -> None:
        world = LearnLane(SETTINGS)
        await world.start()
        world.feed(*map(example, range(30)))
        await world.settle()
        await body(world)

    asyncio.run(main())


def twin(*examples: Example) -> Learner:
    """A learner that has seen these and nothing else."""
    learner = new_learner(SETTINGS)
    learner.absorb(examples, range(len(examples)))
    return learner


def test_a_rollback_goes_on_from_the_version_at_the_present_position() -> None:
    """As its own lineage, whose versions can be made again from the log."""

    async def body(world: LearnLane) -> None:
        world.feed(*(example(i, poisoned=True) for i in range(30, 35)))
        await world.settle()
        world.command("rollback", version="v1-20")
        await world.settle()
        (told,) = world.audit
        assert (told.id, told.who, told.what, told.subject) == ("c1", "ana", "rollback", "v1-20")
        assert (told.outcome, told.why, told.version) == ("applied", "because", "v2-35")
        assert await world.store.newest_version() == "v2-35" == world.in_force.version
        meta, _ = checkpoint.peek(await world.store.read_meta("v2-35"))
        assert (meta.parent, meta.reason, meta.segments[0].start) == ("v1-20", "command", 35)
        assert world.learner.fingerprint() == twin(*map(example, range(20))).fingerprint()

        world.feed(*map(example, range(35, 47)))
        await world.settle()
        seen = [*map(example, range(20)), *map(example, range(35, 47))]
        assert world.learner.fingerprint() == twin(*seen).fingerprint()
        assert world.learner.version_id == "v2-47"
        for version in ("v1-30", "v2-35", "v2-40"):
            meta, _ = checkpoint.peek(await world.store.read_meta(version))
            assert (await world.rebuilt(version)).fingerprint() == meta.fingerprint, version

    run(body)


@pytest.mark.parametrize(
    "without",
    [
        {"offsets": [[25, 33]]},
        {"times": [[25.0, 33.0]]},
        {"events": [f"e{i}" for i in range(25, 33)]},
        {"offsets": [[25, 28]], "times": [[28.0, 30.0]], "events": ["e30", "e31", "e32"]},
    ],
)
def test_a_replay_learns_all_but_what_is_left_out(without: dict[str, Any]) -> None:
    """Also when it comes once more, and after a restart."""

    async def body(world: LearnLane) -> None:
        world.feed(*(example(i, poisoned=True) for i in range(30, 33)))
        world.feed(*map(example, range(33, 45)))
        await world.settle()
        world.command("rollback", version="v1-20", replay=True, without=without)
        await world.settle()
        seen = [*map(example, range(25)), *map(example, range(33, 45))]
        assert world.audit[-1].version == "v2-45"
        assert "17 of the 25 examples" in world.audit[-1].detail
        assert world.learner.fingerprint() == twin(*seen).fingerprint()
        await world.start()
        world.feed(example(45), example(26))
        await world.settle()
        assert world.learner.n_learned == twin(*seen, example(45)).n_learned
        assert world.learner.fingerprint() == twin(*seen, example(45)).fingerprint()

    run(body)


@pytest.mark.parametrize(
    ("version", "without", "erased"),
    [
        ("v1-20", {"entities": ["c3"]}, range(24, 32)),
        ("v1-0", {"entities": ["c1"]}, range(8, 16)),
        ("v1-0", {"features": [["x", 1.0]]}, [i for i in range(45) if i * 7919 % 13 == 7]),
        ("v1-10", {"features": [["x", 1.0], ["y", 1]], "events": ["e13"]},
         [13, *(i for i in range(45) if i * 7919 % 13 == 7)]),
    ],
)  # fmt: skip
def test_a_subject_is_forgotten(
    version: str, without: dict[str, Any], erased: Sequence[int]
) -> None:
    """By whose examples they are, or by what they say; also of those that come later."""

    async def body(world: LearnLane) -> None:
        world.feed(*map(example, range(30, 45)))
        await world.settle()
        world.command("rollback", version=version, replay=True, without=without)
        await world.settle()
        assert [told.outcome for told in world.audit] == ["applied"], world.audit
        others = [example(i) for i in range(45) if i not in erased]
        assert world.learner.fingerprint() == twin(*others).fingerprint()
        await world.start()
        again = [msgspec.structs.replace(example(i), event_id=f"f{i}", offset=100 + i)
                 for i in [*erased][-3:]]  # fmt: skip
        world.feed(*again)
        await world.settle()
        assert world.learner.n_learned == len(others)
        version_id = (await world.store.version_ids())[0]
        assert (await world.rebuilt(version_id)).fingerprint() == twin(*others).fingerprint()

    run(body)


@pytest.mark.parametrize(
    "without",
    [
        {"entities": ["c1"]},
        {"events": ["e19"]},
        {"times": [[19.0, 30.0]]},
        {"features": [["x", 1.0]]},
    ],
)
def test_a_version_that_remembers_what_is_to_be_left_out_is_refused(
    without: dict[str, Any],
) -> None:
    """Else whoever asked for the erasure would believe that it was done."""

    async def body(world: LearnLane) -> None:
        world.command("rollback", version="v1-20", replay=True, without=without)
        await world.settle()
        (told,) = world.audit
        assert (told.outcome, told.reason) == ("refused", "learned_before")
        assert "v1-0" in told.detail and world.learner.lineage == 1

    run(body)


def test_a_subject_stays_forgotten_after_a_rollback() -> None:
    """To a version from before: it is inherited. One that remembers it can't come back."""

    async def body(world: LearnLane) -> None:
        world.command("rollback", version="v1-20", replay=True, without={"entities": ["c3"]})
        await world.settle()
        assert world.in_force.version == "v2-30"
        world.command("restore", version="v1-30")
        for replay in (False, True):
            world.command("rollback", version="v1-20", replay=replay)
        await world.settle(steps=20)
        assert [(told.reason, told.version) for told in world.audit[-3:]] == [
            ("learned_before", "v2-30"), ("", "v3-30"), ("", "v4-30"),
        ]  # fmt: skip
        others = [example(i) for i in range(30) if i // 8 != 3]
        assert world.learner.fingerprint() == twin(*others).fingerprint()
        world.feed(example(31))
        await world.settle()
        assert world.learner.n_learned == len(others)
        world.command("restore", version="v2-30")
        await world.settle()
        assert world.audit[-1].version == "v5-31"

    run(body)


def test_what_can_not_be_looked_through_is_not_erased() -> None:
    """The examples before the version are gone: nobody knows what they were."""

    async def body(world: LearnLane) -> None:
        del world.logs.records["examples"][:3]
        world.command("rollback", version="v1-20", replay=True, without={"entities": ["c3"]})
        await world.settle()
        assert (world.audit[-1].reason, world.learner.lineage) == ("examples_missing", 1)

    run(body)


def test_a_rollback_to_the_untrained_learner_begins_anew() -> None:
    """It need not be stored."""

    async def body(world: LearnLane) -> None:
        world.command("rollback", version="v1-0")
        await world.settle()
        assert (world.audit[-1].version, world.learner.n_learned) == ("v2-30", 0)
        assert (await world.rebuilt("v2-30")).version_id == "v2-30"
        world.feed(*map(example, range(30, 35)))
        await world.settle()
        assert world.learner.fingerprint() == twin(*map(example, range(30, 35))).fingerprint()

    run(body)


def test_the_old_champion_serves_and_learns_while_a_replay_catches_up() -> None:
    """In slices, and it catches up however fast examples come."""

    async def body(world: LearnLane) -> None:
        world.feed(*map(example, range(30, 30 + 3 * SLICE_EXAMPLES)))
        await world.settle(steps=3 * SLICE_EXAMPLES)
        before = world.learner
        world.command("rollback", version="v1-30", replay=True)
        n_waited, reached = 0, world.learner.position
        while not world.audit:
            assert world.in_force.live is before
            end = len(world.logs.records["examples"])
            world.feed(*map(example, range(end, end + SLICE_EXAMPLES + 100)))
            await world.settle(steps=1)
            n_waited += 1
            assert n_waited < 50, "it never catches up"
        assert world.audit[0].outcome == "applied", world.audit
        assert n_waited > 3, "it was not done in slices"
        assert before.position > reached, "the old champion stood still"
        await world.settle()
        assert world.in_force.live is world.learner is not before
        end = len(world.logs.records["examples"])
        assert world.learner.fingerprint() == twin(*map(example, range(end))).fingerprint()

    run(body)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("replay", [False, True])
def test_a_crash_around_the_write_applies_a_command_once(after: bool, replay: bool) -> None:
    """Before the write nothing is in force; after it the outcome is told by the next owner."""

    async def body(world: LearnLane) -> None:
        world.command("rollback", version="v1-20", replay=replay)
        world.store.crash_before, world.store.crash_after = not after, after
        with pytest.raises(Crash):
            await world.settle()
        assert world.in_force.version == "v1-30" and world.audit == []
        for turn in range(2):
            await world.start()
            assert (world.in_force.version == "v2-30") is (after or turn > 0)
            await world.settle()
            assert [(told.id, told.version) for told in world.audit] == [("c1", "v2-30")]
            assert (await world.store.version_ids())[0] == "v2-30"
            assert world.learner.lineage == 2

    run(body)


def test_a_fenced_owner_puts_nothing_in_force() -> None:
    """Its write is refused, and with it the command."""

    async def body(world: LearnLane) -> None:
        world.command("rollback", version="v1-20")
        await world.store.acquire("learn.0")
        with pytest.raises(CheckpointConflict):
            await world.settle()
        assert world.in_force.version == "v1-30" and world.audit == []

    run(body)


def test_a_frozen_learner_stands_still_and_folds_on_when_thawed() -> None:
    """Whoever has the lane; what came meanwhile is learned then."""

    async def body(world: LearnLane) -> None:
        world.feed(*map(example, range(30, 33)))
        await world.settle()
        world.command("freeze")
        await world.settle()
        assert world.audit[-1].version == "v1-33" == await world.store.newest_version()
        world.feed(*map(example, range(33, 39)))
        await world.settle()
        await world.start()
        await world.settle()
        assert (world.learner.position, world.lane.position) == (33, 33)
        world.command("freeze")
        world.command("thaw")
        world.command("thaw")
        await world.settle()
        told = [(told.id, told.outcome, told.reason) for told in world.audit[-3:]]
        assert told == [
            ("c2", "refused", "already_frozen"),
            ("c3", "applied", ""),
            ("c4", "refused", "not_frozen"),
        ]
        assert world.learner.fingerprint() == twin(*map(example, range(39))).fingerprint()
        assert world.learner.version_id == "v1-39"

    run(body)


def test_a_threshold_is_in_force_until_another_one_is() -> None:
    """Through a restart and a rollback; each is a version."""

    async def body(world: LearnLane) -> None:
        assert world.in_force.threshold is None
        world.command("threshold", threshold=0.8)
        await world.settle()
        assert (world.in_force.threshold, world.in_force.version) == (0.8, "v2-30")
        await world.start()
        assert world.in_force.threshold == 0.8
        world.command("rollback", version="v1-20")
        world.command("threshold", threshold=0.25)
        await world.settle()
        assert [told.version for told in world.audit[-2:]] == ["v3-30", "v4-30"]
        assert world.in_force.threshold == 0.25
        meta, _ = checkpoint.peek(await world.store.read_meta("v3-30"))
        assert meta.segments[-1].threshold == 0.8
        world.feed(*map(example, range(30, 41)))
        await world.settle()
        rebuilt = await world.rebuilt("v4-40")
        meta, _ = checkpoint.peek(await world.store.read_meta("v4-40"))
        assert (rebuilt.metrics(), rebuilt.threshold) == (meta.metrics, 0.25)

    run(body)


@pytest.mark.parametrize(
    ("rule", "detail"),
    [
        ({"rule": "share", "share": 0.25, "window_n": 100}, "at most 25 %"),
        ({"rule": "cost", "false_positive": 1, "false_negative": 3}, "from 0.25 on"),
    ],
)
def test_a_rule_of_decision_is_audited_and_travels_in_versions(
    rule: dict[str, Any], detail: str
) -> None:
    """A budget moves the threshold from there on; restarts and rebuilds move it alike."""

    async def body(world: LearnLane) -> None:
        world.command("threshold", threshold=rule)
        await world.settle()
        assert (world.audit[-1].outcome, world.audit[-1].version) == ("applied", "v2-30")
        assert detail in world.audit[-1].detail
        world.feed(*map(example, range(30, 55)))
        await world.settle()
        await world.start()
        assert world.in_force.threshold == world.learner.threshold
        world.feed(*map(example, range(55, 70)))
        await world.settle()
        meta, _ = checkpoint.peek(await world.store.read_meta("v2-70"))
        rebuilt = await world.rebuilt("v2-70")
        assert msgspec.to_builtins(meta.segments[-1].threshold).items() >= rule.items()
        assert (rebuilt.metrics(), rebuilt.threshold) == (meta.metrics, world.in_force.threshold)
        # All scores are 0.5: the threshold is above that bin.
        assert world.in_force.threshold == (0.25 if rule["rule"] == "cost" else 0.5078125000000001)
        world.command("threshold", threshold=0.75)
        await world.settle()
        assert (world.in_force.threshold, world.learner.budget) == (0.75, None)

    run(body)


def test_a_configured_budget_is_in_force_after_a_restart_and_gives_way_to_commands() -> None:
    """It is part of the learner from the first example that comes after."""

    async def body(world: LearnLane) -> None:
        world.settings = SETTINGS.model_copy(
            update={"decision": DecisionSettings(rule="share", alert_share=0.25, window_n=100)}
        )
        await world.start()
        world.feed(*map(example, range(30, 40)))
        await world.settle()
        assert world.in_force.threshold == world.learner.threshold == 0.5078125000000001
        world.command("threshold", threshold=0.75)
        await world.settle()
        await world.start()
        assert (world.in_force.threshold, world.learner.budget) == (0.75, None)

    run(body)


@pytest.mark.parametrize(
    ("name", "arguments", "reason", "detail"),
    [
        ("rollback", {"version": "v1-5"}, "unknown_version", "there are: v1-30, v1-20, v1-10"),
        ("rollback", {"version": "mine"}, "unknown_version", "they are called like"),
        ("rollback", {}, "bad_arguments", "version"),
        ("rollback", {"version": "v1-20", "entity": "7"}, "bad_arguments", "entity"),
        (
            "rollback",
            {"version": "v1-20", "without": {"events": ["e1"]}},
            "bad_arguments",
            "of a replay",
        ),
        (
            "rollback",
            {"version": "v1-20", "replay": True, "without": {"offsets": [[5, 25]]}},
            "learned_before",
            "choose an earlier version",
        ),
        ("threshold", {"threshold": 1.5}, "bad_arguments", "1.5"),
        ("threshold", {"threshold": {"rule": "share", "share": 2}}, "bad_arguments", "share"),
        ("demote", {}, "unknown_command", "freeze, promote, restore, rollback, thaw, threshold"),
    ],
)
def test_what_can_not_be_done_is_refused_with_the_reason(
    name: str, arguments: dict[str, Any], reason: str, detail: str
) -> None:
    """Once, and nothing changes."""

    async def body(world: LearnLane) -> None:
        world.command(name, **arguments)
        await world.settle()
        await world.start()
        await world.settle()
        (told,) = world.audit
        assert (told.outcome, told.reason, told.version) == ("refused", reason, "v1-30")
        assert detail in told.detail
        assert await world.store.newest_version() == "v1-30"

    run(body)


def test_a_version_that_does_not_verify_is_not_rolled_back_to() -> None:
    """The champion stays."""

    async def body(world: LearnLane) -> None:
        meta, blob = await world.store.read_version("v1-20")
        await world.store.restore_version("v1-20", meta, blob[:-1])
        world.command("rollback", version="v1-20")
        await world.settle()
        assert (world.audit[-1].outcome, world.audit[-1].reason) == ("refused", "damaged")
        assert world.in_force.version == "v1-30"

    run(body)


def test_a_replay_of_examples_that_are_gone_is_refused() -> None:
    """A state that looks right and is another would be worse than none."""

    async def body(world: LearnLane) -> None:
        del world.logs.records["examples"][24]
        world.command("rollback", version="v1-20", replay=True)
        await world.settle()
        assert world.audit[-1].reason == "examples_missing"
        assert (world.in_force.version, world.learner.lineage) == ("v1-30", 1)

    run(body)


def test_an_unreadable_command_is_refused_and_the_next_one_is_decided() -> None:
    """Whoever writes to the topic can't stop the lane."""

    async def body(world: LearnLane) -> None:
        for junk in (b"", b"{", b'{"id": 1}', b"\xff"):
            world.logs.append("control", junk)
        world.command("freeze")
        await world.settle(steps=20)
        assert [told.reason for told in world.audit] == [*["unreadable"] * 4, ""]
        assert len({told.id for told in world.audit}) == 5

    run(body)


def test_commands_from_before_a_lost_store_are_not_given_again() -> None:
    """There are versions and no position in the commands: they were meant for another time."""

    async def body(world: LearnLane) -> None:
        world.command("rollback", version="v1-10")
        await world.settle()
        del world.store._states["learn.0"]["control"], world.store._states["learn.0"]["said"]
        await world.start()
        await world.settle()
        assert world.audit == []
        world.command("freeze")
        await world.settle()
        assert [told.what for told in world.audit] == ["freeze"]

    run(body)


def test_a_command_that_was_given_before_the_first_worker_started_is_not_lost() -> None:
    """A lane without versions begins with the first command, and a crash does not change that."""

    async def main() -> None:
        world = LearnLane(SETTINGS)
        world.command("freeze")
        await world.start()
        await world.lane.step()
        await world.start()
        world.feed(example(0))
        await world.settle()
        assert [told.what for told in world.audit] == ["freeze"]
        assert decode_example(world.logs.records["examples"][0].value).event_id == "e0"

    asyncio.run(main())
