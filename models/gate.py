"""The promotion gate: evidence that a challenger errs less, valid however often it is looked at.

Each example gives a pair of losses in [0, 1], made before either model learned from it. The null
hypothesis is that, so far, the challenger has been no better on average: at every moment the mean
of the conditional means of `champion's loss - challenger's loss` is at most `margin`. Nothing is
assumed of the stream: losses may depend on one another, drift, and jump.

The test bets against that hypothesis. A gambler who stakes the constant share s of their capital
on each difference d multiplies it by 1 + s(d - margin), in expectation by at most
exp(s x (conditional mean - margin)), so as long as the hypothesis holds the expected capital never
exceeds the first coin, and by Ville's inequality the chance that it *ever* reaches 1/alpha is at
most alpha. That is what allows peeking at every example. The gate spreads the coin over several
shares, of which one is near the best for any advantage; their mean is an e-process as well.

References: Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS B
86 (2024), for betting with a grid of constant shares; Choe & Ramdas, "Comparing sequential
forecasters", Operations Research 72 (2024, arXiv 2110.00115), for the null of mean differences of
paired losses; Howard, Ramdas, McAuliffe & Sekhon, "Time-uniform, nonparametric, nonasymptotic
confidence sequences", Annals of Statistics 49 (2021), for the interval that is shown beside it.

Why powers of two as scales: a capital leaves the range of floats within a few thousand examples,
and scaling it by powers of two is exact. So folding in other batches gives the same bits, and a
decision can be made again from the log.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

SHARES = tuple(2.0**-k for k in range(1, 9))
"""The best share is about mean / mean square of the differences; within a factor of two of it, no
more than a ninth of the growth is lost. The smallest suits a gap of 0.0004 where one in ten
differs: beyond that millions of examples are needed anyway."""
MARGIN_MAX = 0.5
"""So that no single example can take more than three quarters of a capital."""
CHUNK = 256
"""Factors lie between 1/4 and 3/2: a product of so many is well within a float's range."""
CURVE_POINTS = 64


class Capital:
    """What the bets on a stream of differences have become; or on many streams at once.

    Examples
    --------
    >>> capital = Capital()
    >>> wealth = capital.bet(np.full(100, 0.5), margin=0.0)
    >>> bool(wealth[-1] > 20.0), int(np.argmax(wealth >= 20.0))
    (True, 22)
    """

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        self.mantissas: Floats = np.ones((len(SHARES), *shape))
        self.exponents: NDArray[np.int64] = np.zeros((len(SHARES), *shape), dtype=np.int64)

    def bet(self, differences: Floats, margin: float) -> Floats:
        """Bet on differences in [-1, 1], in order; give the wealth after each.

        The first axis is time, the others are streams. What outgrows a float is infinite here, and
        what vanishes is zero; the capital itself goes on.
        """
        parts = [
            self._bet(differences[start : start + CHUNK] - margin)
            for start in range(0, len(differences), CHUNK)
        ]
        return np.concatenate(parts) if parts else differences

    def _bet(self, gains: Floats) -> Floats:
        wealth = np.zeros_like(gains)
        for i, share in enumerate(SHARES):
            factors = 1.0 + share * gains
            factors[0] *= self.mantissas[i]
            path = np.multiply.accumulate(factors, axis=0)
            with np.errstate(over="ignore", under="ignore"):
                wealth += np.ldexp(path, self.exponents[i])
            mantissas, exponents = np.frexp(path[-1])
            self.mantissas[i] = mantissas
            self.exponents[i] += exponents
        return wealth / len(SHARES)

    def log10(self) -> Any:
        """Give the decimal logarithm of the wealth, however large or small."""
        logs = np.log2(self.mantissas) + self.exponents
        top = logs.max(axis=0)
        total = np.exp2(logs - top).sum(axis=0) / len(SHARES)
        return (top + np.log2(total)) * math.log10(2.0)


class Point(msgspec.Struct, frozen=True, array_like=True):
    """The evidence at one moment: the mean advantage, its interval, the e-value's log10."""

    n: int
    mean: float
    low: float
    high: float
    log10_e: float


