"""What commands are decided with: the champion, what comes of a command, and why one is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

import msgspec

from models.learner import Learner
from models.lineage import Lineage
from stream.messages import AuditRecord, Command, GateEvidence

FreeLineage: TypeAlias = Callable[[], Awaitable[int]]
A = TypeVar("A", bound=msgspec.Struct)


class Refused(Exception):
    """A command that can't be done; the message says why, and what could be."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Champion(NamedTuple):
    """What commands are about: the live learner, how it came to be, and its last version."""

    learner: Learner
    lineage: Lineage
    version: str | None
    frozen: bool


class Ruling(NamedTuple):
    """What became of a command: state to commit, and the audit's record.

    With `cut`, a version of that champion has to be cut in the same write; its `version` is then
    the parent. It is in force only after that.
    """

    audit: AuditRecord
    changes: dict[str, bytes | None]
    cut: Champion | None
    frozen: bool
    then: Callable[[], None] = lambda: None


class Effect(NamedTuple):
    """What a command leads to that is decided elsewhere.

    `changes` of the lane's state are committed with its outcome; `then` is called after that.
    """

    detail: str
    changes: Mapping[str, bytes | None]
    then: Callable[[], None]
    cut: Champion | None = None
    evidence: GateEvidence | None = None


class Decider(Protocol):
    """Decides commands of a subject of its own."""

    @property
    def names(self) -> tuple[str, ...]:
        """The commands that it knows."""
        ...

    @property
    def lineages(self) -> Sequence[int]:
        """Numbers of lineages that are taken."""
        ...

    async def decide(
        self, command: Command, champion: Champion, free: FreeLineage, limit: int, now: float
    ) -> Effect | None:
        """Decide a command, or work towards it and give None: then it is asked again.

        `free` gives the number of a lineage that is free for use. Raises `Refused`.
        """
        ...

    async def propose(
        self, champion: Champion, free: FreeLineage, now: float
    ) -> tuple[AuditRecord, Effect] | None:
        """Decide something that nobody has commanded; None if nothing is to be done."""
        ...


def arguments_of(command: Command, kind: type[A]) -> A:
    """Read what a command was given; raises `Refused`."""
    try:
        return msgspec.convert(command.arguments, kind)
    except msgspec.ValidationError as error:
        raise Refused("bad_arguments", f"{command.command}: {error}") from None
