"""A million calls of garbage on native code: none crashes, a refusal changes nothing.

    python -m benchmarks.fuzz [--calls 1000000] [--seed 1] [--models forest] [--sanitize]

Each call is drawn from the seed: a good event or one with NaN, infinity, 1e308, a wrong type, a
name or label of another kind, one of 10,000 categories, a rising timestamp; alone, in a batch or
in an array; now and then a dump is damaged and loaded. Whatever is refused must have left the dump
as it was; what is accepted must go on to predict finite numbers. The windows over an entity's past
get damaged histories besides, and what is said of how features moved is computed again.

`--sanitize` builds the extension with AddressSanitizer and UBSan into a folder of its own, and runs
the same there.
"""

from __future__ import annotations

import argparse
import math
import os
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from river import linear_model, preprocessing, tree

from benchmarks.fuzz_features import OTHERS
from benchmarks.garbage import GARBAGE, WRONG_NAMES, Calls

ROOT = Path(__file__).resolve().parents[1]
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -O1 -g"
WRONG_LABELS: list[Any] = [None, math.nan, 2**60, 1j, [], b"yes", "yes", object(), 10**400]
TEXTLESS = {
    "logistic", "naive-bayes", "adwin-bagging", "half-space", "regressor-of-models",
    "regression-forest",
}  # fmt: skip
WEIGHTED = {"tree", "adaptive", "regressor", "regressor-of-models"}
WRONG_WEIGHTS: list[Any] = [0.0, -1.0, math.nan, math.inf, 1e300, None, "1"]
# A dump of a forest is large: it is compared now and then, counts every time.
COMPARE_EVERY = 100
FORGET_EVERY = 20_000


def factories() -> dict[str, Callable[[int], Any]]:
    """Fresh models, eager to grow, with budgets that are soon reached."""
    from models.compiled.adaptive_tree import HoeffdingAdaptiveTreeClassifier
    from models.compiled.bagging import ADWINBaggingClassifier, LeveragingBaggingClassifier
    from models.compiled.forest import ARFClassifier
    from models.compiled.half_space import HalfSpaceTrees
    from models.compiled.logistic import ScaledLogisticRegression
    from models.compiled.naive_bayes import GaussianNB
    from models.compiled.regression_forest import ARFRegressor
    from models.compiled.regression_trees import HoeffdingTreeRegressor
    from models.compiled.trees import HoeffdingTreeClassifier

    eager: dict[str, Any] = {"grace_period": 20, "delta": 0.1, "max_depth": 20, "max_size": 0.5}
    base = tree.HoeffdingTreeClassifier(**eager)
    scaled = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    return {
        "logistic": lambda seed: ScaledLogisticRegression(),
        "naive-bayes": lambda seed: GaussianNB(),
        "tree": lambda seed: HoeffdingTreeClassifier(**eager, nominal_attributes=["k"]),
        "adaptive": lambda seed: HoeffdingAdaptiveTreeClassifier(**eager, seed=seed),
        "forest": lambda seed: ARFClassifier(n_models=3, seed=seed, max_size=0.3, max_depth=20),
        "adwin-bagging": lambda seed: ADWINBaggingClassifier(scaled, n_models=3, seed=seed),
        "leveraging-bagging": lambda seed: LeveragingBaggingClassifier(
            base, n_models=3, w=2, seed=seed
        ),
        "regressor": lambda seed: HoeffdingTreeRegressor(
            **eager, leaf_prediction="mean", nominal_attributes=["k"]
        ),
        "regressor-of-models": lambda seed: HoeffdingTreeRegressor(
            **eager, nominal_attributes=["k"]
        ),
        "regression-forest": lambda seed: ARFRegressor(
            n_models=3, seed=seed, max_size=0.3, max_depth=20, nominal_attributes=["k"]
        ),
        "half-space": lambda seed: HalfSpaceTrees(
            n_trees=3, height=4, window_size=50, seed=seed, limits={"time": (1.6e9, 1.7e9)}
        ),
    }


