"""Sets of offsets as runs: what a log has, and where it has gaps, in the memory of the gaps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator


class Runs:
    """Offsets that were seen, kept as half-open runs.

    Outcomes come nearly in the order of their inputs, so millions of them are a few runs.

    Examples
    --------
    >>> runs = Runs([3, 4, 5, 9, 8, 3])
    >>> list(runs), runs.end
    ([(3, 6), (8, 10)], 10)
    >>> list(runs.gaps(0, 12))
    [(0, 3), (6, 8), (10, 12)]
    """

    def __init__(self, offsets: Iterable[int] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for offset in offsets:
            self.add(offset)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def __bool__(self) -> bool:
        return bool(self._starts)

    @property
    def end(self) -> int:
        """One past the highest offset; 0 of nothing."""
        return self._ends[-1] if self._ends else 0

    def add(self, offset: int) -> None:
        """Take an offset in."""
        starts, ends = self._starts, self._ends
        after = bisect_right(starts, offset)
        if after and offset < ends[after - 1]:
            return
        joins_left = after > 0 and ends[after - 1] == offset
        joins_right = after < len(starts) and starts[after] == offset + 1
        if joins_left and joins_right:
            ends[after - 1] = ends[after]
            del starts[after], ends[after]
        elif joins_left:
            ends[after - 1] = offset + 1
        elif joins_right:
            starts[after] = offset
        else:
            starts.insert(after, offset)
            ends.insert(after, offset + 1)

    def gaps(self, first: int, end: int) -> Iterator[tuple[int, int]]:
        """Give what is missing from `first` up to `end`."""
        at = first
        for start, stop in self:
            if start >= end:
                break
            if start > at:
                yield at, start
            at = max(at, stop)
        if at < end:
            yield at, end


def windows(offsets: Iterable[int], gap_max: int) -> Iterator[tuple[int, int]]:
    """Group offsets to ranges worth reading at one go: apart by at most `gap_max`.

    Examples
    --------
    >>> list(windows([7, 3, 4, 900], gap_max=10))
    [(3, 8), (900, 901)]
    """
    start = end = None
    for offset in sorted(offsets):
        if start is None or end is None:
            start, end = offset, offset + 1
        elif offset - end > gap_max:
            yield start, end
            start, end = offset, offset + 1
        else:
            end = max(end, offset + 1)
    if start is not None and end is not None:
        yield start, end
