"""The one way out of a worker: batches of records to Kafka, acknowledged a batch at a time.

Why aiokafka's batch builder: a record costs 2 us to append and no future of its own; `send()` costs
12 us a record, librdkafka's `produce()` with a delivery callback 4 us on this thread and 5 in all
(batches of 512, one partition, Kafka 4, measured by benchmarks/outbox.py).
Partitions are given, never hashed: outputs stay in their input's partition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors

from stream import topics
from stream.ports import Message

OUTPUTS = (
    topics.SCORES,
    topics.ALERTS,
    topics.EXAMPLES,
    topics.DRIFT,
    topics.VERSIONS,
    topics.AUDIT,
    topics.DEAD_LETTERS,
)
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
    """Publishes messages through one producer shared by all lanes of a worker.

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
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        app: str,
        now: Callable[[], float],
        retry: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]],
    ) -> None:
        self._config = dict(config)
        self._app = app
        # An input's partition is folded into an output that has fewer.
        self._n_partitions: dict[str, int] = {}
        self._now = now
        self._retry = retry
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect, and learn how many partitions the outputs have."""
        producer = AIOKafkaProducer(
            **self._config, acks="all", linger_ms=0, max_batch_size=BATCH_BYTES_MAX
        )
        await producer.start()
        self._producer = producer
        for topic in OUTPUTS:
            name = topic.full_name(self._app)
            self._n_partitions[topic.name] = len(await producer.partitions_for(name))

    async def stop(self) -> None:
        """Disconnect, once what was handed over is sent."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

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
        assert self._producer is not None, "publish before start"
        try:
            sent = [
                await self._producer.send_batch(batch, topic, partition=partition)
                for topic, partition, batch in self._batches(messages)
            ]
            await asyncio.gather(*sent)
        except _REFUSALS as error:
            raise PublishRefused(f"Kafka refuses {len(messages)} records: {error!r}") from error
        except kafka_errors.KafkaError as error:
            raise PublishFailed(f"Kafka did not take {len(messages)} records: {error!r}") from error

    def _batches(self, messages: Sequence[Message]) -> list[tuple[str, int, Any]]:
        assert self._producer is not None
        now_ms = int(self._now() * 1000)
        open_batches: dict[tuple[str, int], Any] = {}
        full: list[tuple[str, int, Any]] = []
        for topic, partition, key, value in messages:
            target = (topic, partition)
            batch = open_batches.get(target)
            if batch is None:
                batch = open_batches[target] = self._producer.create_batch()
            if batch.append(key=key, value=value, timestamp=now_ms) is None:
                full.append((*self._address(topic, partition), batch))
                batch = open_batches[target] = self._producer.create_batch()
                if batch.append(key=key, value=value, timestamp=now_ms) is None:
                    raise PublishRefused(f"a record of {len(value)} bytes is over Kafka's limit")
        rest = [(*self._address(*target), batch) for target, batch in open_batches.items()]
        return full + rest

    def _address(self, topic: str, partition: int) -> tuple[str, int]:
        return f"{self._app}.{topic}", partition % self._n_partitions[topic]
