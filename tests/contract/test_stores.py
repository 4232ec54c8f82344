"""One suite for the store and its double: what holds for Redis holds in the simulation."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import redis.asyncio

from models.errors import CheckpointConflict, CheckpointLost, UnknownVersion
from models.stores.base import (
    RECORD_HEAD,
    SWEPT,
    Claimed,
    KeyedChange,
    KeyedChanges,
    Lease,
    NewClaim,
    NewPending,
    SettledClaim,
    Store,
    Verdict,
)
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


def pending(
    event_id: str, event_time: float, record: bytes, offset: int = 0, partition: int = 0
) -> NewPending:
    return NewPending(
        event_id, event_time, RECORD_HEAD.pack(event_time, offset, partition) + record
    )


def label(event_id: str, offset: int = 0, truth: str = "True", **more: Any) -> NewClaim:
    return NewClaim(event_id, offset, truth, **{"event_time_min": -math.inf, **more})


def bodies(records: Sequence[bytes | None]) -> list[bytes | None]:
    return [None if record is None else record[RECORD_HEAD.size :] for record in records]


async def one(store: Store, lease: Lease, claim: NewClaim, **policy: Any) -> Claimed:
    (found,) = (await store.claim(lease, [claim], **policy)).found
    return found


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
        read = [await store.read_state("label.0", key) for key in ("a", "b")]
        assert [*read, await store.read_state("learn.0", "a")] == [b"\x00\xff", None, None]

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
            store.commit(stale, 7, {}, None, KeyedChanges([KeyedChange("k", 1, b"1")])),
            store.read_keyed(stale, ["k"]),
            store.put_pending(stale, [pending("e", 1.0, b"r")]),
            store.claim(stale, [label("e")]),
            store.sweep_silent(stale, 1.0, 5),
            store.forget_silent(stale),
            store.cut_version(stale, 7, "v1-7", b"{}", b"blob", 5),
        ):
            with pytest.raises(CheckpointConflict, match="new owner"):
                await write
        again = await store.acquire("label.0")
        assert (again.position, again.state) == (1, {})
        assert await store.newest_version() is None
        assert (await one(store, again, label("e"))).record is None
        assert fresh.epoch < again.epoch

    run(body)


def test_keyed_state_goes_with_the_position_and_moves_with_its_generation(run: Any) -> None:
    """Written in the commit, read by key, dropped by generation; lanes do not share it."""

    async def body(store: Store) -> None:
        lease, other = await store.acquire("score.0"), await store.acquire("score.1")
        first = [
            KeyedChange("a", 3, b"\x00a"),
            KeyedChange("\u00e9", 3, b""),
            KeyedChange("c", 4, b"c"),
        ]
        await store.commit(lease, 5, {"time": b"7"}, 1.0, KeyedChanges(first))
        everything = ["a", "\u00e9", "c", "nobody"]
        found = {"a": b"\x00a", "\u00e9": b"", "c": b"c"}
        assert await store.read_keyed(lease, everything) == found
        assert await store.read_keyed(other, everything) == {}
        assert await store.read_keyed(lease, []) == {}
        moved = [KeyedChange("a", 5, b"a2", 3), KeyedChange("c", 4, b"c2", 4)]
        await store.commit(lease, 6, {}, 2.0, KeyedChanges(moved, floor=3))
        found |= {"a": b"a2", "c": b"c2"}
        again = await store.acquire("score.0")
        assert (again.position, again.state) == (6, {"time": b"7"})
        assert await store.read_keyed(again, everything) == found
        await store.commit(again, 7, {}, None, KeyedChanges(floor=5))
        assert await store.read_keyed(again, everything) == {"a": b"a2"}
        await store.commit(again, 8, {}, None, KeyedChanges(floor=6))
        assert await store.read_keyed(again, everything) == {}
        await store.commit(again, 9, {}, None, KeyedChanges([KeyedChange("a", 9, b"new")]))
        assert await store.read_keyed(again, everything) == {"a": b"new"}

    run(body)


def test_thousands_of_keys_change_at_once(run: Any) -> None:
    """More than go to one command, of generations before the epoch and after it, some moved."""

    async def body(store: Store) -> None:
        lease = await store.acquire("score.0")
        keys = [f"k{i}" for i in range(2700)]
        first = [KeyedChange(key, i % 3 - 1, b"%d" % i) for i, key in enumerate(keys)]
        await store.commit(lease, 1, {}, None, KeyedChanges(first))
        found = {change.key: change.content for change in first}
        assert await store.read_keyed(lease, keys) == found
        moved = [KeyedChange(c.key, 1, b"new", c.generation) for c in first[100:]]
        await store.commit(lease, 2, {"a": b"1"}, None, KeyedChanges(moved))
        found |= {change.key: change.content for change in moved}
        assert await store.read_keyed(lease, keys) == found
        await store.commit(lease, 3, {}, None, KeyedChanges(floor=2))
        assert await store.read_keyed(lease, keys) == {}

    run(body)


def test_the_first_pending_record_of_an_id_wins(run: Any) -> None:
    """Also across generations, within a batch, and between lanes."""

    async def body(store: Store) -> None:
        first, second = await store.acquire("score.0"), await store.acquire("score.1")
        batch = [pending("a", 1.0, b"1"), pending("b", 2.0, b"2"), pending("a", 1.0, b"3")]
        assert bodies(await store.put_pending(first, batch)) == [None, None, b"1"]
        assert bodies(await store.put_pending(second, [pending("b", 75.0, b"9")])) == [b"2"]
        assert await store.put_pending(second, [pending("c", 75.0, b"\xff\x00")]) == [None]
        lane = await store.acquire("label.0")
        claims = await store.claim(lane, [label(i) for i in "abcd"])
        assert bodies([c.record for c in claims.found]) == [b"1", b"2", b"\xff\x00", None]

    run(body)


def test_thousands_of_events_are_put_at_once(run: Any) -> None:
    """More than go to one command, of several generations; whatever came before stands."""

    async def body(store: Store) -> None:
        lease = await store.acquire("score.0")
        batch = [pending(f"e{i}", i % 90.0, b"%d" % i, i) for i in range(2700)]
        assert await store.put_pending(lease, batch, sweep=True) == [None] * 2700
        # All of them again, at other times, each followed by its twin or by a new one.
        again = [pending(f"e{i}", 5.0, b"again", i) for i in range(2700) for _ in range(2)]
        again[1::4] = [pending(f"n{i}", 5.0, b"new", 9000 + i) for i in range(1350)]
        found = bodies(await store.put_pending(lease, again, sweep=True))
        first = [b"%d" % i for i in range(2700) for _ in range(2)]
        first[1::4] = [None] * 1350
        assert found == first
        (twice,) = bodies(await store.put_pending(lease, [pending("n7", 70.0, b"")]))
        assert twice == b"new"

    run(body)


def test_a_correction_is_the_next_revision_and_a_repeat_is_none(run: Any) -> None:
    """Each label's verdict stands: whoever asks again, before the commit, gets it again."""

    async def body(store: Store) -> None:
        await store.put_pending(await store.acquire("score.0"), [pending("a", 1.0, b"r")])
        lane = await store.acquire("label.7")
        said = {
            "True": (Verdict.JOINED, 1),
            "True ": (Verdict.JOINED, 2),
            "a;b,c@1:L9;l": (Verdict.JOINED, 3),
        }
        offset = 0
        for truth, expected in said.items():
            for verdict in (expected, (Verdict.DUPLICATE, 0)):
                await store.commit(lane, offset, {})
                for _ in range(2):
                    found = await one(store, lane, label("a", offset, truth))
                    assert (found.verdict, found.revision) == verdict
                offset += 1
        assert (await one(store, lane, label("nobody", offset))).verdict is Verdict.NO_EVENT

    run(body)


