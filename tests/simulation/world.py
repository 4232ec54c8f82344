"""A seeded world for the lanes: virtual time, in-memory log, store, workers, and faults.

The real handlers, lanes, learner and waiting out of outages run on it; only Kafka, Redis and the
clock are doubles. Every port call suspends at a yield point, and a seeded loop decides who goes on
next, so a seed is a schedule.
A crash drops a coroutine at its yield point: before or after the write that it was about to make.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from models.errors import CheckpointConflict, StoreUnavailable
from models.lineage import Lineage
from models.stores.memory import MemoryStore
from models.types import Example
from stream import topics
from stream.lane import Lane
from stream.messages import decode_example
from stream.outbox import PublishFailed
from stream.settings import Settings
from stream.topology import all_topics, event_topics, inputs, lane_kind
from stream.worker import Worker
from tests.simulation.network import Faults, Network, SimOutbox, SimStore
from tests.simulation.ports import (
    Log,
    LogRecord,
    SimLogs,
    VirtualClock,
    WorkerClock,
    finish,
    finish_within,
)

Key = tuple[str, int]
"""A lane: topic and partition."""

QUIET_S = 50.0
"""After so long without progress there will be none: longer than any grace and any delay."""

CLOSE_S = 5.0
"""As long may a lane take to finish its batch, when it is taken away."""


class SimWorker:
    """One process: a `Worker` and the lanes that it believes to own."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lanes: dict[Key, Lane] = {}
        self.running: dict[Key, Coroutine[Any, Any, Any]] = {}
        self.clock = WorkerClock(world.clock)
        network = world.network
        redis, kafka = (
            network.outage(server, away, self.clock.now)
            for server, away in (("Redis", StoreUnavailable), ("Kafka", PublishFailed))
        )
        store: Any = SimStore(world.store, network, redis)
        self.worker = Worker(
            world.settings,
            store=store,
            outbox=SimOutbox(network, kafka),
            clock=self.clock,
            logs=SimLogs(world.log),
            highwater=lambda topic, partition: len(world.log.records[_short(topic), partition]),
            pause=lambda topic, partition, paused: None,
            in_background=_at_once,
            timer=lambda: 0.0,
        )

    async def open(self, topic: str, partition: int) -> None:
        name = f"{self.world.settings.app}.{topic}"
        lane, position = await self.worker.open_lane(name, partition)
        lane.start_at(position or 0)
        self.lanes[topic, partition] = lane

    def drop(self, key: Key) -> None:
        """Lose a lane: what is in flight is abandoned."""
        step = self.running.pop(key, None)
        if step is not None:
            step.close()
        lane = self.lanes.pop(key, None)
        if lane is not None:
            self.worker.forget_lane(lane)
            lane.handler.close()

    def give_back(self, key: Key) -> bool:
        """Let a lane finish its batch and save what it has, unless that takes too long."""
        step = self.running.pop(key, None)
        lane = self.lanes.get(key)
        if lane is None:  # It is not open yet.
            if step is not None:
                step.close()
            return False
        try:
            clock = self.world.clock
            done = (step is None or finish_within(step, clock, CLOSE_S)) and finish_within(
                lane.save(), clock, CLOSE_S
            )
        except CheckpointConflict:
            done = False
        self.drop(key)
        return done

    async def step(self, key: Key) -> bool:
        """Deliver what is next for a lane, sometimes again, and let it take a batch."""
        lane = self.lanes[key]
        if self.world.polls:
            await self.worker.refresh_model()
        records: list[Any] = self.world.log.records[key]
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


