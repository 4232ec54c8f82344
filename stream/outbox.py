"""The one way out of a worker: batches of records to Kafka, acknowledged a batch at a time.

Why aiokafka's batch builder: a record costs 2 us to append and no future of its own; `send()` costs
12 us a record, librdkafka's `produce()` with a delivery callback 4 us on this thread and 5 in all
(batches of 512, one partition, Kafka 4, measured by benchmarks/outbox.py).
Partitions are given, never hashed: outputs stay in their input's partition.
Why two producers: aiokafka has one request to a broker in flight, and a decision, which somebody
waits for, would queue behind examples, which nobody does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors

from stream import topics
from stream.hardening import harden
from stream.ports import Message

OUTPUTS = (
    topics.SCORES,
    topics.ALERTS,
    topics.SHADOWS,
    topics.EXAMPLES,
    topics.DRIFT,
    topics.VERSIONS,
    topics.AUDIT,
    topics.DEAD_LETTERS,
)
DECISIONS = frozenset((topics.SCORES.name, topics.ALERTS.name))
BATCH_BYTES_MAX = 900_000
"""Below the broker's default `message.max.bytes` of 1 MiB, with room for headers."""


# What no waiting mends; all else that a broker answers or does not answer is an outage.
_REFUSALS = (
    kafka_errors.AuthenticationFailedError,
    kafka_errors.ClusterAuthorizationFailedError,
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.InvalidTopicError,
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.UnsupportedVersionError,
)


class PublishFailed(Exception):
    """Kafka did not acknowledge; the records may or may not be in the log."""


class PublishRefused(Exception):
    """Kafka will not take these records, however often it is asked."""


class KafkaOutbox:
    """Publishes messages for all lanes of a worker: decisions by one producer, the rest by another.

    Parameters
    ----------
    config
        Client arguments for aiokafka (`stream.clients.aiokafka_config`).
    app
        Name of the application: the prefix of every topic.
    now
        Wall time in seconds: the records' timestamps.
    retry
        Does what it is given, and decides what becomes of a `PublishFailed`. Readers of the outputs
        and of the examples take a record that comes twice for one.
    re_keyed
        Logs that events pass on their way to their decisions.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        app: str,
        now: Callable[[], float],
        retry: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]],
        re_keyed: Sequence[topics.Topic] = (),
    ) -> None:
        self._config = dict(config)
        self._app = app
        self._outputs = (*OUTPUTS, *re_keyed)
        self._urgent = DECISIONS | {topic.name for topic in re_keyed}
        self._n_partitions: dict[str, int] = {}
        self._now = now
        self._retry = retry
        self._producers: dict[str, AIOKafkaProducer] = {}

    async def start(self) -> None:
        """Connect, and learn how many partitions the outputs have."""
        for_decisions, for_the_rest = self._new_producer(), self._new_producer()
        for topic in self._outputs:
            producer = for_decisions if topic.name in self._urgent else for_the_rest
            self._producers[topic.name] = producer
        await asyncio.gather(for_decisions.start(), for_the_rest.start())
        for topic in self._outputs:
            partitions = await self._producers[topic.name].partitions_for(
                topic.full_name(self._app)
            )
            self._n_partitions[topic.name] = len(partitions)

    def _new_producer(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self._config, acks="all", linger_ms=0, max_batch_size=BATCH_BYTES_MAX
        )
        harden(producer.client)
        return producer

    async def stop(self) -> None:
        """Disconnect, once what was handed over is sent."""
        producers, self._producers = set(self._producers.values()), {}
        await asyncio.gather(*(producer.stop() for producer in producers))

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish and wait until all are acknowledged, in order for each partition.

        Raises
        ------
        PublishFailed
            If the broker did not acknowledge in the client's request timeout, unless `retry`
            tries again.
        PublishRefused
            If the broker answered that it never will.
        """
        if messages:
            await self._retry(lambda: self._publish(messages))

    async def _publish(self, messages: Sequence[Message]) -> None:
        try:
            sent = [
                await self._producers[topic].send_batch(
                    batch,
                    f"{self._app}.{topic}",
                    # An input's partition is folded into an output that has fewer.
                    partition=partition % self._n_partitions[topic],
                )
                for topic, partition, batch in self._batches(messages)
            ]
            await asyncio.gather(*sent)
        except _REFUSALS as error:
            raise PublishRefused(f"Kafka refuses {len(messages)} records: {error!r}") from error
        except kafka_errors.KafkaError as error:
            raise PublishFailed(f"Kafka did not take {len(messages)} records: {error!r}") from error

    def _batches(self, messages: Sequence[Message]) -> list[tuple[str, int, Any]]:
        assert self._producers, "publish before start"
        create_batch = next(iter(self._producers.values())).create_batch
        now_ms = int(self._now() * 1000)
        open_batches: dict[tuple[str, int], Any] = {}
        full: list[tuple[str, int, Any]] = []
        for topic, partition, key, value in messages:
            target = (topic, partition)
            batch = open_batches.get(target)
            if batch is None:
                batch = open_batches[target] = create_batch()
            if batch.append(key=key, value=value, timestamp=now_ms) is None:
                full.append((*target, batch))
                batch = open_batches[target] = create_batch()
                if batch.append(key=key, value=value, timestamp=now_ms) is None:
                    raise PublishRefused(f"a record of {len(value)} bytes is over Kafka's limit")
        return full + [(*target, batch) for target, batch in open_batches.items()]
