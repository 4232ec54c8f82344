"""Features read off an entity's history, at the place of one event in it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TypeAlias

from models.features.history import History
from models.features.specs import OF_VALUES, RiskSpec, Stat, WindowSpec
from models.types import FeatureValue

Row: TypeAlias = list[FeatureValue | None]

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
    return math.dist(values, [total / n] * n) / math.sqrt(n - 1) if n > 1 else 0.0


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
        self._plain = set(spec.stats) <= {Stat.COUNT, Stat.MEAN}

    def read(self, history: History, place: int, time: float, own: float, row: Row) -> None:
        """Append the features of the event that stands at `place`."""
        spec, times = self._spec, history.times
        end = place + 1 if spec.current else place
        if self._plain:
            self._read_plain(history, times, end, time, row)
        else:
            for window in spec.windows:
                begin = min(bisect_right(times, time - window), end)
                self._read_window(history, begin, end, own, row)
        if spec.since_last:
            row.append(time - times[place - 1] if place else None)
        if spec.first_seen:
            row.append(place == 0)

    def _read_plain(
        self, history: History, times: memoryview[float], end: int, time: float, row: Row
    ) -> None:
        # Counts and means are what everybody asks for: one pass over the longest window.
        stats = self._spec.stats
        values = times if self._counts_only else history.column(self._column)
        total, summed_from = 0.0, end
        for window in self._spec.windows:
            begin = min(bisect_right(times, time - window, 0, end), end)
            if not self._counts_only:
                if begin > summed_from:  # Windows in no order.
                    total, summed_from = 0.0, end
                total += sum(values[begin:summed_from].tolist())
                summed_from = begin
            n = end - begin
            for stat in stats:
                if stat is Stat.COUNT:
                    row.append(float(n))
                else:
                    row.append(total / n if n else None)

    def _read_window(self, history: History, begin: int, end: int, own: float, row: Row) -> None:
        values: list[float] = []
        total = 0.0
        if not self._counts_only:
            values = history.column(self._column)[begin:end].tolist()  # type: ignore[assignment]
            total = sum(values)
        for stat in self._spec.stats:
            if stat is Stat.DISTINCT:
                row.append(float(len(set(history.hashes(self._distinct)[begin:end]))))
            elif stat is Stat.COUNT:
                row.append(float(end - begin))
            else:
                row.append(_OF_WINDOW[stat](values, total, own))


def read_risk(spec: RiskSpec, history: History, time: float, row: Row) -> None:
    """Append how many events a window of the past holds, and the share known as positive."""
    times, facts, marks = history.times, history.fact_times, history.fact_marks
    end = time - spec.delay
    n_end, facts_end = bisect_right(times, end), bisect_right(facts, end)
    for window in spec.windows:
        n = n_end - bisect_right(times, end - window)
        n_positive = 0
        if facts_end:
            begin = bisect_right(facts, end - window)
            n_positive = sum(mark & 1 for mark in marks[begin:facts_end])
        row.append(float(n))
        row.append(n_positive / n if n else 0.0)


def no_row(names: Sequence[str]) -> Row:
    """Give the features of an event that names no entity: none."""
    return [None] * len(names)
