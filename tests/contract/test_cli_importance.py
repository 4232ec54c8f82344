"""Which features matter, on the command line: of what score lanes saved, wherever they run."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from models.learner import Learner
from models.stores.redis import RedisStore
from models.types import Features
from stream.arms import Arms
from stream.decoding import EventDecoder
from stream.learners import new_learner
from stream.replay import fold
from stream.score import ScoreHandler
from stream.scorer import ModelInForce
from tests.arms import make_arms
from tests.contract.test_cli_with_servers import Application, application, example

__all__ = ["application"]


class EventRecord(msgspec.Struct):
    """A record of the events topic."""

    offset: int
    value: bytes
    key: bytes | None = None
    timestamp: int = 1_000
    headers: tuple[()] = ()


def trained(one: Application) -> Learner:
    """A learner that has seen 500 examples."""
    learner = new_learner(one.settings)
    list(fold(learner, [[(i, example(i, label=i % 7 > 3)) for i in range(500)]]))
    return learner


def score(one: Application, learner: Learner, partition: int, values: list[float]) -> None:
    """Score events of a partition, and stop, as the worker that owns it does."""
    settings = one.settings

    async def do(store: RedisStore) -> None:
        model = ModelInForce(lambda: new_learner(settings), lambda: 0.0, 9.0)
        model.go_live(learner, learner.version_id, None)
        arms: Arms = make_arms(store)
        handler = ScoreHandler(
            partition,
            topic="events",
            decoder=EventDecoder(settings.event),
            scorer=model,
            arms=arms,
            store=store,
            task=settings.model.task,
            threshold=settings.model.threshold,
            ttl=settings.join.ttl,
            explaining=settings.reasons.explaining(settings.model.task),
        )
        lease = await store.acquire(f"score.{partition}")
        await handler.open(lease)
        bodies = [
            json.dumps({"id": f"{partition}-{i}", "card": "c", "a": a}).encode()
            for i, a in enumerate(values)
        ]
        records: list[Any] = [EventRecord(i, body) for i, body in enumerate(bodies)]
        outcome = await handler.absorb(records, 0, 0.0)
        await store.commit(lease, len(records), outcome.changes)
        if (last := handler.final(1_700_000_000.0 + partition)) is not None:
            await store.commit(lease, len(records), last.changes)

    one.store(do)


def test_importance_is_over_all_partitions(application: Application) -> None:
    """Two workers have saved theirs, and no worker runs: the mean is that of all their alerts."""
    learner = trained(application)
    rows: list[Features] = [{"a": float(i % 7)} for i in range(60)]
    alerts = [
        row
        for row, said in zip(rows, learner.score_many(rows), strict=True)
        if isinstance(said, float) and said >= application.settings.model.threshold
    ]
    assert 0 < len(alerts) < len(rows)
    values = [float(row["a"]) for row in rows]
    score(application, learner, 0, values[:50])
    score(application, learner, 3, values[50:])
    score(application, learner, 1, [])

    found = application.run_json("importance")

    pushes = [abs(told.contributions[0]) for told in learner.explain_many(alerts)]
    assert found["features"]["a"] == pytest.approx(sum(pushes) / len(pushes), rel=1e-12)
    assert {name: found[name] for name in ("of", "n", "unit", "partitions", "time")} == {
        "of": "alerts",
        "n": len(alerts),
        "unit": "log_odds",
        "partitions": [0, 3],
        "time": 1_700_000_003.0,
    }
    shown = application.run("importance").stdout
    assert f"the last {len(alerts)} alerts, in log-odds" in shown
    assert "of 2 partition(s), saved until 2023-11-14 22:13:23Z" in shown


def test_before_the_first_alert_there_is_nothing_to_show(application: Application) -> None:
    """Which is no error: it says so."""
    assert "no alerts have been explained yet" in application.run("importance").stdout
    score(application, trained(application), 0, [0.0])
    found = application.run_json("importance")
    assert (found["n"], found["features"], found["partitions"]) == (0, {}, [])
