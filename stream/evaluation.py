"""Run a file of events and late labels through the learner, without servers.

The events take the worker's way: the same validation, the same learner, the score of the moment
kept until the label comes, and labels in the order in which `driftline produce` would publish
them. So what is measured here is what a worker would do, one event at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from models.learner import Learner
from models.pipelines import trusted_modules
from models.prequential import Prequential, PrequentialValues
from models.ranking import average_precision, groups_of, roc_auc
from models.types import DriftSignal, Example, Score, Task
from stream.alert_value import AlertValue
from stream.decoding import Event, EventDecoder, LabelDecoder
from stream.derived import Derivation
from stream.explaining import Explaining
from stream.feed import HeldLabel, label_encoder
from stream.messages import InvalidMessage
from stream.rows import Row
from stream.schedule import LabelSchedule
from stream.settings import Settings


class Scored(NamedTuple):
    """An event with the scores that were given, until its label comes."""

    event: Event
    score: Score
    version: str
    position: int
    frozen_score: Score | None
    label: HeldLabel
    threshold: float


class Evaluation:
    """Test, then train: one learner, and if asked for, a rival that stops learning.

    Parameters
    ----------
    freeze_after
        After this many rows a copy of the learner stops learning; both are compared from there.
    alerts
        Adds up what the alerts were worth.
    after
        Seconds after the first event from which on events are ranked, and alerts added up.
    explaining
        Explains scores as a worker would; None: none are explained.
    """

    def __init__(
        self,
        settings: Settings,
        learner: Learner,
        schedule: LabelSchedule[Scored],
        freeze_after: int | None = None,
        alerts: AlertValue | None = None,
        after: float | None = None,
        explaining: Explaining | None = None,
    ) -> None:
        self.learner = learner
        self.n_rows = 0
        self.n_events = 0
        self.invalid: Counter[str] = Counter()
        self.drifts: list[DriftSignal] = []
        self.frozen: Frozen | None = None
        self.later = None if after is None else Later(after)
        self._settings = settings
        self._schedule = schedule
        self._freeze_after = freeze_after
        self._alerts = alerts
        self._explaining = explaining
        self._events = EventDecoder(settings.event)
        self._derivation = Derivation(settings)
        self._labels = LabelDecoder(settings.label, settings.model.task)
        self._has_time = settings.event.time is not None
        self._risks = bool(settings.features.risk)
        self._encode_label = label_encoder(settings)
        self._first = self._latest = 0.0
        self._seen: set[str] = set()
        self._n_absorbed = 0

    @property
    def days(self) -> float | None:
        """How long the events took, in event time; None where they carry none."""
        return (self._latest - self._first) / 86_400.0 if self._has_time else None

    def run(self, rows: Iterable[Row]) -> Iterator[int]:
        """Take the rows one by one; gives their number, for progress."""
        for row in rows:
            if self.n_rows == self._freeze_after:
                self.frozen = Frozen(self.learner, self._settings)
            self._take(row)
            self.n_rows += 1
            yield self.n_rows
        self._absorb(list(self._examples(self._schedule.rest())))

    def _take(self, row: Row) -> None:
        try:
            # Without an event time, the rows' own order is the time; with one, it is trusted.
            event = self._events.decode(row.event, 0 if self._has_time else self.n_rows * 1000)
        except InvalidMessage as invalid:
            self.invalid[invalid.reason] += 1
            return
        if event.event_id in self._seen:
            self.invalid["repeated_id"] += 1
            return
        if not self._seen:
            self._begin(event.event_time)
        self._latest = max(self._latest, event.event_time)
        self._seen.add(event.event_id)
        self._absorb(list(self._examples(self._schedule.due(event.event_time))))
        self._score(self._derivation.extend(event), row)

    def _begin(self, time: float) -> None:
        self._first = self._latest = time
        if self._alerts is not None and self.later is not None:
            self._alerts.since = time + self.later.after

    def _score(self, event: Event, row: Row) -> None:
        learner = self.learner
        score = learner.score(event.features)
        frozen_score = self.frozen.score(event.features) if self.frozen else None
        version, position = learner.version_id, learner.position
        self.n_events += 1
        self._explain(event, score)
        if learner.task is Task.ANOMALY:
            said = (score, version, position)
            unlabelled = self._example(event, None, said, event.event_time, "events/0")
            self._absorb([unlabelled])
        if row.label is not None and row.event_id is not None:
            label = HeldLabel(row.event_id, row.label, row.label_time)
            scored = Scored(event, score, version, position, frozen_score, label, learner.threshold)
            self._schedule.add(scored, event.event_time)

    def _explain(self, event: Event, score: Score) -> None:
        explaining, learner = self._explaining, self.learner
        if explaining is not None and explaining.choose(
            [score], learner.threshold, learner.position
        ):
            explaining.note(learner.explain_many([event.features]))

    def _examples(self, due: Iterable[tuple[Scored, float]]) -> Iterator[Example]:
        for scored, time in due:
            event = scored.event
            try:
                label = self._labels.decode(
                    self._encode_label(scored.label, time), int(time * 1000.0)
                )
            except InvalidMessage as invalid:
                self.invalid[invalid.reason] += 1
                continue
            if label.label_time - event.event_time > self._settings.join.ttl:
                self.invalid["expired"] += 1
                continue
            if self.frozen is not None and scored.frozen_score is not None:
                self.frozen.observe(label.truth, scored.frozen_score, scored.score)
            if self.later is not None:
                self.later.observe(event.event_time - self._first, label.truth, scored.score)
            if self._risks:
                self._derivation.learn(event, bool(label.truth))
            if self._alerts is not None:
                self._alerts.observe(
                    event, scored.score, scored.threshold, scored.position, label.truth,
                    label.label_time,
                )  # fmt: skip
            said = (scored.score, scored.version, scored.position)
            yield self._example(event, label.truth, said, label.label_time, "labels/0")

    def _example(
        self, event: Event, truth: Any, said: tuple[Score, str, int], label_time: float, origin: str
    ) -> Example:
        offset = self._n_absorbed
        self._n_absorbed += 1
        score, version, position = said
        return Example(
            event.event_id,
            event.features,
            truth,
            dict(score) if isinstance(score, Mapping) else score,
            version,
            position,
            event.event_time,
            label_time,
            origin,
            offset,
            offset,
        )

    def _absorb(self, examples: list[Example]) -> None:
        if examples:
            start = self.learner.position
            outcome = self.learner.absorb(examples, range(start, start + len(examples)))
            self.drifts += outcome.drifts


class Frozen:
    """A copy of the learner that has stopped learning, measured against the one that goes on."""

    def __init__(self, learner: Learner, settings: Settings) -> None:
        self.after = learner.n_learned
        self._copy = Learner.load(
            learner.dump(), trusted_modules(settings.model.pipeline, settings.drift.detector)
        )
        self._threshold = learner.threshold
        rolling_n = settings.model.rolling_n
        self._metrics = Prequential(learner.task, rolling_n)
        self._metrics_of_learner = Prequential(learner.task, rolling_n)

    def score(self, features: dict[str, Any]) -> Score:
        """Score as the model was when it was frozen."""
        return self._copy.score(features)

    def observe(self, truth: Any, frozen_score: Score, score: Score) -> None:
        """Compare both scores of an event with its truth."""
        self._metrics.observe([truth], [frozen_score], self._threshold)
        self._metrics_of_learner.observe([truth], [score], self._threshold)

    def values(self) -> tuple[PrequentialValues, PrequentialValues]:
        """Give the metrics of the frozen model and of the learner, over the same events."""
        return self._metrics.values(), self._metrics_of_learner.values()


class Later:
    """How the events ranked that came after a while: a model that starts from nothing needs one.

    Parameters
    ----------
    after
        Seconds after the first event.

    Examples
    --------
    >>> later = Later(after=10.0)
    >>> for age, truth, score in ((5.0, True, 0.1), (10.0, True, 0.9), (11.0, False, 0.2)):
    ...     later.observe(age, truth, score)
    >>> later.values()
    {'events': 2, 'positives': 1, 'roc_auc': 1.0, 'pr_auc': 1.0, 'no_skill_pr_auc': 0.5}
    """

    def __init__(self, after: float) -> None:
        self.after = after
        self._truths: list[bool] = []
        self._scores: list[float] = []

    def observe(self, age: float, truth: Any, score: Score) -> None:
        """Add an event of so many seconds after the first, with the score that it got then."""
        if age >= self.after and isinstance(score, float | int):
            self._truths.append(bool(truth))
            self._scores.append(score)

    def values(self) -> dict[str, float | None]:
        """Give the exact areas, and what no skill reaches; None while they are not defined."""
        truths, scores = np.array(self._truths, np.bool_), np.array(self._scores, np.float64)
        groups = groups_of(truths, scores)
        n, n_positives = len(truths), int(truths.sum())
        return {
            "events": n,
            "positives": n_positives,
            "roc_auc": roc_auc(*groups),
            "pr_auc": average_precision(*groups),
            "no_skill_pr_auc": n_positives / n if n else None,
        }
