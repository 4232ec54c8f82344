"""Challengers in the learn lane: other folds of its log, compared with the champion, promoted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from models import checkpoint
from models.learner import Learner
from models.types import Example
from stream.challenger import Challenger
from stream.challengers import CHUNK_EXAMPLES
from stream.learners import learner_before, new_learner
from stream.retracing import retrace
from stream.settings import Settings
from stream.standings import STANDINGS, Standing, decode_standings
from stream.succession import Succession, decode_succession
from tests.learn_lane import Crash, LearnLane

TREE = "hoeffding-tree"
MINE = "models.pipelines:_logistic"
"""It could be built, if it were allowed."""
EVENT = {"features": {"x": {}, "where": {"type": "category"}}}


def settings(pipeline: str = "logistic", **challengers: Any) -> Settings:
    return Settings(
        event=EVENT,
        model={"pipeline": pipeline, "seed": 3},
        versions={"every_n": 10, "interval": 1e9, "keep": 500},
        challengers=challengers,
    )


def example(i: int, *, wrong: bool = False) -> Example:
    """Make an example that a tree can learn and a line can't: the label is true around zero."""
    x = float(i * 7919 % 41) - 20.0
    return Example(
        f"e{i}", {"x": x}, (abs(x) < 7.0) != wrong, 0.5, "v1-0", 0, float(i), i + 2.0, "labels/0",
        i, 0,
    )  # fmt: skip


def run(body: Callable[[LearnLane], Awaitable[None]], **challengers: Any) -> None:
    """Run with 120 examples learned."""

    async def main() -> None:
        world = LearnLane(settings(**challengers))
        await world.start()
        await learn(world, 120)
        await body(world)

    asyncio.run(main())


async def learn(world: LearnLane, n: int) -> None:
    """Feed so many examples and let all catch up."""
    end = len(world.logs.records["examples"])
    world.feed(*map(example, range(end, end + n)))
    await settled(world)


async def settled(world: LearnLane) -> None:
    """Let the lane and its challengers come to the end of the log."""
    await world.settle()
    for _ in range(500):
        await world.lane.step()
        if all(each.duel.position == world.learner.position for each in world.challengers):
            return
    raise AssertionError("a challenger does not catch up")


def the(world: LearnLane, name: str) -> Challenger:
    challenger = world.challengers.get(name)
    assert challenger is not None
    return challenger


async def standings(world: LearnLane) -> dict[str, Standing]:
    data = await world.store.read_state("learn.0", STANDINGS)
    return {standing.name: standing for standing in decode_standings(data or b"[]")}


def twin(world: LearnLane, pipeline: str, *offsets: int) -> Learner:
    """A learner of another pipeline that has seen these and nothing else."""
    learner = new_learner(settings(pipeline))
    learner.absorb([example(i) for i in offsets], offsets)
    return learner


def test_a_challenger_from_the_start_with_the_champions_pipeline_becomes_its_equal() -> None:
    """To the fingerprint, whatever the batches; only its name is another."""

    async def body(world: LearnLane) -> None:
        world.command("challenger add", name="same")
        await settled(world)
        assert world.audit[-1].outcome == "applied", world.audit
        challenger = the(world, "same")
        assert challenger.duel.position == world.learner.position == 120
        assert challenger.duel.learner.fingerprint() == world.learner.fingerprint()
        await learn(world, 77)
        assert challenger.duel.learner.fingerprint() == world.learner.fingerprint()
        assert challenger.duel.learner.version_id == "v2-197"
        evidence = challenger.duel.evidence
        assert (evidence.n, evidence.advantage, evidence.passed_at) == (77, 0.0, None)

    run(body)


def test_a_challenger_from_now_on_has_seen_nothing_before() -> None:
    """And is compared from its first example."""

    async def body(world: LearnLane) -> None:
        world.command("challenger add", name="young", pipeline=TREE, seed=9, begin="now")
        await settled(world)
        await learn(world, 60)
        duel = the(world, "young").duel
        expected = twin(world, TREE, *range(120, 180))
        assert duel.learner.fingerprint() == expected.fingerprint()
        assert (duel.since, duel.evidence.n, duel.learner.n_learned) == (120, 60, 60)

    run(body)


