"""The evidence of a comparison over time, drawn with characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.gate import Point

HEIGHT, WIDTH = 11, 64
MEAN, BOUND, ZERO = "o", ".", "-"


def plot(points: Sequence[Point], *, width: int = WIDTH, height: int = HEIGHT) -> list[str]:
    """Draw the mean advantage and the bounds of its interval against the number of examples.

    What lies above the dashes speaks for the challenger; once the lower bound does, it is proven.

    Examples
    --------
    >>> from models.gate import Point
    >>> points = [Point(n, 0.1, 0.1 - 2.0 / n, 0.1 + 2.0 / n, 0.0) for n in range(10, 110, 10)]
    >>> for line in plot(points, width=20, height=7):
    ...     print(line)
     +0.1500 |      ....
             |          ..........
     +0.1000 |oooooooooooooooooooo
             |          ..........
     +0.0500 |      ....
             |    ..
     +0.0000 |--..----------------
             +--------------------
              10               100
    """
    if not points:
        return []
    # The first intervals span everything: what is drawn is what they come to.
    settled = points[len(points) // 3 :]
    low = min(0.0, *(point.low for point in settled), *(point.mean for point in settled))
    high = max(0.0, *(point.high for point in settled), *(point.mean for point in settled))
    span = (high - low) or 1.0
    rows = [[" "] * width for _ in range(height)]

    def row_of(value: float) -> int | None:
        row = round((high - value) / span * (height - 1))
        return row if 0 <= row < height else None

    def put(column: int, value: float, mark: str) -> None:
        row = row_of(value)
        if row is not None:
            rows[row][column] = mark

    for column in range(width):
        point = points[min(len(points) - 1, column * len(points) // width)]
        for value, mark in ((0.0, ZERO), (point.low, BOUND), (point.high, BOUND)):
            put(column, value, mark)
        put(column, point.mean, MEAN)
    lines = []
    for i, row in enumerate(rows):
        value = high - span * i / (height - 1)
        axis = f"{value:+.4f}" if i % 2 == 0 else ""
        lines.append(f"{axis:>8} |{''.join(row)}".rstrip())
    first, last = f"{points[0].n:,}", f"{points[-1].n:,}"
    lines.append(" " * 9 + "+" + "-" * width)
    lines.append(" " * 10 + first + last.rjust(width - len(first)))
    return lines
