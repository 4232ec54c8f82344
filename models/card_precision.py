"""How much fraud a team finds that can look at so many cards a day."""

from __future__ import annotations

import math
from typing import NamedTuple

_DAY_S = 86_400.0


class Day(NamedTuple):
    """What a day brought: cards that could have been looked at, and the best of them."""

    day: int
    n_cards: int
    n_fraudulent: int
    n_found: int


class CardPrecision:
    """Precision among the `top` cards of each day, as the Fraud Detection Handbook measures it.

    A card counts once a day, by its highest score. It is fraudulent that day if any of its payments
    was. One that was found leaves the list from the next day on, and so does one of whose fraud the
    label has come: nobody needs a model to know it. (Le Borgne, Siblini, Lebichot, Bontempi,
    "Reproducible Machine Learning for Credit Card Fraud Detection", 2022, chapter 4.)

    Examples
    --------
    >>> cards = CardPrecision(top=1)
    >>> day = 86_400.0
    >>> for time, card, score, fraud in (
    ...     (0.0, "a", 0.9, True), (1.0, "a", 0.2, False), (2.0, "b", 0.8, True),
    ...     (day, "a", 0.9, True), (day, "b", 0.7, True), (day, "c", 0.1, False),
    ...     (2 * day, "a", 0.9, True), (2 * day, "c", 0.3, False),
    ... ):
    ...     cards.observe(card, time, score, fraud, label_time=time + 7 * day)
    >>> [day.n_found for day in cards.days()], round(cards.precision(), 3)
    ([1, 1, 0], 0.667)
    """

    def __init__(self, top: int) -> None:
        assert top > 0, top
        self.top = top
        self._days: dict[int, dict[str, tuple[float, bool]]] = {}
        self._known: dict[str, float] = {}

    def observe(
        self, card: str, event_time: float, score: float, fraud: bool, label_time: float
    ) -> None:
        """Add a payment whose truth came at `label_time`, in any order."""
        cards = self._days.setdefault(int(event_time // _DAY_S), {})
        highest, ever = cards.get(card, (-math.inf, False))
        cards[card] = (max(highest, score), ever or fraud)
        if fraud:
            self._known[card] = min(label_time, self._known.get(card, math.inf))

    def days(self) -> list[Day]:
        """Play the days in their order; equal scores are looked at by the card's name."""
        found: set[str] = set()
        played = []
        for day, cards in sorted(self._days.items()):
            start = day * _DAY_S
            left = [
                (-score, card, fraud)
                for card, (score, fraud) in cards.items()
                if card not in found and self._known.get(card, math.inf) > start
            ]
            frauds = [card for _, card, fraud in sorted(left)[: self.top] if fraud]
            found.update(frauds)
            n_fraudulent = sum(fraud for *_, fraud in left)
            played.append(Day(day, len(left), n_fraudulent, len(frauds)))
        return played

    def precision(self) -> float:
        """Give the mean of the days' precisions; 0 without any."""
        return self.values()["precision"]

    def values(self, since: float = -math.inf) -> dict[str, float]:
        """Give the precision, that of cards chosen blindly, and that of a perfect choice.

        Days before `since` are played, and do not count.
        """
        days = [day for day in self.days() if (day.day + 1) * _DAY_S > since]
        n = max(1, len(days))
        blind = sum(
            min(self.top, day.n_cards) * day.n_fraudulent / max(1, day.n_cards) for day in days
        )
        best = sum(min(self.top, day.n_fraudulent) for day in days)
        return {
            "days": float(len(days)),
            "precision": sum(day.n_found for day in days) / (self.top * n),
            "no_skill": blind / (self.top * n),
            "perfect": best / (self.top * n),
        }
