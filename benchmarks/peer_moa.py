"""MOA, the Java framework that River's trees and forests were modelled on, on the same rows.

Needs a JDK and Maven, which brings MOA (62 MB, once) into a cache folder. The rows are in the
memory of the JVM before the clock starts, so nothing of parsing is in its figures. It takes turns
with the others, so that a busy machine slows all; its first rounds are run by its interpreter.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.estimator_streams import Row, table_of

FOLDER = Path(__file__).with_name("moa")
CACHE = Path.home() / ".cache" / "driftline" / "moa"
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


class Moa:
    """A JVM with the rows in its memory."""

    def __init__(self, process: subprocess.Popen[str], n_rows: int) -> None:
        self._process = process
        self._n_rows = n_rows
        self._rounds: list[tuple[float, float]] = []

    def take_turn(self) -> None:
        """Test, then train, a fresh learner on all rows."""
        asks, answers = self._process.stdin, self._process.stdout
        assert asks is not None and answers is not None
        asks.write("\n")
        asks.flush()
        line = answers.readline()
        if not line:
            raise RuntimeError(f"MOA ended with {self._process.wait()}")
        seconds, accuracy = map(float, line.split())
        self._rounds.append((seconds, accuracy))

    def figures(self) -> MoaFigures:
        """What the turns showed so far."""
        speeds = [self._n_rows / seconds for seconds, _ in self._rounds]
        return MoaFigures(speeds[0], max(speeds), self._rounds[0][1])


def is_available() -> bool:
    """Whether there is what it needs."""
    return all(shutil.which(tool) for tool in ("java", "javac", "mvn"))


@contextmanager
def opened(model: str, rows: Sequence[Row]) -> Iterator[Moa]:
    """Start MOA's learner for a model of the table."""
    classpath = _build()
    table, counts = table_of(rows)
    labelled = np.column_stack([table, [float(y) for _, y in rows]])
    with tempfile.NamedTemporaryFile(prefix="driftline-moa-") as file:
        file.write(np.ascontiguousarray(labelled, dtype="<f8").tobytes())
        file.flush()
        n_categories = ",".join(map(str, counts))
        runner = ["java", "-Xmx1g", "-cp", classpath, "MoaRunner"]
        with _running([*runner, LEARNERS[model], file.name, n_categories]) as process:
            yield Moa(process, len(rows))


@contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        watchdog = threading.Timer(TIMEOUT_S, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.kill()


def _build() -> str:
    jars = CACHE / "jars"
    if not jars.is_dir():
        copy = ["dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
        _run(["mvn", "-q", "-B", "-f", str(FOLDER / "pom.xml"), *copy])
    classes, source = CACHE / "classes", FOLDER / "MoaRunner.java"
    _run(["javac", "-cp", f"{jars}/*", "-d", str(classes), str(source)])
    return f"{classes}:{jars}/*"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
