"""Restore and rollback: what was given up comes back, each version by one of the two."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest

from models import checkpoint
from models.lineage import Segment
from stream.messages import AuditRecord
from stream.settings import Settings
from stream.succession import Succession
from tests.learn_lane import Crash, LearnLane
from tests.unit.test_control import SETTINGS, example, twin

PROBES = [{"x": float(x)} for x in range(-6, 7)]


def run(body: Callable[[LearnLane], Awaitable[None]], settings: Settings = SETTINGS) -> None:
    """Run with 35 examples learned, and then rolled back to twenty."""

    async def main() -> None:
        world = LearnLane(settings)
        await world.start()
        world.feed(*map(example, range(35)))
        await world.settle()
        world.command("rollback", version="v1-20")
        await world.settle()
        assert world.in_force.version == "v2-35"
        await body(world)

    asyncio.run(main())


async def learn(world: LearnLane, n: int) -> None:
    """Feed so many examples."""
    end = len(world.logs.records["examples"])
    world.feed(*map(example, range(end, end + n)))
    await world.settle()


def test_a_rollback_is_undone_to_the_last_prediction() -> None:
    """What it gave up was stored as it was, and its audit says how to have it again."""

    async def body(world: LearnLane) -> None:
        assert "`driftline restore v1-35` undoes that" in world.audit[-1].detail
        await learn(world, 6)
        world.command("restore", version="v1-35")
        await world.settle()
        told = world.audit[-1]
        assert (told.what, told.outcome, told.version) == ("restore", "applied", "v3-41")
        assert (told.who, told.why, told.subject) == ("ana", "because", "v1-35")
        assert "`driftline rollback v2-41` undoes that" in told.detail
        before, _ = checkpoint.peek(await world.store.read_meta("v1-35"))
        never = twin(*map(example, range(35)))
        assert before.fingerprint == never.fingerprint() == world.learner.fingerprint()
        assert world.in_force.live is world.learner
        assert world.learner.score_many(PROBES) == never.score_many(PROBES)
        await learn(world, 9)
        seen = [example(i) for i in (*range(35), *range(41, 50))]
        assert world.learner.fingerprint() == twin(*seen).fingerprint()
        for version in ("v2-41", "v3-41", "v3-50"):
            meta, _ = checkpoint.peek(await world.store.read_meta(version))
            rebuilt = await world.rebuilt(version)
            assert (rebuilt.version_id, rebuilt.fingerprint()) == (version, meta.fingerprint)

    run(body)


def test_a_restore_with_replay_is_as_if_nothing_had_been_rolled_back() -> None:
    """And `without` leaves out of what came since."""

    async def body(world: LearnLane) -> None:
        await learn(world, 15)
        without = {"events": ["e40"]}
        for version, left_out in (("v1-30", {}), ("v1-35", without)):
            world.command("restore", version=version, replay=True, without=left_out)
            await world.settle(steps=20)
            assert world.audit[-1].outcome == "applied", world.audit[-1]
            missed = {40} if left_out else set()
            seen = [example(i) for i in range(50) if i not in missed]
            assert world.learner.fingerprint() == twin(*seen).fingerprint()
            world.command("rollback", version="v2-50")
            await world.settle()

    run(body)


@pytest.mark.parametrize(
    ("name", "version", "reason", "says"),
    [
        ("rollback", "v1-30", "aside", ["`driftline restore v1-30`", "v2-35, v1-20, v1-10"]),
        ("rollback", "v1-35", "aside", ["`driftline restore v1-35`"]),
        ("restore", "v1-20", "earlier", ["`driftline rollback v1-20`", "v1-35, v1-30"]),
        ("restore", "v2-35", "earlier", ["`driftline rollback v2-35`"]),
        ("restore", "v9-9", "unknown_version", ["v2-35"]),
        ("restore", "v1-31", "unknown_version", ["v1-30"]),
        ("restore", "v9-99", "ahead", ["35"]),
        ("restore", "yesterday", "unknown_version", ["v1-45312"]),
        ("restore", "", "unknown_version", [""]),
    ],
)
def test_what_is_the_other_command_s_business_is_refused_by_its_name(
    name: str, version: str, reason: str, says: list[str]
) -> None:
    """With what there is to choose from; nothing changes."""

    async def body(world: LearnLane) -> None:
        world.command(name, version=version)
        await world.settle()
        told = world.audit[-1]
        assert (told.outcome, told.reason, told.version) == ("refused", reason, "v2-35")
        for words in says:
            assert words in told.detail
        assert world.learner.lineage == 2

    run(body)


def test_what_was_restored_and_what_it_replaced_are_both_on_the_line() -> None:
    """The states that it came from as well; what a second rollback gives up is not."""

    async def body(world: LearnLane) -> None:
        await learn(world, 5)
        expected = [
            ("restore", "v1-35", "v3-40"),
            ("rollback", "v1-30", "v4-40"),
            ("rollback", "v3-40", None),
            ("rollback", "v2-40", "v5-40"),
            ("rollback", "v4-40", None),
            ("restore", "v4-40", "v6-40"),
            ("rollback", "v5-40", "v7-40"),
            ("rollback", "v1-0", "v8-40"),
            ("rollback", "v1-10", None),
            ("restore", "v1-10", "v9-40"),
        ]
        for turn, (name, version, leads_to) in enumerate(expected):
            if turn % 2:
                await world.start()
            world.command(name, version=version)
            await world.settle()
            told = world.audit[-1]
            assert told.version == (leads_to or world.in_force.version), told
            assert told.outcome == ("applied" if leads_to else "refused"), told

    run(body)


def test_what_can_be_undone_is_told_and_nothing_else() -> None:
    """A rollback to where the champion stands gives nothing up; each hint works as it is."""

    async def body(world: LearnLane) -> None:
        await learn(world, 4)
        world.command("rollback", version="v1-0")
        await world.settle()
        for _ in range(4):
            (hint,) = re.findall(r"`driftline (\w+) (\S+)` undoes", world.audit[-1].detail)
            world.command(hint[0], version=hint[1])
            await world.settle()
            assert world.audit[-1].outcome == "applied", world.audit[-1]
        now = world.in_force.version
        world.command("rollback", version=now)
        await world.settle()
        assert world.audit[-1].outcome == "applied" and "undoes" not in world.audit[-1].detail

    run(body)


def test_the_champion_before_a_promotion_is_rolled_back_to() -> None:
    """The challenger was not folded from it; what it was is restored in its turn."""

    async def body(world: LearnLane) -> None:
        world.command("challenger add", name="tree", pipeline="hoeffding-tree")
        await world.settle(steps=30)
        await learn(world, 7)
        world.command("promote", name="tree", force=True)
        await world.settle(steps=30)
        told = world.audit[-1]
        assert told.version == "v4-42" and told.evidence is not None
        assert told.evidence.n == 7 and told.evidence.curve[-1].n == 7
        assert "no evidence yet" in told.evidence.objections[0]
        for name, version in (("rollback", "v2-42"), ("restore", "v4-42"), ("rollback", "v2-40")):
            world.command(name, version=version)
            await world.settle()
            assert world.audit[-1].outcome == "applied", world.audit[-1]

    run(body)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("n_unsaved", [0, 4])
@pytest.mark.parametrize("replay", [False, True])
def test_a_crash_around_the_writes_restores_once(after: bool, n_unsaved: int, replay: bool) -> None:
    """What is replaced is stored first: the command is decided with the second write."""

    async def body(world: LearnLane) -> None:
        if n_unsaved:
            await learn(world, n_unsaved)
        world.command("restore", version="v1-30", replay=replay)
        world.store.crash_before, world.store.crash_after = not after, after
        with pytest.raises(Crash):
            await world.settle()
        newest = f"v3-{35 + n_unsaved}"
        for _ in range(2):
            await world.start()
            await world.settle()
            world.feed()
            await world.settle(steps=20)
            assert [told.version for told in world.audit if told.id == "c2"] == [newest]
            assert await world.store.newest_version() == newest
        seen = range(35 + n_unsaved) if replay else range(30)
        assert world.learner.fingerprint() == twin(*map(example, seen)).fingerprint()

    run(body)


def test_retention_drops_neither_the_base_nor_what_was_given_up() -> None:
    """Not in the turn of the command; and a tag keeps it for as long as anybody wants."""
    settings = SETTINGS.model_copy(
        update={"versions": SETTINGS.versions.model_copy(update={"keep": 2})}
    )

    async def main() -> None:
        world = LearnLane(settings)
        await world.start()
        await learn(world, 25)
        world.command("rollback", version="v1-10")
        await world.settle()
        assert await world.store.version_ids() == ["v2-25", "v1-25", "v1-10"]
        await world.store.tag_version("before", "v1-25")
        await learn(world, 60)
        assert await world.store.version_ids() == ["v2-80", "v2-70", "v1-25", "v1-10"]
        world.command("restore", version="v1-25")
        await world.settle()
        assert world.learner.fingerprint() == twin(*map(example, range(25))).fingerprint()

    asyncio.run(main())


def test_a_line_that_is_lost_is_known_by_the_lineage() -> None:
    """As after a version that did not verify: what it was folded from can be gone back to."""

    async def body(world: LearnLane) -> None:
        world.store._states["learn.0"]["succession"] = b'{"lineage": 7, "ends": ["v1-35"]}'
        await world.start()
        for name, version in (("rollback", "v1-30"), ("restore", "v1-30"), ("rollback", "v1-20")):
            world.command(name, version=version)
        await world.settle(steps=20)
        assert [told.outcome for told in world.audit[-3:]] == ["refused", "applied", "applied"]

    run(body)


def test_a_restore_stays_frozen_and_keeps_the_threshold() -> None:
    """Both are decisions of their own."""

    async def body(world: LearnLane) -> None:
        world.command("threshold", threshold=0.8)
        world.command("freeze")
        world.command("restore", version="v1-35")
        await world.settle(steps=20)
        assert world.audit[-1].outcome == "applied"
        assert world.in_force.threshold == 0.8
        world.feed(example(35))
        await world.settle()
        assert world.learner.position == 35

    run(body)


def test_only_what_was_applied_moves_the_line() -> None:
    """A refusal tells the version in force, as everything does."""
    line = Succession(2, ("v1-20",))
    told = AuditRecord(
        id="c", who="ana", what="rollback", subject="v1-10", outcome="refused", reason="aside",
        detail="", time=0.0, version="v3-40",
        segments=(Segment(lineage=3, base="v1-10", start=40, command="c"),),
    )  # fmt: skip
    assert line.after(told) == line
