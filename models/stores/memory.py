"""The store's double: the same contract in dictionaries, for simulation and unit tests."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from models.errors import CheckpointConflict, CheckpointLost
from models.stores.base import (
    GENERATIONS_PER_TTL,
    GIVEN_UP,
    NO_CHANGES,
    RECORD_HEAD,
    SWEPT,
    Claimed,
    Claims,
    KeyedChanges,
    Lease,
    NewClaim,
    NewPending,
    SettledClaim,
    Swept,
    Verdict,
    generation_end,
    generation_of,
)
from models.stores.keyed import KeyedMemory
from models.stores.memory_claims import Claim
from models.stores.shelf import MemoryShelf

Attempt: TypeAlias = Callable[[], Awaitable[None]]


class MemoryStore(MemoryShelf):
    """What `RedisStore` does, in memory; the contract suite holds it to that."""

    def __init__(self, *, ttl: float) -> None:
        self._ttl = ttl
        self._epochs: dict[str, int] = {}
        self._n_commits: dict[tuple[str, int], int] = {}
        self._n_prepared: dict[tuple[str, int], int] = {}
        self._positions: dict[str, int] = {}
        self._states: dict[str, dict[str, bytes]] = {}
        self._watermarks: dict[str, float] = {}
        self._pending: dict[int, dict[str, bytes]] = {}
        self._claims: dict[int, dict[str, Claim]] = {}
        self._own_claims: dict[int, dict[str, Claim]] = {}
        self._silent: dict[str, deque[tuple[float, int, int, str]]] = {}
        self._mark_at_rest = -math.inf
        self._versions: dict[str, tuple[bytes, bytes]] = {}
        self._newest: str | None = None
        self._tags: dict[str, str] = {}
        self._fields: dict[int, list[str]] = {}
        self._birth: bytes | None = None
        self._keyed = KeyedMemory()

    async def birth(self) -> bytes | None:
        """Give the birth record."""
        return self._birth

    async def bear(self, record: bytes) -> bytes:
        """Write the birth record if there is none; give the one in force."""
        if self._birth is None:
            self._birth = record
        return self._birth

    async def start_over(self, lanes: Iterable[str], epoch: int) -> None:
        """Drop everything but the versions, the birth record first."""
        self._birth = None
        self._epochs = dict.fromkeys(lanes, epoch)
        lanes_too = (
            self._positions,
            self._states,
            self._watermarks,
            self._n_commits,
            self._n_prepared,
        )
        events = self._pending, self._claims, self._own_claims, self._silent
        for forgotten in (*lanes_too, *events, self._fields, self._keyed):
            forgotten.clear()
        self._mark_at_rest = -math.inf

    async def acquire(self, lane: str) -> Lease:
        """Take the lane over: raise its epoch, and give its position and state."""
        self._epochs[lane] = self._epochs.get(lane, 0) + 1
        if not lane.startswith("learn."):
            self._watermarks.setdefault(lane, -math.inf)
        state = dict(self._states.setdefault(lane, {}))
        return Lease(lane, self._epochs[lane], self._positions.get(lane), state)

    async def commit(
        self,
        lease: Lease,
        position: int,
        changes: Mapping[str, bytes | None],
        watermark: float | None = None,
        keyed: KeyedChanges | None = None,
    ) -> None:
        """Write position, changed state (None deletes), watermark and keyed state at once."""
        await self.prepare_commit(lease, position, changes, watermark, keyed)()

    def prepare_commit(
        self,
        lease: Lease,
        position: int,
        changes: Mapping[str, bytes | None],
        watermark: float | None = None,
        keyed: KeyedChanges | None = None,
    ) -> Attempt:
        """Number a commit and give the attempt at it, which may be made twice, and late.

        For worlds with a network in between: that is what a client does that has no answer.
        """
        content = position, changes, watermark, keyed
        return self._numbered(lease, lambda: self._commit(lease.lane, *content))

    def _numbered(self, lease: Lease, write: Callable[[], None]) -> Attempt:
        of = (lease.lane, lease.epoch)
        number = self._n_prepared[of] = self._n_prepared.get(of, 0) + 1

        async def attempt() -> None:
            self._check(lease)
            n_commits = self._n_commits.get(of, 0)
            if number > n_commits + 1:
                raise CheckpointLost(f"the store no longer has the last commit of {lease.lane}")
            if number == n_commits + 1:
                self._n_commits[of] = number
                write()

        return attempt

    def _commit(
        self,
        lane: str,
        position: int,
        changes: Mapping[str, bytes | None],
        watermark: float | None,
        keyed: KeyedChanges | None = None,
    ) -> None:
        self._positions[lane] = position
        state = self._states[lane]
        for key, value in changes.items():
            if value is None:
                state.pop(key, None)
            else:
                state[key] = value
        if watermark is not None:
            self._watermarks[lane] = watermark
        if keyed is not None:
            self._keyed.write(lane, keyed)

    async def read_keyed(self, lease: Lease, keys: Sequence[str]) -> dict[str, bytes]:
        """Give what the lane's keyed state holds of these keys."""
        self._check(lease)
        return self._keyed.read(lease.lane, keys)

    async def rest(self, lease: Lease) -> None:
        """Say that the lane is idle: until its next commit it holds no watermark back."""
        self._check(lease)
        mark = self._watermarks.pop(lease.lane, -math.inf)
        if lease.lane.startswith("score."):
            self._mark_at_rest = max(self._mark_at_rest, mark)

    async def put_pending(
        self, lease: Lease, records: Sequence[NewPending], *, sweep: bool = False
    ) -> list[bytes | None]:
        """Store records of new ids; give None for each stored, else the record that was first."""
        self._check(lease)
        found: list[bytes | None] = []
        for new in records:
            generation, first = self._find(new.event_id)
            if first is None:
                generation = generation_of(new.event_time, self._ttl)
                self._pending.setdefault(generation, {})[new.event_id] = new.record
            if sweep:
                self._queue(lease.lane, new, generation, first)
            found.append(first)
        return found

    def _queue(self, lane: str, new: NewPending, generation: int, first: bytes | None) -> None:
        event_time, offset, _ = RECORD_HEAD.unpack_from(first or new.record)
        queue = self._silent.setdefault(lane, deque())
        end = queue[-1][1] + 1 if queue else 0
        is_queued = offset < max(end, int(self._states[lane].get(SWEPT, b"0")))
        if first is None or (_place(first) == _place(new.record) and not is_queued):
            queue.append((event_time, int(offset), generation, new.event_id))

    async def claim(
        self, lease: Lease, claims: Sequence[NewClaim], *, corrections: bool = True
    ) -> Claims:
        """Claim events for labels of one lane, in order."""
        self._check(lease)
        found = []
        before: set[int] = set()
        for new in claims:
            found.append(self._claim(lease.lane, new, before, corrections))
            before.add(new.offset)
        marks = [mark for lane, mark in self._watermarks.items() if not lane.startswith("label.")]
        return Claims(found, min(marks, default=None))

    def _find(self, event_id: str) -> tuple[int, bytes | None]:
        for generation, rows in self._pending.items():
            if event_id in rows:
                return generation, rows[event_id]
        return 0, None

    def _claim(self, lane: str, new: NewClaim, before: set[int], corrections: bool) -> Claimed:
        mine = lane, new.offset
        generation, record = self._find(new.event_id)
        is_past = self._positions.get(lane, 0) > new.offset
        if is_past and str(new.offset) not in self._states.get(lane, {}):
            # It is settled, or given up: it claims nothing, and is told what it was answered.
            return self._answered(mine, new.event_id, generation, record)
        if record is None and new.own_time is None:
            return Claimed(None, Verdict.NO_EVENT)
        if record is not None and RECORD_HEAD.unpack_from(record)[0] < new.event_time_min:
            return Claimed(record, Verdict.EXPIRED)
        how = Verdict.JOINED if record is not None else Verdict.OWN_FEATURES
        place = next((c for c in self._own_claims.values() if new.event_id in c), None)
        if place is None and record is not None:
            place = self._claims.setdefault(generation, {})
        elif place is None and new.own_time is not None:
            own_generation = generation_of(new.own_time, self._ttl)
            place = self._own_claims.setdefault(own_generation, {})
        assert place is not None
        claim = place.get(new.event_id)
        if claim is None:
            place[new.event_id] = Claim(1, new.truth, {(lane, new.offset): (how, 1)})
            return Claimed(record, how, 1)
        verdict, revision = claim.revise(mine, new, how, before, corrections, self._settled)
        stands = (claim.truth or "") if verdict is Verdict.REFUSED else ""
        return Claimed(record, verdict, revision, stands)

    def _answered(
        self, mine: tuple[str, int], event_id: str, generation: int, record: bytes | None
    ) -> Claimed:
        for place in (self._claims.get(generation, {}), *self._own_claims.values()):
            claim = place.get(event_id)
            if claim is not None and mine in claim.entries:
                verdict, revision = claim.entries[mine]
                stands = (claim.truth or "") if verdict is Verdict.REFUSED else ""
                return Claimed(record, verdict, revision, stands)
        return Claimed(record, Verdict.DUPLICATE)

    def _settled(self, lane: str, offset: int) -> bool:
        state = self._states.get(lane, {})
        if lane.startswith("score."):
            return int(state.get(SWEPT, b"0")) > offset
        waits = str(offset) in state or f"{GIVEN_UP}{offset}" in state
        return self._positions.get(lane, 0) > offset and not waits

    async def restore_claims(self, lease: Lease, claims: Sequence[SettledClaim]) -> None:
        """Write what the examples log says of claims; the later one of an event stands."""
        self._check(lease)
        for claim in claims:
            place = next((c for c in self._own_claims.values() if claim.event_id in c), None)
            generation, record = self._find(claim.event_id)
            if place is None and record is not None and not claim.own:
                place = self._claims.setdefault(generation, {})
            elif place is None:
                own_generation = generation_of(claim.event_time, self._ttl)
                place = self._own_claims.setdefault(own_generation, {})
            place[claim.event_id] = Claim(claim.revision, claim.truth)

    async def sweep_silent(self, lease: Lease, negative_after: float, limit: int) -> Swept:
        """Claim for silence the next of the lane's queued events that nobody labelled in time."""
        self._check(lease)
        floor = int(self._states[lease.lane].get(SWEPT, b"0"))
        queue = self._silent.setdefault(lease.lane, deque())
        while queue and queue[0][1] < floor:
            queue.popleft()
        time = self._time_of_labels()
        silent, last, all_due = [], floor, True
        head = list(queue)[:limit]
        for event_time, offset, generation, event_id in head:
            if event_time + negative_after > time:
                all_due = False
                break
            if not any(event_id in rows for rows in self._own_claims.values()):
                mine = {(lease.lane, offset): (Verdict.JOINED, 1)}
                claims = self._claims.setdefault(generation, {})
                claim = claims.setdefault(event_id, Claim(1, None, mine))
                if (lease.lane, offset) in claim.entries:
                    silent.append((event_id, self._pending[generation][event_id]))
            last = offset + 1
        return Swept(silent, floor, last, all_due and len(head) == limit)

    def _time_of_labels(self) -> float:
        # Events drive the time; labels that may be on their way hold it back.
        marks = self._watermarks
        scored = [mark for lane, mark in marks.items() if lane.startswith("score.")]
        labelled = [mark for lane, mark in marks.items() if not lane.startswith("score.")]
        return min([min(scored, default=self._mark_at_rest), *labelled])

    async def forget_silent(self, lease: Lease) -> None:
        """Empty the lane's queue: silence means nothing any more."""
        self._check(lease)
        self._silent.pop(lease.lane, None)

    async def save_fields(self, fields_id: int, names: Sequence[str]) -> None:
        """Keep the feature names behind an id that pending records refer to."""
        self._fields[fields_id] = list(names)

    async def load_fields(self) -> dict[int, list[str]]:
        """Give all feature names ever saved, by id."""
        return dict(self._fields)

    async def expire(self, ttl: float) -> int:
        """Drop the generations that every active lane has passed by `ttl`; give how many."""
        passed = min(self._watermarks.values(), default=-math.inf) - ttl
        held = {generation for queue in self._silent.values() for _, _, generation, _ in queue}
        old = [g for g in self._pending if generation_end(g, self._ttl) <= passed and g not in held]
        for generation in old:
            del self._pending[generation]
            self._claims.pop(generation, None)
        # A label may come up to a TTL before its event, which silence must not take for unlabelled.
        free_below = min(held, default=math.inf) - GENERATIONS_PER_TTL
        for generation in list(self._own_claims):
            if generation_end(generation, self._ttl) <= passed and generation < free_below:
                del self._own_claims[generation]
        return len(old)

    async def read_state(self, lane: str, key: str) -> bytes | None:
        """Give an entry of a lane's state, for whoever does not own the lane."""
        return self._states.get(lane, {}).get(key)

    async def waiting_counts(self) -> dict[str, int]:
        """Count the state entries of each label lane: the labels that wait there."""
        return {lane: len(s) for lane, s in self._states.items() if lane.startswith("label.")}

    async def positions(self) -> dict[str, int]:
        """Give the committed position of every lane."""
        return dict(self._positions)

    async def cut_version(
        self,
        lease: Lease,
        position: int,
        version_id: str,
        meta: bytes,
        blob: bytes,
        keep: int,
        replace: bool = False,
        changes: Mapping[str, bytes | None] = NO_CHANGES,
        needed: Sequence[str] = (),
    ) -> None:
        """Store a version; commit the lane's position and state with it, all or nothing."""
        what = version_id, meta, blob
        await self.prepare_cut(lease, position, *what, keep, replace, changes, needed)()

    def prepare_cut(
        self,
        lease: Lease,
        position: int,
        version_id: str,
        meta: bytes,
        blob: bytes,
        keep: int,
        replace: bool = False,
        changes: Mapping[str, bytes | None] = NO_CHANGES,
        needed: Sequence[str] = (),
    ) -> Attempt:
        """Number a cut and give the attempt at it; see `prepare_commit`."""
        content = meta, blob
        state = {**changes, "version": version_id.encode()}

        def cut() -> None:
            self._commit(lease.lane, position, state, None)
            self._store_version(version_id, content, replace)
            kept = {*needed, *self._tags.values()}
            for extra in list(self._versions)[:-keep]:
                if extra not in kept:
                    del self._versions[extra]

        return self._numbered(lease, cut)

    def _store_version(self, version_id: str, content: tuple[bytes, bytes], replace: bool) -> None:
        if replace:
            self._versions.pop(version_id, None)
        self._versions.setdefault(version_id, content)
        self._newest = version_id

    def _check(self, lease: Lease) -> None:
        if lease.lane not in self._epochs:
            raise CheckpointLost(f"the store no longer has the lane {lease.lane}")
        if self._epochs[lease.lane] != lease.epoch:
            raise CheckpointConflict(
                f"lane {lease.lane} has a new owner: epoch {lease.epoch} is no longer the newest"
            )


def _place(record: bytes) -> tuple[int, int]:
    _, offset, partition = RECORD_HEAD.unpack_from(record)
    return partition, int(offset)
