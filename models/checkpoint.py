"""The envelope around a learner's state: what it is, and proof that it is what it says.

A version is two byte strings: `VersionMeta` as JSON, for people and for deciding without touching
the state, and the blob. Decoding trusts nothing in this order: the blob's length and SHA-256, then
the libraries that wrote it (a pickle of another River release may load and then predict
differently), then, while unpickling, every name; at last the fingerprint: the restored learner must
predict what the saved one did.

The checksum detects damage, not malice: whoever can write to the store can write both parts. The
allow-list of `models.pickling` is what limits such a writer.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Collection, Mapping
from enum import StrEnum
from importlib import metadata

import msgspec

from models.errors import CheckpointCorrupt
from models.learner import Learner
from models.prequential import PrequentialValues
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
    RECOVERY = "recovery"


class VersionMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a version without loading it. `cut_time` is in seconds since the epoch."""

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


def libraries() -> dict[str, str]:
    """Return the versions of what decides how a state behaves: River, Python, numpy, ourselves."""
    versions = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in ("river", "numpy", "driftline"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "unknown"
    return versions


def encode(
    learner: Learner,
    *,
    parent: str | None,
    libraries: Mapping[str, str],
    cut_time: float,
    reason: CutReason,
) -> tuple[VersionMeta, bytes]:
    """Cut a version: an immutable copy of the learner's state, and what proves it.

    Examples
    --------
    >>> from models.pipelines import build
    >>> learner = Learner(build("logistic", Task.BINARY, seed=7), Task.BINARY)
    >>> meta, blob = encode(
    ...     learner, parent=None, libraries=libraries(), cut_time=0.0, reason=CutReason.STOP
    ... )
    >>> meta.id, decode(meta, blob).version_id
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
    )
    return meta, blob


def encode_meta(meta: VersionMeta) -> bytes:
    """Write the metadata as JSON."""
    return msgspec.json.encode(meta)


def decode_meta(data: bytes) -> VersionMeta:
    """Read the metadata.

    Raises
    ------
    CheckpointCorrupt
        When it is not JSON, or not of this schema.
    """
    try:
        meta = msgspec.json.decode(data, type=VersionMeta)
    except msgspec.DecodeError as error:
        raise CheckpointCorrupt(
            f"the metadata of a version cannot be read ({error}); use the previous version"
        ) from error
    _verify("the metadata", "schema", meta.schema, SCHEMA, "load it with the release that wrote it")
    return meta


def decode(meta: VersionMeta, blob: bytes, *, trusted_modules: Collection[str] = ()) -> Learner:
    """Restore a learner, or refuse to.

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
    version = f"version {meta.id}"
    damaged = "it was damaged in the store or on the way; use the previous version"
    _verify(version, "schema", meta.schema, SCHEMA, "load it with the release that wrote it")
    _verify(version, "length", len(blob), meta.n_bytes, damaged)
    _verify(version, "SHA-256", hashlib.sha256(blob).hexdigest(), meta.sha256, damaged)
    running = libraries()
    for name in _MUST_BE_EQUAL:
        _verify(
            version,
            f"{name} release",
            running[name],
            meta.libraries.get(name, "unknown"),
            f"run the {name} release that wrote it, or rebuild the version from the examples log",
        )
    learner = Learner.load(blob, trusted_modules)
    rebuild = "rebuild the version from the examples log"
    _verify(version, "id", learner.version_id, meta.id, rebuild)
    _verify(version, "task", learner.task, meta.task, rebuild)
    _verify(version, "pipeline hash", learner.pipeline_hash, meta.pipeline_hash, rebuild)
    _verify(version, "fingerprint", learner.fingerprint(), meta.fingerprint, rebuild)
    return learner


def _verify(version: str, what: str, found: object, expected: object, advice: str) -> None:
    if found != expected:
        raise CheckpointCorrupt(f"{version}: {what} is {found}, not {expected}: {advice}")
