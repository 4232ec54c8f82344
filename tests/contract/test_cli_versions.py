"""Versions on the command line: tagged, compared, pruned; and the tree that they grew on."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from models import checkpoint
from models.checkpoint import CutReason
from models.learner import Learner
from models.lineage import Exclusion, Lineage, Segment
from stream.learners import new_learner
from stream.messages import AuditRecord, decode_example, encode_json
from tests.contract.test_cli_with_servers import Application, application, example, ready

__all__ = ["application", "ready"]

BACK = Segment(
    lineage=2, base="v1-20", start=40, command="c1", without=Exclusion(offsets=((20, 30),))
)


@pytest.fixture
def stored(tmp_path: Path, redis_url: str) -> Application:
    """An application that has Redis alone, with versions of two lineages in it."""
    one = Application(tmp_path, "127.0.0.1:1", redis_url)
    cut_all(one)
    return one


def cut_all(one: Application) -> None:
    """Cut v1-10 to v1-40, and v2-50 after a rollback to v1-20."""
    learner = new_learner(one.settings)
    log = [decode_example(example(i)) for i in range(50)]
    for start in range(0, 40, 10):
        learner.absorb(log[start : start + 10], range(start, start + 10))
        if learner.position == 20:
            base = learner.dump()
        store_version(one, learner, ())
    rolled_back = Learner.load(base)
    rolled_back.branch(2, 40, None)
    Lineage([BACK]).absorb(rolled_back, log[40:], range(40, 50))
    store_version(one, rolled_back, (BACK,))


def store_version(one: Application, learner: Learner, segments: tuple[Segment, ...]) -> None:
    """Store a version in the worker's place."""
    meta, blob = checkpoint.encode(
        learner, parent=None, libraries=checkpoint.libraries(), cut_time=float(learner.position),
        reason=CutReason.COUNT, segments=segments,
    )  # fmt: skip

    async def do(store) -> None:
        lease = await store.acquire("learn.0")
        await store.cut_version(lease, learner.position, meta.id, checkpoint.seal(meta, blob), blob,
                                9)  # fmt: skip

    one.store(do)


def test_a_tag_is_a_name_for_a_version(stored: Application) -> None:
    """Wherever a version is asked for; it moves when given again, and can be taken away."""
    assert stored.run_json("versions", "tag", "good", "v1-20") == {
        "tag": "good", "version": "v1-20", "before": None,
    }  # fmt: skip
    stored.run("versions", "tag", "newest", "latest")
    assert stored.run_json("versions", "show", "good")["id"] == "v1-20"
    listed = stored.run_json("versions", "list")
    assert {each["id"]: each["tags"] for each in listed if each["tags"]} == {
        "v1-20": ["good"], "v2-50": ["newest"],
    }  # fmt: skip
    assert "good" in stored.run("versions", "list").stdout
    file = stored.folder / "model.driftline"
    assert stored.run("versions", "export", "good", str(file)).stdout.startswith("v1-20")
    moved = stored.run("versions", "tag", "good", "newest").stdout
    assert moved.strip() == "good names v2-50 (it named v1-20)"
    stored.run("versions", "tag", "good", "--delete")
    assert "newest" in stored.run("versions", "show", "good", exit_code=1).stderr
    for wrong in (
        ("good", "--delete"), ("v1-3", "latest"), ("latest", "v1-10"), ("a b", "v1-10"),
        ("x", "v1-99"), ("x",), ("x", "v1-10", "--delete"),
    ):  # fmt: skip
        stored.run("versions", "tag", *wrong, exit_code=1)


def test_pruning_keeps_what_is_needed(stored: Application) -> None:
    """The champion, what is tagged, what the champion's lineage began at; a dry run first."""
    stored.run("versions", "tag", "good", "v1-10")
    told = stored.run_json("versions", "prune", "--keep", "1")
    assert told == {
        "dropped": ["v1-40", "v1-30"], "kept": ["v2-50", "v1-20", "v1-10"], "dry_run": True
    }  # fmt: skip
    assert "dry run" in stored.run("versions", "prune", "--keep", "1").stderr
    assert len(stored.run_json("versions", "list")) == 5
    done = stored.run_json("versions", "prune", "--keep", "1", "--yes")
    assert done == told | {"dry_run": False}
    assert [each["id"] for each in stored.run_json("versions", "list")] == told["kept"]
    assert stored.run_json("versions", "prune", "--keep", "1", "--yes")["dropped"] == []


