"""Challengers that score live traffic: who decides for whom, by which model, and if one fails."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.learner import Learner
from models.types import Example
from stream.arms import ARMS, Arm, Arms, decode_arms, is_in_share, sample_place
from stream.decoding import EventDecoder
from stream.learners import new_learner
from stream.messages import Decision, Shadow, decode_decision, decode_shadow, encode_json
from stream.ports import Outcome
from stream.score import ScoreHandler
from stream.settings import Settings
from tests.arms import make_arms
from tests.learn_lane import LearnLane

TREE = "hoeffding-tree"
CARDS = [f"card{i}" for i in range(60)]
SHARE = 0.3
MINE = {card for card in CARDS if is_in_share("tree", card, SHARE)}

cards = st.text(max_size=20)
parts = st.floats(0, 1)


def settings(entity: str | None = "card", **challengers: Any) -> Settings:
    return Settings(
        event={"entity": entity, "features": {"x": {}}},
        versions={"every_n": 10, "interval": 1e9, "keep": 500},
        challengers={"serve_after_n": 50, **challengers},
    )


def example(i: int) -> Example:
    """Make an example that a tree can learn and a line can't: the label is true around zero."""
    x = float(i * 7919 % 41) - 20.0
    return Example(
        f"x{i}", {"x": x}, abs(x) < 7.0, 0.5, "v1-0", 0, float(i), i + 2.0, "labels/0", i, 0
    )


class FakeRecord(msgspec.Struct):
    """A record of the events topic."""

    offset: int
    value: bytes
    key: bytes | None = None
    timestamp: int = 1_000
    headers: tuple[()] = ()


class Scored(msgspec.Struct):
    """What a batch of events led to."""

    raw: list[bytes]
    alerts: list[bytes]
    shadows: list[Shadow]
    counts: Counter[Any]

    @property
    def decisions(self) -> list[Decision]:
        return [decode_decision(body) for body in self.raw]


class ScoreLane:
    """A score lane of a worker, that with the learn lane or another one."""

    def __init__(self, world: Traffic, arms: Arms, partition: int) -> None:
        self.world = world
        self.arms = arms
        self.handler = ScoreHandler(
            partition,
            topic="app.events",
            decoder=EventDecoder(world.settings.event),
            scorer=world.learn.in_force,
            arms=arms,
            store=world.learn.store,
            task=world.settings.model.task,
            threshold=0.5,
            ttl=1e9,
            explaining=world.settings.reasons.explaining(world.settings.model.task),
        )
        self.partition = partition

    async def open(self) -> None:
        await self.handler.open(await self.world.learn.store.acquire(f"score.{self.partition}"))

    async def absorb(self, *events: tuple[str, str, float], first: int = 0) -> Outcome:
        """Decide about events (id, card, x), and nothing more."""
        records: list[Any] = [
            FakeRecord(first + i, json.dumps({"id": name, "card": card, "x": x}).encode())
            for i, (name, card, x) in enumerate(events)
        ]
        return await self.handler.absorb(records, first, 0.0)

    async def score(self, *events: tuple[str, str, float], first: int = 0) -> Scored:
        """Decide about events (id, card, x), and let shadows score them."""
        outcomes = [await self.absorb(*events, first=first), await self.handler.tick(first, 0.0)]
        done = [outcome for outcome in outcomes if outcome is not None]
        told = [message for outcome in done for message in outcome.messages]
        counts: Counter[Any] = Counter()
        for outcome in done:
            counts.update(outcome.counts)
        return Scored(
            [m.value for m in told if m.topic == "scores"],
            [m.value for m in told if m.topic == "alerts"],
            [decode_shadow(m.value) for m in told if m.topic == "shadows"],
            counts,
        )


