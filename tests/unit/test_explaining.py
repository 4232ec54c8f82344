"""The score lane gives alerts their reasons: those of the model that scored, for good."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from models.reasons import Reason, Reasons
from models.stores.memory import MemoryStore
from models.types import Example
from stream.arms import Arm
from stream.decoding import EventDecoder
from stream.learners import new_learner
from stream.messages import Pending, decision_of, decode_decision, decode_pending, encode_json
from stream.messages import encode_pending as encode
from stream.metrics import WorkerMetrics
from stream.ports import Record
from stream.score import ScoreHandler
from stream.scorer import ModelInForce
from stream.settings import Settings
from tests.arms import make_arms

NAMES = {"a": "payments in an hour"}


def examples(start: int, n: int) -> list[Example]:
    """Make examples that are positive where the feature is high."""
    return [
        Example(f"x{i}", {"a": i % 7, "b": 1.0}, i % 7 > 3, 0.5, "v1-0", 0, i, i, "labels/0", i, i)
        for i in range(start, start + n)
    ]


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
        self.explaining = self.settings.reasons.explaining(self.settings.model.task)
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
            explaining=self.explaining,
        )

    def learn(self, start: int, n: int) -> None:
        """Let the model learn."""
        self.learner.absorb(examples(start, n), range(start, start + n))

    async def open(self) -> None:
        """Get the lane."""
        await self.handler.open(await self.store.acquire("score.0"))

    async def score(self, *values: float, first: int = 0) -> dict[str, list[bytes]]:
        """Score events, and give what is published by topic."""
        records: list[Record] = [
            FakeRecord(
                first + i,
                json.dumps({"id": f"e{first + i}", "card": "c1", "a": a, "b": 1}).encode(),
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
        assert lane.explaining is not None
        importance = lane.explaining.importance

        def mean(*values: float) -> float:
            told = lane.learner.explain_many([{"a": a, "b": 1.0} for a in values])
            return sum(abs(one.contributions[0]) for one in told) / len(told)

        assert importance.values() == {"a": mean(5.0, 4.5), "b": 0.0}
        lane.arms.go_live([(Arm("tree", 1.0, 0.0, "v2-0"), lane.learner)])
        published = await lane.score(6.0, first=9)
        assert decode_decision(published["alerts"][0]).arm == "tree"
        # The champion has scored it as well, so it is there once.
        expected = mean(4.5, 6.0)
        metrics = WorkerMetrics()
        metrics.set_importance(importance)
        line = 'driftline_feature_importance{feature="a",unit="log_odds"} '
        assert f"{line}{expected}\n" in metrics.exposition().decode()

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
