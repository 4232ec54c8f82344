"""A stage gives events what their entities' pasts say, batch by batch, as one after the other."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from models.features import (
    CalendarFeatures,
    EntitySpec,
    LabelFact,
    RiskSpec,
    Stat,
    WindowSpec,
    hash_of,
)
from models.stores.memory import MemoryStore
from stream.decoding import Event
from stream.derived import Stage
from stream.messages import FeatureFields
from stream.ports import Outcome

FIELDS = FeatureFields(["amount", "shop"])


def a_stage() -> Stage:
    window = WindowSpec((100.0,), (Stat.COUNT, Stat.MEAN), "amount")
    spec = EntitySpec("card", (window,), (RiskSpec((50.0,), delay=10.0),))
    return Stage(FIELDS, "card", spec, calendar=CalendarFeatures(("hour",)))


def event(event_id: str, time: float, amount: float | None = 1.0, card: str | None = "c") -> Event:
    values = (amount, "s")
    return Event(event_id, time, card, values, FIELDS.features(values), (0, 7))


def test_features_stand_under_their_names() -> None:
    """The event's own, the calendar's, the entity's; without an entity those are left out."""
    stage = a_stage()
    known, unknown = stage.extend([event("a", 3600.0, 4.0), event("b", 7200.0, card=None)])
    assert known.features == {
        "amount": 4.0, "shop": "s", "time.hour": 1.0, "card.count.100s": 1.0,
        "card.amount.mean.100s": 4.0, "card.risk_count.50s": 0.0, "card.risk.50s": 0.0,
    }  # fmt: skip
    assert known.values == tuple(known.features.values())
    assert list(known.features) == list(stage.fields.names)
    assert unknown.features == {"amount": 1.0, "shop": "s", "time.hour": 2.0}
    assert len(unknown.values) == len(known.values)
    assert (known.event_id, known.event_time, known.entity, known.origin) == (
        "a",
        3600,
        "c",
        (0, 7),
    )


def test_a_label_counts_for_the_events_behind_it() -> None:
    """In a batch as in many: facts stand where they stand in the log."""
    said = LabelFact("c", hash_of("a"), 0.0, 1, positive=True)
    log: list[Event | LabelFact] = [
        event("a", 0.0),
        event("b", 20.0),
        said,
        event("c", 21.0),
        event("d", 22.0),
    ]

    async def risks(size: int) -> list[object]:
        stage, store = a_stage(), MemoryStore(ttl=100.0)
        lease = await store.acquire("score.0")
        stage.open(lease)
        found: list[object] = []
        for start in range(0, len(log), size):
            outcome = Outcome(counts=Counter())
            events = await stage.pass_through(log[start : start + size], lease, store, outcome)
            await store.commit(lease, start, outcome.changes, None, outcome.keyed)
            found += [e.features["card.risk.50s"] for e in events]
        return found

    for size in (1, 2, 5):
        assert asyncio.run(risks(size)) == [0.0, 0.0, 1.0, 1.0]


def test_a_refused_event_leaves_the_stage_as_it_was() -> None:
    """The batch is not half counted: what comes after it finds no trace."""
    stage = a_stage()
    with pytest.raises(TypeError):
        stage.extend([event("a", 1.0), event("b", 2.0, amount=None)])
    (after,) = stage.extend([event("a", 1.0)])
    assert after.features["card.count.100s"] == 1.0
