"""The seal: no bit of a stored version is free, and no state is unpickled before it is right."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import (
    CheckpointCorrupt,
    CutReason,
    KeyRing,
    Learner,
    Refusal,
    Task,
    VersionMeta,
    encode,
    libraries,
    restore,
    seal,
    sealing,
    unseal,
)
from models.sealing import Envelope
from tests.example_logs import absorb_in, make_log, new_learner

OLD, NEW = "2025-03:" + 32 * "o", "2026-11:" + 32 * "n"
RING = KeyRing.parse(NEW)


def a_version() -> tuple[VersionMeta, bytes]:
    learner = new_learner("logistic", Task.BINARY)
    absorb_in(learner, make_log("logistic", Task.BINARY, 20), range(20), [20])
    return encode(learner, parent=None, libraries=libraries(), cut_time=1.5, reason=CutReason.COUNT)


META, BLOB = a_version()
SIGNED, UNSIGNED = seal(META, BLOB, RING), seal(META, BLOB)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def refusal_of(data: bytes, blob: bytes, keys: KeyRing | None) -> CheckpointCorrupt:
    with pytest.raises(CheckpointCorrupt) as refusal:
        restore(data, blob, keys, version_id=META.id)
    return refusal.value


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if a state is unpickled."""
    monkeypatch.setattr(Learner, "load", lambda *_: pytest.fail("unpickled"))


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("data", "keys"), [(SIGNED, RING), (UNSIGNED, None)])
def test_every_flipped_bit_of_the_metadata_is_refused(data: bytes, keys: KeyRing | None) -> None:
    """All of them: of the envelope, the key's name, the seal and the content."""
    for bit in range(8 * len(data)):
        refusal_of(flipped(data, bit), BLOB, keys)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("data", "keys", "reason"),
    [(SIGNED, RING, Refusal.WRONG_SIGNATURE), (UNSIGNED, None, Refusal.DAMAGED)],
)
def test_every_flipped_byte_of_the_state_is_refused(
    data: bytes, keys: KeyRing | None, reason: Refusal
) -> None:
    """One bit of each byte, a different one each."""
    for place in range(len(BLOB)):
        assert refusal_of(data, flipped(BLOB, 8 * place + place % 8), keys).reason is reason


@settings(max_examples=300, deadline=None)
@given(
    cut=st.integers(0, len(SIGNED) + len(BLOB) - 1),
    moved=st.integers(-20, 20),
    junk=st.binary(max_size=20),
)
def test_torn_moved_and_padded_versions_are_refused(cut: int, moved: int, junk: bytes) -> None:
    """What a crash, a bad copy or a clumsy tool leaves behind."""
    everything = SIGNED + BLOB
    torn = everything[:cut]
    refusal_of(torn[: len(SIGNED)], torn[len(SIGNED) :], RING)
    if moved:
        at = len(SIGNED) + moved
        refusal_of(everything[:at], everything[at:], RING)
    if junk:
        refusal_of(SIGNED + junk, BLOB, RING)
        refusal_of(SIGNED, BLOB + junk, RING)
        refusal_of(junk, BLOB, RING)


def test_what_was_sealed_is_restored() -> None:
    """With the key, with nothing to check by, and unsigned where no key is asked for."""
    for data, keys in ((SIGNED, RING), (SIGNED, None), (UNSIGNED, None)):
        meta, learner = restore(data, BLOB, keys, version_id=META.id)
        assert meta == META
        assert learner.fingerprint() == META.fingerprint


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("data", "keys", "reason", "says"),
    [
        (UNSIGNED, RING, Refusal.UNSIGNED, "is not signed"),
        (SIGNED, KeyRing.parse(OLD), Refusal.UNKNOWN_KEY, "'2026-11', and versions.keys has 2025"),
        (
            SIGNED,
            KeyRing.parse(NEW.upper().lower().replace("n", "m")),
            Refusal.WRONG_SIGNATURE,
            "not what the key '2026-11' signed",
        ),
    ],
)
def test_a_wrong_or_missing_signature_is_refused_by_name(
    data: bytes, keys: KeyRing, reason: Refusal, says: str
) -> None:
    """Before anything is unpickled; the message names the version and the way back."""
    refusal = refusal_of(data, BLOB, keys)
    assert refusal.reason is reason
    assert says in str(refusal)
    assert f"driftline replay --version {META.id} --store" in str(refusal)


