"""The elec2 records: events, and their labels 500 events later."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import orjson

from benchmarks.records import Records

FILE = "elec2.csv.gz"
FEATURES = ("day", "period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer")

Features = dict[str, float]


class DataMissingError(Exception):
    """The data file is not where it should be; the message says what to set."""


class Elec2(Records):
    """The rows of the file, repeated with fresh ids for as long as asked."""

    def __init__(self) -> None:
        rows = list(_rows())
        self.features: list[Features] = [
            {name: int(row[name]) if name == "day" else float(row[name]) for name in FEATURES}
            for row in rows
        ]
        self.truths = [row["class"] == "UP" for row in rows]
        self._tails = [orjson.dumps(features)[1:] for features in self.features]

    def __len__(self) -> int:
        return len(self.truths)

    def event(self, i: int) -> tuple[bytes, bytes]:
        """Key and value of the i-th event."""
        return b"%d" % i, b'{"id":"%d",' % i + self._tails[i % len(self)]

    def label(self, i: int) -> tuple[bytes, bytes]:
        """Key and value of the i-th event's label."""
        truth = b"UP" if self.truths[i % len(self)] else b"DOWN"
        return b"%d" % i, b'{"id":"%d","class":"%b"}' % (i, truth)


def _rows() -> Iterator[dict[str, str]]:
    folders = [os.environ.get("DRIFTLINE_DATA"), "data"]
    path = next((Path(f) / FILE for f in folders if f and (Path(f) / FILE).is_file()), None)
    if path is None:
        where = folders[0] or "DRIFTLINE_DATA is not set, and ./data"
        raise DataMissingError(
            f"{where}: no {FILE} there. Set DRIFTLINE_DATA to the folder that holds it "
            "(the Electricity data set as a CSV with the columns "
            f"{', '.join((*FEATURES, 'class'))})"
        )
    with gzip.open(path, "rt") as file:
        yield from csv.DictReader(file)
