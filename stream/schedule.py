"""When labels come: the delay between an event and its label, in event time or in events."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar

T = TypeVar("T")


class Due(NamedTuple, Generic[T]):
    """A label whose time has come, and that time in seconds since the epoch."""

    label: T
    time: float


class LabelSchedule(Protocol[T]):
    """Holds labels back until they are due."""

    def add(self, label: T, event_time: float) -> None:
        """Hold the label of the event that was just published."""

    def due(self, event_time: float) -> Iterator[Due[T]]:
        """Give the labels that come before the next event, which happens at `event_time`."""

    def rest(self) -> Iterator[Due[T]]:
        """Give all that are still held: the stream of events has ended."""

    def __len__(self) -> int:
        """How many labels are held."""


def label_schedule(delay_s: float, delay_events: int | None) -> LabelSchedule[T]:
    """Build the schedule for a delay in events, if that is given, or else in event time."""
    if delay_events is not None:
        return DelayInEvents(delay_events)
    return DelayInTime(delay_s)


class DelayInTime(Generic[T]):
    """A label comes when the stream's event time reaches its event's time plus the delay.

    The stream's time is the latest event time so far: one late event does not turn it back.

    Examples
    --------
    >>> schedule: DelayInTime[str] = DelayInTime(delay_s=10.0)
    >>> schedule.add("a", event_time=0.0)
    >>> list(schedule.due(9.0)), list(schedule.due(10.0))
    ([], [Due(label='a', time=10.0)])
    """

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        # The serial number keeps labels of one moment in order, and labels from being compared.
        self._held: list[tuple[float, int, T]] = []
        self._serial = itertools.count()
        self._now = float("-inf")

    def add(self, label: T, event_time: float) -> None:
        """Hold the label of the event that was just published."""
        self._now = max(self._now, event_time)
        heapq.heappush(self._held, (event_time + self._delay_s, next(self._serial), label))

    def due(self, event_time: float) -> Iterator[Due[T]]:
        """Give the labels that come before the next event, which happens at `event_time`."""
        self._now = max(self._now, event_time)
        while self._held and self._held[0][0] <= self._now:
            time, _, label = heapq.heappop(self._held)
            yield Due(label, time)

    def rest(self) -> Iterator[Due[T]]:
        """Give all that are still held: the stream of events has ended."""
        return self.due(float("inf"))

    def __len__(self) -> int:
        """How many labels are held."""
        return len(self._held)


class DelayInEvents(Generic[T]):
    """A label comes after that many further events; its time is the stream's time by then.

    Examples
    --------
    >>> schedule: DelayInEvents[str] = DelayInEvents(delay_events=1)
    >>> schedule.add("a", event_time=5.0)
    >>> list(schedule.due(6.0))
    []
    >>> schedule.add("b", event_time=6.0)
    >>> list(schedule.due(7.0))
    [Due(label='a', time=6.0)]
    """

    def __init__(self, delay_events: int) -> None:
        self._delay_events = delay_events
        self._held: deque[T] = deque()
        self._time = 0.0

    def add(self, label: T, event_time: float) -> None:
        """Hold the label of the event that was just published."""
        self._held.append(label)
        self._time = max(self._time, event_time)

    def due(self, event_time: float) -> Iterator[Due[T]]:
        """Give the labels that come before the next event, which happens at `event_time`."""
        while len(self._held) > self._delay_events:
            yield Due(self._held.popleft(), self._time)

    def rest(self) -> Iterator[Due[T]]:
        """Give all that are still held: the stream of events has ended."""
        while self._held:
            yield Due(self._held.popleft(), self._time)

    def __len__(self) -> int:
        """How many labels are held."""
        return len(self._held)
