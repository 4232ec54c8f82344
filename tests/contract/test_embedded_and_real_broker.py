"""What we need of a broker, asked of the embedded one and of Kafka, through both clients.

The embedded broker is a double: what holds here for both may be relied on in tests and demos.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from typing import Protocol

import aiokafka
import aiokafka.admin
import kafka
import kafka.admin
import pytest

from tests.waiting import eventually

# The embedded broker lets a member join only after half its session timeout, so it is short here.
SESSION_TIMEOUT_MS = 2_000
HEARTBEAT_INTERVAL_MS = 300
POLL_MS = 200
READ_DEADLINE_S = 60.0

Record = tuple[bytes, bytes]
Position = tuple[int, int]  # partition, offset


class Client(Protocol):
    """The verbs under test, the same for both libraries."""

    def create_topic(self, topic: str, n_partitions: int) -> None: ...
    def n_partitions(self, topic: str) -> int: ...
    def produce(self, topic: str, records: list[Record]) -> list[Position]: ...
    def read(self, topic: str, partition: int, start: int | None, n: int) -> list[Record]: ...
    def commit(self, group: str, topic: str, partition: int, offset: int) -> None: ...
    def committed(self, group: str, topic: str, partition: int) -> int | None: ...
    def resume(self, group: str, topic: str, n: int) -> list[Record]: ...
    def split(self, group: str, topic: str, n_partitions: int) -> list[set[int]]: ...


class KafkaPython:
    """The verbs in kafka-python."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def create_topic(self, topic: str, n_partitions: int) -> None:
        admin = kafka.KafkaAdminClient(bootstrap_servers=self._bootstrap)
        admin.create_topics([kafka.admin.NewTopic(topic, n_partitions, 1)])
        admin.close()

    def n_partitions(self, topic: str) -> int:
        consumer = self._consumer()
        partitions = consumer.partitions_for_topic(topic) or set()
        consumer.close()
        return len(partitions)

    def produce(self, topic: str, records: list[Record]) -> list[Position]:
        producer = kafka.KafkaProducer(bootstrap_servers=self._bootstrap, acks="all")
        sent = [producer.send(topic, key=key, value=value) for key, value in records]
        landed = [future.get(READ_DEADLINE_S) for future in sent]
        producer.close()
        return [(metadata.partition, metadata.offset) for metadata in landed]

    def read(self, topic: str, partition: int, start: int | None, n: int) -> list[Record]:
        consumer = self._consumer()
        assigned = kafka.TopicPartition(topic, partition)
        consumer.assign([assigned])
        if start is None:
            consumer.seek_to_beginning(assigned)
        else:
            consumer.seek(assigned, start)
        records = self._drain(consumer, n)
        consumer.close()
        return records

    def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        consumer = self._consumer(group)
        assigned = kafka.TopicPartition(topic, partition)
        consumer.assign([assigned])
        consumer.commit({assigned: kafka.OffsetAndMetadata(offset, "", -1)})
        consumer.close()

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        consumer = self._consumer(group)
        offset: int | None = consumer.committed(kafka.TopicPartition(topic, partition))
        consumer.close()
        return offset

    def resume(self, group: str, topic: str, n: int) -> list[Record]:
        consumer = self._consumer(group)
        consumer.subscribe([topic])
        records = self._drain(consumer, n)
        consumer.close()
        return records

    def split(self, group: str, topic: str, n_partitions: int) -> list[set[int]]:
        members = [self._consumer(group) for _ in range(2)]
        for member in members:
            member.subscribe([topic])

        def shares() -> list[set[int]]:
            for member in members:
                member.poll(timeout_ms=POLL_MS)
            return [{assigned.partition for assigned in member.assignment()} for member in members]

        found = eventually(
            lambda: _complete(shares(), n_partitions), deadline_s=30.0, message="a split"
        )
        for member in members:
            member.close()
        return found

    def _consumer(self, group: str | None = None) -> kafka.KafkaConsumer:
        return kafka.KafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
            max_poll_interval_ms=60_000,
        )

    def _drain(self, consumer: kafka.KafkaConsumer, n: int) -> list[Record]:
        records: list[Record] = []
        deadline = time.monotonic() + READ_DEADLINE_S
        while len(records) < n and time.monotonic() < deadline:
            for batch in consumer.poll(timeout_ms=POLL_MS).values():
                records += [(record.key, record.value) for record in batch]
        return records


