"""The account notices every missing, repeated or contradicting record."""

import json

import pytest

from stream.ledger import Ledger, Topic, event_id_of

EVENTS, LABELS = "app.events", "app.labels"


def score(i: int, offset: int | None = None, **changes) -> bytes:
    """Write the decision of event i, by default at offset i of partition 0."""
    body = {"event_id": f"e{i}", "partition": 0, "offset": i if offset is None else offset}
    return json.dumps({**body, "score": 0.5, **changes}).encode()


def example(i: int, origin: str = "labels/0", offset: int | None = None, **changes) -> bytes:
    """Write the example that came of label i."""
    body = {"event_id": f"e{i}", "origin": origin, "offset": i if offset is None else offset}
    return json.dumps({**body, "label": True, "score": 0.5, "revision": 1, **changes}).encode()


def letter(topic: str, offset: int, reason: str) -> bytes:
    """Write a dead letter."""
    body = {"topic": topic, "partition": 0, "offset": offset, "timestamp": 0, "reason": reason}
    rest = {"detail": "", "key": None, "value": None, "headers": []}
    return json.dumps({**body, **rest}).encode()


@pytest.fixture
def ledger() -> Ledger:
    """Four events and three labels, all taken, all accounted for: one of each is dead."""
    ledger = Ledger(Topic({0: (0, 4)}, {0: 4}), Topic({0: (0, 3)}, {0: 3}))
    for i in range(3):
        ledger.add_score(score(i))
    ledger.add_dead_letter(letter(EVENTS, 3, "not_json"), EVENTS, LABELS)
    ledger.add_example(example(0))
    ledger.add_example(example(1, "waited/0"))
    ledger.add_dead_letter(letter(LABELS, 2, "unknown_event"), EVENTS, LABELS)
    return ledger


def test_an_account_adds_up(ledger: Ledger) -> None:
    """Each side's first line is the sum of the others."""
    balance = ledger.balance()

    assert balance.adds_up
    for side in (balance.events, balance.labels, balance.learned):
        total, *parts = side.values()
        assert total == sum(parts)
    assert balance.events["dead letter: not_json"] == 1
    assert balance.labels["dead letter: unknown_event"] == 1


def test_repeated_outputs_count_once(ledger: Ledger) -> None:
    """A crash repeats them, identical; that is no mistake."""
    ledger.add_score(score(1))
    ledger.add_example(example(1, "waited/0"))
    ledger.add_dead_letter(letter(LABELS, 2, "unknown_event"), EVENTS, LABELS)

    balance = ledger.balance()

    assert balance.adds_up
    assert balance.redelivered == {"scores": 1, "examples": 1, "dead letters": 1}


def test_a_decision_that_changed_is_a_conflict(ledger: Ledger) -> None:
    """A consumer has seen the first one."""
    ledger.add_score(score(1, score=0.9))

    balance = ledger.balance()

    assert not balance.adds_up
    assert balance.conflicts == {"different decisions for one event": 1}


def test_a_missing_decision_is_missed(ledger: Ledger) -> None:
    """To the unit."""
    del ledger.scores[0, 1]

    balance = ledger.balance()

    assert balance.events["MISSING"] == 1
    assert not balance.adds_up


def test_a_missing_label_is_missed(ledger: Ledger) -> None:
    """Unless it waits."""
    del ledger.examples[0, 1]
    assert ledger.balance().labels["MISSING"] == 1

    ledger.n_waiting = 1
    assert ledger.balance().adds_up


def test_more_waiting_than_unresolved_does_not_add_up(ledger: Ledger) -> None:
    """A label that waits and is learned would be learned twice; unless it has just joined."""
    ledger.n_waiting = 1
    assert not ledger.balance().adds_up

    ledger.moving = True
    assert ledger.balance().adds_up


def test_two_examples_for_one_revision_are_a_conflict(ledger: Ledger) -> None:
    """Two labels of one event: the second is a correction, a repeat, or a mistake of ours."""
    ledger.labels = Topic({0: (0, 4)}, {0: 4})
    ledger.add_example(example(0, offset=3))

    assert ledger.balance().conflicts == {"two examples for one revision of an event": 1}


