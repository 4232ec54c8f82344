"""Ranking metrics against their definitions, and the histogram against its own error bounds."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.ranking import (
    N_BINS,
    Flags,
    Floats,
    ScoreHistogram,
    average_precision,
    bins_of,
    groups_of,
    roc_auc,
)

# A coarse grid makes ties, fine values make none, and the ends are where trees put their scores.
probabilities = st.one_of(
    st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1e-3),
)
labelled = st.lists(st.tuples(st.booleans(), probabilities), min_size=1, max_size=60)


def roc_auc_by_definition(pairs: list[tuple[bool, float]]) -> float | None:
    """Count the (positive, negative) pairs that are in order; a tie is half."""
    wins = [
        1.0 if p > n else 0.5 if p == n else 0.0
        for truth, p in pairs
        if truth
        for other, n in pairs
        if not other
    ]
    return sum(wins) / len(wins) if wins else None


def average_precision_by_definition(pairs: list[tuple[bool, float]]) -> float | None:
    """Average over the positives: the precision when alarming from its score upwards."""
    precisions = []
    for truth, score in pairs:
        if truth:
            alarmed = [other for other, p in pairs if p >= score]
            precisions.append(sum(alarmed) / len(alarmed))
    return sum(precisions) / len(precisions) if precisions else None


def arrays(
    pairs: list[tuple[bool, float]],
) -> tuple[Flags, Floats]:
    truths, scores = zip(*pairs, strict=True)
    return np.array(truths, dtype=np.bool_), np.array(scores, dtype=np.float64)


@given(labelled)
def test_exact_figures_are_those_of_the_definitions(pairs: list[tuple[bool, float]]) -> None:
    """The window's figures are exact, ties included."""
    groups = groups_of(*arrays(pairs))
    assert roc_auc(*groups) == pytest.approx(roc_auc_by_definition(pairs))
    assert average_precision(*groups) == pytest.approx(average_precision_by_definition(pairs))


@given(labelled)
def test_the_histogram_keeps_to_its_error_bounds(pairs: list[tuple[bool, float]]) -> None:
    """Whatever the scores, the stated largest error is not exceeded."""
    histogram = ScoreHistogram()
    histogram.add(*arrays(pairs))
    exact_roc, exact_pr = roc_auc_by_definition(pairs), average_precision_by_definition(pairs)
    binned_roc, binned_pr = histogram.roc_auc(), histogram.pr_auc()
    assert (exact_roc is None) == (binned_roc is None)
    if exact_roc is not None and binned_roc is not None:
        assert abs(exact_roc - binned_roc) <= histogram.roc_auc_error_max() + 1e-12
    if exact_pr is not None and binned_pr is not None:
        assert abs(exact_pr - binned_pr) <= histogram.pr_auc_error_max() + 1e-12


def test_the_histogram_is_close_on_scores_of_a_rare_class() -> None:
    """Where it matters, at 1 % positives and small scores, three decimals hold."""
    rng = np.random.default_rng(3)
    truths = rng.random(20_000) < 0.01
    logits = rng.normal(-6.0, 1.5, 20_000) + 2.0 * truths
    scores = 1.0 / (1.0 + np.exp(-logits))
    histogram = ScoreHistogram()
    histogram.add(truths, scores)
    groups = groups_of(truths, scores)
    assert histogram.roc_auc() == pytest.approx(roc_auc(*groups), abs=1e-3)
    assert histogram.pr_auc() == pytest.approx(average_precision(*groups), abs=5e-3)
    assert histogram.roc_auc_error_max() < 2e-3


@given(st.lists(probabilities, min_size=2, max_size=50))
def test_bins_never_fall_as_scores_rise(scores: list[float]) -> None:
    """Order survives binning, so the ranking figures can only lose ties, never order."""
    bins = bins_of(np.array(sorted(scores)))
    assert (np.diff(bins) >= 0).all()
    assert bins.min() >= 0
    assert bins.max() < N_BINS


def test_a_histogram_is_small_when_pickled_and_comes_back_whole() -> None:
    """Empty bins are not stored: 64 kB of zeros would dwarf a linear model."""
    histogram = ScoreHistogram()
    histogram.add(np.array([True, False]), np.array([0.9, 0.1]))
    data = pickle.dumps(histogram)
    assert len(data) < 2_000
    copy = pickle.loads(data)
    copy.add(np.array([True]), np.array([0.3]))
    histogram.add(np.array([True]), np.array([0.3]))
    assert (copy.roc_auc(), copy.pr_auc()) == (histogram.roc_auc(), histogram.pr_auc())
