"""One suite for the store and its double: what holds for Redis holds in the simulation."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio

from models.errors import CheckpointConflict, CheckpointLost, UnknownVersion
from models.stores.base import Lease, NewPending, Store
from models.stores.memory import MemoryStore
from models.stores.redis import RedisStore

TTL = 80.0
Body = Callable[[Store], Awaitable[None]]


@pytest.fixture(params=["memory", "redis"])
def run(request: pytest.FixtureRequest) -> Callable[[Body], None]:
    """Run a test's body on a fresh store of each kind."""

    def with_memory(body: Body) -> None:
        asyncio.run(body(MemoryStore(ttl=TTL)))

    def with_redis(body: Body) -> None:
        async def connected() -> None:
            client = redis.asyncio.Redis.from_url(request.getfixturevalue("redis_url"))
            try:
                await body(RedisStore(client, f"contract-{uuid.uuid4().hex}", ttl=TTL))
            finally:
                await client.aclose()

        asyncio.run(connected())

    return with_memory if request.param == "memory" else with_redis


def pending(event_id: str, event_time: float, record: bytes) -> NewPending:
    return NewPending(event_id, event_time, record)


def test_a_lane_comes_back_as_it_was_committed(run: Any) -> None:
    """Position and state survive; None deletes; a new lane has no position."""

    async def body(store: Store) -> None:
        first = await store.acquire("label.0")
        assert (first.position, first.state) == (None, {})
        await store.commit(first, 5, {"a": b"\x00\xff", "b": b"2"})
        await store.commit(first, 9, {"b": None, "c": b"3"})
        second = await store.acquire("label.0")
        assert (second.position, second.state) == (9, {"a": b"\x00\xff", "c": b"3"})
        assert second.epoch > first.epoch
        assert await store.waiting_counts() == {"label.0": 2}

    run(body)


def test_a_stale_lease_writes_nothing(run: Any) -> None:
    """Every write under an old epoch is refused, and leaves no trace."""

    async def body(store: Store) -> None:
        stale = await store.acquire("label.0")
        await store.commit(stale, 1, {})
        fresh = await store.acquire("label.0")
        for write in (
            store.commit(stale, 7, {"a": b"1"}),
            store.rest(stale),
            store.put_pending(stale, [pending("e", 1.0, b"r")]),
            store.claim(stale, [("e", b"c")]),
            store.cut_version(stale, 7, "v1-7", b"{}", b"blob", 5),
        ):
            with pytest.raises(CheckpointConflict, match="new owner"):
                await write
        again = await store.acquire("label.0")
        assert (again.position, again.state) == (1, {})
        assert await store.newest_version() is None
        found = await store.claim(again, [("e", b"c")])
        assert found.found[0].record is None
        assert fresh.epoch < again.epoch

    run(body)


def test_the_first_pending_record_of_an_id_wins(run: Any) -> None:
    """Also across generations, within a batch, and between lanes."""

    async def body(store: Store) -> None:
        one, two = await store.acquire("score.0"), await store.acquire("score.1")
        batch = [pending("a", 1.0, b"1"), pending("b", 2.0, b"2"), pending("a", 1.0, b"3")]
        assert await store.put_pending(one, batch) == [None, None, b"1"]
        assert await store.put_pending(two, [pending("b", 75.0, b"9")]) == [b"2"]
        assert await store.put_pending(two, [pending("c", 75.0, b"\xff\x00")]) == [None]
        claims = await store.claim(two, [(i, b"x") for i in "abcd"])
        assert [c.record for c in claims.found] == [b"1", b"2", b"\xff\x00", None]

    run(body)


def test_the_first_claim_of_an_event_wins(run: Any) -> None:
    """Repeating one's own claim gives it back; another's shows the first."""

    async def body(store: Store) -> None:
        lane = await store.acquire("score.0")
        await store.put_pending(lane, [pending("a", 1.0, b"r")])
        answers = [
            (await store.claim(lane, [("a", claim)])).found[0].claim
            for claim in (b"first", b"first", b"second")
        ]
        assert answers == [b"first", b"first", b"first"]
        assert (await store.claim(lane, [("nobody", b"x")])).found[0].claim is None

    run(body)


def test_claims_tell_how_far_the_active_score_lanes_are(run: Any) -> None:
    """A new score lane holds at minus infinity, a resting one does not count."""

    async def body(store: Store) -> None:
        label = await store.acquire("label.0")

        async def watermark() -> float | None:
            return (await store.claim(label, [])).watermark

        assert await watermark() is None
        one, two = await store.acquire("score.0"), await store.acquire("score.1")
        await store.commit(one, 1, {}, 50.0)
        assert await watermark() == -math.inf
        await store.commit(two, 1, {}, 70.0)
        assert await watermark() == 50.0
        await store.rest(one)
        assert await watermark() == 70.0
        await store.rest(two)
        assert await watermark() is None

    run(body)


