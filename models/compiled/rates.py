"""Learning rates as kernels take them: numbers that stay."""

from __future__ import annotations

from typing import Any

from river import optim


def constant_rate(rate: Any) -> float:
    """Give the number that a learning rate always is.

    Raises
    ------
    ValueError
        When it changes.
    """
    if isinstance(rate, optim.schedulers.Constant):
        rate = rate.learning_rate
    if isinstance(rate, int | float):
        return rate
    raise ValueError(f"the rate must be constant, not {rate!r}")
