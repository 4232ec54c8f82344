"""Ports of the store: what lanes ask for, whoever provides it.

Why leases: a worker that was paused may wake up after its lane went to another. Each acquisition
raises the lane's epoch, every write names the epoch that it was made under, and a stale one is
refused where it is written (Kleppmann's fencing token). The two adapters, memory and Redis, pass
one contract suite.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

GENERATIONS_PER_TTL = 8
"""Pending events expire as whole generations, each an eighth of the TTL long: memory is at most
an eighth above what the TTL asks for, and a look-up tries at most ten keys."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lane as its new owner finds it; `position` is None if it never committed."""

    lane: str
    epoch: int
    position: int | None
    state: dict[str, bytes] = field(default_factory=dict)


class NewPending(msgspec.Struct, frozen=True, gc=False):
    """A pending record to store under its event's id."""

    event_id: str
    event_time: float
    record: bytes


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """What claiming an event for a label found.

    `record` is the pending record, or None if no such event waits. `claim` is the claim now in
    force: the caller's own, or that of the label that came first.
    """

    record: bytes | None
    claim: bytes | None


@dataclass(frozen=True, slots=True)
class Claims:
    """Answers to a batch of claims, with how far the score lanes have come.

    `watermark` is the lowest event time that any active score lane has committed; None while
    no score lane is active.
    """

    found: list[Claimed]
    watermark: float | None


class BirthStore(Protocol):
    """The birth record: a store that has none has lost whatever it held before."""

    async def birth(self) -> bytes | None:
        """Give the birth record."""
        ...

    async def bear(self, record: bytes) -> bytes:
        """Write the birth record if there is none; give the one in force."""
        ...

    async def start_over(self, lanes: Iterable[str], epoch: int) -> None:
        """Drop everything but the versions, the birth record first.

        The lanes' next epochs are above `epoch`, so that a worker that slept through the loss of
        the store does not find its own epoch in force again.
        """
        ...


class LaneStore(Protocol):
    """Positions and keyed state of lanes, written only under the newest lease."""

    async def acquire(self, lane: str) -> Lease:
        """Take the lane over: raise its epoch, and give its position and state."""
        ...

    async def commit(
        self,
        lease: Lease,
        position: int,
        changes: Mapping[str, bytes | None],
        watermark: float | None = None,
    ) -> None:
        """Write position, changed state (None deletes) and watermark, all or nothing.

        Raises `CheckpointConflict` if another owner has acquired the lane since.
        """
        ...

    async def rest(self, lease: Lease) -> None:
        """Say that the lane is idle: until its next commit it holds no watermark back."""
        ...

    async def waiting_counts(self) -> dict[str, int]:
        """Count the state entries of each lane (label lanes keep waiting labels there)."""
        ...


class PendingStore(Protocol):
    """Scored events that wait for their labels; the first write of an id wins."""

    async def put_pending(self, lease: Lease, records: Sequence[NewPending]) -> list[bytes | None]:
        """Store records of new ids; give None for each stored, else the record that was first."""
        ...

    async def claim(self, lease: Lease, claims: Sequence[tuple[str, bytes]]) -> Claims:
        """Claim (event id, claim) for labels; the first claim of an event wins, for good."""
        ...

    async def save_fields(self, fields_id: int, names: Sequence[str]) -> None:
        """Keep the feature names behind an id that pending records refer to."""
        ...

    async def load_fields(self) -> dict[int, list[str]]:
        """Give all feature names ever saved, by id."""
        ...

    async def expire(self, ttl: float) -> int:
        """Drop the generations that every active lane has passed by `ttl`; give how many."""
        ...


class VersionStore(Protocol):
    """Immutable versions of the learner, newest last."""

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
        """Store a version and commit the lane's position with it, all or nothing.

        A version of that id that is there already stays as it is, unless it was refused and its
        owner says `replace`: then it is now the newest.
        """
        ...

    async def restore_version(self, version_id: str, meta: bytes, blob: bytes) -> None:
        """Put a rebuilt version in the place of the stored one; raises `UnknownVersion`."""
        ...

    async def newest_version(self) -> str | None:
        """Give the id of the newest version."""
        ...

    async def version_ids(self) -> list[str]:
        """Give all ids, newest first."""
        ...

    async def read_version(self, version_id: str) -> tuple[bytes, bytes]:
        """Give (meta, blob); raises `UnknownVersion`."""
        ...

    async def read_meta(self, version_id: str) -> bytes:
        """Give the metadata alone; raises `UnknownVersion`."""
        ...


class Store(BirthStore, LaneStore, PendingStore, VersionStore, Protocol):
    """All four ports: what a worker is given."""


def generation_of(event_time: float, ttl: float) -> int:
    """Number the generation of an event by its time.

    Examples
    --------
    >>> generation_of(0.0, 80.0), generation_of(19.9, 80.0), generation_of(20.0, 80.0)
    (0, 1, 2)
    """
    return int(event_time // (ttl / GENERATIONS_PER_TTL))


def generation_end(generation: int, ttl: float) -> float:
    """Give the event time at which a generation ends."""
    return (generation + 1) * (ttl / GENERATIONS_PER_TTL)
