"""A call that was given up and made again may still happen, long after: it must change nothing.

It lay in the socket of a dead connection, or in that of a server that was stopped. One suite for
the store and its double, like `test_stores.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio

from models.errors import CheckpointConflict
from models.stores.base import RECORD_HEAD, SWEPT, NewClaim, NewPending, Store, Verdict
from models.stores.memory import MemoryStore
from models.stores.redis import RedisStore
from tests.simulation.network import SimStore

TTL = 80.0


class Wire:
    """Keeps every attempt at a call, to make it once more; nothing is ever away."""

    def __init__(self) -> None:
        self.attempts: list[Callable[[], Awaitable[Any]]] = []

    async def retry(self, attempt: Callable[[], Awaitable[Any]]) -> Any:
        self.attempts.append(attempt)
        return await attempt()

    async def ask_store(self, what: str, acquired: str, call: Callable[[], Awaitable[Any]]) -> Any:
        return await call()

    def last(self) -> Callable[[], Awaitable[None]]:
        """Give what makes the last call once more; its answer is nobody's."""
        attempt = self.attempts[-1]

        async def again() -> None:
            with contextlib.suppress(CheckpointConflict):
                await attempt()

        return again


Body = Callable[[Store, Wire], Awaitable[None]]


@pytest.fixture(params=["memory", "redis"])
def run(request: pytest.FixtureRequest) -> Callable[[Body], None]:
    """Run a test's body on a fresh store of each kind, and the wire to it."""

    def with_memory(body: Body) -> None:
        wire: Any = Wire()
        store: Any = SimStore(MemoryStore(ttl=TTL), wire, wire)
        asyncio.run(body(store, wire))

    def with_redis(body: Body) -> None:
        async def connected() -> None:
            client = redis.asyncio.Redis.from_url(request.getfixturevalue("redis_url"))
            wire = Wire()
            app = f"late-{uuid.uuid4().hex}"
            try:
                await body(RedisStore(client, app, ttl=TTL, retry=wire.retry), wire)
            finally:
                await client.aclose()

        asyncio.run(connected())

    return with_memory if request.param == "memory" else with_redis


def pending(event_id: str, event_time: float, offset: int = 0) -> NewPending:
    return NewPending(event_id, event_time, RECORD_HEAD.pack(event_time, offset) + b"r")


def label(event_id: str, offset: int, truth: str, own_time: float | None = None) -> NewClaim:
    return NewClaim(event_id, offset, truth, -math.inf, own_time)


async def verdict(store: Store, lease: Any, claim: NewClaim) -> tuple[Verdict, int]:
    (found,) = (await store.claim(lease, [claim])).found
    return found.verdict, found.revision


def test_a_late_commit(run: Any) -> None:
    """Neither position nor state go back."""

    async def body(store: Store, wire: Wire) -> None:
        lease = await store.acquire("label.0")
        await store.commit(lease, 5, {"a": b"1"})
        late = wire.last()
        await store.commit(lease, 9, {"a": None})
        await late()
        await store.commit(lease, 10, {})
        again = await store.acquire("label.0")
        assert (again.position, again.state) == (10, {})
        await late()
        assert (await store.acquire("label.0")).position == 10

    run(body)


def test_a_late_cut(run: Any) -> None:
    """The newest version stays the newest."""

    async def body(store: Store, wire: Wire) -> None:
        lease = await store.acquire("learn.0")
        await store.cut_version(lease, 7, "v1-7", b"m", b"old", 5)
        late = wire.last()
        await store.cut_version(lease, 9, "v1-9", b"m", b"new", 5)
        await late()
        assert await store.newest_version() == "v1-9"
        assert (await store.acquire("learn.0")).position == 9

    run(body)


def test_a_late_claim(run: Any) -> None:
    """A label that is learned has had its say: it does not correct those after it."""

    async def body(store: Store, wire: Wire) -> None:
        score, *lanes = [await store.acquire(name) for name in ("score.0", "label.0", "label.1")]
        await store.put_pending(score, [pending("e", 1.0)])
        assert await verdict(store, lanes[0], label("e", 3, "True")) == (Verdict.JOINED, 1)
        late = wire.last()
        await store.commit(lanes[0], 4, {})
        assert await verdict(store, lanes[1], label("e", 0, "False")) == (Verdict.JOINED, 2)
        await store.commit(lanes[1], 1, {})
        await late()
        assert await verdict(store, lanes[1], label("e", 1, "True")) == (Verdict.JOINED, 3)

    run(body)


def test_a_late_claim_of_a_label_that_waited(run: Any) -> None:
    """It waits below its lane's position: until it is settled, its claim is one like any other."""

    async def body(store: Store, wire: Wire) -> None:
        score, lane = await store.acquire("score.0"), await store.acquire("label.0")
        await store.commit(lane, 4, {"3": b"waits"})
        await store.put_pending(score, [pending("e", 1.0)])
        assert await verdict(store, lane, label("e", 3, "True")) == (Verdict.JOINED, 1)
        late = wire.last()
        assert await verdict(store, lane, label("e", 3, "True")) == (Verdict.JOINED, 1)
        await store.commit(lane, 4, {"3": None})
        assert await verdict(store, lane, label("e", 5, "False")) == (Verdict.JOINED, 2)
        await store.commit(lane, 6, {})
        await late()
        assert await verdict(store, lane, label("e", 7, "False")) == (Verdict.DUPLICATE, 0)

    run(body)


def test_a_late_claim_of_a_label_with_its_own_features(run: Any) -> None:
    """The same, where no event was ever there."""

    async def body(store: Store, wire: Wire) -> None:
        lanes = [await store.acquire(name) for name in ("label.0", "label.1")]
        mine = await verdict(store, lanes[0], label("own", 3, "True", 1.0))
        assert mine == (Verdict.OWN_FEATURES, 1)
        late = wire.last()
        await store.commit(lanes[0], 4, {})
        other = await verdict(store, lanes[1], label("own", 0, "False", 1.0))
        assert other == (Verdict.OWN_FEATURES, 2)
        await store.commit(lanes[1], 1, {})
        await late()
        third = await verdict(store, lanes[1], label("own", 1, "True", 1.0))
        assert third == (Verdict.OWN_FEATURES, 3)

    run(body)


def test_late_events(run: Any) -> None:
    """They were stored and queued once, and are not silent again."""

    async def body(store: Store, wire: Wire) -> None:
        score = await store.acquire("score.0")
        await store.put_pending(score, [pending("e", 1.0)], sweep=True)
        late = wire.last()
        await store.commit(score, 1, {}, 60.0)
        await late()
        swept = await store.sweep_silent(score, 10.0, 5)
        assert ([event_id for event_id, _ in swept.silent], swept.next) == (["e"], 1)
        sweep = wire.last()
        await store.commit(score, 1, {SWEPT: b"1"})
        await sweep()
        await late()
        assert (await store.sweep_silent(score, 10.0, 5)).silent == []

    run(body)


def test_a_late_acquisition_fences_its_own_worker(run: Any) -> None:
    """It can't be told from a newer owner's: the worker ends, and starts again."""

    async def body(store: Store, wire: Wire) -> None:
        await store.acquire("label.0")
        late = wire.last()
        lease = await store.acquire("label.0")
        await late()
        with pytest.raises(CheckpointConflict):
            await store.commit(lease, 1, {})

    run(body)
