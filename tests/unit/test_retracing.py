"""The audit alone says what commands had led to."""

from __future__ import annotations

import asyncio

import msgspec

from models.lineage import Segment
from stream.messages import AuditRecord, decode_audit
from stream.retracing import retrace
from tests.learn_lane import LearnLane
from tests.unit.test_control import SETTINGS, example


def test_the_audit_and_the_log_of_commands_are_enough() -> None:
    """After each command: the same segments, frozen or not, and the next command to decide."""

    async def main() -> None:
        world = LearnLane(SETTINGS)
        await world.start()
        world.feed(*map(example, range(30)))
        await world.settle()
        commands = [
            ("rollback", {"version": "v1-20"}),
            ("threshold", {"threshold": 0.8}),
            ("rollback", {"version": "v9-9"}),
            ("freeze", {}),
            ("rollback", {"version": "v1-10", "replay": True, "without": {"events": ["e12"]}}),
            ("thaw", {}),
            ("restore", {"version": "v2-30"}),
            ("challenger add", {"name": "tree", "pipeline": "hoeffding-tree"}),
            ("promote", {"name": "tree", "force": True}),
            ("rollback", {"version": "v1-10"}),
        ]
        n_frozen = 0
        for n, (name, arguments) in enumerate(commands):
            world.command(name, **arguments)
            if n == 3:
                world.logs.append("control", b"{")
            await world.settle(steps=20)
            found = retrace(world.audit, world.logs.records["control"])
            state = world.store._states["learn.0"]
            assert found.segments == world.handler.lineage.segments
            assert {k: v for k, v in found.changes.items() if v is not None} == {
                key: state[key] for key in ("control", "frozen", "succession") if key in state
            }
            assert found.n_unknown == 0
            n_frozen += "frozen" in state
        assert n_frozen == 2 and len(found.segments) == 1
        assert [told.outcome for told in world.audit].count("refused") == 2

    asyncio.run(main())


def test_nothing_was_done() -> None:
    """Commands that lie there without an outcome are not yet decided."""

    async def main() -> None:
        world = LearnLane(SETTINGS)
        world.command("freeze")
        assert retrace([], world.logs.records["control"]) == ((), {}, 0)

    asyncio.run(main())


def test_what_an_earlier_release_did_is_counted() -> None:
    """Its records do not say what they led to; a later one says it all."""

    def record(name: str, what: str, segments: tuple[Segment, ...] | None) -> AuditRecord:
        return AuditRecord(
            id=name, who="ana", what=what, subject="", outcome="applied", reason="", detail="",
            time=0.0, version="v2-9", segments=segments,
        )  # fmt: skip

    old = [record("a", "rollback", None), record("b", "freeze", None)]
    assert retrace(old, []).n_unknown == 1
    segment = Segment(lineage=3, base="v2-5", start=9, command="c")
    assert retrace([*old, record("c", "threshold", (segment,))], []) == ((segment,), {}, 0)
    told = decode_audit(msgspec.json.encode({
        **dict.fromkeys(("id", "who", "what", "subject", "outcome", "reason", "detail"), "x"),
        "time": 1.0,
    }))  # fmt: skip
    assert told.segments is None