def test_the_losses_are_those_of_predictions_before_learning() -> None:
    """Of both, on the same examples: computed here one by one."""

    async def body(world: LearnLane) -> None:
        world.command("challenger add", name="tree", pipeline=TREE)
        await settled(world)
        await learn(world, 50)
        champion, challenger = twin(world, "logistic", *range(120)), twin(world, TREE, *range(120))
        sums = [0.0, 0.0]
        for i in range(120, 170):
            one = example(i)
            for k, learner in enumerate((champion, challenger)):
                score = learner.score(one.features)
                assert isinstance(score, float | int)
                sums[k] += (score - bool(one.label)) ** 2
                learner.absorb([one], [i])
        evidence = the(world, "tree").duel.evidence
        assert [evidence.champion_loss, evidence.challenger_loss] == sums
        assert evidence.n == 50

    run(body)


def test_challengers_go_on_after_a_restart_to_the_same_evidence() -> None:
    """Stopped in order or crashed, saved or not: as if nothing had happened."""

    async def main(restarts: dict[int, str]) -> tuple[Any, ...]:
        world = LearnLane(settings())
        await world.start()
        await learn(world, 120)
        world.command("challenger add", name="tree", pipeline=TREE)
        world.command("challenger add", name="young", begin="now")
        await settled(world)
        for i in range(12):
            await learn(world, 15)
            match restarts.get(i):
                case "stop":
                    await world.lane.save()
                    await world.start()
                case "save and crash":
                    changes = world.challengers.changes(world.learner, 0.0)
                    await world.store.commit(world.lane.lease, world.handler._cut_position, changes)
                    await world.start()
                case "crash":
                    await world.start()
            await settled(world)
        return tuple(
            (e.name, e.duel.position, e.duel.learner.fingerprint(), e.duel.evidence, e.duel.since)
            for e in world.challengers
        )

    undisturbed = asyncio.run(main({}))
    ways = {2: "stop", 4: "save and crash", 5: "crash", 9: "crash", 10: "stop"}
    assert asyncio.run(main(ways)) == undisturbed
    assert [evidence.n for _, _, _, evidence, _ in undisturbed] == [180, 180]


def test_a_state_that_was_tampered_with_is_begun_again() -> None:
    """Never used, and the worker goes on."""

    async def body(world: LearnLane) -> None:
        world.command("challenger add", name="tree", pipeline=TREE)
        await settled(world)
        await learn(world, 40)
        await world.lane.save()
        saved = world.store._states["learn.0"]["challenger/tree"]
        world.store._states["learn.0"]["challenger/tree"] = saved.replace(b'"n":40', b'"n":41')
        assert saved != world.store._states["learn.0"]["challenger/tree"]
        await world.start()
        assert the(world, "tree").duel.position == 0
        await settled(world)
        expected = twin(world, TREE, *range(160))
        assert the(world, "tree").duel.learner.fingerprint() == expected.fingerprint()
        assert the(world, "tree").duel.evidence.n == 0

    run(body)


def test_a_promoted_challenger_is_the_champion_and_can_be_made_again() -> None:
    """Everywhere at once, for good, and from the log and its metadata alone."""

    async def body(world: LearnLane) -> None:
        world.command("challenger add", name="tree", pipeline=TREE)
        await settled(world)
        await learn(world, 30)
        learner = the(world, "tree").duel.learner
        world.command("promote", name="tree", force=True)
        await world.settle()
        told = world.audit[-1]
        assert (told.outcome, told.subject, told.version) == ("applied", "tree", "v3-150")
        assert "FORCED against: no evidence yet" in told.detail
        assert world.in_force.live is world.learner is learner
        assert world.in_force.version == await world.store.newest_version() == "v3-150"
        assert list(world.challengers) == [] and await standings(world) == {}
        meta, _ = checkpoint.peek(await world.store.read_meta("v3-150"))
        assert [(s.lineage, s.base, s.start) for s in meta.segments] == [
            (2, "v0-0", 0),
            (3, "v2-150", 150),
        ]
        await world.start()
        await learn(world, 75)
        expected = twin(world, TREE, *range(225))
        assert world.learner.fingerprint() == expected.fingerprint()
        for version in ("v3-150", "v3-200"):
            meta, _ = checkpoint.peek(await world.store.read_meta(version))
            rebuilt = await world.rebuilt(version)
            assert (rebuilt.fingerprint(), rebuilt.version_id) == (meta.fingerprint, version)
            assert rebuilt.metrics() == meta.metrics

    run(body)