class Traffic:
    """A learn lane with 120 examples learned, and score lanes here and on another worker."""

    def __init__(self, configured: Settings) -> None:
        self.settings = configured
        self.learn = LearnLane(configured)

    async def start(self) -> None:
        await self.learn.start()
        await self.learn_more(120)
        self.now = 0.0
        self.there_arms = make_arms(self.learn.store, lambda: self.now)

    async def restart(self) -> None:
        """Start another process, which gets the learn lane."""
        await self.learn.start()

    async def learn_more(self, n: int) -> None:
        end = len(self.learn.logs.records["examples"])
        self.learn.feed(*map(example, range(end, end + n)))
        await self.settled()

    async def settled(self) -> None:
        await self.learn.settle()
        for _ in range(500):
            await self.learn.lane.step()
            behind = [
                each
                for each in self.learn.challengers
                if each.duel.position != self.learn.learner.position
            ]
            if not behind:
                await self.learn.lane.step()
                return
        raise AssertionError("a challenger does not catch up")

    async def command(self, name: str, /, **arguments: Any) -> str:
        """Give a command, and say how it ended."""
        self.learn.command(name, **arguments)
        await self.settled()
        told = self.learn.audit[-1]
        return told.reason or told.outcome

    async def lane(self, *, here: bool = True) -> ScoreLane:
        """Open the score lane on the worker with the learn lane, or on another."""
        arms = self.learn.arms if here else self.there_arms
        await arms.refresh()
        lane = ScoreLane(self, arms, 0)
        await lane.open()
        return lane

    def challenger(self, name: str = "tree") -> Learner:
        found = self.learn.challengers.get(name)
        assert found is not None
        return found.duel.learner


def run(body: Callable[[Traffic], Awaitable[None]], configured: Settings | None = None) -> None:
    async def main() -> None:
        world = Traffic(configured or settings())
        await world.start()
        await body(world)

    asyncio.run(main())


def events(prefix: str = "e") -> list[tuple[str, str, float]]:
    """One event a card; the label would be true of some."""
    return [(f"{prefix}{i}", card, float(i % 41) - 20.0) for i, card in enumerate(CARDS)]


@given(cards, cards, parts, parts)
def test_a_larger_share_holds_a_smaller_one(arm: str, card: str, one: float, other: float) -> None:
    """So an entity stays with its arm while the share grows; samples likewise."""
    name = f"n{arm.encode().hex()}"[:64]
    if is_in_share(name, card, min(one, other)):
        assert is_in_share(name, card, max(one, other))
    assert not is_in_share(name, card, 0.0)
    assert is_in_share(name, card, 1.0)
    assert 0.0 <= sample_place(card) < 1.0


def test_shares_and_samples_are_as_large_as_they_are_called() -> None:
    """Of many, and independent for two challengers."""
    n = 20_000
    one = {card for card in range(n) if is_in_share("one", str(card), 0.3)}
    two = {card for card in range(n) if is_in_share("two", str(card), 0.3)}
    sample = {card for card in range(n) if sample_place(str(card)) < 0.3}
    # Four standard deviations of a binomial count.
    for found, expected in ((one, 0.3), (two, 0.3), (sample, 0.3), (one & two, 0.09)):
        error = 4 * math.sqrt(expected * (1 - expected) / n)
        assert abs(len(found) / n - expected) < error
    assert abs(len(one & sample) / n - 0.09) < 4 * math.sqrt(0.09 * 0.91 / n)


def test_a_challenger_decides_for_its_entities_and_nobody_else() -> None:
    """Its score, its threshold in force, its arm, version and position; the others as ever."""

    async def body(world: Traffic) -> None:
        assert await world.command("challenger add", name="tree", pipeline=TREE, share=SHARE)
        lane = await world.lane()
        scored = await lane.score(*events())
        champion, challenger = world.learn.learner, world.challenger()
        for (_, card, x), decision in zip(events(), scored.decisions, strict=True):
            mine = card in MINE
            model = challenger if mine else champion
            assert decision.arm == ("tree" if mine else "champion"), card
            assert decision.score == model.score({"x": x})
            assert decision.version == ("v2-120" if mine else "v1-120")
            assert (decision.model_position, decision.stale) == (120, False)
            assert decision.decision == ("alert" if float(decision.score) >= 0.5 else "pass")
        assert 10 < len(MINE) < 30 and scored.counts["arm_scores", "tree"] == len(MINE)
        alerts = {decode_decision(body).event_id for body in scored.alerts}
        assert alerts == {d.event_id for d in scored.decisions if d.decision == "alert"}
        assert {decode_decision(body).arm for body in scored.alerts} == {"tree"}
        await world.learn_more(30)
        assert world.challenger().position == 150
        (later,) = (await lane.score(("late", min(MINE), 3.0), first=60)).decisions
        assert (later.version, later.model_position) == ("v2-120", 150)
        assert later.score == world.challenger().score({"x": 3.0})

    run(body)


