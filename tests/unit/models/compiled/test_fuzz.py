"""Garbage of all kinds in a random order: a short form of `python -m benchmarks.fuzz`."""

from __future__ import annotations

import random

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


@pytest.mark.parametrize("name", factories())
def test_each_tells_what_memory_it_takes(name: str) -> None:
    """More for more features, and the same after a dump."""
    small, large = (factories()[name](1) for _ in range(2))
    rng = random.Random(1)
    for model, n_features in ((small, 3), (large, 40)):
        for _ in range(60):
            x = {f"f{i}": rng.random() for i in range(n_features)}
            model.learn_one(x) if name == "half-space" else model.learn_one(x, x["f0"] > 0.5)
    assert 100 < small.memory_bytes < large.memory_bytes
    assert type(large).load(large.dump()).memory_bytes == large.memory_bytes
