"""The drift watch: detections told twice, with direction and change point; any batching alike."""

from __future__ import annotations

import pickle
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import drift

from models import Direction, DriftLevel, DriftSettings, DriftSignal, DriftWatch
from models.detectors import knob_of

SETTINGS = DriftSettings(warning_every=2_000, confirmed_every=20_000)


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
    warning_delta = knob_of("adwin", SETTINGS.warning_every)
    warning = drift.ADWIN(delta=warning_delta)
    confirmed = drift.ADWIN(delta=knob_of("adwin", SETTINGS.confirmed_every))
    said = []
    for position, error in enumerate(errors):
        warning.update(error)
        confirmed.update(error)
        if confirmed.drift_detected:
            said.append((position, DriftLevel.CONFIRMED))
            warning = drift.ADWIN(delta=warning_delta)
        elif warning.drift_detected:
            said.append((position, DriftLevel.WARNING))
    return said


steps = st.lists(st.sampled_from([0.05, 0.2, 0.5, 0.9]), min_size=1, max_size=5)


@settings(deadline=None)
@given(steps, st.integers(0, 1000))
def test_detections_are_those_of_rivers_adwin(rates: list[float], seed: int) -> None:
    """We feed the native window inside ADWIN; its public face is the reference."""
    errors = errors_of(rates, seed)
    signals = watch_in(errors, [])
    assert [(signal.position, signal.level) for signal in signals] == by_river(errors)


@settings(deadline=None)
@given(steps, st.integers(0, 1000), st.lists(st.integers(0, 400), max_size=10))
def test_the_batching_changes_no_signal(rates: list[float], seed: int, cuts: list[int]) -> None:
    """Errors that are no round numbers would betray any other order of summing."""
    errors = [error * 0.7 + 0.1 for error in errors_of(rates, seed)]
    assert watch_in(errors, cuts) == watch_in(errors, range(0, len(errors), 97))


@settings(deadline=None)
@given(st.integers(0, 200))
def test_the_change_point_is_near_the_change_and_splits_the_means(seed: int) -> None:
    """Since when, and how much, are those of the likeliest split of what was seen."""
    errors = errors_of([0.1, 0.6], seed)
    confirmed = [s for s in watch_in(errors, []) if s.level is DriftLevel.CONFIRMED]
    first = next(signal for signal in confirmed if signal.position > 400)
    assert first.since is not None
    assert first.direction is Direction.WORSENED
    assert abs(first.since - 400) <= 60
    if len(confirmed) == 1:
        after = errors[first.since : first.position + 1]
        assert first.before == pytest.approx(sum(errors[: first.since]) / first.since)
        assert first.after == pytest.approx(sum(after) / len(after))


def test_after_a_confirmation_what_was_before_the_change_is_no_evidence() -> None:
    """The second change is measured against the first one's after, not against its before."""
    errors = errors_of([0.1, 0.5, 0.9], seed=5, n_each=2_000)
    confirmed = [s for s in watch_in(errors, []) if s.level is DriftLevel.CONFIRMED]
    first = next(s for s in confirmed if s.position > 2_000)
    second = next(s for s in confirmed if s.position > 4_000)
    assert first.before == pytest.approx(0.1, abs=0.05)
    assert second.before == pytest.approx(0.5, abs=0.05)
    assert second.since == pytest.approx(4_000, abs=40)


def test_a_rising_error_worsens_and_a_falling_one_improves() -> None:
    """Both are reported, each with its direction."""
    for rates, direction in (
        ([0.1, 0.3], Direction.WORSENED),
        ([0.3, 0.1], Direction.IMPROVED),
    ):
        signals = watch_in(errors_of(rates, seed=4), [])
        assert {signal.direction for signal in signals} == {direction}
        assert DriftLevel.CONFIRMED in {signal.level for signal in signals}


@pytest.mark.parametrize("detector", ["adwin", "page-hinkley"])
def test_a_steady_error_is_called_drift_no_oftener_than_the_budget(detector: str) -> None:
    """Forty quiet streams hold the rate of false confirmations to twice the budget."""
    budget = DriftSettings(detector=detector, warning_every=1_000, confirmed_every=5_000)
    n_alarms = 0
    for seed in range(40):
        errors = errors_of([0.2], seed, n_each=2_500)
        positions = range(len(errors))
        signals = DriftWatch(budget).observe_many(errors, positions, [0.0] * len(errors))
        n_alarms += sum(
            s.level is DriftLevel.CONFIRMED and s.direction is Direction.WORSENED for s in signals
        )
    assert n_alarms <= 2 * 100_000 / budget.confirmed_every


@pytest.mark.parametrize("detector", ["adwin", "page-hinkley", "river.drift.binary:HDDMW"])
def test_every_detector_confirms_what_is_plain(detector: str) -> None:
    """A river class by its path works as the named ones do."""
    watch = DriftWatch(DriftSettings(detector=detector))
    errors = errors_of([0.1, 0.6], seed=3, n_each=1_000)
    signals = watch.observe_many(errors, range(2_000), [0.0] * 2_000)
    after = [s for s in signals if s.level is DriftLevel.CONFIRMED and s.position >= 1_000]
    assert after
    assert after[0].direction is Direction.WORSENED
    assert after[0].since == pytest.approx(1_000, abs=40)


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
