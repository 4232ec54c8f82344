"""Concept drift: whether the prequential error changed, which way, and how surely.

Why two detectors: ADWIN has one threshold and no notion of a warning, so a jumpy one warns (time
to prepare a challenger) and a strict one confirms (time to act), as in River's adaptive random
forest. Why a direction: ADWIN reports any change, and a model that got better must not be
replaced for it. Drift is evidence, not a verdict: nothing is reset or retrained here but the
detectors themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from river import drift

from models.types import Direction, DriftKind, DriftLevel, DriftSignal


class DriftSettings(msgspec.Struct, frozen=True):
    """How easily the watch is alarmed.

    Each delta bounds the chance that ADWIN, at one of its checks, sees a change where there is
    none; the smaller, the surer and the later. The defaults are those of River's adaptive
    random forest.
    """

    warning_delta: float = 0.01
    drift_delta: float = 0.001


class DriftWatch:
    """Tell drift warnings from confirmed drift in a stream of prequential errors.

    Errors are 0 or 1 for decisions. Magnitudes work as well (ADWIN's bound adapts to their
    variance), best when they are of the order of one.

    Examples
    --------
    >>> import random
    >>> rng = random.Random(7)
    >>> watch = DriftWatch(DriftSettings(warning_delta=0.01, drift_delta=0.001))
    >>> for i in range(2_000):
    ...     error = rng.random() < (0.1 if i < 1_000 else 0.4)
    ...     if signal := watch.observe(error, position=i, event_time=0.0):
    ...         print(i, signal.level, signal.direction)
    1055 warning worsened
    1087 confirmed worsened
    """

    def __init__(self, settings: DriftSettings | None = None, what: str = "error") -> None:
        self.settings = settings or DriftSettings()
        self.what = what
        self._warning = _Window(self.settings.warning_delta)
        self._drift = _Window(self.settings.drift_delta)

    def observe(self, error: float, position: int, event_time: float) -> DriftSignal | None:
        """Absorb one error; at most one signal, and a confirmation outranks a warning."""
        signals = self.observe_many([error], [position], [event_time])
        return signals[0] if signals else None

    def observe_many(
        self, errors: Sequence[float], positions: Sequence[int], event_times: Sequence[float]
    ) -> list[DriftSignal]:
        """Absorb errors in order; the signals are those of one call for each error.

        1. Both detectors see every error.
        2. A confirmation resets both: the old evidence has been used.
        3. A warning resets the detector that warned, so a drift may warn more than once.
        """
        signals = []
        start = 0
        while start < len(errors):
            tripped = self._run_to_detection(errors, start)
            if tripped is None:
                break
            at, window, level = tripped
            before, after = window.means()
            signals.append(
                DriftSignal(
                    kind=DriftKind.CONCEPT,
                    what=self.what,
                    level=level,
                    direction=Direction.WORSENED if after > before else Direction.IMPROVED,
                    before=before,
                    after=after,
                    position=positions[at],
                    event_time=event_times[at],
                )
            )
            window.reset()
            if level is DriftLevel.CONFIRMED:
                self._warning.reset()
            start = at + 1
        return signals

    def _run_to_detection(
        self, errors: Sequence[float], start: int
    ) -> tuple[int, _Window, DriftLevel] | None:
        # The hot loop, in local names. Sums are kept in event order, never by `sum` of a batch,
        # so that the batching cannot change a bit of them.
        warning, confirmed = self._warning, self._drift
        warn, confirm = warning.update, confirmed.update
        total_warning, total_confirmed = warning.total, confirmed.total
        tripped = None
        at = start - 1
        for at in range(start, len(errors)):
            error = errors[at]
            total_warning += error
            total_confirmed += error
            warns = warn(error)
            if confirm(error):
                tripped = (at, confirmed, DriftLevel.CONFIRMED)
                break
            if warns:
                tripped = (at, warning, DriftLevel.WARNING)
                break
        warning.absorb(at + 1 - start, total_warning)
        confirmed.absorb(at + 1 - start, total_confirmed)
        return tripped


class _Window:
    # River's ADWIN with the count and the sum since its last reset. ADWIN forgets what it cut off;
    # with these the mean before the cut can still be told.
    def __init__(self, delta: float) -> None:
        self.delta = delta
        self.reset()

    def reset(self) -> None:
        self.adwin = drift.ADWIN(delta=self.delta)  # type: ignore[no-untyped-call]
        self.n = 0
        self.total = 0.0

    @property
    def update(self) -> Callable[[float], bool]:
        # The native window inside: `ADWIN.update` only adds the reset after a detection, which is
        # ours here, at three times the cost. A test holds the two together.
        update: Callable[[float], bool] = self.adwin._helper.update
        return update

    def absorb(self, n: int, total: float) -> None:
        self.n += n
        self.total = total

    def means(self) -> tuple[float, float]:
        # Until it detects, ADWIN has dropped nothing: what it dropped now is the time before.
        n_before = self.n - self.adwin.width
        return (self.total - self.adwin.total) / n_before, self.adwin.estimation
