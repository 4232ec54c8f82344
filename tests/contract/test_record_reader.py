"""The worker's readers on the embedded broker and on Kafka: what they are sent to, and no more."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from faust.types import TP

from stream.record_reader import RecordReader, RecordReaders

N_RECORDS = 10
DEADLINE_S = 30.0

Offsets = dict[TP, list[int]]


class Logs:
    """Two topics of two partitions with records in them, and a reader for each topic."""

    def __init__(self, readers: RecordReaders, producer: AIOKafkaProducer, topics: list[str]):
        self.readers = readers
        self.events, self.labels = topics
        self._producer = producer

    async def append(self, *tps: TP, n: int = 1) -> None:
        """Append records to partitions."""
        for tp in tps:
            for _ in range(n):
                await self._producer.send_and_wait(tp.topic, b"{}", partition=tp.partition)

    async def read(self, n: int, reader: int = 0) -> Offsets:
        """Let one reader fetch until it has so many records; give their offsets."""
        offsets: Offsets = {}
        async with asyncio.timeout(DEADLINE_S):
            while sum(map(len, offsets.values())) < n:
                fetched = await list(self.readers)[reader].fetch()
                for tp, records in fetched.items():
                    offsets.setdefault(TP(*tp), []).extend(record.offset for record in records)
        return offsets


@asynccontextmanager
async def logs(bootstrap: str) -> AsyncIterator[Logs]:
    """Fill the topics, and connect."""
    topics = [f"{kind}-{uuid.uuid4().hex[:8]}" for kind in ("events", "labels")]
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 2, 1) for topic in topics])
    await admin.close()
    config = {"bootstrap_servers": bootstrap}
    readers = RecordReaders(
        RecordReader(config, topics[:1]), RecordReader(config, topics[1:], rest=0.05)
    )
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        found = Logs(readers, producer, topics)
        await found.append(*(TP(topic, i) for topic in topics for i in (0, 1)), n=N_RECORDS)
        await readers.start()
        try:
            yield found
        finally:
            await readers.stop()


def test_each_reader_reads_its_topics_from_where_it_was_sent(bootstrap: str) -> None:
    """The rest is left to others: partitions of other workers, and of the other reader."""

    async def run() -> None:
        async with logs(bootstrap) as log:
            first, second, label = TP(log.events, 0), TP(log.events, 1), TP(log.labels, 1)
            assert log.readers.highwater(first) is None
            log.readers.seek({first: 4, second: 0, label: 7})
            read = await log.read(16)
            assert read == {first: list(range(4, 10)), second: list(range(10))}
            assert await log.read(3, reader=1) == {label: [7, 8, 9]}
            assert log.readers.highwater(first) == log.readers.highwater(label) == N_RECORDS
            assert log.readers.highwater(TP(log.labels, 0)) is None

    asyncio.run(run())


def test_after_a_seek_only_what_was_sought_is_read(bootstrap: str) -> None:
    """Partitions that left give no more, and what is left goes on where it was sent."""

    async def run() -> None:
        async with logs(bootstrap) as log:
            first, second = TP(log.events, 0), TP(log.events, 1)
            log.readers.seek({first: 0, second: 0})
            await log.read(2 * N_RECORDS)
            log.readers.seek({second: 8})
            assert [reader.n_seeks for reader in log.readers] == [2, 2]
            await log.append(first, second)
            assert await log.read(3) == {second: [8, 9, 10]}
            assert log.readers.highwater(first) is None

    asyncio.run(run())


def test_a_held_partition_is_not_read_until_it_is_released(bootstrap: str) -> None:
    """The others are; and holding one that left, or is the other reader's, harms nobody."""

    async def run() -> None:
        async with logs(bootstrap) as log:
            first, second = TP(log.events, 0), TP(log.events, 1)
            log.readers.seek({first: N_RECORDS, second: N_RECORDS})
            log.readers.hold(first, True)
            log.readers.hold(TP(log.labels, 0), True)
            await log.append(first, second)
            assert await log.read(1) == {second: [10]}
            log.readers.hold(first, False)
            assert await log.read(1) == {first: [10]}

    asyncio.run(run())
