"""Reads the records of the assigned partitions, on the loop that handles them.

Why not with Faust's consumer, which has a thread of its own and stays the group's member: two
threads that both work pass the interpreter's lock to and fro at every system call, and each waits
for the other's turn to end. Measured at 3,000 events a second: 4,900 calls of futex a second, and a
third of the worker's time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import IllegalStateError
from faust.types import TP

from stream.hardening import harden

FETCH_WAIT_MS = 50
"""How long the broker may wait for news; below it the embedded one burns a core."""
REQUEST_TIMEOUT_MS = 10_000
"""What a broker that dies never answers holds its connection up for this long."""
STOP_POLL_MS = 1000

Fetched = Mapping[TopicPartition, list[Any]]


class ParsedRecords(fetcher.PartitionRecords):
    """The records of a fetch as the parser gives them: all that a `stream.ports.Record` has."""

    def _consumer_record(self, tp: TopicPartition, record: Any) -> Any:
        return record


# The fetcher has no other place to say so. The logs that this process reads want no more either.
fetcher.PartitionRecords = ParsedRecords


class RecordReader:
    """A consumer without a group, for the partitions that the group gave this worker.

    Parameters
    ----------
    config
        Client arguments for aiokafka (`stream.clients.aiokafka_config`).
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = dict(config)
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
        consumer = self._consumer
        if consumer is not None and TopicPartition(*tp) in consumer.assignment():
            change = consumer.pause if held else consumer.resume
            change(TopicPartition(*tp))

    def highwater(self, tp: TP) -> int | None:
        """Give the offset after the partition's last record, as the last fetch told it."""
        try:
            highwater: int | None = self._started().highwater(TopicPartition(*tp))
        except IllegalStateError:  # It was revoked.
            return None
        return highwater

    async def fetch(self) -> Fetched:
        """Wait for records; nothing if there were none for a second."""
        fetched: Fetched = await self._started().getmany(timeout_ms=STOP_POLL_MS)
        return fetched

    def _started(self) -> AIOKafkaConsumer:
        assert self._consumer is not None, "read before start"
        return self._consumer
