"""The card transactions, and what a brute force computes of them: numpy over sorted columns."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DAY_S = 86_400.0


class Cards(NamedTuple):
    """Columns of the transactions, in the order of their times."""

    event_id: list[str]
    time: Floats
    customer: list[str]
    terminal: list[str]
    amount: Floats
    fraud: Floats


def read_cards(path: Path) -> Cards:
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    moments = [datetime.fromisoformat(row["TX_DATETIME"]) for row in rows]
    return Cards(
        [row["TRANSACTION_ID"] for row in rows],
        np.array([moment.replace(tzinfo=UTC).timestamp() for moment in moments]),
        [row["CUSTOMER_ID"] for row in rows],
        [row["TERMINAL_ID"] for row in rows],
        np.array([float(row["TX_AMOUNT"]) for row in rows]),
        np.array([float(row["TX_FRAUD"]) for row in rows]),
    )


def by_entity(entities: list[str]) -> list[NDArray[np.int64]]:
    """Give the rows of each entity, in order."""
    codes = np.unique(np.array(entities), return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.nonzero(np.diff(codes[order]))[0] + 1)


def window_truth(cards: Cards, window_s: float) -> tuple[Floats, Floats]:
    """Count, and mean of the amount, of each row's customer over `(t - window, t]`."""
    counts, means = np.zeros(len(cards.time)), np.zeros(len(cards.time))
    for rows in by_entity(cards.customer):
        t, amount = cards.time[rows], cards.amount[rows]
        # Rows up to this one: of those at the very same moment, later ones are not known yet.
        earlier = np.arange(len(t))[None, :] <= np.arange(len(t))[:, None]
        inside = earlier & (t[None, :] > t[:, None] - window_s)
        counts[rows] = inside.sum(axis=1)
        means[rows] = inside @ amount / inside.sum(axis=1)
    return counts, means


def risk_truth(cards: Cards, window_s: float, delay_s: float) -> tuple[Floats, Floats]:
    """Count, and share of frauds, of each row's terminal over `(t - delay - window, t - delay]`."""
    counts, rates = np.zeros(len(cards.time)), np.zeros(len(cards.time))
    for rows in by_entity(cards.terminal):
        t, fraud = cards.time[rows], cards.fraud[rows]
        end = t[:, None] - delay_s
        inside = (t[None, :] <= end) & (t[None, :] > end - window_s)
        n = inside.sum(axis=1)
        counts[rows] = n
        rates[rows] = np.divide(inside @ fraud, n, out=np.zeros(len(t)), where=n > 0)
    return counts, rates