def test_another_worker_scores_with_what_is_saved_for_the_same_entities() -> None:
    """As of the last save, and loads nothing where nobody scores."""

    async def body(world: Traffic) -> None:
        await world.command("challenger add", name="tree", pipeline=TREE)
        await world.learn.lane.save()
        there = await world.lane(here=False)
        read = world.learn.store.n_bytes_read = 0
        await world.there_arms.refresh()
        assert world.learn.store.n_bytes_read == read and not world.there_arms
        await world.command("challenger traffic", name="tree", share=SHARE)
        saved = world.challenger().score({"x": 3.0})
        await world.there_arms.refresh()
        await world.learn_more(30)
        assert world.challenger().score({"x": 3.0}) != saved
        scored = await there.score(*events())
        assert {d.entity for d in scored.decisions if d.arm == "tree"} == MINE
        (one,) = (await there.score(("z", min(MINE), 3.0), first=60)).decisions
        assert (one.score, one.version, one.model_position) == (saved, "v2-120", 120)
        world.learn.store.n_bytes_read = 0
        await world.there_arms.refresh()
        assert world.learn.store.n_bytes_read < 200, "a state that is known was read again"
        await world.learn.lane.save()
        await world.there_arms.refresh()
        (one,) = (await there.score(("y", min(MINE), 3.0), first=61)).decisions
        assert (one.version, one.model_position) == ("v2-150", 150)
        assert one.score == world.challenger().score({"x": 3.0})
        await world.command("challenger drop", name="tree")
        await world.there_arms.refresh()
        assert {d.arm for d in (await there.score(*events("d"), first=62)).decisions} == {
            "champion"
        }

    run(body)


def test_a_redelivered_event_keeps_its_arm_whatever_came_since() -> None:
    """Byte for byte: its share was taken away, and the model has moved on; elsewhere too."""

    async def body(world: Traffic) -> None:
        await world.command("challenger add", name="tree", pipeline=TREE, share=SHARE, shadow=1.0)
        first = await (await world.lane()).score(*events())
        assert len(first.shadows) == len(CARDS) - len(MINE)
        await world.learn_more(30)
        await world.command("challenger traffic", name="tree", share=0.0)
        for here in (True, False):
            again = await (await world.lane(here=here)).score(*events())
            assert (again.raw, again.alerts) == (first.raw, first.alerts)
            assert again.shadows == [], "a shadow was scored twice"

    run(body)


def test_arms_are_in_force_after_a_restart_and_never_before_they_are_saved() -> None:
    """Else a crash would give their entities back."""

    async def body(world: Traffic) -> None:
        await world.command("challenger add", name="tree", pipeline=TREE)
        world.learn.command("challenger traffic", name="tree", share=SHARE)
        while not world.learn.arms:
            stored = await world.learn.store.read_state("learn.0", ARMS)
            await world.learn.lane.step()
        assert stored is not None, "in force before it was committed"
        assert decode_arms(stored) == [Arm("tree", SHARE, 0.0, "v2-120")]
        await world.restart()
        lane = await world.lane()
        scored = await lane.score(*events())
        assert {d.entity for d in scored.decisions if d.arm == "tree"} == MINE
        world.learn.handler.close()
        scored = await lane.score(*events("f"), first=60)
        assert {d.entity for d in scored.decisions if d.arm == "tree"} == MINE

    run(body)


def test_a_challenger_that_is_young_or_behind_serves_nobody() -> None:
    """Only once it has caught up and learned enough; then for good."""

    async def body(world: Traffic) -> None:
        asked = {"pipeline": TREE, "share": SHARE, "shadow": 1.0}
        assert await world.command("challenger add", name="young", begin="now", **asked)
        assert not world.learn.arms
        await world.learn_more(49)
        assert not world.learn.arms
        await world.learn_more(1)
        assert [one.name for one in world.learn.arms] == ["young"]
        # Its champion is another one now: it has nobody to be compared with, and goes on serving.
        await world.command("rollback", version="v1-100")
        assert [one.name for one in world.learn.arms] == ["young"]

    run(body)