def test_a_verdict_outlives_what_was_decided_since(run: Any) -> None:
    """A duplicate of its time is none by the truth of now; its lane may not have committed it."""

    async def body(store: Store) -> None:
        await store.put_pending(await store.acquire("score.0"), [pending("a", 1.0, b"r")])
        one_lane, other = await store.acquire("label.1"), await store.acquire("label.11")
        assert (await one(store, one_lane, label("a", 0))).revision == 1
        await store.commit(one_lane, 1, {})
        assert (await one(store, one_lane, label("a", 1))).verdict is Verdict.DUPLICATE
        assert (await one(store, other, label("a", 1, "False"))).revision == 2
        assert (await one(store, one_lane, label("a", 1))).verdict is Verdict.DUPLICATE
        await store.commit(other, 2, {})
        assert (await one(store, one_lane, label("a", 2))).revision == 3

    run(body)


def test_a_correction_waits_until_the_revision_before_is_in_the_log(run: Any) -> None:
    """It is there when its lane has committed it; one that waits in the state is not yet."""

    async def body(store: Store) -> None:
        await store.put_pending(await store.acquire("score.0"), [pending("a", 1.0, b"r")])
        first, second = await store.acquire("label.0"), await store.acquire("label.1")
        assert (await one(store, first, label("a", 4))).revision == 1
        correction = label("a", 9, "False")
        assert (await one(store, second, correction)).verdict is Verdict.BLOCKED
        await store.commit(first, 5, {"4": b"waits"})
        assert (await one(store, second, correction)).verdict is Verdict.BLOCKED
        await store.commit(first, 5, {"4": None})
        assert (await one(store, second, correction)).revision == 2
        assert (await one(store, first, label("a", 5))).verdict is Verdict.BLOCKED
        assert (await one(store, first, label("a", 5, "False"))).verdict is Verdict.DUPLICATE

    run(body)


