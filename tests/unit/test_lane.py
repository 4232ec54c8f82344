"""A lane takes what is delivered: once, in order, bounded, and committed in the one order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from models.stores.memory import MemoryStore
from stream.lane import Lane, RecordsMissing
from stream.ports import Message, Outcome, Record


class FakeRecord(NamedTuple):
    offset: int
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Scribe:
    """A handler, an outbox, a clock and an observer that write down what they are asked."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.story: list[str] = []
        self.held = False
        self.left_over: Outcome | None = None

    async def open(self, lease: Any) -> int | None:
        return None

    async def absorb(self, records: Sequence[Record], position: int, now: float) -> Outcome:
        self.taken += [record.offset for record in records]
        self.story.append(f"absorb {position}")
        message = Message("scores", 0, None, b"s")
        return Outcome(messages=[message], announcements=[message], counts=Counter())

    async def tick(self, position: int, now: float) -> Outcome | None:
        return None

    def hold(self, records: Sequence[Record]) -> bool:
        return self.held

    def final(self, now: float) -> Outcome | None:
        return self.left_over

    def close(self) -> None:
        self.story.append("close")

    async def publish(self, messages: Sequence[Message]) -> None:
        self.story.extend("publish" for _ in messages)

    def now(self) -> float:
        return 0.0

    def committed(self, *args: Any) -> None:
        self.story.append("committed")

    def behind(self, lane: Lane) -> bool:
        return False


async def make(scribe: Scribe, strict: bool = True, pause: Any = None) -> tuple[Lane, MemoryStore]:
    store = MemoryStore(ttl=1.0)
    lane = Lane(
        await store.acquire("score.0"),
        scribe,
        store=store,
        outbox=scribe,
        clock=scribe,
        observer=scribe,
        batch_records_max=4,
        strict=strict,
        pause=pause or (lambda paused: None),
    )
    lane.start_at(10)
    return lane, store


def deliver(*offsets: int) -> list[FakeRecord]:
    return [FakeRecord(offset) for offset in offsets]


def test_outputs_are_acknowledged_before_the_position_is_committed() -> None:
    """The commit order: absorb, publish, commit, and only then the announcements."""

    async def run() -> None:
        scribe = Scribe()
        lane, store = await make(scribe)
        lane.offer(deliver(10, 11))
        assert await lane.step()
        assert scribe.story == ["absorb 10", "publish", "committed", "publish"]
        assert await store.positions() == {"score.0": 12}

    asyncio.run(run())


def test_redelivered_records_are_taken_once() -> None:
    """In one delivery, across deliveries, and wholly old ones."""

    async def run() -> None:
        scribe = Scribe()
        lane, _ = await make(scribe)
        for offsets in ((8, 9, 10), (9, 10, 11), (3, 4)):
            lane.offer(deliver(*offsets))
        while lane.n_queued:
            await lane.step()
        assert scribe.taken == [10, 11]

    asyncio.run(run())


def test_a_gap_stops_a_strict_lane_and_only_that() -> None:
    """Missing records are lost data, unless the topic is known to have gaps."""

    async def run(strict: bool) -> list[int]:
        scribe = Scribe()
        lane, _ = await make(scribe, strict)
        lane.offer(deliver(10, 12))
        await lane.step()
        return scribe.taken

    assert asyncio.run(run(strict=False)) == [10, 12]
    with pytest.raises(RecordsMissing, match="inputs_may_have_gaps"):
        asyncio.run(run(strict=True))


def test_a_full_lane_pauses_fetching_until_there_is_room() -> None:
    """Two batches are queued, then nothing more is fetched; a closed lane takes nothing."""

    async def run() -> None:
        pauses: list[bool] = []
        lane, _ = await make(Scribe(), pause=pauses.append)
        lane.offer(deliver(10, 11, 12, 13))
        assert pauses == []
        lane.offer(deliver(14, 15, 16, 17))
        lane.offer(deliver(18))
        assert pauses == [True]
        await lane.step()
        assert pauses == [True], "there is a batch left to work on"
        await lane.step()
        assert pauses == [True, False]
        await lane.close(timeout=1.0)
        lane.offer(deliver(19))
        assert lane.n_queued == 0

    asyncio.run(run())


def test_a_held_lane_pauses_fetching_and_resumes_it() -> None:
    """What waits for other lanes must not block the delivery that those are fed by."""

    async def run() -> None:
        scribe, pauses = Scribe(), []
        scribe.held = True
        lane, _ = await make(scribe, pause=pauses.append)
        for first in (10, 14, 18):
            lane.offer(deliver(*range(first, first + 4)))
        assert (pauses, await lane.step()) == ([True], False)
        scribe.held = False
        while await lane.step():
            pass
        assert pauses == [True, False]
        assert scribe.taken == list(range(10, 22))

    asyncio.run(run())


def test_a_lane_leaves_what_its_handler_wants_to_leave() -> None:
    """And never after another owner has taken over."""

    async def run() -> None:
        scribe = Scribe()
        lane, store = await make(scribe)
        scribe.left_over = Outcome(changes={"k": b"v"})
        await lane.close(timeout=1.0)
        assert (await store.acquire("score.0")).state == {"k": b"v"}
        late, _ = await make(scribe), None
        lane, store = late
        await store.acquire("score.0")
        scribe.left_over = Outcome(changes={"k": b"late"})
        await lane.close(timeout=1.0)
        assert (await store.acquire("score.0")).state == {}

    asyncio.run(run())
