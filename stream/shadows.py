"""Scores that nobody is served by: what challengers would have said of the events just decided.

Why after the commit of the decisions: nobody waits for a shadow, and it must not keep anybody
waiting. They are of events that were decided here for the first time, so of an event and a
challenger there is at most one; those of a batch that a crash came upon are missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from models.types import Task
from stream import topics
from stream.arms import Arms, ScoringArm, plain, sample_place
from stream.decoding import Event
from stream.messages import Pending, decide, encode_json, shadow_of
from stream.ports import Message, Outcome


class _Decided(NamedTuple):
    event: Event
    served: Pending
    place: float


class Shadows:
    """Remembers what was decided until the challengers have scored their samples of it."""

    def __init__(self, arms: Arms, task: Task, partition: int) -> None:
        self._arms = arms
        self._task = task
        self._partition = partition
        self._decided: list[_Decided] = []

    def __bool__(self) -> bool:
        return bool(self._decided)

    def note(self, decided: Iterable[tuple[Event, Pending, bytes | None]]) -> None:
        """Take events with their decisions; one that was decided before is passed by."""
        most = max((arm.arm.shadow for arm in self._arms), default=0.0)
        if not most:
            return
        for event, served, first in decided:
            if first is None and (place := sample_place(event.event_id)) < most:
                self._decided.append(_Decided(event, served, place))

    def forget(self) -> None:
        """Forget what is not scored yet."""
        self._decided = []

    def add_to(self, outcome: Outcome | None) -> Outcome:
        """Publish the scores, with what else there is."""
        if outcome is None:
            outcome = Outcome(durable=False, counts=Counter())
        decided, self._decided = self._decided, []
        for arm in self._arms:
            # Who decides for an entity has said what it says of it.
            shadow, name = arm.arm.shadow, arm.name
            mine = [one for one in decided if one.place < shadow and one.served.arm != name]
            if not mine:
                continue
            try:
                scores = plain(arm.score_many([one.event.features for one in mine]))
            except Exception as error:
                # A pipeline may raise anything; nobody else is concerned.
                arm.note_failure(error)
                outcome.counts["arm_failures", name] += len(mine)
                continue
            arm.note_success()
            self._publish(arm, mine, scores, outcome)
        return outcome

    def _publish(
        self, arm: ScoringArm, decided: list[_Decided], scores: list[Any], outcome: Outcome
    ) -> None:
        task, (version, position, _) = self._task, arm.stamp()
        n_otherwise = 0
        for (event, served, _), score in zip(decided, scores, strict=True):
            event_id = event.event_id
            shadow = shadow_of(task, event_id, served, arm.name, score, version, position)
            body, key = encode_json(shadow), event_id.encode()
            outcome.messages.append(Message(topics.SHADOWS.name, self._partition, key, body))
            said = decide(task, served.score, served.threshold, served.model_position)
            n_otherwise += said != shadow.decision
        outcome.counts["shadow_scores", arm.name] += len(decided)
        outcome.counts["shadow_disagreements", arm.name] += n_otherwise
