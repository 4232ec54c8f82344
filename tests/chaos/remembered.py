"""The features of entities that a run's events must have, computed from the logs they came by."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from models.features import EntitySpec
from stream.settings import Settings
from tests.feature_truth import Row, Truth, risks_of, windows_of


class Placed(Protocol):
    """A record of a log."""

    partition: int
    offset: int
    value: bytes | None


def compute(
    settings: Settings, accepted: Iterable[Placed], re_keyed: Mapping[str, Iterable[Placed]]
) -> Truth:
    """Compute all features of all events, in the order of the logs.

    `accepted` are the events that did not become dead letters, `re_keyed` the logs of further
    entities, by entity.
    """
    specs = {spec.entity: spec for spec in settings.features.specs()}
    events = _partitions(accepted)
    found: list[Truth] = []
    own = specs.get(settings.event.entity or "")
    if own is not None:
        found += [windows_of(own, (_row(settings, own, e) for e in part)) for part in events]
    for entity, log in re_keyed.items():
        place = [*settings.event.features].index(entity)
        found += [risks_of(specs[entity], place, part) for part in _partitions(log)]
    computed: Truth = {said[settings.event.id]: {} for part in events for said in part}
    for truth in found:
        for event_id, features in truth.items():
            computed[event_id].update(features)
    return computed


def _partitions(records: Iterable[Placed]) -> list[list[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.offset):
        found[record.partition].append(json.loads(record.value or b""))
    return list(found.values())


def _row(settings: Settings, spec: EntitySpec, said: Mapping[str, Any]) -> Row:
    names, (window,) = settings.event, spec.windows
    value = float(said[window.value or ""])
    return Row(said[names.id], float(said[names.time or ""]), said[spec.entity], value)
