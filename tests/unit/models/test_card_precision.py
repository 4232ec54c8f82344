"""Precision by card and day equals the Handbook's own procedure."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest

from models.card_precision import CardPrecision

DAY = 86_400.0
Payment = tuple[float, str, float, bool, float]


def payments(seed: int) -> list[Payment]:
    """Make 20 days of payments; labels come after 3 days."""
    rng = random.Random(seed)
    made = []
    for _ in range(3_000):
        time = rng.uniform(0, 20 * DAY)
        fraud = rng.random() < 0.02
        score = round(rng.gauss(1.0 if fraud else 0.0, 1.0), 1)
        made.append((time, f"c{rng.randrange(200)}", score, fraud, time + 3 * DAY))
    return made


def by_the_book(log: list[Payment], top: int) -> list[int]:
    """Count what is found each day, as plainly as it can be written."""
    days: dict[int, list[Payment]] = defaultdict(list)
    for payment in log:
        days[int(payment[0] // DAY)].append(payment)
    detected: list[str] = []
    found_each_day = []
    for day in sorted(days):
        known = [card for _, card, _, fraud, label_time in log if fraud and label_time <= day * DAY]
        best: dict[str, float] = {}
        frauds = set()
        for _, card, score, fraud, _ in days[day]:
            if card in detected or card in known:
                continue
            best[card] = max(best.get(card, score), score)
            if fraud:
                frauds.add(card)
        ranking = sorted(best, key=lambda card: (-best[card], card))[:top]
        found = [card for card in ranking if card in frauds]
        detected += found
        found_each_day.append(len(found))
    return found_each_day


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("top", [1, 10, 500])
def test_it_is_the_procedure_of_the_handbook(seed: int, top: int) -> None:
    """Whatever the order in which truths come."""
    log = payments(seed)
    cards = CardPrecision(top)
    for time, card, score, fraud, label_time in random.Random(seed).sample(log, len(log)):
        cards.observe(card, time, score, fraud, label_time)
    expected = by_the_book(log, top)
    assert [day.n_found for day in cards.days()] == expected
    assert cards.precision() == pytest.approx(sum(expected) / (top * 20))
    values = cards.values()
    assert values["days"] == 20
    assert 0 < values["no_skill"] <= values["precision"] <= values["perfect"]


def test_no_payment_is_no_precision() -> None:
    """And no division by zero."""
    assert CardPrecision(5).values()["precision"] == 0.0
