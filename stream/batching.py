"""Whole fetched batches from Faust to the lanes, through its plug points.

Faust delivers record by record at 68 us each, half of it in four asyncio tasks a record. Its
consumer group, assignment and rebalance are good, so we keep them and replace the delivery: the
documented `ConsumerScheduler` setting yields one pseudo record a partition whose value is the list
of records, and a `Schema` passes it through (2.7 us a record).

Why the consumer's overrides: Faust takes a batch for a gap in the offsets and keeps gaps in an
interval tree; its commit follows acknowledgements, which drop at every rebalance; and positions
must come from the store. The private names below are of faust-streaming 0.15.3, which is pinned;
the tests on a real broker cover them.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

import faust
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError
from faust.transport.drivers import aiokafka as driver
from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP

FETCH_WAIT_MS = 50
"""How long the broker may wait for news; below it the embedded one burns a core."""


class Batch:
    """Records of one partition, dressed as one record for `Consumer._to_message`."""

    __slots__ = (
        "checksum",
        "headers",
        "key",
        "offset",
        "partition",
        "records",
        "serialized_key_size",
        "serialized_value_size",
        "timestamp",
        "timestamp_type",
        "topic",
        "value",
    )

    def __init__(self, tp: TP, records: Sequence[Any]) -> None:
        last = records[-1]
        self.topic, self.partition = tp
        self.records = records
        self.offset = last.offset
        self.timestamp = last.timestamp
        self.timestamp_type = last.timestamp_type
        self.headers = self.key = self.checksum = None
        self.value = self
        self.serialized_key_size = self.serialized_value_size = 0

    def __len__(self) -> int:
        return len(self.records)


class BatchSchema(faust.Schema[Any, Any]):
    """Hands the batch to the agent as it is."""

    def loads_key(self, app: Any, message: Any, **kwargs: Any) -> None:
        """Give no key: the records in the batch have theirs."""

    def loads_value(self, app: Any, message: Any, **kwargs: Any) -> Any:
        """Give the batch."""
        return message.value


def batch_scheduler(batch_records_max: int) -> type[DefaultSchedulingStrategy]:
    """Make the scheduler class that Faust's setting wants, for batches of this size."""

    class BatchScheduler(DefaultSchedulingStrategy):  # type: ignore[misc]
        """Yields each partition's records in chunks, the partitions in turn."""

        def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Batch]]:
            """Interleave, so that no partition's backlog keeps the others waiting."""
            turns = deque((tp, fetched, 0) for tp, fetched in records.items() if fetched)
            while turns:
                tp, fetched, start = turns.popleft()
                end = start + batch_records_max
                yield tp, Batch(tp, fetched[start:end])
                if end < len(fetched):
                    turns.append((tp, fetched, end))

    return BatchScheduler


class Positions(Protocol):
    """What the consumer asks of the lanes (see `stream.lanes.Lanes`)."""

    async def seek_positions(self, consumer: LaneConsumer) -> dict[TP, int]:
        """Give where each assigned lane goes on."""
        ...

    def committed(self, tp: TP) -> int | None:
        """Give the offset to commit to Kafka, for lag tools."""
        ...


class LaneConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Faust's fetching thread, which does not let idle partitions keep busy ones waiting."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust hard-codes 1500 ms. A broker is asked by one fetch at a time, so partitions that
        # have no news would keep the rest waiting for that long.
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer

    def hold(self, tp: TP, held: bool) -> None:
        """Stop or resume asking the broker for a partition; what was fetched is delivered."""
        consumer = self._consumer
        if consumer is not None:
            change = consumer.pause if held else consumer.resume
            self.thread_loop.call_soon_threadsafe(_if_assigned, change, TopicPartition(*tp))


def _if_assigned(change: Callable[[TopicPartition], None], tp: TopicPartition) -> None:
    # It may have been revoked since; a new assignment starts unpaused.
    with contextlib.suppress(IllegalStateError):
        change(tp)


class LaneConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer, with the lanes' positions as the truth."""

    def _new_consumer_thread(self) -> LaneConsumerThread:
        return LaneConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def _lanes(self) -> Positions:
        lanes: Positions = cast(Any, self.app).lanes
        return lanes

    @property
    def in_touch(self) -> bool:
        """Whether the group's coordinator is known: it is forgotten when it does not answer."""
        consumer = cast(LaneConsumerThread, self._thread)._consumer
        return consumer is not None and consumer._coordinator.coordinator_id is not None

    async def perform_seek(self) -> None:
        """Seek to the lanes' positions, after every rebalance and before the flow resumes."""
        await super().perform_seek()
        positions = await self._lanes.seek_positions(self)
        if positions:
            await self.seek_wait(positions)

    def committed_before(self, tp: TP) -> int | None:
        """Give what the group had committed of a partition when it was assigned."""
        offset: int | None = self._committed_offset.get(tp)
        return offset

    def hold(self, tp: TP, held: bool) -> None:
        """Stop or resume fetching a partition.

        Not Faust's pause_partitions(): it throws away what was fetched and not delivered yet, and
        sleeps a whole second when all are paused. Nor may fetched records be left to lie: aiokafka
        asks for nothing more while they do.
        """
        cast(LaneConsumerThread, self._thread).hold(tp, held)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        # Batches are not gaps, and commits do not follow acknowledgements.
        return

    def _new_offset(self, tp: TP) -> int | None:
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return self._lanes.committed(tp)

    def on_buffer_full(self, tp: TP) -> None:
        """Do nothing: a full queue blocks the delivery by itself."""


class LaneTransport(driver.Transport):  # type: ignore[misc]
    """Faust's aiokafka transport with our consumer."""

    Consumer = LaneConsumer