def test_two_versions_are_compared(stored: Application) -> None:
    """By what they have read, how well they do, and what they consist of."""
    found = stored.run_json("versions", "diff", "v1-40", "latest")
    assert found["versions"] == {"before": "v1-40", "after": "v2-50"}
    assert found["examples"] == {"before": 20, "after": 10}
    assert found["learned"] == {"before": 40, "after": 30}
    assert (found["settings"], found["libraries"], found["refused"]) == ({}, {}, [])
    moved = found["weights"]
    assert set(moved) == {"a", "intercept"}
    metas = {each["id"]: each for each in stored.run_json("versions", "list")}
    assert found["metrics"]["rolling"]["accuracy"] == {
        "before": metas["v1-40"]["metrics"]["rolling"]["accuracy"],
        "after": metas["v2-50"]["metrics"]["rolling"]["accuracy"],
    }
    shown = stored.run("versions", "diff", "v1-40", "latest").stdout
    assert "weight of a" in shown and "accuracy, rolling" in shown
    assert stored.run_json("versions", "diff", "v1-40", "v1-40")["weights"] == {}


def test_a_version_that_does_not_verify_is_compared_by_its_metadata(stored: Application) -> None:
    """It is not loaded."""

    async def damage(store) -> None:
        meta, blob = await store.read_version("v1-10")
        await store.restore_version("v1-10", meta, blob[:-1])

    stored.store(damage)
    found = stored.run_json("versions", "diff", "v1-10", "v1-20")
    assert found["learned"] == {"before": 10, "after": 20}
    assert found["weights"] == {}
    assert "v1-10" in found["refused"][0]


def test_the_tree_tells_who_and_when(ready: Application) -> None:
    """The lineages from the versions, the rest from the audit."""
    cut_all(ready)
    ready.run("versions", "tag", "good", "v1-20")
    audit = AuditRecord(
        id="c1", who="ana", what="rollback", subject="v1-20", outcome="applied", reason="",
        detail="", time=1_700_000_000.0, why="poison", version="v2-40",
    )  # fmt: skip
    ready.publish("audit", [encode_json(audit)])
    found = ready.run_json("versions", "tree")
    (root,) = found["lineages"]
    (branch,) = root["branches"]
    assert (root["lineage"], branch["lineage"], branch["base"]) == (1, 2, "v1-20")
    assert branch["audit"]["who"] == "ana"
    assert found["champions"] == [
        {"lineage": 1, "version": None, "from": None, "to": 1_700_000_000.0},
        {"lineage": 2, "version": "v2-40", "from": 1_700_000_000.0, "to": None},
    ]
    shown = ready.run("versions", "tree").stdout
    for text in (
        "v2 from v1-20, on from 40", "rollback by ana", "poison", "without offsets=20..30",
        "champion from 2023-11-14 22:13:20 UTC to now", "[good]", "v2-50",
    ):  # fmt: skip
        assert text in shown, (text, shown)


def test_a_rollback_takes_a_tag(ready: Application) -> None:
    """The log of commands holds the version's id: a tag may move."""
    cut_all(ready)
    ready.run("versions", "tag", "good", "v1-20")
    ready.run("rollback", "good", "--timeout", "100ms", exit_code=1)
    (command,) = ready.records("control")
    assert b'"version":"v1-20"' in command.value


def test_who_has_seen_a_subject(ready: Application) -> None:
    """By its examples in the log, and what each version's segments fold of them."""
    cut_all(ready)
    log = [decode_example(example(i)) for i in range(50)]
    # c2 comes from 22 on; v2 left out 20 to 30, and jumped over the rest up to 40.
    whose = {22: "c2", 25: "c2", 33: "c2", 41: "c9"}
    named = [msgspec.structs.replace(one, entity=whose.get(i, "c0")) for i, one in enumerate(log)]
    ready.publish("examples", [encode_json(one) for one in named])
    found = ready.run_json("versions", "seen", "--entity", "card:c2")
    assert found["offsets"] == [22, 25, 33]
    assert {row["version"]: row["examples"] for row in found["versions"]} == {
        "v1-10": 0, "v1-20": 0, "v1-30": 2, "v1-40": 3, "v2-50": 0,
    }  # fmt: skip
    assert found["before"] == "v1-20"
    shown = ready.run("versions", "seen", "--entity", "card:c2").stdout
    assert "driftline rollback v1-20 --replay --without entity=card:c2" in shown
    assert ready.run_json("versions", "seen", "--event", "e3")["before"] == "v1-0"
    assert "no version" in ready.run("versions", "seen", "--event", "nobody").stdout
    ready.run("versions", "seen", exit_code=1)
    assert "card:VALUE" in ready.run("versions", "seen", "--entity", "a:1", exit_code=1).stderr
