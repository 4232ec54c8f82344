"""The oracle itself: content with a log that is right, and red on each thing that may be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest

from tests.chaos.feed import EXPECTED_REASON
from tests.chaos.oracle import Evidence, judge
from tests.simulation.mix import simulate
from tests.simulation.world import World


class Record(NamedTuple):
    """A record as Kafka gives it."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


Topics = dict[str, list[Any]]
JOIN_REASONS = {"unknown_event", "expired", "duplicate_label", "correction_refused"}


@pytest.fixture(scope="module")
def world() -> World:
    """A run with corrections, own features, negatives, expired and unknown labels, bad records."""
    return simulate(9)


def evidence(world: World, doctor: Callable[[Topics], None] = lambda topics: None) -> Evidence:
    """Give the world's log as if a run had left it, after a change."""
    topics: Topics = {}
    for (name, partition), records in world.log.records.items():
        topics.setdefault(name, []).extend(
            Record(partition, r.offset, r.timestamp, r.key, r.value) for r in records
        )
    for letter in [json.loads(record.value or b"") for record in topics["dead-letters"]]:
        name, reason = letter["topic"].partition(".")[2], letter["reason"]
        if reason not in JOIN_REASONS:
            expect(topics[name], letter["partition"], letter["offset"], reason)
    doctor(topics)
    learner = world.learner()
    positions = world.store._positions | {"learn.0": learner.position}
    return Evidence(topics, positions, 0, (learner.position, learner.fingerprint()))


def expect(records: list[Record], partition: int, offset: int, reason: str) -> None:
    for i, record in enumerate(records):
        if (record.partition, record.offset) == (partition, offset):
            header = ((EXPECTED_REASON, reason.encode()),) if reason else ()
            records[i] = record._replace(headers=header)


def changed(record: Record, **fields: Any) -> Record:
    body = json.loads(record.value or b"") | fields
    return record._replace(value=json.dumps(body, separators=(",", ":")).encode())


def alike(records: list[Record], **fields: Any) -> int:
    """Find the first record whose fields are these."""
    for i, record in enumerate(records):
        body = json.loads(record.value or b"")
        if all(body[name] == value for name, value in fields.items()):
            return i
    raise AssertionError(f"no record with {fields}")


def without_value(records: list[Record], name: str) -> None:
    """Drop all records that name the same thing as the first one."""
    same = json.loads(records[0].value or b"")[name]
    records[:] = [r for r in records if json.loads(r.value or b"")[name] != same]


def drop_letter(topics: Topics, reason: str) -> None:
    letters = topics["dead-letters"]
    body = json.loads(letters[alike(letters, reason=reason)].value or b"")
    origin = {name: body[name] for name in ("topic", "partition", "offset")}
    letters[:] = [r for r in letters if not origin.items() <= json.loads(r.value or b"").items()]


def rename_letters(topics: Topics, old: str, new: str) -> None:
    topics["dead-letters"] = [
        changed(r, reason=new) if json.loads(r.value or b"")["reason"] == old else r
        for r in topics["dead-letters"]
    ]


def another_decision(topics: Topics) -> None:
    topics["scores"].append(changed(topics["scores"][0], score=0.123))


def relearn(topics: Topics) -> None:
    """Learn a label a second time, as if it had been another one."""
    examples = topics["examples"]
    again = examples[alike(examples, revision=1)]
    offset = 1 + max(json.loads(r.value or b"")["offset"] for r in examples)
    examples.append(changed(again, offset=offset)._replace(offset=len(examples)))


def forget_example(topics: Topics) -> None:
    """Lose a label's example, and close the gap so that only the label misses it."""
    examples = topics["examples"]
    without_value(examples, "event_id")
    examples[:] = [r._replace(offset=i) for i, r in enumerate(examples)]


def swap_features(topics: Topics) -> None:
    examples = topics["examples"]
    examples[0] = changed(examples[0], features={"x": 9.0, "y": 9.0})


def flip_label(topics: Topics) -> None:
    examples = topics["examples"]
    i = alike(examples, label=True)
    examples[i] = changed(examples[i], label=False)


def unexpected_letter(topics: Topics) -> None:
    letters = [json.loads(r.value or b"") for r in topics["dead-letters"]]
    letter = next(x for x in letters if x["topic"].endswith("events"))
    expect(topics["events"], letter["partition"], letter["offset"], "")


def lost_alert(topics: Topics) -> None:
    without_value(topics["alerts"], "event_id")


def other_alert(topics: Topics) -> None:
    topics["alerts"][0] = changed(topics["alerts"][0], score=0.99)


def lose_the_end(topics: Topics) -> None:
    topics["events"].pop()


def early_negative(topics: Topics) -> None:
    examples = topics["examples"]
    i = alike(examples, label=False, weight=0.25)
    body = json.loads(examples[i].value or b"")
    examples[i] = changed(examples[i], label_time=body["label_time"] - 1)


def wrong_prediction(topics: Topics) -> None:
    examples = topics["examples"]
    i = next(i for i, r in enumerate(examples) if b'"origin":"labels' in (r.value or b"")
             and json.loads(r.value or b"")["score"] is not None)  # fmt: skip
    examples[i] = changed(examples[i], score=0.123)


DOCTORED: Mapping[str, Callable[[Topics], None]] = {
    "a decision has changed": another_decision,
    "an event without decision": lambda topics: without_value(topics["scores"], "event_id"),
    "an event's dead letter": unexpected_letter,
    "an alert too many or too few": lost_alert,
    "an alert is not its score": other_alert,
    "a label without exactly one fate": lambda topics: drop_letter(topics, "duplicate_label"),
    "a fate of no label": relearn,
    "two examples for one revision": relearn,
    "an event is neither labelled nor a negative": forget_example,
    "an example has other features": swap_features,
    "an example says another thing than its label": flip_label,
    "an example has another prediction than its decision": wrong_prediction,
    "a wrong negative": early_negative,
    "a label was refused for a wrong reason": lambda topics: rename_letters(
        topics, "unknown_event", "duplicate_label"
    ),
    "a label's dead letter": lambda topics: rename_letters(topics, "bad_label", "not_json"),
    "the newest version is not the fold": flip_label,
    "the ledger does not add up": lambda topics: drop_letter(topics, "expired"),
    "a position": lose_the_end,
}  # fmt: skip


def test_a_right_log_is_right(world: World) -> None:
    """Whatever the simulation's own oracle accepts."""
    judgement = judge(world.settings, evidence(world))
    assert judgement.violations == []
    assert judgement.fingerprint == world.learner().fingerprint()
    assert judgement.balance.events["events"] > 40


@pytest.mark.parametrize("what", DOCTORED)
def test_a_doctored_log_is_not(world: World, what: str) -> None:
    """Each thing that may be wrong is named."""
    violations = judge(world.settings, evidence(world, DOCTORED[what])).violations
    assert any(violation.startswith(what) for violation in violations), violations


@pytest.mark.parametrize("lane", ["score.0", "label.1", "learn.0"])
def test_a_lane_that_stands_elsewhere_is_told(world: World, lane: str) -> None:
    """A position below the end is work left; one above it is a lie."""
    found = evidence(world)
    wrong = found.positions | {lane: found.positions[lane] - 1}  # type: ignore[operator]
    violations = judge(world.settings, Evidence(found.topics, wrong, 0, found.version)).violations
    assert any(violation.startswith("a position") for violation in violations)
