"""The streams of the benchmark of estimators: synthetic ones and real ones, classes and numbers."""

from __future__ import annotations

import csv
import gzip
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river.datasets import synth

Row = tuple[dict[Any, Any], Any]


@dataclass(frozen=True)
class Stream:
    """A stream of events with labels at once; `rows(with_text)` starts it anew."""

    name: str
    rows: Callable[[bool], Iterator[Row]]
    is_regression: bool = False

    def take(self, n: int, *, with_text: bool) -> Iterator[Row]:
        """The first n rows; without text, features that are text are left out."""
        return itertools.islice(self.rows(with_text), n)


def table_of(rows: Sequence[Row]) -> tuple[NDArray[np.float64], list[int]]:
    """Lay rows out as numbers, with how many categories each column has, 0 for a number.

    Text becomes the number of its category, in sorted order.
    """
    columns = [_column([x[name] for x, _ in rows]) for name in rows[0][0]]
    return np.column_stack([values for values, _ in columns]), [n for _, n in columns]


def _column(values: list[Any]) -> tuple[list[float], int]:
    if not isinstance(values[0], str):
        return [float(value) for value in values], 0
    codes = {category: float(code) for code, category in enumerate(sorted(set(values)))}
    return [codes[value] for value in values], len(codes)


def _agrawal(with_text: bool) -> Iterator[Row]:
    stream = synth.Agrawal(classification_function=5, seed=1, perturbation=0.05)
    return ((x, bool(y)) for x, y in stream)


def _random_rbf(with_text: bool) -> Iterator[Row]:
    stream = synth.RandomRBF(seed_model=1, seed_sample=2, n_features=20, n_centroids=50)
    return (({f"f{i}": value for i, value in x.items()}, bool(y)) for x, y in stream)


def _elec2(with_text: bool) -> Iterator[Row]:
    for row in _file("elec2.csv.gz"):
        label = row.pop("class") == "UP"
        del row["date"]
        yield {name: float(value) for name, value in row.items()}, label


def _friedman(with_text: bool) -> Iterator[Row]:
    return iter(synth.Friedman(seed=1))


def _elec2_price(with_text: bool) -> Iterator[Row]:
    for row in _file("elec2.csv.gz"):
        del row["date"], row["class"]
        price = float(row.pop("nswprice"))
        yield {name: float(value) for name, value in row.items()}, price


def _cards(with_text: bool) -> Iterator[Row]:
    for row in _file("card_transactions_60d.csv.gz"):
        time = datetime.fromisoformat(row["TX_DATETIME"])
        x: dict[str, Any] = {
            "amount": float(row["TX_AMOUNT"]),
            "hour": time.hour,
            "weekday": time.weekday(),
            "is_night": time.hour < 6,
        }
        if with_text:
            x["terminal_group"] = f"t{int(row['TERMINAL_ID']) % 50}"
        yield x, row["TX_FRAUD"] == "1"


def _file(name: str) -> Iterator[dict[str, str]]:
    with gzip.open(Path(os.environ["DRIFTLINE_DATA"]) / name, "rt") as file:
        yield from csv.DictReader(file)


STREAMS = [
    Stream("agrawal", _agrawal),
    Stream("rbf", _random_rbf),
    Stream("elec2", _elec2),
    Stream("cards", _cards),
    Stream("friedman", _friedman, is_regression=True),
    Stream("elec2-price", _elec2_price, is_regression=True),
]
