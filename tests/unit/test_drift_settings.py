"""The section [drift]: budgets in words, segments, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from models.types import Example
from stream.alarm_budget import budget_of
from stream.learners import drift_settings, new_learner
from stream.settings import Settings

EVENT = {"features": {"x": {}, "shop": {"type": "integer"}}}


def drift(**section: Any) -> Any:
    """Give what the core is told of a section."""
    return drift_settings(Settings(event=EVENT, drift=section).drift)


def test_a_budget_is_in_examples_or_in_days() -> None:
    """The numbers that were there before go on to mean what they did."""
    assert drift(confirmed_every=50_000).confirmed_every == 50_000
    in_examples = drift(budget="1 per 50000 examples")
    assert (in_examples.confirmed_every, in_examples.warning_every) == (50_000, 5_000)
    assert in_examples.confirmed_s is None
    assert drift(budget="1 per 30 days").confirmed_s == 30 * 86_400.0
    assert drift(budget="1 per 30 days").confirmed_every == 100_000, "until the pace is known"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is no budget"),
        ("30 days", "is no budget"),
        ("0 per day", "is no budget"),
        ("1 per month", "is no budget"),
        ("1 per 3 36h", "is no budget"),
        ("-1 per day", "is no budget"),
        ("1.5 per day", "is no budget"),
        ("1 per 0 days", "above 0"),
        ("1 per 500 examples", "cannot be kept"),
        ("2 per 1,000 examples", "cannot be kept"),
    ],
)
def test_what_is_no_budget_is_refused_with_what_would_be_one(text: str, reason: str) -> None:
    """In the settings too."""
    with pytest.raises(ValueError, match=reason):
        budget_of(text)
    with pytest.raises(ValueError, match=reason):
        drift(budget=text)


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ({"budget": "1 per day", "confirmed_every": 5_000}, "two budgets"),
        ({"budget": "1 per day", "warning_every": 5_000}, "two budgets"),
        ({"segments_max": 3}, "says nothing without segment"),
        ({"segments_act": True}, "says nothing without segment"),
        ({"segment": "country"}, "no feature; there are shop, x"),
    ],
)
def test_settings_that_contradict_are_refused(section: dict[str, Any], reason: str) -> None:
    """What would be ignored is no setting."""
    with pytest.raises(ValueError, match=reason):
        drift(**section)


def steps_of(*, segments_act: bool) -> tuple[list[Any], list[str]]:
    """Let one shop of ten go wrong under the policy reset; give its signals, and all steps."""
    section = {
        "policy": "reset", "segment": "shop", "segments_max": 10, "segments_act": segments_act,
    }  # fmt: skip
    learner = new_learner(Settings(event=EVENT, drift=section))
    log = [
        Example(
            f"e{i}", {"x": float(i % 7), "shop": i % 10}, not (i % 10 == 3 and i >= 3_000), 0.9,
            "v1-0", 0, float(i), float(i), "labels/0", i, i,
        )
        for i in range(3_300)
    ]  # fmt: skip
    outcome = learner.absorb(log, range(len(log)))
    parts = [s for s in outcome.drifts if s.segment and s.direction == "worsened"]
    wholes = {s.position for s in outcome.drifts if s.segment is None and s.level == "confirmed"}
    return parts, [step.step for step in outcome.steps if step.position not in wholes]


def test_a_policy_leaves_segments_alone_unless_it_is_told_not_to() -> None:
    """Either way the drift of the segment is reported, with its name."""
    parts, steps = steps_of(segments_act=False)
    assert {part.subject for part in parts} == {"error in shop=3"}
    assert {part.action for part in parts} == {"none"}
    assert steps == []
    parts, steps = steps_of(segments_act=True)
    assert any(part.action.startswith("reset") for part in parts)
    assert "reset" in steps
