"""How wrong a published score was: what the drift watch sees."""

from __future__ import annotations

from typing import Any

from models.types import Task, Truth


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
