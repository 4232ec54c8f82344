"""Faust's consumer, as far as it can be told without a broker."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError
from faust.types import TP

from stream.batching import batch_scheduler
from stream.delivery import LaneConsumer
from stream.record_reader import Fetched

FETCHED: Fetched = {
    TopicPartition("events", 0): [SimpleNamespace(offset=7, timestamp=0, timestamp_type=0)]
}


class FakeReader:
    """Fetches what it is given, then nothing."""

    def __init__(self, *fetches: Fetched) -> None:
        self.fetches = list(fetches)
        self.n_seeks = 0

    async def fetch(self) -> Fetched:
        await asyncio.sleep(0)
        if not self.fetches:
            await asyncio.Event().wait()
        return self.fetches.pop(0)


class IdleConsumer(LaneConsumer):
    """A consumer with a reader in place of a broker."""

    should_stop = False
    flow_active = True

    def __init__(self, app: Any) -> None:
        self.app = app
        self.can_resume_flow = asyncio.Event()
        self.scheduler = batch_scheduler(100)()
        self.delivered: list[int] = []
        self.callback = self._take

    async def _take(self, batch: Any) -> None:
        self.delivered.append(batch.offset)

    async def wait(self, event: Any) -> None:
        await event.wait()

    def _to_message(self, tp: TP, record: Any) -> Any:
        return record

    def _tell_member(self) -> None:
        """No group."""


async def turns(n: int = 10) -> None:
    """Let everybody take some turns of the loop."""
    for _ in range(n):
        await asyncio.sleep(0)


def app_with(reader: FakeReader) -> Any:
    return SimpleNamespace(should_stop=False, readers=[reader])


@pytest.mark.parametrize("stops", [True, False])
def test_a_worker_that_is_told_to_stop_in_a_rebalance_does_not_crash(stops: bool) -> None:
    """Faust cancels what delivers; it must know of that only while the worker goes on."""

    async def run() -> bool:
        app, fetcher = app_with(FakeReader()), SimpleNamespace(should_stop=False)
        delivering = asyncio.create_task(IdleConsumer(app)._drain_messages(fetcher))
        await turns()
        app.should_stop = stops
        delivering.cancel()
        await asyncio.wait([delivering])
        return delivering.cancelled()

    assert asyncio.run(run()) is not stops


@pytest.mark.parametrize(("sought", "delivered"), [(False, [7]), (True, [])])
def test_what_was_read_waits_for_the_flow_and_is_dropped_after_a_seek(
    sought: bool, delivered: list[int]
) -> None:
    """A fetch may return while the flow is off: it is of before the rebalance, or of after."""

    async def run() -> list[int]:
        reader = FakeReader(FETCHED)
        consumer = IdleConsumer(app_with(reader))
        delivering = asyncio.create_task(
            consumer._drain_messages(SimpleNamespace(should_stop=False))
        )
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # It reads now.
        consumer.flow_active = False
        await turns()
        assert consumer.delivered == []
        reader.n_seeks += sought
        consumer.flow_active = True
        consumer.can_resume_flow.set()
        await turns()
        delivering.cancel()
        await asyncio.wait([delivering])
        return consumer.delivered

    assert asyncio.run(run()) == delivered


def test_what_a_reader_fails_with_is_told_as_it_is() -> None:
    """And the other readers are stopped."""

    class FailingReader(FakeReader):
        async def fetch(self) -> Fetched:
            raise TopicAuthorizationFailedError("events")

    async def run() -> None:
        app = SimpleNamespace(should_stop=False, readers=[FakeReader(), FailingReader()])
        with pytest.raises(TopicAuthorizationFailedError):
            await IdleConsumer(app)._drain_messages(SimpleNamespace(should_stop=False))
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())
