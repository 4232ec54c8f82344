"""Challengers as they are saved: sealed as versions are, with the evidence sealed to the states."""

from __future__ import annotations

import msgspec

from models import checkpoint
from models.checkpoint import CutReason, VersionMeta
from models.duel import Duel, Loss
from models.errors import CheckpointCorrupt
from models.gate import Evidence, Segments
from models.learner import Learner
from models.lineage import Lineage, Segment
from stream.messages import encode_json
from stream.vault import Restored, Vault

STATE = "challenger/"
"""Begins the keys of their entries in the learn lane's state."""


class _Saved(msgspec.Struct, frozen=True):
    # A challenger's state: two sealed versions (the second of the champion's copy), and the rest.
    meta: bytes
    blob: bytes
    reference_meta: bytes
    reference_blob: bytes
    record: bytes


class _Record(msgspec.Struct, frozen=True):
    name: str
    evidence: Evidence
    segments: Segments
    since: int
    reference: str | None
    loss: Loss


def save(name: str, duel: Duel, vault: Vault) -> tuple[VersionMeta, bytes]:
    """Write a challenger with its comparison; give what is known of its state, and all of it."""
    meta, blob = encode(duel.learner, duel.lineage.segments)
    reference_meta = reference_blob = b""
    if duel.reference is not None:
        facing, reference_blob = encode(duel.reference, duel.reference_lineage.segments)
        reference_meta = vault.seal(facing, reference_blob)
    record = _Record(
        name, duel.evidence, duel.segments, duel.since,
        None if duel.reference is None else duel.reference.version_id, duel.loss,
    )  # fmt: skip
    sealed = vault.seal_record(encode_json(record), blob + reference_blob)
    saved = _Saved(vault.seal(meta, blob), blob, reference_meta, reference_blob, sealed)
    return meta, msgspec.msgpack.encode(saved)


def saved_learner(name: str, data: bytes, vault: Vault) -> Restored:
    """Restore a challenger alone, for who scores with it; raises `CheckpointCorrupt`."""
    saved, record = _unseal(data, vault)
    if record.name != name:
        raise CheckpointCorrupt("is of another challenger")
    return vault.restore(checkpoint.peek(saved.meta)[0].id, saved.meta, saved.blob)


def restore(name: str, segment: Segment, data: bytes, duel: Duel, vault: Vault) -> None:
    """Bring a blank duel to where it was saved.

    Raises
    ------
    CheckpointCorrupt
        When anything does not verify, or is not of this challenger; the duel is still blank then.
    """
    saved, record = _unseal(data, vault)
    version = checkpoint.peek(saved.meta)[0].id
    meta, learner = vault.restore(version, saved.meta, saved.blob)
    if record.name != name or meta.segments[:1] != (segment,):
        raise CheckpointCorrupt("is of another challenger")
    reference: Learner | None = None
    lineage = Lineage()
    if record.reference is not None and _is_comparable(duel, record):
        facing, reference = vault.restore(
            record.reference, saved.reference_meta, saved.reference_blob
        )
        lineage = Lineage(facing.segments)
    duel.learner = learner
    if reference is not None:
        duel.face(reference, lineage)
        duel.evidence, duel.segments, duel.since = record.evidence, record.segments, record.since


def _unseal(data: bytes, vault: Vault) -> tuple[_Saved, _Record]:
    try:
        saved = msgspec.msgpack.decode(data, type=_Saved)
        body = vault.unseal_record(saved.record, saved.blob + saved.reference_blob)
        return saved, msgspec.json.decode(body, type=_Record)
    except msgspec.MsgspecError as error:
        raise CheckpointCorrupt(f"is unreadable ({error})") from error


def _is_comparable(duel: Duel, record: _Record) -> bool:
    # The configuration may have changed since.
    then, now = record.evidence, duel.evidence
    return (record.loss, then.alpha, then.margin) == (duel.loss, now.alpha, now.margin)


def encode(learner: Learner, segments: tuple[Segment, ...]) -> tuple[VersionMeta, bytes]:
    """Write a learner as a version of it is written."""
    return checkpoint.encode(
        learner,
        parent=None,
        cut_time=0.0,
        reason=CutReason.TIME,
        libraries=checkpoint.libraries(),
        segments=segments,
    )
