"""Drift of the error in all of the stream and in its segments, within one false-alarm budget.

How the budget is shared: half of it is the whole stream's, the other half all segments'. Every
example is in one segment, so if each segment's watch may be wrong once in so many of its own
examples, all of them together are wrong once in so many of all. Each of them gets twice the
budget's number, as the whole stream does; a segment's part of the alarms is then its part of the
traffic, however many segments there are.

A budget in event time is one in examples at the pace at which they come. When that has moved by a
quarter, all watches are set to what it is by then.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from models.drift import N_HELD, DriftSettings, DriftWatch
from models.segments import Pace, Roster, is_place, spans
from models.types import DriftSignal, Example, Features

PARTS = 2
"""The whole stream, and its segments."""
_TOLERANCE = 1.25
_N_HELD_OF_SEGMENT = 1024


class Budgeting:
    """The settings that each of the watches has: its part of the budget, at the present pace.

    Examples
    --------
    >>> budgeting = Budgeting(DriftSettings(confirmed_s=86_400.0, segment="country"))
    >>> budgeting.settings.confirmed_every
    200000
    >>> budgeting.take([60.0 * i for i in range(1024)])
    >>> budgeting.settle(), budgeting.settings.confirmed_every, budgeting.settings.warning_every
    (True, 2883, 1000)
    """

    def __init__(self, settings: DriftSettings) -> None:
        self._budget = settings
        self._parts = 1 if settings.segment is None else PARTS
        self._every: float = settings.confirmed_every
        self.settings = settings if self._parts == 1 else settings.every(self._parts * self._every)
        self._pace = None if settings.confirmed_s is None else Pace(settings.confirmed_s)

    def take(self, event_times: Sequence[float], each: int = 1) -> None:
        """Note when a part of `spans` came; each time stands for so many examples."""
        if self._pace is not None:
            self._pace.take(event_times, each)

    def settle(self) -> bool:
        """Look at the pace, at a place of `spans`; say whether the settings are others now."""
        if self._pace is None:
            return False
        self._pace.settle()
        every = self._pace.examples_in(self._budget.confirmed_s or 0.0)
        if every is None or self._every / _TOLERANCE <= every <= self._every * _TOLERANCE:
            return False
        self._every = every
        self.settings = self._budget.every(self._parts * every)
        return True


class Watch(Protocol):
    """What watches one series."""

    @property
    def observe_many(self) -> Callable[..., list[DriftSignal]]:
        """Absorbs a part of it, in order: columns, of which the event times are the last."""
        ...

    def retune(self, settings: DriftSettings) -> None:
        """Keep another budget from here on."""
        ...


W = TypeVar("W", bound=Watch)


class SharedWatch(ABC, Generic[W]):
    """A watch of a whole stream and one of each of its segments, within one budget.

    Parameters
    ----------
    each
        How many examples each row stands for.
    """

    def __init__(self, settings: DriftSettings, each: int = 1) -> None:
        self._each = each
        self._n = 0
        self._budgeting = Budgeting(settings)
        self._is_plain = settings.segment is None and settings.confirmed_s is None
        self._roster = None
        self._segments: dict[str | None, W] = {}
        if settings.segment is not None:
            self._roster = Roster(settings.segment, settings.segments_max)
            self._segments = {None: self._new(is_segment=True)}
        self.whole = self._new(is_segment=False)

    @abstractmethod
    def _new(self, *, is_segment: bool) -> W: ...

    def _share(
        self, rows: Sequence[Features | Example], *columns: Sequence[Any]
    ) -> list[DriftSignal]:
        # The columns are what each watch takes. At one place the whole stream's signals are first.
        if self._is_plain:
            return self.whole.observe_many(*columns)
        signals = []
        for part in spans(self._n, len(rows)):
            cut = [column[part] for column in columns]
            self._budgeting.take(cut[-1], self._each)
            found = self.whole.observe_many(*cut)
            found += self._share_segments(rows[part], cut)
            signals += sorted(found, key=lambda signal: signal.position)
            self._n += part.stop - part.start
            if is_place(self._n):
                self._settle()
        return signals

    def _share_segments(
        self, rows: Sequence[Features | Example], columns: Sequence[Sequence[Any]]
    ) -> list[DriftSignal]:
        if self._roster is None:
            return []
        signals = []
        for value, places in self._roster.split(rows).items():
            own = [[column[at] for at in places] for column in columns]
            found = self._segments[value].observe_many(*own)
            signals += [signal.within(self._roster.field, value) for signal in found]
        return signals

    def _settle(self) -> None:
        if self._budgeting.settle():
            for watch in (self.whole, *self._segments.values()):
                watch.retune(self._budgeting.settings)
        if self._roster is not None and self._roster.settle(self._n):
            # The rest is another mixture now: what it was is no evidence.
            before, self._segments = self._segments, {None: self._new(is_segment=True)}
            for value in self._roster.values:
                self._segments[value] = before.get(value) or self._new(is_segment=True)


class DriftWatches(SharedWatch[DriftWatch]):
    """The watch of all errors, and those of its segments; without segments just the one.

    Examples
    --------
    >>> import random
    >>> rng = random.Random(7)
    >>> watches = DriftWatches(DriftSettings(segment="country"))
    >>> for i in range(4_000):
    ...     country = "AT" if i % 10 == 0 else "DE"
    ...     error = rng.random() < (0.5 if country == "AT" and i >= 2_000 else 0.1)
    ...     example = Example(
    ...         f"e{i}", {"country": country}, True, 0.5, "v1-0", 0, 0.0, 0.0, "labels/0", i, i
    ...     )
    ...     for signal in watches.observe([example], [error], [i]):
    ...         if signal.level == "confirmed":
    ...             print(i, signal.subject, "since", signal.since)
    2560 error in country=AT since 2040
    3007 error since 2346
    """

    def __init__(self, settings: DriftSettings | None = None) -> None:
        super().__init__(settings or DriftSettings())

    @classmethod
    def around(cls, watch: DriftWatch) -> DriftWatches:
        """Give the watch of a state that was written before there were others beside it."""
        watches = cls(watch.settings)
        watches.whole = watch
        return watches

    def observe(
        self, examples: Sequence[Example], errors: Sequence[float], positions: Sequence[int]
    ) -> list[DriftSignal]:
        """Absorb errors in order; the batching makes no difference."""
        times = [example.event_time for example in examples]
        return self._share(examples, errors, positions, times)

    def _new(self, *, is_segment: bool) -> DriftWatch:
        n_held = _N_HELD_OF_SEGMENT if is_segment else N_HELD
        return DriftWatch(self._budgeting.settings, n_held=n_held)
