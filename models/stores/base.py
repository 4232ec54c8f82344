"""Ports of the store: what lanes ask for, whoever provides it.

Why leases: a worker that was paused may wake up after its lane went to another. Each acquisition
raises the lane's epoch, every write names the epoch that it was made under, and a stale one is
refused where it is written (Kleppmann's fencing token). The two adapters, memory and Redis, pass
one contract suite.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

import msgspec

GENERATIONS_PER_TTL = 8
"""Pending events expire as whole generations, each an eighth of the TTL long: memory is at most
an eighth above what the TTL asks for, and a look-up tries at most ten keys."""

RECORD_HEAD = struct.Struct("<ddI")
"""A pending record begins with its event's time, offset and partition, which the store looks at;
the rest is the handlers' own."""

NO_CHANGES: Mapping[str, bytes | None] = MappingProxyType({})

GIVEN_UP = "given-up/"
"""Keys in a label lane's state: `<offset>` is a label that waits for its event, `given-up/<offset>`
one that will be refused; claims ask for which of the two it is."""

SWEPT = "swept"
"""Key in a score lane's state: all of its events below this offset were labelled, or became
negatives that are in the examples log."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lane as its new owner finds it; `position` is None if it never committed."""

    lane: str
    epoch: int
    position: int | None
    state: dict[str, bytes] = field(default_factory=dict)

    @property
    def partition(self) -> str:
        """The lane's partition, as its name has it: `3` of `label.3`."""
        return self.lane.rpartition(".")[2]


class NewPending(msgspec.Struct, frozen=True, gc=False):
    """A pending record to store under its event's id; it begins with `RECORD_HEAD`."""

    event_id: str
    event_time: float
    record: bytes


class NewClaim(msgspec.Struct, frozen=True, gc=False):
    """What a label asks for: to be the next revision of the truth about an event.

    `offset` is the label's in its partition. An event before `event_time_min` can't be claimed
    any more. `own_time` is set if the label carries features of its own: then it needs no pending
    event, and the claim is kept as long as that of an event of this time.
    """

    event_id: str
    offset: int
    truth: str
    event_time_min: float
    own_time: float | None = None


class SettledClaim(msgspec.Struct, frozen=True, gc=False):
    """The newest example of an event, as a claim: nothing of it is in flight any more.

    `truth` is None if silence said so. With `own`, the event was not there when it was labelled.
    """

    event_id: str
    event_time: float
    revision: int
    truth: str | None
    own: bool


class KeyedChange(msgspec.Struct, frozen=True, gc=False):
    """A key's new content and generation; `before` is the generation that it was stored in."""

    key: str
    generation: int
    content: bytes
    before: int | None = None


class KeyedChanges(msgspec.Struct, frozen=True):
    """What of a lane's keyed state to write; generations below `floor` are dropped."""

    changes: Sequence[KeyedChange] = ()
    floor: int | None = None


class Verdict(StrEnum):
    """What became of a claim; once given to a label, it never changes."""

    NO_EVENT = ""
    """No such event waits."""
    EXPIRED = "X"
    """The event is too old."""
    JOINED = "L"
    """It is the next revision, with the features of the pending event."""
    OWN_FEATURES = "F"
    """It is the next revision, with the features that the label carries."""
    DUPLICATE = "D"
    """The event has this label already."""
    REFUSED = "R"
    """The event has another label, and corrections are refused."""
    BLOCKED = "B"
    """The revision before is not acknowledged yet: ask again."""


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """The answer to a claim; `before` is the truth that stands where this one is refused."""

    record: bytes | None
    verdict: Verdict
    revision: int = 0
    before: str = ""


class Swept(msgspec.Struct, frozen=True):
    """Events, in the order of their offsets, for which no label came.

    `silent` are (event id, record) of those now claimed for silence. `floor` is where this sweep
    began and `next` where it ended; with `more`, others may be due at once.
    """

    silent: list[tuple[str, bytes]]
    floor: int
    next: int
    more: bool


