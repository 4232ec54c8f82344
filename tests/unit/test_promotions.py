"""Promotions as entries of a tracker: off the audit, each once, whatever fails in between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from models import checkpoint
from stream.messages import AuditRecord, decode_audit, encode_json
from stream.ports import Ends
from stream.promotions import CutVersions, Entry, Known, Promotions, entry_of
from tests.learn_lane import LearnLane
from tests.memory_logs import MemoryRecord
from tests.unit.test_control import SETTINGS, example

EVIDENCE = ("advantage", "low", "high", "log10_e", "champion_loss", "challenger_loss")


class TrackerAway(Exception):
    """The tracker does not answer."""


@dataclass
class Tracker:
    """Keeps entries in memory; is away when told."""

    entries: list[Entry] = field(default_factory=list)
    versions: list[Known] = field(default_factory=list)
    away_after: int = 10**9

    def logged(self) -> set[str]:
        return {entry.id for entry in self.entries}

    def log(self, entry: Entry, version: Known) -> None:
        if len(self.entries) >= self.away_after:
            raise TrackerAway
        self.entries.append(entry)
        self.versions.append(version)


class Topics:
    """What a lane has published, as a reader of whole topics sees it."""

    def __init__(self) -> None:
        self.values: dict[str, list[bytes]] = {"app.audit": [], "app.versions": []}
        self.n_read = 0

    def ends(self, topic: str) -> dict[int, tuple[int, int]]:
        return {0: (0, len(self.values[topic]))}

    def read(self, topic: str, ends: Ends | None = None) -> Iterator[list[Any]]:
        start, end = (ends or self.ends(topic))[0]
        self.n_read += end - start
        for offset in range(start, end, 2):
            some = self.values[topic][offset : min(offset + 2, end)]
            yield [MemoryRecord(i, value) for i, value in enumerate(some, offset)]

    def collect(self, world: LearnLane) -> None:
        """Take over what the lane says, and let it forget that."""
        for message in world.published:
            if f"app.{message.topic}" in self.values:
                self.values[f"app.{message.topic}"].append(message.value)
        world.published.clear()

    @property
    def audit(self) -> list[AuditRecord]:
        return [decode_audit(value) for value in self.values["app.audit"]]


@dataclass
class FromTopic:
    """Versions that the store has lost."""

    cut: CutVersions

    def find(self, version: str) -> Known:
        return Known(self.cut.get(version))


@pytest.fixture(scope="module")
def topics() -> Topics:
    """The topics after a promotion, a rollback and its undoing, with much else between."""
    found = Topics()

    async def main() -> None:
        world = LearnLane(SETTINGS)
        await world.start()
        world.feed(*map(example, range(30)))
        await world.settle()
        world.command("challenger add", name="tree", pipeline="hoeffding-tree")
        await world.settle(steps=30)
        world.feed(*map(example, range(30, 45)))
        await world.settle(steps=30)
        world.command("promote", name="tree")
        world.command("promote", name="tree", force=True)
        world.command("threshold", threshold=0.8)
        world.command("rollback", version="v1-20")
        world.command("restore", version="v1-20")
        world.command("restore", version="v4-45")
        world.command("freeze")
        await world.settle(steps=40)
        found.collect(world)
        # After a crash the last outcome is told again.
        await world.start()
        await world.settle()
        found.collect(world)

    asyncio.run(main())
    return found


def follower(topics: Topics, tracker: Tracker) -> Promotions:
    return Promotions(topics, "app", tracker, FromTopic(CutVersions(topics, "app")))


def test_each_act_is_logged_once(topics: Topics) -> None:
    """Only what changed which model serves; and nothing again, then or after a restart."""
    tracker = Tracker()
    one = follower(topics, tracker)
    acts = [
        ("promote", "tree", "v3-45"), ("rollback", "v1-20", "v5-45"), ("restore", "v4-45", "v6-45"),
    ]  # fmt: skip
    logged = [entry.parameters for entry in one.catch_up()]
    assert [(p["act"], p["subject"], p["version"]) for p in logged] == acts
    assert len(topics.audit) > 8, "nothing else was on the audit"
    n_read = topics.n_read
    assert list(one.catch_up()) == []
    assert topics.n_read == n_read, "it reads what it has read"
    assert list(follower(topics, tracker).catch_up()) == []
    assert len(tracker.entries) == len(acts)


@pytest.mark.parametrize("away_after", [0, 1, 2])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_tracker_that_goes_away_misses_nothing(
    topics: Topics, away_after: int, restarted: bool
) -> None:
    """It goes on at the act that was not logged, in the audit's order."""
    tracker = Tracker(away_after=away_after)
    one = follower(topics, tracker)
    for _ in range(2):
        with pytest.raises(TrackerAway):
            list(one.catch_up())
        assert len(tracker.entries) == away_after
    tracker.away_after = 10**9
    if restarted:
        one = follower(topics, tracker)
    assert len(list(one.catch_up())) == 3 - away_after
    assert [entry.parameters["act"] for entry in tracker.entries] == [
        "promote", "rollback", "restore",
    ]  # fmt: skip


