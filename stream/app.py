"""The composition root: settings in, a Faust application out, with every part connected.

Faust keeps what it is good at: the consumer group, assignment, rebalance, signals and shutdown. Its
tables, acknowledgements and offset commits are not used.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, cast

import faust
import redis.asyncio
from aiokafka.errors import KafkaError
from faust.types import TP
from yarl import URL

from models.errors import CheckpointConflict, CheckpointError, CheckpointLost, StoreUnavailable
from models.stores.base import Store
from models.stores.redis import RedisStore
from stream import topics
from stream.agents import add_agents
from stream.batching import batch_scheduler
from stream.birth import StateLost
from stream.clients import aiokafka_config, kafka_ssl_context, redis_config
from stream.delivery import LaneConsumer, LaneTransport
from stream.http import MonitoringServer
from stream.kafka_logs import KafkaLogs
from stream.lane import RecordsMissing
from stream.lanes import Lanes
from stream.outages import Outage
from stream.outbox import KafkaOutbox, PublishFailed, PublishRefused
from stream.ports import Clock
from stream.record_reader import RecordReader, RecordReaders
from stream.settings import Settings
from stream.topology import event_topics, inputs, re_keyed
from stream.worker import Worker

log = logging.getLogger(__name__)

EXIT_FAILED = 1
EXIT_FENCED = 4
EXIT_STATE_LOST = StateLost.exit_status
METRICS_EVERY_S = 2.0
GATHER_S = 0.05
"""How long labels and examples gather: nobody waits for what comes of them. Fewer and larger
batches leave the loop to events, which somebody does wait for."""
STOP_DEADLINE_S = 20.0
"""Below the 30 s that supervisors give by default (Kubernetes) before they kill."""
STREAM_BUFFER_BATCHES = 4096
"""Batches that Faust may queue for an agent: never full, since agents only pass them on; what
bounds memory is that lanes hold their partitions."""


class LaneApp(faust.App):
    """Faust's application, with the lanes that its agents deliver to."""

    lanes: Lanes
    outbox: KafkaOutbox
    readers: RecordReaders
    logs: KafkaLogs
    monitoring: MonitoringServer
    end: Callable[[int], None]

    async def on_start(self) -> None:
        """Connect outputs and inputs before the group is joined."""
        await super().on_start()
        try:
            await asyncio.gather(self.outbox.start(), self.readers.start())
        except KafkaError as error:
            log.critical("Kafka went away while the worker started, which ends it: %s", error)
            self.end(EXIT_FAILED)


def build_app(
    settings: Settings,
    *,
    clock: Clock,
    datadir: str,
    random: Random,
    end: Callable[[int], None] = os._exit,
) -> LaneApp:
    """Build the worker's Faust application.

    Parameters
    ----------
    settings
        The whole configuration.
    clock
        Where time comes from.
    datadir
        An empty folder for Faust; nothing of value is kept there.
    random
        Jitter for waiting out outages.
    end
        Ends the process at once, with an exit status: called if a lane fails, because the restart
        is the recovery path and a half-stopped worker would stall its partitions.
    """
    redis_outage, kafka_outage = (
        Outage(server, away, now=time.monotonic, sleep=asyncio.sleep, random=random)
        for server, away in (("Redis", StoreUnavailable), ("Kafka", PublishFailed))
    )
    store = _redis_store(settings, redis_outage)
    outbox = KafkaOutbox(
        aiokafka_config(settings.kafka),
        settings.app,
        clock.now,
        kafka_outage.retry,
        re_keyed(settings),
    )
    app = _faust_app(settings, datadir, outbox)
    app.end = end
    app.readers = _readers(settings)
    app.logs = KafkaLogs(aiokafka_config(settings.kafka), settings.app)
    # The consumer class comes from the transport, and declaring an agent builds the consumer.
    app.transport = LaneTransport([URL(_broker_url(settings))], app)
    worker = Worker(
        settings,
        store=store,
        outbox=outbox,
        clock=clock,
        logs=app.logs,
        highwater=lambda topic, partition: app.readers.highwater(TP(topic, partition)),
        pause=lambda topic, partition, paused: app.readers.hold(TP(topic, partition), paused),
        name=f"{socket.gethostname()}:{os.getpid()}",
    )
    app.lanes = Lanes(
        lambda tp: worker.open_lane(tp.topic, tp.partition),
        lambda name, error: _fail(name, error, end),
    )
    _connect_lifecycle(app, worker, (redis_outage, kafka_outage))
    add_agents(app, [topic.full_name(settings.app) for topic in inputs(settings)])
    return app


def _readers(settings: Settings) -> RecordReaders:
    config = aiokafka_config(settings.kafka)
    urgent, unhurried = (
        [topic.full_name(settings.app) for topic in read]
        for read in (event_topics(settings), (topics.LABELS, topics.EXAMPLES))
    )
    return RecordReaders(
        RecordReader(config, urgent), RecordReader(config, unhurried, rest=GATHER_S)
    )


def _redis_store(settings: Settings, outage: Outage) -> Store:
    # Lazily: the first call connects.
    client = redis.asyncio.Redis.from_url(**redis_config(settings.redis))
    return RedisStore(client, settings.app, ttl=settings.join.ttl, retry=outage.retry)


