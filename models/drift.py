"""Concept drift: whether the prequential error changed, which way, since when, and how surely.

Why two detectors: a jumpy one warns (time to prepare a challenger) and a strict one confirms (time
to act), as in River's adaptive random forest; each has a budget of false alarms. Why a direction:
detectors report any change, and a model that got better must not be replaced for it. Drift is
evidence, not a verdict: nothing is reset or retrained here but the detectors themselves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from models.detectors import Detector, likeliest_change
from models.segments import N_MAX
from models.types import Direction, DriftKind, DriftLevel, DriftSignal

EVERY_MIN = 1000
"""No budget allows a false alarm oftener: the detectors' tables begin there."""
N_HELD = 4096


class DriftSettings(msgspec.Struct, frozen=True):
    """How easily the watch is alarmed.

    On a stream that does not change there is one false confirmation in `confirmed_every` examples,
    and one false warning in `warning_every`. `detector` is a name in `models.detectors.CALIBRATED`,
    or `module:Class`, made with `options`, which knows no budget.

    With `confirmed_s` the budget is one false confirmation in so many seconds of event time, and
    warnings are as much oftener as by the two numbers, which hold until the pace is known. With
    `segment` the commonest `segments_max` values of that feature are watched as well, each, and the
    others together: the budget is shared, see `models.watches`.
    """

    detector: str = "adwin"
    confirmed_every: int = 100_000
    warning_every: int = 10_000
    options: dict[str, Any] = {}
    confirmed_s: float | None = None
    segment: str | None = None
    segments_max: int = N_MAX

    def every(self, n: float) -> DriftSettings:
        """Give the same with a budget of one false confirmation in `n` examples.

        Examples
        --------
        >>> DriftSettings(warning_every=5_000, confirmed_every=50_000).every(80_000).warning_every
        8000
        """
        n = max(n, EVERY_MIN)
        warning = max(n * self.warning_every / self.confirmed_every, EVERY_MIN)
        return msgspec.structs.replace(self, confirmed_every=round(n), warning_every=round(warning))


class DriftWatch:
    """Tell drift warnings from confirmed drift in a stream of prequential errors.

    Errors are 0 or 1 for decisions, which is what budgets are calibrated on. Magnitudes work as
    well (ADWIN's bound adapts to their variance), best when they are of the order of one. A change
    is looked for in the last `n_held` errors.

    Examples
    --------
    >>> import random
    >>> rng = random.Random(7)
    >>> watch = DriftWatch()
    >>> for i in range(2_000):
    ...     error = rng.random() < (0.1 if i < 1_000 else 0.4)
    ...     if signal := watch.observe(error, position=i, event_time=0.0):
    ...         print(i, signal.level, signal.direction, "since", signal.since)
    1055 confirmed worsened since 988
    1375 warning improved since 1327
    """

    # A class attribute, for the states that were written before it could be another.
    _n_held = N_HELD

    def __init__(
        self,
        settings: DriftSettings | None = None,
        what: str = "error",
        n_held: int = N_HELD,
    ) -> None:
        self.settings = settings or DriftSettings()
        self._n_held = n_held
        self.what = what
        name, options = self.settings.detector, self.settings.options
        self._warning = Detector(name, self.settings.warning_every, options, warns=True)
        self._drift = Detector(name, self.settings.confirmed_every, options)
        # By the batch, as they come: they are looked at when a detector trips.
        self._recent: deque[tuple[Sequence[float], Sequence[int]]] = deque()
        self._n_recent = 0

    def retune(self, settings: DriftSettings) -> None:
        """Keep the budget of other settings from here on, with the errors held as evidence."""
        self.settings = settings
        errors, _ = self.recent()
        self._warning.retune(settings.warning_every, errors)
        self._drift.retune(settings.confirmed_every, errors)

    def observe(self, error: float, position: int, event_time: float) -> DriftSignal | None:
        """Absorb one error; at most one signal, and a confirmation outranks a warning."""
        signals = self.observe_many([error], [position], [event_time])
        return signals[0] if signals else None

    def observe_many(
        self, errors: Sequence[float], positions: Sequence[int], event_times: Sequence[float]
    ) -> list[DriftSignal]:
        """Absorb errors in order; the signals are those of one call for each error.

        1. Both detectors see every error.
        2. A confirmation resets both, and all that was seen is forgotten: the evidence has been
           used.
        3. A warning resets the detector that warned, so a drift may warn more than once.
        """
        signals = []
        start = 0
        while start < len(errors):
            at, level = self._run_to_detection(errors, start)
            self._hold(errors, positions, start, at + 1)
            if level is not None and self._n_recent > 1:
                signals.append(self._signal(level, event_times[at]))
            if level is DriftLevel.CONFIRMED:
                self._drift.reset()
            if level is not None:
                self._warning.reset()
            start = at + 1
        return signals

    def _run_to_detection(
        self, errors: Sequence[float], start: int
    ) -> tuple[int, DriftLevel | None]:
        # The hot loop, in local names.
        warn, confirm = self._warning.update, self._drift.update
        at = start - 1
        for at in range(start, len(errors)):
            error = errors[at]
            warns = warn(error)
            if confirm(error):
                return at, DriftLevel.CONFIRMED
            if warns:
                return at, DriftLevel.WARNING
        return at, None

    def _hold(
        self, errors: Sequence[float], positions: Sequence[int], start: int, end: int
    ) -> None:
        if end - start < len(errors):
            errors, positions = errors[start:end], positions[start:end]
        self._recent.append((errors, positions))
        self._n_recent += len(errors)
        while self._n_recent - len(self._recent[0][0]) >= self._n_held:
            self._n_recent -= len(self._recent.popleft()[0])

    def recent(self) -> tuple[list[float], list[int]]:
        """Give the errors that a change is looked for in, with their positions."""
        errors = [error for batch, _ in self._recent for error in batch]
        positions = [position for _, batch in self._recent for position in batch]
        return errors[-self._n_held :], positions[-self._n_held :]

    def __getstate__(self) -> dict[str, Any]:
        errors, positions = self.recent()
        return self.__dict__ | {
            "_recent": deque([(errors, positions)]),
            "_n_recent": len(errors),
        }

    def _signal(self, level: DriftLevel, event_time: float) -> DriftSignal:
        errors, positions = self.recent()
        change = likeliest_change(errors)
        signal = DriftSignal(
            kind=DriftKind.CONCEPT,
            what=self.what,
            level=level,
            direction=Direction.WORSENED if change.after > change.before else Direction.IMPROVED,
            before=change.before,
            after=change.after,
            position=positions[-1],
            event_time=event_time,
            since=positions[change.at],
        )
        if level is DriftLevel.CONFIRMED:
            self._recent.clear()
            self._n_recent = 0
        return signal