def test_what_comes_while_following_is_logged(topics: Topics) -> None:
    """Read on from where it stood."""
    later = Topics()
    tracker = Tracker()
    one = follower(later, tracker)
    for topic, values in topics.values.items():
        for value in values:
            later.values[topic].append(value)
            list(one.catch_up())
    assert [entry.id for entry in tracker.entries] == ["c3", "c5", "c7"]


def test_an_entry_tells_who_and_why_and_what_it_was_like(topics: Topics) -> None:
    """With the metrics at the cut and all that the gate knew, of a version that is gone."""
    tracker = Tracker()
    list(follower(topics, tracker).catch_up())
    promoted, _, restored = tracker.entries
    told = next(record for record in topics.audit if record.id == "c3")
    meta = tracker.versions[0].meta
    assert meta is not None and meta.id == "v3-45"
    assert promoted.parameters.items() >= {
        "who": "ana", "why": "because", "position": "45", "lineage": "3", "parent": "v2-45",
        "pipeline": meta.pipeline, "base": "v2-45", "learns_from": "45", "n_learned": "45",
    }.items()  # fmt: skip
    assert promoted.tags.items() >= {
        "driftline.id": "c3", "driftline.fingerprint": meta.fingerprint,
        "driftline.sha256": meta.sha256,
    }.items()  # fmt: skip
    assert promoted.tags["driftline.gate"].startswith("no evidence yet")
    assert "FORCED" in promoted.text and (promoted.time, promoted.who) == (told.time, "ana")
    figures = {(f.name, f.step): f.value for f in promoted.figures}
    assert figures["total/accuracy", 45] == meta.metrics["total"]["accuracy"]
    assert told.evidence is not None and told.evidence.n == 15
    last = told.evidence.curve[-1]
    assert figures["evidence/advantage", 15] == last.mean == told.evidence.advantage
    assert figures["evidence/low", 15] < last.mean < figures["evidence/high", 15]
    assert {name.partition("/")[2] for name, _ in figures if "evidence" in name} == set(EVIDENCE)
    assert not [f for f in restored.figures if f.name.startswith("evidence")]
    assert restored.parameters["base"] == "v4-45"


def test_a_version_that_nobody_knows_is_logged_with_what_the_audit_says() -> None:
    """And words without end are cut, numbers that are none are left out."""
    told = AuditRecord(
        id="x", who="ana", what="rollback", subject="v1-5", outcome="applied", reason="",
        detail="back", time=5.0, why="w" * 9_000, version="v2-9",
    )  # fmt: skip
    entry = entry_of("app", told, None)
    assert entry.parameters["position"] == "9" and entry.figures == []
    assert len(entry.parameters["why"]) == 1_000
    assert entry.text == f"{'w' * 1_000}\n\nback"
    assert "driftline.fingerprint" not in entry.tags

    async def meta_of() -> checkpoint.VersionMeta:
        world = LearnLane(SETTINGS)
        await world.start()
        world.feed(*map(example, range(10)))
        await world.settle()
        return checkpoint.peek(await world.store.read_meta("v1-10"))[0]

    meta = asyncio.run(meta_of())
    odd = {"n": 3, "total": {"r2": float("nan"), "mae": 1.5}}
    entry = entry_of("app", told, msgspec.structs.replace(meta, metrics=odd))
    assert [(f.name, f.value) for f in entry.figures] == [("total/mae", 1.5)]


def test_only_versions_that_commands_cut_are_remembered(topics: Topics) -> None:
    """A version is cut every half a minute; junk in the topic is passed over."""
    some = Topics()
    some.values["app.versions"] = [b"{", *topics.values["app.versions"], encode_json({})]
    cut = CutVersions(some, "app")
    assert cut.get("v1-20") is None
    n_read = some.n_read
    assert cut.get("v9-9") is None
    assert some.n_read == n_read
    found = cut.get("v5-45")
    assert found is not None and found.parent == "v1-20"
