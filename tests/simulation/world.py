"""A seeded world for the lanes: virtual time, in-memory log, store, workers, and faults.

The real handlers, lanes and learner run on it; only Kafka, Redis and the clock are doubles. Every
port call suspends at a yield point, and a seeded loop decides who goes on next, so a seed is a
schedule.
A crash drops a coroutine at its yield point: before or after the write that it was about to make.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Generator, Sequence
from types import coroutine
from typing import Any, NamedTuple

from models.errors import CheckpointConflict
from models.lineage import Lineage
from models.stores.base import Store
from models.stores.memory import MemoryStore
from models.types import Example
from stream import topics
from stream.lane import Lane
from stream.messages import decode_example
from stream.ports import Message, Outcome, Record
from stream.settings import Settings
from stream.worker import Worker


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


class Log:
    """Topics as lists: what Kafka keeps."""

    def __init__(self, clock: VirtualClock, partitions: int) -> None:
        self._clock = clock
        self._n = {t.name: t.partitions(partitions) for t in topics.TOPICS}
        self.records: dict[tuple[str, int], list[LogRecord]] = {
            (name, p): [] for name, n in self._n.items() for p in range(n)
        }

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes | None) -> None:
        records = self.records[topic, partition % self._n[topic]]
        stamp = int(self._clock.now() * 1000)
        records.append(LogRecord(len(records), stamp, key, value))

    def all(self, topic: str) -> list[LogRecord]:
        return [r for (name, _), rs in sorted(self.records.items()) if name == topic for r in rs]


class SimOutbox:
    """Appends to the log, one record at a time: a crash may leave a prefix behind."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def publish(self, messages: Sequence[Message]) -> None:
        for message in messages:
            await yield_point()
            self._log.append(*message)
        if messages:
            await yield_point()


class SimLogs:
    """Reads the log beside the lanes."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def end(self, topic: str, partition: int) -> int:
        await yield_point()
        return len(self._log.records[topic, partition])

    async def read(
        self, topic: str, partition: int, position: int, limit: int
    ) -> Sequence[LogRecord]:
        await yield_point()
        return self._log.records[topic, partition][position : position + limit]

    async def release(self, topic: str, partition: int) -> None:
        await yield_point()


class SimStore:
    """A memory store whose every call can be interrupted before and after it takes effect."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            await yield_point()
            result = await method(*args, **kwargs)
            await yield_point()
            return result

        return call


