"""The clocks, read from decisions and examples as they are published."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest

from models.prequential import Prequential
from models.types import Task
from stream.clocks import Clocks, Follower, Reading
from stream.messages import decode_decision, decode_example
from stream.metrics import ClockMetrics
from tests.simulation import scenario
from tests.simulation.test_recovery import WorldReader
from tests.simulation.world import Faults, World


class Placed(NamedTuple):
    partition: int
    value: bytes | None


def read(world: World, threshold: float = 0.5, ttl: float = 1e9) -> Reading:
    clocks = Clocks(world.settings.model.task, threshold=threshold, rolling_n=20, ttl=ttl)
    clocks.note_examples([Placed(0, one.value) for one in world.log.all("examples")])
    for (topic, partition), records in world.log.records.items():
        if topic == "scores":
            for start in range(0, len(records), 5):
                part = records[start : start + 5]
                clocks.note_decisions([Placed(partition, one.value) for one in part])
    return clocks.read()


@pytest.mark.parametrize("seed", range(6))
def test_every_event_and_every_label_counts_once(seed: int) -> None:
    """Also where a crash has published them twice, an id came again, or a label was corrected."""
    world = World(scenario.settings(), seed, faults=Faults(crash=0.004, redelivery=0.1))
    world.run(scenario.records(random.Random(seed), 60), seconds_a_record=0.5)
    found = read(world, threshold=0.4)
    decisions = {one.event_id: one for one in
                 (decode_decision(r.value or b"") for r in world.log.all("scores"))}  # fmt: skip
    examples = {
        (one.event_id, one.revision): one
        for one in (decode_example(r.value or b"") for r in world.log.all("examples"))
        if one.score is not None
    }
    first = [one for one in examples.values() if one.revision == 1]
    assert sum(one.n for one in found.coverage) == len(decisions)
    assert sum(one.n_labelled for one in found.coverage) == len(first) < len(decisions)
    assert found.n_silent == sum(one.origin.startswith("silence/") for one in first) > 0
    assert found.matured["n"] == len(examples)
    waiting = decisions.keys() - {one.event_id for one in first}
    assert found.estimated is not None and found.estimated.n == len(waiting)
    by_hand = [
        one.score if one.model_position > 0 and one.score >= 0.4 else 1.0 - one.score
        for one in (decisions[name] for name in waiting)
        if isinstance(one.score, float)
    ]
    assert found.estimated.metrics["accuracy"] == pytest.approx(sum(by_hand) / len(by_hand))
    prequential = Prequential(Task.BINARY, 20)
    values = examples.values()
    prequential.observe([one.label for one in values if one.label is not None],
                        [one.score for one in values if one.score is not None], 0.4)  # fmt: skip
    assert found.matured["total"]["accuracy"] == prequential.values()["total"]["accuracy"]


def test_events_older_than_the_ttl_do_not_wait() -> None:
    """No label can reach them; neither coverage nor the estimate is about them."""
    world = World(scenario.settings(), 1)
    world.run(scenario.records(random.Random(1), 60), seconds_a_record=0.5)
    whole, young = read(world), read(world, ttl=300.0)
    assert young.estimated is not None and whole.estimated is not None
    assert 0 < sum(one.n for one in young.coverage) < sum(one.n for one in whole.coverage)
    assert young.estimated.n <= whole.estimated.n


@pytest.mark.parametrize(
    ("task", "score", "expected"),
    [
        (Task.MULTICLASS, b'{"a": 0.7, "b": 0.3}', {"accuracy": pytest.approx(0.7)}),
        (Task.REGRESSION, b"17.5", None),
        (Task.ANOMALY, b"0.9", None),
    ],
)
def test_other_tasks_have_what_makes_sense(task: Task, score: bytes, expected: object) -> None:
    """A likeliest class has a chance; a value or an anomaly score has none."""
    clocks = Clocks(task, threshold=0.5, rolling_n=20, ttl=100.0)
    clocks.note_decisions([
        Placed(0, b'{"event_id":"e","score":%b,"decision":null,"threshold":0.5,"version":"v1-1",'
        b'"model_position":1,"event_time":5.0,"entity":null,"partition":0,"offset":0,'
        b'"stale":false}' % score)
    ])  # fmt: skip
    found = clocks.read()
    assert (None if found.estimated is None else found.estimated.metrics) == expected
    assert [(one.n, one.n_labelled) for one in found.coverage] == [(1, 0)]


def test_what_has_come_since_is_read_on() -> None:
    """In two steps or in one; and what is no more is not shown any more."""
    world = World(scenario.settings(), 2)
    fed = scenario.records(random.Random(2), 60)
    world.run(fed[:60], seconds_a_record=0.5)

    def follower() -> Follower:
        clocks = Clocks(Task.BINARY, threshold=0.5, rolling_n=20, ttl=250.0)
        return Follower(clocks, WorldReader(world), "sim")

    metrics, in_steps = ClockMetrics(), follower()
    metrics.show(in_steps.catch_up())
    world.run(fed[60:], seconds_a_record=0.5)
    found = in_steps.catch_up()
    assert found == in_steps.catch_up() == follower().catch_up()
    metrics.show(found)
    shown = metrics.exposition().decode()
    events = [line for line in shown.splitlines() if line.startswith("driftline_clock_events{")]
    assert {line.rpartition(" ")[2] for line in events} == {
        f"{one.n:.1f}" for one in found.coverage
    }
    assert len(events) == len(found.coverage)
    assert found.estimated is not None
    assert f"driftline_clock_waiting_events {found.estimated.n:.1f}" in shown
    accuracy = found.estimated.metrics["accuracy"]
    assert f'driftline_clock_estimate{{metric="accuracy"}} {accuracy!r}' in shown
