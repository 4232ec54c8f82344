"""Whatever the schedule and the faults: no decision changes, each label is learned once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.mix import SOMETIMES, run_seed

FAILED_BEFORE = [
    int(line.split()[0])
    for line in (Path(__file__).parent / "seeds.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
]
SEEDS = [*FAILED_BEFORE, *range(150)]

reached: Counter[str] = Counter()


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_change_nothing(seed: int) -> None:
    """All always-properties hold after any mix of faults."""
    reached.update(run_seed(seed))


def test_every_fault_was_reached() -> None:
    """A property that was never put to the test says nothing."""
    if sum(reached.values()) == 0:
        pytest.skip("run with the seeds of this module")
    assert [what for what in SOMETIMES if not reached[what]] == []