def test_a_challenger_that_begins_again_serves_nobody_until_it_has_caught_up() -> None:
    """Not with what it must not have learned."""

    async def body(world: Traffic) -> None:
        await world.command("challenger add", name="tree", pipeline=TREE, share=SHARE)
        assert [one.arm.version for one in world.learn.arms] == ["v2-120"]
        world.learn.command(
            "rollback", version="v1-0", replay=True, without={"offsets": [[30, 100]]}
        )
        found = []
        for _ in range(60):
            await world.learn.lane.step()
            found.append([one.learner.n_learned for one in world.learn.arms])
        assert found[0] == [120] and found[-1] == []
        assert world.challenger().n_learned == 50

    run(body, settings(serve_after_n=51))


def test_of_two_shares_an_entity_belongs_to_the_older() -> None:
    """Who came later takes nobody's entities away."""

    async def body(world: Traffic) -> None:
        await world.command("challenger add", name="tree", pipeline=TREE, share=SHARE)
        await world.command("challenger add", name="same", share=0.7)
        theirs = {card for card in CARDS if is_in_share("same", card, 0.7)}
        lane = await world.lane()

        async def by_arm(prefix: str, first: int) -> dict[str, set[str | None]]:
            decisions = (await lane.score(*events(prefix), first=first)).decisions
            return {arm: {d.entity for d in decisions if d.arm == arm} for arm in ("tree", "same")}

        assert await by_arm("a", 0) == {"tree": MINE, "same": theirs - MINE}
        assert MINE & theirs
        await world.command("challenger drop", name="tree")
        assert await by_arm("b", 60) == {"tree": set(), "same": theirs}

    run(body, settings(traffic_max=1.0))


