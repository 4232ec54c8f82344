"""Faust's consumer, as far as it can be told without a broker."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from stream.delivery import Arrivals, LaneConsumer


class IdleConsumer(LaneConsumer):
    """A consumer that nothing arrives at."""

    should_stop = False
    flow_active = True

    def __init__(self, app: Any) -> None:
        self.app = app
        self._arrivals = Arrivals()


@pytest.mark.parametrize("stops", [True, False])
def test_a_worker_that_is_told_to_stop_in_a_rebalance_does_not_crash(stops: bool) -> None:
    """Faust cancels what delivers; it must know of that only while the worker goes on."""

    async def run() -> bool:
        app, fetcher = SimpleNamespace(should_stop=False), SimpleNamespace(should_stop=False)
        delivering = asyncio.create_task(IdleConsumer(app)._drain_messages(fetcher))
        await asyncio.sleep(0)
        app.should_stop = stops
        delivering.cancel()
        await asyncio.wait([delivering])
        return delivering.cancelled()

    assert asyncio.run(run()) is not stops
