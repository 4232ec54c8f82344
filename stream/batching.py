"""Whole fetched batches through Faust's documented plug points.

Faust delivers record by record at 68 us each, half of it in four asyncio tasks a record. The
`ConsumerScheduler` setting yields one pseudo record a partition instead, whose value is the list of
records, and a `Schema` passes it through (2.7 us a record). `stream.delivery` feeds it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import faust
from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP


class Batch:
    """Records of one partition, dressed as one record for `Consumer._to_message`."""

    __slots__ = (
        "checksum",
        "headers",
        "key",
        "offset",
        "partition",
        "records",
        "serialized_key_size",
        "serialized_value_size",
        "timestamp",
        "timestamp_type",
        "topic",
    )

    def __init__(self, tp: TP, records: Sequence[Any]) -> None:
        last = records[-1]
        self.topic, self.partition = tp
        self.records = records
        self.offset = last.offset
        self.timestamp = last.timestamp
        self.timestamp_type = last.timestamp_type
        self.headers = self.key = self.checksum = None
        self.serialized_key_size = self.serialized_value_size = 0

    def __len__(self) -> int:
        return len(self.records)

    @property
    def value(self) -> Batch:
        """The batch itself.

        No attribute: a batch that holds itself would keep its records until the next collection of
        cycles, which stops the worker the longer the more of them there are.
        """
        return self


class BatchSchema(faust.Schema[Any, Any]):
    """Hands the batch to the agent as it is."""

    def loads_key(self, app: Any, message: Any, **kwargs: Any) -> None:
        """Give no key: the records in the batch have theirs."""

    def loads_value(self, app: Any, message: Any, **kwargs: Any) -> Any:
        """Give the batch."""
        return message.value


def batch_scheduler(batch_records_max: int) -> type[DefaultSchedulingStrategy]:
    """Make the scheduler class that Faust's setting wants, for batches of this size."""

    class BatchScheduler(DefaultSchedulingStrategy):
        """Yields each partition's records in chunks, the partitions in turn."""

        def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Batch]]:
            """Interleave, so that no partition's backlog keeps the others waiting."""
            turns = deque((tp, fetched, 0) for tp, fetched in records.items() if fetched)
            while turns:
                tp, fetched, start = turns.popleft()
                end = start + batch_records_max
                yield tp, Batch(tp, fetched[start:end])
                if end < len(fetched):
                    turns.append((tp, fetched, end))

    return BatchScheduler
