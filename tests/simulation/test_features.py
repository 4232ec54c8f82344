"""What a change of the features' way means for lanes that stand on the old one."""

from __future__ import annotations

import random

import pytest

from stream import topics
from stream.birth import StateLost
from tests.simulation import scenario
from tests.simulation.ports import finish
from tests.simulation.world import SimWorker, World


@pytest.mark.parametrize(
    ("before", "after"), [("cards", "cards and shops"), ("cards and shops", "cards")]
)
def test_a_position_of_another_log_is_refused(before: str, after: str) -> None:
    """It says what to do; without that the lane would skip events, or wait for ever."""
    world = World(scenario.settings(windows=before), 1)
    fed = scenario.records(random.Random(1), 10, shops="shops" in before)
    world.run(fed, seconds_a_record=0.5)
    changed = World(scenario.settings(windows=after), 1)
    changed.store = world.store
    last = "by-shop" if "shops" in after else topics.EVENTS.name
    with pytest.raises(StateLost, match="driftline recover --force"):
        finish(SimWorker(changed).open(last, 0))
    finish(SimWorker(changed).open(topics.LABELS.name, 0))
