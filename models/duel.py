"""A duel: a challenger folds the examples log beside a copy of the champion, and is compared.

Why a copy of the champion: the loss of a model on an example counts only if it was made before that
model learned it, and for a pair both must have learned exactly the same others. The score that was
published hours before would do the champion wrong. So both are asked, then both are taught, one
example at a time: what comes out is a function of the two states and the log.

Until a challenger has come to where the champion stands there is nobody to compare with. Examples
that were in the log before that do not count, which also keeps the comparison honest: whoever adds
a challenger may have chosen it for how well it does on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from models.errors import InvalidPipeline
from models.gate import Evidence, Segments
from models.learner import Learner
from models.lineage import Lineage
from models.types import Choice, Example, Score, Task, Truth

LOG_LOSS_MAX = 5.0
"""Beyond this a log loss counts no more: a bet needs bounds, and 1 in 150 is sure enough."""


class Loss(Choice):
    """What a wrong prediction costs, in [0, 1]."""

    BRIER = "brier"
    """Squared distance from the truth (of several classes: half of it)."""
    LOG = "log"
    """Logarithmic loss, up to a bound."""
    ZERO_ONE = "zero-one"
    """Whether the decision was wrong."""
    SHARE = "share"
    """Regression: the share of the two models' absolute errors, which needs no scale."""


_LOSSES = {
    Task.BINARY: (Loss.BRIER, Loss.LOG, Loss.ZERO_ONE),
    Task.MULTICLASS: (Loss.BRIER, Loss.LOG, Loss.ZERO_ONE),
    Task.ANOMALY: (Loss.ZERO_ONE,),
    Task.REGRESSION: (Loss.SHARE,),
}


def loss_of(task: Task, name: str = "auto") -> Loss:
    """Give the loss of a name that a task has; `auto` is its first.

    Raises
    ------
    InvalidPipeline
        When the task has no such loss.

    Examples
    --------
    >>> loss_of(Task.BINARY), loss_of(Task.REGRESSION)
    (<Loss.BRIER: 'brier'>, <Loss.SHARE: 'share'>)
    """
    possible = _LOSSES[task]
    if name == "auto":
        return possible[0]
    if name not in possible:
        raise InvalidPipeline(f"the task {task} has no loss {name!r}; there are auto, "
                              + ", ".join(possible))  # fmt: skip
    return Loss(name)


