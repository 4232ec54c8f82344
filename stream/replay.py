"""Fold the examples log into a fresh learner: what a version has to be equal to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from models.learner import Learner
from models.lineage import Course, Segment
from stream.messages import decode_example


class LogIncomplete(Exception):
    """The examples log does not begin at 0, or lacks records: what is gone can't be replayed."""


def fold(
    learner: Learner,
    batches: Iterable[Sequence[tuple[int, bytes]]],
    to_position: int | None = None,
    segments: Sequence[Segment] = (),
) -> Iterator[int]:
    """Absorb (offset, value) batches up to a position; gives the position in the log after each.

    `segments` are those of a version's lineage.

    Raises
    ------
    LogIncomplete
        When an offset is missing: the state would look right and be another.
    """
    # Before the course leads on: a rollback to the untrained learner starts at once.
    position, course = learner.position, Course(learner, segments)
    for batch in batches:
        wanted = [
            (offset, value)
            for offset, value in batch
            if to_position is None or offset < to_position
        ]
        if wanted:
            offsets = [offset for offset, _ in wanted]
            check_no_gap(position, offsets)
            course.absorb([decode_example(value) for _, value in wanted], offsets)
            position = offsets[-1] + 1
            yield position
        if len(wanted) < len(batch):
            return


def check_no_gap(position: int, offsets: Sequence[int]) -> None:
    """Raise `LogIncomplete` unless the offsets follow one another from the position on."""
    for expected, offset in enumerate(offsets, position):
        if offset != expected:
            raise LogIncomplete(
                f"the examples log has no record {expected} (the next is {offset}): it was cut "
                "off. Its retention must be unlimited (retention.ms=-1)"
            )
