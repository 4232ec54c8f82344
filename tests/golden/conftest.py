"""A real stream for the golden tests."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from models import Features

# Enough for the adaptive tree to grow, drift and prune, and over in seconds.
N = 12_000


@pytest.fixture(scope="session")
def elec2(data_dir: Path) -> list[tuple[Features, bool]]:
    """New South Wales electricity: six numbers, and whether the price goes up."""
    with gzip.open(data_dir / "elec2.csv.gz", "rt") as file:
        rows = [row for _, row in zip(range(N), csv.DictReader(file), strict=False)]
    return [
        (
            {name: float(value) for name, value in row.items() if name not in ("date", "class")},
            row["class"] == "UP",
        )
        for row in rows
    ]
