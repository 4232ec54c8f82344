"""What the chaos feeds: card payments and their labels, in all the ways that they come.

A record that must be refused says so itself, in a header that the workers do not read: so the
oracle needs nothing but the topics.
"""

from __future__ import annotations

import heapq
import json
import random
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from kafka import KafkaProducer

EXPECTED_REASON = "expected-reason"
LAST = "last"
"""Ids of the events that end a run begin so: nothing that comes after them makes them negatives."""

LATE_S, TTL_S, NEGATIVE_AFTER_S = 20.0, 3600.0, 60.0
TICK_S = 0.05
N_SHOPS = 50


class Fed(NamedTuple):
    """A record to send at a time; `reason` is why it must become a dead letter, if it must."""

    at: float
    topic: str
    value: bytes | None
    key: bytes | None = None
    reason: str = ""


def payments(rng: random.Random, first: float, rate: float) -> Iterator[list[Fed]]:
    """Make payments for ever, each with all records about it: its own, and those of its labels."""
    n, t = 0, first
    while True:
        t += rng.expovariate(rate)
        yield list(_payment(rng, n, t))
        n += 1


def _payment(rng: random.Random, n: int, t: float) -> Iterator[Fed]:
    amount, abroad = round(rng.uniform(1, 500), 2), round(rng.gauss(0, 1), 3)
    features = {"amount": amount, "hour": rng.randrange(24), "abroad": abroad}
    features["shop"] = rng.randrange(N_SHOPS)
    card = f"c{rng.randrange(200)}"
    event = {"id": f"p{n}", "t": t, "card": card, **features}
    key = card.encode()
    yield Fed(t, "events", _json(event), key)
    if rng.random() < 0.01:  # The producer sends it twice.
        yield Fed(t + rng.uniform(0, 5), "events", _json(event), key)
    if rng.random() < 0.02:
        reason, value = mangled(event, rng)
        yield Fed(t, "events", value, key, reason)
    if rng.random() < 0.01:
        body = {"id": f"p{n}", "t": t, "fraud": True}
        reason, bad = rng.choice(
            [("bad_label", {**body, "fraud": "maybe"}), ("out_of_range", {**body, "weight": 5.5})]
        )
        yield Fed(t + 1, "labels", _json(bad), None, reason)
    for delay, label in _labels(rng, n, t, amount > 300 or abroad > 1.5, features):
        # The expired ones are said to be late, and come now.
        yield Fed(t + min(delay, 100.0), "labels", _json({"t": t + delay, **label}))


def _labels(
    rng: random.Random, n: int, t: float, fraud: bool, features: dict[str, Any]
) -> list[tuple[float, dict[str, Any]]]:
    kind, delay = rng.random(), rng.uniform(0.5, LATE_S)
    label: dict[str, Any] = {"id": f"p{n}", "fraud": fraud}
    other = {**label, "fraud": not fraud}
    if rng.random() < 0.1:
        label["weight"] = rng.choice([0.5, 2.0])
    if kind < 0.45:
        return [(delay, label)]
    if kind < 0.50:  # Repeated.
        return [(delay, label), (delay + rng.uniform(0, 3), label)]
    if kind < 0.57:  # Corrected.
        return [(delay, label), (delay + rng.uniform(0, 3), other)]
    if kind < 0.60:  # Corrected, corrected back, and repeated.
        return [(delay + k, (label, other, label, label)[k]) for k in range(4)]
    if kind < 0.64:  # Before its event.
        return [(-rng.uniform(0, 3), label)]
    if kind < 0.67:  # After the event has become a negative; sometimes they agree.
        return [(rng.uniform(1.2, 1.6) * NEGATIVE_AFTER_S, label)]
    if kind < 0.69:
        return [(delay, {**label, "id": f"nobody{n}"})]
    if kind < 0.72:  # Its own features, and no event; sometimes corrected.
        mine = {**label, **features, "id": f"own{n}"}
        both = [(delay, mine), (delay + 1, {**mine, "fraud": not fraud})]
        return both[: rng.choice([1, 2])]
    if kind < 0.74:  # Its own features, perhaps before its event.
        return [(rng.uniform(-2, 2), {**label, **features})]
    if kind < 0.75:
        return [(TTL_S + rng.uniform(1, 60), label)]
    return []  # Most honest payments.


