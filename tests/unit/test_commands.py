"""A command is published once, and its own outcome is waited for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from stream.commands import distinct, give
from stream.messages import AuditRecord, Command, decode_command, encode_json

COMMAND = Command(id="c1", command="freeze", arguments={}, who="ana", why="", time=1.0)


def outcome(command_id: str, detail: str = "") -> bytes:
    """Write a record of the audit."""
    return encode_json(
        AuditRecord(
            id=command_id, who="ana", what="freeze", subject="learner", outcome="applied",
            reason="", detail=detail, time=2.0,
        )
    )  # fmt: skip


class Record(NamedTuple):
    """A record of the audit."""

    offset: int
    value: bytes


class Broker:
    """Two topics, time, and a worker that answers when it is time."""

    def __init__(self, answer_at: float) -> None:
        self.audit = [outcome("c0")]
        self.given: list[Command] = []
        self.answer_at = answer_at
        self.now = 0.0

    def publish(
        self, topic: str, key: bytes | None, value: bytes | None, *rest: Any, **options: Any
    ) -> None:
        assert (topic, options) == ("app.control", {"partition": 0})
        self.given.append(decode_command(value or b""))

    def flush(self) -> None:
        pass

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self.answer_at and len(self.audit) == 1:
            self.audit += [outcome("c9"), outcome("c1", "done")]

    def ends(self, topic: str) -> dict[int, tuple[int, int]]:
        return {0: (0, len(self.audit))}

    def read(self, topic: str, ends: Any = None) -> Iterator[Sequence[Record]]:
        first, end = ends[0]
        yield [Record(i, self.audit[i]) for i in range(first, end)]


def given(broker: Broker) -> AuditRecord | None:
    """Give the command."""
    return give(COMMAND, app="app", reader=broker, writer=broker, pause=broker, timeout=5.0)


def test_the_outcome_of_this_very_command_is_given() -> None:
    """Others' outcomes come by on the same topic."""
    broker = Broker(answer_at=3.0)
    found = given(broker)
    assert found is not None and (found.id, found.detail) == ("c1", "done")
    assert broker.given == [COMMAND]


def test_nobody_answers() -> None:
    """It is given once, and the wait ends."""
    broker = Broker(answer_at=100.0)
    assert given(broker) is None
    assert broker.given == [COMMAND] and broker.now == pytest.approx(5.0, abs=0.1)


def test_a_record_that_was_told_twice_is_listed_once() -> None:
    """The first time counts."""
    records = distinct([outcome("c1"), outcome("c2"), outcome("c1")])
    assert [record.id for record in records] == ["c1", "c2"]
