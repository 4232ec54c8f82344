"""Operators' commands, decided one at a time in the order of their log.

Why a command takes effect where the learner stands: the logs of commands and of examples have no
common order, so one is made. What was decided (the lineage's new segment, with its base and the
position) is committed in one write with the version that it cuts, the offset of the command, and
the record for the audit. Before that write nothing has changed; after it the command is not looked
at again, whoever has the lane. So a version's metadata and the examples log are enough to make it
again, and each command is applied once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from models.errors import CheckpointCorrupt, UnknownVersion
from models.learner import Learner
from models.lineage import Exclusion, Lineage, Segment, parse_id
from models.stores.base import VersionStore
from models.thresholds import ThresholdRule, describe_rule, problem_with
from stream import topics
from stream.erasure import Inspection
from stream.messages import (
    AuditRecord,
    Command,
    GateEvidence,
    decode_command,
    decode_example,
    encode_json,
)
from stream.ports import Logs, Record
from stream.replay import LogIncomplete
from stream.rulings import Champion, Decider, Refused, Ruling, arguments_of
from stream.succession import UNTRAINED, Restore, Rollback, Succession, decode_succession
from stream.vault import Vault

SLICE_EXAMPLES = 500
"""Examples that a replay folds at a time: the lanes wait no longer than for a batch of them."""
COMMANDS_MAX = 100

NAMES = ("freeze", "restore", "rollback", "thaw", "threshold")
POSITION, FROZEN, SAID, LINE = "control", "frozen", "said", "succession"
"""Keys in the learn lane's state: the next command's offset, whether learning stands still, the
last record for the audit, in case a crash came before it was published, and the champions so far.
"""


class SetThreshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Decide as an alert from this score on, or by a rule."""

    threshold: ThresholdRule


class NoArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What freeze and thaw take."""


class _Replay:
    # Folds the examples since a version again, beside the champion.
    def __init__(self, command: Command, base: str, learner: Learner, lineage: Lineage) -> None:
        self.command, self.base, self.learner, self.lineage = command, base, learner, lineage
        self.start, self.n_before = learner.position, learner.n_learned

    async def advance(self, logs: Logs, until: int, limit: int) -> None:
        learner = self.learner
        limit = min(limit, until - learner.position)
        if limit <= 0:
            return
        records = await logs.read(topics.EXAMPLES.name, 0, learner.position, limit)
        offsets = [record.offset for record in records]
        if offsets != list(range(learner.position, learner.position + len(offsets))):
            raise Refused(
                "examples_missing",
                f"the examples log has no record {learner.position}: its retention must be "
                f"unlimited. `driftline {self.command.command} {self.base}` needs none",
            )
        examples = [decode_example(record.value or b"") for record in records]
        self.lineage.absorb(learner, examples, offsets)


class Control:
    """Reads the commands of one shard, and decides them."""

    def __init__(
        self, shard: int, *, logs: Logs, vault: Vault, store: VersionStore,
        fresh: Callable[[], Learner], others: Decider,
    ) -> None:  # fmt: skip
        self._shard = shard
        self._fresh = fresh
        self._others = others
        self._logs = logs
        self._vault = vault
        self._store = store
        self._position: int | None = None
        self._line = Succession(0)
        self._waiting: deque[Record] = deque()
        self._replay: _Replay | None = None
        self._inspection: Inspection | None = None

    def open(self, state: Mapping[str, bytes], champion: Champion) -> None:
        """Go on after the last command that was decided."""
        known = state.get(POSITION)
        self._position = None if known is None else int(known)
        lineage = champion.learner.lineage
        self._line = Succession.of(lineage, champion.lineage.segments)
        if LINE in state and (line := decode_succession(state[LINE])).lineage == lineage:
            self._line = line
        self._waiting.clear()
        self._replay = self._inspection = None

    async def begin(self, *, is_new: bool) -> dict[str, bytes | None]:
        """Give what to commit before any command is read; nothing if that was done before.

        A lane that has versions and no position in the commands lost it with its store, or is older
        than commands are: those that lie there were meant for another time.
        """
        if self._position is not None:
            return {}
        end = 0 if is_new else await self._logs.end(topics.CONTROL.name, self._shard)
        if end is None:
            return {}
        self._position = end
        return {POSITION: b"%d" % end}

    async def step(self, champion: Champion, n_absorbed: int, now: float) -> Ruling | None:
        """Decide the next command, or go on with a replay; None if nothing is decided.

        `n_absorbed` examples came since the last step: a replay has to be faster.
        """
        if self._position is None:
            return None
        record = await self._next()
        if record is None:
            return None
        try:
            command = decode_command(record.value or b"")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            unreadable = Command(
                id=unreadable_id(record.offset), command="unreadable", arguments={},
                who="unknown", why="", time=now,
            )  # fmt: skip
            return self._refuse(unreadable, champion, Refused("unreadable", str(error)), now)
        try:
            if self._replay is not None:
                return await self._go_on(self._replay, champion, n_absorbed, now)
            if command.command in self._others.names:
                return await self._ask(command, champion, n_absorbed, now)
            return await self._decide(command, champion, now)
        except Refused as refused:
            return self._refuse(command, champion, refused, now)
        except UnknownVersion as error:
            return self._refuse(command, champion, Refused("unknown_version", str(error)), now)
        except CheckpointCorrupt as error:
            return self._refuse(command, champion, Refused(error.reason, str(error)), now)

    async def act(self, champion: Champion, now: float) -> Ruling | None:
        """Do what is due without a command; None if nothing is."""
        free = partial(self._free_lineage, champion)
        proposed = await self._others.propose(champion, free, now)
        if proposed is None:
            return None
        audit, effect = proposed
        changes = {**effect.changes, SAID: encode_json(audit), LINE: self._continue(audit)}
        return Ruling(audit, changes, effect.cut, champion.frozen, effect.then)

    async def _ask(
        self, command: Command, champion: Champion, n_absorbed: int, now: float
    ) -> Ruling | None:
        limit = max(SLICE_EXAMPLES, 2 * n_absorbed)
        free = partial(self._free_lineage, champion)
        effect = await self._others.decide(command, champion, free, limit, now)
        if effect is None:
            return None
        ruling = self._apply(command, champion, effect.cut, effect.detail, now,
                             evidence=effect.evidence)  # fmt: skip
        return ruling._replace(changes={**effect.changes, **ruling.changes}, then=effect.then)

    async def _next(self) -> Record | None:
        assert self._position is not None
        if not self._waiting:
            name = topics.CONTROL.name
            records = await self._logs.read(name, self._shard, self._position, COMMANDS_MAX)
            self._waiting.extend(records)
        return self._waiting[0] if self._waiting else None

    async def _decide(self, command: Command, champion: Champion, now: float) -> Ruling | None:
        learner, lineage, version, frozen = champion
        match command.command:
            case "rollback" | "restore":
                kind = Rollback if command.command == "rollback" else Restore
                asked = arguments_of(command, kind)
                return await self._bring_back(command, asked, champion, now)
            case "freeze":
                arguments_of(command, NoArguments)
                if frozen:
                    raise Refused("already_frozen", "learning stands still already")
                detail = f"learning stands still at position {learner.position}; scoring goes on"
                cut = None if version == learner.version_id else champion
                return self._apply(command, champion, cut, detail, now, frozen=True)
            case "thaw":
                arguments_of(command, NoArguments)
                if not frozen:
                    raise Refused("not_frozen", "learning does not stand still")
                detail = f"learning goes on at position {learner.position}"
                return self._apply(command, champion, None, detail, now, frozen=False)
            case "threshold":
                threshold = arguments_of(command, SetThreshold).threshold
                if (problem := problem_with(threshold, learner.task)) is not None:
                    raise Refused("bad_arguments", problem)
                place = learner.version_id, learner.position
                segment = await self._segment(command, champion, *place, threshold=threshold)
                learner.branch(segment.lineage, segment.start, threshold)
                changed = Champion(learner, Lineage((*lineage.segments, segment)), version, frozen)
                detail = describe_rule(threshold)
                return self._apply(command, champion, changed, detail, now)
        known = ", ".join(sorted([*NAMES, *self._others.names]))
        raise Refused("unknown_command", f"{command.command!r} is none of: {known}")

    async def _bring_back(
        self, command: Command, asked: Rollback, champion: Champion, now: float
    ) -> Ruling | None:
        if asked.without != Exclusion() and not asked.replay:
            raise Refused("bad_arguments", "what is left out, is left out of a replay")
        base, reached = parse_id(asked.version)[1], champion.learner.position
        for start, end in asked.without.offsets:
            if start < base:
                raise Refused(
                    "learned_before",
                    f"{asked.version} has learned the examples before {base}, {start}..{end} "
                    "among them: choose an earlier version",
                )
        if base > reached:
            detail = f"{asked.version} is ahead of the learner, which stands at {reached}"
            raise Refused("ahead", detail)
        misplaced = self._line.misplaced(asked, await self._store.version_ids())
        if misplaced is not None:
            raise Refused("earlier" if isinstance(asked, Restore) else "aside", misplaced)
        learner, segments = await self._base(asked.version)
        without = asked.without
        if champion.lineage.erased != Lineage(segments).erased:
            without += champion.lineage.erased
        if not without.names_places and not await self._inspect(asked.version, segments, without):
            return None
        start = base if asked.replay else reached
        segment = await self._segment(
            command, champion, asked.version, start,
            threshold=champion.lineage.threshold, without=without,
        )  # fmt: skip
        learner.branch(segment.lineage, segment.start, segment.threshold)
        lineage = Lineage((*segments, segment))
        if asked.replay:
            self._replay = _Replay(command, asked.version, learner, lineage)
            return None
        restored = Champion(learner, lineage, asked.version, champion.frozen)
        detail = f"the champion is {asked.version} again; it goes on learning at {reached}"
        detail += _way_back(command, champion)
        return self._apply(command, champion, restored, detail, now)

    async def _base(self, version: str) -> tuple[Learner, tuple[Segment, ...]]:
        """Load the version to go back to; the untrained learner can be had without being stored."""
        if version == UNTRAINED and version not in await self._store.version_ids():
            return self._fresh(), ()
        good = await self._vault.load(version)
        return good.learner, good.meta.segments

    async def _inspect(
        self, version: str, segments: tuple[Segment, ...], without: Exclusion
    ) -> bool:
        """Look whether the version has learned what is to be left out; False: not done yet."""
        if self._inspection is None:
            self._inspection = Inspection(version, segments, without)
        try:
            await self._inspection.advance(self._logs)
        except LogIncomplete as error:
            raise Refused("examples_missing", str(error)) from None
        finally:
            if self._inspection.is_done:
                await self._logs.release(topics.EXAMPLES.name, 0)
        if self._inspection.found is not None:
            offset, example = self._inspection.found
            raise Refused(
                "learned_before",
                f"{version} has learned the example of event {example.event_id!r} at {offset}, "
                f"which is to be left out: choose a version from before it, with --replay; "
                f"{UNTRAINED}, the untrained learner, always is",
            )
        return self._inspection.is_done

    async def _segment(
        self, command: Command, champion: Champion, base: str, start: int, *,
        threshold: ThresholdRule | None, without: Exclusion = Exclusion(),  # noqa: B008 - immutable
    ) -> Segment:  # fmt: skip
        return Segment(
            lineage=await self._free_lineage(champion), base=base, start=start,
            command=command.id, without=without, threshold=threshold,
        )  # fmt: skip

    async def _free_lineage(self, champion: Champion) -> int:
        stored = [parse_id(version)[0] for version in await self._store.version_ids()]
        return 1 + max([champion.learner.lineage, *stored, *self._others.lineages])

    async def _go_on(
        self, replay: _Replay, champion: Champion, n_absorbed: int, now: float
    ) -> Ruling | None:
        until = champion.learner.position
        try:
            await replay.advance(self._logs, until, max(SLICE_EXAMPLES, 2 * n_absorbed))
        except Refused:
            await self._logs.release(topics.EXAMPLES.name, 0)
            raise
        if replay.learner.position < until:
            return None
        await self._logs.release(topics.EXAMPLES.name, 0)
        n_learned = replay.learner.n_learned - replay.n_before
        detail = (
            f"the champion is {replay.base} with {n_learned:,} of the {until - replay.start:,} "
            "examples since"
        ) + _way_back(replay.command, champion)
        rebuilt = Champion(replay.learner, replay.lineage, replay.base, champion.frozen)
        return self._apply(replay.command, champion, rebuilt, detail, now)

    def _apply(
        self, command: Command, before: Champion, cut: Champion | None, detail: str, now: float,
        *, frozen: bool | None = None, evidence: GateEvidence | None = None,
    ) -> Ruling:  # fmt: skip
        after = before if cut is None else cut
        version = before.version if cut is None else cut.learner.version_id
        audit = _record(command, "applied", "", detail, version, now, after.lineage.segments)
        audit = msgspec.structs.replace(audit, evidence=evidence)
        return self._rule(audit, cut, before.frozen if frozen is None else frozen)

    def _refuse(self, command: Command, champion: Champion, refused: Refused, now: float) -> Ruling:
        reason, detail = refused.reason, str(refused)
        audit = _record(command, "refused", reason, detail, champion.version, now)
        return self._rule(audit, None, champion.frozen)

    def _rule(self, audit: AuditRecord, cut: Champion | None, frozen: bool) -> Ruling:
        self._replay = self._inspection = None
        self._position = self._waiting.popleft().offset + 1
        changes: dict[str, bytes | None] = {
            POSITION: b"%d" % self._position,
            FROZEN: b"1" if frozen else None,
            SAID: encode_json(audit),
            LINE: self._continue(audit),
        }
        return Ruling(audit, changes, cut, frozen)

    def _continue(self, audit: AuditRecord) -> bytes:
        self._line = self._line.after(audit)
        return encode_json(self._line)


def _way_back(command: Command, champion: Champion) -> str:
    # What it was until now is cut in the same turn, if it has learned anything at all.
    before = champion.learner.version_id
    if before == command.arguments["version"] or not champion.learner.position:
        return ""
    opposite = "restore" if command.command == "rollback" else "rollback"
    return f"; `driftline {opposite} {before}` undoes that"


def unreadable_id(offset: int) -> str:
    """Name a command that can't be read, for the audit."""
    return f"control-{offset}"


def _record(
    command: Command, outcome: str, reason: str, detail: str, version: str | None, now: float,
    segments: tuple[Segment, ...] | None = None,
) -> AuditRecord:  # fmt: skip
    given = command.arguments
    subject: Any = next(
        (given[k] for k in ("version", "threshold", "name") if k in given), "learner"
    )
    return AuditRecord(
        id=command.id,
        who=command.who,
        what=command.command,
        subject=str(subject),
        outcome=outcome,
        reason=reason,
        detail=detail,
        time=now,
        why=command.why,
        version=version,
        segments=segments,
    )