def test_a_young_challenger_that_is_promoted_can_be_made_again_and_rolled_back() -> None:
    """Its past begins in the middle of the log; the old champion is still there."""

    async def body(world: LearnLane) -> None:
        world.command("challenger add", name="young", pipeline=TREE, begin="now")
        await settled(world)
        await learn(world, 90)
        world.command("promote", name="young", force=True)
        await world.settle()
        rebuilt = await world.rebuilt("v3-210")
        assert rebuilt.fingerprint() == twin(world, TREE, *range(120, 210)).fingerprint()
        world.command("rollback", version="v1-200", replay=True)
        await world.settle()
        assert world.audit[-1].version == "v4-210"
        assert world.learner.fingerprint() == twin(world, "logistic", *range(210)).fingerprint()

    run(body)


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_around_the_write_promotes_once(after: bool) -> None:
    """Before the write nothing has changed; after it the challenger is gone."""

    async def body(world: LearnLane) -> None:
        world.command("challenger add", name="tree", pipeline=TREE)
        await settled(world)
        await world.lane.save()
        world.command("promote", name="tree", force=True)
        world.store.crash_before, world.store.crash_after = not after, after
        with pytest.raises(Crash):
            await world.settle()
        assert world.in_force.version == "v1-120"
        await world.start()
        await settled(world)
        await world.settle()
        promoted = [told.version for told in world.audit if told.id == "c2"]
        assert promoted == ["v3-120"]
        assert world.learner.fingerprint() == twin(world, TREE, *range(120)).fingerprint()
        assert list(world.challengers) == []

    run(body)


def test_the_gate_promotes_by_itself_only_if_it_may() -> None:
    """With evidence; proposes once otherwise; and does nothing by hand."""
    found = {}
    for mode in ("automatic", "propose", "manual"):

        async def body(world: LearnLane, mode: str = mode) -> None:
            world.command("challenger add", name="tree", pipeline=TREE)
            world.command("challenger add", name="same")
            await settled(world)
            told = {}
            for i in range(11):
                if i == 10:
                    await world.lane.save()
                    await world.start()
                await learn(world, 100)
                told |= {record.id: record for record in world.audit if record.who == "gate"}
            done = [(record.outcome, record.subject) for record in told.values()]
            found[mode] = done, world.learner.pipeline

        run(body, promotion=mode)
    logistic = "StandardScaler | LogisticRegression"
    promoted, pipeline = found["automatic"]
    assert promoted == [("applied", "tree")] and pipeline.startswith("HoeffdingTree")
    assert found["propose"] == ([("proposed", "tree")], logistic)
    assert found["manual"] == ([], logistic)


def test_the_gate_promotes_though_the_champion_never_rests() -> None:
    """Each batch takes it some examples ahead: the challenger is brought level first."""

    async def body(world: LearnLane) -> None:
        world.command("challenger add", name="tree", pipeline=TREE)
        await settled(world)
        for start in range(120, 1_220, 20):
            world.feed(*map(example, range(start, start + 20)))
            await world.settle(steps=1)
        (told,) = {record.id: record for record in world.audit if record.who == "gate"}.values()
        assert (told.outcome, told.what, told.subject) == ("applied", "promote", "tree")
        # What a recovery goes by.
        assert retrace([told], []).segments == world.handler.lineage.segments != ()
        assert told.evidence is not None and told.evidence.objections == []
        line = decode_succession(world.store._states["learn.0"]["succession"])
        assert line == Succession(1).after(told) != Succession(1)
        assert world.learner.pipeline.startswith("HoeffdingTree")
        expected = twin(world, TREE, *range(1_220))
        assert world.learner.fingerprint() == expected.fingerprint()

    run(body, promotion="automatic")


def test_a_promotion_by_hand_asks_the_gate() -> None:
    """Guard rails object even if the evidence is there."""

    async def body(world: LearnLane) -> None:
        world.command("challenger add", name="tree", pipeline=TREE)
        await settled(world)
        world.command("promote", name="tree")
        await world.settle()
        told = world.audit[-1]
        assert (told.outcome, told.reason) == ("refused", "gate")
        assert "no evidence yet" in told.detail and "--force" in told.detail
        await learn(world, 900)
        assert the(world, "tree").duel.evidence.passed_at is not None
        world.command("promote", name="tree")
        await world.settle()
        assert world.audit[-1].reason == "gate" and "bytes, over 10" in world.audit[-1].detail
        assert world.in_force.version.startswith("v1-")

    run(body, bytes_max=10, promotion="automatic")


