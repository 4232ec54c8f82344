"""The learn lane's handler: examples in, a better model, drift signals and versions out.

Why a version is the only checkpoint: the learner is a fold over a log that is kept, so after a
crash the newest version and the examples since are enough, and re-folding them gives the same
state, the same drift signals under the same ids, and costs microseconds an example.

Why what a command changes is in force only at the next call: by then the lane has committed it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec

from models import checkpoint
from models.checkpoint import CutReason
from models.learner import Learner
from models.lineage import Lineage
from models.stores.base import NO_CHANGES, Lease, VersionStore
from stream import topics
from stream.arms import Arms
from stream.challengers import Challengers
from stream.control import FROZEN, SAID, Control
from stream.messages import SHARD_KEY, decode_example, drift_count, encode_drift, encode_json
from stream.ports import Cut, Logs, Message, Outcome, Record
from stream.responses import records_of
from stream.rulings import Champion, Decider, Ruling
from stream.scorer import ModelInForce
from stream.settings import VersionSettings
from stream.vault import Vault

log = logging.getLogger(__name__)


class LearnHandler:
    """Fold the examples of one shard into its learner."""

    def __init__(
        self,
        shard: int,
        *,
        fresh: Callable[[], Learner],
        in_force: ModelInForce,
        store: VersionStore,
        versions: VersionSettings,
        vault: Vault,
        logs: Logs,
        challengers: Challengers,
        commands: Decider,
        arms: Arms,
    ) -> None:
        self._shard = shard
        self._fresh = fresh
        self._in_force = in_force
        self._store = store
        self._versions = versions
        self._vault = vault
        self._challengers = challengers
        self._arms = arms
        self._control = Control(
            shard, logs=logs, vault=vault, store=store, fresh=fresh, others=commands
        )
        self.learner: Learner | None = None
        self.lineage = Lineage()
        self.cut_bytes = 0
        self.cut_at = float("-inf")
        self._parent: str | None = None
        self._cut_position = 0
        self._n_absorbed = 0
        self._frozen = False
        self._said: bytes | None = None
        self._ruling: Ruling | None = None

    async def open(self, lease: Lease) -> int | None:
        """Load the newest version that verifies; without any, begin with a fresh learner."""
        champion = await self._load(frozen=FROZEN in lease.state)
        self._control.open(lease.state, champion)
        self._challengers.open(lease.state)
        self._said = lease.state.get(SAID)
        self._ruling = None
        self._n_absorbed = 0
        self.cut_at = float("-inf")
        self._take_over(champion)
        self._arms.go_live(self._challengers.new_arms() or ())
        return champion.learner.position if champion.version else None

    async def _load(self, *, frozen: bool) -> Champion:
        newest = await self._store.newest_version()
        good = await self._vault.newest_good(newest)
        if good is not None:
            lineage = Lineage(good.meta.segments)
            if lineage.threshold is None:
                good.learner.keep_budget(self._fresh().budget)
            return Champion(good.learner, lineage, good.version_id, frozen)
        if newest is not None:
            log.error("no stored version verifies: learning again from the start of the log")
        return Champion(self._fresh(), Lineage(), None, frozen)

    def _take_over(self, champion: Champion) -> None:
        learner, lineage, version, frozen = champion
        self.learner, self.lineage, self._parent, self._frozen = learner, lineage, version, frozen
        self._cut_position = learner.position
        self._in_force.go_live(learner, version or learner.version_id, lineage.threshold)

    def _enforce(self, now: float) -> None:
        """Let what was decided last, which is committed by now, be in force."""
        ruling, self._ruling = self._ruling, None
        if ruling is not None:
            self._frozen = ruling.frozen
            if ruling.cut is not None:
                version = ruling.cut.learner.version_id
                self._take_over(ruling.cut._replace(version=version, frozen=ruling.frozen))
                self.cut_at = now
            ruling.then()
        arms = self._challengers.new_arms()
        if arms is not None:
            self._arms.go_live(arms)

    async def absorb(self, records: Sequence[Record], position: int, now: float) -> Outcome:
        """Learn a batch; cut versions where they are due."""
        assert self.learner is not None, "absorb before open"
        self._enforce(now)
        outcome = Outcome(durable=False, counts=Counter())
        start = 0
        while start < len(records):
            # Versions by count are cut at multiples of every_n, whatever the batches: a rerun cuts
            # the same ones.
            every_n = self._versions.every_n
            boundary = (records[start].offset // every_n + 1) * every_n
            end = start
            while end < len(records) and records[end].offset < boundary:
                end += 1
            self._learn(self.learner, records[start:end], outcome)
            if self.learner.position == boundary:
                self._cut(self.learner, CutReason.COUNT, now, outcome)
            start = end
        self._cut_if_late(self.learner, now, outcome)
        return outcome

    def _learn(self, learner: Learner, records: Sequence[Record], outcome: Outcome) -> None:
        examples = [decode_example(record.value or b"") for record in records]
        learned = self.lineage.absorb(learner, examples, [record.offset for record in records])
        self._n_absorbed += len(records)
        for signal in learned.drifts:
            body = encode_drift(signal, self._shard, learner.lineage)
            outcome.messages.append(Message(topics.DRIFT.name, 0, SHARD_KEY, body))
            outcome.counts[drift_count(signal)] += 1
        for step in learned.steps:
            outcome.messages += records_of(step, self._shard, learner.lineage, self._parent)
        outcome.counts["learned"] += learned.n_learned
        outcome.counts["redelivered_examples"] += learned.n_redelivered

    async def tick(self, position: int, now: float) -> Outcome | None:
        """Decide a command; else cut a version if the last is old and something was learned."""
        assert self.learner is not None, "tick before open"
        self._enforce(now)
        outcome = await self._steer(self.learner, now)
        if outcome is not None:
            return outcome
        await self._challengers.work(self.learner, self.lineage)
        changes = self._challengers.due(self.learner, now)
        if changes:
            return Outcome(changes=changes, position=self._cut_position)
        outcome = Outcome(durable=False, counts=Counter())
        self._cut_if_late(self.learner, now, outcome)
        return outcome if outcome.cuts else None

    async def _steer(self, learner: Learner, now: float) -> Outcome | None:
        if self._said is not None:
            # It may have been published before: then this is the same record again.
            audit, self._said = self._said, None
            return Outcome(durable=False, announcements=[_audit(audit)])
        begun = await self._control.begin(is_new=self._parent is None)
        if begun:
            return Outcome(changes=begun, position=self._cut_position)
        champion = Champion(learner, self.lineage, self._parent, self._frozen)
        ruling = await self._control.step(champion, self._n_absorbed, now)
        ruling = ruling or await self._control.act(champion, now)
        self._n_absorbed = 0
        if ruling is None:
            return None
        self._ruling = ruling
        outcome = Outcome(durable=ruling.cut is None, counts=Counter())
        if ruling.cut is None:
            outcome.changes, outcome.position = ruling.changes, self._cut_position
        else:
            successor = ruling.cut
            if successor.learner is not learner and learner.position != self._cut_position:
                # What is replaced can be had again as it is now, whether or not that was wise.
                bases = successor.lineage.bases
                self._add_cut(champion, CutReason.COMMAND, now, outcome, needed=bases)
            self._add_cut(successor, CutReason.COMMAND, now, outcome, ruling.changes)
        outcome.announcements.append(_audit(encode_json(ruling.audit)))
        return outcome

    def hold(self, records: Sequence[Record]) -> bool:
        """Leave the examples where they are while learning stands still."""
        return self._frozen

    def final(self, now: float) -> Outcome | None:
        """Cut a version of what was learned since the last one, for the next owner to start at."""
        self._enforce(now)
        if self.learner is None:
            return None
        changes = self._challengers.unsaved(self.learner, now)
        outcome = Outcome(durable=bool(changes), changes=changes, counts=Counter())
        if self.learner.position != self._cut_position:
            self._cut(self.learner, CutReason.STOP, now, outcome)
        outcome.position = self._cut_position
        return outcome if outcome.cuts or changes else None

    def _cut_if_late(self, learner: Learner, now: float, outcome: Outcome) -> None:
        if self.cut_at == float("-inf"):
            self.cut_at = now
        if learner.position > self._cut_position and now - self.cut_at >= self._versions.interval:
            self._cut(learner, CutReason.TIME, now, outcome)

    def _cut(self, learner: Learner, reason: CutReason, now: float, outcome: Outcome) -> None:
        champion = Champion(learner, self.lineage, self._parent, self._frozen)
        self._parent = self._add_cut(champion, reason, now, outcome)
        self._cut_position = learner.position
        self.cut_at = now
        self._in_force.live_version = self._parent

    def _add_cut(
        self,
        champion: Champion,
        reason: CutReason,
        now: float,
        outcome: Outcome,
        changes: Mapping[str, bytes | None] = NO_CHANGES,
        needed: Sequence[str] = (),
    ) -> str:
        meta, blob = checkpoint.encode(
            champion.learner,
            parent=champion.version,
            cut_time=now,
            reason=reason,
            libraries=checkpoint.libraries(),
            segments=champion.lineage.segments,
        )
        self.cut_bytes = len(blob)
        outcome.cuts.append(
            Cut(
                meta.id,
                meta.position,
                self._vault.seal(meta, blob),
                blob,
                self._versions.keep,
                replace=self._vault.has_refused(meta.id),
                changes=changes,
                needed=(*champion.lineage.bases, *needed),
            )
        )
        body = {"event": "cut", "shard": self._shard, **msgspec.to_builtins(meta)}
        outcome.announcements.append(Message(topics.VERSIONS.name, 0, SHARD_KEY, encode_json(body)))
        outcome.counts["versions"] += 1
        return meta.id

    def close(self) -> None:
        """Stop learning here; scoring goes on with the model as it is."""
        self._in_force.leave()
        self._arms.leave()
        self.learner = None


def _audit(record: bytes) -> Message:
    return Message(topics.AUDIT.name, 0, SHARD_KEY, record)
