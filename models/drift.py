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
from models.types import Direction, DriftKind, DriftLevel, DriftSignal

_N_RECENT = 4096


class DriftSettings(msgspec.Struct, frozen=True):
    """How easily the watch is alarmed.

    On a stream that does not change there is one false confirmation in `confirmed_every` examples,
    and one false warning in `warning_every`. `detector` is a name in `models.detectors.CALIBRATED`,
    or `module:Class`, made with `options`, which knows no budget.
    """

    detector: str = "adwin"
    confirmed_every: int = 100_000
    warning_every: int = 10_000
    options: dict[str, Any] = {}


class DriftWatch:
    """Tell drift warnings from confirmed drift in a stream of prequential errors.

    Errors are 0 or 1 for decisions, which is what budgets are calibrated on. Magnitudes work as
    well (ADWIN's bound adapts to their variance), best when they are of the order of one.

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

    def __init__(self, settings: DriftSettings | None = None, what: str = "error") -> None:
        self.settings = settings or DriftSettings()
        self.what = what
        name, options = self.settings.detector, self.settings.options
        self._warning = Detector(name, self.settings.warning_every, options, warns=True)
        self._drift = Detector(name, self.settings.confirmed_every, options)
        self._errors: deque[float] = deque(maxlen=_N_RECENT)
        self._positions: deque[int] = deque(maxlen=_N_RECENT)

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
            is_all = start == 0 and at == len(errors) - 1
            self._errors.extend(errors if is_all else errors[start : at + 1])
            self._positions.extend(positions if is_all else positions[start : at + 1])
            if level is not None and len(self._errors) > 1:
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

    def _signal(self, level: DriftLevel, event_time: float) -> DriftSignal:
        change = likeliest_change(self._errors)
        signal = DriftSignal(
            kind=DriftKind.CONCEPT,
            what=self.what,
            level=level,
            direction=Direction.WORSENED if change.after > change.before else Direction.IMPROVED,
            before=change.before,
            after=change.after,
            position=self._positions[-1],
            event_time=event_time,
            since=self._positions[change.at],
        )
        if level is DriftLevel.CONFIRMED:
            self._errors.clear()
            self._positions.clear()
        return signal
