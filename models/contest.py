"""Models compared on the same labels: what each loses, and whether the difference is chance.

Why both models are scored anew where they are compared: a background learner said nothing at score
time. Both are asked before they learn the example, so neither knows more of it than the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from models.response import Host
from models.types import DriftSignal, Example, Score

_SURE = 1.64
"""Standard errors: one-sided 95 % of a paired comparison."""


class Contest:
    """A background learner, and how it does against the present one.

    It learns `bakeoff_n` examples alongside; after the next `bakeoff_n`, each scored by both before
    both learn it, the better one is known. Until `bakes` is set it only learns.
    """

    def __init__(self, host: Host, bakeoff_n: int, cause: DriftSignal | None) -> None:
        self.rival = host.sibling()
        self.cause = cause
        self.bakes = False
        self.n = 0
        self._bakeoff_n = bakeoff_n
        self._gains: list[float] = []

    @property
    def room(self) -> int:
        """How many examples it takes at once."""
        if self.n < self._bakeoff_n:
            return self._bakeoff_n - self.n
        return 1 if self.bakes else self._bakeoff_n

    @property
    def is_over(self) -> bool:
        """Whether enough labels have been compared."""
        return len(self._gains) >= self._bakeoff_n

    def learn(self, host: Host, examples: list[Example], offsets: list[int]) -> None:
        """Let both learn; where they are compared, ask them first."""
        if self.bakes and self.n >= self._bakeoff_n:
            mine, others = losses(host, examples), losses(self.rival, examples)
            self._gains += [a - b for a, b in zip(mine, others, strict=True)]
        host.learn(examples, offsets)
        self.rival.learn(examples, offsets)
        self.n += len(examples)

    def verdict(self) -> tuple[bool, str]:
        """Say whether the background learner is better beyond doubt, and the evidence."""
        gain, sureness = paired(self._gains)
        text = (
            f"mean loss lower by {gain:.4f} over {len(self._gains):,} labels "
            f"({sureness:+.1f} standard errors)"
        )
        return sureness > _SURE, text


def losses(model: Host, examples: Sequence[Example]) -> list[float]:
    """Give what the model loses on each example that has a label.

    Squared distance to the truth for probabilities, which counts more than right or wrong and is
    bounded; the absolute error for values.
    """
    labelled = [example for example in examples if example.label is not None]
    scores = model.score_many([example.features for example in labelled])
    return [_loss(score, e.label) for score, e in zip(scores, labelled, strict=True)]


def _loss(score: Score, truth: Any) -> float:
    if isinstance(score, Mapping):
        rest = math.fsum(p * p for name, p in sorted(score.items()) if name != truth)
        return 0.5 * ((1.0 - score.get(truth, 0.0)) ** 2 + rest)
    if isinstance(truth, bool):
        return float((score - truth) ** 2)
    return float(abs(score - truth))


def paired(gains: Sequence[float]) -> tuple[float, float]:
    """Give the mean gain, and how many standard errors it is above nothing.

    Examples
    --------
    >>> paired([0.5, 0.25, 0.75, 0.5])
    (0.5, 4.898979485566356)
    """
    n = len(gains)
    if n < 2:
        return 0.0, 0.0
    mean = math.fsum(gains) / n
    variance = math.fsum((gain - mean) ** 2 for gain in gains) / (n - 1)
    if variance == 0.0:
        return mean, math.copysign(math.inf, mean) if mean else 0.0
    return mean, mean / math.sqrt(variance / n)
