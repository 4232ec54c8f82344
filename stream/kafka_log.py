"""Read whole topics fast, and publish in bulk: what the command line needs of Kafka.

Why these options: kafka-python is written in Python, so what counts is how often its code runs.
A record costs 25 us to publish and 13 us to read, batches of 100 kB cost next to nothing each,
and the checksum is left to C (the `crc32c` extra; in Python it would double the cost). The worker
does not use this module: Faust consumes for it.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaTimeoutError
from kafka.partitioner.default import murmur2

from stream.clients import kafka_python_config
from stream.settings import KafkaSettings

if TYPE_CHECKING:
    from kafka.consumer.fetcher import ConsumerRecord

CONNECT_TIMEOUT_S = 10.0
SILENCE_MAX_S = 30.0
"""A broker that gives nothing for so long, though there is something to read, is gone."""
DELIVERY_TIMEOUT_S = 60.0
CLOSE_TIMEOUT_S = 5.0
BATCH_RECORDS_MAX = 10_000
POLL_MS = 500

# Two batches on each of four partitions keep the sender busy; more only wait in memory.
BATCH_BYTES = 1 << 17
LINGER_MS = 20
BULK_LINGER_MS = 100
"""Where nobody waits for a single record: sending many small batches would cost a third more."""
# kafka-python's own queue has no bound. A waiting record costs about 1 kB.
UNANSWERED_MAX = 50_000
KEYS_REMEMBERED = 100_000


class UnknownTopic(Exception):
    """The broker has no such topic; the message says how to create it."""


class Log:
    """Reads topics of one cluster without joining a group or committing anything."""

    def __init__(
        self, consumer: KafkaConsumer, topics: Mapping[str, list[int]], where: str
    ) -> None:
        self._consumer = consumer
        self._topics = topics
        self._where = where

    def ends(self, topic: str) -> dict[int, tuple[int, int]]:
        """Tell the first offset and the end offset of each partition.

        1. Ask for the offsets.
        2. Fetch the last record of each partition: with it comes the true end. The embedded broker
           answers the first question with the last *batch's* first offset plus one.
        """
        partitions, timeout_ms = self._partitions(topic), CONNECT_TIMEOUT_S * 1000
        firsts = self._consumer.beginning_offsets(partitions, timeout_ms=timeout_ms)
        ends = self._consumer.end_offsets(partitions, timeout_ms=timeout_ms)
        unanswered = [tp for tp in partitions if ends[tp] > firsts[tp]]
        self._seek({tp: ends[tp] - 1 for tp in unanswered})
        deadline = time.monotonic() + CONNECT_TIMEOUT_S
        while unanswered:
            self._consumer.poll(POLL_MS, BATCH_RECORDS_MAX)
            for tp in unanswered:
                ends[tp] = max(ends[tp], self._consumer.highwater(tp) or 0)
            unanswered = [tp for tp in unanswered if self._consumer.highwater(tp) is None]
            if unanswered and time.monotonic() > deadline:
                raise KafkaTimeoutError(f"no record of {unanswered[0]} came")
        self._consumer.unsubscribe()
        return {tp.partition: (firsts[tp], ends[tp]) for tp in partitions}

    def read(
        self, topic: str, ends: Mapping[int, tuple[int, int]] | None = None
    ) -> Iterator[list[ConsumerRecord]]:
        """Read a topic from the beginning to its end as it is now, in batches of one partition."""
        bounds = {
            TopicPartition(topic, partition): bound
            for partition, bound in (self.ends(topic) if ends is None else ends).items()
        }
        waiting = {tp: end for tp, (first, end) in bounds.items() if end > first}
        self._seek({tp: bounds[tp][0] for tp in waiting})
        heard = time.monotonic()
        while waiting:
            for tp, records in self._consumer.poll(POLL_MS, BATCH_RECORDS_MAX).items():
                heard = time.monotonic()
                end = bounds[tp][1]
                if records[-1].offset < end:
                    yield records
                elif wanted := [record for record in records if record.offset < end]:
                    yield wanted
            # By position: the end may be a hole (a transaction's marker), where no record is.
            for tp in [tp for tp, end in waiting.items() if self._consumer.position(tp) >= end]:
                self._consumer.pause(tp)
                del waiting[tp]
            if time.monotonic() - heard > SILENCE_MAX_S:
                raise KafkaTimeoutError(f"no record of {topic} came for {SILENCE_MAX_S:.0f} s")
        self._consumer.unsubscribe()

    def follow(self, topic: str, *, from_beginning: bool = False) -> Iterator[ConsumerRecord]:
        """Give records as they come, for ever."""
        starts = {
            TopicPartition(topic, partition): first if from_beginning else end
            for partition, (first, end) in self.ends(topic).items()
        }
        self._seek(starts)
        while True:
            for records in self._consumer.poll(POLL_MS).values():
                yield from records

    def follow_all(
        self, topics: Iterable[str], poll_ms: int
    ) -> Callable[[], Mapping[TopicPartition, list[ConsumerRecord]]]:
        """Read several topics from their beginnings: each call of what this gives is one poll.

        A function and not a generator, which Ctrl-C would end: the last words must still be read.
        """
        partitions = [tp for topic in topics for tp in self._partitions(topic)]
        self._consumer.assign(partitions)
        self._consumer.seek_to_beginning(*partitions)
        return lambda: self._consumer.poll(poll_ms, BATCH_RECORDS_MAX)

    def _seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._consumer.assign(list(offsets))
        for tp, offset in offsets.items():
            self._consumer.seek(tp, offset)

    def _partitions(self, topic: str) -> list[TopicPartition]:
        found = _require(self._topics, topic, self._where)
        return [TopicPartition(topic, partition) for partition in found]


@contextmanager
def open_log(settings: KafkaSettings) -> Iterator[Log]:
    """Connect a reader; raises at once when no broker answers."""
    consumer = KafkaConsumer(
        **kafka_python_config(settings),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        allow_auto_create_topics=False,
        bootstrap_timeout_ms=CONNECT_TIMEOUT_S * 1000,
        fetch_max_wait_ms=100,
        metrics_enabled=False,
    )
    try:
        # All topics at once: asking for one by name would create it on lenient brokers.
        topics = {name: sorted(consumer.partitions_for_topic(name)) for name in consumer.topics()}
        yield Log(consumer, topics, settings.bootstrap)
    finally:
        consumer.close()


class _Producer(KafkaProducer):  # type: ignore[misc,unused-ignore]
    # Without a broker, closing would raise once more, and again as a stack trace at exit. What was
    # not sent is known by then: `Publisher` counts what was acknowledged.
    def close(self, timeout: float | None = None, null_logger: bool = False) -> None:
        with contextlib.suppress(KafkaTimeoutError):
            super().close(timeout, null_logger)


class Publisher:
    """Publishes in bulk; a record that Kafka did not take is an error, not a statistic.

    Records with one key stay in order and on one partition, the one where Java's producers put
    them. kafka-python's partitioner would do the same, in 10 us a record.
    """

    def __init__(
        self, producer: KafkaProducer, topics: Mapping[str, list[int]], where: str
    ) -> None:
        self._producer = producer
        self._topics = topics
        self._where = where
        self._n_answered = 0
        self._unanswered: deque[Any] = deque()

    @property
    def n_acknowledged(self) -> int:
        """How many records Kafka has acknowledged."""
        return self._n_answered + sum(bool(future.succeeded()) for future in self._unanswered)

    def require(self, topics: Iterable[str]) -> None:
        """Raise `UnknownTopic` unless all topics exist."""
        for topic in topics:
            _require(self._topics, topic, self._where)

    def publish(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int | None = None,
        *,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Queue a record; waits while the queue is full, and raises what Kafka refused."""
        if partition is None and key is not None:
            partitions = self._topics[topic]
            partition = partitions[_hash_of_key(key) % len(partitions)]
        unanswered, named = self._unanswered, list(headers) if headers else None
        unanswered.append(self._producer.send(topic, value, key, named, partition, timestamp_ms))
        if len(unanswered) > UNANSWERED_MAX:
            self._await_first()

    def serve(self) -> None:
        """Take the acknowledgements that are there; raises what Kafka refused."""
        unanswered = self._unanswered
        while unanswered and unanswered[0].is_done:
            if unanswered[0].exception is not None:
                raise unanswered[0].exception
            unanswered.popleft()
            self._n_answered += 1

    def flush(self) -> None:
        """Wait until Kafka has acknowledged all that was queued."""
        while self._unanswered:
            self._await_first()

    def _await_first(self) -> None:
        # The producer itself gives up after DELIVERY_TIMEOUT_S.
        self._unanswered[0].get(DELIVERY_TIMEOUT_S + CLOSE_TIMEOUT_S)
        self.serve()


