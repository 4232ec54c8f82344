"""Seal a version: prove that its metadata and its state are those that we wrote, together.

What is stored as the metadata is an envelope, itself JSON:

    {"key": "2026-11", "seal": "<64 hex digits>", "meta": {...}}

The seal is the HMAC-SHA256, by the key that `key` names, of that name, the bytes of `meta` as they
stand there, and the state. Why an envelope around bytes, and not one more field among the metadata:
nothing has to be brought into a canonical form before it can be checked, so nothing is interpreted
that is not yet proven. An envelope that is not written exactly as we would write it is refused: no
bit of it is free.

With no key to sign with, `key` is null and the seal is a plain SHA-256 of the same bytes. That
finds damage, not malice: whoever can write to the store can compute it too.

What no seal prevents: whoever can write to the store can delete versions, or put an old one, well
signed, back in front.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import struct
from collections.abc import Mapping

import msgspec

from models.errors import CheckpointCorrupt, Refusal

SECRET_LENGTH_MIN = 32
_CONTEXT = b"driftline version 1\n"
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class KeyRing:
    """Keys by their ids: the first signs, all are accepted.

    Examples
    --------
    >>> ring = KeyRing.parse("2026-11:" + 32 * "x" + " 2025-03:" + 32 * "y")
    >>> ring
    KeyRing(signs: 2026-11, accepts: 2026-11, 2025-03)
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        assert keys, "a ring without keys is None"
        self._keys = dict(keys)
        self.signing_id = next(iter(self._keys))

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, the signing one first."""
        return tuple(self._keys)

    @classmethod
    def parse(cls, text: str) -> KeyRing:
        """Read `ID:SECRET` entries, separated by white space; the first is the one that signs.

        Raises
        ------
        ValueError
            If there is none, or one is no good; the message never holds a secret.
        """
        keys: dict[str, bytes] = {}
        for n, entry in enumerate(text.split(), 1):
            key_id, colon, secret = entry.partition(":")
            if not colon or not _KEY_ID.fullmatch(key_id):
                raise ValueError(f"key {n} is not ID:SECRET (ID: letters, digits, '.', '_', '-')")
            if len(secret) < SECRET_LENGTH_MIN:
                raise ValueError(
                    f"the secret of key {key_id} is shorter than {SECRET_LENGTH_MIN} characters: "
                    "make one with `openssl rand -hex 32`"
                )
            if key_id in keys:
                raise ValueError(f"there are two keys of the id {key_id}")
            keys[key_id] = secret.encode()
        if not keys:
            raise ValueError("there is no key in it: leave it unset to leave versions unsigned")
        return cls(keys)

    def __contains__(self, key_id: str) -> bool:
        """Whether there is a key of this id."""
        return key_id in self._keys

    def __repr__(self) -> str:
        return f"KeyRing(signs: {self.signing_id}, accepts: {', '.join(self.ids)})"

    def mac(self, key_id: str, message: bytes) -> str:
        """Compute the HMAC-SHA256 of a message by one of the keys."""
        return hmac.new(self._keys[key_id], message, hashlib.sha256).hexdigest()


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The metadata as it is stored: `meta` is JSON as it was written, not yet read."""

    key: str | None
    seal: str
    meta: msgspec.Raw


def seal(meta: bytes, blob: bytes, keys: KeyRing | None) -> bytes:
    """Put metadata into an envelope, sealed together with the state that it belongs to.

    Examples
    --------
    >>> ring = KeyRing.parse("k1:" + 32 * "x")
    >>> unseal(seal(b'{"id":"v1-7"}', b"state", ring), b"state", ring)
    (b'{"id":"v1-7"}', 'k1')
    """
    key_id = None if keys is None else keys.signing_id
    return msgspec.json.encode(Envelope(key_id, _seal(key_id, meta, blob, keys), msgspec.Raw(meta)))


def unseal(data: bytes, blob: bytes, keys: KeyRing | None) -> tuple[bytes, str | None]:
    """Check the seal; give the metadata, and the id of the key that it was signed by.

    Without keys a signed version is taken as it is: there is nothing to check its seal with.

    Raises
    ------
    CheckpointCorrupt
        With keys: when the version is not signed, or not by one of them. Always: when what is
        there is not what was sealed.
    """
    envelope = open_envelope(data)
    key_id = envelope.key
    if keys is None and key_id is not None:
        return bytes(envelope.meta), key_id
    if keys is not None and key_id is None:
        raise CheckpointCorrupt(
            "is not signed, and versions.keys says that it must be: whoever can write to Redis may "
            "have put it there",
            Refusal.UNSIGNED,
        )
    if keys is not None and key_id is not None and key_id not in keys:
        raise CheckpointCorrupt(
            f"is signed by the key {key_id!r}, and versions.keys has {', '.join(keys.ids)}: add "
            "that key if it was yours",
            Refusal.UNKNOWN_KEY,
        )
    expected = _seal(key_id, bytes(envelope.meta), blob, keys)
    if not hmac.compare_digest(expected.encode(), envelope.seal.encode()):
        if keys is None:
            raise CheckpointCorrupt("is not what was sealed: it was damaged", Refusal.DAMAGED)
        raise CheckpointCorrupt(
            f"is not what the key {key_id!r} signed: it was changed or damaged",
            Refusal.WRONG_SIGNATURE,
        )
    return bytes(envelope.meta), key_id


def open_envelope(data: bytes) -> Envelope:
    """Read an envelope, without checking its seal.

    Raises
    ------
    CheckpointCorrupt
        When it is none, or not written as we would write it.
    """
    try:
        envelope = msgspec.json.decode(data, type=Envelope)
        is_ours = msgspec.json.encode(envelope) == data
    except (ValueError, RecursionError) as error:
        # Not only DecodeError: a name that is no UTF-8 is a UnicodeDecodeError.
        raise CheckpointCorrupt(f"has unreadable metadata ({error})", Refusal.DAMAGED) from error
    if not is_ours:
        raise CheckpointCorrupt("has an envelope that we did not write", Refusal.DAMAGED)
    return envelope


def _seal(key_id: str | None, meta: bytes, blob: bytes, keys: KeyRing | None) -> str:
    # Lengths first: bytes moved from one part to the next would be another message.
    name = (key_id or "").encode()
    lengths = struct.pack("<QQQ", len(name), len(meta), len(blob))
    message = b"".join((_CONTEXT, lengths, name, meta, blob))
    if key_id is None or keys is None:
        return hashlib.sha256(message).hexdigest()
    return keys.mac(key_id, message)
