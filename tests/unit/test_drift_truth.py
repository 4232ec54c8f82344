"""Streams with known changes: what the watches see of them, and what the tallies count."""

from __future__ import annotations

import json
from itertools import islice

import pytest
from typer.testing import CliRunner

from models import DriftSettings
from stream.cli import app
from stream.drift_truth import (
    EVENT_EVERY_S,
    HORIZON,
    KINDS,
    MONITORS,
    WARM_UP,
    DriftTruth,
    Tally,
    Truth,
    alarms_of,
    stream,
    watch,
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_is_a_function_of_its_seed(kind: str) -> None:
    """The same rows again, others for another seed, as many as the truth says."""
    rows = list(stream(kind, 3))
    assert rows == list(stream(kind, 3))
    assert rows[:10] != list(islice(stream(kind, 4), 10))
    assert len(rows) == KINDS[kind].n


def test_a_change_is_seen_by_all_and_before_it_there_is_quiet() -> None:
    """Error, score and data each see an abrupt change within the horizon."""
    signals, learner = watch("abrupt", 0, DriftSettings())
    (change,) = KINDS["abrupt"].changes
    for monitor in ("error", "score", "data"):
        alarms = alarms_of(signals, monitor, KINDS["abrupt"].n)
        assert alarms, monitor
        assert change < min(a for a in alarms if a >= WARM_UP) < change + HORIZON, monitor
    assert learner.n_learned == KINDS["abrupt"].n


def test_what_changes_in_one_segment_is_named() -> None:
    """A tenth of the traffic, by whatever name the settings know its field."""
    signals, _ = watch("within", 0, DriftSettings(segment="COUNTRY"))
    named = {s.subject for s in signals if s.level == "confirmed" and s.position >= 9_000}
    assert "error in segment=0" in named
    assert not {s.subject for s in watch("within", 0, DriftSettings())[0] if s.segment}


def test_a_tally_counts_delays_misses_and_false_alarms() -> None:
    """An alarm within the horizon detects, a second one there is no false one, others are."""
    tally = Tally()
    truth = Truth(20_000, (5_000, 12_000))
    tally.add(truth, [100, 3_000, 5_070, 5_500, 9_500])
    assert tally.row() == {
        "changes": 2, "missed": 1, "delay_median": 70, "delay_p90": 70, "false_alarms": 2,
        "quiet_examples": 20_000 - WARM_UP - 2 * HORIZON,
    }  # fmt: skip


def test_the_command_prints_a_table_and_json() -> None:
    """Baselines stand beside the monitors, and each has its rate against the budget."""
    done = CliRunner().invoke(app, ["evaluate", "--drift-truth", "--seeds", "1", "--json"])
    report = json.loads(done.stdout)
    assert {row["monitor"] for row in report["budgets"]} == set(MONITORS)
    rows = {(row["stream"], row["monitor"]): row for row in report["rows"]}
    assert set(rows) == {(kind, monitor) for kind in KINDS for monitor in MONITORS}
    assert rows["abrupt", "never"]["missed"] == 1
    assert rows["abrupt", "always"]["missed"] == rows["abrupt", "error"]["missed"] == 0
    assert rows["stable", "always"]["false_alarms"] == 180
    assert (report["budget"], report["budget_days"]) == (100_000, pytest.approx(34.7, abs=0.1))
    always = next(row for row in report["budgets"] if row["monitor"] == "always")
    assert always["examples_each"] == 100
    assert always["days_each"] == 100 * EVENT_EVERY_S / 86_400


@pytest.mark.parametrize(
    "tight",
    [
        DriftSettings(warning_every=2_000, confirmed_every=10_000),
        DriftSettings(warning_every=2_000, confirmed_every=10_000, segment="COUNTRY"),
        DriftSettings(confirmed_s=10_000 * EVENT_EVERY_S, segment="COUNTRY"),
    ],
    ids=["whole", "segments", "segments-by-days"],
)
def test_the_budget_is_kept_at_a_tight_one(tight: DriftSettings) -> None:
    """No monitor alarms more than twice as often as allowed, on streams that do not change."""
    truth = DriftTruth(tight, n_seeds=1)
    for seed in range(4):
        signals, _ = watch("stable", seed, truth.settings)
        for monitor in MONITORS:
            alarms = alarms_of(signals, monitor, KINDS["stable"].n)
            truth.tallies["stable", monitor].add(KINDS["stable"], alarms)
    of_budget = {row["monitor"]: row["of_budget"] for row in truth.report()["budgets"]}
    assert max(of_budget[monitor] for monitor in ("error", "score", "data")) <= 2.0
    assert of_budget["never"] == 0.0
    assert of_budget["always"] == 100.0
