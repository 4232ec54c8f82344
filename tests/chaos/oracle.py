"""The judge of a run: rebuilds everything from the topics, and says what is not as it must be.

It needs what Kafka holds, the positions in Redis and the newest version, and nothing that a worker
has said. It works on any such log, the simulation's included: that is how it is tested.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import msgspec

from models.types import Example
from stream.learners import new_learner
from stream.ledger import Balance, Ledger, Origin, Topic, event_id_of
from stream.messages import (
    DeadLetter,
    Decision,
    decode_dead_letter,
    decode_decision,
    decode_example,
    encode_json,
)
from stream.re_keyed import origin_of
from stream.settings import Settings
from stream.topics import ALERTS, DEAD_LETTERS, EVENTS, EXAMPLES, LABELS, SCORES
from stream.topics import Topic as Log
from stream.topology import event_topics, lane_kind
from tests.chaos.feed import EXPECTED_REASON, LAST
from tests.chaos.remembered import compute
from tests.feature_truth import Truth, alike

TOLD_MAX = 5
"""So many of one kind of violation are told one by one."""


class Placed(Protocol):
    """A record, and where it stands."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


@dataclass(frozen=True)
class Evidence:
    """What a run has left behind.

    `topics` are whole, by short name; `positions` those in Redis, by lane; `version` is the newest
    one's position and fingerprint.
    """

    topics: Mapping[str, Sequence[Placed]]
    positions: Mapping[str, int]
    n_waiting: int
    version: tuple[int, str] | None


@dataclass
class Judgement:
    """The account, what of it is wrong, and the model as it was rebuilt."""

    balance: Balance
    violations: list[str] = field(default_factory=list)
    fingerprint: str = ""


def lanes(settings: Settings) -> dict[str, Log]:
    """Give what each kind of lane reads."""
    path = event_topics(settings)
    on_the_way = {lane_kind(place, len(path)): topic for place, topic in enumerate(path)}
    return {**on_the_way, "label": LABELS, "learn": EXAMPLES}


def judge(settings: Settings, evidence: Evidence) -> Judgement:
    """Rebuild and compare."""
    return _Judge(settings, evidence).judge()


