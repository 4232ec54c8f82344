"""Dead letters are chosen by every condition, counted in bounded memory, and explained."""

from __future__ import annotations

import base64
import random

import pytest

from stream.dead_letters import HINTS, REPLAY_HEADER, Address, Letter, Newest, Selection
from stream.messages import DeadLetter
from tests.test_docs import reasons


def letter(offset: int = 0, *, topic: str = "app.events", partition: int = 0, **changes) -> Letter:
    """Make the letter of the record at an offset, written that many seconds after 1970."""
    body = DeadLetter(
        topic,
        partition,
        offset,
        5,
        changes.get("reason", "not_json"),
        "detail",
        base64.b64encode(b"k").decode(),
        base64.b64encode(b"v").decode(),
        [(name, base64.b64encode(value).decode()) for name, value in changes.get("headers", ())],
    )
    return Letter(Address(0, changes.get("at", offset)), offset * 1000, body)


def test_every_reason_has_a_hint_and_no_other() -> None:
    """Whoever shows a letter is told what to do."""
    assert set(HINTS) == reasons()


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (Selection(), [0, 1, 2, 3]),
        (Selection(reasons=frozenset(), addresses=[]), [0, 1, 2, 3]),
        (Selection(reasons={"expired"}), [3]),
        (Selection(topic="app.labels"), [2, 3]),
        (Selection(partition=1), [1]),
        (Selection(since=1.0), [1, 2, 3]),
        (Selection(until=3.0), [0, 1, 2]),
        (Selection(since=1.0, until=3.0, topic="app.labels"), [2]),
        (Selection(addresses={Address(0, 3), Address(0, 0)}), [0, 3]),
        (Selection(addresses={Address(1, 3)}), []),
    ],
)
def test_all_conditions_must_hold(selection: Selection, chosen: list[int]) -> None:
    """Since is inclusive, until is not."""
    letters = [
        letter(0),
        letter(1, partition=1),
        letter(2, topic="app.labels"),
        letter(3, topic="app.labels", reason="expired"),
    ]

    assert [one.body.offset for one in letters if selection.takes(one)] == chosen
    assert selection.is_everything == (chosen == [0, 1, 2, 3])


def test_the_newest_are_kept_and_all_are_counted() -> None:
    """Whatever the order that partitions are read in."""
    letters = [letter(i, reason=("expired", "not_json")[i % 2]) for i in range(100)]
    random.Random(1).shuffle(letters)
    newest = Newest(3)

    newest.add(letters)

    assert [one.body.offset for one in newest.letters()] == [97, 98, 99]
    assert newest.reasons == {"expired": 50, "not_json": 50}


def test_a_letter_gives_its_record_back() -> None:
    """Byte for byte, with what it is a replay of."""
    one = letter(headers=[("trace", b"\xff"), (REPLAY_HEADER, b"app.events/0/1")])

    assert (one.key(), one.value()) == (b"k", b"v")
    assert one.headers() == [("trace", b"\xff"), (REPLAY_HEADER, b"app.events/0/1")]
    assert one.replay_of == ["app.events/0/1"]


@pytest.mark.parametrize("text", ["3", "a/1", "1/", "/1", "1/2/3", "-1/2"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """With an example of one."""
    with pytest.raises(ValueError, match="3/17"):
        Address.parse(text)
