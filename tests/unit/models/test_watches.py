"""Drift in segments: told by name, within the budget of all, whatever the batching."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Sequence
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from models import Direction, DriftLevel, DriftSettings, DriftSignal, Example
from models.data_drift import DataWatch
from models.movement import FeatureSample
from models.types import DriftKind, DriftSegment
from models.watches import DriftWatches

TIGHT = DriftSettings(warning_every=2_000, confirmed_every=20_000, segment="country")
COUNTRIES = ("AT", "BE", "CH", "DE", "ES", "FR", "GB", "HU", "IT", "JP")


def log_of(
    n: int,
    seed: int,
    rate: Callable[[int, str], float],
    countries: Sequence[str] = COUNTRIES,
    every_s: float = 60.0,
) -> list[tuple[Example, float]]:
    """Make examples of countries in turn of a die, with errors at a rate of place and country."""
    rng = random.Random(seed)
    made = []
    for i in range(n):
        country = rng.choice(countries)
        features = {"country": country, "amount": rng.gauss(0.0, 1.0)}
        example = Example(
            f"e{i}", features, True, 0.5, "v1-0", 0, every_s * i, 0.0, "labels/0", i, i
        )
        made.append((example, float(rng.random() < rate(i, country))))
    return made


def watch_in(
    log: list[tuple[Example, float]], drift: DriftSettings, cuts: Sequence[int] = ()
) -> list[DriftSignal]:
    """Watch in batches that end at the cuts, with a crash and a restore at each."""
    watches = DriftWatches(drift)
    signals: list[DriftSignal] = []
    start = 0
    for end in [*sorted(cuts), len(log)]:
        examples = [example for example, _ in log[start:end]]
        errors = [error for _, error in log[start:end]]
        signals += watches.observe(examples, errors, range(start, end))
        watches = pickle.loads(pickle.dumps(watches))
        start = end
    return signals


def confirmed(signals: Sequence[DriftSignal], *, is_segment: bool) -> list[DriftSignal]:
    """Choose the alarms: confirmed and worsened."""
    return [
        signal
        for signal in signals
        if signal.level is DriftLevel.CONFIRMED
        and signal.direction is Direction.WORSENED
        and (signal.segment is not None) is is_segment
    ]


TENTH = ("AT", *["DE"] * 4, *["FR"] * 3, *["GB"] * 2)


@pytest.mark.parametrize(("rate", "n_missed"), [(0.3, 4), (0.5, 0)])
def test_a_drift_in_a_tenth_of_the_traffic_is_seen_that_the_whole_misses_or_sees_later(
    rate: float, n_missed: int
) -> None:
    """Errors rise from one in ten in one segment: it is named, in half the examples or fewer."""
    n, change, n_seeds = 20_000, 12_000, 20
    in_segment, in_whole = [], []
    for seed in range(n_seeds):
        log = log_of(
            n, seed, lambda i, c: rate if c == "AT" and i >= change else 0.1, TENTH
        )  # fmt: skip
        with_segments = watch_in(log, DriftSettings(segment="country"))
        alone = watch_in(log, DriftSettings())
        parts = [s for s in confirmed(with_segments, is_segment=True) if s.position >= change]
        whole = [s for s in confirmed(alone, is_segment=False) if s.position >= change]
        in_segment.append(parts[0].position - change if parts else n)
        in_whole.append(whole[0].position - change if whole else n)
        if parts:
            assert parts[0].segment == DriftSegment("country", "AT", "error"), seed
            assert parts[0].since == pytest.approx(change, abs=800), seed
            assert parts[0].before == pytest.approx(0.1, abs=0.05), seed
            assert parts[0].after > 0.2, seed
    assert max(in_segment) < n
    assert 2 * median(in_segment) < median(in_whole)
    assert sum(found == n for found in in_whole) >= n_missed


@pytest.mark.parametrize("countries", [COUNTRIES, ("AT",) * 12 + COUNTRIES, COUNTRIES[:1]])
def test_a_steady_stream_alarms_no_oftener_than_the_budget(countries: Sequence[str]) -> None:
    """Whole and segments together: even shares, one segment above all, one only."""
    drift = DriftSettings(warning_every=2_000, confirmed_every=5_000, segment="country")
    n_alarms, n = 0, 0
    for seed in range(12):
        signals = watch_in(log_of(20_000, seed, lambda i, country: 0.2, countries), drift)
        n += 20_000
        n_alarms += len(confirmed(signals, is_segment=True))
        n_alarms += len(confirmed(signals, is_segment=False))
    assert 0 < n_alarms <= 2 * n / drift.confirmed_every


def test_a_budget_in_days_is_kept_at_the_pace_of_the_stream() -> None:
    """One in three days, a minute apart: 4,320 examples, though the numbers say a million."""
    drift = DriftSettings(
        warning_every=100_000, confirmed_every=1_000_000, confirmed_s=3 * 86_400.0
    )
    n_alarms, days = 0, 0.0
    for seed in range(12):
        signals = watch_in(log_of(20_000, seed, lambda i, country: 0.2), drift)
        n_alarms += len(confirmed(signals, is_segment=False))
        days += 20_000 / 1_440
    assert days / 3 / 4 < n_alarms <= 2 * days / 3


@pytest.mark.parametrize("every_s", [10.0, 300.0])
def test_the_budget_follows_a_pace_that_changes(every_s: float) -> None:
    """A week later, a day holds another number of examples."""
    watches = DriftWatches(DriftSettings(confirmed_s=7 * 86_400.0))
    slow = log_of(20_000, 1, lambda i, country: 0.1)
    watches.observe([e for e, _ in slow], [error for _, error in slow], range(len(slow)))
    assert watches.whole.settings.confirmed_every == pytest.approx(7 * 1_440, rel=0.25)
    began = slow[-1][0].event_time
    n = int(30 * 86_400 / every_s)
    rng = random.Random(2)
    examples = [
        Example(f"f{i}", {}, True, 0.5, "v1-0", 0, began + every_s * i, 0.0, "labels/0", i, i)
        for i in range(n)
    ]
    errors = [float(rng.random() < 0.1) for _ in range(n)]
    watches.observe(examples, errors, range(20_000, 20_000 + n))
    assert watches.whole.settings.confirmed_every == pytest.approx(7 * 86_400 / every_s, rel=0.3)


steps = st.lists(st.integers(0, 1_499), max_size=8)


@settings(deadline=None, max_examples=40)
@given(steps, st.integers(0, 100))
def test_the_batching_changes_no_signal(cuts: list[int], seed: int) -> None:
    """Nor does a crash: choices of segments and budgets are at places of the stream."""
    drift = DriftSettings(
        warning_every=1_000, confirmed_every=5_000, segment="country", segments_max=3,
        confirmed_s=86_400.0,
    )  # fmt: skip
    log = log_of(1_500, seed, lambda i, country: 0.7 if i >= 700 else 0.1, ("AT", *COUNTRIES))
    signals = watch_in(log, drift, cuts)
    assert signals == watch_in(log, drift, range(0, len(log), 97))
    assert [signal.position for signal in signals] == sorted(signal.position for signal in signals)
    assert {signal.segment is None for signal in signals} == {True, False}


def test_the_rest_is_watched_as_one() -> None:
    """What has no watch of its own is told as the rest of the field."""
    countries = ["AT", "BE"] * 10 + [f"C{i}" for i in range(10)]
    drift = replace(TIGHT, segments_max=2)
    log = log_of(
        16_000, 1, lambda i, c: 0.6 if c.startswith("C") and i >= 10_000 else 0.1, countries
    )
    told = {s.segment for s in confirmed(watch_in(log, drift), is_segment=True)}
    assert told == {DriftSegment("country", None, "error")}


def test_without_a_segment_there_is_only_the_whole() -> None:
    """The same signals as ever, and no count of anything."""
    log = log_of(4_000, 3, lambda i, country: 0.6 if i >= 2_000 else 0.1)
    plain = replace(TIGHT, segment=None)
    signals = watch_in(log, plain)
    assert confirmed(signals, is_segment=False)
    assert all(signal.segment is None and signal.what == "error" for signal in signals)


def moved_without_labels(drift: DriftSettings, seed: int) -> set[tuple[DriftKind, str]]:
    """Confirm what a small move of one country's amounts and scores is seen as."""
    rng = random.Random(seed)
    rows, scores = [], []
    for i in range(42_000):
        country = rng.choice(TENTH)
        moved = country == "AT" and i >= 30_000
        rows.append({"country": country, "amount": rng.gauss(0.7 if moved else 0.0, 1.0)})
        scores.append(rng.betavariate(3.0 if moved else 2.0, 5.0))
    signals = DataWatch(drift).observe_many(rows, scores, range(42_000), [0.0] * 42_000)
    return {
        (signal.kind, signal.subject)
        for signal in signals
        if signal.level is DriftLevel.CONFIRMED and signal.position >= 30_000
    }


