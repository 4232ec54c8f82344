"""Challengers that score live traffic: in shadow, or a share of the entities for real.

An **arm** is who gives a score: the champion, or a challenger that has been given a share. Which
entities are in a share follows from a hash of entity and challenger alone, so it is the same on
every worker, after every restart, and a larger share holds a smaller one. An entity in the shares
of two challengers belongs to the older one: adding a challenger takes nobody's entities away.

The learn lane is the only one that writes: with a challenger's state it saves, in the same write,
who scores what and by which state. The worker that has the lane scores with the challengers
themselves, every other worker with the states saved last, which it loads off the event loop when
that entry says that there is a newer one; where nobody scores, the entry is not there and nothing
is ever loaded. An arm is in force once it is saved: no crash gives entities back.

Why the champion scores every event, also those of an arm: it is what decides where an arm raises or
says what is no number, and drift that needs no label is watched on the same events as ever.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from models.errors import CheckpointCorrupt
from models.learner import Learner
from models.reasons import Attribution
from models.stores.base import LaneStore
from models.types import Features, Score
from stream.challenger_states import STATE, saved_learner
from stream.vault import Background, Vault

log = logging.getLogger(__name__)

LANE = "learn.0"
ARMS = "arms"
"""Key in the learn lane's state: the challengers that score; absent where none does."""
_PLACES = 1 << 53
_UNKNOWN = b""


class Arm(msgspec.Struct, frozen=True):
    """A challenger that scores, as the learn lane's state has it.

    `share` is that of the entities that it decides, `shadow` that of the events that it scores
    unserved, `version` the state of it that is saved.
    """

    name: str
    share: float
    shadow: float
    version: str


decode_arms: Callable[[bytes], list[Arm]] = msgspec.json.Decoder(list[Arm]).decode


def is_in_share(arm: str, entity: str, share: float) -> bool:
    """Say whether an entity is in an arm's share.

    Examples
    --------
    >>> [card for card in map(str, range(20)) if is_in_share("forest", card, 0.2)]
    ['2', '4', '8', '17']
    """
    return _place(blake2b(entity.encode(), digest_size=8, key=arm.encode())) < share


def sample_place(event_id: str) -> float:
    """Give a place from 0 on, below 1: a shadow's sample is of the events below its size.

    It is the same place for all challengers, which so score the same events.

    Examples
    --------
    >>> sum(sample_place(f"e{i}") < 0.1 for i in range(1000))
    98
    """
    return _place(blake2b(event_id.encode(), digest_size=8))


def _place(hashed: blake2b) -> float:
    # 53 bits: as many as a float tells apart.
    return (int.from_bytes(hashed.digest(), "big") >> 11) / _PLACES


class ScoringArm:
    """An arm with what it scores with.

    Parameters
    ----------
    is_stale
        Says whether the state may be older than it should be.
    """

    def __init__(self, arm: Arm, learner: Learner, is_stale: Callable[[], bool]) -> None:
        self.arm, self.learner = arm, learner
        self._is_stale = is_stale
        self._is_failing = False

    @property
    def name(self) -> str:
        """The challenger's name."""
        return self.arm.name

    def score_many(self, rows: Sequence[Features]) -> list[Score]:
        """Score events, in order; raises whatever the pipeline raises."""
        scores = self.learner.score_many(rows)
        for score in scores:
            for number in score.values() if isinstance(score, Mapping) else (score,):
                if not math.isfinite(number):
                    raise ValueError(f"a score is {number}")
        return scores

    def explain_many(self, rows: Sequence[Features]) -> list[Attribution]:
        """Attribute the scores that `score_many` gives now to features."""
        return self.learner.explain_many(rows)

    def stamp(self) -> tuple[str, int, bool]:
        """Give (version id, model position, stale) of the state that scores now."""
        return self.arm.version, self.learner.position, self._is_stale()

    def note_failure(self, error: Exception) -> None:
        """Tell of the first failure of a row of them."""
        if not self._is_failing:
            log.error("challenger %s can't score, the champion does: %r", self.name, error)
        self._is_failing = True

    def note_success(self) -> None:
        """Note that it scores."""
        self._is_failing = False