@pytest.mark.parametrize("how", ["raises", "nan"])
def test_a_challenger_that_fails_harms_nobody(
    how: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The champion decides, as if there were no challenger; it is counted, and told once."""

    async def body(world: Traffic) -> None:
        await world.command("challenger add", name="tree", pipeline=TREE, share=SHARE, shadow=1.0)
        lane = await world.lane()

        def broken(rows: Any) -> list[float]:
            if how == "nan":
                return [math.nan for _ in rows]
            raise ZeroDivisionError("no luck")

        monkeypatch.setattr(world.challenger(), "score_many", broken)
        scored = await lane.score(*events())
        more = await lane.score(*events("f"), first=60)
        champion = world.learn.learner
        for (_, _, x), decision in zip(events(), scored.decisions, strict=True):
            assert (decision.arm, decision.score) == ("champion", champion.score({"x": x}))
        assert scored.shadows == more.shadows == []
        assert scored.counts["arm_failures", "tree"] == len(MINE) + len(CARDS)
        assert scored.counts["arm_scores", "tree"] == 0
        told = [record for record in caplog.records if "can't score" in record.message]
        assert len(told) == 1
        monkeypatch.undo()
        healthy = await lane.score(*events("g"), first=120)
        assert {d.entity for d in healthy.decisions if d.arm == "tree"} == MINE

    run(body)


def test_shadows_are_scores_of_the_sample_that_nobody_is_served() -> None:
    """Of the events in the sample, but those that the challenger decides itself."""

    async def body(world: Traffic) -> None:
        await world.command("challenger add", name="tree", pipeline=TREE, share=SHARE, shadow=0.5)
        await world.command("challenger add", name="same", shadow=0.2)
        scored = await (await world.lane()).score(*events())
        decisions = {d.event_id: d for d in scored.decisions}
        x_of = {name: x for name, _, x in events()}
        n_otherwise = 0
        for name, shadow in (("tree", 0.5), ("same", 0.2)):
            mine = {one.event_id: one for one in scored.shadows if one.arm == name}
            assert set(mine) == {
                event_id
                for event_id, decision in decisions.items()
                if sample_place(event_id) < shadow and decision.arm != name
            }
            for event_id, one in mine.items():
                decision = decisions[event_id]
                assert one.score == world.challenger(name).score({"x": x_of[event_id]})
                shared = ("entity", "partition", "offset", "event_time", "threshold")
                for field in shared:
                    assert getattr(one, field) == getattr(decision, field)
                said = "alert" if float(one.score) >= decision.threshold else "pass"
                assert (one.decision, one.model_position) == (said, 120)
                n_otherwise += name == "tree" and said != decision.decision
            assert scored.counts["shadow_scores", name] == len(mine) > 0
        assert scored.counts["shadow_disagreements", "tree"] == n_otherwise > 0
        assert set(decisions) == {name for name, _, _ in events()}

    run(body)


def test_shadows_wait_until_the_decisions_are_out() -> None:
    """The batch is decided, and could be published, before a shadow is scored."""

    async def body(world: Traffic) -> None:
        await world.command("challenger add", name="tree", pipeline=TREE, shadow=1.0)
        lane = await world.lane()
        outcome = await lane.absorb(*events())
        assert {message.topic for message in outcome.messages} == {"scores"}
        later = await lane.handler.tick(60, 0.0)
        assert later is not None and not later.durable
        assert {message.topic for message in later.messages} == {"shadows"}
        assert await lane.handler.tick(60, 0.0) is None

    run(body)


def test_an_alert_of_an_arm_has_the_arms_reasons() -> None:
    """Not the champion's."""

    async def body(world: Traffic) -> None:
        await world.command("challenger add", name="tree", pipeline=TREE, share=1.0)
        scored = await (await world.lane()).score(("e", "anybody", 0.0))
        (decision,) = scored.decisions
        assert (decision.arm, decision.decision) == ("tree", "alert")
        (attribution,) = world.challenger().explain_many([{"x": 0.0}])
        assert decision.reasons == attribution.top(5, {})
        assert attribution.method == "path"

    run(body, settings(traffic_max=1.0))


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"name": "champion"}, "bad_arguments"),
        ({"name": "tree", "share": 0.51}, "too_much"),
        ({"name": "tree", "share": 1.5}, "bad_arguments"),
        ({"name": "tree", "shadow": -0.1}, "bad_arguments"),
    ],
)
def test_traffic_that_can_not_be_given_is_refused(asked: dict[str, Any], reason: str) -> None:
    """With a reason, and nothing changes."""

    async def body(world: Traffic) -> None:
        assert await world.command("challenger add", **asked) == reason
        assert list(world.learn.challengers) == []

    run(body)


def test_shares_add_up_to_no_more_than_they_may() -> None:
    """Also where a share grows; without entities there is none."""

    async def body(world: Traffic) -> None:
        assert await world.command("challenger add", name="one", share=0.3) == "applied"
        assert await world.command("challenger add", name="two", share=0.2) == "applied"
        give = "challenger traffic"
        assert await world.command(give, name="one", share=0.31) == "too_much"
        assert await world.command(give, name="two", share=0.1, shadow=1.0) == "applied"
        assert await world.command(give, name="one", share=0.4) == "applied"
        assert await world.command(give, name="three", share=0.1) == "unknown_challenger"
        told = world.learn.audit[-2].detail
        assert told == "one decides for 40 % of entities"

    run(body)

    async def without(world: Traffic) -> None:
        assert await world.command("challenger add", name="one", share=0.3) == "no_entity"
        assert await world.command("challenger add", name="one", shadow=0.3) == "applied"
        assert await world.command("challenger traffic", name="one", share=0.1) == "no_entity"

    run(without, settings(entity=None))


def test_a_state_that_was_tampered_with_scores_nowhere() -> None:
    """Another worker keeps the last good one, or none, and says that it grows stale."""

    async def body(world: Traffic) -> None:
        await world.command("challenger add", name="tree", pipeline=TREE, share=SHARE)
        await world.there_arms.refresh()
        await world.learn_more(30)
        await world.learn.lane.save()
        state = world.learn.store._states["learn.0"]
        good = state["challenger/tree"]
        state["challenger/tree"] = good.replace(b'"name":"tree"', b'"name":"trex"')
        assert state["challenger/tree"] != good
        fresh = make_arms(world.learn.store)
        await fresh.refresh()
        assert not fresh
        await world.there_arms.refresh()
        (one,) = world.there_arms
        assert one.stamp() == ("v2-120", 120, False)
        world.now = 11.0
        await world.there_arms.refresh()
        assert one.stamp() == ("v2-120", 120, True)
        state["challenger/tree"] = good
        await world.learn_more(10)
        await world.learn.lane.save()
        await world.there_arms.refresh()
        assert one.stamp() == ("v2-160", 160, False)

    run(body)


