"""MOA, the Java framework that River's trees and forests were modelled on, on the same rows.

Needs a JDK and Maven, which brings MOA (62 MB, once) into a cache folder. The rows are in the
memory of the JVM before the clock starts, so nothing of parsing is in its figures; five rounds in
one JVM, since the first ones are run by its interpreter.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FOLDER = Path(__file__).with_name("moa")
CACHE = Path.home() / ".cache" / "driftline" / "moa"
N_ROUNDS = 5
TIMEOUT_S = 600.0
# By the names of benchmarks.estimators; parameters are MOA's defaults, which are River's.
LEARNERS = {
    "gaussian-nb": "moa.classifiers.bayes.NaiveBayes",
    "hoeffding-tree": "moa.classifiers.trees.HoeffdingTree",
    "hoeffding-adaptive-tree": "moa.classifiers.trees.HoeffdingAdaptiveTree",
    "adaptive-random-forest": "moa.classifiers.meta.AdaptiveRandomForest -s 10",
    "adwin-bagging": "moa.classifiers.meta.OzaBagAdwin -s 10",
    "leveraging-bagging": "moa.classifiers.meta.LeveragingBag -s 10",
}


class MoaFigures(NamedTuple):
    """Events a second in the first round and in the best one, and the accuracy."""

    cold: float
    warm: float
    accuracy: float


def is_available() -> bool:
    """Whether there is what it needs."""
    return all(shutil.which(tool) for tool in ("java", "javac", "mvn"))


def measure(model: str, rows: Sequence[tuple[dict[Any, Any], bool]]) -> MoaFigures:
    """Test, then train, MOA's learner for a model of the table."""
    classpath = _build()
    columns = [_column([x[name] for x, _ in rows]) for name in rows[0][0]]
    table = np.column_stack([*(values for values, _ in columns), [float(y) for _, y in rows]])
    with tempfile.NamedTemporaryFile(prefix="driftline-moa-") as file:
        file.write(np.ascontiguousarray(table, dtype="<f8").tobytes())
        file.flush()
        n_categories = ",".join(str(n) for _, n in columns)
        runner = ["java", "-Xmx1g", "-cp", classpath, "MoaRunner"]
        command = [*runner, LEARNERS[model], file.name, n_categories, str(N_ROUNDS)]
        lines = _run(command).splitlines()
    rounds = [tuple(map(float, line.split())) for line in lines]
    speeds = [len(rows) / seconds for seconds, _ in rounds]
    return MoaFigures(speeds[0], max(speeds), rounds[0][1])


def _build() -> str:
    jars = CACHE / "jars"
    if not jars.is_dir():
        copy = ["dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
        _run(["mvn", "-q", "-B", "-f", str(FOLDER / "pom.xml"), *copy])
    classes, source = CACHE / "classes", FOLDER / "MoaRunner.java"
    _run(["javac", "-cp", f"{jars}/*", "-d", str(classes), str(source)])
    return f"{classes}:{jars}/*"


def _column(values: list[Any]) -> tuple[list[float], int]:
    # Text becomes the number of its category, in sorted order.
    if not isinstance(values[0], str):
        return [float(value) for value in values], 0
    codes = {category: float(code) for code, category in enumerate(sorted(set(values)))}
    return [codes[value] for value in values], len(codes)


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout
