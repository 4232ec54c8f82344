"""Poison: what is left out of a replay leaves no trace, in any prediction."""

from __future__ import annotations

import asyncio

import pytest

from models.types import Example, Features
from stream.learners import new_learner
from stream.settings import Settings
from tests.learn_lane import LearnLane

N = 12_000
POISONED = range(5_000, 8_000)
N_PROBES = 1_000
N_SUBJECTS = 5_000
BATCH = 500


@pytest.mark.parametrize("pipeline", ["logistic", "hoeffding-adaptive-tree"])
def test_a_replay_without_the_poison_predicts_as_if_it_had_never_been(
    elec2: list[tuple[Features, bool]], pipeline: str
) -> None:
    """Labels are flipped for a quarter of the stream; every probe's score is equal, and was not."""
    settings = Settings(
        event={"features": {name: {} for name in elec2[0][0]}},
        model={"pipeline": pipeline, "seed": 5},
        versions={"every_n": 1_000, "interval": 1e9, "keep": 50},
    )
    log = [
        Example(
            f"e{i}", dict(x), y != (i in POISONED), 0.5, "v1-0", 0, float(i), i + 1.0,
            "labels/0", i, i,
        )
        for i, (x, y) in enumerate(elec2[:N])
    ]  # fmt: skip
    never = new_learner(settings)
    clean = [i for i in range(N) if i not in POISONED]
    never.absorb([log[i] for i in clean], clean)
    probes = [dict(x) for x, _ in elec2[:: N // N_PROBES]][:N_PROBES]

    async def main() -> None:
        lane = LearnLane(settings)
        await lane.start()
        for start in range(0, N, BATCH):
            lane.feed(*log[start : start + BATCH])
            await lane.settle(steps=2)
        poisoned = lane.learner.score_many(probes)
        without = {"offsets": [[POISONED.start, POISONED.stop]]}
        lane.command("rollback", version="v1-4000", replay=True, without=without)
        await lane.settle(steps=50)
        assert [told.outcome for told in lane.audit] == ["applied"]
        assert poisoned != never.score_many(probes), "the poison did nothing"
        assert lane.in_force.score_many(probes) == never.score_many(probes)
        assert lane.in_force.stamp() == (f"v2-{N}", N, False)
        assert (await lane.rebuilt(f"v2-{N}")).score_many(probes) == never.score_many(probes)

    asyncio.run(main())


@pytest.mark.parametrize("pipeline", ["logistic", "hoeffding-adaptive-tree"])
def test_an_erased_subject_leaves_no_trace(
    elec2: list[tuple[Features, bool]], pipeline: str
) -> None:
    """Every probe's score is that of a learner that never saw it, and was not before."""
    settings = Settings(
        event={"entity": "who", "features": {name: {} for name in elec2[0][0]}},
        model={"pipeline": pipeline, "seed": 5},
        versions={"every_n": 1_000, "interval": 1e9, "keep": 50},
    )
    log = [
        Example(
            f"e{i}", dict(x), y, 0.5, "v1-0", 0, float(i), i + 1.0, "labels/0", i, i,
            entity=f"c{i % 9}",
        )
        for i, (x, y) in enumerate(elec2[:N_SUBJECTS])
    ]  # fmt: skip
    others = [i for i in range(N_SUBJECTS) if log[i].entity != "c4"]
    never = new_learner(settings)
    never.absorb([log[i] for i in others], others)
    probes = [dict(x) for x, _ in elec2[:: N // N_PROBES]][:N_PROBES]

    async def main() -> None:
        lane = LearnLane(settings)
        await lane.start()
        for start in range(0, N_SUBJECTS, BATCH):
            lane.feed(*log[start : start + BATCH])
            await lane.settle(steps=2)
        before = lane.learner.score_many(probes)
        lane.command("rollback", version="v1-1000", replay=True, without={"entities": ["c4"]})
        lane.command("rollback", version="v1-0", replay=True, without={"entities": ["c4"]})
        await lane.settle(steps=50)
        assert [told.reason for told in lane.audit] == ["learned_before", ""]
        assert before != never.score_many(probes), "the subject made no difference"
        assert lane.in_force.score_many(probes) == never.score_many(probes)
        rebuilt = await lane.rebuilt(f"v2-{N_SUBJECTS}")
        assert rebuilt.score_many(probes) == never.score_many(probes)
        assert rebuilt.fingerprint() == never.fingerprint()

    asyncio.run(main())
