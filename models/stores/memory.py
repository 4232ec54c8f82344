"""The store's double: the same contract in dictionaries, for simulation and unit tests."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from models.errors import CheckpointConflict, CheckpointLost, UnknownVersion
from models.stores.base import Claimed, Claims, Lease, NewPending, generation_end, generation_of


class MemoryStore:
    """What `RedisStore` does, in memory; the contract suite holds it to that."""

    def __init__(self, *, ttl: float) -> None:
        self._ttl = ttl
        self._epochs: dict[str, int] = {}
        self._positions: dict[str, int] = {}
        self._states: dict[str, dict[str, bytes]] = {}
        self._watermarks: dict[str, float] = {}
        self._pending: dict[int, dict[str, bytes]] = {}
        self._claims: dict[int, dict[str, bytes]] = {}
        self._versions: dict[str, tuple[bytes, bytes]] = {}
        self._newest: str | None = None
        self._fields: dict[int, list[str]] = {}
        self._birth: bytes | None = None

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
        for kept in (self._positions, self._states, self._watermarks, self._pending):
            kept.clear()
        self._claims.clear()
        self._fields.clear()

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
    ) -> None:
        """Write position, changed state (None deletes) and watermark, all or nothing."""
        self._check(lease)
        self._positions[lease.lane] = position
        state = self._states[lease.lane]
        for key, value in changes.items():
            if value is None:
                state.pop(key, None)
            else:
                state[key] = value
        if watermark is not None:
            self._watermarks[lease.lane] = watermark

    async def rest(self, lease: Lease) -> None:
        """Say that the lane is idle: until its next commit it holds no watermark back."""
        self._check(lease)
        self._watermarks.pop(lease.lane, None)

    async def put_pending(self, lease: Lease, records: Sequence[NewPending]) -> list[bytes | None]:
        """Store records of new ids; give None for each stored, else the record that was first."""
        self._check(lease)
        found: list[bytes | None] = []
        for new in records:
            first = next(
                (rows[new.event_id] for rows in self._pending.values() if new.event_id in rows),
                None,
            )
            if first is None:
                generation = generation_of(new.event_time, self._ttl)
                self._pending.setdefault(generation, {})[new.event_id] = new.record
            found.append(first)
        return found

    async def claim(self, lease: Lease, claims: Sequence[tuple[str, bytes]]) -> Claims:
        """Claim (event id, claim) for labels; the first claim of an event wins, for good."""
        self._check(lease)
        found = []
        for event_id, claim in claims:
            answer = Claimed(None, None)
            for generation, rows in self._pending.items():
                if event_id in rows:
                    held = self._claims.setdefault(generation, {}).setdefault(event_id, claim)
                    answer = Claimed(rows[event_id], held)
            found.append(answer)
        marks = [mark for lane, mark in self._watermarks.items() if lane.startswith("score.")]
        return Claims(found, min(marks, default=None))

    async def save_fields(self, fields_id: int, names: Sequence[str]) -> None:
        """Keep the feature names behind an id that pending records refer to."""
        self._fields[fields_id] = list(names)

    async def load_fields(self) -> dict[int, list[str]]:
        """Give all feature names ever saved, by id."""
        return dict(self._fields)

    async def expire(self, ttl: float) -> int:
        """Drop the generations that every active lane has passed by `ttl`; give how many."""
        passed = min(self._watermarks.values(), default=-math.inf) - ttl
        old = [g for g in self._pending if generation_end(g, self._ttl) <= passed]
        for generation in old:
            del self._pending[generation]
            self._claims.pop(generation, None)
        return len(old)

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
    ) -> None:
        """Store a version and commit the lane's position with it, all or nothing."""
        self._check(lease)
        self._positions[lease.lane] = position
        self._states[lease.lane]["version"] = version_id.encode()
        if replace:
            self._versions.pop(version_id, None)
        self._versions.setdefault(version_id, (meta, blob))
        self._newest = version_id
        for extra in list(self._versions)[:-keep]:
            del self._versions[extra]

    async def restore_version(self, version_id: str, meta: bytes, blob: bytes) -> None:
        """Put a rebuilt version in the place of the stored one; raises `UnknownVersion`."""
        await self.read_version(version_id)
        self._versions[version_id] = (meta, blob)

    async def newest_version(self) -> str | None:
        """Give the id of the newest version."""
        return self._newest

    async def version_ids(self) -> list[str]:
        """Give all ids, newest first."""
        return list(reversed(self._versions))

    async def read_version(self, version_id: str) -> tuple[bytes, bytes]:
        """Give (meta, blob); raises `UnknownVersion`."""
        if version_id not in self._versions:
            known = ", ".join((await self.version_ids())[:10]) or "none yet"
            raise UnknownVersion(f"there is no version {version_id!r}; there are: {known}")
        return self._versions[version_id]

    async def read_meta(self, version_id: str) -> bytes:
        """Give the metadata alone; raises `UnknownVersion`."""
        return (await self.read_version(version_id))[0]

    def _check(self, lease: Lease) -> None:
        if lease.lane not in self._epochs:
            raise CheckpointLost(f"the store no longer has the lane {lease.lane}")
        if self._epochs[lease.lane] != lease.epoch:
            raise CheckpointConflict(
                f"lane {lease.lane} has a new owner: epoch {lease.epoch} is no longer the newest"
            )
