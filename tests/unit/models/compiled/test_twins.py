"""A learner's state is River's own: it loads with the extension or without, and goes on equally."""

from __future__ import annotations

import pytest
from river import compose, linear_model, naive_bayes, preprocessing

from models import CheckpointCorrupt, Learner, Task, compiled, pickling
from models.compiled import twins
from models.compiled.twins import compiled_twin, is_compiled, river_twin
from models.fused import fuse
from tests.example_logs import absorb_in, make_log, new_learner

pytestmark = pytest.mark.skipif(not compiled.AVAILABLE, reason="the extension is not built")


@pytest.mark.parametrize("name", ["logistic", "fraud", "gaussian-nb"])
def test_a_version_moves_between_machines(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Learned with a compiler, then without, then with: as if nothing had happened."""
    log = make_log(name, Task.BINARY, 300)
    steady = new_learner(name, Task.BINARY)
    absorb_in(steady, log, range(300), [300])
    moved = new_learner(name, Task.BINARY)
    for start, available in ((0, True), (100, False), (200, True)):
        state = moved.dump()
        for module in (twins, pickling):
            monkeypatch.setattr(module, "AVAILABLE", available)
        moved = Learner.load(state)
        assert moved.is_compiled is available
        moved.absorb(log[start : start + 100], range(start, start + 100))
    assert moved.fingerprint() == steady.fingerprint()
    x = log[0].features
    for model in (moved._model.estimator, river_twin(steady._model.estimator)):
        assert model.predict_proba_one(x)[True] == steady.score(x) not in (0.0, 0.5, 1.0)


def test_the_name_of_a_pipeline_does_not_tell_who_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a version of one machine would be refused by another."""
    here = new_learner("logistic", Task.BINARY)
    assert here.is_compiled
    monkeypatch.setattr(twins, "AVAILABLE", False)
    there = new_learner("logistic", Task.BINARY)
    assert (here.pipeline, here.pipeline_hash) == (there.pipeline, there.pipeline_hash)
    assert not there.is_compiled
    assert fuse(there._model.estimator) is not None


def test_steps_get_their_own_names_back() -> None:
    """A user's pipeline may call them anything."""
    named = preprocessing.StandardScaler() | ("judge", linear_model.LogisticRegression())
    assert list(river_twin(compiled_twin(named)).steps) == ["StandardScaler", "judge"]


def test_a_twin_at_the_end_of_any_pipeline_is_found() -> None:
    """What comes before it is kept."""
    river = preprocessing.MinMaxScaler() | naive_bayes.GaussianNB()
    twin = compiled_twin(river)
    assert is_compiled(twin)
    assert twin["MinMaxScaler"] is river["MinMaxScaler"]
    back = river_twin(twin)
    assert type(back["GaussianNB"]) is naive_bayes.GaussianNB
    assert list(back.steps) == list(river.steps)
    alone = compose.Pipeline(linear_model.LogisticRegression())
    assert compiled_twin(alone) is alone


def test_a_state_that_only_a_kernel_reads_is_refused_without_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a sentence that says what to do."""
    state = pickling.dumps(compiled_twin(naive_bayes.GaussianNB()))
    assert is_compiled(pickling.loads(state))
    monkeypatch.setattr(pickling, "AVAILABLE", False)
    with pytest.raises(CheckpointCorrupt, match="compiled GaussianNB, which is not built here"):
        pickling.loads(state)


def test_what_has_no_twin_is_left_as_it_is() -> None:
    """The same object."""
    model = linear_model.LogisticRegression()
    assert compiled_twin(model) is model
    assert river_twin(model) is model
    assert not is_compiled(model)
    assert not is_compiled(preprocessing.StandardScaler() | linear_model.PAClassifier())
