"""What a version has seen: the parts of the examples log that it was folded from.

A version's id says how far it has read, not what: a rollback may have left examples behind, and a
replay may have left some out. Its segments say it all, so nobody has to load the version to know.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.lineage import Lineage, Segment, parse_id
from models.types import Example


class Exposure:
    """Tells which examples a version was folded from, by its segments.

    Examples
    --------
    >>> back = Segment(lineage=2, base="v1-20", start=35, command="c1")
    >>> Exposure("v2-40", [back]).spans
    [(0, 20), (35, 40)]
    >>> Exposure("v2-40", [back]).n_only_here(Exposure("v1-30", []))
    5
    """

    def __init__(self, version_id: str, segments: Sequence[Segment]) -> None:
        starts = [0, *(segment.start for segment in segments)]
        ends = [*(parse_id(segment.base)[1] for segment in segments), parse_id(version_id)[1]]
        self.spans = [(start, end) for start, end in zip(starts, ends, strict=True) if start < end]
        self._lineages = [
            Lineage(segments[:n]) for n, pair in enumerate(zip(starts, ends, strict=True))
            if pair[0] < pair[1]
        ]  # fmt: skip

    def holds(self, example: Example, offset: int) -> bool:
        """Say whether the example at that offset was folded in."""
        parts = zip(self.spans, self._lineages, strict=True)
        return any(
            start <= offset < end and not lineage.leaves_out(example, offset)
            for (start, end), lineage in parts
        )

    def n_only_here(self, other: Exposure) -> int:
        """Count the places of the log that this version has read, and the other has not."""
        shared = sum(
            max(0, min(end, other_end) - max(start, other_start))
            for start, end in self.spans
            for other_start, other_end in other.spans
        )
        return sum(end - start for start, end in self.spans) - shared
