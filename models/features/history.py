"""One entity's past, as bytes: its events in the order of their times, and what labels said.

A history is words of eight bytes: a head (how many events, facts and columns there are, and what
the columns mean), then by columns the times of the events, the hashes of their ids, their values;
then the times, the hashes and the marks of the facts. Columns, because windows are slices of them,
which `memoryview` takes without a copy; bytes, because a million entities fit where a million
objects would not, and what is in memory is what is stored.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Sequence

HEAD = struct.Struct("<HHHH")
_DOUBLE = struct.Struct("<d")
_HASH = struct.Struct("<Q")
_WORD = 8
EVENTS_MAX = 0xFFFF
"""What the head can count."""


def newest_of(data: bytes) -> float:
    """Give the time of the newest event that a history of any layout is about."""
    n_events, n_facts, n_columns, _ = HEAD.unpack_from(data)
    newest = float("-inf")
    if n_events:
        (newest,) = _DOUBLE.unpack_from(data, n_events * _WORD)
    if n_facts:
        last = (2 + n_columns) * n_events + n_facts
        newest = max(newest, _DOUBLE.unpack_from(data, last * _WORD)[0])
    return newest


def is_whole(data: bytes) -> bool:
    """Tell whether a history, of any layout, is as long as its head says.

    Examples
    --------
    >>> is_whole(HEAD.pack(0, 0, 2, 7)), is_whole(HEAD.pack(1, 0, 2, 7)), is_whole(b"")
    (True, False, False)
    """
    if len(data) < HEAD.size:
        return False
    n_events, n_facts, n_columns, _ = HEAD.unpack_from(data)
    n_words = 1 + (2 + n_columns) * n_events + 3 * n_facts
    return bool(len(data) == _WORD * n_words)


class History:
    """A history taken apart for reading; what changes it gives new bytes.

    Parameters
    ----------
    data
        The bytes; None, or those of another layout, are those of an entity without a past.
    layout
        What the columns are, as a number.
    n_columns
        Columns of events beside their times and ids.
    """

    __slots__ = ("_facts_at", "_layout", "_n_columns", "data", "doubles", "n_events", "n_facts")

    def __init__(self, data: bytes | None, layout: int, n_columns: int) -> None:
        self.n_events = self.n_facts = 0
        if data is not None:
            self.n_events, self.n_facts, *its = HEAD.unpack_from(data)
            if its != [n_columns, layout]:
                data, self.n_events, self.n_facts = None, 0, 0
        self.data = HEAD.pack(0, 0, n_columns, layout) if data is None else data
        self._layout = layout
        self._n_columns = n_columns
        self._facts_at = 1 + (2 + n_columns) * self.n_events
        self.doubles = memoryview(self.data).cast("d")

    @property
    def times(self) -> memoryview[float]:
        """Times of the events, in order."""
        return self.doubles[1 : 1 + self.n_events]

    def column(self, i: int) -> memoryview[float]:
        """Give a column of values, in the order of the times."""
        start = 1 + (2 + i) * self.n_events
        return self.doubles[start : start + self.n_events]

    def hashes(self, i: int) -> memoryview[int]:
        """Give a column of hashes."""
        return self.column(i).cast("B").cast("Q")

    @property
    def fact_times(self) -> memoryview[float]:
        """Times of the events that facts are about, in order."""
        return self.doubles[self._facts_at : self._facts_at + self.n_facts]

    @property
    def fact_marks(self) -> memoryview[int]:
        """What the facts say: twice the revision, and one more if it is positive."""
        start = self._facts_at + 2 * self.n_facts
        return memoryview(self.data).cast("Q")[start : start + self.n_facts]

    def find(self, event_hash: int) -> int:
        """Give the place of an event by the hash of its id; -1 if it is not here."""
        return self._find(event_hash, 1 + self.n_events, self.n_events)

    def _find(self, event_hash: int, start: int, n: int) -> int:
        wanted = _HASH.pack(event_hash)
        at, end = start * _WORD, (start + n) * _WORD
        while (at := self.data.find(wanted, at, end)) >= 0:
            if at % _WORD == 0:
                return at // _WORD - start
            at += 1
        return -1

    def _head(self, n_events: int, n_facts: int) -> bytes:
        return HEAD.pack(n_events, n_facts, self._n_columns, self._layout)

    def with_event(
        self, time: float, event_hash: int, values: Sequence[bytes], low: float, events_max: int
    ) -> tuple[bytes, int]:
        """Give the bytes with one event more, and without those up to `low`; and its place.

        `values` are words. With more than `events_max` the oldest go.
        """
        times = self.times
        n, place = self.n_events, self.n_events
        if n and time < times[-1]:
            place = bisect_right(times, time)
        first = 0 if not n or times[0] > low else bisect_right(times, low)
        first = max(first, n + 1 - events_max)
        if place < first:  # Older than all that may be kept.
            place = first = min(place, n)
        parts = [self._head(n - first + 1, self.n_facts)]
        data = self.data
        for i, word in enumerate((_DOUBLE.pack(time), _HASH.pack(event_hash), *values)):
            start = (1 + i * n) * _WORD
            middle = start + place * _WORD
            parts += (data[start + first * _WORD : middle], word, data[middle : start + n * _WORD])
        parts.append(self._facts_after(low))
        if self.n_facts and self.fact_times[0] <= low:
            n_facts = self.n_facts - bisect_right(self.fact_times, low)
            parts[0] = self._head(n - first + 1, n_facts)
        return b"".join(parts), place - first

    def _facts_after(self, low: float) -> bytes:
        n, at = self.n_facts, self._facts_at
        first = bisect_right(self.fact_times, low) if n and self.fact_times[0] <= low else 0
        if not first:
            return self.data[at * _WORD :]
        starts = [at + i * n for i in range(3)]
        return b"".join(self.data[(s + first) * _WORD : (s + n) * _WORD] for s in starts)

    def with_fact(self, time: float, event_hash: int, revision: int, positive: bool) -> bytes:
        """Give the bytes with what a label says of an event; the newest revision stands.

        A negative matters only where a positive went before.
        """
        n, at = self.n_facts, self._facts_at
        place = self._find(event_hash, at + n, n)
        mark = 2 * revision + positive
        if place >= 0:
            if self.fact_marks[place] // 2 >= revision:
                return self.data
            spot = (at + 2 * n + place) * _WORD
            return self.data[:spot] + _HASH.pack(mark) + self.data[spot + _WORD :]
        if not positive or n >= EVENTS_MAX:
            return self.data
        place = bisect_right(self.fact_times, time)
        parts = [self._head(self.n_events, n + 1), self.data[_WORD : at * _WORD]]
        for i, word in enumerate((_DOUBLE.pack(time), _HASH.pack(event_hash), _HASH.pack(mark))):
            start = (at + i * n) * _WORD
            middle = start + place * _WORD
            parts += (self.data[start:middle], word, self.data[middle : start + n * _WORD])
        return b"".join(parts)
