"""What policies do in a live lane: on the audit and on the drift topic, the same after a crash."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from models.types import Example
from stream import topics
from stream.messages import decode_audit
from stream.settings import Settings
from tests.learn_lane import LearnLane

N_EACH = 500


def settings_of(policy: str) -> Settings:
    """Configure a lane that cuts versions often."""
    return Settings(
        event={"features": {"x": {}}},
        versions={"every_n": 100, "interval": 1e9, "keep": 50},
        drift={"policy": policy, "bakeoff_n": 40},
    )


def examples() -> list[Example]:
    """Make a log whose concept turns half-way, with the scores of a model that does not know."""
    return [
        Example(
            f"e{i}", {"x": float(i % 7)}, (i % 7 > 3) != (i >= N_EACH), float(i % 7 > 3), "v1-0",
            0, 1_000.0 + i, 2_000.0 + i, "labels/0", i, i,
        )
        for i in range(2 * N_EACH)
    ]  # fmt: skip


async def published(policy: str, stop_at: int = 0) -> list[tuple[str, bytes]]:
    """Run a log through a lane, perhaps with a crash; gives audit and drift records."""
    lane = LearnLane(settings_of(policy))
    await lane.start()
    log = examples()
    lane.feed(*log[:stop_at])
    await lane.settle(steps=20)
    told = said(lane)
    if stop_at:
        await lane.start()
    lane.feed(*log[stop_at:])
    await lane.settle(steps=20)
    assert lane.learner.position == len(log)
    return told + said(lane)


def said(lane: LearnLane) -> list[tuple[str, bytes]]:
    """Give what went to the audit and to the drift topic since the lane started."""
    wanted = (topics.AUDIT.name, topics.DRIFT.name)
    return [(m.topic, m.value) for m in lane.published if m.topic in wanted]


def test_each_step_is_on_the_audit_and_on_the_drift() -> None:
    """Start, comparison and swap; what comes later repeats the drift with what was done."""
    told = asyncio.run(published("retrain"))
    audit = [decode_audit(body) for topic, body in told if topic == topics.AUDIT.name]
    drifts: list[dict[str, Any]] = [json.loads(b) for t, b in told if t == topics.DRIFT.name]
    assert [(a.who, a.what, a.outcome) for a in audit] == [
        ("policy retrain", "started", "applied"),
        ("policy retrain", "swapped", "applied"),
    ]
    assert "error worsened from" in audit[1].why
    assert len({a.id for a in audit}) == 2
    assert audit[1].time == pytest.approx(1_000.0 + N_EACH, abs=200)
    actions = [drift["action"] for drift in drifts]
    assert actions[0].startswith("retrain: a background learner starts")
    assert actions[-1].startswith("retrain: swapped, the background learner's mean loss lower by")
    assert drifts[-1]["since"] == drifts[0]["since"] == pytest.approx(N_EACH, abs=40)
    assert drifts[-1]["position"] > drifts[0]["position"]
    assert len({drift["id"] for drift in drifts}) == len(drifts)


@pytest.mark.parametrize("stop_at", [500, 560, 700])
def test_after_a_crash_the_same_is_told_again_byte_for_byte(stop_at: int) -> None:
    """Repetitions can be told by their ids; none differs."""
    undisturbed = asyncio.run(published("retrain"))
    assert set(asyncio.run(published("retrain", stop_at))) == set(undisturbed)


def test_alert_tells_of_drift_and_does_nothing() -> None:
    """The default leaves the model alone and the audit empty."""
    told = asyncio.run(published("alert"))
    assert {topic for topic, _ in told} == {topics.DRIFT.name}
    assert {json.loads(body)["action"] for _, body in told} == {"none"}
