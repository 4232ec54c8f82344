"""What must always hold, whatever happened."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import msgspec

from models.lineage import Course
from models.types import DriftSignal, Example
from stream.learners import learner_before
from stream.messages import decode_decision, decode_example, encode_drift, encode_json
from tests.simulation.scenario import WINDOW_LENGTHS_S
from tests.simulation.world import World


def check(world: World) -> dict[str, Any]:
    """Check every always-property; give what a run is compared by."""
    decisions = one_decision_an_event(world)
    learned = every_label_accounted_for_once(world)
    revisions = _revisions_in_order(world)
    _every_event_has_a_first_truth(world, decisions)
    features = _features_are_those_of_the_log(world)
    fingerprint = recovered_equals_replayed(world)
    return {
        "decisions": decisions,
        "learned": learned,
        "revisions": revisions,
        "features": features,
        "fingerprint": fingerprint,
        "drifts": _drifts(world),
    }


def one_decision_an_event(world: World) -> dict[str, bytes]:
    decisions: dict[str, bytes] = {}
    for record in world.log.all("scores"):
        event_id = (record.key or b"").decode()
        assert decisions.setdefault(event_id, record.value or b"") == record.value, event_id
    refused = {(letter["partition"], letter["offset"]) for letter in _letters(world, "sim.events")}
    for (topic, partition), records in world.log.records.items():
        if topic != "events":
            continue
        for record in records:
            if (partition, record.offset) in refused:
                continue
            event_id = json.loads(record.value or b"")["id"]
            assert event_id in decisions, f"event {event_id} has no decision"
    return decisions


def every_label_accounted_for_once(world: World) -> set[tuple[str, int]]:
    appended: dict[tuple[str, int], set[bytes]] = defaultdict(set)
    for example in world.examples():
        lane, _, partition = example.origin.partition("/")
        if lane != "silence":
            content = encode_json(msgspec.structs.replace(example, floor=0))
            appended[partition, example.offset].add(content)
    refused = {
        (str(letter["partition"]), letter["offset"]) for letter in _letters(world, "sim.labels")
    }
    waiting = {
        (lane.removeprefix("label."), int(offset))
        for lane, state in world.store._states.items()
        if lane.startswith("label.")
        for offset in state
    }
    n_labels = 0
    for (topic, partition), records in world.log.records.items():
        if topic != "labels":
            continue
        for record in records:
            n_labels += 1
            fates = [(str(partition), record.offset) in s for s in (appended, refused, waiting)]
            assert sum(fates) == 1, f"label {partition}@{record.offset}: {fates}"
    assert n_labels == len(appended) + len(refused) + len(waiting)
    assert not waiting, "labels still wait though all has settled"
    for origin, contents in appended.items():
        assert len(contents) == 1, f"label {origin} became different examples: {contents}"
        _is_what_the_label_said(world, origin, next(iter(contents)))
    return set(appended)


def _is_what_the_label_said(world: World, origin: tuple[str, int], content: bytes) -> None:
    example, (partition, offset) = decode_example(content), origin
    said = json.loads(world.log.records["labels", int(partition)][offset].value or b"")
    assert (example.event_id, example.label) == (said["id"], said["label"])
    assert (example.label_time, example.weight) == (said["t"], said.get("w", 1.0))
    if example.score is None:
        assert example.features == {"x": said["x"], "y": said["y"]}
        assert example.version is None and example.model_position is None


def _revisions_in_order(world: World) -> dict[str, list[tuple[bool, str]]]:
    """Each event's truths: one example a revision, in the log in that order, each another truth."""
    first: dict[tuple[str, int], Example] = {}
    truths: dict[str, list[Example]] = defaultdict(list)
    for example in world.examples():
        key = (example.event_id, example.revision)
        origin = (_lane_of(example), example.offset)
        if key not in first:
            first[key] = example
            truths[example.event_id].append(example)
        assert origin == (_lane_of(first[key]), first[key].offset), f"two examples for {key}"
    for event_id, examples in truths.items():
        revisions = [example.revision for example in examples]
        assert revisions == list(range(1, len(examples) + 1)), f"{event_id}: {revisions}"
        for before, after in pairwise(examples):
            silent = before.origin.startswith("silence")
            assert silent or before.label != after.label, f"{event_id}: not a correction"
            assert not after.origin.startswith("silence"), f"{event_id}: silent after a label"
            learn = world.settings.label.corrections == "learn"
            assert silent or learn, f"{event_id}: a refused correction was learned"
    return {
        event_id: [(bool(example.label), _lane_of(example)) for example in examples]
        for event_id, examples in truths.items()
    }


def _every_event_has_a_first_truth(world: World, decisions: dict[str, bytes]) -> None:
    """A label's or, after `negative_after`, that of silence; nothing is silent before."""
    join = world.settings.join
    known = {e.event_id: e for e in world.examples() if e.revision == 1}
    for event_id, body in decisions.items():
        if not event_id.startswith("last"):
            assert event_id in known, f"{event_id} is neither labelled nor a negative"
        elif event_id in known:
            raise AssertionError(f"{event_id} became a negative before its time")
        if event_id in known and known[event_id].origin.startswith("silence"):
            example, decision = known[event_id], decode_decision(body)
            assert (example.label, example.weight) == (False, join.negative_weight)
            assert example.score == decision.score
            if not world.settings.features.risk:  # Else it was queued from the re-keyed log.
                assert example.origin == f"silence/{decision.partition}"
                assert example.offset == decision.offset
            assert example.origin.startswith("silence/")
            assert example.label_time == example.event_time + join.negative_after


