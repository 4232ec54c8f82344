"""Change detectors under a false-alarm budget, and when a change began.

River's detectors each have a knob of their own: a confidence, a threshold, a multiple of a standard
deviation. None says how often it will cry wolf: ADWIN at its default delta did not once in
four million examples, and is slow for it. Here the knob is the budget, one false alarm in so many
examples, and a table translates it. The table was measured: `python -m benchmarks.false_alarms`
counts what each detector says on streams of errors that never change, at several error rates, and
takes the worst of them. Only a rising error is an alarm. DDM and HDDM have no line: how often
they alarm depends so much on the error rate that no budget could be kept.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from river import drift

from models.errors import InvalidPipeline

_SIDE_MIN = 16
_N_NEWS = 64


class Calibrated(NamedTuple):
    """A detector that is known by name: how it is made, and what its knob costs in false alarms.

    `table` holds (knob, examples in which there is one false alarm), rarer and rarer.
    """

    make: Callable[[float], Any]
    table: tuple[tuple[float, int], ...]


CALIBRATED: Mapping[str, Calibrated] = {
    "adwin": Calibrated(
        lambda delta: drift.ADWIN(delta=delta),  # type: ignore[no-untyped-call]
        ((2.0, 1_170), (1.0, 3_755), (0.5, 10_416), (0.2, 33_898), (0.1, 108_108), (0.05, 200_000)),
    ),
    "page-hinkley": Calibrated(
        lambda threshold: drift.PageHinkley(threshold=threshold, mode="up"),
        (
            (10.0, 557),
            (30.0, 4_975),
            (50.0, 12_195),
            (75.0, 33_333),
            (100.0, 58_823),
            (150.0, 166_666),
        ),
    ),
}


class Detector:
    """A River detector under a budget of one false alarm `every` so many examples.

    Parameters
    ----------
    name
        One of `CALIBRATED`, or `module:Class`, which is built with `options` and has no budget.
    warns
        Of a class of one's own: listen to its `warning_detected`, if it has that.

    Examples
    --------
    >>> import random
    >>> rng = random.Random(7)
    >>> update = Detector("adwin", every=100_000).update
    >>> next(i for i in range(2_000) if update(float(rng.random() < (0.1 if i < 1_000 else 0.4))))
    1055
    """

    def __init__(
        self,
        name: str,
        every: int,
        options: Mapping[str, Any] | None = None,
        *,
        warns: bool = False,
    ) -> None:
        self._name = name
        self._options = dict(options or {})
        self._knob = knob_of(name, every) if ":" not in name else None
        self._attribute = "warning_detected" if warns and ":" in name else "drift_detected"
        self.reset()

    def retune(self, every: int, errors: Sequence[float]) -> None:
        """Take another budget from here on; `errors` are what shall not be forgotten by it.

        River's ADWIN cannot be given another delta, so a new detector sees them once more.
        """
        if self._knob is None:
            return
        self._knob = knob_of(self._name, every)
        self.reset()
        update = self.update
        for error in errors:
            update(error)

    def reset(self) -> None:
        """Forget all that was seen."""
        if self._knob is None:
            self.river = _own(self._name, self._options)
        else:
            self.river = CALIBRATED[self._name].make(self._knob)

    @property
    def update(self) -> Callable[[float], bool]:
        """A function that takes an error and says whether the detector has tripped."""
        if type(self.river) is drift.ADWIN:
            # The native window inside: `ADWIN.update` only adds the reset after a detection, which
            # is ours here, at three times the cost. A test holds the two together.
            native: Callable[[float], bool] = self.river._helper.update
            return native
        river, attribute = self.river, self._attribute

        def update(error: float) -> bool:
            river.update(error)
            return bool(getattr(river, attribute, False))

        return update


def knob_of(name: str, every: int) -> float:
    """Translate a budget into the detector's own knob, by its table.

    Between two lines of the table, and beyond them, the logarithms are taken to be on a straight.

    Raises
    ------
    InvalidPipeline
        When there is no detector of that name.
    """
    if name not in CALIBRATED:
        raise InvalidPipeline(
            f"no drift detector {name!r}: there are {', '.join(CALIBRATED)}, or 'module:Class' of "
            "River or your own"
        )
    spans = list(pairwise(CALIBRATED[name].table))
    (near, n_near), (far, n_far) = next((s for s in spans if every <= s[1][1]), spans[-1])
    share = math.log(every / n_near) / math.log(n_far / n_near)
    return math.exp(math.log(near) + share * math.log(far / near))


def _own(name: str, options: Mapping[str, Any]) -> Any:
    module_name, _, class_name = name.partition(":")
    try:
        detector = getattr(importlib.import_module(module_name), class_name)(**options)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise InvalidPipeline(f"cannot make the drift detector {name!r}: {error}") from error
    if not (hasattr(detector, "update") and hasattr(detector, "drift_detected")):
        raise InvalidPipeline(f"{name!r} is no drift detector: it has no update or drift_detected")
    return detector


class Change(NamedTuple):
    """The likeliest single change in a stretch of errors: where, and the means beside it."""

    at: int
    before: float
    after: float


def likeliest_change(errors: Sequence[float]) -> Change:
    """Find the split of the errors whose means differ most for the numbers that they are of.

    A stretch may hold a fall of long ago, which the detector passed over, and the rise that it
    tripped at. So of the best rise and the best fall that one is taken for which the newest errors
    are the stronger evidence.

    Why not what the detector says: ADWIN drops its oldest bucket, which ends long before the change
    or after it; others say nothing.

    Examples
    --------
    >>> likeliest_change([0.0] * 40 + [1.0] * 20)
    Change(at=40, before=0.0, after=1.0)
    >>> likeliest_change([1.0] * 40 + [0.0] * 400 + [1.0] * 20)
    Change(at=440, before=0.09090909090909091, after=1.0)
    """
    n = len(errors)
    assert n >= 2, n
    sums = np.cumsum(np.fromiter(errors, dtype=np.float64, count=n))
    now, then = _evidence(sums), _evidence(sums[:-_N_NEWS])
    rises = now[0].max() - then[0].max() >= now[1].max() - then[1].max()
    at = _side(n) + int(np.argmax(now[0 if rises else 1]))
    total = float(sums[-1])
    before = float(sums[at - 1])
    return Change(at, before / at, (total - before) / (n - at))


def _side(n: int) -> int:
    return min(_SIDE_MIN, n // 2)


def _evidence(sums: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    # For a rise and for a fall at each split: the squared difference of the means, by how well both
    # are known.
    n = len(sums)
    if n < 2:
        return np.zeros(1), np.zeros(1)
    n_before = np.arange(_side(n), n - _side(n) + 1)
    before = sums[n_before - 1]
    rise = (sums[-1] - before) / (n - n_before) - before / n_before
    evidence = rise * np.abs(rise) * n_before * (n - n_before) / n
    return np.maximum(evidence, 0.0), np.maximum(-evidence, 0.0)
