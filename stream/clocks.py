"""The three clocks of an application, from its logs: matured, estimated, and how much is labelled.

Why from the logs: events are scored by one worker and labelled by another, perhaps months later, so
no worker knows the share that is labelled. The topics of scores and examples do, to the event, and
to count them costs the lanes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import msgspec

from models.clocks import Cohorts, Coverage, Estimate, coverage, estimate
from models.prequential import Prequential, PrequentialValues
from models.seen import SeenOffsets
from models.types import Example, Score, Task
from stream import topics
from stream.messages import CHAMPION, decide, decode_decision, decode_example
from stream.ports import LogReader, LogRecord


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What the clocks say at `time`, that of the newest event or label.

    `matured` are metrics of all labels that came, `estimated` is None where the task has no
    probabilities. `coverage` is of events no older than the join's TTL; among their labelled ones
    `n_silent` are negatives that nobody labelled.
    """

    time: float
    threshold: float
    matured: PrequentialValues
    estimated: Estimate | None
    coverage: list[Coverage]
    n_silent: int


class Clocks:
    """Reads decisions, then examples, and tells.

    Parameters
    ----------
    threshold
        Decides all events here, whenever they were scored: examples do not hold what was in force.
    ttl
        Seconds that an event waits for its label.
    arm
        Whose decisions they are about: what scores mean differs between models.
    """

    def __init__(
        self, task: Task, *, threshold: float, rolling_n: int, ttl: float, arm: str = CHAMPION
    ) -> None:
        self._task = task
        self._arm = arm
        self.threshold = threshold
        self._ttl = ttl
        self._prequential = Prequential(task, rolling_n)
        self._scored, self._labelled, self._silent = Cohorts(), Cohorts(), Cohorts()
        self._newest: dict[int, int] = {}
        self._seen = SeenOffsets()
        self._time = -inf

    def note_decisions(self, records: Sequence[LogRecord]) -> None:
        """Count published decisions, each once."""
        times, scores, alerts = [], [], []
        for record in records:
            one = decode_decision(record.value or b"")
            # A decision is told again after a crash, or where its id comes again.
            again = one.partition != record.partition
            if again or one.offset <= self._newest.get(one.partition, -1):
                continue
            self._newest[one.partition] = one.offset
            if one.arm != self._arm:
                continue
            times.append(one.event_time)
            scores.append(_confidence(one.score))
            alerts.append(self._alerts(one.score, one.model_position))
        self._scored.add(times, scores, alerts)
        self._advance(times)

    def note_examples(self, records: Sequence[LogRecord]) -> None:
        """Count labels of scored events, each once; test the scores by them."""
        decoded = (decode_example(record.value or b"") for record in records)
        tested = [
            one
            for one in decoded
            if self._seen.admit(one.origin, one.offset, one.floor)
            and one.score is not None
            and one.label is not None
            and (one.arm or CHAMPION) == self._arm
        ]
        truths, scores = [one.label for one in tested], [one.score for one in tested]
        self._prequential.observe(truths, scores, self.threshold)  # type: ignore[arg-type]
        first = [one for one in tested if one.revision == 1]
        self._count(self._labelled, first)
        self._count(self._silent, [one for one in first if one.origin.startswith("silence/")])
        self._advance([one.label_time for one in tested])

    def read(self) -> Reading:
        """Tell what the clocks say now."""
        for cohorts in (self._scored, self._labelled, self._silent):
            cohorts.advance(self._time)
            cohorts.forget(self._time - self._ttl)
        estimated = None
        if self._task in (Task.BINARY, Task.MULTICLASS):
            estimated = estimate(self._scored, self._labelled)
        if estimated is not None and self._task is Task.MULTICLASS:
            kept = {name: x for name, x in estimated.metrics.items() if name == "accuracy"}
            estimated = msgspec.structs.replace(estimated, metrics=kept)
        return Reading(
            time=self._time,
            threshold=self.threshold,
            matured=self._prequential.values(),
            estimated=estimated,
            coverage=coverage(self._scored, self._labelled),
            n_silent=sum(int(counts.sum()) for counts in self._silent.by_age(0).values()),
        )

    def _count(self, cohorts: Cohorts, examples: Sequence[Example]) -> None:
        cohorts.add(
            [one.event_time for one in examples],
            [_confidence(_score(one)) for one in examples],
            [self._alerts(_score(one), one.model_position or 0) for one in examples],
            [self._is_positive(one) for one in examples],
        )

    def _advance(self, times: Sequence[float]) -> None:
        self._time = max(self._time, max(times, default=-inf))
        for cohorts in (self._scored, self._labelled, self._silent):
            cohorts.advance(self._time)

    def _alerts(self, score: Score, model_position: int) -> bool:
        # A likeliest class counts as what is asserted, whose chance is the confidence.
        decision = decide(self._task, score, self.threshold, model_position)
        return decision != "pass" if self._task is Task.BINARY else True

    def _is_positive(self, one: Example) -> bool:
        if self._task is Task.MULTICLASS:
            return decide(self._task, _score(one), self.threshold, 1) == one.label
        return one.label is True


class Follower:
    """Feeds clocks with what the topics hold, and later with what has come since.

    Parameters
    ----------
    reading
        Told of every batch: topic and records in it.
    """

    def __init__(
        self,
        clocks: Clocks,
        log: LogReader,
        app: str,
        reading: Callable[[str, int], None] = lambda topic, n: None,
    ) -> None:
        self.clocks = clocks
        self._log = log
        self._reading = reading
        # Examples first: a label must not be of an event that is not counted yet.
        self._steps = (
            (topics.EXAMPLES.full_name(app), clocks.note_examples),
            (topics.SCORES.full_name(app), clocks.note_decisions),
        )
        self._positions: dict[tuple[str, int], int] = {}

    def catch_up(self) -> Reading:
        """Read to the present ends of the topics, and tell."""
        for topic, note in self._steps:
            ends = {
                partition: (self._positions.get((topic, partition), first), end)
                for partition, (first, end) in self._log.ends(topic).items()
            }
            news = {partition: span for partition, span in ends.items() if span[0] < span[1]}
            for batch in self._log.read(topic, news) if news else ():
                note(batch)
                self._reading(topic, len(batch))
            self._positions |= {(topic, partition): end for partition, (_, end) in news.items()}
        return self.clocks.read()


def newest_threshold(log: LogReader, app: str) -> float | None:
    """Give the threshold of the newest decision; None if there is none."""
    topic = topics.SCORES.full_name(app)
    lasts = {partition: (end - 1, end) for partition, (first, end) in log.ends(topic).items()
             if first < end}  # fmt: skip
    records = [one for batch in (log.read(topic, lasts) if lasts else ()) for one in batch]
    decisions = [decode_decision(record.value or b"") for record in records]
    newest = max(decisions, key=lambda one: one.event_time, default=None)
    return None if newest is None else newest.threshold


def _score(one: Example) -> Score:
    assert one.score is not None, one.event_id
    return one.score


def _confidence(score: Any) -> float:
    if isinstance(score, dict):
        return max(score.values(), default=0.0)
    return float(score)
