"""A version of a learner: its state, what is known of it, and proof that it is what it says.

A version is two byte strings: `VersionMeta` as JSON in a sealed envelope (`models.sealing`), for
people and for deciding without touching the state, and the blob. Reading trusts nothing, in this
order: the seal, by which whoever can write to the store is told from us; the blob's length and
SHA-256; the libraries that wrote it (a pickle of another River release may load and then predict
differently); then, while unpickling, every name; at last the fingerprint: the restored learner must
predict what the saved one did.

Without a key the seal detects damage, not malice, and the allow-list of `models.pickling` is what
limits a writer who means harm.
"""

from __future__ import annotations

import functools
import hashlib
import platform
from collections.abc import Collection, Mapping
from enum import StrEnum
from importlib import metadata
from types import MappingProxyType

import msgspec

from models import sealing
from models.errors import CheckpointCorrupt, Refusal
from models.learner import Learner
from models.lineage import Segment
from models.prequential import PrequentialValues
from models.sealing import KeyRing
from models.types import Task

SCHEMA = 1
# These decide whether a state means the same; the others are for the record. River moves and
# changes classes in minor releases, Python changes how floats are summed.
_MUST_BE_EQUAL = ("river", "python")


class CutReason(StrEnum):
    """Why a version was cut."""

    COUNT = "count"
    TIME = "time"
    STOP = "stop"
    REBUILT = "rebuilt"
    COMMAND = "command"


class VersionMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a version without loading it. `cut_time` is in seconds since the epoch.

    `segments` say how it came to be, where that was not one fold from the log's start.
    """

    schema: int = SCHEMA
    id: str
    lineage: int
    position: int
    parent: str | None
    cut_time: float
    reason: CutReason
    n_learned: int
    metrics: PrequentialValues
    fingerprint: str
    pipeline: str
    pipeline_hash: str
    task: Task
    libraries: dict[str, str]
    sha256: str
    n_bytes: int
    segments: tuple[Segment, ...] = ()


@functools.cache  # Each look reads a file of each.
def libraries() -> Mapping[str, str]:
    """Return the versions of what decides how a state behaves: River, Python, numpy, ourselves."""
    versions = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in ("river", "numpy", "driftline"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "unknown"
    return MappingProxyType(versions)


def encode(
    learner: Learner,
    *,
    parent: str | None,
    libraries: Mapping[str, str],
    cut_time: float,
    reason: CutReason,
    segments: tuple[Segment, ...] = (),
) -> tuple[VersionMeta, bytes]:
    """Cut a version: an immutable copy of the learner's state, and what proves it.

    Examples
    --------
    >>> from models.pipelines import build
    >>> learner = Learner(build("logistic", Task.BINARY, seed=7), Task.BINARY)
    >>> meta, blob = encode(
    ...     learner, parent=None, libraries=libraries(), cut_time=0.0, reason=CutReason.STOP
    ... )
    >>> data = seal(meta, blob)
    >>> meta.id, restore(data, blob)[1].version_id
    ('v1-0', 'v1-0')
    """
    blob = learner.dump()
    meta = VersionMeta(
        id=learner.version_id,
        lineage=learner.lineage,
        position=learner.position,
        parent=parent,
        cut_time=cut_time,
        reason=reason,
        n_learned=learner.n_learned,
        metrics=learner.metrics(),
        fingerprint=learner.fingerprint(),
        pipeline=learner.pipeline,
        pipeline_hash=learner.pipeline_hash,
        task=learner.task,
        libraries=dict(libraries),
        sha256=hashlib.sha256(blob).hexdigest(),
        n_bytes=len(blob),
        segments=segments,
    )
    return meta, blob


def seal(meta: VersionMeta, blob: bytes, keys: KeyRing | None = None) -> bytes:
    """Write the metadata as it is stored: JSON in an envelope, sealed together with the blob."""
    return sealing.seal(msgspec.json.encode(meta), blob, keys)


def unseal(
    data: bytes, blob: bytes, keys: KeyRing | None = None, *, version_id: str | None = None
) -> tuple[VersionMeta, str | None]:
    """Check the seal, then read the metadata; give it, and the id of the key that signed.

    `version_id` is what the version was asked for by: another one in its place is refused, however
    well it is signed.

    Raises
    ------
    CheckpointCorrupt
        When the version is not what was sealed, not signed though there are keys, or another one.
    """
    try:
        body, key_id = sealing.unseal(data, blob, keys)
        meta = decode_meta(body)
        if version_id is not None and meta.id != version_id:
            raise CheckpointCorrupt(f"holds version {meta.id}", Refusal.MISMATCH)
    except CheckpointCorrupt as error:
        raise refusal(version_id, str(error), error.reason) from error
    return meta, key_id


def peek(data: bytes) -> tuple[VersionMeta, str | None]:
    """Read stored metadata and the id of its key without any proof: to be shown, not believed.

    Raises
    ------
    CheckpointCorrupt
        When it can't be read.
    """
    envelope = sealing.open_envelope(data)
    return decode_meta(bytes(envelope.meta)), envelope.key


def decode_meta(data: bytes) -> VersionMeta:
    """Read the metadata.

    Raises
    ------
    CheckpointCorrupt
        When it is not JSON, or not of this schema.
    """
    try:
        meta = msgspec.json.decode(data, type=VersionMeta)
    except (ValueError, RecursionError) as error:
        raise CheckpointCorrupt(f"has unreadable metadata ({error})") from error
    if meta.schema != SCHEMA:
        raise CheckpointCorrupt(
            f"has metadata of schema {meta.schema}, not {SCHEMA}: load it with the release that "
            "wrote it"
        )
    return meta


def restore(
    data: bytes,
    blob: bytes,
    keys: KeyRing | None = None,
    *,
    version_id: str | None = None,
    trusted_modules: Collection[str] = (),
) -> tuple[VersionMeta, Learner]:
    """Restore a learner from what is stored, or refuse to: `unseal`, then `decode`.

    Raises
    ------
    CheckpointCorrupt
        At the first thing that does not verify.
    """
    meta, _ = unseal(data, blob, keys, version_id=version_id)
    return meta, decode(meta, blob, trusted_modules=trusted_modules)


def check_blob(meta: VersionMeta, blob: bytes) -> None:
    """Compare all that can be compared without unpickling: length, SHA-256, libraries.

    Raises
    ------
    CheckpointCorrupt
        At the first difference.
    """
    _verify(meta, "length", len(blob), meta.n_bytes, Refusal.DAMAGED)
    _verify(meta, "SHA-256", hashlib.sha256(blob).hexdigest(), meta.sha256, Refusal.DAMAGED)
    running = libraries()
    for name in _MUST_BE_EQUAL:
        wrote = meta.libraries.get(name, "unknown")
        if running[name] != wrote:
            raise refusal(
                meta.id,
                f"was written by {name} {wrote} and this is {name} {running[name]}, which may not "
                f"read it, or predict differently: run {name} {wrote}",
                Refusal.LIBRARIES,
            )


def decode(meta: VersionMeta, blob: bytes, *, trusted_modules: Collection[str] = ()) -> Learner:
    """Restore a learner from a version whose seal was checked, or refuse to.

    1. Compare length and SHA-256.
    2. Compare the libraries with those that are running.
    3. Unpickle, by allow-list.
    4. Compare what was restored with the metadata, the fingerprint last.

    `trusted_modules` are those of the configured pipeline: `models.pipelines.trusted_modules`.

    Raises
    ------
    CheckpointCorrupt
        At the first difference; the message says which and what to do.
    """
    check_blob(meta, blob)
    try:
        learner = Learner.load(blob, trusted_modules)
        found = {
            "id": learner.version_id,
            "task": learner.task,
            "pipeline hash": learner.pipeline_hash,
            "fingerprint": learner.fingerprint(),
        }
    except CheckpointCorrupt as error:
        raise refusal(meta.id, str(error), error.reason) from error
    except Exception as error:
        # What unpickles by allow-list may still be anything but a learner that works.
        what = f"restores to no learner ({type(error).__name__}: {error})"
        raise refusal(meta.id, what, Refusal.MISMATCH) from error
    expected = (meta.id, meta.task, meta.pipeline_hash, meta.fingerprint)
    for (what, is_), ought in zip(found.items(), expected, strict=True):
        _verify(meta, what, is_, ought, Refusal.MISMATCH)
    return learner


def _verify(meta: VersionMeta, what: str, found: object, expected: object, reason: Refusal) -> None:
    if found != expected:
        raise refusal(meta.id, f"has the {what} {found}, not {expected}", reason)


def refusal(version_id: str | None, what: str, reason: Refusal) -> CheckpointCorrupt:
    """Make the error that says what a version is or has, and how to have it again."""
    if version_id is None:
        return CheckpointCorrupt(f"this version {what}", reason)
    return CheckpointCorrupt(
        f"version {version_id} {what}; rebuild it from the examples log with "
        f"`driftline replay --version {version_id} --store`",
        reason,
    )
