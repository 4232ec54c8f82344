"""Faust's consumer with the lanes' positions as the truth, and a short way from broker to agents.

Faust's consumer group, assignment and rebalance are good, so we keep them. Replaced are:

- the way of the records: Faust's main thread asks the consumer's thread for records, waits for the
  answer and starts two tasks for each; seven turns of a loop on which the lanes compute. Here the
  main thread reads by itself (`stream.record_reader`), and Faust's keeps the membership only;
- positions: they come from the store, not from offsets that follow acknowledgements, which Faust
  drops at every rebalance;
- gaps: Faust takes a batch for a gap in the offsets and keeps those in an interval tree.

The private names below are of faust-streaming 0.15.3, which is pinned; the tests on a real broker
cover them.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol, cast

from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from stream.hardening import harden
from stream.record_reader import Fetched, RecordReader, RecordReaders

TELL_EVERY_S = 10.0


class Positions(Protocol):
    """What the consumer asks of the lanes (see `stream.lanes.Lanes`)."""

    async def seek_positions(self, consumer: LaneConsumer) -> dict[TP, int]:
        """Give where each assigned lane goes on."""
        ...

    def committed(self, tp: TP) -> int | None:
        """Give the offset to commit to Kafka, for lag tools."""
        ...


class LaneConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread, which keeps the membership in the group and reads nothing."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        harden(consumer._client)
        return consumer

    async def read_nothing(self) -> None:
        """Ask the broker for no records of what is assigned."""
        await self.call_thread(self._pause_all)

    async def _pause_all(self) -> None:
        consumer = self._ensure_consumer()
        consumer.pause(*consumer.assignment())

    def still_reading(self) -> None:
        """Stay in the group: a member that reads nothing for long is taken for one that hangs."""
        self.thread_loop.call_soon_threadsafe(self._note_reading)

    def _note_reading(self) -> None:
        with self._ensure_consumer()._subscription.fetch_context():
            pass

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do nothing: Faust would warn that no records come this way."""


class LaneConsumer(driver.Consumer):
    """Faust's consumer, fed by the application's readers from the lanes' positions."""

    _told_at = 0.0

    def _new_consumer_thread(self) -> LaneConsumerThread:
        return LaneConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def _member(self) -> LaneConsumerThread:
        return cast(LaneConsumerThread, self._thread)

    @property
    def _lanes(self) -> Positions:
        lanes: Positions = cast(Any, self.app).lanes
        return lanes

    @property
    def _readers(self) -> RecordReaders:
        readers: RecordReaders = cast(Any, self.app).readers
        return readers

    @property
    def in_touch(self) -> bool:
        """Whether the group's coordinator is known: it is forgotten when it does not answer."""
        consumer = self._member._consumer
        return consumer is not None and consumer._coordinator.coordinator_id is not None

    async def perform_seek(self) -> None:
        """Read from the lanes' positions, after every rebalance and before the flow resumes."""
        await self._member.read_nothing()
        await super().perform_seek()
        self._readers.seek(await self._lanes.seek_positions(self))

    def committed_before(self, tp: TP) -> int | None:
        """Give what the group had committed of a partition when it was assigned."""
        offset: int | None = self._committed_offset.get(tp)
        return offset

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand what is read to the agents, for as long as Faust's fetcher service runs."""
        try:
            async with asyncio.TaskGroup() as draining:
                for reader in self._readers:
                    draining.create_task(self._drain(reader, fetcher))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None  # The first is what stopped the others.
        except asyncio.CancelledError:
            # In a rebalance Faust takes this for a crash, also of a worker that is told to stop.
            if not self.app.should_stop:
                raise

    async def _drain(self, reader: RecordReader, fetcher: Any) -> None:
        while not (self.should_stop or fetcher.should_stop):
            if not self.flow_active:
                await self.wait(cast(Any, self.can_resume_flow))
                continue
            fetched = await reader.fetch()
            self._tell_member()
            if fetched:
                await self._deliver(fetched, reader)

    def _tell_member(self) -> None:
        now = time.monotonic()
        if now - self._told_at > TELL_EVERY_S:
            self._told_at = now
            self._member.still_reading()

    async def _deliver(self, fetched: Fetched, reader: RecordReader) -> None:
        n_seeks = reader.n_seeks
        for tp, batch in self.scheduler.iterate(fetched):
            if not self.flow_active:
                await self.wait(cast(Any, self.can_resume_flow))
            if reader.n_seeks != n_seeks:
                return  # The lanes go on elsewhere.
            await self.callback(self._to_message(ensure_TP(tp), batch))

    def _new_offset(self, tp: TP) -> int | None:
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return self._lanes.committed(tp)

    def on_buffer_full(self, tp: TP) -> None:
        """Do nothing: a lane that is full holds its partition by itself."""


class LaneTransport(driver.Transport):
    """Faust's aiokafka transport with our consumer."""

    Consumer = LaneConsumer
