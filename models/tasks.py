"""What a task makes of labels: which there are, and how wrong a published score was."""

from __future__ import annotations

from collections.abc import Sequence
from operator import lt
from typing import Any

from models.types import Example, Task, Truth

_LABEL_TYPES: dict[Task, set[type]] = {
    Task.BINARY: {bool},
    Task.MULTICLASS: {str},
    Task.REGRESSION: {float, int},
    Task.ANOMALY: {bool, type(None)},
}


def check_batch(task: Task, examples: Sequence[Example], offsets: Sequence[int]) -> None:
    """Assert that a batch of the examples log is one: offsets that rise, labels of the task."""
    assert len(examples) == len(offsets), (len(examples), len(offsets))
    assert all(map(lt, offsets, offsets[1:])), f"offsets do not rise: {list(offsets)}"
    types = _LABEL_TYPES[task]
    if not {type(example.label) for example in examples} <= types:
        wrong = next(e for e in examples if type(e.label) not in types)
        what = f"event {wrong.event_id!r} has the label {wrong.label!r}"
        raise AssertionError(f"{what}, which is none for the task {task}")


def errors_of(task: Task, truths: list[Any], scores: list[Any], threshold: float) -> list[float]:
    """Give 1 or 0 for each decision, wrong or right; of regression, the distance.

    Examples
    --------
    >>> errors_of(Task.BINARY, [True, True], [0.7, 0.2], 0.5)
    [0.0, 1.0]
    """
    pairs = zip(truths, scores, strict=True)
    match task:
        case Task.BINARY | Task.ANOMALY:
            return [1.0 if (score >= threshold) != truth else 0.0 for truth, score in pairs]
        case Task.MULTICLASS:
            return [1.0 if _likeliest(score) != truth else 0.0 for truth, score in pairs]
        case Task.REGRESSION:
            return [abs(score - truth) for truth, score in pairs]


def _likeliest(score: dict[str, float]) -> Truth | None:
    return max(score, key=score.__getitem__) if score else None
