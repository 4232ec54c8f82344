"""A worker among versions that were tampered with: it serves with the last good one, and tells."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from models import checkpoint
from models.checkpoint import CutReason
from models.errors import Refusal, UnknownVersion
from models.sealing import KeyRing
from models.stores.memory import MemoryStore
from models.types import Example
from stream.learners import new_learner
from stream.messages import AuditRecord, decode_audit
from stream.ports import Message
from stream.settings import Settings
from stream.worker import Worker
from tests.memory_logs import MemoryLogs

KEYS = "k1:" + 32 * "x"
SETTINGS = Settings(
    event={"features": {"x": {}}},
    versions={"keys": KEYS},
    worker={"model_staleness_max": 60.0},
)
RING = KeyRing.parse(KEYS)


class CountingStore(MemoryStore):
    """Counts how often a state is fetched: they are large."""

    n_read = 0
    lost: str | None = None

    async def read_version(self, version_id: str) -> tuple[bytes, bytes]:
        self.n_read += 1
        if version_id == self.lost:
            raise UnknownVersion(version_id)
        return await super().read_version(version_id)

    async def read_meta(self, version_id: str) -> bytes:
        return self._versions[version_id][0]


class Topic:
    """Takes messages."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def publish(self, messages: Sequence[Message]) -> None:
        self.messages += messages

    def audit(self) -> list[AuditRecord]:
        assert {message.topic for message in self.messages} <= {"audit"}
        return [decode_audit(message.value) for message in self.messages]


class StoppedClock:
    """Time that a test moves."""

    time = 1_000.0

    def now(self) -> float:
        return self.time


class World:
    """A store with three versions, and a worker that has no lane."""

    def __init__(self) -> None:
        self.store = CountingStore(ttl=1.0)
        self.topic = Topic()
        self.clock = StoppedClock()
        self.worker = self.start()

    def start(self) -> Worker:
        return Worker(
            SETTINGS,
            store=self.store,
            outbox=self.topic,
            clock=self.clock,
            logs=MemoryLogs(),
            highwater=lambda topic, partition: 0,
            pause=lambda topic, partition, paused: None,
            in_background=at_once,
            name="host:1",
        )

    def refused(self) -> dict[str, float]:
        """Read the metric by reason."""
        lines = self.worker.metrics.exposition().decode().splitlines()
        prefix = 'driftline_versions_refused_total{reason="'
        found = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
        return {line.split('"')[0]: float(line.split()[-1]) for line in found}


async def at_once(work: Callable[[], object]) -> object:
    return work()


def version(position: int, ring: KeyRing | None = RING) -> tuple[bytes, bytes]:
    """Learn that many examples, and seal."""
    learner = new_learner(SETTINGS)
    examples = [
        Example(f"e{i}", {"x": float(i % 7)}, i % 7 > 3, 0.5, "v1-0", 0, 1.0, 2.0, "labels/0", i, 0)
        for i in range(position)
    ]
    learner.absorb(examples, list(range(position)))
    meta, blob = checkpoint.encode(
        learner,
        parent=None,
        libraries=checkpoint.libraries(),
        cut_time=float(position),
        reason=CutReason.COUNT,
    )
    return checkpoint.seal(meta, blob, ring), blob


def run(body: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        world = World()
        lease = await world.store.acquire("learn.0")
        for n in (10, 20, 30):
            data, blob = version(n)
            await world.store.cut_version(lease, n, f"v1-{n}", data, blob, 5)
        await body(world)

    asyncio.run(main())


def test_a_starting_worker_serves_with_the_newest_version_that_verifies() -> None:
    """Metric and audit tell of each refused one once, however often the worker looks."""

    async def body(world: World) -> None:
        data, blob = await world.store.read_version("v1-30")
        await world.store.restore_version("v1-30", data, blob[:-1])
        unsigned, state = version(20, None)
        await world.store.restore_version("v1-20", unsigned, state)
        world.store.n_read = 0
        for _ in range(20):
            await world.worker.refresh_model()
        assert world.worker.model.stamp()[:2] == ("v1-10", 10)
        assert world.store.n_read == 3, "a refused version is not fetched at every look"
        assert world.refused() == {"wrong_signature": 1.0, "unsigned": 1.0}
        first, second = world.topic.audit()
        assert (first.who, first.what, first.subject) == ("host:1", "load version", "v1-30")
        assert (first.outcome, first.reason, first.time) == ("refused", "wrong_signature", 1_000.0)
        assert "was changed or damaged" in first.detail
        assert (second.subject, second.reason) == ("v1-20", "unsigned")
        assert first.id != second.id

        world.worker = world.start()
        await world.worker.refresh_model()
        assert len(world.topic.audit()) == 4, "a new worker tells anew"

    run(body)


def test_scores_grow_stale_while_the_newest_version_is_refused() -> None:
    """Serving with an old model is right, serving with it in silence is not."""

    async def body(world: World) -> None:
        await world.worker.refresh_model()
        assert world.worker.model.stamp() == ("v1-30", 30, False)
        data, blob = version(40, None)
        lease = await world.store.acquire("learn.0")
        await world.store.cut_version(lease, 40, "v1-40", data, blob, 5)
        world.clock.time += 61.0
        await world.worker.refresh_model()
        assert world.worker.model.stamp() == ("v1-30", 30, True)

        signed, state = version(40)
        await world.store.restore_version("v1-40", signed, state)
        await world.worker.refresh_model()
        assert world.worker.model.stamp() == ("v1-40", 40, False), "rebuilt, so it is tried again"
        assert world.refused() == {"unsigned": 1.0}

    run(body)


def test_a_version_that_lost_its_content_is_told_once() -> None:
    """It is still listed; one that retention dropped meanwhile is not, and is nothing to tell."""

    async def body(world: World) -> None:
        world.store.lost = "v1-30"
        for _ in range(5):
            await world.worker.refresh_model()
        assert world.worker.model.stamp()[:2] == ("v1-20", 20)
        assert world.refused() == {"missing": 1.0}
        (told,) = world.topic.audit()
        assert "`driftline replay --version v1-30 --store`" in told.detail

    run(body)


def test_a_well_signed_version_under_another_name_is_refused() -> None:
    """An old version can't be passed off as the newest."""

    async def body(world: World) -> None:
        await world.store.restore_version("v1-30", *await world.store.read_version("v1-10"))
        await world.worker.refresh_model()
        assert world.worker.model.stamp()[:2] == ("v1-20", 20)
        assert world.refused() == {Refusal.MISMATCH: 1.0}

    run(body)


def test_the_learn_lane_falls_back_and_tells_it_once_with_the_scorer() -> None:
    """A worker that gets the learn lane does not tell again what it has refused as a scorer."""

    async def body(world: World) -> None:
        await world.store.restore_version("v1-30", *version(30, None))
        await world.worker.refresh_model()
        _, position = await world.worker.open_lane("driftline.examples", 0)
        assert position == 20
        await world.worker.refresh_model()
        assert world.refused() == {"unsigned": 1.0}
        assert len(world.topic.audit()) == 1

    run(body)
