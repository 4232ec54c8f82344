"""What the logs no longer hold is counted, and what does not belong together is refused."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from typing import Any

import pytest

from models.lineage import Course, Fresh, Segment
from models.stores.memory import MemoryStore
from stream import decided, recovery
from stream.learners import learner_before, new_learner
from stream.messages import AuditRecord, decode_pending, decode_pending_fields, encode_json
from stream.recovery import Recovered, Recovery, RecoveryImpossible
from stream.replay import LogIncomplete
from stream.settings import Settings
from tests.simulation import scenario
from tests.simulation import test_arms as arms
from tests.simulation.test_recovery import WorldReader
from tests.simulation.world import World


@pytest.fixture(scope="module")
def world() -> World:
    """A run without faults, settled; some events became negatives, for others it is early."""
    world = World(scenario.settings(), seed=5)
    fed = scenario.records(random.Random(5), 60)
    fed = [record for record in fed if b'"last' not in (record[2] or b"")]
    world.run(fed, seconds_a_record=0.5)
    return world


def recover(
    world: World,
    store: MemoryStore | None = None,
    *,
    settings: Settings | None = None,
    first: Mapping[tuple[str, int], int] | None = None,
    committed: Mapping[str, Mapping[int, int]] | None = None,
) -> Recovered:
    settings = settings or world.settings
    reader = WorldReader(world, first or {})
    one = Recovery(
        settings,
        log=reader,
        events_log=reader,
        committed=committed or {},
        learner=new_learner(settings),
    )
    return asyncio.run(one.run(store, 1e6, b"born"))


def distinct(world: World) -> list[dict[str, Any]]:
    values = {record.value or b"" for record in world.log.all("scores")}
    return [json.loads(value) for value in values]


def test_a_whole_log_gives_everything_back(world: World) -> None:
    """Pending records byte for byte, feature names, watermarks, the version."""
    store = MemoryStore(ttl=world.settings.join.ttl)

    found = recover(world, store)

    for generation, records in store._pending.items():
        assert records == world.store._pending[generation]
    assert found.n_pending == sum(map(len, store._pending.values())) > 20
    pending = next(record for records in store._pending.values() for record in records.values())
    names = asyncio.run(store.load_fields())[decode_pending_fields(pending)]
    assert names == list(world.settings.event.features)
    assert len(decode_pending(pending).values) == len(names)
    for lane, mark in store._watermarks.items():
        if lane.startswith("score."):
            assert mark == world.store._watermarks.get(lane, mark)
    assert found.fingerprint == world.learner().fingerprint()
    assert asyncio.run(store.newest_version()) == found.version
    whole = {what: n for what, n in found.gone.items() if n}
    assert set(whole) <= {recovery.NO_DECISION}, "ids that came twice"


def test_decisions_of_challengers_come_back_with_their_arms() -> None:
    """Byte for byte as well: a redelivered event says who decided it."""
    world = World(arms.settings(), seed=5, polls=True)
    fed = scenario.records(random.Random(5), 60)
    fed = [record for record in fed if b'"last' not in (record[2] or b"")]
    fed[20:20] = [("control", 0, body) for body in arms.adding()]
    world.run(fed, seconds_a_record=0.5)
    store = MemoryStore(ttl=world.settings.join.ttl)

    recover(world, store)

    found = {k: v for records in store._pending.values() for k, v in records.items()}
    kept = {k: v for records in world.store._pending.values() for k, v in records.items()}
    assert found == {k: kept[k] for k in found}
    assert {decode_pending(record).arm for record in found.values()} == {None, "same", "tree"}


def test_events_that_labels_can_no_longer_reach_stay_away(world: World) -> None:
    """Workers would drop them with the first batch; memory must not swell before."""
    ttl = world.settings.join.ttl
    by_lane: dict[int, float] = {}
    for score in distinct(world):
        lane = score["partition"]
        by_lane[lane] = max(by_lane.get(lane, 0.0), score["event_time"])
    oldest = min(by_lane.values()) - ttl / 4
    expected = sum(score["event_time"] >= oldest for score in distinct(world))
    short = world.settings.model_copy(
        update={
            "join": world.settings.join.model_copy(update={"ttl": ttl / 4, "negative_after": 0.0})
        }
    )

    store = MemoryStore(ttl=ttl / 4)

    assert 0 < recover(world, store, settings=short).n_pending == expected < len(distinct(world))


def test_decisions_without_their_events_are_counted(world: World) -> None:
    """The events were removed by retention."""
    found = recover(world, first={("events", 0): 20})

    lost = [r for r in world.log.all("scores") if (s := json.loads(r.value or b""))["offset"] < 20
            and s["partition"] == 0]  # fmt: skip
    assert 0 < found.gone[decided.NO_EVENT] <= len(lost)
    assert found.gone[recovery.NEVER_TAKEN] == 0
    committed = {"events": {0: 15}}
    found = recover(world, first={("events", 0): 20}, committed=committed)
    assert found.gone[recovery.NEVER_TAKEN] == 5
    assert found.positions["score.0"] == 15, "the worker says that records are missing"


def test_events_that_were_decided_under_another_configuration_are_counted(world: World) -> None:
    """A range was narrowed: they were valid then."""
    data = world.settings.model_dump()
    data["event"]["features"]["x"]["min"] = 0.0
    found = recover(world, settings=Settings(**data))

    assert found.gone[decided.UNREADABLE_EVENTS] > 10
    assert found.n_pending > 10


def test_another_task_is_refused(world: World) -> None:
    """Its decisions would be others than those published."""
    data = world.settings.model_dump()
    data["model"] |= {"task": "regression", "pipeline": "linear-regression"}
    data["join"]["negative_after"] = 0.0

    with pytest.raises(RecoveryImpossible, match=r"model\.task"):
        recover(world, settings=Settings(**data))


def test_missing_examples_are_refused_and_no_worker_starts(world: World) -> None:
    """A model that looks right and is another would be worse than none."""
    store = MemoryStore(ttl=world.settings.join.ttl)

    with pytest.raises(LogIncomplete):
        recover(world, store, first={("examples", 0): 1})

    assert asyncio.run(store.birth()) is None


def test_a_topic_that_was_made_anew_is_refused(world: World) -> None:
    """Its offsets mean other records."""
    with pytest.raises(RecoveryImpossible, match=r"sim\.labels/1, which ends at"):
        recover(world, committed={"labels": {1: 10_000}})


def test_a_champion_that_was_promoted_is_rebuilt_as_it_began(world: World) -> None:
    """By its own pipeline and seed, which are not the configured ones."""
    fresh = Fresh(pipeline="hoeffding-tree", seed=9)
    segment = Segment(lineage=2, base="v1-0", start=0, command="c1", fresh=fresh)
    audit = AuditRecord(
        id="c1", who="ana", what="promote", subject="", outcome="applied", reason="", detail="",
        time=0.0, version="v2-7", segments=(segment,),
    )  # fmt: skip
    world.log.append("audit", 0, None, encode_json(audit))
    try:
        found = recover(world)
    finally:
        world.log.records["audit", 0].pop()
    examples = world.examples()
    twin = learner_before(world.settings, (segment,))
    Course(twin, (segment,)).absorb(examples, range(len(examples)))
    assert twin.pipeline != new_learner(world.settings).pipeline
    assert (found.version, found.fingerprint) == (twin.version_id, twin.fingerprint())