class AioKafka:
    """The verbs in aiokafka, the client under Faust."""

    def __init__(self, bootstrap: str, runner: asyncio.Runner) -> None:
        self._bootstrap = bootstrap
        self._run = runner.run

    def create_topic(self, topic: str, n_partitions: int) -> None:
        async def create() -> None:
            admin = aiokafka.admin.AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
            await admin.start()
            try:
                await admin.create_topics([aiokafka.admin.NewTopic(topic, n_partitions, 1)])
            finally:
                await admin.close()

        self._run(create())

    def n_partitions(self, topic: str) -> int:
        async def count() -> int:
            async with self._consumer() as consumer:
                consumer.subscribe([topic])
                await consumer.getmany(timeout_ms=POLL_MS)
                return len(consumer.partitions_for_topic(topic) or set())

        return self._run(count())

    def produce(self, topic: str, records: list[Record]) -> list[Position]:
        async def produce() -> list[Position]:
            async with aiokafka.AIOKafkaProducer(
                bootstrap_servers=self._bootstrap, acks="all"
            ) as producer:
                sent = [await producer.send(topic, value, key) for key, value in records]
                landed = await asyncio.gather(*sent)
            return [(metadata.partition, metadata.offset) for metadata in landed]

        return self._run(produce())

    def read(self, topic: str, partition: int, start: int | None, n: int) -> list[Record]:
        async def read() -> list[Record]:
            assigned = aiokafka.TopicPartition(topic, partition)
            async with self._consumer() as consumer:
                consumer.assign([assigned])
                if start is None:
                    await consumer.seek_to_beginning(assigned)
                else:
                    consumer.seek(assigned, start)
                return await self._drain(consumer, n)

        return self._run(read())

    def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        async def commit() -> None:
            assigned = aiokafka.TopicPartition(topic, partition)
            async with self._consumer(group) as consumer:
                consumer.assign([assigned])
                await consumer.commit({assigned: offset})

        self._run(commit())

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        async def committed() -> int | None:
            async with self._consumer(group) as consumer:
                found = await consumer.committed(aiokafka.TopicPartition(topic, partition))
                return None if found is None else int(found)

        return self._run(committed())

    def resume(self, group: str, topic: str, n: int) -> list[Record]:
        async def resume() -> list[Record]:
            async with self._consumer(group, topic) as consumer:
                return await self._drain(consumer, n)

        return self._run(resume())

    def split(self, group: str, topic: str, n_partitions: int) -> list[set[int]]:
        async def split() -> list[set[int]]:
            members = [self._consumer(group, topic) for _ in range(2)]
            await asyncio.gather(*(member.start() for member in members))
            try:
                deadline = time.monotonic() + 30.0
                while time.monotonic() < deadline:
                    await asyncio.gather(*(m.getmany(timeout_ms=POLL_MS) for m in members))
                    shares = [{tp.partition for tp in member.assignment()} for member in members]
                    if found := _complete(shares, n_partitions):
                        return found
                raise AssertionError("the two members did not split the partitions within 30 s")
            finally:
                await asyncio.gather(*(member.stop() for member in members))

        return self._run(split())

    def _consumer(self, group: str | None = None, *topics: str) -> aiokafka.AIOKafkaConsumer:
        return aiokafka.AIOKafkaConsumer(
            *topics,
            bootstrap_servers=self._bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
        )

    async def _drain(self, consumer: aiokafka.AIOKafkaConsumer, n: int) -> list[Record]:
        records: list[Record] = []
        deadline = time.monotonic() + READ_DEADLINE_S
        while len(records) < n and time.monotonic() < deadline:
            for batch in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                records += [(record.key, record.value) for record in batch]
        return records


@pytest.fixture(params=["kafka-python", "aiokafka"])
def client(request: pytest.FixtureRequest, bootstrap: str) -> Iterator[Client]:
    """One client library, then the other."""
    if request.param == "kafka-python":
        yield KafkaPython(bootstrap)
        return
    with asyncio.Runner() as runner:
        yield AioKafka(bootstrap, runner)


@pytest.fixture
def topic() -> str:
    """Name a topic that no other test uses."""
    return f"contract-{uuid.uuid4().hex[:8]}"


def test_a_topic_has_the_partitions_it_was_created_with(client: Client, topic: str) -> None:
    client.create_topic(topic, 3)

    assert eventually(lambda: client.n_partitions(topic)) == 3


def test_a_key_stays_in_its_partition_and_in_order(client: Client, topic: str) -> None:
    client.create_topic(topic, 3)
    sent = [(f"key-{i % 7}".encode(), f"value-{i}".encode()) for i in range(70)]

    positions = client.produce(topic, sent)

    partitions_by_key: dict[bytes, set[int]] = {}
    expected: dict[int, list[Record]] = {}
    for record, (partition, offset) in zip(sent, positions, strict=True):
        partitions_by_key.setdefault(record[0], set()).add(partition)
        expected.setdefault(partition, []).append(record)
        assert offset == len(expected[partition]) - 1
    assert all(len(partitions) == 1 for partitions in partitions_by_key.values())
    assert len(expected) > 1, "the keys should reach more than one partition"
    for partition, records in expected.items():
        assert client.read(topic, partition, None, len(records)) == records


def test_reading_starts_at_the_offset_sought(client: Client, topic: str) -> None:
    client.create_topic(topic, 1)
    client.produce(topic, [(b"key", f"{i}".encode()) for i in range(10)])

    read = client.read(topic, 0, 6, 4)

    assert [value for _, value in read] == [b"6", b"7", b"8", b"9"]


def test_a_group_resumes_at_its_commit(client: Client, topic: str) -> None:
    client.create_topic(topic, 1)
    client.produce(topic, [(b"key", f"{i}".encode()) for i in range(5)])
    group = f"group-of-{topic}"

    client.commit(group, topic, 0, 3)

    assert client.committed(group, topic, 0) == 3
    assert [value for _, value in client.resume(group, topic, 2)] == [b"3", b"4"]


def test_a_group_without_a_commit_says_so(client: Client, topic: str) -> None:
    client.create_topic(topic, 1)

    assert client.committed(f"group-of-{topic}", topic, 0) is None


def test_two_members_split_the_partitions(client: Client, topic: str) -> None:
    client.create_topic(topic, 4)

    shares = client.split(f"group-of-{topic}", topic, 4)

    assert sorted(len(share) for share in shares) == [2, 2]


def _complete(shares: list[set[int]], n_partitions: int) -> list[set[int]] | None:
    """Give back the shares once every member has some and no partition is missing or doubled."""
    if all(shares) and sorted(p for share in shares for p in share) == list(range(n_partitions)):
        return shares
    return None
