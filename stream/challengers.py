"""Challengers of one shard: more folds of its examples log, in the time that the champion leaves.

Why in slices between the lane's batches, and not in threads: learning is computation, and threads
would only take turns with the score lanes at worse moments. A slice is a few milliseconds long and
is followed by a rest, so that no more than a share of the time is taken. Challengers read the log
themselves, each at its place: a backlog or a backfill is theirs alone.

They live in the learn lane's state, sealed as versions are: each its own state and the champion's
copy, with the evidence. After a crash they go on from there, to the same evidence. What does not
verify is begun again from where it started. One thing is not kept: how long each took.

One that has been given live traffic scores it from when it has caught up and learned enough: that
is saved at once, and in force when it is. See `stream.arms` for who scores then, and by what.

What commands left out of the champion's log is left out of theirs: a challenger that has learned it
begins again. When another model becomes the champion, every comparison begins again.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from models.duel import Duel, Loss, loss_of
from models.errors import CheckpointCorrupt, InvalidPipeline
from models.gate import Evidence, objections
from models.learner import Learner
from models.lineage import Exclusion, Fresh, Lineage, Segment, parse_id
from stream import topics
from stream.arms import ARMS, Arm, decode_arms
from stream.challenger import Challenger
from stream.challenger_settings import ChallengerSettings
from stream.challenger_states import STATE, encode, restore, save
from stream.messages import decode_example, encode_json
from stream.ports import Logs
from stream.standings import CATCHING_UP, COMPARED, FAILED, STANDINGS, Standing, decode_standings
from stream.vault import Vault

log = logging.getLogger(__name__)

CHUNK_EXAMPLES = 16
ROUNDS_MAX = 64
SLICE_S = 0.005
"""About what a batch of scores takes; a slice ends after the chunk that it is over in, and after
some rounds, so that a lane at rest looks for its own work again."""


class Challengers:
    """Keeps the challengers of a shard.

    Parameters
    ----------
    build
        Makes an untrained learner of lineage 0.
    timer
        Seconds, from any start: rations the work, and never decides what comes out of it.
    """

    def __init__(
        self,
        settings: ChallengerSettings,
        *,
        build: Callable[[Fresh], Learner],
        vault: Vault,
        logs: Logs,
        timer: Callable[[], float],
        save_every: float,
    ) -> None:
        self.settings = settings
        self._build = build
        self._vault = vault
        self._logs = logs
        self._timer = timer
        self._save_every = save_every
        self._turns: deque[Challenger] = deque()
        self._rest_until = float("-inf")
        self._spent_s = 0.0
        self._saved_at = float("-inf")
        self._arms: list[Arm] = []
        self._arms_moved = False

    def __iter__(self) -> Any:
        return iter(sorted(self._turns, key=lambda challenger: challenger.segment.lineage))

    def get(self, name: str) -> Challenger | None:
        """Give a challenger by its name."""
        return next((each for each in self._turns if each.name == name), None)

    @property
    def lineages(self) -> list[int]:
        """The numbers of their lineages: nobody else may have those."""
        return [challenger.segment.lineage for challenger in self._turns]

    def open(self, state: Mapping[str, bytes]) -> None:
        """Go on with what was saved."""
        self._turns.clear()
        self._saved_at = float("-inf")
        self._arms, self._arms_moved = decode_arms(state.get(ARMS, b"[]")), True
        for standing in decode_standings(state.get(STANDINGS, b"[]")):
            try:
                challenger = self.new(standing.name, standing.segment, standing.who)
            except InvalidPipeline as error:
                log.error("challenger %s is dropped: %s", standing.name, error)
                continue
            challenger.failure, challenger.proposed = standing.failure, standing.proposed
            challenger.share, challenger.shadow = standing.share, standing.shadow
            challenger.is_ready = standing.is_ready
            saved = state.get(STATE + standing.name)
            if saved is None or not self._restore(challenger, saved):
                challenger.is_ready = False
            self._turns.append(challenger)

    def _restore(self, challenger: Challenger, saved: bytes) -> bool:
        try:
            blank = self._duel(challenger.duel.learner, challenger.segment)
            restore(challenger.name, challenger.segment, saved, blank, self._vault)
        except CheckpointCorrupt as error:
            log.error("challenger %s begins again: its state %s", challenger.name, error)
            return False
        challenger.duel, challenger.saved_at = blank, blank.position
        challenger.saved_version = blank.learner.version_id
        challenger.n_bytes = len(blank.learner.dump())
        return True

    def new(self, name: str, segment: Segment, who: str) -> Challenger:
        """Make a challenger that has learned nothing; raises `InvalidPipeline`."""
        assert segment.fresh is not None, segment
        learner = self._build(segment.fresh)
        learner.branch(segment.lineage, segment.start, segment.threshold)
        return Challenger(name, segment, who, self._duel(learner, segment))

    def _duel(self, learner: Learner, segment: Segment) -> Duel:
        settings = self.settings
        return Duel(
            learner,
            Lineage((segment,)),
            loss=loss_of(learner.task, settings.loss),
            evidence=Evidence(alpha=settings.alpha, margin=settings.margin),
            segment_by=settings.segment,
        )

    def add(self, challenger: Challenger) -> None:
        """Let it take part."""
        self._turns.append(challenger)

    def remove(self, challenger: Challenger) -> None:
        """Let it go."""
        self._turns.remove(challenger)

    async def release(self, challenger: Challenger) -> None:
        """Drop what is kept for it to read the log."""
        await self._logs.release(topics.EXAMPLES.name, 0, reader=challenger.name)

    async def work(self, champion: Learner, lineage: Lineage) -> None:
        """Fold a slice, if the rest after the last one is over."""
        if self._timer() < self._rest_until:
            return
        self._spent_s = 0.0
        for _ in range(ROUNDS_MAX * len(self._turns)):
            await self.advance(self._turns[0], champion, lineage, CHUNK_EXAMPLES)
            self._turns.rotate(-1)
            if self._spent_s >= SLICE_S:
                break
        share = self.settings.share
        self._rest_until = self._timer() + self._spent_s * (1.0 - share) / share

    async def advance(
        self, challenger: Challenger, champion: Learner, lineage: Lineage, limit: int
    ) -> None:
        """Fold the next examples, no further than the champion has come."""
        if challenger.failure:
            return
        self._follow(challenger, lineage)
        duel = challenger.duel
        limit = min(limit, champion.position - duel.position)
        if limit > 0:
            topic, reader = topics.EXAMPLES.name, challenger.name
            records = await self._logs.read(topic, 0, duel.position, limit, reader=reader)
            # Reading is waiting, in which other lanes work: it counts as nobody's time.
            began = self._timer()
            self._fold(challenger, [(r.offset, r.value or b"") for r in records])
            self._spent_s += self._timer() - began
            if challenger.failure:
                await self.release(challenger)
                return
        if duel.reference is None and duel.position == champion.position:
            duel.face(self._copy(champion), lineage)
        if duel.reference is not None and not challenger.is_ready:
            challenger.is_ready = duel.learner.n_learned >= self.settings.serve_after_n

    def _fold(self, challenger: Challenger, records: list[tuple[int, bytes]]) -> None:
        duel = challenger.duel
        offsets = [offset for offset, _ in records]
        if offsets != list(range(duel.position, duel.position + len(offsets))):
            challenger.fail(f"the examples log has no record {duel.position} any more")
            return
        try:
            duel.absorb([decode_example(value) for _, value in records], offsets, self._timer)
        except Exception as error:
            # A pipeline may raise anything, at scoring too; the champion is not concerned.
            log.exception("challenger %s has failed", challenger.name)
            challenger.fail(f"{type(error).__name__}: {error}")

    def _copy(self, champion: Learner) -> Learner:
        meta, blob = encode(champion, ())
        return self._vault.restore(meta.id, self._vault.seal(meta, blob), blob)[1]

    def _follow(self, challenger: Challenger, lineage: Lineage) -> None:
        """Take account of what commands have made of the champion since."""
        if challenger.followed is lineage:
            return
        challenger.followed = lineage
        duel, segment = challenger.duel, challenger.segment
        left_out = segment.without + lineage.exclusion
        if left_out != segment.without:
            again = msgspec.structs.replace(segment, without=left_out)
            challenger.segment = again
            challenger.duel = self.new(challenger.name, again, challenger.who).duel
            challenger.proposed = challenger.is_ready = False
        elif duel.reference is not None and not self._is_facing(duel, lineage):
            duel.forget_champion()
            challenger.proposed = False

    def _is_facing(self, duel: Duel, lineage: Lineage) -> bool:
        before, now = duel.reference_lineage.segments, lineage.segments
        if before == now:
            return True
        # A new threshold changes nothing but decisions: the model has gone on where it was.
        if now[: len(before)] != before or duel.loss is Loss.ZERO_ONE:
            return False
        number = before[-1].lineage if before else 1
        for segment in now[len(before) :]:
            if parse_id(segment.base) != (number, segment.start) or segment.without != Exclusion():
                return False
            number = segment.lineage
        duel.reference_lineage = lineage
        return True

    def changes(self, champion: Learner, now: float) -> dict[str, bytes | None]:
        """Give what to save: of those that have moved their states, of all their standings."""
        found: dict[str, bytes | None] = {}
        for challenger in self._turns:
            if challenger.duel.position != challenger.saved_at and not challenger.failure:
                meta, saved = save(challenger.name, challenger.duel, self._vault)
                challenger.n_bytes, challenger.fingerprint = meta.n_bytes, meta.fingerprint
                challenger.saved_version = meta.id
                found[STATE + challenger.name] = saved
            challenger.saved_at = challenger.duel.position
        self._saved_at = now
        return {**found, **self.entries(champion, now)}

    def unsaved(self, champion: Learner, now: float) -> dict[str, bytes | None]:
        """Give what to save before the lane goes to another worker."""
        moved = any(each.duel.position != each.saved_at for each in self._turns)
        return self.changes(champion, now) if moved else {}

    def due(self, champion: Learner, now: float) -> dict[str, bytes | None]:
        """Give what to save if the last time was long ago; else nothing."""
        if self._saved_at == float("-inf"):
            self._saved_at = now
        if self._called() != [(arm.name, arm.share, arm.shadow) for arm in self._arms]:
            return self.changes(champion, now)
        is_time = now - self._saved_at >= self._save_every
        return self.unsaved(champion, now) if is_time else {}

    def _called(self) -> list[tuple[str, float, float]]:
        # Who should score: after each change of that, it is saved without delay.
        return [(each.name, each.share, each.shadow) for each in self if each.scores]

    def new_arms(self) -> list[tuple[Arm, Learner]] | None:
        """Give the arms that have been saved since the last call, to be in force; None: none have.

        Call it when what `changes` or `entries` gave has been committed.
        """
        if not self._arms_moved:
            return None
        self._arms_moved = False
        named = {each.name: each for each in self._turns if each.scores}
        return [(arm, named[arm.name].duel.learner) for arm in self._arms if arm.name in named]

    def entries(
        self,
        champion: Learner,
        now: float,
        *,
        plus: Challenger | None = None,
        minus: Challenger | None = None,
    ) -> dict[str, bytes | None]:
        """Give what anybody may read: how they do, and who of them scores by which state."""
        arms = [
            Arm(each.name, each.share, each.shadow, each.saved_version)
            for each in self
            if each.scores and each is not minus and each.saved_version is not None
        ]
        found: dict[str, bytes | None] = {}
        if arms != self._arms:
            self._arms, self._arms_moved = arms, True
            found[ARMS] = encode_json(arms) if arms else None
        found[STANDINGS] = self._standings(champion, now, plus, minus)
        return found

    def _standings(
        self,
        champion: Learner,
        now: float,
        plus: Challenger | None,
        minus: Challenger | None,
    ) -> bytes:
        them = [each for each in self if each is not minus]
        return encode_json(
            [self._standing(e, champion, now) for e in (them if plus is None else [*them, plus])]
        )

    def gone(
        self, challenger: Challenger, champion: Learner, now: float
    ) -> dict[str, bytes | None]:
        """Give what to change in the lane's state when one goes."""
        return {STATE + challenger.name: None, **self.entries(champion, now, minus=challenger)}

    def measure(self, challenger: Challenger) -> None:
        """Find out how large its state is now."""
        challenger.n_bytes = len(challenger.duel.learner.dump())

    def objections(self, challenger: Challenger) -> list[str]:
        """Say all that speaks against promoting it."""
        if challenger.failure:
            return [f"it has failed: {challenger.failure}"]
        duel = challenger.duel
        return objections(
            self.settings.rules(),
            duel.evidence,
            n_bytes=challenger.n_bytes or None,
            cost_ratio=challenger.cost_ratio,
            segments=duel.segments,
        )

    def _standing(self, challenger: Challenger, champion: Learner, now: float) -> Standing:
        duel = challenger.duel
        state = FAILED if challenger.failure else COMPARED if duel.reference else CATCHING_UP
        return Standing(
            name=challenger.name,
            segment=challenger.segment,
            who=challenger.who,
            pipeline=duel.learner.pipeline,
            state=state,
            failure=challenger.failure,
            position=duel.position,
            champion=champion.version_id,
            champion_position=champion.position,
            since=duel.since,
            loss=str(duel.loss),
            evidence=duel.evidence,
            advantages=duel.segments.advantages(),
            n_bytes=challenger.n_bytes,
            fingerprint=challenger.fingerprint,
            cost_ratio=challenger.cost_ratio,
            objections=self.objections(challenger),
            proposed=challenger.proposed,
            promotion=self.settings.promotion,
            time=now,
            share=challenger.share,
            shadow=challenger.shadow,
            is_ready=challenger.is_ready,
        )
