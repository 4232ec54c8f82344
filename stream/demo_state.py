"""What the demo knows: counts, latencies, the duel with the frozen model, drift and versions.

All of it comes from the topics, as any consumer would read them; nothing is asked of the worker.

Why the frozen model is a fair rival: it *is* the live model, folded here from the same examples
and stopped. Up to the freeze both share every score; from then on the frozen one answers what the
system would have answered had it stopped learning. Both are judged on the same payments by what
they said at the time.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from models.learner import Learner
from models.ranking import average_precision, groups_of, roc_auc
from models.types import DriftKind, DriftSignal, Example
from stream import topics
from stream.demo_feed import Feed, Progress
from stream.messages import decode_dead_letter, decode_decision, decode_example

ROLLING_N = 5_000
RATE_WINDOW_S = 3.0
FREEZE_SHARE = 0.3
ABSORB_AT_ONCE = 256

_decode_drift = msgspec.json.Decoder(DriftSignal).decode


class _VersionNote(msgspec.Struct):
    """What the demo needs of a versions message."""

    id: str
    reason: str
    n_learned: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well scores rank: areas under the ROC and the precision-recall curve."""

    auc: float | None
    ap: float | None


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the curves: where in the feed, and the rolling AUC of both."""

    share: float
    live: float | None
    frozen: float | None


@dataclass(frozen=True, slots=True)
class DriftNote:
    """A drift signal as shown."""

    at: str
    share: float
    level: str
    direction: str
    what: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class VersionCut:
    """A version as shown; `at_s` is seconds since the demo began to play."""

    id: str
    reason: str
    n_learned: int
    at_s: float


class FrozenRival:
    """The live model's twin that stops learning after `freeze_after` examples."""

    def __init__(self, learner: Learner, freeze_after: int) -> None:
        self._learner = learner
        self._freeze_after = freeze_after
        self._waiting: list[tuple[Example, int]] = []
        self.frozen_at_s: float | None = None

    def answers(self, examples: Sequence[Example], offsets: Sequence[int]) -> list[float]:
        """Say what a system that froze would have answered to these examples' events."""
        if self.frozen_at_s is None:
            self._follow(examples, offsets)
        if self.frozen_at_s is None:
            return [_probability(example.score) for example in examples]
        position = self._learner.position
        # The demo's labels bring no features of their own, so all of these were scored.
        late = [(example.model_position or 0) > position for example in examples]
        asked = [e.features for e, is_late in zip(examples, late, strict=True) if is_late]
        scores = iter(self._learner.score_many(asked))
        return [
            _probability(next(scores) if is_late else example.score)
            for example, is_late in zip(examples, late, strict=True)
        ]

    def _follow(self, examples: Sequence[Example], offsets: Sequence[int]) -> None:
        self._waiting += zip(examples, offsets, strict=True)
        left = self._freeze_after - self._learner.n_learned
        if len(self._waiting) < min(ABSORB_AT_ONCE, left):
            return
        batch, self._waiting = self._waiting[:left], []
        self._learner.absorb([e for e, _ in batch], [offset for _, offset in batch])
        if self._learner.n_learned >= self._freeze_after:
            self.frozen_at_s = batch[-1][0].label_time


@dataclass(slots=True)
class Duel:
    """Labels with the scores of both models, in the order in which they were learned."""

    event_s: list[float] = field(default_factory=list)
    truths: list[bool] = field(default_factory=list)
    live: list[float] = field(default_factory=list)
    frozen: list[float] = field(default_factory=list)

    def add(self, examples: Sequence[Example], frozen: Sequence[float]) -> None:
        """Note a batch of examples and what the frozen model says to them."""
        self.event_s += [example.event_time for example in examples]
        self.truths += [bool(example.label) for example in examples]
        self.live += [_probability(example.score) for example in examples]
        self.frozen += frozen

    def rolling(self, n: int) -> tuple[Ranking, Ranking]:
        """Rank the last `n` examples: live, frozen."""
        truths = np.array(self.truths[-n:], np.bool_)
        return tuple(  # type: ignore[return-value]
            ranking(truths, np.array(scores[-n:], np.float64))
            for scores in (self.live, self.frozen)
        )

    def between(self, begin_s: float, end_s: float) -> tuple[int, Ranking, Ranking]:
        """Rank the examples whose events happened in a stretch of time: how many, live, frozen."""
        event_s = np.array(self.event_s)
        chosen = (event_s >= begin_s) & (event_s < end_s)
        truths = np.array(self.truths, np.bool_)[chosen]
        live, frozen = (
            ranking(truths, np.array(scores)[chosen]) for scores in (self.live, self.frozen)
        )
        return int(chosen.sum()), live, frozen


