"""The benchmarks' profile: samples of the worker sorted into buckets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.hotspots import OTHER, OURS, Rule, sort_stacks

ROOT = Path(__file__).resolve().parents[2]
LOOP = ("mode/worker.py", "Worker.execute_from_commandline")


@pytest.mark.parametrize("rule", OURS, ids=lambda rule: f"{rule.file}: {rule.function}")
def test_every_rule_names_code_that_exists(rule: Rule) -> None:
    """A function that was renamed would fall into another bucket, and nobody would see it."""
    source = (ROOT / rule.file).read_text()
    *inside, function = rule.function.removesuffix(".<locals>.<listcomp>").split(".")
    for name in inside:
        assert f"class {name}" in source
    assert not function or re.search(rf"(def|class) {function}\b", source)


def test_time_goes_to_the_innermost_frame_that_a_rule_knows() -> None:
    """What a library does shows under what called it, and all shares add up to the whole."""
    put = [("msgspec.py", "encode"), ("/x/stream/messages.py", "encode_pending")]
    stacks = [
        (3.0, [*put, ("/x/stream/score.py", "ScoreHandler.absorb"), LOOP]),
        (1.0, [("/x/stream/score.py", "ScoreHandler.absorb"), LOOP]),
        (0.5, [("uvloop.py", "run"), LOOP, ("/x/stream/score.py", "ScoreHandler.absorb")]),
        (0.5, [("kafka.py", "read"), ("/x/mode/threads.py", "run")]),
    ]
    spots = sort_stacks(stacks, cpu_us=50.0, gc_us=1.0, n_samples=9)
    assert spots.buckets == {
        "score: encode pending": 30.0,
        "score: other": 10.0,
        OTHER: 5.0,
        "thread: consumer group": 5.0,
    }
    assert (spots.total_us, spots.gc_us, spots.n_samples) == (50.0, 1.0, 9)
