"""Drift that needs no label: a worker watches the events that it scores, and the scores it gives.

Why this is no part of the fold: labels come days after their events, and what is seen here must not
wait for them. Which events a worker sees depends on its partitions, so the watch begins anew where
it starts, nothing acts on what it says, and what two workers tell of one drift are two records.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from models.data_drift import DataWatch
from models.drift import DriftSettings
from models.types import DriftSignal, Features, Score
from stream import topics
from stream.messages import SHARD_KEY, encode_drift
from stream.ports import Message


class LabelFree:
    """Watches what a worker scores; the signals wait until they are taken.

    Parameters
    ----------
    name
        Of the worker: begins the ids of what it tells.
    now
        Wall time in seconds: tells what was said before a restart from what is said after.
    """

    def __init__(self, settings: DriftSettings, name: str, now: Callable[[], float]) -> None:
        self._watch = DataWatch(settings)
        self._name = name
        self._now = now
        self._n = 0
        self._signals: list[DriftSignal] = []

    def observe(
        self, rows: Sequence[Features], scores: Sequence[Score], event_times: Sequence[float]
    ) -> None:
        """Take a batch of events with their scores; positions count the events seen here."""
        positions = range(self._n, self._n + len(rows))
        self._n += len(rows)
        self._signals += self._watch.observe_many(rows, scores, positions, event_times)

    def take(self) -> list[DriftSignal]:
        """Give the signals since the last call."""
        signals, self._signals = self._signals, []
        return signals

    def record_of(self, signal: DriftSignal) -> Message:
        """Write a signal for the drift topic."""
        source = f"{self._name}-{int(self._now() * 1000)}"
        return Message(topics.DRIFT.name, 0, SHARD_KEY, encode_drift(signal, 0, source))