class Evidence(msgspec.Struct):
    """Paired losses so far, and what they prove; a pure function of the losses in their order.

    Examples
    --------
    >>> evidence = Evidence(alpha=0.05)
    >>> evidence.add([1.0] * 40, [0.0, 1.0] * 20)
    >>> evidence.n, evidence.passed_at, evidence.advantage
    (40, 25, 0.5)
    """

    alpha: float = 0.05
    margin: float = 0.0
    n: int = 0
    champion_loss: float = 0.0
    challenger_loss: float = 0.0
    squares: float = 0.0
    passed_at: int | None = None
    """How many pairs it took until the hypothesis was rejected; that stands for good."""
    mantissas: list[float] = msgspec.field(default_factory=lambda: [1.0] * len(SHARES))
    exponents: list[int] = msgspec.field(default_factory=lambda: [0] * len(SHARES))
    curve: list[Point] = []
    curve_step: int = 1

    def add(self, champion: Sequence[float], challenger: Sequence[float]) -> None:
        """Take in pairs of losses, in order; the batches make no difference."""
        assert len(champion) == len(challenger), (len(champion), len(challenger))
        start = 0
        while start < len(champion):
            # The curve's points lie at fixed counts, whatever the batches.
            end = min(len(champion), start + self.curve_step - self.n % self.curve_step)
            self._add(np.array(champion[start:end]), np.array(challenger[start:end]))
            if self.n % self.curve_step == 0:
                self._plot()
            start = end

    def _add(self, champion: Floats, challenger: Floats) -> None:
        losses = np.concatenate([champion, challenger])
        assert ((losses >= 0.0) & (losses <= 1.0)).all(), "a loss that is not in [0, 1]"
        differences = champion - challenger
        capital = self._capital()
        wealth = capital.bet(differences, self.margin)
        self.mantissas = capital.mantissas.tolist()
        self.exponents = capital.exponents.tolist()
        if self.passed_at is None and (passed := wealth >= 1.0 / self.alpha).any():
            self.passed_at = self.n + int(np.argmax(passed)) + 1
        self.n += len(differences)
        self.champion_loss = _carry_on(self.champion_loss, champion)
        self.challenger_loss = _carry_on(self.challenger_loss, challenger)
        self.squares = _carry_on(self.squares, differences**2)

    def _capital(self) -> Capital:
        capital = Capital()
        capital.mantissas, capital.exponents = np.array(self.mantissas), np.array(self.exponents)
        return capital

    def _plot(self) -> None:
        self.curve.append(self.point())
        if len(self.curve) == CURVE_POINTS:
            # As long as at first, at half the resolution.
            self.curve_step *= 2
            self.curve = self.curve[1::2]

    @property
    def advantage(self) -> float:
        """By how much the challenger's mean loss is below the champion's."""
        return (self.champion_loss - self.challenger_loss) / self.n if self.n else 0.0

    @property
    def log10_e(self) -> float:
        """How strongly the hypothesis is refuted now: log10 of the e-value."""
        return float(self._capital().log10())

    def point(self) -> Point:
        """Sum up what is known now."""
        return Point(self.n, self.advantage, *self.interval(), self.log10_e)

    def interval(self) -> tuple[float, float]:
        """Bound the mean advantage: at all moments together it is right with 1 - alpha.

        With d in [-1, 1], exp(s x (sum of d - conditional means) - psi(s) x sum of squares) is a
        supermartingale for psi(s) = -log(1 - s) - s (Howard et al. 2021, after Fan et al. 2015).
        """
        if self.n == 0:
            return -1.0, 1.0
        reach = _boundary(self.squares, self.alpha / 2.0) / self.n
        return max(-1.0, self.advantage - reach), min(1.0, self.advantage + reach)


def _boundary(squares: float, alpha: float) -> float:
    """Find how far the sum of differences can be from what was expected, at any time."""
    psi = [-math.log1p(-share) - share for share in SHARES]
    goal = math.log(len(SHARES) / alpha)

    def log_wealth(reach: float) -> float:
        logs = [s * reach - p * squares for s, p in zip(SHARES, psi, strict=True)]
        top = max(logs)
        return top + math.log(math.fsum(math.exp(x - top) for x in logs))

    low, high = 0.0, 1.0
    while log_wealth(high) < goal:
        high *= 2.0
    for _ in range(50):
        middle = (low + high) / 2.0
        low, high = (low, middle) if log_wealth(middle) >= goal else (middle, high)
    return high


def _carry_on(total: float, values: Floats) -> float:
    # From value to value in order: numpy's own sum would depend on how they are batched.
    return float(np.add.accumulate(np.concatenate([[total], values]))[-1])


class GateRules(msgspec.Struct, frozen=True, kw_only=True):
    """What a challenger needs beside evidence; a limit of None does not apply.

    `bytes_max` bounds its state, `cost_ratio_max` its time for an example over the champion's.
    In no segment with at least `segment_n_min` pairs may its mean loss exceed the champion's by
    more than `segment_floor`.
    """

    alpha: float = 0.05
    margin: float = 0.0
    bytes_max: int | None = None
    cost_ratio_max: float | None = None
    segment_floor: float | None = None
    segment_n_min: int = 200


class Segments(msgspec.Struct):
    """Pairs and summed advantage by segment; the first ones that come, up to a limit."""

    limit: int = 64
    sums: dict[str, tuple[int, float]] = {}

    def add(self, segment: str, champion: float, challenger: float) -> None:
        """Take in a pair."""
        if segment in self.sums or len(self.sums) < self.limit:
            n, total = self.sums.get(segment, (0, 0.0))
            self.sums[segment] = n + 1, total + (champion - challenger)

    def advantages(self, n_min: int = 1) -> dict[str, float]:
        """Give the mean advantage of each segment with so many pairs."""
        return {name: total / n for name, (n, total) in self.sums.items() if n >= n_min}


def objections(
    rules: GateRules,
    evidence: Evidence,
    *,
    n_bytes: int | None = None,
    cost_ratio: float | None = None,
    segments: Segments | None = None,
) -> list[str]:
    """Say all that speaks against a promotion; nothing if it may be.

    Examples
    --------
    >>> objections(GateRules(), Evidence())
    ['no evidence yet: e-value 1 of the 20 needed, after 0 examples']
    """
    found = []
    if evidence.passed_at is None:
        e_value = f"{10.0 ** min(evidence.log10_e, 300.0):.3g}"
        found.append(
            f"no evidence yet: e-value {e_value} of the {1.0 / evidence.alpha:.3g} needed, after "
            f"{evidence.n:,} examples"
        )
    if rules.bytes_max is not None and n_bytes is not None and n_bytes > rules.bytes_max:
        found.append(f"its state has {n_bytes:,} bytes, over {rules.bytes_max:,}")
    limit = rules.cost_ratio_max
    if limit is not None and cost_ratio is not None and cost_ratio > limit:
        found.append(f"it takes {cost_ratio:.1f} times the champion's time, over {limit:g}")
    if rules.segment_floor is not None and segments is not None:
        for name, advantage in sorted(segments.advantages(rules.segment_n_min).items()):
            if advantage < -rules.segment_floor:
                found.append(
                    f"in the segment {name!r} its mean loss is {-advantage:.4f} above the "
                    f"champion's, over {rules.segment_floor:g}"
                )
    return found
