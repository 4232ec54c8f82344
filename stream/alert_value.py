"""What alerts are worth: how many, how precise by card and day, and the money they save."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from models.card_precision import CardPrecision
from models.types import Score, Task
from stream.decoding import Event
from stream.messages import decide
from stream.settings import Settings


class Costs(NamedTuple):
    """What an alert costs, and a missed positive: an amount, or a feature of the event."""

    alert: float
    loss: float | str

    @classmethod
    def parse(cls, text: str) -> Costs:
        """Read `ALERT:LOSS`.

        Raises
        ------
        ValueError
            When it is nothing of the kind.

        Examples
        --------
        >>> Costs.parse("5:TX_AMOUNT"), Costs.parse("5:120")
        (Costs(alert=5.0, loss='TX_AMOUNT'), Costs(alert=5.0, loss=120.0))
        """
        alert, colon, loss = text.partition(":")
        if not colon or not loss:
            raise ValueError(f"{text!r} is not ALERT:LOSS, such as 5:120 or 5:TX_AMOUNT")
        try:
            amount: float | str = float(loss)
        except ValueError:
            amount = loss
        return cls(float(alert), amount)

    def loss_of(self, event: Event) -> float:
        """Give what is lost if this event is a positive and nobody is alerted."""
        if isinstance(self.loss, float):
            return self.loss
        return float(event.features.get(self.loss, 0.0))


class AlertValue:
    """Adds up what the alerts of a run were worth.

    Parameters
    ----------
    entity
        Gives the entity of an event; None: no precision by card.
    top
        Cards that can be looked at in a day.
    costs
        Prices; None: no money.

    Attributes
    ----------
    since
        Time of the first event that is added up. Cards that earlier ones gave away stay known.
    """

    def __init__(
        self,
        task: Task,
        *,
        entity: Callable[[Event], str | None] | None = None,
        top: int = 100,
        costs: Costs | None = None,
    ) -> None:
        self.since = -math.inf
        self._task = task
        self._entity = entity
        self._cards = CardPrecision(top)
        self._costs = costs
        self._n = self._n_alerts = self._n_positives = self._n_found = 0
        self._loss = self._prevented = 0.0

    def observe(
        self, event: Event, score: Score, threshold: float, position: int, truth: Any, time: float
    ) -> None:
        """Add an event whose truth came at a time; the rest is as it was decided."""
        entity = None if self._entity is None else self._entity(event)
        if entity is not None and isinstance(score, float | int):
            self._cards.observe(entity, event.event_time, float(score), bool(truth), time)
        if event.event_time < self.since:
            return
        alerts = decide(self._task, score, threshold, position) == "alert"
        self._n += 1
        self._n_alerts += alerts
        self._n_positives += truth
        self._n_found += alerts and truth
        if self._costs is not None and truth:
            loss = self._costs.loss_of(event)
            self._loss += loss
            self._prevented += loss if alerts else 0.0

    def values(self) -> dict[str, Any]:
        """Give what was added up."""
        found: dict[str, Any] = {
            "events": self._n,
            "alerts": self._n_alerts,
            "alert_rate": self._n_alerts / max(1, self._n),
            "positives": self._n_positives,
            "found": self._n_found,
        }
        if self._entity is not None:
            found["cards"] = {"top": self._cards.top, **self._cards.values(self.since)}
        if self._costs is not None:
            handling = self._costs.alert * self._n_alerts
            found["money"] = {
                "lost_without_alerts": self._loss,
                "prevented": self._prevented,
                "still_lost": self._loss - self._prevented,
                "handling": handling,
                "saved": self._prevented - handling,
            }
        return found


def entity_reader(settings: Settings, field: str | None) -> Callable[[Event], str | None]:
    """Give what reads the entity of an event: a feature, or the configured one.

    Raises
    ------
    ValueError
        When there is no such feature, or none is configured.
    """
    if field is None or field == settings.event.entity:
        if settings.event.entity is None:
            raise ValueError("event.entity is not configured: name a feature with --entity")
        return lambda event: event.entity
    if field not in settings.event.features:
        known = ", ".join(settings.event.features)
        raise ValueError(f"{field!r} is no feature; there are {known}")
    return lambda event: None if field not in event.features else str(event.features[field])