def test_a_new_champion_begins_every_comparison_again() -> None:
    """A new threshold does not: the model is the same."""

    async def body(world: LearnLane) -> None:
        world.command("challenger add", name="tree", pipeline=TREE)
        await settled(world)
        await learn(world, 40)
        world.command("threshold", threshold=0.7)
        world.command("threshold", threshold=0.6)
        await settled(world)
        await learn(world, 10)
        assert the(world, "tree").duel.evidence.n == 50
        world.command("rollback", version="v1-50")
        await settled(world)
        await learn(world, 25)
        duel = the(world, "tree").duel
        assert (duel.evidence.n, duel.since) == (25, 170)
        assert duel.reference is not None
        assert duel.reference.fingerprint() == world.learner.fingerprint()
        assert duel.learner.fingerprint() == twin(world, TREE, *range(195)).fingerprint()

    run(body)


def test_what_is_left_out_of_the_champion_is_left_out_of_challengers() -> None:
    """Who has learned it begins again; who comes later never learns it."""

    async def body(world: LearnLane) -> None:
        world.command("challenger add", name="tree", pipeline=TREE)
        await settled(world)
        without = {"offsets": [[60, 80]]}
        world.command("rollback", version="v1-50", replay=True, without=without)
        await settled(world)
        world.command("challenger add", name="later", pipeline=TREE)
        await settled(world)
        await learn(world, 10)
        clean = [*range(60), *range(80, 130)]
        for name in ("tree", "later"):
            duel = the(world, name).duel
            assert duel.learner.fingerprint() == twin(world, TREE, *clean).fingerprint(), name
            assert duel.evidence.n == 10
        await world.lane.save()
        await world.start()
        assert the(world, "tree").duel.position == 130

    run(body)


def test_a_frozen_champion_holds_its_challengers() -> None:
    """They are compared on the same examples, so they wait as well."""

    async def body(world: LearnLane) -> None:
        world.command("challenger add", name="tree", pipeline=TREE)
        world.command("freeze")
        await settled(world)
        await learn(world, 30)
        assert the(world, "tree").duel.position == 120
        world.command("thaw")
        await settled(world)
        assert the(world, "tree").duel.position == 150

    run(body)


def test_an_example_that_comes_twice_is_compared_once() -> None:
    """As it is learned once."""

    async def body(world: LearnLane) -> None:
        world.command("challenger add", name="tree", pipeline=TREE)
        await settled(world)
        world.feed(example(120), example(120), example(119))
        await settled(world)
        assert the(world, "tree").duel.evidence.n == 1

    run(body)


def test_a_pipeline_that_can_not_learn_fails_alone() -> None:
    """The champion and the worker go on, also after a restart."""

    async def body(world: LearnLane) -> None:
        world.command("challenger add", name="line", pipeline="logistic", begin="now")
        world.command("challenger add", name="other", pipeline="hoeffding-adaptive-tree")
        await settled(world)
        odd = msgspec.structs.replace(example(120), features={"x": 1.0, "where": "here"})
        world.feed(odd)
        await world.settle(steps=20)
        assert world.learner.position == 121
        assert "takes numbers" in the(world, "line").failure
        assert the(world, "other").duel.position == 121
        world.command("promote", name="line", force=True)
        await world.settle()
        assert (world.audit[-1].outcome, world.audit[-1].reason) == ("refused", "failed")
        await world.lane.save()
        await world.start()
        assert (await standings(world))["line"].state == "failed"
        world.feed(example(121))
        await world.settle(steps=20)
        assert (the(world, "other").duel.position, world.learner.position) == (122, 122)

    run(body, pipeline=TREE)


