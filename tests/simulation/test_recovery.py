"""Redis loses everything in the middle; rebuilt from the logs, the run ends as if it had not."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from models import checkpoint
from models.lineage import Segment
from models.types import Example
from stream.learners import new_learner
from stream.messages import decode_audit
from stream.outcomes import RecoveryImpossible
from stream.recovery import WITHOUT_FEATURES, Recovered, Recovery
from tests.simulation import scenario
from tests.simulation.oracle import (
    check,
    every_label_accounted_for_once,
    one_decision_an_event,
    recovered_equals_replayed,
)
from tests.simulation.test_commands import check_outcomes, command, some_commands
from tests.simulation.world import Faults, LogRecord, SimWorker, World

SEEDS = [164, *range(100)]
FAULTS = Faults(crash=0.004, handover=0.004, zombie=0.006, redelivery=0.1)
BIRTH = b"born again"

reached: Counter[str] = Counter()


class Placed(NamedTuple):
    """A record that knows its partition, as Kafka's clients give it."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class WorldReader:
    """The world's log, read as `stream.kafka_log.Log` reads Kafka; `first` is what is kept."""

    def __init__(self, world: World, first: Mapping[tuple[str, int], int] = {}) -> None:
        self._records = world.log.records
        self._first = first
        self._short = {f"sim.{topic}": topic for topic, _ in world.log.records}

    def ends(self, topic: str) -> dict[int, tuple[int, int]]:
        short = self._short[topic]
        return {
            p: (self._first.get((name, p), 0), len(records))
            for (name, p), records in self._records.items()
            if name == short
        }

    def read(self, topic: str, ends: Any = None) -> Iterator[list[Placed]]:
        for p, (first, end) in (ends or self.ends(topic)).items():
            records: list[LogRecord] = self._records[self._short[topic], p][first:end]
            for start in range(0, len(records), 3):
                yield [Placed(p, *record) for record in records[start : start + 3]]


def lose(world: World) -> dict[str, dict[int, int]]:
    """Empty the store and kill the workers; give what they had committed to Kafka by then.

    Zombies too: one that had stored a decision in the lost store would publish it later, and
    nobody could know. That is why the command wants all workers stopped.
    """
    committed: dict[str, dict[int, int]] = {"events": {}, "labels": {}}
    for lane, position in world.store._positions.items():
        kind, _, partition = lane.partition(".")
        topic = {"score": "events", "label": "labels"}.get(kind)
        # Commits to Kafka come a while after those to the store; some lanes never got to it.
        if topic is not None and world.rng.random() < 0.7:
            committed[topic][int(partition)] = max(0, position - world.rng.randrange(5))
    world.store.__init__(ttl=world.settings.join.ttl)  # type: ignore[misc]
    world.positions = {}
    for process in (*world.workers, *world._zombies):
        for step in process.running.values():
            step.close()
    world._zombies = []
    return committed


def recover(world: World, committed: dict[str, dict[int, int]], store: Any) -> Recovered:
    """Run the recovery on the world's log."""
    reader = WorldReader(world)
    recovery = Recovery(
        world.settings,
        log=reader,
        events_log=reader,
        committed=committed,
        learner=new_learner(world.settings),
    )
    return asyncio.run(recovery.run(store, world.clock.now(), BIRTH))


def restart(world: World) -> None:
    """Start workers anew, on what was recovered."""
    world.told_from = len(world.log.all("examples"))
    world.workers = [SimWorker(world) for _ in world.workers]
    for key in world._lane_keys():
        world._give(key, world.rng.randrange(len(world.workers)))


def halves(seed: int) -> tuple[World, list[Any], list[Any]]:
    rng = random.Random(seed)
    world = World(
        scenario.settings(corrections=("learn", "refuse")[seed % 4 == 3]),
        seed,
        n_workers=rng.randrange(1, 4),
        batch=rng.randrange(1, 6),
        faults=FAULTS,
    )
    fed = scenario.records(rng, 40, step=10.0)
    middle = rng.randrange(10, len(fed) - 10)
    return world, fed[:middle], fed[middle:]


def feed(world: World, fed: list[Any]) -> None:
    """As `World.run`, without letting all settle at the end."""
    settle, world.settle = world.settle, lambda: None  # type: ignore[method-assign]
    world.run(fed, seconds_a_record=0.5)
    world.settle = settle  # type: ignore[method-assign]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lost_store_changes_nothing(seed: int) -> None:
    """No decision changes, each label is learned once, the learner is the fold of the log."""
    world, before, after = halves(seed)
    feed(world, before)
    lengths = {place: len(records) for place, records in world.log.records.items()}
    published = {r.key: r.value for r in world.log.all("scores")}
    committed = lose(world)
    told = recover(world, committed, None)
    assert world.store._positions == {}, "a dry run writes nothing"
    found = recover(world, committed, world.store)
    assert (found.positions, found.n_waiting) == (told.positions, told.n_waiting)
    assert asyncio.run(world.store.birth()) == BIRTH
    again = recover(world, committed, world.store)
    assert again == found, "a second time changes nothing"
    restart(world)
    world.run(after, seconds_a_record=0.5)
    check(world)

    note(world, lengths, published)
    reached["waiting again"] += found.n_waiting
    reached["pending"] += found.n_pending
    reached["learned"] += found.n_learned
    reached["lanes without committed offset"] += 4 - sum(map(len, committed.values()))


