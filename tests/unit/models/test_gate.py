"""The promotion gate: rarely wrong however often it is looked at, right soon, and exact."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest

from benchmarks.gate import NULLS, ahead, drifting, simulate
from models.gate import (
    SHARES,
    Capital,
    Evidence,
    GateRules,
    Segments,
    objections,
)


@pytest.mark.parametrize("name", NULLS)
def test_of_equals_at_most_alpha_is_ever_promoted(name: str) -> None:
    """Dependent, drifting, clustered losses, looked at after each example; a z-test fails there."""
    found = simulate(NULLS[name], n=3_000, pairs=200, seed=5)
    # 5 % of 200 is 10; at a true rate of 5 %, 20 or more come once in 400 times.
    assert (found.gate > 0).sum() < 20
    tempting = (found.z_test > 0).mean() > 0.2
    assert tempting or name.startswith("seasons"), "the test shows nothing"


def test_the_rate_of_false_promotions_follows_alpha() -> None:
    """A gate that never opens would pass the test above as well."""
    found = simulate(NULLS["independent, 0-1"], n=3_000, pairs=200, seed=6, alpha=0.5)
    assert 0.1 < (found.gate > 0).mean() <= 0.5


def test_a_gap_of_two_percent_is_found() -> None:
    """Sooner, the more the two otherwise agree."""
    few = simulate(ahead(0.04), n=6_000, pairs=50, seed=7).gate
    many = simulate(ahead(0.2), n=30_000, pairs=50, seed=8).gate
    assert (few > 0).mean() > 0.95 and (many > 0).mean() > 0.95
    assert np.median(few) < np.median(many) / 2


def losses(n: int, seed: int) -> tuple[list[float], list[float]]:
    rng = Random(seed)
    champion = [rng.random() for _ in range(n)]
    return champion, [max(0.0, loss - 0.2 * rng.random()) for loss in champion]


@pytest.mark.parametrize("seed", range(3))
def test_batches_make_no_difference(seed: int) -> None:
    """Every field is equal to the last bit, with evidence far outside the range of a float."""
    champion, challenger = losses(20_000, seed)
    one_by_one, at_once, mixed = Evidence(), Evidence(), Evidence()
    for pair in zip(champion[:1_500], challenger[:1_500], strict=True):
        one_by_one.add(*([loss] for loss in pair))
    one_by_one.add(champion[1_500:], challenger[1_500:])
    at_once.add(champion, challenger)
    rng, start = Random(seed), 0
    while start < len(champion):
        end = start + rng.randrange(1, 700)
        mixed.add(champion[start:end], challenger[start:end])
        start = end
    assert one_by_one == at_once == mixed
    assert at_once.log10_e > 310, "the capital stays within a float: try harder"


def test_the_wealth_is_that_of_a_gambler_with_as_many_purses() -> None:
    """By the definition, in logarithms."""
    rng = Random(3)
    differences = [rng.uniform(-1, 1) for _ in range(1_000)]
    purses = [math.fsum(math.log1p(share * (d - 0.01)) for d in differences) for share in SHARES]
    expected = math.log10(math.fsum(map(math.exp, purses)) / len(SHARES))
    capital = Capital()
    wealth = capital.bet(np.array(differences), 0.01)
    assert float(capital.log10()) == pytest.approx(expected, rel=1e-12)
    assert math.log10(wealth[-1]) == pytest.approx(expected, rel=1e-12)


def test_many_streams_at_once_are_each_a_stream() -> None:
    """The simulation proves something about the gate only because of that."""
    differences = drifting(np.random.default_rng(2), 900, 3)
    together = Capital((3,)).bet(differences, 0.0)
    for i in range(3):
        alone = Capital().bet(differences[:, i], 0.0)
        assert alone.tolist() == together[:, i].tolist()


def test_a_rejection_stands() -> None:
    """Who looks later must not find another answer: that would be peeking as well."""
    evidence = Evidence()
    evidence.add([1.0] * 100, [0.0] * 100)
    passed_at = evidence.passed_at
    assert passed_at is not None
    evidence.add([0.0] * 500, [1.0] * 500)
    assert evidence.passed_at == passed_at and evidence.log10_e < 0


def test_the_margin_has_to_be_beaten() -> None:
    """A challenger that is ahead by less is not promoted."""
    rng = Random(4)
    won = [rng.random() < 0.55 for _ in range(20_000)]
    by_margin = {margin: Evidence(margin=margin) for margin in (0.0, 0.2)}
    for evidence in by_margin.values():
        evidence.add([float(w) for w in won], [float(not w) for w in won])
    assert by_margin[0.0].passed_at is not None and by_margin[0.2].passed_at is None


def test_the_interval_holds_at_every_moment() -> None:
    """For the mean of conditional means, of a stream whose mean moves; and it narrows."""
    missed, widths = 0, []
    for seed in range(15):
        rng = Random(seed)
        evidence, expected = Evidence(), 0.0
        ever_missed = False
        for start in range(0, 1_500, 50):
            chances = [0.5 + 0.3 * math.sin(i / 200) for i in range(start, start + 50)]
            expected += sum(2 * p - 1 for p in chances)
            won = [rng.random() < p for p in chances]
            evidence.add([float(w) for w in won], [float(not w) for w in won])
            low, high = evidence.interval()
            ever_missed |= not low <= expected / evidence.n <= high
        missed += ever_missed
        widths.append(high - low)
    assert missed <= 3, "alpha is 5 %"
    assert max(widths) < 0.3


def test_the_curve_is_bounded_and_ends_where_the_evidence_is() -> None:
    """It is kept in every checkpoint."""
    evidence = Evidence()
    evidence.add(*losses(100_000, 1))
    counts = [point.n for point in evidence.curve]
    assert 32 <= len(counts) <= 64
    assert counts == list(range(evidence.curve_step, counts[-1] + 1, evidence.curve_step))
    assert counts[-1] > 95_000


RULES = GateRules(bytes_max=1_000, cost_ratio_max=2.0, segment_floor=0.01, segment_n_min=10)


def test_each_guard_rail_objects_by_itself() -> None:
    """And only if what it looks at is known."""
    evidence, segments = Evidence(), Segments()
    evidence.add([1.0] * 50, [0.0] * 50)
    for _ in range(10):
        segments.add("north", 1.0, 0.0)
        segments.add("south", 0.0, 0.02)
    for _ in range(9):
        segments.add("few", 0.0, 1.0)
    assert objections(RULES, evidence) == []
    assert objections(RULES, evidence, n_bytes=1_000, cost_ratio=2.0) == []
    (large,) = objections(RULES, evidence, n_bytes=1_001)
    (slow,) = objections(RULES, evidence, cost_ratio=2.1)
    (unfair,) = objections(RULES, evidence, segments=segments)
    assert "1,001 bytes" in large and "2.1 times" in slow
    assert "'south'" in unfair and "0.0200 above" in unfair
    assert len(objections(RULES, Evidence(), n_bytes=9_999, cost_ratio=9.0, segments=segments)) == 4


def test_segments_are_bounded() -> None:
    """A field with a value for everybody must not fill the memory."""
    segments = Segments(limit=2)
    for name in ("a", "b", "c", "a"):
        segments.add(name, 1.0, 0.5)
    assert segments.advantages() == {"a": 0.5, "b": 0.5}
    assert segments.sums["a"][0] == 2
