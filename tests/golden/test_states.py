"""States of learners of earlier releases stay loadable, and go on as they would have."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("models.compiled._native", reason="the extension is not built")
from models import Example, Learner

FOLDER = Path(__file__).parent / "states"


@pytest.fixture(params=sorted(FOLDER.glob("*.json")), ids=lambda file: file.stem)
def entry(request: pytest.FixtureRequest) -> Any:
    """A state, and what its learner did next when it was written."""
    return json.loads(request.param.read_text(encoding="utf-8"))


def examples(entry: Any) -> list[Example]:
    """Make the log that the state was in the middle of."""
    return [
        Example(
            f"e{i}", {"x": x, "shop": float(i % 3)}, label, 0.9 if x > 0 else 0.1, "v1-0",
            0, float(i), float(i) + 5, "labels/0", i, i,
        )
        for i, (x, label) in enumerate(entry["examples"])
    ]  # fmt: skip


def test_a_state_of_an_earlier_release_goes_on(entry: Any) -> None:
    """The drift that its watch was about to confirm is confirmed, and the policy ends its work."""
    learner = Learner.load(zlib.decompress(base64.b64decode(entry["state"])))
    start, log = entry["stands_at"], examples(entry)
    assert (learner.position, learner.fingerprint()) == (start, entry["fingerprint"])
    outcome = learner.absorb(log[start:], range(start, len(log)))
    told = json.loads(msgspec.json.encode(outcome.drifts))
    assert [{name: signal[name] for name in entry["drifts"][0]} for signal in told] == (
        entry["drifts"]
    )
    assert [step.step for step in outcome.steps] == entry["steps"]
    assert learner.fingerprint() == entry["ends_as"]


def test_it_is_written_anew_in_the_present_form(entry: Any) -> None:
    """What was loaded can be saved, and goes on from there as well."""
    learner = Learner.load(zlib.decompress(base64.b64decode(entry["state"])))
    again = Learner.load(learner.dump())
    start, log = entry["stands_at"], examples(entry)
    again.absorb(log[start:], range(start, len(log)))
    assert again.fingerprint() == entry["ends_as"]
