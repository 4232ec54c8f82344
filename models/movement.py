"""Which features moved: the values before and after a point in the log, compared one by one.

Numbers are compared by the Kolmogorov-Smirnov distance, categories by total variation. Both are
between 0 and 1 and know no units, so features can be ranked by them; both have a test of whether
chance alone would have moved them as far.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np

from models.compiled import AVAILABLE
from models.segments import segment_of
from models.types import DriftLevel, DriftSignal, Example, Features, FeatureValue, Movement

if AVAILABLE:
    from models.compiled import _native

_THIN = 8
_N_HELD = 2048
_N_RECENT = 128
_N_SIDE_MIN = 8
_N_TOLD = 5
_CHANCE = 0.01
_EXPECTED_MIN = 5.0


class Moved(NamedTuple):
    """How far one feature moved, and the chance that it would have without any change."""

    movement: Movement
    chance: float


class FeatureSample:
    """The last examples, and every eighth before them: to tell what moved at a change point.

    Batches are held as they come, which costs nothing on the hot path; rows are chosen when a
    signal asks for them, and when the state is saved.
    """

    def __init__(self) -> None:
        self._batches: deque[tuple[int, Sequence[int], Sequence[Features | Example]]] = deque()
        self._n = 0

    def explain(
        self, signals: list[DriftSignal], positions: Sequence[int], examples: Sequence[Example]
    ) -> list[DriftSignal]:
        """Take a batch, and add to its signals which features moved since the change began."""
        batches = self._batches
        batches.append((self._n, positions, examples))
        self._n += len(examples)
        while batches[0][0] + len(batches[0][1]) <= self._n - _N_HELD - len(examples):
            batches.popleft()
        return [
            msgspec.structs.replace(signal, moved=self._moved(signal))
            if signal.level is DriftLevel.CONFIRMED
            else signal
            for signal in signals
        ]

    def _rows(self, end: int) -> list[tuple[int, int, Features]]:
        # What is known once `end` examples were taken: index, position and features of each.
        chosen = []
        for first, positions, rows in self._batches:
            n = len(positions)
            oldest = max(end - _N_HELD - first, 0)
            thinned_at = oldest + -(first + oldest) % _THIN
            thinned = range(thinned_at, min(n, end - _N_RECENT - first), _THIN)
            recent = range(max(end - _N_RECENT - first, 0), min(n, end - first))
            for at in (*thinned, *recent):
                row = rows[at]
                features = row.features if isinstance(row, Example) else row
                chosen.append((first + at, positions[at], features))
        return chosen

    def _moved(self, signal: DriftSignal) -> tuple[Movement, ...]:
        # As it was at the signal, which the rest of the batch is not to change.
        first, positions, _ = next(b for b in reversed(self._batches) if b[1][0] <= signal.position)
        rows = self._rows(first + bisect_right(positions, signal.position))
        part = signal.segment
        if part is not None:
            # Those of the rest cannot be told by the field alone, and are too many kinds to say.
            rows = [row for row in rows if segment_of(row[2], part.field) == part.value]
        since = signal.since or 0
        before = [features for _, position, features in rows if position < since]
        return rank(before, [features for _, position, features in rows if position >= since])

    def __getstate__(self) -> dict[str, Any]:
        return {"n": self._n, "rows": self._rows(self._n)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._n = state["n"]
        self._batches = deque((index, (at,), (row,)) for index, at, row in state["rows"])


def rank(before: Sequence[Features], after: Sequence[Features]) -> tuple[Movement, ...]:
    """Tell the features that moved most between two sets of rows, beyond what chance does.

    Examples
    --------
    >>> rows = [{"amount": float(i % 8) + 9.0 * (i >= 400), "hour": i % 5} for i in range(800)]
    >>> [(moved.feature, moved.before, moved.after) for moved in rank(rows[:400], rows[400:])]
    [('amount', 3.5, 12.5)]
    """
    compared = compare_all(before, after, _N_SIDE_MIN)
    found = [moved.movement for moved in compared if moved.chance * len(compared) < _CHANCE]
    found.sort(key=lambda movement: (-movement.distance, movement.feature))
    return tuple(found[:_N_TOLD])


def compare_all(
    before: Sequence[Features], after: Sequence[Features], n_side_min: int = 1
) -> list[Moved]:
    """Compare each feature that is known of at least so many rows on either side, by name."""
    found = []
    columns = _columns(before, after)
    for name in sorted(columns):
        numbers = columns[name]
        if numbers is None:
            old = [row[name] for row in before if name in row]
            new = [row[name] for row in after if name in row]
            if min(len(old), len(new)) >= n_side_min:
                found.append(compare(name, old, new))
        elif min(numbers[3:]) >= n_side_min:
            found.append(_of_numbers(name, *numbers))
    return found


_Numbers: TypeAlias = tuple[float, float, float, int, int]
"""Distance, mean before, mean after, values before and after."""


def _columns(
    before: Sequence[Features], after: Sequence[Features]
) -> Mapping[str, _Numbers | None]:
    if AVAILABLE:
        return _native.compare_numbers(before, after)
    return dict.fromkeys(set().union(*before, *after))


def compare(feature: str, old: Sequence[FeatureValue], new: Sequence[FeatureValue]) -> Moved:
    """Compare a feature's values before and after."""
    if {*map(type, old), *map(type, new)} <= {int, float}:
        return _compare_numbers(feature, old, new)  # type: ignore[arg-type]
    return _compare_categories(feature, Counter(map(str, old)), Counter(map(str, new)))


