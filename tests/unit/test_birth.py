"""What Kafka knows and Redis should: a lane never stands below what was committed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from faust.types import TP

from models.stores.memory import MemoryStore
from stream.birth import StateLost, check_position, no_birth_record
from stream.lanes import Lanes
from tests.unit.test_lane import Scribe, deliver, make


@pytest.mark.parametrize(("position", "committed"), [(None, None), (None, 0), (7, 7), (8, 7)])
def test_a_store_that_knows_all_is_let_be(position: int | None, committed: int | None) -> None:
    """Redis is committed to first, so it may be ahead; a new lane has neither."""
    check_position("score.0", position, committed)


@pytest.mark.parametrize(("position", "committed"), [(None, 1), (6, 7)])
def test_a_store_that_is_behind_has_lost_writes(position: int | None, committed: int) -> None:
    """The message has both numbers, and the command."""
    with pytest.raises(StateLost, match=rf"{committed} to Kafka.*driftline recover --force"):
        check_position("score.0", position, committed)


def test_what_is_missing_is_said_in_one_line() -> None:
    """With what betrays it, and the command."""
    text = str(no_birth_record("fraud", ["records on fraud.scores"]))
    assert "fraud: there is no birth record, though Kafka has records on fraud.scores" in text
    assert "`driftline recover`" in text
    assert "\n" not in text


def test_kafka_is_never_told_more_than_redis_knows() -> None:
    """Nothing before the first commit; after that what is published and committed."""

    async def run() -> None:
        scribe = Scribe()
        lane, _ = await make(scribe)  # Starts at 10, where the log begins: nothing is committed.
        assert lane.settled is None
        shown: list[int | None] = []
        scribe.publish = lambda messages: _note(lane, shown)  # type: ignore[method-assign]
        lane.offer(deliver(10, 11))
        await lane.step()
        assert shown[0] is None, "published, but not committed yet"
        assert lane.settled == 12

    async def _note(lane: Any, shown: list[int | None]) -> None:
        shown.append(lane.settled)

    asyncio.run(run())


class Consumer:
    """Says what the group has committed."""

    def __init__(self, committed: int | None) -> None:
        self._committed = committed

    def committed_before(self, tp: TP) -> int | None:
        return self._committed

    async def earliest_offsets(self, *partitions: TP) -> dict[TP, int]:
        return dict.fromkeys(partitions, 0)


@pytest.mark.parametrize(
    ("kind", "committed", "fails"),
    [("score", 11, True), ("score", 10, False), ("label", 11, True), ("learn", 11, False)],
)
def test_lanes_are_compared_when_they_open(kind: str, committed: int, fails: bool) -> None:
    """The learner's excepted: it stands at its last version, and folds on from there."""

    async def run() -> list[BaseException]:
        failures: list[BaseException] = []
        store = MemoryStore(ttl=1.0)
        lane, _ = await make(Scribe())
        await store.commit(await store.acquire(f"{kind}.0"), 10, {})
        lane.lease = await store.acquire(f"{kind}.0")

        async def open_lane(tp: TP) -> Any:
            return lane, lane.lease.position

        lanes = Lanes(open_lane, lambda name, error: failures.append(error))
        await lanes.open([TP("t", 0)], lambda: True)
        await lanes.seek_positions(Consumer(committed))  # type: ignore[arg-type]
        await lanes.close()
        return failures

    assert [type(error) for error in asyncio.run(run())] == ([StateLost] if fails else [])