def test_keys_are_rotated_without_a_gap() -> None:
    """Old versions load while their key is accepted, new ones are signed by the first key."""
    by_old = seal(META, BLOB, KeyRing.parse(OLD))
    accepts_both = KeyRing.parse(f"{OLD}\n{NEW}")
    rotated = KeyRing.parse(f"{NEW}\n{OLD}\n")
    by_new = seal(META, BLOB, rotated)
    for ring in (accepts_both, rotated):
        assert unseal(by_old, BLOB, ring) == (META, "2025-03")
        assert unseal(by_new, BLOB, ring) == (META, "2026-11")
    assert refusal_of(by_old, BLOB, RING).reason is Refusal.UNKNOWN_KEY
    assert unseal(by_new, BLOB, RING) == (META, "2026-11")


def test_a_signature_is_not_taken_for_that_of_another_key() -> None:
    """Nor is the id of the key free to be exchanged."""
    envelope = msgspec.json.decode(SIGNED, type=Envelope)
    renamed = msgspec.json.encode(msgspec.structs.replace(envelope, key="2025-03"))
    refusal = refusal_of(renamed, BLOB, KeyRing.parse("2025-03:" + 32 * "n"))
    assert refusal.reason is Refusal.WRONG_SIGNATURE


@pytest.mark.parametrize("ring", [RING, None])
def test_bytes_do_not_move_between_the_parts(ring: KeyRing | None) -> None:
    """The state's first byte is not the metadata's last, though their sum is the same bytes."""
    envelope = msgspec.json.decode(sealing.seal(b"12", b"3", ring), type=Envelope)
    moved = msgspec.json.encode(msgspec.structs.replace(envelope, meta=msgspec.Raw(b"123")))
    with pytest.raises(CheckpointCorrupt):
        sealing.unseal(moved, b"", ring)


@pytest.mark.usefixtures("untouched")
def test_another_version_in_its_place_is_refused_however_well_signed() -> None:
    """Else an old version could be passed off as the newest."""
    with pytest.raises(CheckpointCorrupt, match=f"version v1-99 holds version {META.id}") as error:
        restore(SIGNED, BLOB, RING, version_id="v1-99")
    assert error.value.reason is Refusal.MISMATCH


class Runs:
    """A pickle that runs a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def commanding(file: Path) -> tuple[VersionMeta, bytes]:
    """Forge a version whose state makes a file when it is unpickled, all checksums right."""
    blob = pickle.dumps({"schema": 1, "learner": Runs(f"touch {file}")})
    digest = hashlib.sha256(blob).hexdigest()
    return msgspec.structs.replace(META, sha256=digest, n_bytes=len(blob)), blob


@pytest.mark.parametrize(
    ("signed_by", "checked_by", "reason"),
    [
        (None, RING, Refusal.UNSIGNED),
        (KeyRing.parse("2026-11:" + 32 * "x"), RING, Refusal.WRONG_SIGNATURE),
        (None, None, Refusal.FORBIDDEN),
        (RING, RING, Refusal.FORBIDDEN),
    ],
)
def test_a_pickle_that_would_run_a_command_runs_nothing(
    tmp_path: Path, signed_by: KeyRing | None, checked_by: KeyRing | None, reason: Refusal
) -> None:
    """The signature stops it, and the list of names even where that is right."""
    file = tmp_path / "was-here"
    meta, blob = commanding(file)
    assert refusal_of(seal(meta, blob, signed_by), blob, checked_by).reason is reason
    assert not file.exists()
    pickle.loads(blob)
    assert file.exists(), "the pickle has to be one that works"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no key"),
        ("  \n", "no key"),
        (32 * "s", "key 1 is not ID:SECRET"),
        (NEW + " a/b:" + 32 * "s", "key 2 is not ID:SECRET"),
        (":" + 32 * "s", "key 1 is not"),
        ("k:" + 31 * "s", "shorter than 32"),
        (NEW + " " + NEW, "two keys of the id 2026-11"),
    ],
)
def test_keys_that_are_no_good_are_named_without_their_secrets(text: str, says: str) -> None:
    """Errors end up in logs."""
    with pytest.raises(ValueError, match=says) as error:
        KeyRing.parse(text)
    assert 31 * "s" not in str(error.value)
    assert 32 * "n" not in str(error.value)


def test_a_ring_does_not_print_its_secrets() -> None:
    """Nor do logs."""
    ring = KeyRing.parse(f"{NEW} {OLD}")
    assert repr(ring) == str(ring) == "KeyRing(signs: 2026-11, accepts: 2026-11, 2025-03)"
