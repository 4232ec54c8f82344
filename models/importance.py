"""Which features matter at large: how far each has pushed lately, whichever way."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from models.reasons import Attribution


class Means(msgspec.Struct, frozen=True):
    """Which features mattered in `n` explained scores at `time`, the greatest first.

    `values` are mean absolute contributions, of all features and not of the named ones alone, in
    the scores' `unit`.
    """

    unit: str
    n: int
    values: dict[str, float]
    time: float


def pool(told: Iterable[Means]) -> Means | None:
    """Give the means over all scores that any of these is about; None if there are none.

    Means of another unit than the newest are of another kind of model, and are left out. `time` is
    that of the newest.

    Examples
    --------
    >>> pool([Means("score", 3, {"a": 1.0}, 7.0), Means("score", 1, {"a": 2.0, "b": 4.0}, 9.0)])
    Means(unit='score', n=4, values={'a': 1.25, 'b': 1.0}, time=9.0)
    """
    known = [one for one in told if one.n]
    if not known:
        return None
    newest = max(known, key=lambda one: one.time)
    alike = [one for one in known if one.unit == newest.unit]
    n = sum(one.n for one in alike)
    pushes: dict[str, list[float]] = {}
    for one in alike:
        for name, mean in one.values.items():
            pushes.setdefault(name, []).append(one.n * mean)
    means = {name: math.fsum(found) / n for name, found in pushes.items()}
    return Means(newest.unit, n, _greatest_first(means), newest.time)


def _greatest_first(means: dict[str, float]) -> dict[str, float]:
    return dict(sorted(means.items(), key=lambda item: (-item[1], item[0])))


class Importance:
    """The mean absolute contribution of each feature to the last explained scores.

    What is remembered are the contributions themselves: a score costs one append, and means are
    taken when they are asked for, so they have no memory of what has left the window. Contributions
    of another unit (another kind of model has come) begin the window anew.

    Parameters
    ----------
    n
        Explained scores that are remembered.

    Examples
    --------
    >>> importance = Importance(2)
    >>> for a, b in [(9.0, 9.0), (1.0, 0.5), (-2.0, 0.0)]:
    ...     columns = ["a", "b"], [1, 1], [None, None], [a, b]
    ...     importance.add([Attribution("linear", "log_odds", 0.0, *columns, a + b)])
    >>> importance.means(now=5.0)
    Means(unit='log_odds', n=2, values={'a': 1.5, 'b': 0.25}, time=5.0)
    """

    def __init__(self, n: int) -> None:
        self._window: deque[Attribution] = deque(maxlen=n)
        self._unit = ""

    def add(self, attributions: Sequence[Attribution]) -> None:
        """Take explained scores in."""
        for attribution in attributions:
            if attribution.unit != self._unit:
                self._window.clear()
                self._unit = attribution.unit
            self._window.append(attribution)

    def means(self, now: float) -> Means:
        """Give the means by feature, the greatest first; a feature that was missing gave 0."""
        # Events mostly have the same features, and by column it takes a third less time.
        alike: dict[tuple[str, ...], list[Sequence[float]]] = {}
        for attribution in self._window:
            alike.setdefault(tuple(attribution.names), []).append(attribution.contributions)
        pushes: dict[str, list[float]] = {}
        for names, rows in alike.items():
            for name, column in zip(names, zip(*rows, strict=True), strict=True):
                pushes.setdefault(name, []).extend(map(abs, column))
        n = len(self._window)
        found = {name: math.fsum(column) / n for name, column in pushes.items()}
        return Means(self._unit, n, _greatest_first(found), now)