def _faust_app(settings: Settings, datadir: str, outbox: KafkaOutbox) -> LaneApp:
    kafka = settings.kafka
    rebalance_timeout = max(kafka.session_timeout, 10.0)
    app = LaneApp(
        topics.group(settings.app),
        broker=_broker_url(settings),
        broker_credentials=_credentials(settings),
        broker_session_timeout=kafka.session_timeout,
        broker_heartbeat_interval=min(3.0, kafka.session_timeout / 4),
        broker_rebalance_timeout=rebalance_timeout,
        # What a broker that dies never answers holds its connection up for this long, 90 s in
        # Faust. A request to join is answered when all have joined, so it can't be less than that.
        broker_request_timeout=rebalance_timeout + 10.0,
        broker_commit_interval=1.0,
        # It reads nothing; before it is told so, it may ask once.
        consumer_max_fetch_size=1,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
        stream_buffer_maxsize=STREAM_BUFFER_BATCHES,
        ConsumerScheduler=batch_scheduler(settings.worker.batch_records_max),
        # Faust's own assignor, which standbys need, gives the third worker of four partitions
        # nothing, since it keeps topics together. Round robin shares lanes out evenly.
        table_standby_replicas=0,
        store="memory://",
        datadir=datadir,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
    )
    app.outbox = outbox
    return app


def _broker_url(settings: Settings) -> str:
    hosts = [host.strip() for host in settings.kafka.bootstrap.split(",")]
    return "kafka://" + ";".join(hosts)


def _credentials(settings: Settings) -> Any:
    kafka = settings.kafka
    context = kafka_ssl_context(kafka) if kafka.security_protocol.endswith("SSL") else None
    if kafka.security_protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.password(),
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)


def _consumer(app: LaneApp) -> LaneConsumer:
    return cast(LaneConsumer, app.consumer)


def _fail(lane: str, error: BaseException, end: Callable[[int], None]) -> None:
    if isinstance(error, CheckpointConflict):
        log.critical("%s; this worker was silent for too long and ends, to join again", error)
        end(EXIT_FENCED)
    elif isinstance(error, StateLost | CheckpointLost):
        log.critical("%s", error)
        end(EXIT_STATE_LOST)
    else:
        # What can happen to any worker is told in a line; our bugs with their stack.
        expected = isinstance(error, CheckpointError | PublishRefused | RecordsMissing)
        trace = None if expected else error
        log.critical("lane %s failed, the worker ends: %s", lane, error, exc_info=trace)
        end(EXIT_FAILED)


def _missing(app: LaneApp, outages: Sequence[Outage]) -> str | None:
    """Say what keeps the worker from its work; None if nothing does."""
    if not app.lanes.ready:
        return "lanes are not assigned and recovered yet"
    waits = [(outage.server, outage.seconds) for outage in outages]
    lasting = [f"{server} is away for {seconds:.0f} s" for server, seconds in waits if seconds]
    if not lasting and not _consumer(app).in_touch:
        lasting.append("Kafka's group coordinator is away")
    return "; ".join(lasting) or None


def _connect_lifecycle(app: LaneApp, worker: Worker, outages: Sequence[Outage]) -> None:
    settings, lanes = worker.settings, app.lanes
    server = MonitoringServer(
        settings.worker.http_host,
        settings.worker.http_port,
        metrics=worker.metrics.exposition,
        readiness=lambda: _missing(app, outages),
    )
    app.monitoring = server
    server.start()
    if settings.worker.http_port_file is not None:
        settings.worker.http_port_file.write_text(str(server.port))

    async def revoked(app: Any, *args: Any, **kwargs: Any) -> None:
        await lanes.close()
        worker.forget_lanes()

    async def rebalanced(app: Any, *args: Any, **kwargs: Any) -> None:
        generation = app.consumer_generation_id
        await lanes.close()
        worker.forget_lanes()
        ours = {topic.full_name(settings.app) for topic in inputs(settings)}
        assigned = sorted(tp for tp in app.consumer.assignment() if tp.topic in ours)
        await lanes.open(assigned, lambda: bool(app.consumer_generation_id == generation))
        if not assigned:
            lanes.ready = True  # There are more workers than lanes: it stands by.

    async def leaving(app: Any, *args: Any, **kwargs: Any) -> None:
        # A server that is away must not keep a worker that is to stop.
        last_call = threading.Timer(STOP_DEADLINE_S, app.end, (EXIT_FAILED,))
        last_call.daemon = True
        last_call.start()
        await lanes.close()
        await app.readers.stop()
        await app.logs.stop()
        await app.outbox.stop()

    signals: Any = app  # Faust's types want receivers that nobody would write.
    signals.on_partitions_revoked.connect(revoked)
    signals.on_rebalance_complete.connect(rebalanced)
    signals.on_before_shutdown.connect(leaving)

    @app.task
    async def refresh_model(app: faust.App) -> None:
        while not app.should_stop:
            await worker.refresh_model()
            await asyncio.sleep(settings.worker.model_poll)

    @app.task
    async def refresh_metrics(app: faust.App) -> None:
        while not app.should_stop:
            worker.refresh_metrics()
            worker.metrics.set_outages(outages)
            await asyncio.sleep(METRICS_EVERY_S)