@pytest.mark.parametrize(
    ("name", "arguments", "reason", "detail"),
    [
        ("challenger add", {"name": "a b"}, "bad_arguments", "letters"),
        ("challenger add", {"name": "tree"}, "name_taken", "drop it first"),
        ("challenger add", {"name": "x", "begin": "later"}, "bad_arguments", "begin"),
        ("challenger add", {"name": "x", "pipeline": "magic"}, "bad_pipeline", "no pipeline"),
        ("challenger add", {"name": "x", "pipeline": MINE}, "bad_pipeline", "does not have"),
        ("challenger add", {"name": "x", "pipeline": "softmax"}, "bad_pipeline", "softmax"),
        ("challenger drop", {"name": "nobody"}, "unknown_challenger", "there are: tree"),
        ("promote", {"name": "nobody"}, "unknown_challenger", "there are: tree"),
    ],
)
def test_what_can_not_be_done_is_refused_with_the_reason(
    name: str, arguments: dict[str, Any], reason: str, detail: str
) -> None:
    """Above all, a command can't make a worker run code that nobody has allowed."""

    async def body(world: LearnLane) -> None:
        world.command("challenger add", name="tree", pipeline=TREE)
        world.command(name, **arguments)
        await settled(world)
        told = world.audit[-1]
        assert (told.outcome, told.reason, told.version) == ("refused", reason, "v1-120")
        assert detail in told.detail
        assert [each.name for each in world.challengers] == ["tree"]

    run(body)


def test_a_pipeline_that_was_written_to_redis_is_not_run() -> None:
    """What is read there is as little trusted as a command."""

    async def body(world: LearnLane) -> None:
        world.command("challenger add", name="tree", pipeline=TREE)
        await settled(world)
        entry = world.store._states["learn.0"][STANDINGS]
        forged = entry.replace(TREE.encode(), MINE.encode())
        world.store._states["learn.0"][STANDINGS] = forged
        assert forged != entry
        await world.start()
        assert list(world.challengers) == []
        await learn(world, 10)

    run(body)


def test_a_pipeline_of_ones_own_is_run_where_it_is_allowed() -> None:
    """By the configuration."""

    async def body(world: LearnLane) -> None:
        world.command("challenger add", name="mine", pipeline=MINE)
        await settled(world)
        assert the(world, "mine").duel.learner.fingerprint() == world.learner.fingerprint()

    run(body, pipelines=f"acme:unknown {MINE}")


def test_there_is_a_limit() -> None:
    """Each costs memory and time."""

    async def body(world: LearnLane) -> None:
        for name in ("a", "b", "c"):
            world.command("challenger add", name=name)
        await settled(world)
        assert [told.reason for told in world.audit] == ["", "", "too_many"]
        world.command("challenger drop", name="a")
        world.command("challenger add", name="c")
        await settled(world)
        assert set(await standings(world)) == {"b", "c"}
        assert "challenger/a" not in world.store._states["learn.0"]
        await world.start()
        assert [each.name for each in world.challengers] == ["b", "c"]

    run(body, max=2)


def test_standings_say_how_they_do() -> None:
    """Saved with the states, for whoever compares."""

    async def body(world: LearnLane) -> None:
        world.command("challenger add", name="tree", pipeline=TREE)
        await settled(world)
        assert (await standings(world))["tree"].state == "catching up"
        end = len(world.logs.records["examples"])
        places = ["north", "south"]
        world.feed(
            *(
                msgspec.structs.replace(example(i), features={"x": 1.0, "where": places[i % 2]})
                for i in range(end, end + 10)
            )
        )
        await settled(world)
        await world.lane.save()
        standing = (await standings(world))["tree"]
        assert (standing.state, standing.who, standing.since) == ("compared", "ana", 120)
        assert set(standing.advantages) == set(places)
        assert standing.n_bytes > 100 and standing.champion == "v1-130"
        assert learner_before(world.settings, [standing.segment]).pipeline.startswith("Hoeffding")

    run(body, pipeline=TREE, segment="where")


class Ticking:
    """A clock that goes on by a millisecond whenever somebody looks."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 0.001
        return self.seconds


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_challengers_take_no_more_than_their_share_of_the_time(share: float) -> None:
    """The champion comes first: after a slice they rest."""

    async def body(world: LearnLane) -> None:
        world.feed(*map(example, range(120, 4_000)))
        await world.settle(steps=50)
        assert world.learner.position == 4_000
        world.command("challenger add", name="tree", pipeline=TREE)
        await world.settle(steps=2)
        clock = world.challengers._timer = Ticking()
        before = began = the(world, "tree").duel.position
        while clock.seconds < 0.5:
            await world.challengers.work(world.learner, world.handler.lineage)
            position = the(world, "tree").duel.position
            # Each chunk takes from one look to the next.
            assert position - before <= 6 * CHUNK_EXAMPLES, "too long a slice"
            before = position
        spent = (before - began) / CHUNK_EXAMPLES * 0.001
        assert 0.5 * share <= spent / clock.seconds <= 1.1 * share
        assert before < 4_000

    run(body, share=share)
