"""Runs of offsets are the set of what was added, whatever the order."""

from __future__ import annotations

import random

import pytest

from stream.runs import Runs, windows


@pytest.mark.parametrize("seed", range(30))
def test_runs_are_the_set_of_what_was_added(seed: int) -> None:
    """And gaps are the rest, within any bounds."""
    rng = random.Random(seed)
    added = [rng.randrange(40) for _ in range(rng.randrange(60))]
    runs = Runs(added)

    kept = [offset for start, end in runs for offset in range(start, end)]
    assert kept == sorted(set(added))
    assert all(one[1] < other[0] for one, other in zip(list(runs), list(runs)[1:], strict=False))
    assert runs.end == max(added, default=-1) + 1
    first, end = sorted((rng.randrange(45), rng.randrange(45)))
    gaps = [offset for start, stop in runs.gaps(first, end) for offset in range(start, stop)]
    assert gaps == [offset for offset in range(first, end) if offset not in added]


def test_windows_skip_what_is_too_far_to_read_over() -> None:
    """A stray offset does not make everything between worth reading."""
    assert list(windows([], 5)) == []
    assert list(windows([9, 1, 2, 8, 14], 4)) == [(1, 3), (8, 15)]
    assert list(windows([1, 7], 5)) == [(1, 8)]
