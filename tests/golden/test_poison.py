"""Poison: what is left out of a replay leaves no trace, in any prediction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from models.types import Example, Features
from stream.control import SLICE_EXAMPLES
from stream.learners import new_learner
from stream.settings import Settings
from tests import streams
from tests.learn_lane import LearnLane

N_PROBES = 1_000
N_SUBJECTS = 5_000
BATCH = 500


def check_poison(rows: list[tuple[Features, bool]], pipeline: str, poisoned: range) -> None:
    """Flip labels, replay without them from a version before, and compare 1,000 scores."""
    n = len(rows)
    settings = Settings(
        event={"features": {name: {} for name in rows[0][0]}},
        model={"pipeline": pipeline, "seed": 5},
        versions={"every_n": 1_000, "interval": 1e9, "keep": 50},
    )
    log = [
        Example(
            f"e{i}", dict(x), y != (i in poisoned), 0.5, "v1-0", 0, float(i), i + 1.0,
            "labels/0", i, i,
        )
        for i, (x, y) in enumerate(rows)
    ]  # fmt: skip
    never = new_learner(settings)
    clean = [i for i in range(n) if i not in poisoned]
    never.absorb([log[i] for i in clean], clean)
    probes = [dict(x) for x, _ in rows[:: n // N_PROBES]][:N_PROBES]
    assert len(probes) == N_PROBES

    async def main() -> None:
        lane = LearnLane(settings)
        await lane.start()
        for start in range(0, n, BATCH):
            lane.feed(*log[start : start + BATCH])
            await lane.settle(steps=BATCH // 100)
        scored = lane.learner.score_many(probes)
        without = {"offsets": [[poisoned.start, poisoned.stop]]}
        base = f"v1-{poisoned.start // 1_000 * 1_000 - 1_000}"
        lane.command("rollback", version=base, replay=True, without=without)
        await lane.settle(steps=2 + n // SLICE_EXAMPLES)
        assert [told.outcome for told in lane.audit] == ["applied"]
        assert scored != never.score_many(probes), "the poison did nothing"
        assert lane.in_force.score_many(probes) == never.score_many(probes)
        assert lane.in_force.stamp() == (f"v2-{n}", n, False)
        assert (await lane.rebuilt(f"v2-{n}")).score_many(probes) == never.score_many(probes)

    asyncio.run(main())


@pytest.mark.parametrize("pipeline", ["logistic", "hoeffding-adaptive-tree"])
def test_a_replay_without_the_poison_predicts_as_if_it_had_never_been(
    elec2: list[tuple[Features, bool]], pipeline: str
) -> None:
    """Labels are flipped for a quarter of the stream; every probe's score is equal, and was not."""
    check_poison(elec2, pipeline, range(5_000, 8_000))


@pytest.mark.slow
def test_twenty_thousand_flipped_labels_leave_no_trace(
    data_file: Callable[[str], Path],
) -> None:
    """The whole stream, poisoned from its middle on."""
    rows = list(streams.elec2(data_file("elec2.csv.gz")))
    check_poison(rows, "logistic", range(len(rows) // 2, len(rows) // 2 + 20_000))


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
    probes = [dict(x) for x, _ in elec2[:: len(elec2) // N_PROBES]][:N_PROBES]

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
