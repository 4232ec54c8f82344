"""Publish dead letters again, each once, wherever the tool is interrupted.

No single write says both "published" and "noted", so a note goes before and after, as in a
write-ahead log, on `<app>.replays`:

1. `intended`: the origin, the partition that it goes to, and an offset before which it is not;
2. the original bytes to their topic, with a header that names the origin;
3. `published`.

After a crash between 1 and 3 the next run looks for the header from that offset on, and knows.
What was noted as published is left alone for good, also when it has failed again since: it is then
a dead letter of its own, with the header, and published again only if that is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from stream import topics
from stream.dead_letters import REPLAY_HEADER, Letter, Origin
from stream.messages import SCHEMA, encode_json
from stream.ports import LogReader

INTENDED = "intended"
PUBLISHED = "published"
BATCH = 500


class Replay(msgspec.Struct, frozen=True):
    """A note on a letter: the record that it is about, and what became of it."""

    topic: str
    partition: int
    offset: int
    state: str
    to_partition: int
    not_before: int
    schema: int = SCHEMA

    @property
    def origin(self) -> Origin:
        """The record that could not be used."""
        return Origin(self.topic, self.partition, self.offset)


decode_replay = msgspec.json.Decoder(Replay).decode


class Writer(Protocol):
    """Publishes: `stream.kafka_log.Publisher`, or a log in memory."""

    def publish(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int | None = None,
        *,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Queue a record."""
        ...

    def flush(self) -> None:
        """Wait until all that was queued is acknowledged."""
        ...


class ReplayBook:
    """What has been published again, and what a run that was interrupted may have published."""

    def __init__(self) -> None:
        self._open: dict[Origin, Replay] = {}
        self._published: set[Origin] = set()

    def add(self, note: Replay) -> None:
        """Take a note in."""
        if note.state == PUBLISHED:
            self._published.add(note.origin)
            self._open.pop(note.origin, None)
        elif note.origin not in self._published:
            self._open[note.origin] = note

    def has(self, origin: Origin) -> bool:
        """Whether the record was published again."""
        return origin in self._published

    def in_doubt(self) -> dict[Origin, Replay]:
        """Give what may or may not have been published."""
        return dict(self._open)


class Chooser:
    """Decides which letters of a selection are published again; counts the others by why.

    Parameters
    ----------
    sources
        Topics that letters come from, and their numbers of partitions.
    again
        Whether to take letters of records that were published again before and failed again.
    """

    def __init__(self, sources: Mapping[str, int], book: ReplayBook, *, again: bool) -> None:
        self._sources = sources
        self._book = book
        self._again = again
        self._chosen: set[Origin] = set()
        self.left: Counter[str] = Counter()

    def takes(self, letter: Letter) -> bool:
        """Whether a letter is to be published again, now."""
        why = self._why_not(letter)
        if why is None:
            self._chosen.add(letter.origin)
        else:
            self.left[why] += 1
        return why is None

    def _why_not(self, letter: Letter) -> str | None:
        if letter.body.topic not in self._sources:
            return "of another application's topics"
        if self._book.has(letter.origin):
            return "published again before"
        if letter.origin in self._chosen:
            return "written twice, after a crash"
        if letter.replay_of and not self._again:
            return "replays that failed again: --again publishes them once more"
        if letter.body.key is None and letter.body.value is None:
            return "neither key nor value"
        return None


class Replayer:
    """Publishes letters again and keeps the book.

    Parameters
    ----------
    ends
        First and end offsets of the topics that letters go back to, read before this run.
    """

    def __init__(
        self,
        app: str,
        *,
        reader: LogReader,
        writer: Writer,
        book: ReplayBook,
        ends: Mapping[str, Mapping[int, tuple[int, int]]],
    ) -> None:
        self._notes = topics.REPLAYS.full_name(app)
        self._reader = reader
        self._writer = writer
        self._book = book
        self._ends = ends

    def settle_doubts(self) -> int:
        """Find out what an interrupted run has published; give how many letters it had."""
        doubts = self._book.in_doubt()
        starts: dict[tuple[str, int], int] = {}
        for note in doubts.values():
            place = note.topic, note.to_partition
            starts[place] = min(note.not_before, starts.get(place, note.not_before))
        found: list[Replay] = []
        for (topic, partition), start in starts.items():
            first, end = self._ends[topic][partition]
            for batch in self._reader.read(topic, {partition: (max(first, start), end)}):
                found += [doubts[origin] for origin in _replayed(batch) if origin in doubts]
        self._note(found, PUBLISHED)
        return len(found)

    def publish(self, letters: Iterable[Letter]) -> Iterator[int]:
        """Publish letters again; gives how many after each batch."""
        batch: list[Letter] = []
        for letter in letters:
            batch.append(letter)
            if len(batch) == BATCH:
                self._publish(batch)
                yield len(batch)
                batch = []
        if batch:
            self._publish(batch)
            yield len(batch)

    def _publish(self, letters: list[Letter]) -> None:
        notes = [self._intention(letter) for letter in letters]
        self._note(notes, INTENDED)
        for letter, note in zip(letters, notes, strict=True):
            mark = (REPLAY_HEADER, str(letter.origin).encode())
            self._writer.publish(
                letter.body.topic,
                letter.key(),
                letter.value(),
                # Where no time is configured the record's own is the event's: it must not change.
                letter.body.timestamp if letter.body.timestamp > 0 else None,
                partition=note.to_partition,
                headers=[*letter.headers(), mark],
            )
        self._writer.flush()
        self._note(notes, PUBLISHED)

    def _intention(self, letter: Letter) -> Replay:
        ends = self._ends[letter.body.topic]
        partition = letter.body.partition
        if partition not in ends:
            partition %= len(ends)
        _, end = ends[partition]
        return Replay(*letter.origin, INTENDED, partition, end)

    def _note(self, notes: Iterable[Replay], state: str) -> None:
        for note in notes:
            noted = msgspec.structs.replace(note, state=state)
            key = str(note.origin).encode()
            self._writer.publish(self._notes, key, encode_json(noted), partition=0)
            self._book.add(noted)
        self._writer.flush()


def _replayed(records: Sequence[Any]) -> Iterator[Origin]:
    """Find the records that were published again; of several headers the last one counts."""
    for record in records:
        marks = [value for name, value in record.headers or () if name == REPLAY_HEADER]
        if marks:
            # Producers may write any header: what is no origin is none of ours.
            parts = marks[-1].decode(errors="replace").rsplit("/", 2)
            if len(parts) == 3 and parts[1].isdecimal() and parts[2].isdecimal():
                yield Origin(parts[0], int(parts[1]), int(parts[2]))