def test_scores_and_features_of_a_segment_are_watched_without_labels() -> None:
    """A tenth of the traffic moves a little, which tests of the whole mostly do not see."""
    of_whole = [moved_without_labels(DriftSettings(), seed) for seed in range(4)]
    of_segments = [moved_without_labels(DriftSettings(segment="country"), s) for s in range(4)]
    wanted = {
        (DriftKind.DATA, "amount in country=AT"),
        (DriftKind.PREDICTION, "score in country=AT"),
    }
    assert all(found >= wanted for found in of_segments)
    assert sum((DriftKind.DATA, "amount") in found for found in of_whole) <= 1


def test_data_that_stay_alarm_no_oftener_than_the_budget() -> None:
    """Each kind has the whole budget, of all and of segments together."""
    drift = DriftSettings(warning_every=2_000, confirmed_every=10_000, segment="country")
    n_alarms = {DriftKind.DATA: 0, DriftKind.PREDICTION: 0}
    n = 0
    for seed in range(5):
        rng = random.Random(seed)
        rows = [
            {"country": rng.choice(COUNTRIES[:4]), "amount": rng.gauss(0, 1), "age": rng.random()}
            for _ in range(30_000)
        ]
        scores = [rng.betavariate(2.0, 5.0) for _ in rows]
        positions = range(len(rows))
        for s in DataWatch(drift).observe_many(rows, scores, positions, [0.0] * len(rows)):
            n_alarms[s.kind] += s.level is DriftLevel.CONFIRMED
        n += len(rows)
    for kind, found in n_alarms.items():
        assert found <= 2 * n / drift.confirmed_every, kind
    assert sum(n_alarms.values()) > 0


