"""Lineages put together again from what versions and the audit say."""

from __future__ import annotations

from typing import Any

import msgspec

from models import checkpoint
from models.checkpoint import CutReason, VersionMeta
from models.exposure import Exposure
from models.lineage import Exclusion, Segment
from models.types import Example, Task
from stream.genealogy import family, needed_by, reigns
from stream.messages import AuditRecord
from tests.example_logs import new_learner

BACK = Segment(lineage=2, base="v1-20", start=35, command="c1")
POISON = Exclusion(offsets=((22, 25),), events=("e37",))
REPLAYED = Segment(lineage=3, base="v2-40", start=40, command="c2", without=POISON)


def meta(version_id: str, *segments: Segment) -> VersionMeta:
    """Metadata of a version; nothing but its origin matters."""
    found, _ = checkpoint.encode(
        new_learner("logistic", Task.BINARY), parent=None, libraries={}, cut_time=0.0,
        reason=CutReason.COUNT, segments=segments,
    )  # fmt: skip
    lineage, position = version_id[1:].split("-")
    changed: dict[str, Any] = {"id": version_id, "lineage": int(lineage), "position": int(position)}
    return msgspec.structs.replace(found, **changed)


def record(name: str, version: str | None, time: float, outcome: str = "applied") -> AuditRecord:
    return AuditRecord(
        id=name, who="ana", what="rollback", subject="", outcome=outcome, reason="", detail="",
        time=time, version=version,
    )  # fmt: skip


def example(i: int) -> Example:
    return Example(f"e{i}", {}, True, 0.5, "v1-0", 0, float(i), i + 1.0, "labels/0", i, 0)


def test_a_family_has_branches_where_commands_were() -> None:
    """Also of a lineage of which no version is kept."""
    versions = [meta("v3-50", BACK, REPLAYED), meta("v1-30"), meta("v1-20")]
    (root,) = family(versions, [record("c1", "v2-35", 100.0), record("c2", "v3-40", 200.0)])
    assert [one.id for one in root.versions] == ["v1-20", "v1-30"]
    (second,) = root.branches
    assert (second.lineage, second.base, second.start, second.versions) == (2, "v1-20", 35, [])
    assert second.audit is not None and second.audit.id == "c1"
    (third,) = second.branches
    assert (third.without, [one.id for one in third.versions]) == (POISON, ["v3-50"])
    assert [(one.start, one.end) for one in third.reigns] == [(200.0, None)]


def test_a_reign_ends_where_another_lineage_comes_into_force() -> None:
    """What was refused, or leaves the lineage as it is, changes nothing."""
    audit = [
        record("a", None, 1.0),
        record("b", "v1-10", 2.0, "refused"),
        record("c1", "v2-35", 3.0),
        record("d", "v2-36", 4.0),
        record("load", "other", 5.0, "refused"),
        record("e", "v3-50", 6.0),
    ]
    told = [(r.lineage, r.version, r.start, r.end) for r in reigns(audit)]
    assert told == [(1, None, None, 3.0), (2, "v2-35", 3.0, 6.0), (3, "v3-50", 6.0, None)]


def test_what_a_version_began_at_is_needed() -> None:
    """Through all of its segments."""
    assert needed_by([meta("v3-50", BACK, REPLAYED), meta("v1-30")]) == {"v1-20", "v2-40"}


def test_a_version_has_seen_what_its_segments_fold() -> None:
    """Neither what a rollback jumped over, nor what was left out, which holds from then on."""
    seen = Exposure("v3-50", (BACK, REPLAYED))
    held = [i for i in range(60) if seen.holds(example(i), i)]
    assert held == [*range(20), *range(35, 50)], "e37 was learned before it was to be left out"
    again = Exposure(
        "v4-50", (Segment(lineage=4, base="v1-20", start=20, command="", without=POISON),)
    )
    assert [i for i in range(60) if again.holds(example(i), i)] == [
        i for i in range(50) if i not in (22, 23, 24, 37)
    ]  # fmt: skip
    assert (seen.n_only_here(again), again.n_only_here(seen)) == (0, 15)
