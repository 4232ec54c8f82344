"""Faust's consumer with the lanes' positions as the truth, and a short way from broker to agents.

Faust's consumer group, assignment and rebalance are good, so we keep them. Replaced are:

- the way of the records: Faust's main thread asks the fetching thread for records, waits for the
  answer and starts two tasks for each; seven turns of a loop on which the lanes compute. Here the
  fetching thread hands over what it has as soon as it has it;
- positions: they come from the store, not from offsets that follow acknowledgements, which Faust
  drops at every rebalance;
- records: aiokafka makes a second object of each, which takes longer than to parse it;
- gaps: Faust takes a batch for a gap in the offsets and keeps those in an interval tree.

The private names below are of faust-streaming 0.15.3, which is pinned; the tests on a real broker
cover them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import IllegalStateError
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from stream.hardening import harden

FETCH_WAIT_MS = 50
"""How long the broker may wait for news; below it the embedded one burns a core."""
FETCHES_AHEAD_MAX = 1
"""Fetches that may wait for the main thread: bounds memory, and keeps it from waiting."""
BEHIND_POLL_S = 0.001
STOP_POLL_S = 1.0

Fetched = Mapping[TopicPartition, list[Any]]


class ParsedRecords(fetcher.PartitionRecords):
    """The records of a fetch as the parser gives them: all that a `stream.ports.Record` has."""

    def _consumer_record(self, tp: TopicPartition, record: Any) -> Any:
        return record


# The fetcher has no other place to say so. The logs that this process reads want no more either.
fetcher.PartitionRecords = ParsedRecords


class Positions(Protocol):
    """What the consumer asks of the lanes (see `stream.lanes.Lanes`)."""

    async def seek_positions(self, consumer: LaneConsumer) -> dict[TP, int]:
        """Give where each assigned lane goes on."""
        ...

    def committed(self, tp: TP) -> int | None:
        """Give the offset to commit to Kafka, for lag tools."""
        ...


class Arrivals:
    """Fetched records between the fetching thread, which adds, and the main one, which takes."""

    def __init__(self) -> None:
        self._fetches: deque[Fetched] = deque()
        self._arrived = asyncio.Event()
        self._failure: BaseException | None = None
        self.n_clears = 0

    def __len__(self) -> int:
        return len(self._fetches)

    def add(self, fetched: Fetched) -> None:
        """Add a fetch; on the main thread."""
        self._fetches.append(fetched)
        self._arrived.set()

    def fail(self, error: BaseException) -> None:
        """Let the next take raise: fetching ended."""
        self._failure = error
        self._arrived.set()

    def clear(self) -> None:
        """Forget what was fetched from positions that are no longer those of the lanes."""
        self._fetches.clear()
        self.n_clears += 1

    async def some(self) -> bool:
        """Wait until there is a fetch; False if there was none for a second."""
        if not self._fetches and self._failure is None:
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_POLL_S):
                    await self._arrived.wait()
        if self._failure is not None:
            raise self._failure
        return bool(self._fetches)

    def take(self) -> Fetched:
        """Take the oldest fetch."""
        return self._fetches.popleft()


class LaneConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's fetching thread, which hands records over instead of waiting to be asked."""

    _forwarding: asyncio.Task[None] | None = None

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust hard-codes 1500 ms. A broker is asked by one fetch at a time, so partitions that
        # have no news would keep the rest waiting for that long.
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        harden(consumer._client)
        return consumer

    def hold(self, tp: TP, held: bool) -> None:
        """Stop or resume asking the broker for a partition; what was fetched is delivered."""
        consumer = self._consumer
        if consumer is not None:
            change = consumer.pause if held else consumer.resume
            self.thread_loop.call_soon_threadsafe(_if_assigned, change, TopicPartition(*tp))

    async def forward(self, arrivals: Arrivals) -> None:
        """Begin to hand over what is fetched."""
        await self.call_thread(self._start_forwarding, arrivals)

    async def stop_forwarding(self) -> None:
        """Hand nothing over any more; when this returns, what was is in the arrivals."""
        await self.call_thread(self._stop_forwarding)

    async def _start_forwarding(self, arrivals: Arrivals) -> None:
        await self._stop_forwarding()
        self._forwarding = asyncio.create_task(self._forward(arrivals), name="forward")

    async def _stop_forwarding(self) -> None:
        task, self._forwarding = self._forwarding, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _forward(self, arrivals: Arrivals) -> None:
        on_main_thread = self.parent_loop.call_soon_threadsafe
        consumer = self._ensure_consumer()
        try:
            while not self.should_stop:
                # Read without a lock: one more fetch ahead does no harm.
                while len(arrivals) >= FETCHES_AHEAD_MAX:  # noqa: ASYNC110 - emptied on main's loop
                    await asyncio.sleep(BEHIND_POLL_S)
                fetched = await consumer.getmany(timeout_ms=int(1000 * STOP_POLL_S))
                if fetched:
                    on_main_thread(arrivals.add, fetched)
        except Exception as error:
            if not self.should_stop:
                on_main_thread(arrivals.fail, error)


def _if_assigned(change: Callable[[TopicPartition], None], tp: TopicPartition) -> None:
    # It may have been revoked since; a new assignment starts unpaused.
    with contextlib.suppress(IllegalStateError):
        change(tp)


class LaneConsumer(driver.Consumer):
    """Faust's consumer, fed by `LaneConsumerThread` from the lanes' positions."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arrivals = Arrivals()

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
        thread = cast(LaneConsumerThread, self._thread)
        await thread.stop_forwarding()
        self._arrivals.clear()
        await super().perform_seek()
        positions = await self._lanes.seek_positions(self)
        if positions:
            await self.seek_wait(positions)
        await thread.forward(self._arrivals)

    def committed_before(self, tp: TP) -> int | None:
        """Give what the group had committed of a partition when it was assigned."""
        offset: int | None = self._committed_offset.get(tp)
        return offset

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand what arrives to the agents, for as long as Faust's fetcher service runs."""
        try:
            while not (self.should_stop or fetcher.should_stop):
                if not self.flow_active:
                    await self.wait(cast(Any, self.can_resume_flow))
                # Taken only while the flow is on: what arrives after a seek waits for the flow.
                elif await self._arrivals.some() and self.flow_active:
                    await self._deliver(self._arrivals.take())
        except asyncio.CancelledError:
            # In a rebalance Faust takes this for a crash, also of a worker that is told to stop.
            if not self.app.should_stop:
                raise

    async def _deliver(self, fetched: Fetched) -> None:
        n_clears = self._arrivals.n_clears
        for tp, batch in self.scheduler.iterate(fetched):
            if self._arrivals.n_clears == n_clears:  # Else the lanes were sought meanwhile.
                await self.callback(self._to_message(ensure_TP(tp), batch))

    def hold(self, tp: TP, held: bool) -> None:
        """Stop or resume fetching a partition.

        Not Faust's pause_partitions(): it throws away what was fetched and not delivered yet, and
        sleeps a whole second when all are paused. Nor may fetched records be left to lie: aiokafka
        asks for nothing more while they do.
        """
        cast(LaneConsumerThread, self._thread).hold(tp, held)

    def _new_offset(self, tp: TP) -> int | None:
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return self._lanes.committed(tp)

    def on_buffer_full(self, tp: TP) -> None:
        """Do nothing: a lane that is full holds its partition by itself."""


class LaneTransport(driver.Transport):
    """Faust's aiokafka transport with our consumer."""

    Consumer = LaneConsumer