@pytest.mark.parametrize("size", [33, 250])
def test_the_batching_of_data_changes_nothing(size: int) -> None:
    """With segments and a budget in time, through a pickle after each batch."""
    drift = DriftSettings(segment="country", segments_max=2, confirmed_s=86_400.0)
    log = log_of(6_000, 6, lambda i, country: 0.0, ("AT", "AT", "BE", "CH"))
    rows = [
        {**e.features, "amount": float(e.features["amount"]) + 2.0 * (i >= 2_900)}
        for i, (e, _) in enumerate(log)
    ]
    times = [e.event_time for e, _ in log]

    def watch(size: int) -> list[DriftSignal]:
        watch, signals = DataWatch(drift), []
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            scores = [0.5] * len(rows[part])
            places = range(start, start + len(rows[part]))
            signals += watch.observe_many(rows[part], scores, places, times[part])
            watch = pickle.loads(pickle.dumps(watch))
        return signals

    assert watch(size) == watch(501)
    assert watch(size)


def test_paces_and_choices_are_the_same_in_any_batches() -> None:
    """What decides about budgets and segments later: bit for bit, with times that jump about."""
    rng = random.Random(3)
    log = log_of(3_000, 3, lambda i, country: 0.1)
    log = [(replace(e, event_time=e.event_time + 999 * rng.random()), error) for e, error in log]
    states = []
    for size in (7, 3_000):
        watches = DriftWatches(DriftSettings(segment="country", confirmed_s=1_234.5))
        for start in range(0, len(log), size):
            examples, errors = zip(*log[start : start + size], strict=True)
            watches.observe(examples, errors, range(start, start + len(examples)))
        budgeting, roster = watches._budgeting, watches._roster
        states.append((vars(budgeting._pace), budgeting.settings, vars(roster)))
    assert states[0] == states[1]


def test_what_moved_is_what_moved_within_the_segment() -> None:
    """Another country's amounts moved as well; they are not its reason."""
    sample, rng = FeatureSample(), random.Random(1)
    rows = []
    for i in range(800):
        amount, age = rng.gauss(0.0, 1.0), rng.gauss(0.0, 1.0)
        moved = i >= 400
        country = rng.choice(["AT", "DE"])
        row = {"country": country, "amount": amount + 9.0 * (moved and country == "DE"),
               "age": age + 9.0 * (moved and country == "AT")}  # fmt: skip
        rows.append(Example(f"e{i}", row, True, 0.5, "v1-0", 0, 0.0, 0.0, "labels/0", i, i))
    signal = DriftSignal(
        DriftKind.CONCEPT,
        "error",
        DriftLevel.CONFIRMED,
        Direction.WORSENED,
        0.1,
        0.5,
        799,
        0.0,
        400,
    )
    told = sample.explain([signal.within("country", "AT")], range(800), rows)
    assert [moved.feature for moved in told[0].moved] == ["age"]
