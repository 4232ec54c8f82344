"""Commands about challengers: add, drop, promote; and what the gate does by itself.

A promotion is a rollback to another past: the challenger becomes the champion at the position that
both have reached, as a lineage of its own, whose first segment says which untrained learner it was.
So its versions can be made again from the log and their metadata, like all others.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal, TypeAlias

import msgspec

from models.errors import InvalidPipeline
from models.lineage import Fresh, Lineage, Segment
from stream.challenger import Challenger
from stream.challengers import Challengers
from stream.learners import new_learner
from stream.messages import CHAMPION, AuditRecord, Command, GateEvidence
from stream.ports import Logs
from stream.rulings import Champion, Effect, FreeLineage, Refused, arguments_of
from stream.settings import Settings
from stream.vault import Vault

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
CATCH_UP_EXAMPLES = 500
"""That one folds at a time before it takes over: the lanes wait no longer than for a batch."""
UNTRAINED = "v0-0"
"""What a challenger's first segment has as its base."""


Fraction: TypeAlias = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class Add(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Let a fresh learner learn beside the champion, from the log's start or from now on.

    Once it is ready, it scores a `shadow` of the events unserved, and decides those of a `share` of
    the entities.
    """

    name: str
    pipeline: str | None = None
    seed: int | None = None
    begin: Literal["start", "now"] = "start"
    shadow: Fraction = 0.0
    share: Fraction = 0.0


class Traffic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Give a challenger more or less of the live traffic; None leaves as it is."""

    name: str
    shadow: Fraction | None = None
    share: Fraction | None = None


class Drop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Let a challenger go."""

    name: str


class Promote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Make a challenger the champion; with `force` also against the gate's objections."""

    name: str
    force: bool = False


class ChallengerCommands:
    """Decides commands about the challengers of a shard.

    Parameters
    ----------
    configured
        The pipeline and seed of the configuration.
    has_entities
        Whether events have an entity, by which traffic can be shared out.
    """

    names = ("challenger add", "challenger drop", "challenger traffic", "promote")

    def __init__(self, challengers: Challengers, configured: Fresh, *, has_entities: bool) -> None:
        self._challengers = challengers
        self._configured = configured
        self._has_entities = has_entities

    @classmethod
    def of(
        cls, settings: Settings, *, vault: Vault, logs: Logs, timer: Callable[[], float]
    ) -> tuple[Challengers, ChallengerCommands]:
        """Make the challengers that the configuration describes, and what commands them."""
        challengers = Challengers(
            settings.challengers,
            build=lambda fresh: new_learner(settings, lineage=0, fresh=fresh),
            vault=vault,
            logs=logs,
            timer=timer,
            save_every=settings.versions.interval,
        )
        configured = Fresh(settings.model.pipeline, settings.model.seed)
        has_entities = settings.event.entity is not None
        return challengers, cls(challengers, configured, has_entities=has_entities)

    @property
    def lineages(self) -> list[int]:
        """Numbers of lineages that are taken."""
        return self._challengers.lineages

    async def decide(
        self, command: Command, champion: Champion, free: FreeLineage, limit: int, now: float
    ) -> Effect | None:
        """Decide a command, or work towards it and give None: then it is asked again."""
        match command.command:
            case "challenger add":
                asked_to_add = arguments_of(command, Add)
                return await self._add(command, asked_to_add, champion, free, now)
            case "challenger drop":
                challenger = self._named(arguments_of(command, Drop).name)
                return await self._drop(challenger, champion, now)
            case "challenger traffic":
                return self._set_traffic(arguments_of(command, Traffic), champion, now)
        asked = arguments_of(command, Promote)
        return await self._promote(command, asked, champion, free, limit, now)

    async def _add(
        self, command: Command, asked: Add, champion: Champion, free: FreeLineage, now: float
    ) -> Effect:
        challengers, settings = self._challengers, self._challengers.settings
        if not _NAME.fullmatch(asked.name):
            raise Refused("bad_arguments", "a name has letters, digits, '.', '_' and '-'")
        if asked.name == CHAMPION:
            raise Refused("bad_arguments", f"{CHAMPION} is the name of the champion's arm")
        if challengers.get(asked.name) is not None:
            raise Refused("name_taken", f"there is a challenger {asked.name!r}: drop it first")
        if len(challengers.lineages) >= settings.max:
            raise Refused("too_many", f"challengers.max is {settings.max}: drop one first")
        self._check_share(asked.share, None)
        configured = self._configured
        fresh = Fresh(
            asked.pipeline or configured.pipeline,
            configured.seed if asked.seed is None else asked.seed,
        )
        segment = Segment(
            lineage=await free(),
            base=UNTRAINED,
            start=champion.learner.position if asked.begin == "now" else 0,
            command=command.id,
            without=champion.lineage.exclusion,
            threshold=champion.lineage.threshold,
            fresh=fresh,
        )
        try:
            challenger = challengers.new(asked.name, segment, command.who)
        except InvalidPipeline as error:
            raise Refused("bad_pipeline", str(error)) from None
        challenger.shadow, challenger.share = asked.shadow, asked.share
        since = "from now on" if asked.begin == "now" else "all examples from the log's start"
        pipeline = challenger.duel.learner.pipeline
        detail = f"{asked.name} ({pipeline}, seed {fresh.seed}) learns {since}"
        if traffic := _traffic(challenger):
            detail = f"{detail}; it {traffic}"
        changes = challengers.entries(champion.learner, now, plus=challenger)
        return Effect(detail, changes, lambda: challengers.add(challenger))

    async def _drop(self, challenger: Challenger, champion: Champion, now: float) -> Effect:
        challengers = self._challengers
        await challengers.release(challenger)
        changes = challengers.gone(challenger, champion.learner, now)
        detail = f"{challenger.name} is dropped; it stood at {challenger.duel.position}"
        return Effect(detail, changes, lambda: challengers.remove(challenger))

    def _set_traffic(self, asked: Traffic, champion: Champion, now: float) -> Effect:
        challenger = self._named(asked.name)
        if asked.share is not None:
            self._check_share(asked.share, challenger)
            challenger.share = asked.share
        if asked.shadow is not None:
            challenger.shadow = asked.shadow
        changes = self._challengers.entries(champion.learner, now)
        detail = f"{asked.name} {_traffic(challenger) or 'scores no live traffic'}"
        return Effect(detail, changes, lambda: None)

    def _check_share(self, share: float, of: Challenger | None) -> None:
        if share and not self._has_entities:
            raise Refused("no_entity", "traffic is shared out by entity: event.entity is not set")
        total = share + sum(each.share for each in self._challengers if each is not of)
        most = self._challengers.settings.traffic_max
        if share and total > most:
            raise Refused(
                "too_much", f"challengers would decide {total:.3g} of the entities, over "
                f"challengers.traffic_max, {most:g}",
            )  # fmt: skip

    async def _promote(
        self, command: Command, asked: Promote, champion: Champion, free: FreeLineage, limit: int,
        now: float,
    ) -> Effect | None:  # fmt: skip
        challengers = self._challengers
        challenger = self._named(asked.name)
        if challenger.failure:
            raise Refused("failed", f"{asked.name} has failed: {challenger.failure}")
        if not await self._is_level(challenger, champion, limit):
            return None
        challengers.measure(challenger)
        against = self._against(challenger)
        if against and not asked.force:
            raise Refused("gate", f"{'; '.join(against)}. --force promotes it all the same")
        effect = await self._succeed(challenger, command.id, champion, await free(), now)
        forced = f", FORCED against: {'; '.join(against)}" if against else ""
        return effect._replace(detail=f"{effect.detail}{forced}")

    async def propose(
        self, champion: Champion, free: FreeLineage, now: float
    ) -> tuple[AuditRecord, Effect] | None:
        """Promote a challenger for which the gate has opened, or propose it, as configured."""
        challengers = self._challengers
        mode, position = challengers.settings.promotion, champion.learner.position
        if mode == "manual" or champion.frozen:
            return None
        for challenger in challengers:
            passed = challenger.duel.evidence.passed_at is not None
            if not passed or challenger.proposed or self._against(challenger):
                continue
            if mode == "automatic" and not await self._is_level(challenger, champion):
                continue
            act_id = f"gate-{challenger.segment.lineage}-{champion.learner.lineage}-{position}"
            if mode == "automatic":
                effect = await self._succeed(challenger, act_id, champion, await free(), now)
                outcome = "applied"
            else:
                effect, outcome = self._mention(challenger, champion, now), "proposed"
            version = champion.version if effect.cut is None else effect.cut.learner.version_id
            record = AuditRecord(
                id=act_id, who="gate", what="promote", subject=challenger.name, outcome=outcome,
                reason="", detail=effect.detail, time=now, why="its losses are lower",
                version=version, evidence=effect.evidence,
                segments=None if effect.cut is None else effect.cut.lineage.segments,
            )  # fmt: skip
            return record, effect
        return None

    async def _is_level(
        self, challenger: Challenger, champion: Champion, limit: int = CATCH_UP_EXAMPLES
    ) -> bool:
        """Bring it to where the champion stands; False if it is not there yet."""
        position = champion.learner.position
        if challenger.duel.position < position:
            # A busy champion is always some examples ahead.
            learner, lineage = champion.learner, champion.lineage
            await self._challengers.advance(challenger, learner, lineage, limit)
        return challenger.duel.position == position

    def _mention(self, challenger: Challenger, champion: Champion, now: float) -> Effect:
        challenger.proposed = True
        changes = self._challengers.entries(champion.learner, now)
        detail = f"{_told(challenger)}: `driftline promote {challenger.name}`"
        return Effect(detail, changes, lambda: None)

    async def _succeed(
        self, challenger: Challenger, act_id: str, champion: Champion, lineage: int, now: float
    ) -> Effect:
        challengers, learner = self._challengers, challenger.duel.learner
        evidence = self._evidence(challenger)
        await challengers.release(challenger)
        changes = challengers.gone(challenger, champion.learner, now)
        base, position = learner.version_id, learner.position
        segment = Segment(
            lineage=lineage, base=base, start=position, command=act_id,
            threshold=champion.lineage.threshold,
        )  # fmt: skip
        learner.branch(lineage, position, segment.threshold)
        lineages = Lineage((*challenger.duel.lineage.segments, segment))
        cut = Champion(learner, lineages, base, champion.frozen)
        detail = f"{challenger.name} is the champion at {position}: {_told(challenger)}"
        return Effect(detail, changes, lambda: challengers.remove(challenger), cut, evidence)

    def _evidence(self, challenger: Challenger) -> GateEvidence:
        found = challenger.duel.evidence
        n = found.n or 1
        low, high = found.interval()
        return GateEvidence(
            loss=str(challenger.duel.loss), n=found.n, alpha=found.alpha, margin=found.margin,
            champion_loss=found.champion_loss / n, challenger_loss=found.challenger_loss / n,
            advantage=found.advantage, low=low, high=high, log10_e=found.log10_e,
            passed_at=found.passed_at, objections=self._against(challenger),
            curve=[*found.curve, found.point()] if found.n else [],
        )  # fmt: skip

    def _against(self, challenger: Challenger) -> list[str]:
        if not challenger.n_bytes:
            self._challengers.measure(challenger)
        return self._challengers.objections(challenger)

    def _named(self, name: str) -> Challenger:
        challenger = self._challengers.get(name)
        if challenger is None:
            known = ", ".join(each.name for each in self._challengers) or "none"
            raise Refused("unknown_challenger", f"there is no {name!r}; there are: {known}")
        return challenger


def _traffic(challenger: Challenger) -> str:
    said = []
    if challenger.shadow:
        said.append(f"scores {challenger.shadow * 100:g} % of events in shadow")
    if challenger.share:
        said.append(f"decides for {challenger.share * 100:g} % of entities")
    when = "" if challenger.is_ready else ", once it is ready"
    return f"{' and '.join(said)}{when}" if said else ""


def _told(challenger: Challenger) -> str:
    evidence = challenger.duel.evidence
    low, high = evidence.interval()
    passed = "" if evidence.passed_at is None else f", the gate opened after {evidence.passed_at:,}"
    return (
        f"its {challenger.duel.loss} loss is lower by {evidence.advantage:.4f} ({low:.4f} to "
        f"{high:.4f}) on {evidence.n:,} examples{passed}"
    )
