"""The stream that the simulation feeds: events, and labels in all the ways that they come."""

from __future__ import annotations

import json
import random
from typing import Any

from stream.settings import Settings


def settings(
    pipeline: str = "logistic", partitions: int = 2, version_interval: float = 20.0
) -> Settings:
    """A small application whose TTL and grace matter within a run."""
    return Settings(
        app="sim",
        kafka={"partitions": partitions},
        event={"id": "id", "time": "t", "time_format": "epoch_s", "features": {"x": {}, "y": {}}},
        label={"id": "id", "value": "label", "time": "t", "time_format": "epoch_s"},
        model={"pipeline": pipeline, "rolling_n": 20},
        join={"ttl": 400.0, "early_grace": 30.0, "waiting_max": 50},
        versions={"every_n": 7, "interval": version_interval, "keep": 100},
    )


def records(
    rng: random.Random, n: int, partitions: int = 2, jitter: float = 8.0
) -> list[tuple[str, int, bytes | None]]:
    """Make (topic, partition, value) in the order of their event times, shuffled a little."""
    timed: list[tuple[float, str, int, bytes | None]] = []
    for i in range(n):
        t = 100.0 + 5.0 * i
        x, y = rng.gauss(0, 1), rng.gauss(0, 1)
        event: dict[str, Any] = {"id": f"e{i}", "t": t, "x": x, "y": y}
        partition = rng.randrange(partitions)
        timed.append((t, "events", partition, _json(event)))
        if rng.random() < 0.05:  # The producer sends it twice.
            timed.append((t + 1, "events", rng.randrange(partitions), _json(event)))
        if rng.random() < 0.05:
            timed.append((t, "events", partition, rng.choice([None, b"{", b'{"id": 1}', b"[]"])))
        timed += _labels(rng, i, t, x + y > 0, partitions)
    timed.sort(key=lambda item: (item[0] + rng.uniform(-jitter, jitter), item[1], item[2]))
    return [(topic, partition, value) for _, topic, partition, value in timed]


def _labels(
    rng: random.Random, i: int, t: float, truth: bool, partitions: int
) -> list[tuple[float, str, int, bytes | None]]:
    kind = rng.random()
    delay = rng.uniform(0, 60)
    made = []
    if kind < 0.70:
        made.append((delay, truth, f"e{i}"))
    elif kind < 0.78:
        made += [(delay, truth, f"e{i}"), (delay + 3, truth, f"e{i}")]
    elif kind < 0.84:
        made += [(delay, truth, f"e{i}"), (delay + 3, not truth, f"e{i}")]
    elif kind < 0.88:
        made.append((delay, truth, f"nobody{i}"))
    elif kind < 0.92:
        made.append((rng.uniform(401, 430), truth, f"e{i}"))
    labels: list[tuple[float, str, int, bytes | None]] = [
        (
            t + after,
            "labels",
            rng.randrange(partitions),
            _json({"id": event_id, "t": t + after, "label": value}),
        )
        for after, value, event_id in made
    ]
    if kind > 0.97:
        labels.append((t, "labels", 0, b'{"id": "e0", "t": 1, "label": "maybe"}'))
    return labels


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()