@contextmanager
def open_publisher(settings: KafkaSettings, *, linger_ms: int = LINGER_MS) -> Iterator[Publisher]:
    """Connect a publisher; raises at once when no broker answers."""
    topics = _topics_of(settings)
    producer = _Producer(
        **kafka_python_config(settings),
        acks="all",
        enable_idempotence=True,
        batch_size=BATCH_BYTES,
        linger_ms=linger_ms,
        delivery_timeout_ms=DELIVERY_TIMEOUT_S * 1000,
        allow_auto_create_topics=False,
        bootstrap_timeout_ms=CONNECT_TIMEOUT_S * 1000,
        metrics_enabled=False,
    )
    try:
        yield Publisher(producer, topics, settings.bootstrap)
    finally:
        # Flushed by now, unless it failed: then what is still queued is given up.
        producer.close(CLOSE_TIMEOUT_S)


@lru_cache(maxsize=KEYS_REMEMBERED)
def _hash_of_key(key: bytes) -> int:
    # Cached, because entities repeat and murmur2 is written in Python as well.
    hashed: int = murmur2(key)
    return hashed & 0x7FFFFFFF


def _topics_of(settings: KafkaSettings) -> dict[str, list[int]]:
    admin = KafkaAdminClient(
        **kafka_python_config(settings), bootstrap_timeout_ms=CONNECT_TIMEOUT_S * 1000
    )
    try:
        return {
            topic["name"]: sorted(partition["partition_index"] for partition in topic["partitions"])
            for topic in admin.describe_topics()
        }
    finally:
        admin.close()


def _require(topics: Mapping[str, list[int]], topic: str, where: str) -> list[int]:
    if topic not in topics:
        raise UnknownTopic(
            f"Kafka at {where} has no topic {topic}: create the application's topics with "
            "`driftline topics create`, and check app in the configuration"
        )
    return topics[topic]