def test_corrections_within_a_batch_do_not_wait(run: Any) -> None:
    """They are published in this order, and again in this order after a crash."""

    async def body(store: Store) -> None:
        await store.put_pending(await store.acquire("score.0"), [pending("a", 1.0, b"r")])
        lane = await store.acquire("label.0")
        batch = [label("a", i, truth) for i, truth in enumerate(("True", "False", "True", "True"))]
        for _ in range(2):
            found = (await store.claim(lane, batch)).found
            assert [claimed.revision for claimed in found] == [1, 2, 3, 0]
        assert (await one(store, lane, label("a", 4, "False"))).verdict is Verdict.BLOCKED

    run(body)


def test_a_label_does_not_correct_one_that_is_published_after_it(run: Any) -> None:
    """The later one may have been first: its claim was given up, came late, and met the event."""

    async def body(store: Store) -> None:
        await store.put_pending(await store.acquire("score.0"), [pending("a", 1.0, b"r")])
        lane = await store.acquire("label.0")
        earlier, later = label("a", 8, "False"), label("a", 11, "True")
        assert (await one(store, lane, later)).revision == 1
        found = (await store.claim(lane, [earlier, later])).found
        assert [claimed.verdict for claimed in found] == [Verdict.BLOCKED, Verdict.JOINED]
        await store.commit(lane, 12, {"8": b"waits"})
        assert (await one(store, lane, earlier)).revision == 2

    run(body)


def test_corrections_can_be_refused(run: Any) -> None:
    """The first label stands, and is told."""

    async def body(store: Store) -> None:
        await store.put_pending(await store.acquire("score.0"), [pending("a", 1.0, b"r")])
        lane = await store.acquire("label.0")
        assert (await one(store, lane, label("a", 0, "cat; or dog"), corrections=False)).revision
        for _ in range(2):
            refused = await one(store, lane, label("a", 1, "dog"), corrections=False)
            assert (refused.verdict, refused.before) == (Verdict.REFUSED, "cat; or dog")
        same = await one(store, lane, label("a", 2, "cat; or dog"), corrections=False)
        assert same.verdict is Verdict.DUPLICATE

    run(body)


