"""Detectors by name or by path, and their budgets translated."""

from __future__ import annotations

from itertools import pairwise

import pytest

from models import InvalidPipeline
from models.detectors import CALIBRATED, Detector, knob_of, likeliest_change


@pytest.mark.parametrize("name", CALIBRATED)
def test_the_tables_are_met_exactly_and_run_one_way(name: str) -> None:
    """A rarer alarm is always a stricter knob, between the lines and beyond them."""
    for knob, every in CALIBRATED[name].table:
        assert knob_of(name, every) == pytest.approx(knob)
    knobs = [knob_of(name, every) for every in (1_000, 3_000, 10_000, 100_000, 1_000_000)]
    signs = {after > before for before, after in pairwise(knobs)}
    assert len(signs) == 1


def test_what_is_no_detector_is_refused_with_what_there_is() -> None:
    """Misspelt names, missing modules, wrong arguments, and classes that detect nothing."""
    for name, options, hint in (
        ("adwim", {}, "adwin"),
        ("river.drift:ADWIM", {}, "ADWIM"),
        ("no.such.module:ADWIN", {}, "no.such"),
        ("river.drift:ADWIN", {"epsilon": 1}, "epsilon"),
        ("collections:Counter", {}, "no drift detector"),
    ):
        with pytest.raises(InvalidPipeline, match=hint):
            Detector(name, every=10_000, options=options)


def test_a_class_of_ones_own_takes_its_options_and_may_warn() -> None:
    """DDM has warnings of its own: they come before what it confirms."""
    options = {"warm_start": 30, "warning_threshold": 1.5, "drift_threshold": 3.0}
    errors = [float(i % 10 == 0) for i in range(500)] + [1.0] * 100
    first = {}
    for warns in (True, False):
        update = Detector("river.drift.binary:DDM", 1, options, warns=warns).update
        tripped = [i for i, error in enumerate(errors) if update(error)]
        first[warns] = next(i for i in tripped if i >= 400)
    assert 500 <= first[True] < first[False]


def test_the_likeliest_change_is_not_drawn_to_the_edges() -> None:
    """One error at the very end is no change of one example."""
    errors = [0.0] * 100 + [1.0, 0.0, 0.0, 1.0] * 25 + [1.0]
    change = likeliest_change(errors)
    assert change.at == 100
    assert change.before == 0.0
    assert change.after == pytest.approx(51 / 101)
