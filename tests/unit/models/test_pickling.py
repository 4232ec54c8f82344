"""Reading a state names nothing but learners; writing one drops what nothing depends on."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import proba, tree

from models import CheckpointCorrupt, Task, pickling
from models.compiled import twins
from tests.example_logs import absorb_in, make_log, new_learner


class Calls:
    """Pickles as a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def named(module: str, name: str) -> bytes:
    """Pickle the mere naming of a global."""
    return (
        b"\x80\x04"
        + b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name))
        + b"\x93."
    )


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Calls(os.system, "true")),
        pickle.dumps(Calls(eval, "1")),
        pickle.dumps(Calls(getattr, {}, "keys")),
        named("os", "system"),
        named("builtins", "__import__"),
        # Through River: what a module imported, a function, a reader of files, and beyond.
        named("river.base.base", "sys"),
        named("river.base.base", "sys.modules"),
        named("river.compose.pipeline", "inspect.os.system"),
        named("river.stream", "iter_csv"),
        named("river.datasets", "Bananas"),
        named("river.utils.random", "poisson"),
        # Through us.
        named("models.pickling", "loads"),
        named("models.pipelines", "importlib.import_module"),
        pickle.dumps(Calls(pickling.Bound, "{0.x}", "format")),
        pickle.dumps(Calls(pickling.Bound, tree.HoeffdingTreeClassifier(), "__class__")),
    ],
)
def test_what_no_learner_is_made_of_is_refused(data: bytes) -> None:
    """A checkpoint is code; only learners may run."""
    with pytest.raises(CheckpointCorrupt, match="no learner is made of"):
        pickling.loads(data)


def test_the_module_of_a_custom_pipeline_is_trusted_when_named() -> None:
    """And only then."""
    data = named("fractions", "Fraction")
    with pytest.raises(CheckpointCorrupt):
        pickling.loads(data)
    assert pickling.loads(data, ["fractions"]).__name__ == "Fraction"
    with pytest.raises(CheckpointCorrupt):
        pickling.loads(named("fractions", "sys.modules"), ["fractions"])


@given(st.binary(max_size=200))
def test_noise_is_corrupt_and_nothing_else(data: bytes) -> None:
    """No other exception escapes, whatever the bytes."""
    with contextlib.suppress(CheckpointCorrupt):
        pickling.loads(data)


def test_every_truncation_of_a_learner_is_corrupt() -> None:
    """A torn write is told from a whole one."""
    data = new_learner("logistic", Task.BINARY).dump()
    for end in range(0, len(data), 97):
        with pytest.raises(CheckpointCorrupt):
            pickling.loads(data[:end])


def test_unseeded_generators_are_dropped_and_seeded_ones_kept() -> None:
    """Only what has a reproducible future is worth 3.8 kB."""
    unseeded = [proba.Gaussian() for _ in range(100)]
    data = pickling.dumps(unseeded)
    assert len(data) < 20_000 < len(pickle.dumps(unseeded))
    assert pickling.loads(data)[7].sample() == 0.0
    seeded = proba.Gaussian(seed=3)
    seeded.update(1.0), seeded.update(2.0)
    copy = pickling.loads(pickling.dumps(seeded))
    assert [copy.sample() for _ in range(3)] == [seeded.sample() for _ in range(3)]


def test_the_generator_of_a_learner_is_kept_whole() -> None:
    """A forest draws from it at every example."""
    rng = random.Random(5)
    copy = pickling.loads(pickling.dumps({"rng": rng}))["rng"]
    assert copy.random() == rng.random()


def test_a_tree_is_several_times_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figure that makes frequent checkpoints of River's own trees possible."""
    monkeypatch.setattr(twins, "AVAILABLE", False)
    learner = new_learner("hoeffding-tree", Task.BINARY)
    log = make_log("hoeffding-tree", Task.BINARY, 1_000)
    absorb_in(learner, log, range(1_000), [500])
    model = learner._model.estimator
    assert isinstance(model, tree.HoeffdingTreeClassifier)
    assert len(pickling.dumps(model)) < len(pickle.dumps(model)) / 5
