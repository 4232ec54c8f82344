"""What became the champion and why, as entries of an experiment tracker: read off the audit.

Why from the audit and not from the lanes: a tracker is slow, and away at times; nobody's score may
wait for it. The audit is kept for ever, so whatever follows it can come late and begin anew. Each
entry has the id of its act, so that the tracker itself says what it has already: at least once from
us, once in the tracker.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from models.checkpoint import CutReason, VersionMeta, decode_meta
from models.errors import CheckpointCorrupt
from models.lineage import parse_id
from stream import topics
from stream.messages import AuditRecord, decode_audit
from stream.ports import LogReader

ACTS = ("promote", "rollback", "restore")
"""What changes which model serves; the policies' steps happen inside of one."""
TEXT_MAX = 1_000
"""What trackers take of a parameter is limited."""


class Figure(NamedTuple):
    """A metric at a step: a position of the examples log, or a number of compared examples."""

    name: str
    value: float
    step: int


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One act, as a tracker keeps it."""

    id: str
    name: str
    time: float
    text: str
    who: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    figures: Sequence[Figure]


class Known(NamedTuple):
    """What is known of a version now; `blob` is None where it can't be had, or need not."""

    meta: VersionMeta | None
    data: bytes = b""
    blob: bytes | None = None


class Tracker(Protocol):
    """Keeps entries."""

    def logged(self) -> Collection[str]:
        """Give the ids of the acts that it has entries of, finished ones."""
        ...

    def log(self, entry: Entry, version: Known) -> None:
        """Make an entry, or finish one that `logged` has found begun."""
        ...


class Versions(Protocol):
    """Knows versions by their ids."""

    def find(self, version: str) -> Known:
        """Say what is known of a version."""
        ...


class Promotions:
    """Follows an application's audit, and has each act logged."""

    def __init__(self, log: LogReader, app: str, tracker: Tracker, versions: Versions) -> None:
        self._log = log
        self._app = app
        self._tracker = tracker
        self._versions = versions
        self._position: int | None = None
        self._logged: set[str] = set()

    def catch_up(self) -> Iterator[Entry]:
        """Log what is not logged yet; give each entry once the tracker has it.

        After an error call it again: it goes on at the act that was not logged.
        """
        topic = topics.AUDIT.full_name(self._app)
        if self._position is None:
            self._logged = set(self._tracker.logged())
        first, end = self._log.ends(topic)[0]
        position = first if self._position is None else self._position
        if position < end:
            records = [r for batch in self._log.read(topic, {0: (position, end)}) for r in batch]
            for record in records:
                told = decode_audit(record.value or b"")
                if is_act(told) and told.id not in self._logged:
                    known = self._versions.find(told.version or "")
                    entry = entry_of(self._app, told, known.meta)
                    self._tracker.log(entry, known)
                    self._logged.add(told.id)
                    yield entry
        self._position = end


def is_act(told: AuditRecord) -> bool:
    """Say whether another model serves since then."""
    return told.what in ACTS and told.outcome == "applied" and told.version is not None


def entry_of(app: str, told: AuditRecord, meta: VersionMeta | None) -> Entry:
    """Write an act down; without `meta`, if nobody knows the version any more, what the audit says.

    `who` and `why` are people's words: they are cut, not refused.
    """
    version = told.version or ""
    lineage, position = parse_id(version)
    segment = told.segments[-1] if told.segments else None
    parameters = {
        "app": app, "act": told.what, "subject": told.subject, "who": told.who, "why": told.why,
        "version": version, "lineage": str(lineage), "position": str(position),
        "base": "" if segment is None else segment.base,
        "learns_from": "" if segment is None else str(segment.start),
    }  # fmt: skip
    tags = {"app": app, "id": told.id, "act": told.what, "version": version}
    figures: list[Figure] = []
    if meta is not None:
        parameters |= {
            "parent": meta.parent or "", "pipeline": meta.pipeline, "task": str(meta.task),
            "n_learned": str(meta.n_learned),
        }  # fmt: skip
        tags |= {
            "fingerprint": meta.fingerprint, "sha256": meta.sha256,
            "pipeline_hash": meta.pipeline_hash,
        }  # fmt: skip
        figures += _figures_of(meta)
    if told.evidence is not None:
        evidence = told.evidence
        parameters |= {"loss": evidence.loss, "alpha": f"{evidence.alpha:g}",
                       "margin": f"{evidence.margin:g}"}  # fmt: skip
        tags |= {"gate": "; ".join(evidence.objections) or "open"}
        for point in evidence.curve:
            named = {"advantage": point.mean, "low": point.low, "high": point.high,
                     "log10_e": point.log10_e}  # fmt: skip
            figures += [Figure(f"evidence/{name}", value, point.n) for name, value in named.items()]
        figures += [
            Figure("evidence/champion_loss", evidence.champion_loss, evidence.n),
            Figure("evidence/challenger_loss", evidence.challenger_loss, evidence.n),
        ]
    return Entry(
        id=told.id, name=f"{told.what} {told.subject}: {version}", time=told.time, who=told.who,
        text=f"{told.why[:TEXT_MAX]}\n\n{told.detail[:TEXT_MAX]}".strip(),
        parameters={name: value[:TEXT_MAX] for name, value in parameters.items()},
        tags={f"driftline.{name}": value[:TEXT_MAX] for name, value in tags.items()},
        figures=[each for each in figures if math.isfinite(each.value)],
    )  # fmt: skip


def _figures_of(meta: VersionMeta) -> Iterator[Figure]:
    """Read the prequential metrics at the cut."""
    for view, values in meta.metrics.items():
        if isinstance(values, Mapping):
            for name, value in values.items():
                if isinstance(value, int | float):
                    yield Figure(f"{view}/{name}", float(value), meta.position)


class CutVersions:
    """The versions that acts have cut, as the versions topic tells: it outlives retention."""

    def __init__(self, log: LogReader, app: str) -> None:
        self._log = log
        self._topic = topics.VERSIONS.full_name(app)
        self._position = 0
        self._found: dict[str, VersionMeta] = {}

    def get(self, version: str) -> VersionMeta | None:
        """Give what was told of a version when it was cut, if that is still there."""
        first, end = self._log.ends(self._topic)[0]
        start = max(first, self._position)
        if version not in self._found and start < end:
            for batch in self._log.read(self._topic, {0: (start, end)}):
                self._take(record.value or b"" for record in batch)
            self._position = end
        return self._found.get(version)

    def _take(self, values: Iterable[bytes]) -> None:
        for value in values:
            try:
                meta = decode_meta(value)
            except CheckpointCorrupt:
                continue
            if meta.reason is CutReason.COMMAND:
                self._found[meta.id] = meta
