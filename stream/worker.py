"""The parts of a worker put together: lanes, the model in force, outputs, metrics.

Knows neither Faust nor Kafka's client beyond the partitions it is given: `stream.app` connects it
to them.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence

from models.errors import CheckpointCorrupt
from models.learner import Learner
from models.pipelines import trusted_modules
from models.stores.base import Store
from stream import topics
from stream.decoding import EventDecoder, LabelDecoder
from stream.label import LabelHandler
from stream.lane import Lane
from stream.learn import Background, LearnHandler, load_version
from stream.learners import new_learner
from stream.metrics import WorkerMetrics
from stream.ports import Clock, Handler, Outbox, Outcome, Record
from stream.score import ScoreHandler
from stream.scorer import ModelInForce
from stream.settings import Settings

log = logging.getLogger(__name__)


class Worker:
    """Makes lanes, and keeps what they share.

    Parameters
    ----------
    highwater
        Gives the end offset of (topic, partition) as last heard from the broker, or None.
    pause
        Pauses or resumes fetching of (topic, partition).
    """

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        outbox: Outbox,
        clock: Clock,
        highwater: Callable[[str, int], int | None],
        pause: Callable[[str, int, bool], None],
        metrics: WorkerMetrics | None = None,
        in_background: Background = asyncio.to_thread,
    ) -> None:
        self.settings = settings
        self.metrics = metrics or WorkerMetrics()
        self._store = store
        self._outbox = outbox
        self._clock = clock
        self._highwater = highwater
        self._pause = pause
        self._in_background = in_background
        self._trusted = trusted_modules(settings.model.pipeline)
        self.model = ModelInForce(self._fresh, clock.now, settings.worker.model_staleness_max)
        self._lanes: dict[str, tuple[Lane, str, int]] = {}
        runs_on = "compiled estimators" if self._fresh().is_compiled else "River's own estimators"
        log.info("pipeline %s runs on %s", settings.model.pipeline, runs_on)

    def _fresh(self) -> Learner:
        return new_learner(self.settings)

    def topic(self, topic: topics.Topic) -> str:
        """Full name of a topic of this application."""
        return topic.full_name(self.settings.app)

    async def open_lane(self, topic: str, partition: int) -> tuple[Lane, int | None]:
        """Acquire the lane of a partition and open its handler."""
        kind, handler = self._handler(topic, partition)
        lease = await self._store.acquire(f"{kind}.{partition}")
        position = await handler.open(lease)
        lane = Lane(
            lease,
            handler,
            store=self._store,
            outbox=self._outbox,
            clock=self._clock,
            observer=self,
            batch_records_max=self.settings.worker.batch_records_max,
            strict=kind == "learn" or not self.settings.kafka.inputs_may_have_gaps,
            pause=self._pauser(topic, partition),
        )
        self._lanes[lane.name] = (lane, topic, partition)
        return lane, position

    def forget_lane(self, lane: Lane) -> None:
        """Drop the references to a lane that left."""
        if self._lanes.get(lane.name, (None,))[0] is lane:
            del self._lanes[lane.name]

    def forget_lanes(self) -> None:
        """Drop the lanes' gauges and references after they were closed."""
        self._lanes.clear()
        self.metrics.set_lanes({}, {})
        self.metrics.clear_prequential()

    def _handler(self, topic: str, partition: int) -> tuple[str, Handler]:
        settings = self.settings
        if topic == self.topic(topics.EVENTS):
            return "score", ScoreHandler(
                partition,
                topic=topic,
                decoder=EventDecoder(settings.event),
                scorer=self.model,
                store=self._store,
                task=settings.model.task,
                threshold=settings.model.threshold,
                ttl=settings.join.ttl,
            )
        if topic == self.topic(topics.LABELS):
            return "label", LabelHandler(
                partition,
                topic=topic,
                decoder=LabelDecoder(settings.label, settings.model.task),
                store=self._store,
                ttl=settings.join.ttl,
                grace=settings.join.early_grace,
                waiting_max=settings.join.waiting_max,
                scored_until=self.scored_until,
            )
        assert topic == self.topic(topics.EXAMPLES), topic
        return "learn", LearnHandler(
            partition,
            fresh=self._fresh,
            in_force=self.model,
            store=self._store,
            versions=settings.versions,
            trusted=self._trusted,
            in_background=self._in_background,
        )

    def _pauser(self, topic: str, partition: int) -> Callable[[bool], None]:
        return lambda paused: self._pause(topic, partition, paused)

    def scored_until(self) -> float:
        """Event time up to which all score lanes here have come; infinite without a backlog."""
        marks = [
            lane.handler.watermark
            for lane, _, _ in self._lanes.values()
            if isinstance(lane.handler, ScoreHandler) and self.behind(lane)
        ]
        return min(marks, default=math.inf)

    def lag(self, lane: Lane) -> int:
        """Records between the lane's position and the end of its log, as last heard."""
        _, topic, partition = self._lanes[lane.name]
        return max(0, (self._highwater(topic, partition) or 0) - lane.position)

    def behind(self, lane: Lane) -> bool:
        """Say whether the log holds records that the lane has not taken."""
        return lane.n_queued > 0 or (lane.name in self._lanes and self.lag(lane) > 0)

    def committed(
        self, lane: Lane, records: Sequence[Record], outcome: Outcome, seconds: float
    ) -> None:
        """Note a committed batch, and wake label lanes that waited for these events."""
        self.metrics.count(outcome)
        if isinstance(lane.handler, ScoreHandler) and records:
            self.metrics.observe_latency(records, self._clock.now())
            for other, _, _ in self._lanes.values():
                if isinstance(other.handler, LabelHandler):
                    other.wake()
        self.metrics.observe_commit(seconds)
        self.metrics.observe_delays(outcome.label_delays)

    async def refresh_model(self) -> None:
        """Load the newest version if this worker has no learner and something newer was cut."""
        if self.model.live is not None:
            return
        newest = await self._store.newest_version()
        if newest is not None and newest != self.model.version:
            try:
                learner = await load_version(
                    self._store, newest, self._trusted, self._in_background
                )
            except CheckpointCorrupt as error:
                log.error("version %s is not used, scoring goes on with %s: %s",
                          newest, self.model.version, error)  # fmt: skip
                return
            if self.model.live is None:
                self.model.replace_snapshot(learner, newest)
        self.model.confirm()

    def refresh_metrics(self) -> None:
        """Bring the gauges up to date."""
        lanes = [lane for lane, _, _ in self._lanes.values()]
        waiting = {
            lane.name: lane.handler.n_waiting
            for lane in lanes
            if isinstance(lane.handler, LabelHandler)
        }
        self.metrics.set_lanes({lane.name: self.lag(lane) for lane in lanes}, waiting)
        _, position, _ = self.model.stamp()
        self.metrics.set_model(position, self.model.age)
        for lane in lanes:
            if isinstance(lane.handler, LearnHandler) and lane.handler.learner is not None:
                self.metrics.set_prequential(lane.handler.learner.metrics())
                self.metrics.set_version(
                    lane.handler.cut_bytes, self._clock.now() - lane.handler.cut_at
                )
