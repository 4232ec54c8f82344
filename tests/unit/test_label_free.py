"""Drift that a worker sees in what it scores, before any label."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from models import DriftSettings
from models.stores.memory import MemoryStore
from models.types import DriftSignal
from stream import topics
from stream.decoding import EventDecoder
from stream.label_free import LabelFree
from stream.learners import new_learner
from stream.score import ScoreHandler
from stream.scorer import ModelInForce
from stream.settings import Settings
from tests.arms import make_arms
from tests.memory_logs import MemoryRecord

BEGAN_S = 1_700_000_000
EVERY_S = 60


class WatchedLane:
    """A score lane whose worker watches what it scores: an event a minute."""

    def __init__(self, drift: DriftSettings) -> None:
        features = {"x": {}, "shop": {"type": "integer"}}
        settings = Settings(event={"time": "t", "time_format": "epoch_s", "features": features})
        self.watch = LabelFree(drift, "host-a:1", lambda: 7.0)
        self._rng = random.Random(1)
        self._n = 0
        self._store = MemoryStore(ttl=1e9)
        self._handler = ScoreHandler(
            0,
            topic="app.events",
            decoder=EventDecoder(settings.event),
            scorer=ModelInForce(lambda: new_learner(settings), lambda: 7.0, 60.0),
            arms=make_arms(self._store),
            store=self._store,
            task=settings.model.task,
            threshold=0.5,
            ttl=1e9,
            observe=self.watch.observe,
        )

    def score(self, n: int, means: tuple[float, ...]) -> list[DriftSignal]:
        """Score events of as many shops as there are means; gives the confirmed drift."""
        asyncio.run(self._score(n, means))
        return [signal for signal in self.watch.take() if signal.level == "confirmed"]

    async def _score(self, n: int, means: tuple[float, ...]) -> None:
        await self._handler.open(await self._store.acquire("score.0"))
        records = [self._record(means) for _ in range(n)]
        for start in range(0, n, 100):
            await self._handler.absorb(records[start : start + 100], self._n, 7.0)

    def _record(self, means: tuple[float, ...]) -> MemoryRecord:
        i, self._n = self._n, self._n + 1
        shop = self._rng.randrange(len(means))
        t, x = BEGAN_S + EVERY_S * i, self._rng.gauss(means[shop], 1.0)
        event = {"id": f"e{i}", "t": t, "x": x, "shop": shop}
        return MemoryRecord(i, json.dumps(event).encode(), timestamp=t * 1000)


def test_the_lane_shows_what_it_scores() -> None:
    """A feature that moves is told once, with the event's time and an id that names the worker."""
    lane = WatchedLane(DriftSettings())
    assert lane.score(4_000, (0.0,)) == []
    (told,) = lane.score(4_000, (2.0,))
    assert (told.kind, told.what) == ("data", "x")
    assert told.since == pytest.approx(4_000, abs=500)
    assert told.event_time == BEGAN_S + EVERY_S * told.position
    assert lane.watch.take() == []

    record = lane.watch.record_of(told)
    body = json.loads(record.value)
    assert record.topic == topics.DRIFT.name
    assert body["id"] == f"host-a:1-7000-{told.position}-x-confirmed"
    assert body["action"] == "none"
    assert body["segment"] is None
    assert body["moved"][0]["after"] == pytest.approx(2.0, abs=0.3)


def test_what_moves_in_one_segment_is_told_with_its_name() -> None:
    """One shop of four: the others' references know nothing of it."""
    lane = WatchedLane(DriftSettings(segment="shop"))
    assert lane.score(10_000, (0.0, 0.0, 0.0, 0.0)) == []
    told = [s for s in lane.score(8_000, (0.0, 3.0, 0.0, 0.0)) if s.segment is not None]
    assert told
    assert {(s.what, s.kind, s.subject) for s in told} == {("segment", "data", "x in shop=1")}
    body = json.loads(lane.watch.record_of(told[0]).value)
    assert body["segment"] == {"field": "shop", "value": "1", "what": "x"}
    assert body["id"] == f"host-a:1-7000-{told[0].position}-segment-x-confirmed"
