"""How often drift detectors cry wolf: the tables in `models.detectors` are made by this.

Run: python -m benchmarks.false_alarms [NAME ...]
On streams of errors that never change, at several error rates, alarms are counted whose error rose;
a detector starts over after each alarm. The table takes the worst rate.

Run: python -m benchmarks.false_alarms segments
The watches as a learner has them, of all and of segments of unequal size, under a budget in
examples and under one in days: what they say on such streams, against what they may.
"""

from __future__ import annotations

import sys
from collections import deque

import numpy as np
from msgspec.structs import replace

from models.detectors import CALIBRATED, likeliest_change
from models.drift import DriftSettings
from models.types import Direction, DriftLevel, Example
from models.watches import DriftWatches

ERROR_RATES = (0.02, 0.1, 0.3, 0.5)
KNOBS: dict[str, tuple[int, tuple[float, ...]]] = {
    "adwin": (4_000_000, (2.0, 1.0, 0.5, 0.2, 0.1, 0.05)),
    "page-hinkley": (1_000_000, (10.0, 30.0, 50.0, 75.0, 100.0, 150.0)),
}
N_RECENT = 4096
EVERY = 20_000
EVENT_EVERY_S = 60.0
DAY_S = 86_400.0
BATCH = 2048


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


def shared(settings: DriftSettings, n_segments: int, rate: float, n: int) -> int:
    """Count the alarms of a rising error, of all and of segments, the first the largest."""
    rng = np.random.default_rng([int(rate * 1000), n_segments])
    weights = 1.0 / np.arange(1, n_segments + 1)
    values = rng.choice(n_segments, size=n, p=weights / weights.sum()).tolist()
    errors = (rng.random(n) < rate).astype(float).tolist()
    watches = DriftWatches(settings)
    n_alarms = 0
    for start in range(0, n, BATCH):
        examples = [
            Example(
                "",
                {"segment": value},
                True,
                0.5,
                "",
                0,
                EVENT_EVERY_S * at,
                0.0,
                "labels/0",
                at,
                at,
            )
            for at, value in enumerate(values[start : start + BATCH], start)
        ]
        positions = range(start, start + len(examples))
        for signal in watches.observe(examples, errors[start : start + BATCH], positions):
            is_alarm = signal.level is DriftLevel.CONFIRMED
            n_alarms += is_alarm and signal.direction is Direction.WORSENED
    return n_alarms


def segments(n: int = 1_000_000) -> None:
    """Print what the watches of a learner say in all, against their budget."""
    plain = DriftSettings(confirmed_every=EVERY, warning_every=EVERY // 10)
    apart = replace(plain, segment="segment")
    days = EVERY * EVENT_EVERY_S / DAY_S
    print(f"budget: one in {EVERY:,} examples, {days:.1f} days at one in {EVENT_EVERY_S:.0f} s")
    titles = (
        "budget in",
        "segments",
        "error rate",
        "alarms",
        "examples each",
        "days each",
        "share",
    )
    print("".join(f"{title:>15}" for title in titles))
    for unit, one in (("examples", plain), ("examples", apart), ("days", apart)):
        # By days the budget has to come from the pace alone.
        by = one if unit == "examples" else replace(DriftSettings(), segment=one.segment,
                                                    confirmed_s=days * DAY_S)  # fmt: skip
        for n_segments in (1,) if one.segment is None else (1, 5, 40):
            for rate in ERROR_RATES:
                found = shared(by, n_segments, rate, n)
                each = n / found if found else float("inf")
                watched = n_segments if one.segment else 0
                cells = (unit, watched, rate, found, f"{each:,.0f}",
                         f"{each * EVENT_EVERY_S / DAY_S:.1f}", f"{EVERY / each:.2f}")  # fmt: skip
                print("".join(f"{cell:>15}" for cell in cells), flush=True)


def main(names: list[str]) -> None:
    if names == ["segments"]:
        segments()
        return
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
