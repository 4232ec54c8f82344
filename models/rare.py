"""Learning where positives are rare: fewer negatives, heavier positives, and honest probabilities.

Both tricks make a model see more positives than there are, so its probabilities are too high. What
they do to the odds is known, and undone: where a share `negatives_kept` of negatives is learned and
positives weigh `positive_weight`, odds come out `positive_weight / negatives_kept` times too high
(Dal Pozzolo, Caelen, Johnson and Bontempi, "Calibrating probability with undersampling for
unbalanced classification", SSCI 2015). What else is wrong with them, calibration learns.

Which negatives are kept follows from their ids: the same in every replay, in any batches, and for
every revision of a label.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Literal, cast

import msgspec
from msgspec import structs

from models.types import Example, Score

_LOGIT_MAX = 20.0
# Platt's slope never turns the ranking round.
_SLOPE_MIN = 0.05
# As if ten examples of even odds had said that nothing needs correction, times four.
_PRIOR_INFORMATION = 10.0
_HASHES = float(1 << 32)
# The line changes after so large a part of what calibration remembers.
_LINES_PER_MEMORY = 40
# Scores that are older than these lines, a million examples by default, are taken for the oldest's.
_LINES_MAX = 2_000


class RareClasses(msgspec.Struct, frozen=True):
    """How to learn a rare class; the defaults change nothing.

    `calibration_n` examples ago counts e times less.
    """

    negatives_kept: float = 1.0
    positive_weight: float = 1.0
    calibration: Literal["none", "platt"] = "none"
    calibration_n: int = 20_000

    @property
    def is_plain(self) -> bool:
        """Whether nothing is done."""
        plain = RareClasses(calibration_n=self.calibration_n)
        return self == plain

    def describe(self) -> str:
        """Say what is done, for the pipeline's description.

        Examples
        --------
        >>> RareClasses(negatives_kept=0.1, calibration="platt").describe()
        'negatives_kept=0.1, calibration=platt/20000'
        """
        said = []
        if self.negatives_kept != 1.0:
            said.append(f"negatives_kept={self.negatives_kept:g}")
        if self.positive_weight != 1.0:
            said.append(f"positive_weight={self.positive_weight:g}")
        if self.calibration != "none":
            said.append(f"calibration={self.calibration}/{self.calibration_n}")
        return ", ".join(said)

    def hash_with(self, pipeline_hash: str) -> str:
        """Hash it together with the pipeline that learns."""
        content = repr((pipeline_hash, structs.astuple(self)))
        return hashlib.sha256(content.encode()).hexdigest()[:16]


class PlattScaling:
    """Learns online how log-odds have to be stretched and moved to be honest.

    Platt's logistic regression on the score ("Probabilistic outputs for support vector machines",
    1999), fitted by one Newton step an example, in which older ones fade.

    Examples
    --------
    >>> platt = PlattScaling(n=1000)
    >>> for i in range(2000):  # It says one half, and one in four is true.
    ...     platt.observe(0.0, i % 4 == 0)
    >>> round(1 / (1 + math.exp(-platt.logit(0.0))), 2)
    0.25
    """

    def __init__(self, n: int) -> None:
        self.slope, self.shift = 1.0, 0.0
        self._fading = 1.0 - 1.0 / n
        self._slope_information = self._shift_information = _PRIOR_INFORMATION
        self._shared_information = 0.0

    def logit(self, logit: float) -> float:
        """Give the honest log-odds for a model's."""
        return self.slope * logit + self.shift

    def observe(self, logit: float, truth: bool) -> None:
        """Learn from what a model said before it knew the truth."""
        said = _sigmoid(self.logit(logit))
        information, error = said * (1.0 - said), truth - said
        keep = self._fading
        prior = (1.0 - keep) * _PRIOR_INFORMATION
        a = keep * self._slope_information + information * logit * logit + prior
        b = keep * self._shared_information + information * logit
        c = keep * self._shift_information + information + prior
        self._slope_information, self._shared_information, self._shift_information = a, b, c
        determinant = a * c - b * b
        self.slope = max(_SLOPE_MIN, self.slope + error * (c * logit - b) / determinant)
        self.shift += error * (a - b * logit) / determinant


