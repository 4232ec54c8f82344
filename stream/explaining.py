"""Which scores are explained, and in how many words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.importance import Importance
from models.reasons import Attribution, Reasons


class Explaining:
    """Chooses the scores of a batch that get reasons, and puts these into words.

    Parameters
    ----------
    every
        Whether all scores are explained, not alerts only.
    top_n
        Features that are named.
    names
        What people call the features.
    importance_n
        Explained scores of the champion that the importance of features is about.

    Attributes
    ----------
    importance
        Which features have mattered lately, on this worker.
    """

    def __init__(
        self, *, every: bool, top_n: int, names: Mapping[str, str], importance_n: int
    ) -> None:
        self.importance = Importance(importance_n)
        self._every = every
        self._top_n = top_n
        self._names = names

    def choose(self, scores: Sequence[Any], threshold: float, model_position: int) -> Sequence[int]:
        """Give the places of the scores to explain; none while the model has learned nothing."""
        if model_position == 0:
            return ()
        if self._every:
            return range(len(scores))
        return [i for i, score in enumerate(scores) if score >= threshold]

    def tell(self, attribution: Attribution) -> Reasons:
        """Put an attribution into words."""
        return attribution.top(self._top_n, self._names)
