"""How often drift detectors cry wolf: the tables in `models.detectors` are made by this.

Run: python -m benchmarks.false_alarms [NAME ...]
On streams of errors that never change, at several error rates, alarms are counted whose error rose;
a detector starts over after each alarm. The table takes the worst rate.
"""

from __future__ import annotations

import sys
from collections import deque

import numpy as np

from models.detectors import CALIBRATED, likeliest_change

ERROR_RATES = (0.02, 0.1, 0.3, 0.5)
KNOBS: dict[str, tuple[int, tuple[float, ...]]] = {
    "adwin": (4_000_000, (2.0, 1.0, 0.5, 0.2, 0.1, 0.05)),
    "page-hinkley": (1_000_000, (10.0, 30.0, 50.0, 75.0, 100.0, 150.0)),
}
N_RECENT = 4096


def false_alarms(name: str, knob: float, rate: float, n: int) -> int:
    """Count alarms of a rising error in n examples at a constant error rate."""
    rng = np.random.default_rng(int(rate * 1000))
    make = CALIBRATED[name].make
    detector = make(knob)
    recent: deque[float] = deque(maxlen=N_RECENT)
    n_alarms = 0
    for error in (rng.random(n) < rate).astype(float).tolist():
        recent.append(error)
        detector.update(error)
        if detector.drift_detected:
            change = likeliest_change(recent)
            n_alarms += change.after > change.before
            detector = make(knob)
            recent.clear()
    return n_alarms


def main(names: list[str]) -> None:
    for name in names or list(KNOBS):
        n, knobs = KNOBS[name]
        print(f"{name}: one false alarm in so many examples, by error rate")
        print(f"{'knob':>10}" + "".join(f"{rate:>12}" for rate in ERROR_RATES) + f"{'worst':>12}")
        for knob in knobs:
            counts = [false_alarms(name, knob, rate, n) for rate in ERROR_RATES]
            cells = [f"{n // count:,}" if count else f"> {n:,}" for count in [*counts, max(counts)]]
            print(f"{knob:>10}" + "".join(f"{cell:>12}" for cell in cells), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