def mangled(event: dict[str, Any], rng: random.Random) -> tuple[str, bytes | None]:
    """Break a payment in one of the ways that producers find; with the reason code."""
    good = _json(event)
    without_id = {name: value for name, value in event.items() if name != "id"}
    ways: list[tuple[str, bytes | None]] = [
        ("null_value", None),
        ("not_json", good[: rng.randrange(1, len(good) - 1)]),
        ("not_json", b"\xff\xfe binary"),
        ("not_an_object", b"[1, 2, 3]"),
        ("missing_field", _json(without_id)),
        ("wrong_type", _json(event | {"amount": "12"})),
        ("out_of_range", _json(event | {"hour": 24})),
        ("not_finite", _json(event | {"abroad": float("nan")})),
        ("too_large", _json(event | {"note": "x" * 70_000})),
    ]
    return rng.choice(ways)


def last_events(partitions: int, t: float) -> list[tuple[int, bytes]]:
    """Make an event for each shop, so late that all before are silent for long enough.

    So each partition has one, of the events and of the log by shop.
    """
    features = {"amount": 1.0, "hour": 0, "abroad": 0.0}
    return [
        (n % partitions, _json({"id": f"{LAST}{n}", "t": t, "card": "c0", "shop": n, **features}))
        for n in range(N_SHOPS)
    ]


class Feeder(threading.Thread):
    """Sends payments and labels at their times, until told to stop.

    What Kafka does not take in a long outage is given up: the topics are what counts.
    """

    def __init__(self, bootstrap: str, app: str, rng: random.Random, rate: float) -> None:
        super().__init__(name="feeder", daemon=True)
        self._app = app
        self._rng = rng
        self._rate = rate
        self._stopped = threading.Event()
        self._producer = KafkaProducer(
            bootstrap_servers=bootstrap, acks="all", retries=1000, max_block_ms=120_000
        )
        self.n_sent = 0
        self.failed: Exception | None = None

    def run(self) -> None:
        """Send what is due, in the order of the times."""
        source = payments(self._rng, time.time(), self._rate)
        due: list[tuple[float, int, Fed]] = []
        upcoming = next(source)
        n = 0
        try:
            while not self._stopped.wait(TICK_S):
                now = time.time()
                # A while ahead, since labels may come before their events.
                while upcoming[0].at < now + 5.0:
                    for record in upcoming:
                        n += 1
                        heapq.heappush(due, (record.at, n, record))
                    upcoming = next(source)
                while due and due[0][0] <= now:
                    self._send(heapq.heappop(due)[2])
        except Exception as error:
            self.failed = error

    def _send(self, record: Fed) -> None:
        headers = [(EXPECTED_REASON, record.reason.encode())] if record.reason else []
        topic = f"{self._app}.{record.topic}"
        self._producer.send(topic, record.value, key=record.key, headers=headers)
        self.n_sent += 1

    def stop(self) -> None:
        """Stop, once what was sent is acknowledged, or given up after the producer's 120 s."""
        self._stopped.set()
        self.join(150.0)
        self._producer.flush(timeout=180.0)

    def finish(self, partitions: int) -> None:
        """Send the last events."""
        # The broker refuses records of the far future, not those of two minutes ahead.
        t = time.time() + 2 * NEGATIVE_AFTER_S
        for partition, value in last_events(partitions, t):
            self._producer.send(
                f"{self._app}.events", value, partition=partition, timestamp_ms=int(t * 1000)
            )
        self._producer.flush(timeout=60.0)
        self._producer.close()


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()
