"""Garbage of all kinds in a random order: a short form of `python -m benchmarks.fuzz`."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("models.compiled._native", reason="the extension is not built")
from benchmarks.fuzz import Estimator, factories, fuzz
from benchmarks.fuzz_features import OTHERS

N_CALLS = 2_500


@pytest.mark.parametrize("name", factories())
def test_nothing_crashes_and_a_refusal_changes_nothing(name: str) -> None:
    """Each kind of call was made, and each was refused now and then."""
    counts = fuzz(name, N_CALLS, seed=3)
    for kind in set(Estimator.KINDS) - {"dump"}:
        assert min(counts[kind], counts[f"{kind} refused"]) > 10, counts
    assert counts["dump"] > 0
    assert counts["damaged dump refused"] >= counts["dump"]


@pytest.mark.parametrize("name", OTHERS)
def test_windows_and_movement_hold_as_well(name: str) -> None:
    """Each kind of call was made; damage of a history's size was refused."""
    counts = fuzz(name, N_CALLS, seed=3)
    for kind in set(OTHERS[name].KINDS) - {"damage"}:
        assert min(counts[kind], counts[f"{kind} refused"]) > 10, counts
    assert name != "windows" or counts["damaged history refused"] > 10, counts


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