def test_an_event_that_is_too_old_is_not_claimed(run: Any) -> None:
    """So a label that came in time is the first, whatever came too late before it."""

    async def body(store: Store) -> None:
        await store.put_pending(await store.acquire("score.0"), [pending("a", 10.0, b"r")])
        lane = await store.acquire("label.0")
        late = await one(store, lane, label("a", 0, event_time_min=10.5))
        assert (late.verdict, bodies([late.record])) == (Verdict.EXPIRED, [b"r"])
        assert (await one(store, lane, label("a", 1, "False", event_time_min=10.0))).revision == 1

    run(body)


def test_a_label_with_its_own_features_needs_no_event(run: Any) -> None:
    """It is claimed once all the same, also when its event comes after all."""

    async def body(store: Store) -> None:
        lane, score = await store.acquire("label.0"), await store.acquire("score.0")
        assert (await one(store, lane, label("a", 0))).verdict is Verdict.NO_EVENT
        own = await one(store, lane, label("a", 1, own_time=30.0))
        assert (own.verdict, own.revision, own.record) == (Verdict.OWN_FEATURES, 1, None)
        await store.put_pending(score, [pending("a", 75.0, b"r"), pending("b", 75.0, b"s")])
        again = await one(store, lane, label("a", 1, own_time=30.0))
        assert (again.verdict, bodies([again.record])) == (Verdict.OWN_FEATURES, [b"r"])
        await store.commit(lane, 2, {})
        assert (await one(store, lane, label("a", 2))).verdict is Verdict.DUPLICATE
        assert await one(store, lane, label("a", 3, "False")) == Claimed(
            again.record, Verdict.JOINED, 2
        )
        joined = await one(store, lane, label("b", 4, own_time=30.0))
        assert (joined.verdict, bodies([joined.record])) == (Verdict.JOINED, [b"s"])
        await store.commit(lane, 5, {}, 200.0)
        await store.commit(score, 2, {}, 120.0)
        await store.expire(TTL)
        forgotten = await one(store, lane, label("a", 5, "False", own_time=30.0))
        assert (forgotten.verdict, forgotten.revision) == (Verdict.JOINED, 1)

    run(body)


async def silent_events(store: Store) -> tuple[Lease, Lease]:
    """Four events of one lane that wait for labels, and the lanes; nothing has come to an end."""
    score, labels = await store.acquire("score.2"), await store.acquire("label.0")
    times = {"a": 5, "b": 2, "c": 7, "d": 40}
    events = [pending(i, t, i.encode(), n) for n, (i, t) in enumerate(times.items())]
    await store.put_pending(score, [events[0], events[0], *events[1:]], sweep=True)
    await store.put_pending(score, [events[1]], sweep=True)
    return score, labels


def test_events_that_nobody_labelled_in_time_are_silent_once(run: Any) -> None:
    """In the order of their offsets; what was claimed and not committed is given again."""

    async def body(store: Store) -> None:
        score, labels = await silent_events(store)
        await store.commit(labels, 1, {}, 100.0)
        await store.commit(score, 4, {}, 14.9)
        swept = await store.sweep_silent(score, 10.0, 9)
        assert (swept.silent, swept.floor, swept.next, swept.more) == ([], 0, 0, False)
        await store.commit(score, 4, {}, 17.0)
        assert (await one(store, labels, label("b", 1))).revision == 1
        for _ in range(2):
            swept = await store.sweep_silent(score, 10.0, 9)
            assert [event_id for event_id, _ in swept.silent] == ["a", "c"]
            assert bodies([record for _, record in swept.silent]) == [b"a", b"c"]
            assert (swept.floor, swept.next, swept.more) == (0, 3, False)
        await store.commit(score, 4, {SWEPT: b"3"})
        swept = await store.sweep_silent(score, 10.0, 9)
        assert (swept.silent, swept.floor, swept.next) == ([], 3, 3)

    run(body)


