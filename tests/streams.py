"""Streams for parity with River: synthetic ones by seed, real ones from DRIFTLINE_DATA."""

from __future__ import annotations

import csv
import gzip
import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from river.datasets import synth

Row = tuple[dict[Any, Any], Any]


def agrawal(n: int, seed: int = 1) -> Iterator[Row]:
    """Loan applicants: six numbers and three codes; two classes."""
    stream = synth.Agrawal(classification_function=5, seed=seed, perturbation=0.05)
    return ((x, bool(y)) for x, y in stream.take(n))


def random_rbf(n: int, seed: int = 1) -> Iterator[Row]:
    """Clouds of points, whose features are named by integers; two classes."""
    stream = synth.RandomRBF(seed_model=seed, seed_sample=seed + 1, n_features=10, n_centroids=20)
    return ((x, bool(y)) for x, y in stream.take(n))


def led(n: int, seed: int = 1) -> Iterator[Row]:
    """Noisy seven-segment displays and seventeen idle segments; ten classes."""
    stream = synth.LED(seed=seed, noise_percentage=0.1, irrelevant_features=True)
    return ((x, int(y)) for x, y in stream.take(n))


def elec2(path: Path, n: int | None = None) -> Iterator[Row]:
    """New South Wales electricity: numbers, and whether the price goes up."""
    for row in _rows(path, n):
        label = row.pop("class") == "UP"
        del row["date"]
        yield {name: float(value) for name, value in row.items()}, label


def cards(path: Path, n: int | None = None) -> Iterator[Row]:
    """Card payments: an amount, ids as text, and whether it was fraud, which is rare."""
    for row in _rows(path, n):
        x = {
            "TX_AMOUNT": float(row["TX_AMOUNT"]),
            "CUSTOMER_ID": row["CUSTOMER_ID"],
            "TERMINAL_ID": row["TERMINAL_ID"],
        }
        yield x, row["TX_FRAUD"] == "1"


def friedman(n: int, seed: int = 1) -> Iterator[Row]:
    """Ten numbers, five of which decide a target."""
    return iter(synth.Friedman(seed=seed).take(n))


def coded(n: int, seed: int = 1) -> Iterator[Row]:
    """Numbers and two codes that shift the target; `kind` is one of a few, `shop` one of many."""
    rng = random.Random(seed)
    for x, y in synth.Friedman(seed=seed).take(n):
        kind, shop = rng.randrange(4), rng.randrange(30)
        shift = 6.0 * (kind == 2) - 4.0 * (shop % 5 == 1)
        yield {"a": x[0], "b": 10.0 * x[1], "kind": kind, "c": x[3], "shop": shop}, y + shift


def elec2_price(path: Path, n: int | None = None) -> Iterator[Row]:
    """New South Wales electricity: the price by demand and time; it drifts."""
    for row in _rows(path, n):
        del row["date"], row["class"]
        price = float(row.pop("nswprice"))
        yield {name: float(value) for name, value in row.items()}, price


def amounts(path: Path, n: int | None = None) -> Iterator[Row]:
    """Card payments: the amount by who pays where, ids as text."""
    for row in _rows(path, n):
        customer, terminal = row["CUSTOMER_ID"], row["TERMINAL_ID"]
        hour = int(row["TX_DATETIME"][11:13])
        yield {"customer": customer, "terminal": terminal, "hour": hour}, float(row["TX_AMOUNT"])


def with_gaps(
    stream: Iterable[Row], seed: int, newcomer: Callable[[random.Random], Any]
) -> Iterator[Row]:
    """Let features go missing and change their order; now and then there is one never seen."""
    rng = random.Random(seed)
    for i, (x, y) in enumerate(stream):
        names = list(x)
        if i % 3 == 1:
            names = [name for name in names if rng.random() < 0.8]
            rng.shuffle(names)
        changed = {name: x[name] for name in names}
        if i % 7 == 3:
            changed[f"new{rng.randrange(20)}"] = newcomer(rng)
        yield changed, y


def _rows(path: Path, n: int | None) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt") as file:
        yield from itertools.islice(csv.DictReader(file), n)
