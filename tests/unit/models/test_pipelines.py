"""Named pipelines: each does its task, can be named by users, and hashes alike everywhere."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import types
from pathlib import Path

import pytest
from river import base, linear_model, optim, preprocessing

from models import InvalidPipeline, Task, build, describe, names, pipeline_hash, trusted_modules
from models.pipelines import takes_weight

SHIPPED = [(name, task) for task in Task for name in names(task)]
REPOSITORY = Path(__file__).resolve().parents[3]

# In a fresh process: learn, and say what was learned.
_SAY = """
import sys
from models import build, pipeline_hash
from tests.example_logs import PIPELINES, absorb_in, make_log, new_learner
for name, task in PIPELINES:
    log = make_log(name, task, 300)
    learner = new_learner(name, task)
    absorb_in(learner, log, range(300), [64])
    fresh = build(name, task, seed=11)
    print(name, task, pipeline_hash(fresh), learner.fingerprint(), learner.metrics())
"""


@pytest.mark.parametrize(("name", "task"), SHIPPED)
def test_every_shipped_pipeline_builds_and_pickles(name: str, task: Task) -> None:
    """A lambda or a local class anywhere inside would end the first checkpoint."""
    pipeline = build(name, task, seed=3)
    copy = pickle.loads(pickle.dumps(pipeline))
    assert describe(copy) == describe(pipeline)
    assert pipeline_hash(copy) == pipeline_hash(build(name, task, seed=3))


def test_hashes_tell_pipelines_parameters_and_seeds_apart() -> None:
    """A version must never be loaded into another pipeline."""
    hashes = {pipeline_hash(build(name, task, seed=3)) for name, task in SHIPPED}
    # One estimator can serve two tasks, and then it is the same pipeline.
    assert len(hashes) == len({describe(build(name, task, seed=3)) for name, task in SHIPPED})
    forest = "adaptive-random-forest"
    one, other = (build(forest, Task.BINARY, seed) for seed in (1, 2))
    assert pipeline_hash(one) != pipeline_hash(other)
    slow, fast = (
        preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(rate))
        for rate in (0.01, 0.1)
    )
    assert pipeline_hash(slow) != pipeline_hash(fast)


def test_nothing_shipped_depends_on_the_hash_seed() -> None:
    """Hashes, fingerprints and metrics are equal in processes with different hash seeds."""
    said = []
    for seed in ("0", "1", "77"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(REPOSITORY)}
        run = subprocess.run(
            [sys.executable, "-c", _SAY],
            env=environment,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        said.append(run.stdout)
    assert said[0]
    assert said[0] == said[1] == said[2]


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    """The message is the help."""
    with pytest.raises(InvalidPipeline, match="half-space-trees"):
        build("logistik", Task.ANOMALY, seed=1)
    with pytest.raises(InvalidPipeline, match="logistic"):
        build("softmax", Task.BINARY, seed=1)


class TestCustom:
    """`"module:function"`, a user's own."""

    @pytest.fixture(autouse=True)
    def acme(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Install a user's module."""
        module = types.ModuleType("acme_models")

        def fraud(seed: int) -> base.Estimator:
            return preprocessing.StandardScaler() | linear_model.LogisticRegression()

        module.fraud = fraud  # type: ignore[attr-defined]
        module.unseeded = lambda: fraud(0)  # type: ignore[attr-defined]
        module.nothing = lambda seed: seed  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "acme_models", module)

    def test_it_is_built_and_its_module_trusted(self) -> None:
        """The function is called with the seed."""
        assert describe(build("acme_models:fraud", Task.BINARY, 1)).startswith("StandardScaler")
        assert trusted_modules("acme_models:fraud") == ("acme_models",)

    @pytest.mark.parametrize(
        ("name", "task", "says"),
        [
            ("acme_models:missing", Task.BINARY, "cannot import"),
            ("no_such_module:fraud", Task.BINARY, "cannot import"),
            (":fraud", Task.BINARY, "cannot import"),
            ("acme_models:unseeded", Task.BINARY, "seed="),
            ("acme_models:nothing", Task.BINARY, "not a River estimator"),
            ("acme_models:fraud", Task.REGRESSION, "cannot do regression"),
            ("acme_models:fraud", Task.MULTICLASS, "cannot do multiclass"),
        ],
    )
    def test_it_is_refused_for_a_reason(self, name: str, task: Task, says: str) -> None:
        """Each mistake is told apart."""
        with pytest.raises(InvalidPipeline, match=says):
            build(name, task, seed=1)


@pytest.mark.parametrize(("name", "task"), SHIPPED)
def test_weights_go_where_they_are_taken(name: str, task: Task) -> None:
    """Linear models and single trees take a weight; forests resample and take none."""
    expected = name.startswith(("logistic", "linear", "hoeffding", "fraud", "flights"))
    assert takes_weight(build(name, task, seed=1)) == expected
