"""The learn lane: versions at fixed places, and a fallback when one does not verify."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import pytest

from models import checkpoint
from models.errors import Refusal
from models.stores.memory import MemoryStore
from models.types import Example
from stream.challenge import ChallengerCommands
from stream.learn import LearnHandler
from stream.learners import new_learner
from stream.messages import encode_json
from stream.ports import Outcome
from stream.scorer import ModelInForce
from stream.settings import Settings
from stream.vault import RefusedVersion, Restored, Vault
from tests.arms import make_arms
from tests.memory_logs import MemoryLogs

SETTINGS = Settings(
    event={"features": {"x": {}}}, versions={"every_n": 10, "interval": 1e9, "keep": 5}
)


TOLD: list[RefusedVersion] = []


class FakeRecord(NamedTuple):
    offset: int
    value: bytes
    timestamp: int = 0
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def records(start: int, end: int) -> list[FakeRecord]:
    return [
        FakeRecord(
            i,
            encode_json(
                Example(
                    f"e{i}", {"x": float(i % 7)}, i % 7 > 3, 0.5, "v1-0", 0, 1.0, 2.0,
                    "labels/0", i, 0,
                )
            ),
        )
        for i in range(start, end)
    ]  # fmt: skip


async def at_once(work: Callable[[], Restored]) -> Restored:
    return work()


def handler(store: MemoryStore) -> LearnHandler:
    vault = Vault(store, keys=None, trusted=(), in_background=at_once, tell=TOLD.append)
    logs = MemoryLogs()
    challengers, commands = ChallengerCommands.of(
        SETTINGS, vault=vault, logs=logs, timer=lambda: 0.0
    )
    return LearnHandler(
        0,
        fresh=lambda: new_learner(SETTINGS),
        in_force=ModelInForce(lambda: new_learner(SETTINGS), lambda: 0.0, 60.0),
        store=store,
        versions=SETTINGS.versions,
        vault=vault,
        logs=logs,
        challengers=challengers,
        commands=commands,
        arms=make_arms(store),
    )


async def learn(store: MemoryStore, batches: list[tuple[int, int]]) -> list[Outcome]:
    lane = handler(store)
    lease = await store.acquire("learn.0")
    await lane.open(lease)
    outcomes = []
    for start, end in batches:
        outcomes.append(await lane.absorb(records(start, end), start, now=0.0))
        for cut in outcomes[-1].cuts:
            await store.cut_version(
                lease, cut.position, cut.version_id, cut.meta, cut.blob, cut.keep, cut.replace
            )
    return outcomes


@pytest.mark.parametrize(
    "batches", [[(0, 35)], [(0, 9), (9, 10), (10, 11), (11, 35)], [(i, i + 1) for i in range(35)]]
)
def test_versions_by_count_are_cut_at_the_same_places_whatever_the_batches(
    batches: list[tuple[int, int]],
) -> None:
    """A rerun after a crash cuts the versions that it would have cut, with the same content."""

    async def run() -> None:
        store = MemoryStore(ttl=1.0)
        await learn(store, batches)
        assert await store.version_ids() == ["v1-30", "v1-20", "v1-10"]
        metas = [checkpoint.peek(await store.read_meta(v))[0] for v in await store.version_ids()]
        assert [m.n_learned for m in metas] == [30, 20, 10]
        assert [m.parent for m in metas] == ["v1-20", "v1-10", None]
        twin = new_learner(SETTINGS)
        examples = [checkpoint_example(r) for r in records(0, 20)]
        twin.absorb(examples, list(range(20)))
        assert metas[1].fingerprint == twin.fingerprint()

    asyncio.run(run())


def checkpoint_example(record: FakeRecord) -> Example:
    from stream.messages import decode_example

    return decode_example(record.value)


def test_a_version_that_does_not_verify_is_passed_over() -> None:
    """The previous good one is used, the lane goes back to its place, and it is told once."""

    async def run() -> None:
        TOLD.clear()
        store = MemoryStore(ttl=1.0)
        await learn(store, [(0, 30)])
        meta, blob = await store.read_version("v1-30")
        damaged = blob[:50] + bytes([blob[50] ^ 1]) + blob[51:]
        await store.restore_version("v1-30", meta, damaged)
        lane = handler(store)
        lease = await store.acquire("learn.0")
        assert await lane.open(lease) == 20
        assert [(told.version_id, told.reason) for told in TOLD] == [("v1-30", Refusal.DAMAGED)]
        again = await lane.absorb(records(20, 30), 20, now=0.0)
        # It is cut again at the same place, and this time it has to be stored.
        (cut,) = again.cuts
        assert (cut.version_id, cut.replace) == ("v1-30", True)
        await store.cut_version(lease, 30, cut.version_id, cut.meta, cut.blob, 5, cut.replace)
        assert await handler(store).open(await store.acquire("learn.0")) == 30
        undisturbed = new_learner(SETTINGS)
        undisturbed.absorb([checkpoint_example(r) for r in records(0, 30)], list(range(30)))
        assert lane.learner is not None
        assert lane.learner.fingerprint() == undisturbed.fingerprint()

    asyncio.run(run())


def test_what_was_learned_is_cut_for_the_next_owner_and_by_age() -> None:
    """Nothing new, no version; something new, one when it is time or the lane leaves."""

    async def run() -> None:
        store = MemoryStore(ttl=1.0)
        lane = handler(store)
        await lane.open(await store.acquire("learn.0"))
        assert lane.final(0.0) is None
        await lane.absorb(records(0, 4), 0, now=100.0)
        begun = await lane.tick(4, now=100.0)
        assert begun is not None and begun.changes == {"control": b"0"}, "the commands begin here"
        assert await lane.tick(4, now=100.0 + 9e8) is None
        outcome = await lane.tick(4, now=100.0 + 1e9)
        assert outcome is not None
        assert [cut.version_id for cut in outcome.cuts] == ["v1-4"]
        assert await lane.tick(4, now=1e12) is None
        await lane.absorb(records(4, 5), 4, now=1e12)
        final = lane.final(1e12)
        assert final is None or [cut.version_id for cut in final.cuts] == ["v1-5"]

    asyncio.run(run())
