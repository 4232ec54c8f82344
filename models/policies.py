"""What is done about drift: policies that act on the learner, as a part of the fold.

    alert      nothing: people decide
    retrain    a background learner starts at the warning and learns alongside; after the
               confirmation both are compared on the same labels, and the better one goes on
    reset      at the confirmation the model starts over, with the examples since the change
    recall     at the confirmation models of the past are tried on the examples since the change;
               the best comes back if it beats the present one (concepts that recur)
    schedule   a background learner starts every `every_n` examples and is compared in the same way
    rolling    the model is always one that has learned the last `window_n` examples at most, and
               half as many at least

All but the last exchange a model on probation: the old one may come back.
"""

from __future__ import annotations

import copy
from collections import deque

from models.contest import Contest, losses, paired
from models.response import N_NOTHING_DUE, Host, Policy, Response, ResponseSettings
from models.types import DriftLevel, DriftSignal, Example

_SURE_OF_BEST = 2.33
"""Standard errors: one-sided 99 %, since there are several rivals."""
_PROBATION = 10
_N_RECENT = 256
_N_RECENT_MIN = 16


class Exchanging(Response):
    """A policy that exchanges models, each time on probation.

    Who won over two hundred labels need not win over the next thousand. So the old model learns
    alongside for `_PROBATION` comparisons' time; at the end of each, it comes back unless the new
    one lost less since it came, by `_return_above` standard errors of the difference.
    """

    _return_above = -1.0
    _return_after = 1

    def __init__(self, settings: ResponseSettings) -> None:
        super().__init__(settings)
        self._old: Host | None = None
        self._cause: DriftSignal | None = None
        self._gains: list[float] = []

    def _exchange(self, host: Host, new: Host, cause: DriftSignal | None) -> None:
        self._old, self._cause, self._gains = host.sibling(), cause, []
        self._old.adopt(host)
        host.adopt(new)

    def _room(self) -> int:
        return N_NOTHING_DUE if self._old is None else 1

    def _advance(self, host: Host, examples: list[Example], offsets: list[int]) -> None:
        if self._old is None:
            self._learn(host, examples, offsets)
            return
        mine, others = losses(host, examples), losses(self._old, examples)
        self._gains += [a - b for a, b in zip(mine, others, strict=True)]
        self._learn(host, examples, offsets)
        self._old.learn(examples, offsets)

    def _learn(self, host: Host, examples: list[Example], offsets: list[int]) -> None:
        host.learn(examples, offsets)

    def _due(self, host: Host, example: Example, offset: int) -> None:
        n, every = len(self._gains), self.settings.bakeoff_n
        if self._old is None or n < self._return_after * every or n % every:
            return
        gain, sureness = paired(self._gains)
        if sureness > self._return_above:
            host.adopt(self._old)
            detail = (
                f"the new model's mean loss was lower by {-gain:.4f} over the {n:,} labels since"
            )
            self._step("returned", detail, offset, example.event_time, self._cause)
        if sureness > self._return_above or n >= _PROBATION * every:
            self._old = None


class Reset(Exchanging):
    """Start over at the confirmation, with the examples since the change began.

    What starts over is worse at first: the old model comes back only if it is better beyond doubt.
    """

    _return_above = 1.64
    _return_after = 2

    def __init__(self, settings: ResponseSettings) -> None:
        super().__init__(settings)
        self._recent: deque[tuple[int, Example]] = deque(maxlen=_N_RECENT)

    def _learn(self, host: Host, examples: list[Example], offsets: list[int]) -> None:
        host.learn(examples, offsets)
        self._recent.extend(zip(offsets, examples, strict=True))

    def _answer(self, host: Host, signal: DriftSignal) -> str:
        if signal.level is not DriftLevel.CONFIRMED:
            return "none"
        since = [row for row in self._recent if row[0] >= (signal.since or 0)]
        new = host.sibling()
        new.learn([example for _, example in since], [offset for offset, _ in since])
        self._exchange(host, new, signal)
        detail = f"the model starts over, with the last {len(since):,} examples"
        self._step("reset", detail, signal.position, signal.event_time, signal)
        return f"reset: {detail}"


class Rolling(Response):
    """Two learners, half a window apart: the older one serves, and goes when the window is full."""

    def __init__(self, settings: ResponseSettings) -> None:
        super().__init__(settings)
        self._next: Host | None = None

    def _room(self) -> int:
        half = self.settings.window_n // 2
        return half - self.n % half

    def _advance(self, host: Host, examples: list[Example], offsets: list[int]) -> None:
        host.learn(examples, offsets)
        if self._next is not None:
            self._next.learn(examples, offsets)

    def _due(self, host: Host, example: Example, offset: int) -> None:
        half = self.settings.window_n // 2
        if self.n % half:
            return
        if self._next is not None:
            host.adopt(self._next)
            detail = f"the model has learned the last {half:,} examples"
            self._step("rolled", detail, offset, example.event_time, None)
        self._next = host.sibling()

    def _answer(self, host: Host, signal: DriftSignal) -> str:
        return "none"