class SimWorker:
    """One process: a `Worker` and the lanes that it believes to own."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lanes: dict[tuple[str, int], Lane] = {}
        self.running: dict[tuple[str, int], Coroutine[Any, Any, Any]] = {}
        store: Store = SimStore(world.store)  # type: ignore[assignment]
        self.worker = Worker(
            world.settings,
            store=store,
            outbox=SimOutbox(world.log),
            clock=world.clock,
            logs=SimLogs(world.log),
            highwater=lambda topic, partition: len(world.log.records[_short(topic), partition]),
            pause=lambda topic, partition, paused: None,
            in_background=_at_once,
        )

    async def open(self, topic: str, partition: int) -> None:
        name = f"{self.world.settings.app}.{topic}"
        lane, position = await self.worker.open_lane(name, partition)
        lane.start_at(position or 0)
        self.lanes[topic, partition] = lane

    def drop(self, key: tuple[str, int]) -> None:
        """Lose a lane cleanly: what is in flight is abandoned."""
        step = self.running.pop(key, None)
        if step is not None:
            step.close()
        lane = self.lanes.pop(key, None)
        if lane is not None:
            self.worker.forget_lane(lane)
            lane.handler.close()

    async def step(self, key: tuple[str, int]) -> bool:
        """Deliver what is next for a lane, sometimes again, and let it take a batch."""
        lane = self.lanes[key]
        records = self.world.log.records[key]
        first = lane.position
        if self.world.rng.random() < self.world.faults.redelivery:
            first = max(0, first - self.world.rng.randrange(1, 4))
            self.world.reached["redelivered records"] += 1
        batch = records[first : first + self.world.batch]
        if batch and lane.n_queued == 0:
            lane.offer(batch)
        took_records = await lane.step()
        if not took_records:
            await lane.rest_if_idle()
        return took_records


class Faults(NamedTuple):
    """Probabilities per scheduling decision."""

    crash: float = 0.0
    handover: float = 0.0
    zombie: float = 0.0
    redelivery: float = 0.0


class World:
    """Everything there is, driven by one seed."""

    def __init__(
        self,
        settings: Settings,
        seed: int,
        *,
        n_workers: int = 1,
        batch: int = 3,
        faults: Faults = Faults(),  # noqa: B008 - an immutable tuple
    ) -> None:
        self.settings = settings
        self.rng = random.Random(seed)
        self.batch = batch
        self.faults = faults
        self.clock = VirtualClock()
        self.log = Log(self.clock, settings.kafka.partitions)
        self.store = MemoryStore(ttl=settings.join.ttl)
        self.reached: Counter[str] = Counter()
        self.positions: dict[str, int] = {}
        self.workers = [SimWorker(self) for _ in range(n_workers)]
        self.owner: dict[tuple[str, int], int] = {}
        self._zombies: list[SimWorker] = []
        for key in self._lane_keys():
            self._give(key, self.rng.randrange(n_workers))

    def _lane_keys(self) -> list[tuple[str, int]]:
        n = self.settings.kafka.partitions
        inputs = [(t.name, p) for t in (topics.EVENTS, topics.LABELS) for p in range(n)]
        return [*inputs, (topics.EXAMPLES.name, 0)]

    def _give(self, key: tuple[str, int], worker: int) -> None:
        self.owner[key] = worker
        _finish(self.workers[worker].open(*key))

    def run(self, fed: Sequence[tuple[str, int, bytes | None]], seconds_a_record: float) -> None:
        """Feed the records in order while lanes run and faults happen; then let all settle."""
        left = list(reversed(fed))
        while left:
            self._turn(self.faults)
            if self.rng.random() < 0.4:
                topic, partition, value = left.pop()
                self.log.append(topic, partition, None, value)
                self.clock.advance(seconds_a_record)
        for _ in range(60 * len(self.owner)):  # What comes after the last record has faults too.
            self._turn(self.faults)
            self.clock.advance(0.05)
        self.settle()

    def settle(self) -> None:
        """Go on without faults until nothing moves any more, then let graces run out."""
        self.faults = Faults()
        quiet = 0
        while quiet < 200 * len(self.owner):
            before = self.progress()
            self._turn(self.faults)
            self.clock.advance(0.05)
            quiet = 0 if self.progress() != before else quiet + 1

    def progress(self) -> tuple[Any, ...]:
        """Give what changes while anything moves."""
        lengths = tuple(len(records) for records in self.log.records.values())
        lanes = [lane for worker in self.workers for lane in worker.lanes.values()]
        waiting = sum(map(len, self.store._states.values()))
        return lengths, tuple(lane.position for lane in lanes), waiting

    def _turn(self, faults: Faults) -> None:
        draw = self.rng.random()
        if draw < faults.crash:
            self.crash(self.rng.randrange(len(self.workers)))
        elif draw < faults.crash + faults.handover:
            self.hand_over(self.rng.choice(sorted(self.owner)), leave_zombie=False)
        elif draw < faults.crash + faults.handover + faults.zombie:
            self.hand_over(self.rng.choice(sorted(self.owner)), leave_zombie=True)
        elif self._zombies and self.rng.random() < 0.2:
            self._advance_zombie()
        else:
            key = self.rng.choice(sorted(self.owner))
            self.advance(self.workers[self.owner[key]], key)
        self._check_positions()

    def crash(self, index: int) -> None:
        """Kill a worker; its lanes go to the others, or to the process that replaces it."""
        dead = self.workers[index]
        for step in dead.running.values():
            step.close()
        self.workers[index] = SimWorker(self)
        self.reached["crash"] += 1
        for key in [key for key, owner in self.owner.items() if owner == index]:
            self._give(key, self.rng.randrange(len(self.workers)))

    def hand_over(self, key: tuple[str, int], *, leave_zombie: bool) -> None:
        """Move a lane; a zombie goes on for a while as if it still owned it."""
        old = self.workers[self.owner[key]]
        if leave_zombie and key in old.running:
            zombie = SimWorker.__new__(SimWorker)
            zombie.world, zombie.worker = self, old.worker
            zombie.lanes = {key: old.lanes.pop(key)}
            zombie.running = {key: old.running.pop(key)}
            old.worker.forget_lane(zombie.lanes[key])
            self._zombies.append(zombie)
            self.reached["zombie"] += 1
        else:
            old.drop(key)
        self.reached["handover"] += 1
        self._give(key, self.rng.randrange(len(self.workers)))

    def advance(self, worker: SimWorker, key: tuple[str, int]) -> bool:
        """Run a lane of a worker up to its next yield point; True once its step is finished."""
        if key not in worker.running:
            worker.running[key] = worker.step(key)
        try:
            worker.running[key].send(None)
        except StopIteration:
            del worker.running[key]
            return True
        return False

    def _advance_zombie(self) -> None:
        zombie = self.rng.choice(self._zombies)
        (key,) = zombie.lanes
        try:
            if self.advance(zombie, key):
                self._zombies.remove(zombie)
        except CheckpointConflict:
            self.reached["fenced"] += 1
            self._zombies.remove(zombie)

    def _check_positions(self) -> None:
        for lane, position in self.store._positions.items():
            assert position >= self.positions.get(lane, 0), f"{lane} fell to {position}"
            self.positions[lane] = position

    def learner(self) -> Any:
        """The live learner."""
        key = (topics.EXAMPLES.name, 0)
        return self.workers[self.owner[key]].lanes[key].handler.learner  # type: ignore[attr-defined]

    def lineage(self) -> Lineage:
        """How the live learner came to be."""
        key = (topics.EXAMPLES.name, 0)
        return self.workers[self.owner[key]].lanes[key].handler.lineage  # type: ignore[attr-defined, no-any-return]

    def examples(self) -> list[Example]:
        """The examples log, as it is."""
        return [decode_example(record.value or b"") for record in self.log.all("examples")]


async def _at_once(work: Callable[[], Any]) -> Any:
    return work()


def _short(topic: str) -> str:
    return topic.partition(".")[2]


def _finish(coro: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end without interruption."""
    try:
        while True:
            coro.send(None)
    except StopIteration:
        return


def by_origin(records: Sequence[Record]) -> dict[int, list[Record]]:
    """Group records by offset."""
    groups: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        groups[record.offset].append(record)
    return groups


__all__ = ["Faults", "LogRecord", "Outcome", "World", "by_origin"]
