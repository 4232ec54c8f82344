"""A crash at every single step of the commit order, one run each, against the undisturbed run.

Every step for the logistic regression; the trees take too long here, `scripts/sim
--crash-everywhere` crashes them everywhere, too.
"""

from __future__ import annotations

import pytest

from tests.simulation.crashes import run


@pytest.mark.parametrize(
    ("pipeline", "windows", "stride"),
    [
        ("logistic", "", 2),
        ("logistic", "cards", 2),
        ("logistic", "cards and shops", 1),
        ("hoeffding-tree", "", 7),
        ("adaptive-random-forest", "", 31),
    ],
)
def test_a_crash_at_any_step_changes_nothing(pipeline: str, windows: str, stride: int) -> None:
    """Decisions, features, labels, drift and fingerprint equal those of a run without a crash."""
    undisturbed, n_busy = run(pipeline, crash_at=None, windows=windows)
    assert n_busy > 100
    truths = undisturbed["revisions"]
    revised = {by[0][1] for by in truths.values() if len(by) > 1}
    assert revised == {"labels/0", "silence/0"}, "nothing is corrected here"
    assert any(event_id.startswith("own") for event_id in truths)
    parts = [drift["segment"] for drift in undisturbed["drifts"]]
    assert None in parts
    assert any(part is not None and part["field"] == "shop" for part in parts)
    for crash_at in range(0, n_busy, stride):
        recovered, _ = run(pipeline, crash_at, windows=windows)
        assert recovered == undisturbed, f"a crash at step {crash_at} of {n_busy}"
