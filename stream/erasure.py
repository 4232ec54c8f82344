"""Erasure: which examples are a subject's, and which versions were folded from them.

Why a rollback inspects the log before it begins: what is to be left out may be named by what the
examples say, and a version's id does not tell whether it has learned one of those. Who asks for an
erasure must not be told that it is done while the version that he chose remembers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from models.exposure import Exposure
from models.lineage import Exclusion, Lineage, Segment
from models.types import Example
from stream import topics
from stream.messages import decode_example
from stream.ports import Logs, Record
from stream.replay import check_no_gap

INSPECTED_AT_ONCE = 2_000
"""Examples looked at in one step of the learn lane: a few milliseconds of it."""


class Sighting(NamedTuple):
    """An example that is to be left out, at its offset."""

    offset: int
    example: Example


def marking(without: Exclusion) -> Lineage:
    """Give what tells the examples that are meant from others."""
    return Lineage([Segment(lineage=1, base="v1-0", start=0, command="", without=without)])


def sightings(records: Iterable[Record], marks: Lineage) -> Iterator[Sighting]:
    """Find the examples that are meant, in the order of the log."""
    for record in records:
        example = decode_example(record.value or b"")
        if marks.leaves_out(example, record.offset):
            yield Sighting(record.offset, example)


class Inspection:
    """Looks through the log, a step at a time, for what a version has seen and should not have."""

    def __init__(self, version_id: str, segments: Sequence[Segment], without: Exclusion) -> None:
        self._exposure = Exposure(version_id, segments)
        self._marks = marking(without)
        self._until = max((end for _, end in self._exposure.spans), default=0)
        self._position = 0
        self.found: Sighting | None = None

    @property
    def is_done(self) -> bool:
        """Whether all was looked through, or something was found."""
        return self.found is not None or self._position >= self._until

    async def advance(self, logs: Logs) -> None:
        """Look at what comes next; raises `LogIncomplete` if that is gone."""
        if self.is_done:
            return
        limit = min(INSPECTED_AT_ONCE, self._until - self._position)
        records = await logs.read(topics.EXAMPLES.name, 0, self._position, limit)
        for sighting in sightings(records, self._marks):
            if self._exposure.holds(sighting.example, sighting.offset):
                self.found = sighting
                return
        if records:
            check_no_gap(self._position, [record.offset for record in records])
            self._position = records[-1].offset + 1