def _compare_numbers(feature: str, old: Sequence[float], new: Sequence[float]) -> Moved:
    a, b = np.sort(np.array(old, np.float64)), np.sort(np.array(new, np.float64))
    places = np.concatenate((a, b))
    shares_a = np.searchsorted(a, places, side="right") / len(a)
    shares_b = np.searchsorted(b, places, side="right") / len(b)
    distance = float(np.max(np.abs(shares_a - shares_b)))
    # One after the other, in order: so the native code's sums are the same.
    mean_old, mean_new = np.cumsum(a)[-1] / len(a), np.cumsum(b)[-1] / len(b)
    return _of_numbers(feature, distance, float(mean_old), float(mean_new), len(a), len(b))


def _of_numbers(
    feature: str, distance: float, mean_old: float, mean_new: float, n_old: int, n_new: int
) -> Moved:
    movement = Movement(feature, distance, mean_old, mean_new)
    return Moved(movement, ks_chance(distance, n_old, n_new))


def ks_chance(distance: float, n: int, m: int) -> float:
    """Bound the chance of a Kolmogorov-Smirnov distance between two samples of one distribution.

    The first term of Kolmogorov's series, which is an upper bound; ties make it smaller.
    """
    return min(1.0, 2.0 * math.exp(-2.0 * distance**2 * n * m / (n + m)))


def _compare_categories(feature: str, old: Counter[str], new: Counter[str]) -> Moved:
    n, m = old.total(), new.total()
    shares = {value: (old[value] / n, new[value] / m) for value in sorted(old | new)}
    distance = 0.5 * math.fsum(abs(a - b) for a, b in shares.values())
    value = max(shares, key=lambda value: abs(shares[value][0] - shares[value][1]))
    movement = Movement(feature, distance, *shares[value], value)
    return Moved(movement, _chi_square_chance(old, new))


def _chi_square_chance(old: Mapping[str, int], new: Mapping[str, int]) -> float:
    # Pearson's test of two samples. Rare categories are counted as one, since the statistic is
    # chi-square only where about five or more are expected.
    n, m = sum(old.values()), sum(new.values())
    cells: Counter[tuple[str, bool]] = Counter()
    totals: Counter[str] = Counter()
    for value in sorted({*old, *new}):
        total = old.get(value, 0) + new.get(value, 0)
        name = f"={value}" if total * min(n, m) / (n + m) >= _EXPECTED_MIN else "rare"
        cells[name, False] += old.get(value, 0)
        cells[name, True] += new.get(value, 0)
        totals[name] += total
    freedom = len(totals) - 1
    if freedom < 1:
        return 1.0
    statistic = math.fsum(
        (cells[name, is_new] - total * size / (n + m)) ** 2 / (total * size / (n + m))
        for name, total in totals.items()
        for is_new, size in ((False, n), (True, m))
    )
    # Wilson and Hilferty: the cube root of a chi-square is nearly normal.
    spread = 2.0 / (9.0 * freedom)
    z = ((statistic / freedom) ** (1.0 / 3.0) - (1.0 - spread)) / math.sqrt(spread)
    return 0.5 * math.erfc(z / math.sqrt(2.0))
