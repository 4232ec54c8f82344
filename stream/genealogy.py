"""Lineages: which branched from what, by whose command and why, and which was champion when.

Put together from two sources that outlive each other: the metadata of stored versions say how each
came to be, the audit says who wanted it and when it was in force.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from models.checkpoint import VersionMeta
from models.errors import UnknownVersion
from models.lineage import Exclusion, Segment, parse_id
from stream.messages import AuditRecord

FIRST_LINEAGE = 1


class Reign(msgspec.Struct, frozen=True):
    """A time in which a lineage was champion; `version` was in force when it began.

    `start` is None for the first one, which begins with the application; `end` for the last one.
    """

    lineage: int
    version: str | None
    start: float | None
    end: float | None = None


class Branch(msgspec.Struct, frozen=True, kw_only=True):
    """A lineage, the versions that are kept of it, and the lineages that branched from it.

    `audit` is None where the audit does not know who began it.
    """

    lineage: int
    base: str | None = None
    start: int = 0
    without: Exclusion = Exclusion()
    threshold: float | None = None
    audit: AuditRecord | None = None
    reigns: list[Reign] = []
    versions: list[VersionMeta] = []
    branches: list[Branch] = []


def reigns(audit: Iterable[AuditRecord]) -> list[Reign]:
    """Say which lineage was champion from when to when, the oldest first."""
    found = [Reign(FIRST_LINEAGE, None, None)]
    for record in audit:
        lineage = _lineage_of(record.version)
        if lineage is not None and lineage != found[-1].lineage:
            found[-1] = msgspec.structs.replace(found[-1], end=record.time)
            found.append(Reign(lineage, record.version, record.time))
    return found


def family(versions: Sequence[VersionMeta], audit: Sequence[AuditRecord]) -> list[Branch]:
    """Build the trees of lineages, each from its root; there is one unless something is lost.

    Examples
    --------
    >>> family([], [])[0].lineage
    1
    """
    told = {record.id: record for record in audit}
    segments: dict[int, Segment] = {}
    for meta in versions:
        segments |= {segment.lineage: segment for segment in meta.segments}
    kept: dict[int, list[VersionMeta]] = defaultdict(list)
    for meta in sorted(versions, key=lambda meta: (meta.position, meta.cut_time)):
        kept[meta.lineage].append(meta)
    ruled: dict[int, list[Reign]] = defaultdict(list)
    for reign in reigns(audit):
        ruled[reign.lineage].append(reign)

    def branch(lineage: int) -> Branch:
        one = Branch(
            lineage=lineage, reigns=ruled[lineage], versions=kept[lineage],
            branches=[branch(child) for child in sorted(children[lineage])],
        )  # fmt: skip
        segment = segments.get(lineage)
        if segment is None:
            return one
        return msgspec.structs.replace(
            one, base=segment.base, start=segment.start, without=segment.without,
            threshold=segment.threshold, audit=told.get(segment.command),
        )  # fmt: skip

    children: dict[int, set[int]] = defaultdict(set)
    for lineage, segment in segments.items():
        children[parse_id(segment.base)[0]].add(lineage)
    known = {FIRST_LINEAGE, *kept, *segments, *children}
    return [branch(lineage) for lineage in sorted(known - set(segments))]


def needed_by(versions: Iterable[VersionMeta]) -> set[str]:
    """Name the versions that others began at: what to go back to, should one turn out wrong."""
    return {segment.base for meta in versions for segment in meta.segments}


def _lineage_of(version: str | None) -> int | None:
    try:
        return None if version is None else parse_id(version)[0]
    except UnknownVersion:
        return None