class Estimator(Calls):
    """Calls on one model."""

    KINDS: ClassVar[Mapping[str, float]] = {
        "learn": 60.0, "predict": 25.0, "batch": 10.0, "array": 4.8, "ask": 5.0, "dump": 0.2,
    }  # fmt: skip

    def __init__(self, name: str, seed: int) -> None:
        super().__init__(name, seed)
        self._make = factories()[name]
        self._is_anomaly = name == "half-space"
        self._is_regression = name.startswith("regress")
        self._is_logistic = name == "logistic"
        self._takes_text = name not in TEXTLESS
        self._takes_weights = name in WEIGHTED
        self._time = 1.6e9
        self._model = self._make(seed)

    def call(self, i: int) -> None:
        """One call, on a fresh model now and then."""
        if i % FORGET_EVERY == FORGET_EVERY - 1:
            self._model = self._make(i)
        super().call(i)

    def _state(self, i: int) -> bytes | None:
        return self._model.dump() if i % COMPARE_EVERY == 0 else None

    def _features(self) -> Any:
        rng, roll = self._rng, self._rng.random()
        self._time += rng.random()
        x: dict[Any, Any] = {"a": rng.gauss(0.0, 1.0), "b": rng.random(), "time": self._time}
        if self._takes_text:
            x["t"] = f"category-{rng.randrange(10_000)}"
            x["k"] = rng.randrange(30)
        if roll < 0.1:
            x[rng.choice(["a", "b", "t", "new", 3])] = rng.choice(GARBAGE)
        elif roll < 0.12:
            x[rng.choice(WRONG_NAMES)] = 1.0
        elif roll < 0.2:
            del x[rng.choice(list(x))]
        elif roll < 0.21:
            x[f"new-{rng.randrange(50)}"] = rng.random()
        elif roll < 0.215:
            return rng.choice([None, [], [("a", 1.0)], "text", 1])
        return x

    def _label(self) -> Any:
        # For thousands of events all of one class.
        if self._rng.random() < 0.02:
            return self._rng.choice(WRONG_LABELS)
        if self._is_regression:
            return self._rng.gauss(self._time % 100.0, 10.0)
        return self._time % 4000.0 < 2000.0 and self._rng.random() < 0.3

    def _learn(self) -> None:
        x = self._features()
        if not self._is_anomaly and self._rng.random() < 0.5:
            self._predict_before(x)
        if self._is_anomaly:
            self._model.learn_one(x)
        elif self._takes_weights and self._rng.random() < 0.1:
            self._model.learn_one(x, self._label(), w=self._weight())
        else:
            self._model.learn_one(x, self._label())

    def _predict_before(self, x: Any) -> None:
        """Predict for what is learned next; it may change in between."""
        self._model.predict_one(x)
        if self._rng.random() < 0.2:
            x[self._rng.choice(["a", "b"])] = self._rng.gauss(0.0, 1.0)

    def _weight(self) -> Any:
        rng = self._rng
        return rng.choice(WRONG_WEIGHTS) if rng.random() < 0.3 else rng.choice([1, 0.5, 2.0])

    def _predict(self) -> None:
        x = self._features()
        if self._is_anomaly:
            assert -1e9 < self._model.score_one(x) <= 1.0
            return
        if self._is_regression:
            assert math.isfinite(self._model.predict_one(x))
            return
        said = self._model.predict_proba_one(x)
        assert all(0.0 <= p <= 1.0 + 1e-9 for p in said.values()), said
        self._model.predict_one(x)

    def _batch(self) -> None:
        xs = self._events()
        if self._is_anomaly:
            self._model.learn_dicts(xs)
            return
        ys = [self._label() for _ in xs]
        way = self._way("learn_dicts", "test_then_train_dicts")
        if self._takes_weights and self._rng.random() < 0.3:
            getattr(self._model, way)(xs, ys, [self._weight() for _ in xs])
        else:
            getattr(self._model, way)(xs, ys)

    def _way(self, *names: str) -> str:
        return self._rng.choice([name for name in names if hasattr(self._model, name)])

    def _events(self) -> list[Any]:
        return [self._features() for _ in range(self._rng.randrange(6))]

    def _ask(self) -> None:
        xs, model = self._events(), self._model
        if self._is_logistic:
            _check_attributions(xs, model.attributions(xs), model.probabilities(xs))
        elif self._is_anomaly:
            assert all(score <= 1.0 for score in model.score_dicts(xs))
        elif self._is_regression:
            assert all(map(math.isfinite, model.predict_dicts(xs)))
        else:
            assert all(0.0 <= p <= 1.0 + 1e-9 for p in model.probabilities(xs))

    def _array(self) -> None:
        rng = self._rng
        listed = [[rng.gauss(0.0, 1.0), rng.random()] for _ in range(rng.randrange(5))]
        if listed and rng.random() < 0.3:
            listed[-1][0] = rng.choice([math.nan, math.inf, 1e308])
        names = rng.choice([("a", "b"), ("b", "a"), ("a", "a"), ("a",), None, (b"a", "b")])
        rows = np.array(listed).reshape(-1, 2)
        model, learns = self._model, rng.random() < 0.5
        labels = [row[1] if self._is_regression else row[1] > 0.5 for row in listed]
        if self._is_anomaly:
            model.test_then_train_many(rows, names=names)
        elif not hasattr(model, "learn_many"):
            model.predict_proba_many(rows, names=names)
        elif learns:
            getattr(model, self._way("learn_many", "test_then_train_many"))(
                rows, labels, names=names
            )
        else:
            many = model.predict_many if self._is_regression else model.predict_proba_many
            assert np.isfinite(many(rows, names=names)).all()

    def _dump(self) -> None:
        dump = self._model.dump()
        self._model = type(self._model).load(dump)
        assert self._model.dump() == dump
        at = self._rng.randrange(len(dump))
        damaged = dump[:at] + bytes([dump[at] ^ 1 << self._rng.randrange(8)]) + dump[at + 1 :]
        self._restore(self._rng.choice([damaged, dump[:at], dump + b"\0"]))
        # The checksum lets nothing through, so what is behind it is met with one that is right.
        self._restore(damaged[:-4] + struct.pack("<I", zlib.crc32(damaged[:-4])), may_load=True)
        assert self._model.dump() == dump

    def _restore(self, dump: bytes, *, may_load: bool = False) -> None:
        other = type(self._model).__new__(type(self._model))
        try:
            other._restore(dump)
        except self.REFUSALS:
            self.counts["damaged dump refused"] += 1
        else:
            assert may_load, "a damaged dump was loaded"
            self.counts["changed dump loaded"] += 1
            try:
                other.dump()
            except self.REFUSALS:
                self.counts["changed dump of no use"] += 1