class World:
    """Everything there is, driven by one seed.

    With `polls`, workers look for newer versions and arms before each batch.
    """

    def __init__(
        self,
        settings: Settings,
        seed: int,
        *,
        n_workers: int = 1,
        batch: int = 3,
        faults: Faults = Faults(),  # noqa: B008 - an immutable tuple
        polls: bool = False,
    ) -> None:
        self.settings = settings
        self.rng = random.Random(seed)
        self.batch = batch
        self.faults = faults
        self.polls = polls
        self.told_from = 0
        """Examples before this one were perhaps folded by a recovery, which tells no drift."""
        self.clock = VirtualClock()
        self.log = Log(self.clock, all_topics(settings), settings.kafka.partitions)
        self.store = MemoryStore(ttl=settings.join.ttl)
        self.reached: Counter[str] = Counter()
        self.network = Network(self.rng, self.clock, self.log, self.reached)
        self.positions: dict[str, int] = {}
        self.workers = [SimWorker(self) for _ in range(n_workers)]
        self.owner: dict[Key, int] = {}
        self._zombies: list[SimWorker] = []
        self._keys = sorted(self._lane_keys())
        for key in self._keys:
            self._give(key, self.rng.randrange(n_workers))

    def _lane_keys(self) -> list[Key]:
        n = self.settings.kafka.partitions
        return [(t.name, p) for t in inputs(self.settings) for p in range(t.partitions(n))]

    def _give(self, key: Key, index: int) -> None:
        """Let a worker open a lane: at once, or, where there are faults, whenever it gets to it."""
        self.owner[key] = index
        worker = self.workers[index]
        if self.network.faults == Faults():
            finish(worker.open(*key))
        else:
            worker.running[key] = worker.open(*key)

    def run(self, fed: Sequence[tuple[str, int, bytes | None]], seconds_a_record: float) -> None:
        """Feed the records in order while lanes run and faults happen; then let all settle."""
        self.network.faults = self.faults
        left = list(reversed(fed))
        while left:
            self._turn(self.faults)
            if self.rng.random() < 0.4:
                topic, partition, value = left.pop()
                self.log.append(topic, partition, None, value)
                self.clock.advance(seconds_a_record)
        for _ in range(150 * len(self.owner)):  # What comes after the last record has faults too.
            self._turn(self.faults)
            self.clock.advance(0.05)
        self.settle()

    def settle(self) -> None:
        """Go on without faults until nothing moves any more, then let graces run out."""
        self.faults = Faults()
        self.network.mend()
        quiet_s = 0.0
        while quiet_s < QUIET_S:
            before, began = self.progress(), self.clock.now()
            for _ in range(4 * len(self.owner)):
                self._turn(self.faults)
                self.clock.advance(0.1)
            quiet_s = 0.0 if self.progress() != before else quiet_s + self.clock.now() - began

    def progress(self) -> tuple[Any, ...]:
        """Give what changes while anything moves."""
        lengths = tuple(len(records) for records in self.log.records.values())
        lanes = [lane for worker in self.workers for lane in worker.lanes.values()]
        waiting = sum(map(len, self.store._states.values()))
        return lengths, tuple(lane.position for lane in lanes), waiting

    def _turn(self, faults: Faults) -> None:
        draw = self.rng.random()
        ways: tuple[tuple[Callable[[], None], float], ...] = (
            (lambda: self.crash(self._any_worker()), faults.crash),
            (lambda: self.hand_over(self._any_lane(), leave_zombie=False), faults.handover),
            (lambda: self.hand_over(self._any_lane(), leave_zombie=True), faults.zombie),
            (lambda: self.pause(self._any_worker()), faults.paused_worker),
            (self.rebalance, faults.rebalance),
            (lambda: self.network.interrupt("Redis", self._some_seconds()), faults.store_outage),
            (lambda: self.network.interrupt("Kafka", self._some_seconds()), faults.kafka_outage),
            (self._clock_jump, faults.clock_jump),
        )
        for happen, probability in ways:
            if draw < probability:
                happen()
                break
            draw -= probability
        else:
            self._go_on()
        self._check_positions()

    def _go_on(self) -> None:
        if self.rng.random() < 0.01:
            self.network.deliver_late()
        if self._zombies and self.rng.random() < 0.2:
            self._advance_zombie()
        else:
            key = self._any_lane()
            self._advance_owner(key)

    def _any_worker(self) -> int:
        return self.rng.randrange(len(self.workers))

    def _any_lane(self) -> Key:
        return self.rng.choice(self._keys)

    def _some_seconds(self) -> float:
        return self.rng.choice([0.2, 2.0, 10.0])

    def _clock_jump(self) -> None:
        self.workers[self._any_worker()].clock.offset_s = self.rng.uniform(-10, 10)
        self.reached["clock jump"] += 1

    def crash(self, index: int) -> None:
        """Kill a worker; its lanes go to the others, or to the process that replaces it."""
        for step in self.workers[index].running.values():
            step.close()
        self._replace(index)
        self.reached["crash"] += 1

    def pause(self, index: int) -> None:
        """Stop a process for so long that all its lanes go to others; it wakes up a zombie."""
        old = self.workers[index]
        for key in list(old.running):
            self._leave_zombie(old, key)
        self._replace(index)
        self.reached["paused worker"] += 1

    def _replace(self, index: int) -> None:
        self.workers[index] = SimWorker(self)
        for key in [key for key, owner in self.owner.items() if owner == index]:
            self._give(key, self._any_worker())

    def rebalance(self) -> None:
        """Take all lanes from all workers, which finish what they do if they can."""
        for key, index in sorted(self.owner.items()):
            given_back = self.workers[index].give_back(key)
            self.reached["lane given back" if given_back else "lane not given back"] += 1
        for key in sorted(self.owner):
            self._give(key, self._any_worker())
        self.reached["rebalance"] += 1

    def hand_over(self, key: Key, *, leave_zombie: bool) -> None:
        """Move a lane; a zombie goes on for a while as if it still owned it."""
        old = self.workers[self.owner[key]]
        if leave_zombie and key in old.running:
            self._leave_zombie(old, key)
        else:
            old.drop(key)
        self.reached["handover"] += 1
        self._give(key, self._any_worker())

    def _leave_zombie(self, old: SimWorker, key: Key) -> None:
        step = old.running.pop(key)
        lane = old.lanes.pop(key, None)
        if lane is None:  # Not open yet. An acquisition that comes late is the network's affair.
            step.close()
            return
        zombie = SimWorker.__new__(SimWorker)
        zombie.world, zombie.worker = self, old.worker
        zombie.lanes, zombie.running = {key: lane}, {key: step}
        old.worker.forget_lane(lane)
        self._zombies.append(zombie)
        self.reached["zombie"] += 1

    def advance(self, worker: SimWorker, key: Key) -> bool:
        """Run a lane of a worker up to its next yield point; True once its step is finished."""
        if key not in worker.running:
            worker.running[key] = worker.step(key)
        try:
            worker.running[key].send(None)
        except StopIteration:
            del worker.running[key]
            return True
        return False

    def _advance_owner(self, key: Key) -> None:
        index = self.owner[key]
        try:
            self.advance(self.workers[index], key)
        except CheckpointConflict:
            # Its acquisition was repeated by the network: the worker ends, and is started again.
            self.network.robbed.remove(self._lane_name(key))
            del self.workers[index].running[key]
            self.reached["robbed"] += 1
            self.crash(index)

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

    def _lane_name(self, key: Key) -> str:
        topic, partition = key
        path = [t.name for t in event_topics(self.settings)]
        if topic in path:
            return f"{lane_kind(path.index(topic), len(path))}.{partition}"
        return (
            f"{ {topics.LABELS.name: 'label', topics.EXAMPLES.name: 'learn'}[topic] }.{partition}"
        )

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


__all__ = ["Faults", "LogRecord", "SimWorker", "World"]
