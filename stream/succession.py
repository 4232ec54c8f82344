"""Which champions came one after another, and what bringing a version back says about them.

Two commands make a stored version the champion, and they say different things. A rollback says that
what serves is bad: it goes back to a state that the champion, or one before it, has been in, and
gives up what came after. A restore brings back what is not of that line: what a rollback gave up,
so it undoes one. What served until then stays an earlier champion, to which a rollback goes back.
So each version is the business of one of the two, and the audit tells a verdict from a correction.

Why the line is kept beside the lineage: a lineage says what a state was folded from, and a promoted
challenger was not folded from the champion that it took over from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from models.lineage import Exclusion, Segment, parse_id
from stream.messages import AuditRecord

UNTRAINED = "v1-0"
"""Where every line begins; it need not be stored."""
VERSIONS_NAMED = 6


class Rollback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Make an earlier state the champion, as it was or with the examples since then."""

    version: str
    replay: bool = False
    without: Exclusion = Exclusion()


class Restore(Rollback, frozen=True, forbid_unknown_fields=True):
    """The same with a version that is not of the champion's line: given up, and wanted again."""


class Succession(msgspec.Struct, frozen=True):
    """The line of champions: `ends` are those before `lineage`, each as it was when it ended."""

    lineage: int
    ends: tuple[str, ...] = ()

    @classmethod
    def of(cls, lineage: int, segments: Sequence[Segment]) -> Succession:
        """Give what a lineage alone tells: the states that it was folded from."""
        return cls(lineage, tuple(segment.base for segment in segments))

    def holds(self, version: str) -> bool:
        """Say whether a champion of this line was once in that state."""
        is_present = parse_id(version)[0] == self.lineage
        return is_present or version == UNTRAINED or _place(version, self.ends) is not None

    def after(self, told: AuditRecord) -> Succession:
        """Give the line after what the audit tells."""
        if told.outcome != "applied" or told.version is None or told.segments is None:
            return self
        lineage, position = parse_id(told.version)
        if lineage == self.lineage:
            return self
        ends = (*self.ends, f"v{self.lineage}-{position}")
        bases = tuple(segment.base for segment in told.segments)
        if told.what == "rollback":
            # What is on no line is the untrained learner: nothing was before that.
            ends = (*ends[: _place(bases[-1], ends) or 0], bases[-1])
        elif told.what == "restore":
            # With those that it came from: they are on the line again.
            ends += bases
        return Succession(lineage, ends)

    def misplaced(self, asked: Rollback, stored: Sequence[str]) -> str | None:
        """Say why a stored version is the other command's business; None if it is not."""
        version = asked.version
        is_on_line = self.holds(version)
        if version not in stored or is_on_line is not isinstance(asked, Restore):
            return None
        if is_on_line:
            others = [each for each in stored if not self.holds(each)]
            return (
                f"{version} is a state that the champion, or one before it, was in: `driftline "
                f"rollback {version}` goes back to it. What can be restored: {_named(others)}"
            )
        others = [each for each in stored if self.holds(each)]
        return (
            f"{version} is not of the champion's line: it was given up, or never served. "
            f"`driftline restore {version}` brings it back. What can be rolled back to: "
            f"{_named(others)}"
        )


def _place(version: str, ends: Sequence[str]) -> int | None:
    # Of the champions that were in that state the latest.
    lineage, position = parse_id(version)
    for place in reversed(range(len(ends))):
        other, end = parse_id(ends[place])
        if other == lineage and position <= end:
            return place
    return None


def _named(versions: Sequence[str]) -> str:
    shown = ", ".join(versions[:VERSIONS_NAMED]) or "none"
    rest = len(versions) - VERSIONS_NAMED
    return f"{shown} and {rest:,} more" if rest > 0 else shown


decode_succession: Callable[[bytes], Succession] = msgspec.json.Decoder(Succession).decode