def test_the_state_of_another_challenger_is_not_taken_for_ones_own() -> None:
    """Whoever can write to Redis can't swap them."""

    async def body(world: Traffic) -> None:
        await world.command("challenger add", name="tree", pipeline=TREE, share=SHARE)
        await world.command("challenger add", name="same", shadow=0.1)
        state = world.learn.store._states["learn.0"]
        state["challenger/tree"] = state["challenger/same"]
        await world.there_arms.refresh()
        assert [one.name for one in world.there_arms] == ["same"]

    run(body)


def test_a_promoted_challenger_scores_as_the_champion() -> None:
    """For everybody; its arm is no more."""

    async def body(world: Traffic) -> None:
        await world.command("challenger add", name="tree", pipeline=TREE, share=SHARE, shadow=1.0)
        await world.command("promote", name="tree", force=True)
        await world.learn.lane.step()
        scored = await (await world.lane()).score(*events())
        assert {(d.arm, d.version) for d in scored.decisions} == {("champion", "v3-120")}
        assert scored.shadows == []
        assert await world.learn.store.read_state("learn.0", ARMS) is None

    run(body)


def learned(n: int, arm_of: Callable[[int], Any], **model: Any) -> Learner:
    """Fold examples with the same truths, whose scores by a challenger are far off."""
    learner = new_learner(Settings(event={"features": {"x": {}}}, **model))
    log = []
    for i in range(n):
        arm = arm_of(i)
        score = 0.9 if arm else 0.2
        one = msgspec.structs.replace(example(i), label=i % 2 == 0, score=score, arm=arm)
        log.append(msgspec.json.decode(encode_json(one), type=Example))
    learner.absorb(log, range(n))
    return learner


def no_arm(i: int) -> Any:
    return msgspec.UNSET


def every_third(i: int) -> Any:
    return "tree" if i % 3 == 0 else msgspec.UNSET


def test_the_champion_is_judged_by_its_own_scores_and_learns_from_all() -> None:
    """Metrics, drift and calibration; the model is the same as if it had decided everything."""
    plain, mixed = learned(600, no_arm), learned(600, every_third)
    assert mixed.n_learned == plain.n_learned == 600
    assert mixed.fingerprint() == plain.fingerprint()
    assert mixed.metrics()["n"] == 400
    assert mixed.metrics()["total"]["brier"] == pytest.approx(plain.metrics()["total"]["brier"])
    calibrated: dict[str, Any] = {"rare": {"calibration": "platt", "calibration_n": 100}}
    judged = learned(600, every_third, **calibrated).score({"x": 1.0})
    own = [i for i in range(600) if every_third(i) is msgspec.UNSET]
    unscored = new_learner(Settings(event={"features": {"x": {}}}, **calibrated))
    for i in range(600):
        one = msgspec.structs.replace(example(i), label=i % 2 == 0, score=0.2)
        if i not in own:
            one = msgspec.structs.replace(one, score=None, version=None, model_position=None)
        unscored.absorb([one], [i])
    assert judged == unscored.score({"x": 1.0})
    assert judged != learned(600, lambda i: msgspec.UNSET, **calibrated).score({"x": 1.0})


def test_a_budget_counts_the_alerts_of_all_arms() -> None:
    """It is people who look at them, whoever raised them: the threshold sees every score."""
    rule: dict[str, Any] = {"decision": {"rule": "share", "alert_share": 0.1, "window_n": 1000}}
    # The champion alone alerts on nothing up there; a third of all scores lies above it.
    assert learned(2000, every_third, **rule).threshold > 0.9
    assert learned(2000, no_arm, **rule).threshold < 0.3
