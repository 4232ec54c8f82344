"""A lane: one partition, processed in order by its one owner, committed in one order.

The commit order, the same for all lanes and written only here (DESIGN.md section 4):

1. the handler computes the outcomes of a batch, and writes what others will look up
   (pending records, claims): first write wins, so doing it twice changes nothing;
2. outputs are published, and their acknowledgement awaited;
3. one fenced write: state and position together, or nothing if another owner has the lane;
4. Faust commits the position to Kafka in its own time, for lag tools only.

Why crash-only: any error but a lost lease ends the worker. A restart is the recovery path, it is
tested far more often than a handler of rare errors would be.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from models.errors import CheckpointConflict
from models.stores.base import Lease, Store
from stream.ports import Clock, Handler, Outbox, Outcome, Record

IDLE_TICK_S = 0.02
REST_AFTER_S = 1.0
REST_AGAIN_S = 10.0
"""A lane at rest says so again: it learns here that it was fenced, though it has no work."""


class RecordsMissing(Exception):
    """Records between the position and what was delivered are not there."""


class LaneObserver(Protocol):
    """Told of what a lane did, for metrics."""

    def committed(
        self, lane: Lane, records: Sequence[Record], outcome: Outcome, seconds: float
    ) -> None:
        """Note a batch that is published and committed, and how long those two took."""
        ...

    def behind(self, lane: Lane) -> bool:
        """Say whether the log holds records that the lane has not taken."""
        ...


class Lane:
    """Feeds one partition's records to its handler and commits what comes out.

    Parameters
    ----------
    strict
        Offsets must follow one another: a hole is lost data, and a crash is better than silence.
    pause
        Stops (True) and resumes (False) fetching for this lane: it has two batches waiting. A full
        lane never blocks delivery, which the lanes share: the others would starve behind it.
    """

    def __init__(
        self,
        lease: Lease,
        handler: Handler,
        *,
        store: Store,
        outbox: Outbox,
        clock: Clock,
        observer: LaneObserver,
        batch_records_max: int,
        pause: Callable[[bool], None],
        strict: bool = False,
    ) -> None:
        self.lease = lease
        self.handler = handler
        self.position = 0
        self.settled: int | None = None
        self._store = store
        self._outbox = outbox
        self._clock = clock
        self._observer = observer
        self._batch_records_max = batch_records_max
        self._strict = strict
        self._pause = pause
        self._paused = False
        self._queue: deque[Sequence[Record]] = deque()
        self._n_queued = 0
        self._arrived = asyncio.Event()
        self._closed = False
        self._busy = asyncio.Lock()
        self._rested_at: float | None = None
        self._active_at = clock.now()

    @property
    def name(self) -> str:
        """Name of the lane: `score.3`."""
        return self.lease.lane

    @property
    def n_queued(self) -> int:
        """Records that were delivered and not yet taken."""
        return self._n_queued

    def start_at(self, position: int) -> None:
        """Set the first offset to take; called once, before anything is delivered."""
        self.position = position
        # A lane that never committed has nothing to show: Kafka must not know more than Redis.
        self.settled = None if self.lease.position is None else position

    def offer(self, records: Sequence[Record]) -> None:
        """Deliver fetched records; fetching is paused while two full batches are queued."""
        if self._closed:
            return
        self._queue.append(records)
        self._n_queued += len(records)
        self._arrived.set()
        if self._n_queued >= 2 * self._batch_records_max and not self._paused:
            self._paused = True
            self._pause(True)

    def wake(self) -> None:
        """Look again whether what holds the lane has passed."""
        self._arrived.set()

    async def run(self) -> None:
        """Absorb what is delivered, until closed."""
        while not self._closed:
            self._arrived.clear()
            async with self._busy:
                took_records = not self._closed and await self.step()
            if took_records:
                # Other lanes' turn: a lane that never has to wait would starve them.
                await asyncio.sleep(0)
            else:
                await self._wait()

    async def step(self) -> bool:
        """Take and commit one batch, if there is one, and what is due; awaits ports only."""
        records = self._take()
        if records:
            await self._absorb(records)
        outcome = await self.handler.tick(self.position, self._clock.now())
        if outcome is not None:
            await self._commit((), outcome)
        return bool(records)

    async def close(self, timeout: float) -> None:
        """Let the batch in flight finish, save what the handler leaves, and stop."""
        self._closed = True
        self._queue.clear()
        self._n_queued = 0
        self._arrived.set()
        try:
            async with asyncio.timeout(timeout), self._busy:
                await self.save()
        except (TimeoutError, CheckpointConflict):
            pass  # The next owner starts from the last commit, which is always good.
        self.handler.close()

    async def save(self) -> None:
        """Commit what the handler leaves to the lane's next owner; awaits ports only."""
        outcome = self.handler.final(self._clock.now())
        if outcome is not None:
            await self._commit((), outcome)

    def _take(self) -> Sequence[Record]:
        """Take what has been delivered, up to a batch; never waits to fill one."""
        if not self._queue or self.handler.hold(self._queue[0]):
            return ()
        records = self._pop(self.position)
        if self._queue and len(records) + len(self._queue[0]) <= self._batch_records_max:
            records = list(records)
            while self._queue and len(records) + len(self._queue[0]) <= self._batch_records_max:
                records += self._pop(records[-1].offset + 1 if records else self.position)
        if self._paused and self._n_queued < self._batch_records_max:
            self._paused = False
            self._pause(False)
        return records

    def _pop(self, first: int) -> Sequence[Record]:
        """Take one delivery, without redelivered records: those below `first`."""
        records = self._queue.popleft()
        self._n_queued -= len(records)
        if records[0].offset >= first:
            return records
        return [record for record in records if record.offset >= first]

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(IDLE_TICK_S):
                await self._arrived.wait()
        except TimeoutError:
            await self.rest_if_idle()

    async def _absorb(self, records: Sequence[Record]) -> None:
        first, last = records[0].offset, records[-1].offset
        if self._strict and (first != self.position or last - first != len(records) - 1):
            raise RecordsMissing(
                f"lane {self.name} got records {first} to {last} ({len(records)}) after position "
                f"{self.position}: some are missing. If the topic is compacted, or written by "
                "transactions, set kafka.inputs_may_have_gaps = true; else records were lost, by "
                "retention or a new topic under the old name"
            )
        outcome = await self.handler.absorb(records, self.position, self._clock.now())
        self.position = last + 1
        await self._commit(records, outcome)
        self._rested_at = None
        self._active_at = self._clock.now()

    async def _commit(self, records: Sequence[Record], outcome: Outcome) -> None:
        begun = self._clock.now()
        await self._outbox.publish(outcome.messages)
        for cut in outcome.cuts:
            content = cut.version_id, cut.meta, cut.blob, cut.keep
            how = cut.replace, cut.changes, cut.needed
            await self._store.cut_version(self.lease, cut.position, *content, *how)
        if outcome.durable:
            position = self.position if outcome.position is None else outcome.position
            what = outcome.changes, outcome.watermark, outcome.keyed
            await self._store.commit(self.lease, position, *what)
        self.settled = self.position
        self._observer.committed(self, records, outcome, self._clock.now() - begun)
        await self._outbox.publish(outcome.announcements)

    async def rest_if_idle(self) -> None:
        """Stop holding watermarks back while there is nothing to do."""
        now = self._clock.now()
        idle = not self._queue and now - self._active_at > REST_AFTER_S
        due = self._rested_at is None or now - self._rested_at > REST_AGAIN_S
        if idle and due and not self._observer.behind(self):
            self._rested_at = now
            await self._store.rest(self.lease)
