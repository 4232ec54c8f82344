"""Features of entities computed once more, plainly: each row looks at all rows before it.

Written from the documentation alone, for one window of count and mean and one risk an entity.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from models.features.specs import EntitySpec, name_of

Truth = dict[str, dict[str, float]]
"""Features by event id and name."""


class Row(NamedTuple):
    """What an entity's windows need of an event."""

    event_id: str
    time: float
    entity: object
    value: float


def windows_of(spec: EntitySpec, rows: Iterable[Row]) -> Truth:
    """Compute the windows of rows in the order of their log; of an id that came before, nothing."""
    (window,) = spec.windows
    found: Truth = {}
    past: dict[object, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        if row.event_id in found:
            continue
        own = past[row.entity]
        own.append((row.time, row.value))
        found[row.event_id] = features = {}
        for seconds in window.windows:
            inside = [value for at, value in own if row.time - seconds < at <= row.time]
            length = name_of(seconds)
            features[f"{spec.entity}.count.{length}"] = float(len(inside))
            features[f"{spec.entity}.{window.value}.mean.{length}"] = math.fsum(inside) / len(
                inside
            )
    return found


def risks_of(spec: EntitySpec, place: int, log: Iterable[Mapping[str, Any]]) -> Truth:
    """Compute the risk of every event from what stands before it in a partition of its log.

    `place` is where the entity stands among an event's values.
    """
    (risk,) = spec.risks
    found: Truth = {}
    past: dict[object, list[tuple[float, str]]] = defaultdict(list)
    known: dict[str, tuple[int, bool]] = {}
    for message in log:
        event_id = message["event_id"]
        if message["kind"] == "label":
            fact = message["revision"], message["positive"]
            known[event_id] = max(fact, known.get(event_id, (0, False)))
        elif event_id not in found:
            time, own = message["event_time"], past[message["values"][place]]
            own.append((time, event_id))
            end = time - risk.delay
            found[event_id] = features = {}
            for seconds in risk.windows:
                inside = [who for at, who in own if end - seconds < at <= end]
                n_positive = sum(known.get(who, (0, False))[1] for who in inside)
                length = name_of(seconds)
                features[f"{spec.entity}.risk_count.{length}"] = float(len(inside))
                features[f"{spec.entity}.risk.{length}"] = (
                    n_positive / len(inside) if inside else 0.0
                )
    return found


def alike(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether features are the same, sums of floats to nine digits after the point."""
    return a.keys() == b.keys() and all(
        value == b[name]
        or (isinstance(value, float) and math.isclose(value, b[name], rel_tol=0.0, abs_tol=1e-9))
        for name, value in a.items()
    )