def note(
    world: World, lengths: Mapping[tuple[str, int], int], published: Mapping[bytes | None, Any]
) -> None:
    """Note what came after the loss, of what was settled before."""
    for (topic, partition), all_records in world.log.records.items():
        records = all_records[lengths[topic, partition] :]
        if topic == "scores":
            reached["decisions published again"] += sum(r.key in published for r in records)
        if topic == "dead-letters":
            reached.update(json.loads(r.value or b"")["reason"] for r in records)
    note_examples(world.examples(), lengths["examples", 0])


def note_examples(examples: Sequence[Example], n_before: int) -> None:
    """Note which ways of learning the loss came between."""
    before = {e.event_id: e for e in examples[:n_before]}
    for e in examples[n_before:]:
        silent = e.origin.startswith("silence/")
        reached["negatives"] += silent
        reached["waiting again, learned"] += e.origin.startswith("waited/")
        if e.event_id in before and e.revision == before[e.event_id].revision + 1:
            reached["corrections"] += 1
            reached["corrections of silence"] += before[e.event_id].origin.startswith("silence/")
            reached["corrections of own features"] += before[e.event_id].score is None
            reached["second corrections"] += e.revision > 2
    reached["negatives before"] += sum(e.origin.startswith("silence/") for e in before.values())


def learn_state(world: World) -> tuple[dict[str, bytes], tuple[Segment, ...]]:
    """Give what is stored of the learn lane: its state, and the segments of the newest version."""
    newest = asyncio.run(world.store.newest_version())
    segments: tuple[Segment, ...] = ()
    if newest is not None:
        segments = checkpoint.peek(asyncio.run(world.store.read_meta(newest)))[0].segments
    return dict(world.store._states.get("learn.0", {})), segments


@pytest.mark.parametrize("seed", range(40))
def test_what_commands_led_to_survives_a_lost_store(seed: int) -> None:
    """The lineage in force, frozen or not; each command has one outcome, whenever it was lost."""
    world, before, after = halves(seed)
    rng = random.Random(seed)
    places = sorted(rng.randrange(len(before) // 3, len(before)) for _ in range(5))
    commands = some_commands(rng, 4)
    if seed % 2:  # The last one thaws: let it come after the loss.
        commands[-1:] = [command(5, "freeze")]
        after.insert(0, ("control", 0, command(6, "thaw")))
    for place, body in reversed(list(zip(places, commands, strict=True))):
        before.insert(place, ("control", 0, body))
    feed(world, before)
    state_before, segments_before = learn_state(world)
    told = {decode_audit(record.value or b"").id for record in world.log.all("audit")}
    committed = lose(world)
    found = recover(world, committed, world.store)
    state, segments = learn_state(world)
    if state.get("control") == state_before.get("control"):
        assert (found.frozen, segments) == ("frozen" in state_before, segments_before)
        reached["nothing undecided"] += 1
        reached["later lineage recovered"] += len(segments) > 0
        reached["frozen recovered"] += found.frozen
    assert recover(world, committed, world.store) == found, "a second time changes nothing"
    restart(world)
    world.run(after, seconds_a_record=0.5)
    check(world)
    check_outcomes(world)
    reached["decided after the loss"] += len(told) < len(world.log.all("control"))


CASES = (
    "decisions published again",
    "waiting again",
    "waiting again, learned",
    "pending",
    "learned",
    "lanes without committed offset",
    "negatives before",
    "negatives",
    "corrections",
    "second corrections",
    "corrections of silence",
    "corrections of own features",
    "duplicate_label",
    "correction_refused",
    "nothing undecided",
    "later lineage recovered",
    "frozen recovered",
    "decided after the loss",
)


@pytest.mark.parametrize("seed", range(8))
def test_a_lost_store_with_re_keyed_logs_changes_no_decision(seed: int) -> None:
    """Entities begin anew; each event is decided once, each label learned once."""
    rng = random.Random(seed)
    settings = scenario.settings(windows="cards and shops", negative_after=0.0)
    world = World(settings, seed, n_workers=2, batch=3, faults=FAULTS)
    fed = scenario.records(rng, 30, step=10.0, shops=True)
    feed(world, fed[:20])
    published = {r.key: r.value for r in world.log.all("scores")}
    committed = lose(world)
    found = recover(world, committed, world.store)
    assert found.gone[WITHOUT_FEATURES] == found.n_pending
    restart(world)
    world.run(fed[20:], seconds_a_record=0.5)
    decisions = one_decision_an_event(world)
    assert published.items() <= {i.encode(): body for i, body in decisions.items()}.items()
    every_label_accounted_for_once(world)
    recovered_equals_replayed(world)


def test_what_was_silent_in_a_re_keyed_log_is_not_recovered() -> None:
    """It says so before anything is dropped."""
    world = World(scenario.settings(windows="cards and shops"), 0)
    with pytest.raises(RecoveryImpossible, match="negative_after"):
        recover(world, lose(world), world.store)


def test_every_case_was_reached() -> None:
    """A property that was never put to the test says nothing."""
    if sum(reached.values()) == 0:
        pytest.skip("run with the seeds of this module")
    for what in CASES:
        assert reached[what] > 0, f"no seed reached: {what}"