class Retrain(Exchanging):
    """A background learner from the warning on; a comparison from the confirmation on."""

    def __init__(self, settings: ResponseSettings) -> None:
        super().__init__(settings)
        self._contest: Contest | None = None

    def _room(self) -> int:
        room = super()._room()
        return room if self._contest is None else min(room, self._contest.room)

    def _learn(self, host: Host, examples: list[Example], offsets: list[int]) -> None:
        if self._contest is None:
            host.learn(examples, offsets)
        else:
            self._contest.learn(host, examples, offsets)

    def _due(self, host: Host, example: Example, offset: int) -> None:
        super()._due(host, example, offset)
        contest = self._contest
        if contest is None:
            return
        if contest.is_over:
            better, evidence = contest.verdict()
            if better:
                self._exchange(host, contest.rival, contest.cause)
            self._step(
                "swapped" if better else "discarded",
                f"the background learner's {evidence}",
                offset, example.event_time, contest.cause,
            )  # fmt: skip
            self._contest = None
        elif not contest.bakes and contest.n >= 10 * self.settings.bakeoff_n:
            detail = f"no confirmation in the {contest.n:,} examples since the warning"
            self._step("discarded", detail, offset, example.event_time, contest.cause)
            self._contest = None

    def _answer(self, host: Host, signal: DriftSignal) -> str:
        is_new = self._contest is None
        if self._contest is None:
            self._contest = Contest(host, self.settings.bakeoff_n, signal)
        did = "a background learner starts" if is_new else "the background learner goes on"
        if signal.level is DriftLevel.CONFIRMED and not self._contest.bakes:
            self._contest.bakes = True
            self._contest.cause = signal
            did = f"{did}; {self.settings.bakeoff_n:,} labels decide between it and the model"
        elif not is_new:
            return "none"
        self._step("started" if is_new else "compared", did, signal.position, signal.event_time,
                   signal)  # fmt: skip
        return f"retrain: {did}"


class Scheduled(Retrain):
    """A background learner every so many examples, drift or not."""

    def _room(self) -> int:
        every_n = self.settings.every_n
        return min(super()._room(), every_n - self.n % every_n)

    def _due(self, host: Host, example: Example, offset: int) -> None:
        super()._due(host, example, offset)
        if self.n % self.settings.every_n == 0 and self._contest is None:
            self._contest = Contest(host, self.settings.bakeoff_n, None)
            self._contest.bakes = True
            detail = f"a background learner starts, as every {self.settings.every_n:,} examples"
            self._step("started", detail, offset, example.event_time, None)

    def _answer(self, host: Host, signal: DriftSignal) -> str:
        return "none"


class Recall(Exchanging):
    """Models of the past, kept at each confirmed change, tried at the next ones.

    What is kept is the model as it was before the estimated change began: at the confirmation it
    has learned of both concepts. So copies are made as the log goes by, and few are held.
    """

    def __init__(self, settings: ResponseSettings) -> None:
        super().__init__(settings)
        self._copies: deque[tuple[int, Host]] = deque(maxlen=4)
        self._past: deque[Host] = deque(maxlen=settings.memory_n)
        self._recent: deque[tuple[int, Example]] = deque(maxlen=_N_RECENT)
        self._trial: DriftSignal | None = None
        self._trial_until = 0

    @property
    def _every_n(self) -> int:
        return max(1, self.settings.bakeoff_n // 4)

    def _room(self) -> int:
        # Copies are made half as often as comparisons end, and trials repeated twice as often.
        return min(super()._room(), self._every_n - self.n % self._every_n)

    def _learn(self, host: Host, examples: list[Example], offsets: list[int]) -> None:
        host.learn(examples, offsets)
        self._recent.extend(zip(offsets, examples, strict=True))

    def _due(self, host: Host, example: Example, offset: int) -> None:
        super()._due(host, example, offset)
        if self.n % self._every_n:
            return
        if self._trial is not None:
            self._try(host, self._trial, offset, example.event_time)
            if self._trial is not None and self.n >= self._trial_until:
                detail = f"none of {len(self._past):,} past models is better than the present one"
                self._step("kept", detail, offset, example.event_time, self._trial)
                self._trial = None
        if self.n % (4 * self._every_n) == 0:
            self._copies.append((offset, copy_of(host)))

    def _answer(self, host: Host, signal: DriftSignal) -> str:
        if signal.level is not DriftLevel.CONFIRMED:
            return "none"
        since = signal.since or 0
        self._trial, self._trial_until = signal, self.n + 2 * self.settings.bakeoff_n
        back = self._try(host, signal, signal.position, signal.event_time)
        before = [model for offset, model in self._copies if offset < since]
        if before:
            self._past.append(before[-1])
        if not self._past:
            self._trial = None
        return back or f"recall: {len(self._past):,} past models are tried on what comes"

    def _try(self, host: Host, signal: DriftSignal, offset: int, time: float) -> str:
        recent = [example for place, example in self._recent if place >= (signal.since or 0)]
        present = losses(host, recent)
        if len(present) < _N_RECENT_MIN:
            return ""
        gains = [
            paired([a - b for a, b in zip(present, losses(past, recent), strict=True)])
            for past in self._past
        ]
        best = max(range(len(gains)), key=lambda i: gains[i][0], default=None)
        if best is None or gains[best][1] <= _SURE_OF_BEST:
            return ""
        self._exchange(host, copy_of(self._past[best]), signal)
        self._trial = None
        detail = (
            f"past model {best + 1} of {len(gains)} is back: mean loss lower by "
            f"{gains[best][0]:.4f} over the {len(present):,} labels since the change"
        )
        self._step("recalled", detail, offset, time, signal)
        return f"recall: {detail}"


def copy_of(host: Host) -> Host:
    """Give a learner with a copy of the model, which can be kept or given away."""
    kept = host.sibling()
    kept.adopt(copy.deepcopy(host))
    return kept


_POLICIES: dict[Policy, type[Response]] = {
    Policy.RETRAIN: Retrain,
    Policy.RESET: Reset,
    Policy.RECALL: Recall,
    Policy.SCHEDULE: Scheduled,
    Policy.ROLLING: Rolling,
}


def respond(settings: ResponseSettings | None) -> Response | None:
    """Give the configured policy, ready; None where nothing is ever done."""
    if settings is None or settings.policy is Policy.ALERT:
        return None
    return _POLICIES[settings.policy](settings)
