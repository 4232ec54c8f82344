"""Garbage of all kinds in a random order: a short form of `python -m benchmarks.fuzz`."""

from __future__ import annotations

import pytest

pytest.importorskip("models.compiled._native", reason="the extension is not built")
from benchmarks.fuzz import factories, fuzz

N_CALLS = 2_500


@pytest.mark.parametrize("name", factories())
def test_nothing_crashes_and_a_refusal_changes_nothing(name: str) -> None:
    """Each kind of call was made, and each was refused now and then."""
    counts = fuzz(name, N_CALLS, seed=3)
    for kind in ("learn", "predict", "batch", "array"):
        assert min(counts[kind], counts[f"{kind} refused"]) > 10, counts
    assert counts["dump"] > 0
    assert counts["damaged dump refused"] >= counts["dump"]