def _features_are_those_of_the_log(world: World) -> dict[str, dict[str, Any]]:
    """Whatever crashed: what was learned is what stood before the event in its logs."""
    learned = {e.event_id: _rounded(e.features) for e in world.examples() if e.score is not None}
    for entity, topic, computed in (("c", "events", _of_cards), ("shop", "by-shop", _of_shops)):
        if not any(spec.entity == entity for spec in world.settings.features.specs()):
            continue
        wanted: dict[str, list[dict[str, float]]] = defaultdict(list)
        for (name, partition), records in world.log.records.items():
            if name == topic:
                for event_id, features in computed(records, _refused(world, partition)):
                    wanted[event_id].append(features)
        for event_id, features in learned.items():
            found = {k: v for k, v in features.items() if k.startswith(f"{entity}.")}
            # An id that came to two partitions was decided in the one that was first to store it.
            assert found in wanted[event_id], f"{event_id}: {found}, not {wanted[event_id]}"
    return learned


def _refused(world: World, partition: int) -> set[object]:
    letters = _letters(world, "sim.events")
    return {letter["offset"] for letter in letters if letter["partition"] == partition}


def _of_cards(records: Any, refused: set[object]) -> Iterator[tuple[str, dict[str, float]]]:
    seen: dict[str, tuple[float, int, float]] = {}
    for record in records:
        event = {} if record.offset in refused else json.loads(record.value or b"")
        if not event or event["id"] in seen:
            continue
        t = event["t"]
        seen[event["id"]] = (t, event["c"], event["x"])
        features = {}
        for window in WINDOW_LENGTHS_S:
            inside = [
                x for at, card, x in seen.values() if card == event["c"] and t - window < at <= t
            ]
            features[f"c.count.{window:g}s"] = float(len(inside))
            features[f"c.x.sum.{window:g}s"] = math.fsum(inside)
        yield event["id"], _rounded(features)


def _of_shops(records: Any, refused: set[object]) -> Iterator[tuple[str, dict[str, float]]]:
    seen: dict[str, tuple[float, int]] = {}
    said: dict[str, tuple[int, bool]] = {}
    for record in records:
        message = json.loads(record.value or b"")
        event_id = message["event_id"]
        if message["kind"] == "label":
            revision = message["revision"], message["positive"]
            said[event_id] = max(said.get(event_id, revision), revision)
        elif event_id not in seen:
            t, shop = message["event_time"], message["values"][2]
            seen[event_id] = (t, shop)
            there = {i: at for i, (at, s) in seen.items() if s == shop}
            features = {
                f"shop.count.{window:g}s": float(sum(t - window < at <= t for at in there.values()))
                for window in WINDOW_LENGTHS_S
            }
            past = [i for i, at in there.items() if t - 220.0 < at <= t - 20.0]
            n_positive = sum(said.get(i, (0, False))[1] for i in past)
            features["shop.risk_count.200s"] = float(len(past))
            features["shop.risk.200s"] = n_positive / len(past) if past else 0.0
            yield event_id, _rounded(features)


def _rounded(features: Mapping[str, Any]) -> dict[str, float]:
    return {name: round(value, 9) for name, value in features.items()}


def _lane_of(example: Example) -> str:
    lane, _, partition = example.origin.partition("/")
    return f"{'silence' if lane == 'silence' else 'labels'}/{partition}"


def recovered_equals_replayed(world: World) -> str:
    live, segments = world.learner(), world.lineage().segments
    replayed = learner_before(world.settings, segments)
    examples = world.examples()
    if segments:
        Course(replayed, segments).absorb(examples, range(len(examples)))
    else:
        told = replayed.absorb(examples, range(len(examples))).drifts
        _drift_was_told(world, told, replayed.lineage)
    distinct = {(_lane_of(example), example.offset) for example in examples}
    what_commands_left_out = bool(segments)
    learned_each_once = replayed.n_learned == len(distinct)
    assert what_commands_left_out or learned_each_once, "the fold did not learn each label once"
    assert (live.position, live.n_learned) == (replayed.position, replayed.n_learned)
    assert live.fingerprint() == replayed.fingerprint()
    assert live.metrics() == replayed.metrics()
    return str(live.fingerprint())


def _drift_was_told(world: World, signals: list[DriftSignal], lineage: int) -> None:
    """Each signal of the fold, and nothing else; after a crash perhaps again, the same bytes."""
    positions = {encode_drift(signal, 0, lineage): signal.position for signal in signals}
    told = {record.value for record in world.log.all("drift")}
    assert told <= set(positions)
    untold = set(positions) - told
    assert all(positions[value] < world.told_from for value in untold), untold


def _drifts(world: World) -> list[dict[str, Any]]:
    """Drift without its place in the log, which an example that is there twice moves."""
    told = {record.value: json.loads(record.value or b"") for record in world.log.all("drift")}
    places = ("id", "position", "since")
    return [{k: v for k, v in body.items() if k not in places} for body in told.values()]


def _letters(world: World, topic: str) -> list[dict[str, object]]:
    letters = [json.loads(record.value or b"") for record in world.log.all("dead-letters")]
    return [letter for letter in letters if letter["topic"] == topic]