class HonestScores:
    """Turns what a model says of a distorted world into probabilities of the real one.

    Why calibration learns from the scores that were published: a model that knows the labels of the
    days since would be surer of an event than the one that had to decide it. Published scores were
    calibrated already, by the line that was in force at their model's position, so lines are
    remembered for a while, change now and then only, and what the model had said is computed back.
    (After a rollback, scores of the abandoned lineage are taken for those of its base.)

    Examples
    --------
    >>> honest = HonestScores(RareClasses(negatives_kept=0.1))
    >>> [round(p, 3) for p in honest.correct([0.0, 0.5, 1.0])]
    [0.0, 0.091, 1.0]
    """

    def __init__(self, rare: RareClasses) -> None:
        self.rare = rare
        self._shift = math.log(rare.negatives_kept / rare.positive_weight)
        self._platt = PlattScaling(rare.calibration_n) if rare.calibration == "platt" else None
        self._kept = rare.negatives_kept * _HASHES
        self._n_since = 0
        # Position from which on, slope, shift.
        self._lines: deque[tuple[int, float, float]] = deque([(0, 1.0, self._shift)], _LINES_MAX)

    @property
    def line(self) -> tuple[float, float]:
        """Slope and shift of the log-odds, in force now."""
        _, slope, shift = self._lines[-1]
        return slope, shift

    def correct(self, scores: Iterable[Score]) -> list[float]:
        """Correct scores; their order stays."""
        slope, shift = self.line
        return [_sigmoid(slope * _logit(cast(float, score)) + shift) for score in scores]

    def observe(self, examples: Sequence[Example], offsets: Sequence[int]) -> None:
        """Calibrate with what was said of events whose truth has come."""
        platt = self._platt
        if platt is None:
            return
        every_n = max(1, self.rare.calibration_n // _LINES_PER_MEMORY)
        for example, offset in zip(examples, offsets, strict=True):
            if not example.tests_champion or example.model_position is None:
                continue
            at = bisect_right(self._lines, example.model_position, key=itemgetter(0)) - 1
            _, slope, shift = self._lines[max(0, at)]
            said = (_logit(cast(float, example.score)) - shift) / slope
            platt.observe(said + self._shift, example.label is True)
            self._n_since += 1
            if self._n_since >= every_n:
                self._n_since = 0
                self._lines.append((offset + 1, platt.slope, platt.logit(self._shift)))

    def weigh(self, examples: Iterable[tuple[Example, int]]) -> list[tuple[Example, int]]:
        """Give the examples that are learned, with their offsets, as heavy as they are learned."""
        weighed = []
        for example, offset in examples:
            factor = self._factor(example)
            if factor == 1.0:
                weighed.append((example, offset))
            elif factor:
                heavy = structs.replace(example, weight=example.weight * factor)
                weighed.append((heavy, offset))
        return weighed

    def _factor(self, example: Example) -> float:
        if example.label is True:
            return self.rare.positive_weight
        if self.rare.negatives_kept == 1.0:
            return 1.0
        place = hashlib.blake2b(example.event_id.encode(), digest_size=4).digest()
        return 1.0 if int.from_bytes(place, "big") < self._kept else 0.0


def _logit(p: float) -> float:
    if 0.0 < p < 1.0:
        return max(-_LOGIT_MAX, min(_LOGIT_MAX, math.log(p / (1.0 - p))))
    return _LOGIT_MAX if p >= 1.0 else -_LOGIT_MAX


def _sigmoid(logit: float) -> float:
    if logit >= 0.0:
        return 1.0 / (1.0 + math.exp(-min(logit, 700.0)))
    odds = math.exp(max(logit, -700.0))
    return odds / (1.0 + odds)
