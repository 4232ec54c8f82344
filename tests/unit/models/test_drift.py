"""The drift watch: ADWIN's detections, told twice over, with a direction; any batching alike."""

from __future__ import annotations

import pickle
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import drift

from models import Direction, DriftLevel, DriftSettings, DriftSignal, DriftWatch

SETTINGS = DriftSettings(warning_delta=0.05, drift_delta=0.002)


def errors_of(rates: Sequence[float], seed: int, n_each: int = 400) -> list[float]:
    """Make errors whose rate steps through the given rates."""
    rng = random.Random(seed)
    return [float(rng.random() < rate) for rate in rates for _ in range(n_each)]


def watch_in(errors: Sequence[float], cuts: Sequence[int]) -> list[DriftSignal]:
    """Watch errors in batches that end at the cuts, with a crash and a restore at each."""
    watch = DriftWatch(SETTINGS)
    signals: list[DriftSignal] = []
    start = 0
    for end in [*sorted(cuts), len(errors)]:
        positions = range(start, end)
        signals += watch.observe_many(errors[start:end], positions, [float(p) for p in positions])
        watch = pickle.loads(pickle.dumps(watch))
        start = end
    return signals


def by_river(errors: Sequence[float]) -> list[tuple[int, DriftLevel]]:
    """Say what two of River's public ADWINs say, one event at a time."""
    warning = drift.ADWIN(delta=SETTINGS.warning_delta)
    confirmed = drift.ADWIN(delta=SETTINGS.drift_delta)
    said = []
    for position, error in enumerate(errors):
        warning.update(error)
        confirmed.update(error)
        if confirmed.drift_detected:
            said.append((position, DriftLevel.CONFIRMED))
            warning = drift.ADWIN(delta=SETTINGS.warning_delta)
        elif warning.drift_detected:
            said.append((position, DriftLevel.WARNING))
    return said


steps = st.lists(st.sampled_from([0.05, 0.2, 0.5, 0.9]), min_size=1, max_size=5)


@given(steps, st.integers(0, 1000))
def test_detections_are_those_of_rivers_adwin(rates: list[float], seed: int) -> None:
    """We feed the native window inside ADWIN; its public face is the reference."""
    errors = errors_of(rates, seed)
    signals = watch_in(errors, [])
    assert [(signal.position, signal.level) for signal in signals] == by_river(errors)


@given(steps, st.integers(0, 1000), st.lists(st.integers(0, 400), max_size=10))
def test_the_batching_changes_no_signal(rates: list[float], seed: int, cuts: list[int]) -> None:
    """Errors that are no round numbers would betray any other order of summing."""
    errors = [error * 0.7 + 0.1 for error in errors_of(rates, seed)]
    assert watch_in(errors, cuts) == watch_in(errors, range(0, len(errors), 97))


@given(st.integers(0, 200))
def test_before_and_after_are_the_means_beside_the_cut(seed: int) -> None:
    """ADWIN keeps what follows the cut; what it dropped is the time before."""
    errors = errors_of([0.1, 0.6], seed)
    first = watch_in(errors, [])[0]
    watch = DriftWatch(SETTINGS)
    for position, error in enumerate(errors[: first.position + 1]):
        detector = watch._drift if first.level is DriftLevel.CONFIRMED else watch._warning
        width = detector.adwin.width
        assert width == detector.n == position
        if position < first.position:
            watch.observe(error, position, 0.0)
    reference = drift.ADWIN(
        delta=SETTINGS.drift_delta
        if first.level is DriftLevel.CONFIRMED
        else SETTINGS.warning_delta
    )
    for error in errors[: first.position + 1]:
        reference.update(error)
    cut = first.position + 1 - int(reference.width)
    assert first.before == pytest.approx(sum(errors[:cut]) / cut)
    after = errors[cut : first.position + 1]
    assert first.after == pytest.approx(sum(after) / len(after))


def test_a_rising_error_worsens_and_a_falling_one_improves() -> None:
    """Both are reported, each with its direction; warnings come first."""
    for rates, direction in (
        ([0.1, 0.3], Direction.WORSENED),
        ([0.3, 0.1], Direction.IMPROVED),
    ):
        signals = watch_in(errors_of(rates, seed=4), [])
        assert {signal.direction for signal in signals} == {direction}
        assert [signal.level for signal in signals][:2] == [
            DriftLevel.WARNING,
            DriftLevel.CONFIRMED,
        ]


def test_a_steady_error_is_no_drift() -> None:
    """The strict detector holds its peace over twenty quiet streams."""
    confirmed = [
        signal
        for seed in range(20)
        for signal in watch_in(errors_of([0.2], seed, n_each=5_000), [])
        if signal.level is DriftLevel.CONFIRMED
    ]
    assert confirmed == []


def test_a_signal_names_the_example_that_tripped_it() -> None:
    """Position and time are those of the log, not of the batch."""
    errors = errors_of([0.1, 0.9], seed=2)
    watch = DriftWatch(SETTINGS, what="error")
    positions = range(7_000, 7_000 + len(errors))
    signals = watch.observe_many(errors, positions, [p * 2.0 for p in positions])
    assert signals
    assert all(signal.event_time == signal.position * 2.0 for signal in signals)
    assert signals[0].position > 7_000 + 400
    assert signals[0].what == "error"
