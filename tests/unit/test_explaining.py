"""The score lane gives alerts their reasons: those of the model that scored, for good."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from models.importance import Means
from models.reasons import Reason, Reasons
from models.stores.base import Lease
from models.stores.memory import MemoryStore
from models.types import Example, Features
from stream import topics
from stream.arms import Arm
from stream.decoding import EventDecoder
from stream.explaining import IMPORTANCE, SAVE_EVERY_S, decode_means
from stream.learners import new_learner
from stream.messages import Pending, decision_of, decode_decision, decode_pending, encode_json
from stream.messages import encode_pending as encode
from stream.metrics import WorkerMetrics
from stream.ports import Message, Record
from stream.score import ScoreHandler
from stream.scorer import ModelInForce
from stream.settings import Settings
from stream.worker import Worker
from tests.arms import make_arms
from tests.memory_logs import MemoryLogs

NAMES = {"a": "payments in an hour"}


def examples(start: int, n: int) -> list[Example]:
    """Make examples that are positive where the feature is high."""
    return [
        Example(f"x{i}", {"a": i % 7, "b": 1.0}, i % 7 > 3, 0.5, "v1-0", 0, i, i, "labels/0", i, i)
        for i in range(start, start + n)
    ]


def body(event_id: str, a: float) -> bytes:
    """Make an event."""
    return json.dumps({"id": event_id, "card": "c1", "a": a, "b": 1}).encode()


class ScoreLane:
    """A score lane whose model can learn between batches."""

    def __init__(self, **reasons: Any) -> None:
        self.settings = Settings(
            event={"entity": "card", "features": {"a": {}, "b": {}}},
            reasons={"names": NAMES, **reasons},
        )
        self.learner = new_learner(self.settings)
        self.model = ModelInForce(lambda: new_learner(self.settings), lambda: 0.0, 9.0)
        self.model.go_live(self.learner, "v1-0", None)
        self.store = MemoryStore(ttl=1e9)
        self.arms = make_arms(self.store)
        self.lease: Lease | None = None
        self.handler = ScoreHandler(
            0,
            topic="app.events",
            decoder=EventDecoder(self.settings.event),
            scorer=self.model,
            arms=self.arms,
            store=self.store,
            task=self.settings.model.task,
            threshold=0.5,
            ttl=1e9,
            explaining=self.settings.reasons.explaining(self.settings.model.task),
        )

    def learn(self, start: int, n: int) -> None:
        """Let the model learn."""
        self.learner.absorb(examples(start, n), range(start, start + n))

    async def open(self) -> None:
        """Get the lane."""
        self.lease = await self.store.acquire("score.0")
        await self.handler.open(self.lease)

    async def save(self, now: float) -> Means | None:
        """Commit what is due as the lane does, and give what the store has of importance."""
        outcome = await self.handler.tick(0, now)
        if outcome is not None:
            assert self.lease is not None
            await self.store.commit(self.lease, 1, outcome.changes)
        data = await self.store.read_state("score.0", IMPORTANCE)
        return None if data is None else decode_means(data)

    async def score(self, *values: float, first: int = 0) -> dict[str, list[bytes]]:
        """Score events, and give what is published by topic."""
        records: list[Record] = [
            FakeRecord(
                first + i,
                body(f"e{first + i}", a),
            )
            for i, a in enumerate(values)
        ]
        outcome = await self.handler.absorb(records, first, 0.0)
        published: dict[str, list[bytes]] = {"scores": [], "alerts": []}
        for message in outcome.messages:
            published[message.topic].append(message.value)
        return published


class FakeRecord(msgspec.Struct):
    """A record of the events topic."""

    offset: int
    value: bytes
    key: bytes | None = None
    timestamp: int = 1_000
    headers: tuple[()] = ()


def test_an_alert_says_why_and_says_the_same_again() -> None:
    """Redelivered when the model has moved on, it has the reasons of the model that scored."""

    async def main() -> None:
        lane = ScoreLane(top_n=1)
        lane.learn(0, 400)
        await lane.open()
        first = await lane.score(6.0, 0.0)
        (alert,) = first["alerts"]
        assert [b'"reasons"' in score for score in first["scores"]] == [True, False]
        told = decode_decision(alert).reasons
        assert isinstance(told, Reasons)
        (attribution,) = lane.learner.explain_many([{"a": 6.0, "b": 1.0}])
        assert told == attribution.top(1, NAMES)
        assert told.features[0].text.startswith("payments in an hour 6, usual 2.9")
        lane.learn(400, 400)
        assert lane.learner.explain_many([{"a": 6.0, "b": 1.0}]) != [attribution]
        assert await lane.score(6.0, 0.0) == first

    asyncio.run(main())


@pytest.mark.parametrize(
    ("of", "n_explained"), [("alerts", 1), ("scores", 3), ("none", 0)]
)  # fmt: skip
def test_reasons_are_given_to_whom_they_are_configured_for(of: str, n_explained: int) -> None:
    """Without them a decision has no such field."""

    async def main() -> None:
        lane = ScoreLane(of=of)
        lane.learn(0, 400)
        await lane.open()
        published = await lane.score(6.0, 0.0, 1.0)
        assert sum(b'"reasons"' in score for score in published["scores"]) == n_explained
        assert len(published["alerts"]) == 1

    asyncio.run(main())


def test_the_importance_of_features_is_of_what_the_champion_explained() -> None:
    """A challenger's reasons are published, but are another model's; it is told to Prometheus."""

    async def main() -> None:
        lane = ScoreLane(importance_n=2)
        lane.learn(0, 400)
        await lane.open()
        await lane.score(6.0, 0.0, 5.0, 4.5)

        def mean(*values: float) -> float:
            told = lane.learner.explain_many([{"a": a, "b": 1.0} for a in values])
            return sum(abs(one.contributions[0]) for one in told) / len(told)

        means = await lane.save(now=100.0)
        assert means == Means("log_odds", 2, {"a": mean(5.0, 4.5), "b": 0.0}, 100.0)
        lane.arms.go_live([(Arm("tree", 1.0, 0.0, "v2-0"), lane.learner)])
        published = await lane.score(6.0, first=9)
        assert decode_decision(published["alerts"][0]).arm == "tree"
        # The champion has scored it as well, so it is there once.
        expected = mean(4.5, 6.0)
        metrics = WorkerMetrics()
        metrics.set_importance(await lane.save(now=200.0))
        line = 'driftline_feature_importance{feature="a",unit="log_odds"} '
        assert f"{line}{expected}\n" in metrics.exposition().decode()

    asyncio.run(main())


def test_what_has_mattered_is_saved_now_and_then_and_at_the_end() -> None:
    """Not at every batch, and not again while nothing was explained."""

    async def main() -> None:
        lane = ScoreLane()
        lane.learn(0, 400)
        await lane.open()
        assert await lane.save(now=50.0) is None
        await lane.score(6.0)
        assert (await lane.save(now=51.0) or Means("", 0, {}, 0.0)).n == 1
        assert await lane.handler.tick(1, 99.0) is None
        await lane.score(5.0, first=1)
        assert await lane.handler.tick(2, 51.0 + SAVE_EVERY_S - 0.1) is None
        assert (await lane.save(now=51.0 + SAVE_EVERY_S) or Means("", 0, {}, 0.0)).n == 2
        await lane.score(4.0, first=2)
        last = lane.handler.final(62.0)
        assert last is not None
        assert decode_means(last.changes[IMPORTANCE] or b"").n == 3
        assert lane.handler.final(62.0) is None

    asyncio.run(main())


def test_a_model_that_has_learned_nothing_explains_nothing() -> None:
    """It alerts on nothing, whatever its scores."""

    async def main() -> None:
        lane = ScoreLane(of="scores")
        await lane.open()
        published = await lane.score(6.0)
        assert b'"reasons"' not in published["scores"][0]

    asyncio.run(main())


def test_reasons_survive_being_stored_bit_for_bit() -> None:
    """Text, numbers and flags stay what they are."""
    values: tuple[Any, ...] = (1, 0.1 + 0.2, "x", True)
    reasons = Reasons(
        "linear", "log_odds", -1.0, 1e-17, tuple(Reason("f", v, None, 0.5, "f") for v in values)
    )
    pending = Pending(
        1, [2.0], 0.9, 0.5, "v1-3", 3, None, 0, False, reasons, event_time=5.0, offset=7
    )
    stored = decode_pending(encode(pending))
    assert stored == pending
    assert [type(r.value) for r in stored.reasons.features] == [int, float, str, bool]  # type: ignore[union-attr]
    body = encode_json(decision_of(new_learner(ScoreLane().settings).task, "e", stored))
    assert decode_decision(body).reasons == reasons
    assert len(encode(pending)) > len(encode(msgspec.structs.replace(pending, reasons=None))) + 50


class Sink:
    """Takes messages and forgets them."""

    async def publish(self, messages: Sequence[Message]) -> None:
        pass


class StoppedClock:
    """Time that does not pass."""

    def now(self) -> float:
        return 100.0


def test_a_worker_tells_of_its_partitions_together() -> None:
    """As the metric, and in the store a partition a lane; one that left is told no more."""

    async def main() -> None:
        settings = ScoreLane().settings
        learner, store = new_learner(settings), MemoryStore(ttl=1e9)
        learner.absorb(examples(0, 400), range(400))
        worker = Worker(
            settings,
            store=store,
            outbox=Sink(),
            clock=StoppedClock(),
            logs=MemoryLogs(),
            highwater=lambda topic, partition: 0,
            pause=lambda topic, partition, paused: None,
        )
        worker.model.go_live(learner, "v1-400", None)
        lanes = []
        for partition, values in enumerate(([6.0, 5.0, 0.0], [4.0])):
            lane, _ = await worker.open_lane(worker.topic(topics.EVENTS), partition)
            lane.start_at(0)
            lane.offer([FakeRecord(i, body(f"{partition}-{i}", a)) for i, a in enumerate(values)])
            await lane.step()
            lanes.append(lane)

        def gauge() -> float:
            worker.refresh_metrics()
            line = 'driftline_feature_importance{feature="a",unit="log_odds"} '
            told = worker.metrics.exposition().decode().splitlines()
            (found,) = [float(one.removeprefix(line)) for one in told if one.startswith(line)]
            return found

        rows: list[Features] = [{"a": a, "b": 1.0} for a in (6.0, 5.0, 4.0)]
        pushes = [abs(one.contributions[0]) for one in learner.explain_many(rows)]
        assert gauge() == pytest.approx(sum(pushes) / 3, rel=1e-12)
        saved = [await store.read_state(f"score.{p}", IMPORTANCE) for p in (0, 1)]
        assert [decode_means(data or b"").n for data in saved] == [2, 1]
        worker.forget_lane(lanes[0])
        assert gauge() == pytest.approx(pushes[2], rel=1e-12)

    asyncio.run(main())
