"""What is thrown at native code, and how it is told what came of it: see `benchmarks.fuzz`."""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

GARBAGE: list[Any] = [
    math.nan, math.inf, -math.inf, 1e308, -1e308, 1e15 + 1, 10**400, None, 1j, [1.0], b"1", {}, "",
    "text", "\udc80", object(), np.float64("nan"),
]  # fmt: skip
WRONG_NAMES: list[Any] = [b"a", 1.5, None, (1,)]


class Calls(ABC):
    """Calls of random kinds, one after the other; what is refused must have changed nothing."""

    KINDS: ClassVar[Mapping[str, float]]
    """How often each kind is made: a method with an underscore before its name."""
    REFUSALS: ClassVar[tuple[type[Exception], ...]] = (TypeError, ValueError)

    def __init__(self, name: str, seed: int) -> None:
        self._rng = random.Random(f"{name} {seed}")
        self.counts: Counter[str] = Counter()

    def call(self, i: int) -> None:
        """One call; an assertion fails if it did what it must not."""
        before = self._state(i)
        kind = self._rng.choices(list(self.KINDS), list(self.KINDS.values()))[0]
        try:
            getattr(self, f"_{kind}")()
        except self.REFUSALS:
            self.counts[f"{kind} refused"] += 1
            assert self._state(i) == before, (i, kind)
        else:
            self.counts[kind] += 1

    @abstractmethod
    def _state(self, i: int) -> Any:
        """Give what a refusal must not change; None where the call is not compared."""
