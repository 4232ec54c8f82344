"""How a learner responds to drift: the frame that all policies share, which is part of the fold.

Why inside the fold: an action at an example's place, decided by nothing but the examples, is the
same in every replay and on every machine. So a version is still a function of the log, and a crash
in the middle of a comparison goes on with it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from models.types import Choice, Direction, DriftSignal, Example, Features, PolicyStep, Score, Task

N_NOTHING_DUE = 1 << 30


class Policy(Choice):
    """How the learner responds to drift; see `models.policies`."""

    ALERT = "alert"
    RETRAIN = "retrain"
    RESET = "reset"
    RECALL = "recall"
    SCHEDULE = "schedule"
    ROLLING = "rolling"


class ResponseSettings(msgspec.Struct, frozen=True):
    """Which policy, and how long it takes for what.

    `two_sided`: an error that fell is acted on as well. `bakeoff_n` examples decide a comparison,
    and a background learner learns as many before it. `memory_n` models of the past are kept.
    `segments`: the drift of a segment is acted on as well, though the model is everybody's.
    """

    policy: Policy = Policy.ALERT
    two_sided: bool = False
    bakeoff_n: int = 200
    every_n: int = 10_000
    window_n: int = 30_000
    memory_n: int = 8
    segments: bool = False


class Host(Protocol):
    """The learner as its policy sees it."""

    task: Task

    def score_many(self, batch: Sequence[Features]) -> list[Score]:
        """Predict."""
        ...

    def learn(self, examples: list[Example], offsets: list[int]) -> None:
        """Learn examples, without testing on them."""
        ...

    def sibling(self) -> Host:
        """Give an untrained learner with the same pipeline."""
        ...

    def adopt(self, other: Any) -> None:
        """Go on with the model of another learner, which is given away."""
        ...


class Response:
    """A policy at work: takes the batches that the learner absorbs, and answers their signals."""

    def __init__(self, settings: ResponseSettings) -> None:
        self.settings = settings
        self.n = 0
        self._steps: list[PolicyStep] = []

    def fold(
        self,
        host: Host,
        examples: list[Example],
        offsets: list[int],
        signals: Sequence[DriftSignal],
    ) -> tuple[list[DriftSignal], list[PolicyStep]]:
        """Let the host learn a batch, and act where it is due.

        The batch is cut after each example that has a signal, or at which the policy has something
        to do: so the batches that come make no difference. Gives the signals with what was done at
        once, and all steps.
        """
        steps: list[PolicyStep] = []
        self._steps = steps
        answered = list(signals)
        ends = [bisect_left(offsets, signal.position) + 1 for signal in signals]
        start = n_answered = 0
        while start < len(examples):
            end = min(start + self._room(), len(examples))
            if n_answered < len(ends):
                end = min(end, ends[n_answered])
            self._advance(host, examples[start:end], offsets[start:end])
            self.n += end - start
            self._due(host, examples[end - 1], offsets[end - 1])
            while n_answered < len(ends) and ends[n_answered] == end:
                signal = signals[n_answered]
                if self._acts_on(signal):
                    action = self._answer(host, signal)
                    answered[n_answered] = msgspec.structs.replace(signal, action=action)
                n_answered += 1
            start = end
        self._steps = []
        return answered, steps

    def _acts_on(self, signal: DriftSignal) -> bool:
        is_bad = signal.direction is Direction.WORSENED or self.settings.two_sided
        return is_bad and (signal.segment is None or self.settings.segments)

    def _room(self) -> int:
        # How many examples may be taken until `_due` has to be asked again; at least one.
        return N_NOTHING_DUE

    def _advance(self, host: Host, examples: list[Example], offsets: list[int]) -> None:
        host.learn(examples, offsets)

    def _due(self, host: Host, example: Example, offset: int) -> None:
        pass

    def _answer(self, host: Host, signal: DriftSignal) -> str:
        raise NotImplementedError

    def _step(
        self, step: str, detail: str, offset: int, time: float, signal: DriftSignal | None
    ) -> None:
        name = str(self.settings.policy)
        self._steps.append(PolicyStep(name, step, detail, offset, time, signal))
