"""Reads logs for the learn lane, beside what Faust delivers: commands, and examples of the past.

Why not lanes of Faust's group: a partition goes to any worker, and commands are for the one that
has the learn lane. Their position is in that lane's state.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stream.hardening import harden
from stream.ports import Record

log = logging.getLogger(__name__)

FETCH_WAIT_MS = 200
"""How long the broker may wait for news; news are sent at once."""


class _Reader:
    def __init__(self, consumer: AIOKafkaConsumer, tp: TopicPartition) -> None:
        self.consumer = consumer
        self.tp = tp
        self.position: int | None = None


class KafkaLogs:
    """One consumer without a group for each log and reader, connected when it first reads.

    While Kafka is away there is nothing to read, and the next call tries again.
    """

    def __init__(self, config: Mapping[str, Any], app: str) -> None:
        self._config = dict(config)
        self._app = app
        self._readers: dict[tuple[str, int, str], _Reader] = {}

    async def end(self, topic: str, partition: int) -> int | None:
        """Give the offset after the last record; None if it can't be had now."""
        try:
            reader = await self._reader(topic, partition)
            ends = await reader.consumer.end_offsets([reader.tp])
        except KafkaError as error:
            log.warning("the end of %s can't be had: %r", topic, error)
            return None
        return int(ends[reader.tp])

    async def read(
        self, topic: str, partition: int, position: int, limit: int, *, reader: str = ""
    ) -> Sequence[Record]:
        """Give records from `position` on that are here already; it does not wait for more."""
        try:
            found = await self._reader(topic, partition, reader)
            if found.position != position:
                found.consumer.seek(found.tp, position)
                found.position = position
            fetched = await found.consumer.getmany(found.tp, timeout_ms=0, max_records=limit)
        except KafkaError as error:
            log.warning("%s can't be read: %r", topic, error)
            return ()
        records: Sequence[Record] = fetched.get(found.tp, ())
        if records:
            found.position = records[-1].offset + 1
        return records

    async def release(self, topic: str, partition: int, *, reader: str = "") -> None:
        """Disconnect the consumer of that log."""
        found = self._readers.pop((topic, partition, reader), None)
        if found is not None:
            await found.consumer.stop()

    async def stop(self) -> None:
        """Disconnect from all."""
        for topic, partition, reader in list(self._readers):
            await self.release(topic, partition, reader=reader)

    async def _reader(self, topic: str, partition: int, name: str = "") -> _Reader:
        reader = self._readers.get((topic, partition, name))
        if reader is None:
            tp = TopicPartition(f"{self._app}.{topic}", partition)
            consumer = AIOKafkaConsumer(
                **self._config,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=FETCH_WAIT_MS,
            )
            harden(consumer._client)
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
            consumer.assign([tp])
            reader = self._readers[topic, partition, name] = _Reader(consumer, tp)
        return reader