@dataclass(frozen=True, slots=True)
class Claims:
    """Answers to a batch of claims, with how far the score lanes have come.

    `watermark` is the lowest event time that any active lane of events has committed; None while
    none is active.
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
        keyed: KeyedChanges | None = None,
    ) -> None:
        """Write position, changed state (None deletes), watermark and keyed state, all or nothing.

        Raises `CheckpointConflict` if another owner has acquired the lane since.
        """
        ...

    async def read_keyed(self, lease: Lease, keys: Sequence[str]) -> dict[str, bytes]:
        """Give what the lane's keyed state holds of these keys."""
        ...

    async def rest(self, lease: Lease) -> None:
        """Say that the lane is idle: until its next commit it holds no watermark back."""
        ...

    async def read_state(self, lane: str, key: str) -> bytes | None:
        """Give an entry of a lane's state, for whoever does not own the lane."""
        ...

    async def waiting_counts(self) -> dict[str, int]:
        """Count the state entries of each lane (label lanes keep waiting labels there)."""
        ...


class PendingStore(Protocol):
    """Scored events that wait for their labels; the first write of an id wins."""

    async def put_pending(
        self, lease: Lease, records: Sequence[NewPending], *, sweep: bool = False
    ) -> list[bytes | None]:
        """Store records of new ids; give None for each stored, else the record that was first.

        With `sweep`, those stored also join the lane's queue for `sweep_silent`. So does an event
        that is stored and comes again, if neither the queue nor a sweep has come as far.
        """
        ...

    async def claim(
        self, lease: Lease, claims: Sequence[NewClaim], *, corrections: bool = True
    ) -> Claims:
        """Claim events for labels of one lane, in order.

        The first label of an event is revision 1. One that says something else is the next
        revision (without `corrections`: refused), but only once the revision before is in the
        examples log: so the log has them in the order of the claims. A verdict stands: whoever
        claims again for the same label, after a crash, gets it again. Once its lane has committed
        the label, a claim for it changes nothing: it was given up, and comes late.
        """
        ...

    async def restore_claims(self, lease: Lease, claims: Sequence[SettledClaim]) -> None:
        """Write what the examples log says of claims; the later one of an event stands.

        For a recovery, whose lease is that of the lane that owns the log. The pending events must
        be there: a claim whose event is not is kept like one of a label with its own features.
        """
        ...

    async def sweep_silent(self, lease: Lease, negative_after: float, limit: int) -> Swept:
        """Claim for silence the next of the lane's queued events that nobody labelled in time.

        In the order of the queue, up to the first whose `negative_after` is not over by the time
        of all score lanes, and that no label lane may yet have a label for. Commit `Swept.next`
        as the lane's state `SWEPT` when the examples are acknowledged: a sweep begins there, and
        gives what was claimed and not committed again.
        """
        ...

    async def forget_silent(self, lease: Lease) -> None:
        """Empty the lane's queue: silence means nothing any more."""
        ...

    async def save_fields(self, fields_id: int, names: Sequence[str]) -> None:
        """Keep the feature names behind an id that pending records refer to."""
        ...

    async def load_fields(self) -> dict[int, list[str]]:
        """Give all feature names ever saved, by id."""
        ...

    async def expire(self, ttl: float) -> int:
        """Drop the generations that every active lane has passed by `ttl`; give how many.

        One with events that are yet to be swept stays.
        """
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
        changes: Mapping[str, bytes | None] = NO_CHANGES,
        needed: Sequence[str] = (),
    ) -> None:
        """Store a version; commit the lane's position and state with it, all or nothing.

        A version of that id that is there already stays as it is, unless it was refused and its
        owner says `replace`: then it is now the newest. Beyond the newest `keep`, versions are
        dropped, except those that are tagged or `needed`.
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

    async def tag_version(self, tag: str, version_id: str) -> None:
        """Let a tag name a version, and no other; raises `UnknownVersion`."""
        ...

    async def untag(self, tag: str) -> bool:
        """Take a tag away; False if there was none."""
        ...

    async def tags(self) -> dict[str, str]:
        """Give the version of each tag, by tag."""
        ...

    async def drop_versions(self, version_ids: Sequence[str]) -> list[str]:
        """Drop versions, but neither the newest nor a tagged one; give those dropped."""
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
