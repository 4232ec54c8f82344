"""Vowpal Wabbit on the same rows: its linear model with its own normalisation and adaptive rates.

Needs `pip install vowpalwabbit`. Examples are parsed before the clock starts, so that neither the
text of its input nor Python's making of it is in its figures.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

OPTIONS = "--quiet --loss_function logistic --link logistic"
# The one model of benchmarks.estimators that it has a counterpart of.
MODEL = "logistic"


class VwFigures(NamedTuple):
    """Events a second, and the accuracy."""

    speed: float
    accuracy: float


def is_available() -> bool:
    """Whether it is installed."""
    return importlib.util.find_spec("vowpalwabbit") is not None


def measure(rows: Sequence[tuple[dict[Any, Any], bool]]) -> VwFigures:
    """Test, then train: learning an example also gives what was predicted for it before."""
    import vowpalwabbit

    workspace = vowpalwabbit.Workspace(OPTIONS)
    examples = [workspace.parse(_line(x, y)) for x, y in rows]
    said = []
    start = time.process_time()
    for example in examples:
        workspace.learn(example)
        said.append(example.get_simplelabel_prediction())
    took = time.process_time() - start
    for example in examples:
        workspace.finish_example(example)
    workspace.finish()
    n_right = sum((p >= 0.5) == y for p, (_, y) in zip(said, rows, strict=True))
    return VwFigures(len(rows) / took, n_right / len(rows))


def _line(x: dict[Any, Any], y: bool) -> str:
    features = " ".join(f"{name}:{float(value):.17g}" for name, value in x.items())
    return f"{1 if y else -1} | {features}"