class Duel:
    """A challenger, the champion's copy beside it once it has caught up, and the evidence.

    Parameters
    ----------
    learner, lineage
        The challenger, and what it was folded from.
    segment_by
        The feature by whose values the comparison is also kept; None: none.
    """

    def __init__(
        self,
        learner: Learner,
        lineage: Lineage,
        *,
        loss: Loss,
        evidence: Evidence,
        segments: Segments | None = None,
        segment_by: str | None = None,
    ) -> None:
        self.learner = learner
        self.lineage = lineage
        self.loss = loss
        self.evidence = evidence
        self.segments = segments or Segments()
        self.segment_by = segment_by
        self.reference: Learner | None = None
        self.reference_lineage = Lineage()
        self.since = learner.position
        self.challenger_s = self.reference_s = 0.0

    @property
    def position(self) -> int:
        """How far both have folded the log."""
        return self.learner.position

    def face(self, champion: Learner, lineage: Lineage) -> None:
        """Begin a comparison with a copy of a champion that stands at the same position."""
        assert champion.position == self.position, (champion.position, self.position)
        self.reference, self.reference_lineage = champion, lineage
        self.evidence = Evidence(alpha=self.evidence.alpha, margin=self.evidence.margin)
        self.segments = Segments()
        self.since = self.position

    def forget_champion(self) -> None:
        """Drop a comparison: its champion is no more."""
        if self.reference is not None:
            self.reference, self.reference_lineage = None, Lineage()
            self.evidence = Evidence(alpha=self.evidence.alpha, margin=self.evidence.margin)
            self.segments = Segments()

    def absorb(
        self, examples: Sequence[Example], offsets: Sequence[int], timer: Callable[[], float]
    ) -> None:
        """Fold a batch; what is compared is asked before it is taught."""
        if self.reference is None:
            self.lineage.absorb(self.learner, examples, offsets)
            return
        champion: list[float] = []
        challenger: list[float] = []
        for example, offset in zip(examples, offsets, strict=True):
            losses = self._absorb_one(self.reference, example, offset, timer)
            if losses is not None:
                champion.append(losses[0])
                challenger.append(losses[1])
                if self.segment_by is not None:
                    segment = str(example.features.get(self.segment_by, ""))
                    self.segments.add(segment, *losses)
        self.evidence.add(champion, challenger)

    def _absorb_one(
        self, reference: Learner, example: Example, offset: int, timer: Callable[[], float]
    ) -> tuple[float, float] | None:
        is_judged = example.label is not None
        began = timer()
        theirs = reference.score(example.features) if is_judged else 0.0
        learned = [self.reference_lineage.absorb(reference, [example], [offset])]
        halfway = timer()
        ours = self.learner.score(example.features) if is_judged else 0.0
        learned.append(self.lineage.absorb(self.learner, [example], [offset]))
        self.reference_s += halfway - began
        self.challenger_s += timer() - halfway
        left_out = self.lineage.leaves_out(example, offset)
        again = any(outcome.n_redelivered for outcome in learned)
        if example.label is None or left_out or again:
            return None
        return losses(self.loss, example.label, theirs, ours, reference.threshold)


def losses(
    kind: Loss, truth: Truth, champion: Score, challenger: Score, threshold: float
) -> tuple[float, float]:
    """Compute what two predictions for the same truth cost.

    Examples
    --------
    >>> losses(Loss.BRIER, True, 0.5, 1.0, 0.5), losses(Loss.ZERO_ONE, False, 0.7, 0.2, 0.5)
    ((0.25, 0.0), (1.0, 0.0))
    >>> losses(Loss.SHARE, 10.0, 7.0, 9.0, 0.5)
    (0.75, 0.25)
    """
    if kind is Loss.SHARE:
        return _shares(truth, champion, challenger)
    loss = _LOSS[kind]
    return loss(truth, champion, threshold), loss(truth, challenger, threshold)


def _shares(truth: Any, champion: Any, challenger: Any) -> tuple[float, float]:
    theirs, ours = abs(champion - truth), abs(challenger - truth)
    total = theirs + ours
    if not math.isfinite(total):
        # A model that has run away has lost; if both have, neither has won.
        return float(not math.isfinite(theirs)), float(not math.isfinite(ours))
    return (theirs / total, ours / total) if total else (0.0, 0.0)


def _brier(truth: Truth, score: Any, threshold: float) -> float:
    if isinstance(score, Mapping):
        missing = 0.0 if truth in score else 1.0
        squares = (((name == truth) - p) ** 2 for name, p in score.items())
        return min(1.0, (missing + math.fsum(squares)) / 2.0)
    return float((score - bool(truth)) ** 2)


def _log(truth: Truth, score: Any, threshold: float) -> float:
    if isinstance(score, Mapping):
        probability = score.get(truth, 0.0)
    else:
        probability = score if truth else 1.0 - score
    lowest = math.exp(-LOG_LOSS_MAX)
    return min(1.0, -math.log(max(lowest, probability)) / LOG_LOSS_MAX + 0.0)


def _zero_one(truth: Truth, score: Any, threshold: float) -> float:
    if isinstance(score, Mapping):
        said = max(score, key=score.__getitem__) if score else None
        return float(said != truth)
    return float((score >= threshold) != truth)


_LOSS: dict[Loss, Callable[[Truth, Any, float], float]] = {
    Loss.BRIER: _brier,
    Loss.LOG: _log,
    Loss.ZERO_ONE: _zero_one,
}
