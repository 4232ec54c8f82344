"""Dead letters are published again once, wherever the tool is interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from stream.dead_letters import REPLAY_HEADER, Letter
from stream.replays import Chooser, ReplayBook, Replayer, decode_replay
from tests.unit.test_dead_letters import letter

SOURCES = {"app.events": 2, "app.labels": 2}
NOTES = "app.replays"


class Published(NamedTuple):
    """A record of the log in memory."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp: int | None


class Interrupted(Exception):
    """The tool died."""


class MemoryLog:
    """Topics in memory; dies before the n-th record that is published."""

    def __init__(self, n_until_death: int | None = None) -> None:
        self.records: dict[str, list[Published]] = {name: [] for name in [*SOURCES, NOTES]}
        self.n_until_death = n_until_death

    def ends(self, topic: str) -> dict[int, tuple[int, int]]:
        return {p: (0, sum(r.partition == p for r in self.records[topic])) for p in range(2)}

    def read(self, topic: str, ends: Any = None) -> Iterator[list[Published]]:
        for partition, (first, end) in (ends or self.ends(topic)).items():
            yield [
                record
                for record in self.records[topic]
                if record.partition == partition and first <= record.offset < end
            ]

    def publish(self, topic, key, value, timestamp_ms=None, *, partition=None, headers=()) -> None:
        if self.n_until_death is not None:
            if self.n_until_death == 0:
                raise Interrupted
            self.n_until_death -= 1
        offset = self.ends(topic)[partition][1]
        record = Published(partition, offset, key, value, list(headers), timestamp_ms)
        self.records[topic].append(record)

    def flush(self) -> None:
        pass


def run(log: MemoryLog, letters: list[Letter], *, again: bool = False) -> Chooser:
    """Run the tool once: read its notes, settle doubts, publish what is left to publish."""
    book = ReplayBook()
    for batch in log.read(NOTES):
        for record in batch:
            book.add(decode_replay(record.value or b""))
    ends = {name: log.ends(name) for name in SOURCES}
    replayer = Replayer("app", reader=log, writer=log, book=book, ends=ends)
    replayer.settle_doubts()
    chooser = Chooser(SOURCES, book, again=again)
    for _ in replayer.publish(one for one in letters if chooser.takes(one)):
        pass
    return chooser


LETTERS = [letter(0), letter(1, partition=1), letter(7, partition=1), letter(2, topic="app.labels")]


def origins(log: MemoryLog) -> list[bytes]:
    records = [*log.records["app.events"], *log.records["app.labels"]]
    return sorted(dict(record.headers)[REPLAY_HEADER] for record in records)


def test_the_original_goes_back_to_where_it_came_from() -> None:
    """Bytes, key, partition, timestamp and headers; one header more."""
    log = MemoryLog()
    one = letter(7, partition=1, headers=[("trace", b"\xff")])

    run(log, [one])

    (record,) = log.records["app.events"]
    assert (record.partition, record.key, record.value, record.timestamp) == (1, b"k", b"v", 5)
    assert record.headers == [("trace", b"\xff"), (REPLAY_HEADER, b"app.events/1/7")]


def test_a_second_run_publishes_nothing() -> None:
    """Nor does one letter that a crash has written twice."""
    log = MemoryLog()
    run(log, [*LETTERS, letter(0, at=9)])
    before = origins(log)
    assert before == sorted(str(one.origin).encode() for one in LETTERS)

    chooser = run(log, LETTERS)

    assert origins(log) == before
    assert chooser.left == {"published again before": len(LETTERS)}


@pytest.mark.parametrize("n", range(3 * len(LETTERS) + 1))
@pytest.mark.parametrize("n_settling", [None, 0, 1])
def test_an_interrupted_run_is_finished_by_the_next(n: int, n_settling: int | None) -> None:
    """Wherever it died, and if the run after it died as well: each exactly once."""
    log = MemoryLog(n)
    for n_until_death in (n, n_settling, None):
        log.n_until_death = n_until_death
        try:
            run(log, LETTERS)
        except Interrupted:
            continue

    assert origins(log) == sorted(str(one.origin).encode() for one in LETTERS)


def test_what_fails_again_is_left_alone_unless_asked_for() -> None:
    """Else a replay that runs every night would publish it every night."""
    log = MemoryLog()
    failed_again = letter(8, headers=[(REPLAY_HEADER, b"app.events/0/0")])

    assert run(log, [failed_again]).left.total() == 1
    assert origins(log) == []
    run(log, [failed_again], again=True)

    (record,) = log.records["app.events"]
    marks = [value for name, value in record.headers if name == REPLAY_HEADER]
    assert marks == [b"app.events/0/0", b"app.events/0/8"]
    run(log, [failed_again], again=True)
    assert len(log.records["app.events"]) == 1


def test_a_partition_that_is_gone_is_folded_into_those_that_are_there() -> None:
    """A topic was made anew with fewer."""
    log = MemoryLog()

    run(log, [letter(3, partition=5)])

    assert [record.partition for record in log.records["app.events"]] == [1]


def test_headers_of_others_do_not_confuse_the_search() -> None:
    """Producers may write what they like under that name."""
    log = MemoryLog(2)  # Dies after the notes, before the first record.
    with pytest.raises(Interrupted):
        run(log, LETTERS[:2])
    log.n_until_death = None
    for value in (b"\xff", b"a/b/c", b"1", b""):
        log.publish("app.events", None, b"x", partition=0, headers=[(REPLAY_HEADER, value)])

    run(log, LETTERS[:2])

    assert [r.value for r in log.records["app.events"]] == [b"x"] * 4 + [b"v"] * 2


def test_letters_of_other_topics_and_without_content_are_left() -> None:
    """There is nowhere to put them, or nothing to put."""
    log = MemoryLog()
    empty = letter(4)
    body = type(empty.body)("app.events", 0, 4, 5, "null_value", "", None, None, [])
    empty = Letter(empty.address, empty.written_ms, body)

    chooser = run(log, [letter(3, topic="other.events"), empty])

    assert chooser.left == {"of another application's topics": 1, "neither key nor value": 1}
    assert log.records["app.events"] == []


def test_a_second_replay_that_was_interrupted_is_known_by_its_last_header() -> None:
    """The first header names an origin that was settled long ago."""
    failed_again = letter(8, headers=[(REPLAY_HEADER, b"app.events/0/0")])
    log = MemoryLog(2)  # Dies between the record and the note that it was published.
    with pytest.raises(Interrupted):
        run(log, [failed_again], again=True)
    log.n_until_death = None

    run(log, [failed_again], again=True)

    assert len(log.records["app.events"]) == 1