def test_a_stored_event_that_comes_again_joins_the_queue_that_missed_it(run: Any) -> None:
    """Once, in its order, only its own lane's, and not behind what was swept."""

    async def body(store: Store) -> None:
        score, labels = await store.acquire("score.1"), await store.acquire("label.0")
        events = [pending(f"e{n}", 1.0, b"r", n, partition=1) for n in range(4)]
        await store.put_pending(score, events)
        await store.commit(score, 4, {SWEPT: b"1"}, 100.0)
        await store.commit(labels, 1, {}, 100.0)
        for _ in range(2):
            await store.put_pending(score, events[:3], sweep=True)
        await store.put_pending(score, [pending("e3", 1.0, b"other", 3, partition=0)], sweep=True)
        swept = await store.sweep_silent(score, 10.0, 9)
        assert ([event_id for event_id, _ in swept.silent], swept.next) == (["e1", "e2"], 3)

    run(body)


def test_restored_claims_are_settled(run: Any) -> None:
    """The next label is a duplicate or the next revision; the sweep passes them."""

    async def body(store: Store) -> None:
        score, lane = await store.acquire("score.0"), await store.acquire("label.0")
        learn = await store.acquire("learn.0")
        events = [pending(i, 1.0, b"r", n) for n, i in enumerate("abcd")]
        await store.put_pending(score, events, sweep=True)
        claims = [
            SettledClaim("a", 1.0, 1, "True", own=False),
            SettledClaim("a", 1.0, 2, "False", own=False),
            SettledClaim("b", 1.0, 1, None, own=False),
            SettledClaim("c", 5.0, 1, "True", own=True),
            SettledClaim("gone", 1.0, 3, "True", own=False),
        ]
        await store.restore_claims(learn, claims)
        await store.commit(score, 4, {}, 50.0)
        await store.commit(lane, 0, {}, 50.0)
        swept = await store.sweep_silent(score, 10.0, 9)
        assert ([event_id for event_id, _ in swept.silent], swept.next) == (["d"], 4)
        wanted = [label("a", 0, "False"), label("a", 1), label("b", 2, "False"), label("c", 3)]
        wanted += [label("gone", 4, own_time=9.0), label("gone", 5, "False", own_time=9.0)]
        found = (await store.claim(lane, wanted)).found
        assert [(claim.verdict, claim.revision) for claim in found] == [
            (Verdict.DUPLICATE, 0),
            (Verdict.JOINED, 3),
            (Verdict.JOINED, 2),
            (Verdict.DUPLICATE, 0),
            (Verdict.DUPLICATE, 0),
            (Verdict.OWN_FEATURES, 4),
        ]

    run(body)


def test_a_sweep_is_bounded(run: Any) -> None:
    """It goes on where the last committed one ended, and says when that may be at once."""

    async def body(store: Store) -> None:
        score, labels = await silent_events(store)
        await store.commit(score, 4, {}, 1000.0)
        await store.commit(labels, 1, {}, 1000.0)
        seen = []
        for _ in range(2):
            swept = await store.sweep_silent(score, 10.0, 2)
            seen += [event_id for event_id, _ in swept.silent]
            assert swept.more
            await store.commit(score, 4, {SWEPT: b"%d" % swept.next})
        assert seen == ["a", "b", "c", "d"]
        assert not (await store.sweep_silent(score, 10.0, 2)).more

    run(body)