class Arms:
    """The arms in force on this worker.

    Parameters
    ----------
    now
        Wall time in seconds, to tell how old a state is.
    staleness_max
        Seconds after which scores by a state that was not looked after are flagged stale.
    """

    def __init__(
        self,
        store: LaneStore,
        vault: Vault,
        *,
        in_background: Background,
        now: Callable[[], float],
        staleness_max: float,
    ) -> None:
        self._store = store
        self._vault = vault
        self._in_background = in_background
        self._now = now
        self._staleness_max = staleness_max
        self._arms: list[ScoringArm] = []
        self._is_live = False
        self._known: bytes | None = _UNKNOWN
        self._is_behind = False
        self._confirmed_at = now()

    def __bool__(self) -> bool:
        return bool(self._arms)

    def __iter__(self) -> Iterator[ScoringArm]:
        return iter(self._arms)

    def shares(self, entities: Sequence[str | None]) -> list[tuple[ScoringArm, list[int]]]:
        """Give the places of the events that arms decide, by arm; no event is in two."""
        left = [i for i, entity in enumerate(entities) if entity is not None]
        found = []
        for one in self._arms:
            if not one.arm.share:
                continue
            name, share = one.name, one.arm.share
            mine = [i for i in left if is_in_share(name, entities[i] or "", share)]
            if mine:
                found.append((one, mine))
                taken = set(mine)
                left = [i for i in left if i not in taken]
        return found

    def go_live(self, arms: Sequence[tuple[Arm, Learner]]) -> None:
        """Score with the challengers of this worker's learn lane."""
        self._is_live, self._known = True, _UNKNOWN
        self._set(arms)

    def leave(self) -> None:
        """Keep scoring with them as they were when their lane went to another worker."""
        if self._is_live:
            self._is_live = False
            self._confirmed_at = self._now()

    async def refresh(self) -> None:
        """Take over what the learn lane has saved, where that lane is another worker's."""
        if self._is_live:
            return
        data = await self._store.read_state(LANE, ARMS)
        if data != self._known:
            arms = await self._load(decode_arms(data or b"[]"))
            if self._is_live:  # It came while that was loaded.
                return
            self._set(arms)
            self._known = data
        if not self._is_behind:
            self._confirmed_at = self._now()

    async def _load(self, arms: Sequence[Arm]) -> list[tuple[Arm, Learner]]:
        """Load the states that are newer; one that can't be used leaves the one before."""
        found: list[tuple[Arm, Learner]] = []
        before = {one.name: one for one in self._arms}
        self._is_behind = False
        for arm in arms:
            old = before.get(arm.name)
            if old is not None and old.arm.version == arm.version:
                found.append((arm, old.learner))
                continue
            loaded = await self._load_one(arm)
            if loaded is not None:
                found.append(loaded)
            elif old is not None:
                found.append((msgspec.structs.replace(arm, version=old.arm.version), old.learner))
        return found

    async def _load_one(self, arm: Arm) -> tuple[Arm, Learner] | None:
        saved = await self._store.read_state(LANE, STATE + arm.name)
        if saved is None:  # It was dropped since.
            return None
        try:
            meta, learner = await self._in_background(
                lambda: saved_learner(arm.name, saved, self._vault)
            )
        except CheckpointCorrupt as error:
            log.error("challenger %s is not taken over: its state %s", arm.name, error)
            self._is_behind = True
            return None
        # It may be a later one than the entry said.
        return msgspec.structs.replace(arm, version=meta.id), learner

    def _set(self, arms: Sequence[tuple[Arm, Learner]]) -> None:
        before = {one.name: one for one in self._arms}
        self._arms = []
        for arm, learner in arms:
            one = before.get(arm.name) or ScoringArm(arm, learner, self._is_stale)
            one.arm, one.learner = arm, learner
            self._arms.append(one)

    def _is_stale(self) -> bool:
        return not self._is_live and self._now() - self._confirmed_at > self._staleness_max


def plain(scores: Sequence[Score]) -> list[Any]:
    """Give scores as they are published."""
    # River's sigmoid gives the integers 0 and 1 far out, which JSON would keep.
    return [float(s) if isinstance(s, float | int) else dict(s) for s in scores]
