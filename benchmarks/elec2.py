"""The elec2 records as every contender reads them: events, and their labels 500 events later."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import orjson
from confluent_kafka import KafkaError, Message, Producer

FILE = "elec2.csv.gz"
LABEL_DELAY_EVENTS = 500
FEATURES = ("day", "period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer")

Features = dict[str, float]


class DataMissingError(Exception):
    """The data file is not where it should be; the message says what to set."""


class Elec2:
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

    def publish(self, bootstrap: str, events: str, labels: str, n: int) -> None:
        """Write n events and their labels, in the order in which producers would have."""
        failures: list[KafkaError] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failures.append(error)

        producer = Producer(bulk_producer_config(bootstrap) | {"on_delivery": delivered})
        for i in range(n + LABEL_DELAY_EVENTS):
            if i < n:
                key, value = self.event(i)
                _produce(producer, events, key, value)
            if i >= LABEL_DELAY_EVENTS:
                key, value = self.label(i - LABEL_DELAY_EVENTS)
                _produce(producer, labels, key, value)
            if i % 1000 == 0:
                producer.poll(0)
        producer.flush()
        if failures:
            raise RuntimeError(f"the broker did not take {len(failures)} records: {failures[0]}")


def bulk_producer_config(bootstrap: str) -> dict[str, str | int | bool]:
    """Properties of a producer of backlogs: in order, large batches, only failures called back."""
    return {
        "bootstrap.servers": bootstrap,
        "linger.ms": 20,
        "enable.idempotence": True,
        "batch.num.messages": 10_000,
        "queue.buffering.max.messages": 200_000,
        "delivery.report.only.error": True,
    }


def _produce(producer: Producer, topic: str, key: bytes, value: bytes) -> None:
    while True:
        try:
            producer.produce(topic, value, key)
        except BufferError:
            producer.poll(0.1)
        else:
            return


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
