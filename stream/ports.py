"""What the handlers and lanes need from outside, as Protocols, and what they hand back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import msgspec

from models.stores.base import NO_CHANGES, KeyedChanges, Lease


class Record(Protocol):
    """A Kafka record as aiokafka gives it; `timestamp` is in milliseconds."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Message(NamedTuple):
    """A record to publish; the topic's name lacks the application's prefix."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes


class Cut(msgspec.Struct, frozen=True):
    """A version to store, with the lane's position that it was cut at; `keep` thins old ones.

    Of those `needed` are kept in any case. `replace` is set where a version of that id is stored
    and does not verify. `changes` of the lane's state are committed with it.
    """

    version_id: str
    position: int
    meta: bytes
    blob: bytes
    keep: int
    replace: bool = False
    changes: Mapping[str, bytes | None] = NO_CHANGES
    needed: tuple[str, ...] = ()


class Outcome(msgspec.Struct):
    """What a handler made of a batch: written and published by the lane in the commit order.

    `messages` are published before the commit, `announcements` after it. `changes` are keyed
    state (None deletes), `keyed` the part of it that is loaded key by key. With `durable` false
    there is nothing to write: the lane's position in the store stays where it is, and a restart
    absorbs these records again. `position` is set where the lane's state stands elsewhere than the
    lane: a learner's, at its last version. `counts` say what happened, by metric name or (name,
    reason); `label_delays` are in seconds.
    """

    messages: list[Message] = []
    announcements: list[Message] = []
    changes: dict[str, bytes | None] = {}
    keyed: KeyedChanges | None = None
    watermark: float | None = None
    cuts: list[Cut] = []
    durable: bool = True
    position: int | None = None
    counts: dict[str | tuple[str, str], int] = {}
    label_delays: list[float] = []


class Handler(Protocol):
    """A lane's deterministic part: batches in, outcomes out; knows no framework."""

    async def open(self, lease: Lease) -> int | None:
        """Load the lane's state; give the position to go on from (None: the log's start)."""
        ...

    async def absorb(self, records: Sequence[Record], position: int, now: float) -> Outcome:
        """Compute the outcome of records at and after `position`; `now` is wall time."""
        ...

    async def tick(self, position: int, now: float) -> Outcome | None:
        """Do what is due though no record came; None if nothing is."""
        ...

    def hold(self, records: Sequence[Record]) -> bool:
        """Say whether these records had better wait for other lanes to get on."""
        ...

    def final(self, now: float) -> Outcome | None:
        """Give what to commit before the lane goes to another worker; None if nothing is."""
        ...

    def close(self) -> None:
        """Forget the lane: it went to another worker."""
        ...


class Outbox(Protocol):
    """Publishes to Kafka; the one way out of a worker."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish and wait until all are acknowledged, in order for each partition."""
        ...


class Logs(Protocol):
    """Reads logs beside the lanes: topics without the application's prefix, by offset."""

    async def end(self, topic: str, partition: int) -> int | None:
        """Give the offset after the last record; None if it can't be had now."""
        ...

    async def read(
        self, topic: str, partition: int, position: int, limit: int, *, reader: str = ""
    ) -> Sequence[Record]:
        """Give records from `position` on that are here already; it does not wait for more.

        Who reads at another place at the same time is another `reader`.
        """
        ...

    async def release(self, topic: str, partition: int, *, reader: str = "") -> None:
        """Drop what was kept for reading that log."""
        ...


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...


class LogRecord(Record, Protocol):
    """A record, and the partition that it stands on."""

    partition: int


Ends: TypeAlias = Mapping[int, tuple[int, int]]
"""First offset and end offset of each partition."""


class LogReader(Protocol):
    """Reads whole topics: `stream.kafka_log.Log`, or a log in memory."""

    def ends(self, topic: str) -> dict[int, tuple[int, int]]:
        """Tell the first offset and the end offset of each partition."""
        ...

    def read(self, topic: str, ends: Ends | None = None) -> Iterator[Sequence[Any]]:
        """Read a topic, or these ranges of it, in batches of one partition."""
        ...
