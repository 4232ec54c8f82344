"""The model in force on this worker: the live learner if its lane is here, else a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from models.learner import Learner
from models.reasons import Attribution
from models.thresholds import ThresholdRule, fixed_threshold
from models.types import Features, Score


class ModelInForce:
    """Scores with the live learner of the learn lane, or with the newest published version.

    The learn lane sets `live` when it opens here and clears it when it leaves. A snapshot is
    swapped in whole by `replace_snapshot`, between two batches, since both run on one thread.

    Parameters
    ----------
    fresh
        Makes an untrained learner: what scores before any version exists.
    now
        Wall time in seconds, to tell how old a snapshot is.
    staleness_max
        Seconds after which scores by an unrefreshed snapshot are flagged stale.
    """

    def __init__(
        self, fresh: Callable[[], Learner], now: Callable[[], float], staleness_max: float
    ) -> None:
        self._now = now
        self._staleness_max = staleness_max
        self.live: Learner | None = None
        self._rule: ThresholdRule | None = None
        self.live_version: str | None = None
        self._snapshot = fresh()
        self._snapshot_version = self._snapshot.version_id
        self._confirmed_at = now()

    @property
    def threshold(self) -> float | None:
        """The decision threshold that comes with the model in force; None: the configured one."""
        learner = self.live or self._snapshot
        return learner.threshold if learner.budget is not None else fixed_threshold(self._rule)

    @property
    def version(self) -> str:
        """The version that scores now (of the live learner: the last one cut)."""
        return self._snapshot_version if self.live is None else self.live_version or "v1-0"

    @property
    def age(self) -> float:
        """Seconds since the snapshot was last known to be the newest; 0 for a live learner."""
        return 0.0 if self.live is not None else self._now() - self._confirmed_at

    def score_many(self, rows: Sequence[Features]) -> list[Score]:
        """Score events, in order."""
        return (self.live or self._snapshot).score_many(rows)

    def explain_many(self, rows: Sequence[Features]) -> list[Attribution]:
        """Attribute the scores that `score_many` gives now to features."""
        return (self.live or self._snapshot).explain_many(rows)

    def stamp(self) -> tuple[str, int, bool]:
        """Give (version id, model position, stale) of the model that scores now."""
        if self.live is not None:
            return self.version, self.live.position, False
        return self.version, self._snapshot.position, self.age > self._staleness_max

    def go_live(self, learner: Learner, version: str, rule: ThresholdRule | None) -> None:
        """Score with the learner that this worker's learn lane keeps."""
        self.live, self.live_version, self._rule = learner, version, rule

    def leave(self) -> None:
        """Keep scoring with the learner as it was when its lane went to another worker."""
        if self.live is not None:
            self._snapshot, self._snapshot_version = self.live, self.version
            self.live = None
            self._confirmed_at = self._now()

    def replace_snapshot(self, learner: Learner, version: str, rule: ThresholdRule | None) -> None:
        """Swap a newer version in."""
        self._snapshot, self._snapshot_version, self._rule = learner, version, rule

    def confirm(self) -> None:
        """Note that the version in force is the newest that exists."""
        self._confirmed_at = self._now()
