"""The parts of a worker put together: lanes, the model in force, outputs, metrics.

Knows neither Faust nor Kafka's client beyond the partitions it is given: `stream.app` connects it
to them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from models.importance import pool
from models.learner import Learner
from models.lineage import Lineage
from models.stores.base import Store
from stream import topics
from stream.arms import Arms
from stream.challenge import ChallengerCommands
from stream.decoding import EventDecoder, LabelDecoder
from stream.derived import Stage
from stream.enrich import EnrichHandler
from stream.intake import Decoder
from stream.label import LabelHandler
from stream.label_free import LabelFree
from stream.lane import Lane
from stream.learn import LearnHandler
from stream.learners import drift_settings, new_learner, trusted
from stream.messages import SHARD_KEY, AuditRecord, drift_count, encode_json
from stream.metrics import WorkerMetrics
from stream.ports import Clock, Handler, Logs, Message, Outbox, Outcome, Record
from stream.re_keyed import EnrichedDecoder, FactPublisher, Rekeyer
from stream.score import ScoreHandler
from stream.scorer import ModelInForce
from stream.settings import Settings
from stream.silence import Silence
from stream.topology import check_log, event_stages, event_topics, lane_kind, re_keyed
from stream.vault import Background, RefusedVersion, Vault

log = logging.getLogger(__name__)


class Worker:
    """Makes lanes, and keeps what they share.

    Parameters
    ----------
    logs
        Reads commands, and examples to fold again.
    highwater
        Gives the end offset of (topic, partition) as last heard from the broker, or None.
    pause
        Pauses or resumes fetching of (topic, partition).
    name
        Who this is, in the audit.
    timer
        Seconds, from any start: rations what challengers take.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        outbox: Outbox,
        clock: Clock,
        logs: Logs,
        highwater: Callable[[str, int], int | None],
        pause: Callable[[str, int, bool], None],
        metrics: WorkerMetrics | None = None,
        in_background: Background = asyncio.to_thread,
        name: str = "worker",
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.settings = settings
        self.metrics = metrics or WorkerMetrics()
        self._store = store
        self._outbox = outbox
        self._clock = clock
        self._logs = logs
        self._highwater = highwater
        self._pause = pause
        self._name = name
        self._timer = timer
        self._vault = Vault(
            store,
            keys=settings.versions.key_ring(),
            trusted=trusted(settings),
            in_background=in_background,
            tell=self._note_refusal,
        )
        self.arms = Arms(
            store,
            self._vault,
            in_background=in_background,
            now=clock.now,
            staleness_max=settings.worker.model_staleness_max,
        )
        self._audit: list[Message] = []
        self.model = ModelInForce(self._fresh, clock.now, settings.worker.model_staleness_max)
        self._label_free = LabelFree(drift_settings(settings.drift), name, clock.now)
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
        if isinstance(handler, ScoreHandler | EnrichHandler):
            path = event_topics(self.settings)
            check_log(lease, next(known for known in path if self.topic(known) == topic))
            # Before its first event: an entity stays with its arm wherever its lane goes.
            await self.arms.refresh()
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
        path = [self.topic(known) for known in event_topics(settings)]
        if topic in path:
            return self._event_handler(path.index(topic), topic, partition)
        if topic == self.topic(topics.LABELS):
            return "label", LabelHandler(
                partition,
                topic=topic,
                decoder=LabelDecoder(settings.label, settings.model.task, settings.event),
                store=self._store,
                ttl=settings.join.ttl,
                grace=settings.join.early_grace,
                waiting_max=settings.join.waiting_max,
                corrections=settings.label.corrections == "learn",
                scored_until=self.scored_until,
                facts=self._facts(),
            )
        assert topic == self.topic(topics.EXAMPLES), topic
        challengers, commands = ChallengerCommands.of(
            settings, vault=self._vault, logs=self._logs, timer=self._timer
        )
        return "learn", LearnHandler(
            partition,
            fresh=self._fresh,
            in_force=self.model,
            store=self._store,
            versions=settings.versions,
            vault=self._vault,
            logs=self._logs,
            challengers=challengers,
            commands=commands,
            arms=self.arms,
        )

    def _event_handler(self, place: int, topic: str, partition: int) -> tuple[str, Handler]:
        """Make the handler of one of the logs that events pass; the last one scores them."""
        settings, store = self.settings, self._store
        made = event_stages(settings)
        stage, kind = made[place], lane_kind(place, len(made))
        decoder: Decoder[Any] = EventDecoder(settings.event)
        if place:
            decoder = EnrichedDecoder(made[place - 1].fields)
        if kind != "score":
            onward = self._rekeyers(made)[place]
            return kind, EnrichHandler(
                partition, topic=topic, decoder=decoder, stage=stage, onward=onward, store=store
            )
        return kind, ScoreHandler(
            partition,
            topic=topic,
            decoder=decoder,
            scorer=self.model,
            arms=self.arms,
            store=store,
            task=settings.model.task,
            threshold=settings.decision.threshold(settings.model.threshold),
            ttl=settings.join.ttl,
            silence=self._silence(partition),
            explaining=settings.reasons.explaining(settings.model.task),
            stage=stage if place or stage.adds else None,
            observe=self._label_free.observe if settings.drift.label_free else None,
        )

    def _rekeyers(self, made: Sequence[Stage]) -> list[Rekeyer]:
        n = self.settings.kafka.partitions
        logs = zip(re_keyed(self.settings), made[1:], strict=True)
        return [Rekeyer(topic, stage, n) for topic, stage in logs]

    def _facts(self) -> FactPublisher | None:
        if not self.settings.features.risk:
            return None
        return FactPublisher(self._rekeyers(event_stages(self.settings)))

    def _silence(self, partition: int) -> Silence | None:
        join = self.settings.join
        if not join.negative_after:
            return None
        return Silence(
            partition,
            store=self._store,
            negative_after=join.negative_after,
            weight=join.negative_weight,
        )

    def _pauser(self, topic: str, partition: int) -> Callable[[bool], None]:
        return lambda paused: self._pause(topic, partition, paused)

    def scored_until(self) -> float:
        """Event time up to which all score lanes here have come; infinite without a backlog."""
        marks = [
            lane.handler.watermark
            for lane, _, _ in self._lanes.values()
            if isinstance(lane.handler, ScoreHandler | EnrichHandler) and self.behind(lane)
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
        """Bring a worker without learner up to date, then publish what is due to the audit.

        It loads the newest version that verifies, if that is newer than the one in force. As long
        as the newest one is refused, the one in force grows stale. The store is asked by a worker
        with the learner as well: an idle one learns here that it is away.
        """
        newest = await self._store.newest_version()
        if self.model.live is None:
            if newest is not None and newest != self.model.version:
                good = await self._vault.newest_good(newest, self.model.version)
                if good is not None and self.model.live is None:
                    rule = Lineage(good.meta.segments).threshold
                    self.model.replace_snapshot(good.learner, good.version_id, rule)
            if newest is None or newest == self.model.version:
                self.model.confirm()
        await self.arms.refresh()
        self._note_drift()
        await self._publish_audit()

    def _note_drift(self) -> None:
        for signal in self._label_free.take():
            log.info("drift without labels, %s: %s moved", signal.level, signal.subject)
            self.metrics.count(Outcome(counts={drift_count(signal): 1}))
            self._audit.append(self._label_free.record_of(signal))

    def _note_refusal(self, refused: RefusedVersion) -> None:
        version_id, reason, detail = refused
        log.error("version %s is not used, an older one serves: %s", version_id, detail)
        self.metrics.count_refused(reason)
        now = self._clock.now()
        record = AuditRecord(
            id=f"load-{version_id}-{self._name}-{int(now * 1000)}",
            who=self._name,
            what="load version",
            subject=version_id,
            outcome="refused",
            reason=reason,
            detail=detail,
            time=now,
        )
        self._audit.append(Message(topics.AUDIT.name, 0, SHARD_KEY, encode_json(record)))

    async def _publish_audit(self) -> None:
        due = tuple(self._audit)
        await self._outbox.publish(due)
        del self._audit[: len(due)]

    def refresh_metrics(self) -> None:
        """Bring the gauges up to date."""
        lanes = [lane for lane, _, _ in self._lanes.values()]
        waiting = {
            lane.name: lane.handler.n_waiting
            for lane in lanes
            if isinstance(lane.handler, LabelHandler)
        }
        self.metrics.set_lanes({lane.name: self.lag(lane) for lane in lanes}, waiting)
        folds = {
            lane.name: lane.handler.stage.fold
            for lane in lanes
            if isinstance(lane.handler, ScoreHandler | EnrichHandler) and lane.handler.stage
        }
        self.metrics.set_entities(
            {name: (len(fold), fold.n_bytes) for name, fold in folds.items() if fold is not None}
        )
        _, position, _ = self.model.stamp()
        self.metrics.set_model(position, self.model.age)
        scoring = [lane.handler for lane in lanes if isinstance(lane.handler, ScoreHandler)]
        told = [one.explaining.means for one in scoring if one.explaining is not None]
        self.metrics.set_importance(pool(means for means in told if means is not None))
        for lane in lanes:
            if isinstance(lane.handler, LearnHandler) and lane.handler.learner is not None:
                self.metrics.set_prequential(lane.handler.learner.metrics())
                self.metrics.set_version(
                    lane.handler.cut_bytes, self._clock.now() - lane.handler.cut_at
                )
