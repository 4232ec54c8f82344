"""The simulation's clock and log, and the point at which everything may be interrupted."""

from __future__ import annotations

from collections.abc import Coroutine, Generator, Sequence
from types import coroutine
from typing import Any, NamedTuple

from stream.topics import Topic


class LogRecord(NamedTuple):
    """A record of the in-memory log."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@coroutine
def yield_point() -> Generator[None, None, None]:
    """Let the world decide who runs next, or who crashes."""
    yield


class VirtualClock:
    """Time that moves when the world says so, never backwards."""

    def __init__(self) -> None:
        self._now = 1_000_000.0

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        assert seconds >= 0
        self._now += seconds

    async def sleep(self, seconds: float) -> None:
        """Wait until the world's time has moved on so far."""
        until = self._now + seconds
        while self._now < until:
            await yield_point()


class WorkerClock:
    """The wall clock of one machine: off by some seconds, and set right, or wrong, at any time."""

    def __init__(self, world: VirtualClock) -> None:
        self._world = world
        self.offset_s = 0.0

    def now(self) -> float:
        return self._world.now() + self.offset_s


class Log:
    """Topics as lists: what Kafka keeps."""

    def __init__(self, clock: VirtualClock, known: Sequence[Topic], partitions: int) -> None:
        self._clock = clock
        self._n = {topic.name: topic.partitions(partitions) for topic in known}
        self.records: dict[tuple[str, int], list[LogRecord]] = {
            (name, p): [] for name, n in self._n.items() for p in range(n)
        }

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes | None) -> None:
        records = self.records[topic, partition % self._n[topic]]
        stamp = int(self._clock.now() * 1000)
        records.append(LogRecord(len(records), stamp, key, value))

    def all(self, topic: str) -> list[LogRecord]:
        return [r for (name, _), rs in sorted(self.records.items()) if name == topic for r in rs]


class SimLogs:
    """Reads the log beside the lanes."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def end(self, topic: str, partition: int) -> int:
        await yield_point()
        return len(self._log.records[topic, partition])

    async def read(
        self, topic: str, partition: int, position: int, limit: int, *, reader: str = ""
    ) -> Sequence[LogRecord]:
        await yield_point()
        return self._log.records[topic, partition][position : position + limit]

    async def release(self, topic: str, partition: int, *, reader: str = "") -> None:
        await yield_point()


def finish(coro: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine to its end without interruption."""
    try:
        while True:
            coro.send(None)
    except StopIteration:
        return


def finish_within(coro: Coroutine[Any, Any, Any], clock: VirtualClock, seconds: float) -> bool:
    """Run a coroutine while time passes; False, and it is given up, if it takes too long."""
    deadline = clock.now() + seconds
    try:
        while clock.now() < deadline:
            coro.send(None)
            clock.advance(0.05)
    except StopIteration:
        return True
    coro.close()
    return False
