"""Whose event it was travels with every kind of example: else a subject could not be erased."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from stream.settings import Settings
from tests.simulation import scenario
from tests.simulation.world import World


@pytest.mark.parametrize("task", ["binary", "anomaly"])
def test_every_example_says_whose_it_is(task: str) -> None:
    """Labelled in time, waited for, silent, with features of its own, without a label."""
    data: dict[str, Any] = scenario.settings().model_dump(exclude_unset=True)
    data["event"]["entity"] = "x"
    if task == "anomaly":
        data["model"] |= {"task": task, "pipeline": "half-space-trees"}
        data["label"]["features"], data["join"]["negative_after"] = False, 0.0
    world = World(Settings(**data), seed=3)
    world.run(scenario.records(random.Random(3), 80), seconds_a_record=0.5)
    kinds: Counter[str] = Counter()
    for example in world.examples():
        assert example.entity == str(example.features["x"]), example
        kinds[example.origin.partition("/")[0]] += 1
        kinds["own"] += example.score is None
    wanted = {"binary": ("labels", "waited", "silence", "own"), "anomaly": ("labels", "events")}
    assert all(kinds[kind] for kind in wanted[task]), kinds
