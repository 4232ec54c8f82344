"""One agent a topic: whole batches from Faust to the lanes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import faust
from faust.types import TP

from stream.batching import BatchSchema

if TYPE_CHECKING:
    from stream.app import LaneApp


def add_agents(app: LaneApp, topics: Sequence[str]) -> None:
    """Add an agent for each input topic."""
    for name in topics:
        app.agent(app.topic(name, schema=BatchSchema()), name=name)(_deliver_to(app))


def _deliver_to(app: LaneApp) -> Any:
    async def deliver(batches: faust.StreamT[Any]) -> None:
        async for batch in batches:
            app.lanes.deliver(TP(batch.topic, batch.partition), batch.records)

    return deliver