class _Judge:
    def __init__(self, settings: Settings, evidence: Evidence) -> None:
        self._settings = settings
        self._evidence = evidence
        self._counts: Counter[str] = Counter()
        self._violations: list[str] = []
        self._events = self._by_origin(EVENTS.name)
        self._labels = self._by_origin(LABELS.name)
        self._decisions: dict[str, Decision] = {}
        self._bodies: dict[str, bytes] = {}
        self._letters: dict[str, dict[Origin, DeadLetter]] = {EVENTS.name: {}, LABELS.name: {}}
        self._examples = [
            decode_example(record.value or b"") for record in self._topic(EXAMPLES.name)
        ]

        self._path = event_topics(settings)
        self._truths: dict[str, set[object]] = defaultdict(set)
        for example in self._examples:
            self._truths[example.event_id].add(example.label)

    def judge(self) -> Judgement:
        self._read_letters()
        self._one_decision_an_event()
        self._each_event_decided_or_refused()
        self._alerts_are_their_scores()
        self._computed = self._compute_features()
        self._each_label_has_one_fate()
        self._revisions_in_order()
        self._silence_only_after_its_time()
        fingerprint = self._model_is_the_fold_of_its_log()
        self._positions_are_the_ends()
        balance = self._balance()
        if not balance.adds_up:
            self._wrong("the ledger does not add up", str(balance))
        return Judgement(balance, self._violations, fingerprint)

    def _wrong(self, what: str, which: object) -> None:
        self._counts[what] += 1
        if self._counts[what] <= TOLD_MAX:
            self._violations.append(f"{what}: {which}")
        else:
            shown = [v for v in self._violations if not v.startswith(f"{what} (")]
            self._violations = [*shown, f"{what} ({self._counts[what]} in all)"]

    def _topic(self, name: str) -> Sequence[Placed]:
        return self._evidence.topics.get(name, ())

    def _by_origin(self, name: str) -> dict[Origin, Placed]:
        return {(record.partition, record.offset): record for record in self._topic(name)}

    def _read_letters(self) -> None:
        app = self._settings.app
        for record in self._topic(DEAD_LETTERS.name):
            letter = decode_dead_letter(record.value or b"")
            book = self._letters[letter.topic.removeprefix(f"{app}.")]
            origin = (letter.partition, letter.offset)
            if book.setdefault(origin, letter) != letter:
                self._wrong("two different dead letters of one record", (letter.topic, origin))

    def _one_decision_an_event(self) -> None:
        for record in self._topic(SCORES.name):
            decision = decode_decision(record.value or b"")
            body = self._bodies.setdefault(decision.event_id, record.value or b"")
            if body != record.value:
                self._wrong("a decision has changed", decision.event_id)
            origin = (decision.partition, decision.offset)
            event = self._events.get(origin)
            if event is None or event_id_of(event.value, self._id) != decision.event_id:
                self._wrong("a decision names another event", (decision.event_id, origin))
            self._decisions[decision.event_id] = decision

    @property
    def _id(self) -> str:
        return self._settings.event.id

    def _each_event_decided_or_refused(self) -> None:
        for origin, record in self._events.items():
            expected = _expected(record)
            letter = self._letters[EVENTS.name].get(origin)
            found = letter.reason if letter is not None else ""
            if found != expected:
                self._wrong("an event's dead letter", (origin, found or "none", expected or "none"))
            if not expected and event_id_of(record.value, self._id) not in self._decisions:
                self._wrong("an event without decision", origin)
        for origin in self._letters[EVENTS.name].keys() - self._events.keys():
            self._wrong("a dead letter of no event", origin)

    def _alerts_are_their_scores(self) -> None:
        alerted = set()
        for record in self._topic(ALERTS.name):
            event_id = decode_decision(record.value or b"").event_id
            alerted.add(event_id)
            if self._bodies.get(event_id) != record.value:
                self._wrong("an alert is not its score", event_id)
        due = {i for i, decision in self._decisions.items() if decision.decision == "alert"}
        for event_id in due ^ alerted:
            self._wrong("an alert too many or too few", event_id)

    def _each_label_has_one_fate(self) -> None:
        learned: dict[Origin, set[bytes]] = defaultdict(set)
        for example in self._examples:
            lane, _, partition = example.origin.partition("/")
            if lane != "silence":
                content = encode_json(msgspec.structs.replace(example, origin="", floor=0))
                learned[int(partition), example.offset].add(content)
        refused = self._letters[LABELS.name]
        for origin, record in self._labels.items():
            examples, letter = learned.get(origin, set()), refused.get(origin)
            if len(examples) + (letter is not None) != 1:
                what = [*map(bytes.decode, examples), letter and letter.reason]
                self._wrong("a label without exactly one fate", (origin, what))
            for content in examples:
                self._is_what_was_said(origin, record, decode_example(content))
            if letter is not None:
                self._is_refused_for_good_reason(origin, record, letter)
            elif expected := _expected(record):
                self._wrong("a bad label was learned", (origin, expected))
        for origin in (learned.keys() | refused.keys()) - self._labels.keys():
            self._wrong("a fate of no label", origin)

    def _is_what_was_said(self, origin: Origin, record: Placed, example: Example) -> None:
        """Compare an example with its label, its event and its decision."""
        names, said = self._settings.label, json.loads(record.value or b"")
        weight = said.get(names.weight, 1.0)
        told = (str(said[names.id]), bool(said[names.value]), said[names.time], weight)
        if told != (example.event_id, example.label, example.label_time, example.weight):
            self._wrong("an example says another thing than its label", (origin, told, example))
        decision = self._decisions.get(example.event_id)
        if example.score is None:
            source = said
        elif decision is None:
            self._wrong("an example of an undecided event", (origin, example.event_id))
            return
        else:
            source = self._source_of(decision)
            predicted = (example.score, example.version, example.model_position)
            if predicted != (decision.score, decision.version, decision.model_position):
                self._wrong("an example has another prediction than its decision", origin)
        self._has_right_features(example, source)

    def _source_of(self, decision: Decision) -> Mapping[str, Any]:
        event = self._events.get((decision.partition, decision.offset))
        return {} if event is None else json.loads(event.value or b"")

    def _has_right_features(self, example: Example, source: Mapping[str, Any]) -> None:
        said_of = self._settings.event.features  # Those that may be left out may be.
        features = {name: source[name] for name in said_of if source.get(name) is not None}
        if example.score is not None:
            features |= self._computed[example.event_id]
        if not alike(features, example.features):
            self._wrong(
                "an example has other features", (example.event_id, features, example.features)
            )

    def _is_refused_for_good_reason(
        self, origin: Origin, record: Placed, letter: DeadLetter
    ) -> None:
        expected = _expected(record)
        if expected or letter.reason not in _JOIN_REASONS:
            if letter.reason != expected:
                self._wrong("a label's dead letter", (origin, letter.reason, expected or "none"))
            return
        said = json.loads(record.value or b"")
        event_id = str(said[self._settings.label.id])
        decision = self._decisions.get(event_id)
        late = (
            decision is not None
            and said[self._settings.label.time] - decision.event_time > self._settings.join.ttl
        )
        right = {
            "unknown_event": decision is None or self._came_too_late(decision, record),
            "expired": late,
            "duplicate_label": bool(said[self._settings.label.value]) in self._truths[event_id],
            "correction_refused": self._settings.label.corrections == "refuse",
        }
        if not right[letter.reason]:
            self._wrong("a label was refused for a wrong reason", (origin, letter.reason, event_id))

    def _came_too_late(self, decision: Decision, label: Placed) -> bool:
        # By the broker's time: producers hold back what an outage kept them from sending.
        event = self._events.get((decision.partition, decision.offset))
        grace_ms = 1000 * self._settings.join.early_grace
        return event is not None and event.timestamp - label.timestamp >= grace_ms

    def _compute_features(self) -> Truth:
        refused = self._letters[EVENTS.name]
        accepted = [record for at, record in self._events.items() if at not in refused]
        logs = {topic.key: self._topic(topic.name) for topic in self._path[1:]}
        return compute(self._settings, accepted, logs)

    def _revisions_in_order(self) -> None:
        first: dict[tuple[str, int], tuple[str, int]] = {}
        truths: dict[str, list[Example]] = defaultdict(list)
        for example in self._examples:
            origin = (_source(example), example.offset)
            if first.setdefault((example.event_id, example.revision), origin) != origin:
                self._wrong("two examples for one revision", (example.event_id, example.revision))
            elif example not in truths[example.event_id]:
                known = [e.revision for e in truths[example.event_id]]
                if example.revision not in known:
                    truths[example.event_id].append(example)
        for event_id, examples in truths.items():
            revisions = [example.revision for example in examples]
            if revisions != list(range(1, len(examples) + 1)):
                self._wrong("revisions out of order", (event_id, revisions))
            for before, after in pairwise(examples):
                silent = before.origin.startswith("silence")
                if not silent and before.label == after.label:
                    self._wrong("a correction that corrects nothing", event_id)
                if after.origin.startswith("silence"):
                    self._wrong("silence after a label", event_id)

    def _silence_only_after_its_time(self) -> None:
        join = self._settings.join
        known = {e.event_id for e in self._examples}
        places = self._scored_at()
        for event_id in self._decisions:
            if join.negative_after and event_id not in known and not event_id.startswith(LAST):
                self._wrong("an event is neither labelled nor a negative", event_id)
        for example in self._examples:
            if not example.origin.startswith("silence"):
                continue
            decision = self._decisions.get(example.event_id)
            partition, offset = places.get(example.event_id, (-1, -1))
            expected = decision and (
                False,
                join.negative_weight,
                decision.score,
                offset,
                f"silence/{partition}",
                decision.event_time + join.negative_after,
            )
            told = (example.label, example.weight, example.score, example.offset, example.origin,
                    example.label_time)  # fmt: skip
            if told != expected or example.event_id.startswith(LAST):
                self._wrong("a wrong negative", (example.event_id, told, expected))
            elif decision is not None:
                self._has_right_features(example, self._source_of(decision))

    def _scored_at(self) -> dict[str, Origin]:
        """Give where each event was scored: its place in the last log of its way."""
        decided = {(d.partition, d.offset): event_id for event_id, d in self._decisions.items()}
        if len(self._path) == 1:
            return {event_id: at for at, event_id in decided.items()}
        found: dict[str, Origin] = {}
        for record in self._topic(self._path[-1].name):
            event_id = decided.get(origin_of(record.value) or (-1, -1))
            if event_id is not None:
                found.setdefault(event_id, (record.partition, record.offset))
        return found

    def _model_is_the_fold_of_its_log(self) -> str:
        learner = new_learner(self._settings)
        offsets = [record.offset for record in self._topic(EXAMPLES.name)]
        learner.absorb(self._examples, offsets)
        distinct = {(_source(example), example.offset) for example in self._examples}
        if learner.n_learned != len(distinct):
            self._wrong("the fold learns twice or not at all", (learner.n_learned, len(distinct)))
        rebuilt = (learner.position, learner.fingerprint())
        if self._evidence.version != rebuilt:
            self._wrong("the newest version is not the fold", (self._evidence.version, rebuilt))
        return str(learner.fingerprint())

    def _positions_are_the_ends(self) -> None:
        expected = {
            f"{kind}.{p}": end
            for kind, topic in lanes(self._settings).items()
            for p, (_, end) in self._ends(topic.name).items()
        }
        positions = self._evidence.positions
        for lane in expected.keys() | positions.keys():
            # A lane that never had a record has no position.
            if positions.get(lane, 0) != expected.get(lane, 0):
                self._wrong("a position", (lane, positions.get(lane), expected.get(lane)))

    def _ends(self, name: str) -> dict[int, tuple[int, int]]:
        ends: dict[int, tuple[int, int]] = {}
        for record in self._topic(name):
            _, end = ends.get(record.partition, (0, 0))
            ends[record.partition] = (0, max(end, record.offset + 1))
        return ends

    def _balance(self) -> Balance:
        """Draw up the account that `driftline reconcile` prints."""
        positions = self._evidence.positions
        events, labels = (
            Topic(self._ends(name), {p: positions.get(f"{kind}.{p}", 0) for p in self._ends(name)})
            for name, kind in (
                (EVENTS.name, lane_kind(0, len(self._path))),
                (LABELS.name, "label"),
            )
        )
        ledger = Ledger(events, labels, n_waiting=self._evidence.n_waiting)
        ledger.re_keyed = len(self._path) > 1
        for value in _values(self._topic(SCORES.name)):
            ledger.add_score(value)
        for value in _values(self._topic(EXAMPLES.name)):
            ledger.add_example(value)
        for value in _values(self._topic(DEAD_LETTERS.name)):
            app = self._settings.app
            ledger.add_dead_letter(value, EVENTS.full_name(app), LABELS.full_name(app))
        for (partition, offset), record in self._events.items():
            event_id = event_id_of(record.value, self._id)
            if ledger.lacks_outcome(partition, offset) and event_id is not None:
                ledger.add_unscored_event(partition, offset, event_id)
        return ledger.balance()


_JOIN_REASONS = {"unknown_event", "expired", "duplicate_label", "correction_refused"}


def _expected(record: Placed) -> str:
    return dict(record.headers or ()).get(EXPECTED_REASON, b"").decode()


def _source(example: Example) -> str:
    lane, _, partition = example.origin.partition("/")
    return f"{'silence' if lane == 'silence' else 'labels'}/{partition}"


def _values(records: Iterable[Placed]) -> Iterable[Any]:
    return (record.value or b"" for record in records)
