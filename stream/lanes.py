"""The lanes that this worker owns now: opened and closed as Faust assigns partitions.

Hook order, measured on 0.15.3: revoked (awaited, flow stopped) -> assignor -> assigned, in parallel
with recovery -> rebalance complete (awaited) -> perform_seek -> flow resumes. Lanes open at
rebalance complete: opening at assigned races with the flow and lost records in tests.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from faust.types import TP

from stream.birth import StateLost, check_position
from stream.delivery import LaneConsumer
from stream.lane import Lane
from stream.ports import Record

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 5.0

OpenLane = Callable[[TP], Awaitable[tuple[Lane, int | None]]]
"""Acquires a partition's lane and opens its handler: the lane, and its position if it has one."""


class Lanes:
    """Opens, feeds and closes lanes.

    Parameters
    ----------
    open_lane
        Makes the lane of a partition.
    on_failure
        Called with the lane's name and the error if a lane fails; must end the worker.
    """

    def __init__(
        self, open_lane: OpenLane, on_failure: Callable[[str, BaseException], None]
    ) -> None:
        self._open_lane = open_lane
        self._on_failure = on_failure
        self._lanes: dict[TP, Lane] = {}
        self._positions: dict[TP, int | None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._opening: asyncio.Task[None] | None = None
        self.ready = False

    @property
    def owned(self) -> dict[TP, Lane]:
        """The lanes open here."""
        return self._lanes

    async def open(self, partitions: Sequence[TP], still_current: Callable[[], bool]) -> None:
        """Acquire the lanes of a new assignment; give up if yet another one has come.

        It may wait for a store that is away; acquiring a lane after that, when the lane has gone to
        another worker, would fence its owner. So `close` ends it, too.
        """
        opening = asyncio.create_task(self._open_all(partitions, still_current))
        self._opening = opening
        await asyncio.wait([opening])
        if not opening.cancelled():
            opening.result()

    async def _open_all(self, partitions: Sequence[TP], still_current: Callable[[], bool]) -> None:
        for tp in partitions:
            if not still_current():
                return
            try:
                self._lanes[tp], self._positions[tp] = await self._open_lane(tp)
            except StateLost as error:
                self._on_failure(f"{tp.topic}/{tp.partition}", error)
                return

    async def seek_positions(self, consumer: LaneConsumer) -> dict[TP, int]:
        """Give where each lane goes on, pin the start of new ones, and set them running."""
        new = [tp for tp, position in self._positions.items() if position is None]
        earliest = await consumer.earliest_offsets(*new) if new else {}
        opened = self._positions
        self._positions = {}
        for tp, position in opened.items():
            lane = self._lanes[tp]
            self._check(lane, consumer.committed_before(tp))
            lane.start_at(earliest[tp] if position is None else position)
            task = asyncio.create_task(lane.run(), name=lane.name)
            self._tasks.add(task)
            task.add_done_callback(self._lane_done)
        if opened:
            log.info("lanes open here: %s", ", ".join(sorted(x.name for x in self._lanes.values())))
        self.ready = True
        # All open lanes: Faust also seeks when it threw fetched records away. What is delivered
        # twice is skipped.
        return {tp: lane.position for tp, lane in self._lanes.items()}

    def _check(self, lane: Lane, committed: int | None) -> None:
        # The learner is a fold: its lane stands at the last version, and Kafka knows how far on.
        if not lane.name.startswith("learn."):
            try:
                check_position(lane.name, lane.lease.position, committed)
            except StateLost as error:
                self._on_failure(lane.name, error)

    def committed(self, tp: TP) -> int | None:
        """Give the offset to commit to Kafka: what the lane has published and committed.

        Lag tools show it, and it tells a Redis that lost writes: it must never be ahead of Redis.
        """
        lane = self._lanes.get(tp)
        return None if lane is None else lane.settled

    def deliver(self, tp: TP, records: Sequence[Record]) -> None:
        """Hand records to their lane; those of a lane that left are dropped, its owner has them."""
        lane = self._lanes.get(tp)
        if lane is not None and tp not in self._positions:
            lane.offer(records)

    async def close(self) -> None:
        """Close all lanes: each finishes its batch and commits it, within a deadline."""
        self.ready = False
        if self._opening is not None:
            self._opening.cancel()
        lanes, self._lanes, self._positions = self._lanes, {}, {}
        await asyncio.gather(*(lane.close(CLOSE_TIMEOUT_S) for lane in lanes.values()))
        for task in list(self._tasks):
            task.cancel()
        self._tasks.clear()

    def _lane_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(task.get_name(), error)
