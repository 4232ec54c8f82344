"""Logs in memory, for tests of what reads them beside the lanes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple


class MemoryRecord(NamedTuple):
    """A record as Kafka would give it."""

    offset: int
    value: bytes
    timestamp: int = 0
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class MemoryLogs:
    """One partition a topic."""

    def __init__(self) -> None:
        self.records: dict[str, list[MemoryRecord]] = defaultdict(list)

    def append(self, topic: str, value: bytes) -> None:
        records = self.records[topic]
        records.append(MemoryRecord(len(records), value))

    async def end(self, topic: str, partition: int) -> int:
        return len(self.records[topic])

    async def read(
        self, topic: str, partition: int, position: int, limit: int, *, reader: str = ""
    ) -> Sequence[MemoryRecord]:
        found = [record for record in self.records[topic] if record.offset >= position]
        return found[:limit]

    async def release(self, topic: str, partition: int, *, reader: str = "") -> None:
        pass