def test_generations_expire_once_every_active_lane_has_passed_them(run: Any) -> None:
    """Whole generations go; those a label could still reach stay."""

    async def body(store: Store) -> None:
        score, label = await store.acquire("score.0"), await store.acquire("label.0")
        await store.put_pending(score, [pending("old", 5.0, b"o"), pending("new", 65.0, b"n")])
        await store.commit(score, 2, {}, 200.0)
        assert await store.expire(TTL) == 0, "the label lane has committed nothing yet"
        await store.commit(label, 2, {}, 95.0)
        assert await store.expire(TTL) == 1
        found = (await store.claim(label, [("old", b"c"), ("new", b"c")])).found
        assert [answer.record for answer in found] == [None, b"n"]
        assert await store.expire(TTL) == 0

    run(body)


def test_feature_names_are_kept_by_id(run: Any) -> None:
    """Records written under an old configuration stay readable."""

    async def body(store: Store) -> None:
        await store.save_fields(1, ["a", "b"])
        await store.save_fields(4_000_000_000, ["é"])
        assert await store.load_fields() == {1: ["a", "b"], 4_000_000_000: ["é"]}

    run(body)


def test_versions_are_immutable_and_the_oldest_are_dropped(run: Any) -> None:
    """The position goes with the cut; cutting the same id again changes nothing."""

    async def body(store: Store) -> None:
        lane = await store.acquire("learn.0")
        for n in (10, 20, 30):
            await store.cut_version(lane, n, f"v1-{n}", b"m%d" % n, b"\x00%d" % n, 2)
        assert await store.newest_version() == "v1-30"
        assert await store.version_ids() == ["v1-30", "v1-20"]
        await store.cut_version(lane, 30, "v1-30", b"other", b"other", 2)
        assert await store.read_version("v1-30") == (b"m30", b"\x0030")
        with pytest.raises(UnknownVersion, match="v1-30, v1-20"):
            await store.restore_version("v1-10", b"m", b"b")
        assert await store.read_meta("v1-20") == b"m20"
        with pytest.raises(UnknownVersion, match="v1-30, v1-20"):
            await store.read_version("v1-10")
        again: Lease = await store.acquire("learn.0")
        assert (again.position, again.state["version"]) == (30, b"v1-30")

    run(body)


def test_a_refused_version_is_replaced(run: Any) -> None:
    """By its owner at the next cut, which makes it the newest; by hand in its place."""

    async def body(store: Store) -> None:
        lane = await store.acquire("learn.0")
        for n in (10, 20, 30):
            await store.cut_version(lane, n, f"v1-{n}", b"m%d" % n, b"%d" % n, 3)
        await store.cut_version(lane, 20, "v1-20", b"again", b"\x00again", 3, replace=True)
        assert await store.newest_version() == "v1-20"
        assert await store.version_ids() == ["v1-20", "v1-30", "v1-10"]
        assert await store.read_version("v1-20") == (b"again", b"\x00again")
        await store.restore_version("v1-10", b"rebuilt", b"\x00rebuilt")
        assert await store.read_version("v1-10") == (b"rebuilt", b"\x00rebuilt")
        assert await store.version_ids() == ["v1-20", "v1-30", "v1-10"]
        assert await store.newest_version() == "v1-20"
        fresh = await store.acquire("learn.0")
        with pytest.raises(CheckpointConflict):
            await store.cut_version(lane, 9, "v1-20", b"stale", b"stale", 3, replace=True)
        assert await store.read_meta("v1-20") == b"again"
        assert fresh.position == 20


def test_the_birth_record_is_written_once(run: Any) -> None:
    """Of two workers that begin an application, one gives it its record."""

    async def body(store: Store) -> None:
        assert await store.birth() is None
        assert await store.bear(b"first") == b"first"
        assert await store.bear(b"second") == b"first"
        assert await store.birth() == b"first"

    run(body)


def test_a_store_that_starts_over_keeps_the_versions_alone(run: Any) -> None:
    """No birth record, no positions, no events; and no worker of before finds its epoch again."""

    async def body(store: Store) -> None:
        await store.bear(b"first")
        score, learn = await store.acquire("score.0"), await store.acquire("learn.0")
        label = await store.acquire("label.0")
        await store.save_fields(1, ["a"])
        await store.put_pending(score, [pending("e", 1.0, b"r")])
        await store.claim(score, [("e", b"c")])
        await store.commit(score, 5, {}, 7.0)
        await store.commit(label, 5, {"3": b"waits"})
        await store.cut_version(learn, 10, "v1-10", b"m", b"b", 5)

        await store.start_over(["score.0", "learn.0"], 1_000)

        assert await store.birth() is None
        assert await store.load_fields() == {}
        assert await store.waiting_counts() in ({}, {"label.0": 0})
        for stale in (score, learn):
            with pytest.raises(CheckpointConflict):
                await store.commit(stale, 9, {})
        with pytest.raises(CheckpointLost):
            await store.commit(label, 9, {})
        again = await store.acquire("score.0")
        assert (again.epoch, again.position, again.state) == (1_001, None, {})
        assert await store.put_pending(again, [pending("e", 1.0, b"new")]) == [None]
        found = (await store.claim(again, [("e", b"new claim")])).found
        assert found[0].claim == b"new claim"
        assert await store.version_ids() == ["v1-10"]

    run(body)