def test_a_label_after_the_silence_corrects_it(run: Any) -> None:
    """Whatever it says and whatever the policy, once the silence is in the log."""

    async def body(store: Store) -> None:
        score, labels = await silent_events(store)
        await store.commit(score, 4, {}, 1000.0)
        await store.commit(labels, 1, {}, 1000.0)
        await store.sweep_silent(score, 10.0, 9)
        claims = [label("a", 1, "False"), label("b", 2, "True")]
        found = (await store.claim(labels, claims, corrections=False)).found
        assert {claimed.verdict for claimed in found} == {Verdict.BLOCKED}
        await store.commit(score, 4, {SWEPT: b"1"})
        found = (await store.claim(labels, claims, corrections=False)).found
        assert [(c.verdict, c.revision) for c in found] == [
            (Verdict.JOINED, 2),
            (Verdict.BLOCKED, 0),
        ]
        await store.commit(score, 4, {SWEPT: b"4"})
        assert (await one(store, labels, claims[1], corrections=False)).revision == 2
        last = await one(store, labels, label("a", 3, "True"), corrections=False)
        assert (last.verdict, last.before) == (Verdict.REFUSED, "False")

    run(body)


def test_silence_waits_for_labels_that_may_be_on_their_way(run: Any) -> None:
    """An active label lane holds it back, an idle one does not; idle score lanes keep the time."""

    async def body(store: Store) -> None:
        score, labels = await silent_events(store)
        other = await store.acquire("score.0")

        async def silent() -> list[str]:
            return [i for i, _ in (await store.sweep_silent(score, 10.0, 9)).silent]

        await store.commit(score, 4, {}, 50.0)
        await store.commit(other, 4, {}, 17.0)
        assert await silent() == [], "the label lane has committed nothing yet"
        await store.commit(labels, 1, {}, 15.0)
        assert await silent() == ["a", "b"]
        await store.rest(labels)
        assert await silent() == ["a", "b", "c"]
        await store.rest(other)
        assert await silent() == ["a", "b", "c", "d"]

    run(body)


def test_the_time_stands_where_it_was_while_all_rest(run: Any) -> None:
    """It neither runs back nor on, and a lane that is taken over holds it again."""

    async def body(store: Store) -> None:
        score, labels = await silent_events(store)
        await store.rest(labels)
        assert (await store.sweep_silent(score, 1.0, 9)).next == 0
        await store.commit(score, 4, {}, 17.0)
        await store.rest(score)
        assert (await store.sweep_silent(score, 10.0, 9)).next == 3
        again = await store.acquire("score.2")
        assert (await store.sweep_silent(again, 10.0, 9)).next == 0
        await store.rest(again)
        assert (await store.sweep_silent(again, 10.0, 9)).next == 3

    run(body)


def test_what_has_yet_to_become_a_negative_does_not_expire(run: Any) -> None:
    """The generation goes once its last event was swept, or silence means nothing any more."""

    async def body(store: Store) -> None:
        score, labels = await silent_events(store)
        for lane in (score, labels):
            await store.commit(lane, 4, {}, 1000.0)
        assert await store.expire(TTL) == 0
        await store.sweep_silent(score, 10.0, 9)
        await store.commit(score, 4, {SWEPT: b"3"})
        assert await store.expire(TTL) == 0, "nothing has left the queue yet"
        await store.sweep_silent(score, 10.0, 9)
        assert await store.expire(TTL) == 1, "a, b and c are done, d is of a later generation"
        await store.forget_silent(score)
        assert await store.expire(TTL) == 1
        assert (await store.sweep_silent(score, 10.0, 9)).silent == []

    run(body)


def test_a_silent_event_with_an_own_label_is_labelled(run: Any) -> None:
    """The label came first, though no event waited then."""

    async def body(store: Store) -> None:
        lane = await store.acquire("label.3")
        assert (await one(store, lane, label("c", 0, own_time=30.0))).revision == 1
        score, labels = await silent_events(store)
        for one_lane in (score, labels, lane):
            await store.commit(one_lane, 4, {}, 1000.0)
        await store.expire(TTL)
        swept = await store.sweep_silent(score, 10.0, 9)
        assert [event_id for event_id, _ in swept.silent] == ["a", "b", "d"]

    run(body)


