"""On 60 days of card payments every feature of every row is what a brute force says."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.features import EntityFold, EntitySpec, LabelFact, RiskSpec, Stat, WindowSpec, hash_of
from tests.unit.models.features.card_days import (
    DAY_S,
    Cards,
    read_cards,
    risk_truth,
    window_truth,
)

WINDOWS = (DAY_S, 7 * DAY_S, 30 * DAY_S)
DELAY_S = 7 * DAY_S


@pytest.fixture(scope="module")
def cards(data_file: Callable[[str], Path]) -> Cards:
    return read_cards(data_file("card_transactions_60d.csv.gz"))


def test_customer_windows_are_exact(cards: Cards) -> None:
    """Counts to the unit, means to 1e-9, for 1, 7 and 30 days."""
    spec = WindowSpec(WINDOWS, (Stat.COUNT, Stat.MEAN), value="amount")
    fold = EntityFold(EntitySpec("customer", (spec,)), ["amount"])
    columns = zip(cards.customer, cards.time, cards.event_id, cards.amount, strict=True)
    found = np.array([fold.observe(c, t, hash_of(i), (a,)) for c, t, i, a in columns])
    assert len(found) > 500_000
    for k, window in enumerate(WINDOWS):
        counts, means = window_truth(cards, window)
        np.testing.assert_array_equal(found[:, 2 * k], counts)
        np.testing.assert_allclose(found[:, 2 * k + 1], means, rtol=0, atol=1e-9)


def test_terminal_risk_is_exact(cards: Cards) -> None:
    """Counts and fraud rates over 1, 7 and 30 days that ended 7 days ago, labels just in time."""
    fold = EntityFold(EntitySpec("terminal", (), (RiskSpec(WINDOWS, DELAY_S),)), [])
    on_their_way: deque[LabelFact] = deque()
    found = np.zeros((len(cards.time), 2 * len(WINDOWS)))
    rows = zip(cards.terminal, cards.time, cards.event_id, cards.fraud, strict=True)
    for row, (terminal, time, event_id, fraud) in enumerate(rows):
        while on_their_way and on_their_way[0].event_time + DELAY_S <= time:
            fold.learn(on_their_way.popleft())
        found[row] = fold.observe(terminal, time, hash_of(event_id), ())
        on_their_way.append(LabelFact(terminal, hash_of(event_id), time, 1, bool(fraud)))
    for k, window in enumerate(WINDOWS):
        counts, rates = risk_truth(cards, window, DELAY_S)
        np.testing.assert_array_equal(found[:, 2 * k], counts)
        np.testing.assert_allclose(found[:, 2 * k + 1], rates, rtol=0, atol=1e-9)
    assert found[:, -1].max() > 0.5, "no terminal was ever risky"
