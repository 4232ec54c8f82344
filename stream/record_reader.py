"""Reads the records of the assigned partitions, on the loop that handles them.

Why not with Faust's consumer, which has a thread of its own and stays the group's member: two
threads that both work pass the interpreter's lock to and fro at every system call, and each waits
for the other's turn to end. Measured at 3,000 events a second: 4,900 calls of futex a second, and
scores three times as late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import fetcher as aiokafka_fetcher
from faust.types import TP

from stream.hardening import harden

FETCH_WAIT_MS = 50
"""How long the broker may wait for news; below it the embedded one burns a core."""
REQUEST_TIMEOUT_MS = 10_000
"""What a broker that dies never answers holds its connection up for this long."""
STOP_POLL_MS = 1000

Fetched = Mapping[TopicPartition, list[Any]]


class ParsedRecords(aiokafka_fetcher.PartitionRecords):
    """The records of a fetch as the parser gives them: all that a `stream.ports.Record` has."""

    def _consumer_record(self, tp: TopicPartition, record: Any) -> Any:
        return record


# The fetcher has no other place to say so. The logs that this process reads want no more either.
aiokafka_fetcher.PartitionRecords = ParsedRecords


class RecordReader:
    """A consumer without a group, for the partitions that the group gave this worker.

    Parameters
    ----------
    config
        Client arguments for aiokafka (`stream.clients.aiokafka_config`).
    topics
        Full names of the topics that it reads; other partitions are left to other readers.
    rest
        Seconds between a broker's answer and the next fetch from it. Records that come one by one
        then come together: a fetch costs the worker and the broker as much as tens of records.
    """

    def __init__(
        self, config: Mapping[str, Any], topics: Collection[str], rest: float = 0.0
    ) -> None:
        self._config = dict(config)
        self.topics = frozenset(topics)
        self._rest = rest
        self._consumer: AIOKafkaConsumer | None = None
        self.n_seeks = 0
        """How often it was sent elsewhere: what was fetched before is not wanted any more."""

    async def start(self) -> None:
        """Connect."""
        self._consumer = AIOKafkaConsumer(
            **self._config,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        harden(self._consumer._client)
        await self._consumer.start()
        rest_after_fetches(self._consumer._fetcher, self._rest)

    async def stop(self) -> None:
        """Disconnect."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    def seek(self, positions: Mapping[TP, int]) -> None:
        """Read these partitions, and no others, from these offsets on."""
        consumer = self._started()
        self.n_seeks += 1
        consumer.assign([TopicPartition(*tp) for tp in positions])
        for tp, position in positions.items():
            consumer.seek(TopicPartition(*tp), position)

    def hold(self, tp: TP, held: bool) -> None:
        """Stop or resume asking for a partition's records."""
        consumer = self._consumer_of(tp)
        if consumer is not None:
            change = consumer.pause if held else consumer.resume
            change(TopicPartition(*tp))

    def highwater(self, tp: TP) -> int | None:
        """Give the offset after the partition's last record, as the last fetch told it."""
        consumer = self._consumer_of(tp)
        if consumer is None:
            return None
        highwater: int | None = consumer.highwater(TopicPartition(*tp))
        return highwater

    def _consumer_of(self, tp: TP) -> AIOKafkaConsumer | None:
        # Lanes open before, and close after, their partitions are assigned here.
        consumer = self._consumer
        is_read = consumer is not None and TopicPartition(*tp) in consumer.assignment()
        return consumer if is_read else None

    async def fetch(self) -> Fetched:
        """Wait for records; nothing if there were none for a second."""
        fetched: Fetched = await self._started().getmany(timeout_ms=STOP_POLL_MS)
        return fetched

    def _started(self) -> AIOKafkaConsumer:
        assert self._consumer is not None, "read before start"
        return self._consumer


def rest_after_fetches(fetcher: Any, rest: float) -> None:
    """Let an aiokafka `Fetcher` wait for `rest` seconds after each answer of a broker.

    It can't be who takes the records that waits: aiokafka would ask for the other partitions
    meanwhile, and a broker is asked by one fetch at a time.
    """
    ask, now = fetcher._proc_fetch_request, asyncio.get_running_loop().time
    next_at: dict[int, float] = {}

    async def rest_and_ask(assignment: Any, node: int, request: Any) -> Any:
        try:
            early = next_at.get(node, 0.0) - now()
            if early > 0:
                await asyncio.sleep(early)
            return await ask(assignment, node, request)
        except asyncio.CancelledError:
            # Given up. Who cancels it awaits it then, and takes no cancellation for an answer:
            # aiokafka sees to that itself, but not while it waits after an error.
            return False
        finally:
            next_at[node] = now() + rest

    fetcher._proc_fetch_request = rest_and_ask


class RecordReaders:
    """The readers of a worker, as one: each has its topics."""

    def __init__(self, *readers: RecordReader) -> None:
        self._readers = readers

    def __iter__(self) -> Iterator[RecordReader]:
        return iter(self._readers)

    async def start(self) -> None:
        """Connect."""
        await asyncio.gather(*(reader.start() for reader in self._readers))

    async def stop(self) -> None:
        """Disconnect."""
        await asyncio.gather(*(reader.stop() for reader in self._readers))

    def seek(self, positions: Mapping[TP, int]) -> None:
        """Read these partitions, and no others, from these offsets on."""
        for reader in self._readers:
            reader.seek({tp: at for tp, at in positions.items() if tp.topic in reader.topics})

    def hold(self, tp: TP, held: bool) -> None:
        """Stop or resume asking for a partition's records."""
        for reader in self._readers:
            reader.hold(tp, held)

    def highwater(self, tp: TP) -> int | None:
        """Give the offset after the partition's last record, as the last fetch told it."""
        found = (reader.highwater(tp) for reader in self._readers if tp.topic in reader.topics)
        return next(found, None)