def _check_attributions(xs: list[Any], found: Any, probabilities: list[float]) -> None:
    intercept, rows = found
    for x, row, p in zip(xs, rows, probabilities, strict=True):
        names, values, means, contributions, margin = row
        assert (names, values) == (list(x), list(x.values()))
        assert len(means) == len(contributions) == len(x)
        total = sum(contributions)
        assert math.isclose(total + intercept, margin, rel_tol=1e-9, abs_tol=1e-6)
        if abs(margin) < 30.0:
            assert math.isclose(p, 1.0 / (1.0 + math.exp(-margin)), rel_tol=1e-9)


def targets() -> list[str]:
    """Name all that is called."""
    return [*factories(), *OTHERS]


def fuzz(name: str, n_calls: int, seed: int) -> Counter[str]:
    """Call one of them so often; say how often it did what."""
    run = OTHERS.get(name, Estimator)(name, seed)
    for i in range(n_calls):
        run.call(i)
    return run.counts


def run_sanitized(arguments: list[str]) -> int:
    """Build with sanitizers and run this program with what was built."""
    with tempfile.TemporaryDirectory(prefix="driftline-fuzz-") as folder:
        environment = os.environ | {"CFLAGS": SANITIZERS, "LDFLAGS": SANITIZERS}
        build = ["build_ext", "--build-lib", folder, "--build-temp", f"{folder}/temp"]
        subprocess.run(
            [sys.executable, "setup.py", "-q", *build], cwd=ROOT, env=environment, check=True
        )
        library = subprocess.run(
            ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
        ).stdout.strip()
        environment = os.environ | {
            "LD_PRELOAD": library,
            # Python itself keeps what it has to the end.
            "ASAN_OPTIONS": "detect_leaks=0",
            "DRIFTLINE_NATIVE": str(next(Path(folder, "models", "compiled").glob("_native*"))),
        }
        command = [sys.executable, "-m", "benchmarks.fuzz", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def use_built(library: str) -> None:
    """Put an extension from elsewhere in the place of the installed one."""
    import importlib.util

    name = "models.compiled._native"
    spec = importlib.util.spec_from_file_location(name, library)
    assert spec is not None and spec.loader is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    import models.compiled

    models.compiled._native = sys.modules[name]  # type: ignore[attr-defined]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=1_000_000, help="of all models together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--models", nargs="+", help="or windows, movement; default: all")
    parser.add_argument("--sanitize", action="store_true", help="with AddressSanitizer and UBSan")
    options = parser.parse_args()
    if options.sanitize:
        return run_sanitized([argument for argument in sys.argv[1:] if argument != "--sanitize"])
    if library := os.environ.get("DRIFTLINE_NATIVE"):
        use_built(library)
    names = options.models or targets()
    for name in names:
        start = time.perf_counter()
        counts = fuzz(name, options.calls // len(names), options.seed)
        done = ", ".join(f"{what} {n:,}" for what, n in sorted(counts.items()))
        print(f"{name}: {done}; {time.perf_counter() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
