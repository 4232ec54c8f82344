"""Which segments of a stream are watched apart, and how often their examples come.

The values of a segment field are many, and a watch costs memory. So the commonest have one each,
and all others share one. Who is common is decided again and again, at places in the stream that
are fixed: how it comes in batches, or is interrupted, makes no difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from models.types import Example, Features

N_MAX = 8
_FIRST_ELECTION = 8
_PERIOD = 1024
_ELECTION_EVERY = 64 * _PERIOD
_N_COUNTED = 16
"""So many times as many values as have a watch stay counted from one period to the next."""
_IN_OFFICE = 2
"""A value takes another one's watch if it is more than so many times as common."""
_PACE_N_MIN = 128


def segment_of(features: Features, field: str) -> str:
    """Give the value that an event has in a segment field; empty where it has none."""
    return str(features.get(field, ""))


def spans(n_before: int, n: int) -> Iterator[slice]:
    """Cut the next `n` of a stream at the places where segments are chosen and paces measured.

    Examples
    --------
    >>> [(part.start, part.stop) for part in spans(5, 12)]
    [(0, 3), (3, 11), (11, 12)]
    """
    start = 0
    while start < n:
        at = n_before + start
        if at < _PERIOD:
            place = max(_FIRST_ELECTION, 1 << at.bit_length())
        else:
            place = (at // _PERIOD + 1) * _PERIOD
        end = min(n, place - n_before)
        yield slice(start, end)
        start = end


def is_place(n: int) -> bool:
    """Say whether `spans` cuts a stream after so many."""
    return n % _PERIOD == 0 or (_FIRST_ELECTION <= n < _PERIOD and n.bit_count() == 1)


class Roster:
    """The values of a segment field that are watched apart: the commonest ones.

    They are chosen after 8 events, and again whenever there are twice as many, later after each
    65,536: by the counts since the last time, so that a newcomer has a chance. Between, only the
    commonest values stay counted, so what a field with a million values takes is bounded.

    Examples
    --------
    >>> roster = Roster("country", n_max=2)
    >>> rows = [{"country": name} for name in ("AT", "DE", "AT", "CH", "DE", "AT", "LI", "DE")]
    >>> roster.split(rows)
    {None: [0, 1, 2, 3, 4, 5, 6, 7]}
    >>> roster.settle(8), roster.values
    (True, ('AT', 'DE'))
    >>> roster.split(rows)
    {'AT': [0, 2, 5], 'DE': [1, 4, 7], None: [3, 6]}
    """

    def __init__(self, field: str, n_max: int = N_MAX) -> None:
        self.field = field
        self.n_max = n_max
        self.values: tuple[str, ...] = ()
        self._counts: Counter[str] = Counter()

    def split(self, rows: Sequence[Features | Example]) -> dict[str | None, list[int]]:
        """Count the values of a part, and give the places of each watched one; None: of others."""
        watched, counts, field = frozenset(self.values), self._counts, self.field
        places: dict[str | None, list[int]] = {}
        for at, row in enumerate(rows):
            value = segment_of(row.features if isinstance(row, Example) else row, field)
            counts[value] += 1
            places.setdefault(value if value in watched else None, []).append(at)
        return places

    def settle(self, n: int) -> bool:
        """Choose anew if it is time, after `n` of the stream; say whether the choice is another."""
        if n.bit_count() > 1 and n % _ELECTION_EVERY:
            kept = self._ranked(self._counts)[: _N_COUNTED * self.n_max]
            self._counts = Counter({value: self._counts[value] for value in kept})
            return False
        weights = dict(self._counts)
        weights |= {value: _IN_OFFICE * self._counts[value] for value in self.values}
        before, self._counts = self.values, Counter()
        self.values = tuple(sorted(self._ranked(weights)[: self.n_max]))
        return self.values != before

    @staticmethod
    def _ranked(counts: Mapping[str, int]) -> list[str]:
        return sorted(counts, key=lambda value: (-counts[value], value))


class Pace:
    """How many examples come in a time: event time, which a replay sees again.

    The average fades with `memory_s`, so the hours of a day even out. An event that comes late
    changes nothing; time goes by as the latest event says.
    """

    def __init__(self, memory_s: float) -> None:
        self._memory_s = memory_s
        self._latest: float | None = None
        self._mark = 0.0
        self._n_new = self._n_ever = 0
        self._n = self._seconds = 0.0

    def take(self, event_times: Sequence[float], each: int = 1) -> None:
        """Note a part of `spans`; each time stands for so many examples."""
        if self._latest is None:
            self._latest = self._mark = event_times[0]
        self._latest = max(self._latest, *event_times)
        self._n_new += each * len(event_times)

    def settle(self) -> None:
        """Let the average take in what came, at a place of `spans`."""
        if self._latest is None:
            return
        seconds = self._latest - self._mark
        kept = self._memory_s / (self._memory_s + seconds)
        self._n = self._n * kept + self._n_new
        self._seconds = self._seconds * kept + seconds
        self._n_ever += self._n_new
        self._mark, self._n_new = self._latest, 0

    def examples_in(self, seconds: float) -> float | None:
        """Give how many examples come in a time; None as long as nobody can tell."""
        if self._n_ever < _PACE_N_MIN or not self._seconds:
            return None
        return self._n / self._seconds * seconds