class DemoState:
    """Fold what the topics bring; `seconds` is always the time since the demo began to play."""

    def __init__(self, feed: Feed, rival: FrozenRival, progress: Progress) -> None:
        self.feed = feed
        self.rival = rival
        self.progress = progress
        self.duel = Duel()
        self.n_scores = 0
        self.n_alerts = 0
        self.n_learned = 0
        self.dead_letters: Counter[str] = Counter()
        self.drifts: list[DriftNote] = []
        self.versions: list[VersionCut] = []
        self.curve: list[Point] = []
        self._index = {event_id: i for i, event_id in enumerate(feed.event_ids)}
        self._latency_ms = np.full(len(feed.event_ids), -1, np.int64)
        self._newest: deque[int] = deque(maxlen=ROLLING_N)
        self._rates: deque[tuple[float, int, int, int]] = deque()

    def absorb(self, topic: str, records: Sequence[tuple[int, int, bytes]], seconds: float) -> None:
        """Absorb records of one topic: offset, timestamp in milliseconds, value."""
        match topic:
            case topics.SCORES.name:
                for _, timestamp_ms, value in records:
                    self._absorb_score(timestamp_ms, value)
            case topics.EXAMPLES.name:
                self._absorb_examples(records)
            case topics.DRIFT.name:
                signals = [_decode_drift(value) for _, _, value in records]
                # A day takes a second here: that its hours differ is no news of the features.
                errors = [signal for signal in signals if signal.kind is DriftKind.CONCEPT]
                self.drifts += map(self._drift, errors)
            case topics.VERSIONS.name:
                for _, _, value in records:
                    note = msgspec.json.decode(value, type=_VersionNote)
                    cut = VersionCut(note.id, note.reason, note.n_learned, seconds)
                    self.versions.append(cut)
            case topics.DEAD_LETTERS.name:
                self.dead_letters.update(decode_dead_letter(value).reason for *_, value in records)

    def observe(self, seconds: float) -> None:
        """Note the counts for the rates, and a point of the curves."""
        counts = (self.progress.n_events, self.n_scores, self.n_learned)
        self._rates.append((seconds, *counts))
        while len(self._rates) > 2 and self._rates[1][0] <= seconds - RATE_WINDOW_S:
            self._rates.popleft()
        if self.duel.event_s:
            live, frozen = self.duel.rolling(ROLLING_N)
            share = self._share(self.duel.event_s[-1])
            self.curve.append(Point(share, live.auc, frozen.auc))

    def rates(self) -> tuple[float, float, float]:
        """Events, scores and examples learned per second, over the last seconds."""
        if len(self._rates) < 2 or self._rates[-1][0] <= self._rates[0][0]:
            return 0.0, 0.0, 0.0
        (begin, *first), (end, *last) = self._rates[0], self._rates[-1]
        e, s, n = ((b - a) / (end - begin) for a, b in zip(first, last, strict=True))
        return e, s, n

    def latency_ms(self, *, recent: bool) -> tuple[float, float, float] | None:
        """Percentiles 50, 95 and 99 from sending an event to its score, by Kafka's timestamps."""
        known: Any = self._newest if recent else self._latency_ms[self._latency_ms >= 0]
        if not len(known):
            return None
        p50, p95, p99 = np.percentile(np.array(known), (50, 95, 99)).tolist()
        return p50, p95, p99

    def _absorb_score(self, timestamp_ms: int, value: bytes) -> None:
        decision = decode_decision(value)
        i = self._index.get(decision.event_id)
        if i is None or self._latency_ms[i] >= 0:
            return  # a redelivered event republishes its score: it counts once
        latency_ms = max(0, timestamp_ms - int(self.progress.sent_ms[i]))
        self._latency_ms[i] = latency_ms
        self._newest.append(latency_ms)
        self.n_scores += 1
        self.n_alerts += decision.decision == "alert"

    def _absorb_examples(self, records: Sequence[tuple[int, int, bytes]]) -> None:
        examples = [decode_example(value) for _, _, value in records]
        answers = self.rival.answers(examples, [offset for offset, _, _ in records])
        self.duel.add(examples, answers)
        self.n_learned += len(examples)

    def _drift(self, signal: DriftSignal) -> DriftNote:
        return DriftNote(
            at=shown_time(signal.event_time),
            share=self._share(signal.event_time),
            level=signal.level,
            direction=signal.direction,
            what=signal.subject,
            before=signal.before,
            after=signal.after,
        )

    def _share(self, event_s: float) -> float:
        return (event_s - self.feed.begin_s) / (self.feed.end_s - self.feed.begin_s)


def ranking(truths: Any, scores: Any) -> Ranking:
    """Rank exactly; None where a class is missing."""
    positives, negatives = groups_of(truths, scores)
    return Ranking(roc_auc(positives, negatives), average_precision(positives, negatives))


def shown_time(seconds: float) -> str:
    """Write an event time for people.

    Examples
    --------
    >>> shown_time(1_525_132_800.0)
    '2018-05-01 00:00'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def _probability(score: Any) -> float:
    # The demo's tasks are binary: settings of another task are refused before it starts.
    return float(score)