def test_claims_tell_how_far_the_active_score_lanes_are(run: Any) -> None:
    """A new score lane holds at minus infinity, a resting one does not count."""

    async def body(store: Store) -> None:
        labels = await store.acquire("label.0")

        async def watermark() -> float | None:
            return (await store.claim(labels, [])).watermark

        assert await watermark() is None
        first, second = await store.acquire("score.0"), await store.acquire("score.1")
        await store.commit(first, 1, {}, 50.0)
        assert await watermark() == -math.inf
        await store.commit(second, 1, {}, 70.0)
        assert await watermark() == 50.0
        await store.rest(first)
        assert await watermark() == 70.0
        await store.rest(second)
        assert await watermark() is None

    run(body)


def test_generations_expire_once_every_active_lane_has_passed_them(run: Any) -> None:
    """Whole generations go; those a label could still reach stay."""

    async def body(store: Store) -> None:
        score, labels = await store.acquire("score.0"), await store.acquire("label.0")
        await store.put_pending(score, [pending("old", 5.0, b"o"), pending("new", 65.0, b"n")])
        await store.commit(score, 2, {}, 200.0)
        assert await store.expire(TTL) == 0, "the label lane has committed nothing yet"
        await store.commit(labels, 2, {}, 95.0)
        assert await store.expire(TTL) == 1
        found = (await store.claim(labels, [label("old", 2), label("new", 3)])).found
        assert bodies([answer.record for answer in found]) == [None, b"n"]
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


async def cut(store: Store, lane: Lease, *places: int, keep: int, **how: Any) -> None:
    for n in places:
        await store.cut_version(lane, n, f"v1-{n}", b"m%d" % n, b"b%d" % n, keep, **how)


def test_a_tag_keeps_its_version(run: Any) -> None:
    """From retention and from being dropped, until it names another; so does a lineage's need."""

    async def body(store: Store) -> None:
        lane = await store.acquire("learn.0")
        await cut(store, lane, 10, 20, 30, keep=5)
        assert await store.tags() == {}
        await store.tag_version("good", "v1-10")
        await store.tag_version("also good", "v1-10")
        await store.tag_version("before", "v1-20")
        await cut(store, lane, 40, 50, 60, keep=2, needed=("v1-30", "v1-3"))
        assert await store.version_ids() == ["v1-60", "v1-50", "v1-30", "v1-20", "v1-10"]
        with pytest.raises(UnknownVersion, match="v1-60, v1-50"):
            await store.tag_version("good", "v1-40")
        await store.tag_version("good", "v1-50")
        assert await store.tags() == {"also good": "v1-10", "before": "v1-20", "good": "v1-50"}
        assert [await store.untag("before") for _ in range(2)] == [True, False]
        dropped = await store.drop_versions(["v1-20", "v1-10", "v1-50", "v1-60", "v1-9", "v1-30"])
        assert dropped == ["v1-20", "v1-30"]
        assert await store.version_ids() == ["v1-60", "v1-50", "v1-10"]
        with pytest.raises(UnknownVersion):
            await store.read_version("v1-20")
        await store.start_over(["learn.0"], 1)
        assert await store.tags() == {"also good": "v1-10", "good": "v1-50"}

    run(body)