def test_corrections_own_features_and_negatives_are_told_apart(ledger: Ledger) -> None:
    """All examples, by where they come from; a crash repeats them like the others."""
    ledger.labels = Topic({0: (0, 6)}, {0: 6})
    for _ in range(2):
        ledger.add_example(example(0, offset=3, revision=2))
        ledger.add_example(example(7, offset=4, score=None))
        ledger.add_example(example(7, offset=5, score=None, revision=2))
        ledger.add_example(example(2, "silence/0"))

    balance = ledger.balance()

    assert balance.adds_up
    assert balance.learned == {
        "examples": 6,
        "labels of events": 2,
        "labels with features of their own": 1,
        "corrections": 2,
        "events without a label, as negatives": 1,
    }
    assert balance.labels["examples"] == 5
    assert balance.redelivered == {"examples": 4}


def test_a_correction_of_nothing_is_a_conflict(ledger: Ledger) -> None:
    """The first truth of that event was never learned."""
    ledger.labels = Topic({0: (0, 4)}, {0: 4})
    ledger.add_example(example(2, offset=3, revision=2))

    assert ledger.balance().conflicts == {"revisions without the one before": 1}


def test_a_negative_and_a_first_label_of_one_event_are_a_conflict(ledger: Ledger) -> None:
    """Whichever claims the event first is its first truth; the other is none or the second."""
    ledger.add_example(example(1, "silence/0"))

    assert ledger.balance().conflicts == {"two examples for one revision of an event": 1}


def test_a_negative_of_an_event_without_a_decision_is_a_conflict(ledger: Ledger) -> None:
    """Only what was scored can be silent."""
    ledger.add_example(example(3, "silence/0"))

    assert ledger.balance().conflicts == {"negatives of events without a decision": 1}


def test_an_event_both_scored_and_refused_is_a_conflict(ledger: Ledger) -> None:
    """One outcome each."""
    ledger.add_dead_letter(letter(EVENTS, 1, "not_json"), EVENTS, LABELS)

    assert ledger.balance().conflicts == {"events both scored and dead letters": 1}


def test_nothing_is_owed_beyond_the_position(ledger: Ledger) -> None:
    """The backlog is not missing; and what was published early is not counted yet."""
    ledger.events = Topic({0: (0, 9)}, {0: 2})

    balance = ledger.balance()

    assert balance.adds_up
    assert (balance.events["events"], balance.backlog["events"]) == (2, 7)


def test_nothing_is_owed_before_the_first_kept_record() -> None:
    """Retention took the events; their scores may still be there."""
    ledger = Ledger(Topic({0: (2, 3)}, {0: 3}), Topic({}, {}))
    for i in range(3):
        ledger.add_score(score(i))

    assert ledger.balance().adds_up


def test_an_id_that_came_twice_has_one_decision() -> None:
    """The second event gets the first one's decision, which names the first one's offset."""
    ledger = Ledger(Topic({0: (0, 2)}, {0: 2}), Topic({}, {}))
    ledger.add_score(score(0))
    ledger.add_score(score(0))
    assert ledger.lacks_outcome(0, 1)

    ledger.add_unscored_event(0, 1, "e0")

    assert ledger.balance().adds_up
    assert ledger.balance().events["repeated ids, decided before"] == 1


def test_unlabelled_examples_belong_to_events() -> None:
    """An anomaly model learns from events too; they are no labels."""
    ledger = Ledger(Topic({0: (0, 1)}, {0: 1}), Topic({0: (0, 1)}, {0: 1}))
    ledger.add_score(score(0))
    ledger.add_example(example(0, "events/0"))
    assert ledger.balance().labels["MISSING"] == 1

    ledger.add_example(example(0, "labels/0"))
    assert ledger.balance().adds_up
    assert ledger.balance().redelivered == {}


@pytest.mark.parametrize(
    ("value", "found"),
    [(b'{"id": 7}', "7"), (b'{"id": "a"}', "a"), (b"[]", None), (b"{", None), (None, None)],
)
def test_ids_are_found_in_what_is_json(value, found) -> None:
    """And in nothing else."""
    assert event_id_of(value, "id") == found
