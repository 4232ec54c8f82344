"""The learn lane's handler: examples in, a better model, drift signals and versions out.

Why a version is the only checkpoint: the learner is a fold over a log that is kept, so after a
crash the newest version and the examples since are enough, and re-folding them gives the same
state, the same drift signals under the same ids, and costs microseconds an example.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from models import checkpoint
from models.checkpoint import CutReason
from models.learner import Learner
from models.stores.base import Lease, VersionStore
from stream import topics
from stream.messages import SHARD_KEY, decode_example, encode_drift, encode_json
from stream.ports import Cut, Message, Outcome, Record
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
    ) -> None:
        self._shard = shard
        self._fresh = fresh
        self._in_force = in_force
        self._store = store
        self._versions = versions
        self._vault = vault
        self.learner: Learner | None = None
        self.cut_bytes = 0
        self.cut_at = float("-inf")
        self._parent: str | None = None
        self._cut_position = 0

    async def open(self, lease: Lease) -> int | None:
        """Load the newest version that verifies; without any, begin with a fresh learner."""
        learner, version = await self._load()
        self.learner = learner
        self._parent = version
        self._cut_position = learner.position
        self.cut_at = float("-inf")
        self._in_force.go_live(learner, version or learner.version_id)
        return learner.position if version else None

    async def _load(self) -> tuple[Learner, str | None]:
        newest = await self._store.newest_version()
        good = await self._vault.newest_good(newest)
        if good is not None:
            return good
        if newest is not None:
            log.error("no stored version verifies: learning again from the start of the log")
        return self._fresh(), None

    async def absorb(self, records: Sequence[Record], position: int, now: float) -> Outcome:
        """Learn a batch; cut versions where they are due."""
        assert self.learner is not None, "absorb before open"
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
        learned = learner.absorb(examples, [record.offset for record in records])
        for signal in learned.drifts:
            body = encode_drift(signal, self._shard, learner.lineage)
            outcome.messages.append(Message(topics.DRIFT.name, 0, SHARD_KEY, body))
            outcome.counts["drift", f"{signal.kind}/{signal.level}/{signal.direction}"] += 1
        outcome.counts["learned"] += learned.n_learned
        outcome.counts["redelivered_examples"] += learned.n_redelivered

    async def tick(self, position: int, now: float) -> Outcome | None:
        """Cut a version if the last one is old and something was learned since."""
        assert self.learner is not None, "tick before open"
        outcome = Outcome(durable=False, counts=Counter())
        self._cut_if_late(self.learner, now, outcome)
        return outcome if outcome.cuts else None

    def hold(self, records: Sequence[Record]) -> bool:
        """Never: examples depend on no other lane."""
        return False

    def final(self, now: float) -> Outcome | None:
        """Cut a version of what was learned since the last one, for the next owner to start at."""
        if self.learner is None or self.learner.position == self._cut_position:
            return None
        outcome = Outcome(durable=False, counts=Counter())
        self._cut(self.learner, CutReason.STOP, now, outcome)
        return outcome

    def _cut_if_late(self, learner: Learner, now: float, outcome: Outcome) -> None:
        if self.cut_at == float("-inf"):
            self.cut_at = now
        if learner.position > self._cut_position and now - self.cut_at >= self._versions.interval:
            self._cut(learner, CutReason.TIME, now, outcome)

    def _cut(self, learner: Learner, reason: CutReason, now: float, outcome: Outcome) -> None:
        meta, blob = checkpoint.encode(
            learner,
            parent=self._parent,
            cut_time=now,
            reason=reason,
            libraries=checkpoint.libraries(),
        )
        self.cut_bytes = len(blob)
        outcome.cuts.append(
            Cut(
                meta.id,
                learner.position,
                self._vault.seal(meta, blob),
                blob,
                self._versions.keep,
                replace=self._vault.has_refused(meta.id),
            )
        )
        body = {"event": "cut", "shard": self._shard, **msgspec.to_builtins(meta)}
        outcome.announcements.append(Message(topics.VERSIONS.name, 0, SHARD_KEY, encode_json(body)))
        outcome.counts["versions"] += 1
        self._parent = meta.id
        self._cut_position = learner.position
        self.cut_at = now
        self._in_force.live_version = meta.id

    def close(self) -> None:
        """Stop learning here; scoring goes on with the model as it is."""
        self._in_force.leave()
        self.learner = None
