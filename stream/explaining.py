"""Which scores are explained, in how many words, and which features have mattered to them.

The last is an entry in the score lane's state, so that whoever may read the store can tell it for
all partitions together, whichever worker has them and whether one runs at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from models.importance import Importance, Means
from models.reasons import Attribution, Reasons

IMPORTANCE = "importance"
"""Key of the entry."""
SAVE_EVERY_S = 10.0
FEATURES_MAX = 500
"""Features whose importance is saved: a pipeline may make one of every category that it meets."""

decode_means: Callable[[bytes], Means] = msgspec.json.Decoder(Means).decode


class Explaining:
    """Chooses the scores of a partition that get reasons, and puts these into words.

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
        Which features have mattered lately.
    means
        The same as of when it was last saved.
    """

    def __init__(
        self, *, every: bool, top_n: int, names: Mapping[str, str], importance_n: int
    ) -> None:
        self.means: Means | None = None
        self.importance = Importance(importance_n)
        self._has_news = False
        self._saved_at = float("-inf")
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

    def note(self, explained: Sequence[Attribution]) -> None:
        """Remember how far each feature has pushed scores of the champion's."""
        self.importance.add(explained)
        self._has_news = True

    def news(self, now: float, *, last: bool = False) -> dict[str, bytes | None]:
        """Give what to save of the features that have mattered: now and then, and at the end."""
        if not self._has_news or (not last and now - self._saved_at < SAVE_EVERY_S):
            return {}
        self._has_news, self._saved_at = False, now
        means = self.importance.means(now)
        # JSON has no infinity, which a model that diverges may come to.
        finite = ((name, value) for name, value in means.values.items() if math.isfinite(value))
        kept = dict(islice(finite, FEATURES_MAX))
        self.means = msgspec.structs.replace(means, values=kept)
        return {IMPORTANCE: msgspec.json.encode(self.means)}