def test_state_goes_with_a_cut(run: Any) -> None:
    """Set, and deleted; nothing of it is written by an owner that is fenced."""

    async def body(store: Store) -> None:
        stale = await store.acquire("learn.0")
        await store.commit(stale, 5, {"a": b"1", "b": b"\x00", "c": b"3"})
        how = {"replace": False, "changes": {"a": None, "b": b"2", "d": b"\xff"}}
        await store.cut_version(stale, 9, "v1-9", b"m", b"b", 5, **how)
        lane = await store.acquire("learn.0")
        expected = {"version": b"v1-9", "b": b"2", "c": b"3", "d": b"\xff"}
        assert (lane.position, lane.state) == (9, expected)
        with pytest.raises(CheckpointConflict):
            await store.cut_version(stale, 10, "v1-10", b"m", b"b", 5, False, {"c": None})
        await store.cut_version(lane, 11, "v1-11", b"m", b"b", 5)
        after = await store.acquire("learn.0")
        assert after.state == {**expected, "version": b"v1-11"}

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
        label_lane = await store.acquire("label.0")
        await store.save_fields(1, ["a"])
        await store.put_pending(score, [pending("e", 1.0, b"r")])
        await store.claim(label_lane, [label("e", 3)])
        await store.commit(score, 5, {}, 7.0)
        await store.commit(label_lane, 5, {"3": b"waits"})
        await store.cut_version(learn, 10, "v1-10", b"m", b"b", 5)

        await store.start_over(["score.0", "learn.0"], 1_000)

        assert await store.birth() is None
        assert await store.load_fields() == {}
        assert await store.waiting_counts() in ({}, {"label.0": 0})
        for stale in (score, learn):
            with pytest.raises(CheckpointConflict):
                await store.commit(stale, 9, {})
        with pytest.raises(CheckpointLost):
            await store.commit(label_lane, 9, {})
        again = await store.acquire("score.0")
        assert (again.epoch, again.position, again.state) == (1_001, None, {})
        assert await store.put_pending(again, [pending("e", 1.0, b"new")]) == [None]
        again = await store.acquire("label.0")
        found = await one(store, again, label("e", 9, "False"))
        assert (found.verdict, found.revision) == (Verdict.JOINED, 1)
        assert await store.version_ids() == ["v1-10"]

    run(body)


class Rewinding:
    """A connection whose scripts can be sent again later, as from the socket of a dead one."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self.sent: list[tuple[Any, ...]] = []
        self._send = client.execute_command
        client.execute_command = self._remember  # type: ignore[method-assign]

    async def _remember(self, *command: Any, **options: Any) -> Any:
        self.sent.append(command)
        return await self._send(*command, **options)

    async def again(self, index: int) -> None:
        """Send a command once more."""
        await self._send(*self.sent[index])


def test_a_commit_that_arrives_late_changes_nothing(redis_url: str) -> None:
    """It was given up and made again, and others after it, before the first got through."""

    async def body() -> None:
        client = redis.asyncio.Redis.from_url(redis_url)
        store = RedisStore(client, f"contract-{uuid.uuid4().hex}", ttl=TTL)
        lane = await store.acquire("label.0")
        await store.commit(lane, 1, {})  # The scripts are known to the server from here on.
        connection = Rewinding(client)
        await store.commit(lane, 5, {"5": b"waits"})
        await store.commit(lane, 9, {"5": None})
        await connection.again(0)
        found = await store.acquire("label.0")
        assert (found.position, found.state) == (9, {})
        await client.aclose()

    asyncio.run(body())


def test_lost_commits_are_noticed(redis_url: str) -> None:
    """Redis came back from an older state: the next commit says so instead of hiding it."""

    async def body() -> None:
        client = redis.asyncio.Redis.from_url(redis_url)
        app = f"contract-{uuid.uuid4().hex}"
        store = RedisStore(client, app, ttl=TTL)
        lane = await store.acquire("score.0")
        await store.commit(lane, 5, {})
        before = await client.dump(f"{{{app}}}:lane:score.0")
        await store.commit(lane, 9, {})
        await client.restore(f"{{{app}}}:lane:score.0", 0, before, replace=True)
        with pytest.raises(CheckpointLost, match="lost"):
            await store.commit(lane, 12, {})
        await client.delete(f"{{{app}}}:lane:score.0")
        with pytest.raises(CheckpointLost):
            await store.commit(lane, 12, {})
        await client.aclose()

    asyncio.run(body())
