"""Features read off an entity's history, at the place of one event in it."""

from __future__ import annotations

import math
import operator
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import TypeAlias

from models.features.history import History
from models.features.specs import OF_VALUES, RiskSpec, Stat, WindowSpec
from models.types import FeatureValue

Row: TypeAlias = list[FeatureValue | None]

_COUNT, _SUM, _MEAN = Stat.COUNT, Stat.SUM, Stat.MEAN
_ADDITIVE = frozenset({_COUNT, _SUM, _MEAN, Stat.RATIO})
_OF_WINDOW: dict[Stat, Callable[[list[float], float, float], float | None]] = {
    # Of the window's values, their sum, and the event's own value.
    Stat.COUNT: lambda values, total, own: float(len(values)),
    Stat.SUM: lambda values, total, own: total,
    Stat.MEAN: lambda values, total, own: total / len(values) if values else None,
    Stat.MIN: lambda values, total, own: min(values, default=None),
    Stat.MAX: lambda values, total, own: max(values, default=None),
    Stat.STD: lambda values, total, own: _deviation(values, total),
    Stat.RATIO: lambda values, total, own: own * len(values) / total if total else None,
}


def _deviation(values: list[float], total: float) -> float:
    n = len(values)
    if n < 2:
        return 0.0
    off = [value - total / n for value in values]
    return math.sqrt(math.fsum(map(operator.mul, off, off)) / (n - 1))


def _sum_in_order(values: Iterable[float]) -> float:
    # Each addition rounded, on every Python: the `sum` of newer ones compensates.
    return reduce(operator.add, values, 0.0)


class WindowReader:
    """Reads the features of one `WindowSpec`.

    Parameters
    ----------
    column, distinct
        Columns of the values, and of the hashes to tell apart.
    """

    def __init__(self, spec: WindowSpec, column: int, distinct: int) -> None:
        self._spec = spec
        self._column = column
        self._distinct = distinct
        self._counts_only = not OF_VALUES & set(spec.stats)
        self._windows, self._stats = spec.windows, spec.stats
        self._column_at = 2 + column  # Times and ids come first.
        self.is_additive = set(spec.stats) <= _ADDITIVE and spec.current

    def read(self, history: History, place: int, time: float, own: float, row: Row) -> None:
        """Append the features of the event that stands at `place`."""
        words, times = history.doubles, history.times
        if self.is_additive:
            self.read_next(words, history.n_events, place, 0, time, own, row)
            return
        end = place + 1 if self._spec.current else place
        for window in self._windows:
            begin = min(bisect_right(times, time - window), end)
            self._read_window(history, begin, end, own, row)
        self._read_last(words, place, 0, time, row)

    def read_next(
        self,
        words: memoryview[float],
        n: int,
        place: int,
        first: int,
        time: float,
        own: float,
        row: Row,
    ) -> None:
        """Append the features of an event at `place`, if they are additive.

        `words` are those of a history of `n` events, with the event or, if it is the next, without;
        from `first` on they are kept. Sums begin with the event and go back in time, window by
        window: so each event is added once, and always in this order.
        """
        values_at = 1 + self._column_at * n
        total, summed_from, counts_only = own, place, self._counts_only
        for window in self._windows:
            begin = bisect_right(words, time - window, 1 + first, place + 1) - 1
            if not counts_only:
                if begin > summed_from:  # Windows in no order.
                    total, summed_from = own, place
                total += _sum_in_order(words[values_at + begin : values_at + summed_from].tolist())
                summed_from = begin
            count = place - begin + 1
            for stat in self._stats:
                if stat is _COUNT:
                    row.append(float(count))
                elif stat is _MEAN:
                    row.append(total / count)
                elif stat is _SUM:
                    row.append(total)
                else:
                    row.append(own * count / total if total else None)
        self._read_last(words, place, first, time, row)

    def _read_last(
        self, words: memoryview[float], place: int, first: int, time: float, row: Row
    ) -> None:
        if self._spec.since_last:
            row.append(time - words[place] if first < place else None)
        if self._spec.first_seen:
            row.append(first >= place)

    def _read_window(self, history: History, begin: int, end: int, own: float, row: Row) -> None:
        values: list[float] = []
        total = 0.0
        if not self._counts_only:
            values = history.column(self._column)[begin:end].tolist()  # type: ignore[assignment]
            total = math.fsum(values)
        for stat in self._spec.stats:
            if stat is Stat.DISTINCT:
                row.append(float(len(set(history.hashes(self._distinct)[begin:end]))))
            elif stat is Stat.COUNT:
                row.append(float(end - begin))
            else:
                row.append(_OF_WINDOW[stat](values, total, own))


class RiskReader:
    """Reads the features of one `RiskSpec`: they look at the past alone, never at the event.

    Parameters
    ----------
    n_columns
        Columns of a history beside times and ids.
    """

    def __init__(self, spec: RiskSpec, n_columns: int) -> None:
        self._spec = spec
        self._n_columns = n_columns

    def read(self, data: bytes, n: int, n_facts: int, time: float, row: Row) -> None:
        """Append how many events windows of the past hold, and the share known as positive."""
        words = memoryview(data).cast("d")
        end = time - self._spec.delay
        n_end = bisect_right(words, end, 1, n + 1)
        facts_at = 1 + (2 + self._n_columns) * n
        facts_end = bisect_right(words, end, facts_at, facts_at + n_facts) if n_facts else facts_at
        for window in self._spec.windows:
            count = n_end - bisect_right(words, end - window, 1, n_end)
            n_positive = 0
            if facts_end > facts_at:
                begin = bisect_right(words, end - window, facts_at, facts_end) + 2 * n_facts
                marks = memoryview(data).cast("Q")[begin : facts_end + 2 * n_facts]
                n_positive = sum(mark & 1 for mark in marks)
            row.append(float(count))
            row.append(n_positive / count if count else 0.0)


def no_row(names: Sequence[str]) -> Row:
    """Give the features of an event that names no entity: none."""
    return [None] * len(names)
