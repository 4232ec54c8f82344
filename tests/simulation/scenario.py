"""The stream that the simulation feeds: events, and labels in all the ways that they come."""

from __future__ import annotations

import json
import random
from typing import Any

from stream.settings import Settings

WINDOW_LENGTHS_S = (20.0, 150.0)
LATENESS_S = 30.0
N_CARDS = 4
N_SHOPS = 3
END_S = 1000.0
"""Time of the last events: by then every other one has been silent for long enough."""


_OF_CARDS = {"entity": "c", "value": "x", "windows": WINDOW_LENGTHS_S, "stats": ["count", "sum"]}
FEATURES: dict[str, dict[str, Any]] = {
    "": {},
    "cards": {"window": [_OF_CARDS], "lateness": LATENESS_S},
    "cards and shops": {
        "window": [_OF_CARDS, {**_OF_CARDS, "entity": "shop", "stats": ["count"]}],
        "risk": [{"entity": "shop", "windows": [200.0], "delay": 20.0}],
        "lateness": LATENESS_S,
    },
}


DRIFT: dict[str, Any] = {
    "segment": "shop",
    "segments_max": 2,
    "budget": "1 per day",
    "detector": "river.drift:PageHinkley",
    "options": {"min_instances": 2, "delta": 0.0, "threshold": 0.4},
}
"""So jumpy that it fires within a run, in all of the stream and in segments of it."""


def settings(
    pipeline: str = "logistic",
    partitions: int = 2,
    version_interval: float = 20.0,
    corrections: str = "learn",
    windows: str = "",
    negative_after: float = 150.0,
) -> Settings:
    """A small application whose TTL, grace and silence matter within a run."""
    return Settings(
        app="sim",
        kafka={"partitions": partitions},
        event={
            "id": "id",
            "time": "t",
            "time_format": "epoch_s",
            "entity": "c",
            "features": {"x": {}, "y": {}, "shop": {"type": "integer", "required": False}},
        },
        features=FEATURES[windows],
        label={
            "id": "id",
            "value": "label",
            "time": "t",
            "time_format": "epoch_s",
            "weight": "w",
            "weight_max": 5.0,
            "features": True,
            "corrections": corrections,
        },
        model={"pipeline": pipeline, "rolling_n": 20},
        join={
            "ttl": 400.0,
            "early_grace": 30.0,
            "waiting_max": 50,
            "negative_after": negative_after,
            "negative_weight": 0.25,
        },
        versions={"every_n": 7, "interval": version_interval, "keep": 100},
        drift=DRIFT,
    )


def records(
    rng: random.Random,
    n: int,
    partitions: int = 2,
    jitter: float = 8.0,
    step: float = 5.0,
    *,
    shops: bool = False,
) -> list[tuple[str, int, bytes | None]]:
    """Make (topic, partition, value) in the order of their event times, shuffled a little."""
    timed: list[tuple[float, str, int, bytes | None]] = []
    for i in range(n):
        t = 100.0 + step * i
        x, y = rng.gauss(0, 1), rng.gauss(0, 1)
        partition = rng.randrange(partitions)
        # Not drawn: seeds that once failed keep their meaning.
        card = partition + partitions * (i % (N_CARDS // 2))
        event: dict[str, Any] = {"id": f"e{i}", "t": t, "c": card, "x": x, "y": y}
        if shops:
            event["shop"] = i % N_SHOPS
        timed.append((t, "events", partition, _json(event)))
        if rng.random() < 0.05:  # The producer sends it twice.
            timed.append((t + 1, "events", rng.randrange(partitions), _json(event)))
        if rng.random() < 0.05:
            timed.append((t, "events", partition, rng.choice([None, b"{", b'{"id": 1}', b"[]"])))
        for after, label in _labels(rng, i, x + y > 0):
            body = _json({"t": t + after, **label})
            timed.append((t + after, "labels", rng.randrange(partitions), body))
        if rng.random() < 0.03:
            bad = rng.choice([b'{"id":"e0","t":1,"label":"maybe"}', _bad_weight(i, t)])
            timed.append((t, "labels", 0, bad))
    timed.sort(key=lambda item: (item[0] + rng.uniform(-jitter, jitter), item[1], item[2]))
    for partition in range(partitions):
        last = _json({"id": f"last{partition}", "t": END_S, "c": partition, "x": 0.0, "y": 0.0})
        timed.append((END_S, "events", partition, last))
    return [(topic, partition, value) for _, topic, partition, value in timed]


def _labels(rng: random.Random, i: int, truth: bool) -> list[tuple[float, dict[str, Any]]]:
    """Make the labels of event i, with their delays."""
    kind, delay = rng.random(), rng.uniform(0, 60)
    label: dict[str, Any] = {"id": f"e{i}", "label": truth}
    other = {**label, "label": not truth}
    if rng.random() < 0.2:
        label["w"] = rng.choice([0.5, 2.0])
    own = {"x": rng.gauss(0, 1), "y": rng.gauss(0, 1)}
    if kind < 0.45:
        return [(delay, label)]
    if kind < 0.50:  # Repeated.
        return [(delay, label), (delay + rng.uniform(0, 6), label)]
    if kind < 0.60:  # Corrected.
        return [(delay, label), (delay + rng.uniform(0, 6), other)]
    if kind < 0.65:  # Corrected, corrected back, and repeated.
        return [(delay + 3 * k, (label, other, label, label)[k]) for k in range(4)]
    if kind < 0.72:  # Long after the event has become a negative.
        return [(rng.uniform(160, 390), label), (395, other)]
    if kind < 0.76:
        return [(delay, {**label, "id": f"nobody{i}"})]
    if kind < 0.80:  # Its own features, and no event; sometimes corrected.
        mine = {**label, **own, "id": f"own{i}"}
        return [(delay, mine), (delay + 4, {**mine, "label": not truth})][: rng.choice([1, 2])]
    if kind < 0.85:  # Its own features, perhaps before its event.
        return [(rng.uniform(-6, 6), {**label, **own}), (delay + 10, rng.choice([label, other]))]
    if kind < 0.89:
        return [(rng.uniform(401, 430), label)]
    return []  # Most honest payments.


def _bad_weight(i: int, t: float) -> bytes:
    return _json({"id": f"e{i}", "t": t, "label": True, "w": 5.5})


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()
