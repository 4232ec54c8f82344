"""Which features matter at large: how far each has pushed lately, whichever way."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from models.reasons import Attribution


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
    >>> importance.unit, importance.n, importance.values()
    ('log_odds', 2, {'a': 1.5, 'b': 0.25})
    """

    def __init__(self, n: int) -> None:
        self._window: deque[Attribution] = deque(maxlen=n)
        self._values: dict[str, float] | None = None
        self.unit = ""

    @property
    def n(self) -> int:
        """Explained scores that it is about."""
        return len(self._window)

    def add(self, attributions: Sequence[Attribution]) -> None:
        """Take explained scores in."""
        for attribution in attributions:
            if attribution.unit != self.unit:
                self._window.clear()
                self.unit = attribution.unit
            self._window.append(attribution)
        self._values = None

    def values(self) -> dict[str, float]:
        """Give the means by feature, the greatest first; a feature that was missing gave 0."""
        if self._values is None:
            # Events mostly have the same features, and by column it takes a third less time.
            alike: dict[tuple[str, ...], list[Sequence[float]]] = {}
            for attribution in self._window:
                alike.setdefault(tuple(attribution.names), []).append(attribution.contributions)
            pushes: dict[str, list[float]] = {}
            for names, rows in alike.items():
                for name, column in zip(names, zip(*rows, strict=True), strict=True):
                    pushes.setdefault(name, []).extend(map(abs, column))
            means = {name: math.fsum(found) / self.n for name, found in pushes.items()}
            self._values = dict(sorted(means.items(), key=lambda item: (-item[1], item[0])))
        return self._values
