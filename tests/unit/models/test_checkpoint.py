"""The envelope: what verifies is the learner that was saved, and what does not is refused."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from models import (
    CheckpointCorrupt,
    CutReason,
    Learner,
    Refusal,
    Task,
    UnknownVersion,
    VersionMeta,
    checkpoint,
    decode,
    decode_meta,
    encode,
    libraries,
    parse_id,
    peek,
    pickling,
    restore,
    seal,
    unseal,
)
from models.compiled.twins import river_twin
from tests.example_logs import PIPELINES, absorb_in, everything, make_log, new_learner

N = 200


def learned(name: str, task: Task) -> Learner:
    """Return a learner of the first half of a log."""
    learner = new_learner(name, task)
    absorb_in(learner, make_log(name, task, N)[: N // 2], range(N // 2), [30])
    return learner


def cut(learner: Learner) -> tuple[VersionMeta, bytes]:
    """Cut a version."""
    return encode(
        learner, parent="v1-7", libraries=libraries(), cut_time=12.5, reason=CutReason.COUNT
    )


@pytest.mark.parametrize(("name", "task"), PIPELINES)
def test_a_version_is_the_learner_and_goes_on_like_it(name: str, task: Task) -> None:
    """Through bytes and back, metadata included, then over the rest of the log."""
    learner = learned(name, task)
    meta, blob = cut(learner)
    _, restored = restore(seal(meta, blob), blob)
    rest = make_log(name, task, N)[N // 2 :]
    for each in (learner, restored):
        absorb_in(each, rest, range(N // 2, N), [17])
    assert everything(restored) == everything(learner)


def test_the_metadata_says_what_the_version_is() -> None:
    """For people and for retention, without loading the state."""
    learner = learned("logistic", Task.BINARY)
    meta, blob = cut(learner)
    assert (meta.id, meta.parent, meta.position) == ("v1-100", "v1-7", 100)
    assert (meta.reason, meta.cut_time, meta.n_bytes) == (CutReason.COUNT, 12.5, len(blob))
    assert meta.metrics == learner.metrics()
    assert unseal(seal(meta, blob), blob) == peek(seal(meta, blob)) == (meta, None)
    assert parse_id(meta.id) == (meta.lineage, meta.position)


def test_saving_disturbs_nothing() -> None:
    """A run that cuts versions is the run that does not."""
    log = make_log("adaptive-random-forest", Task.BINARY, N)
    quiet, saved = (new_learner("adaptive-random-forest", Task.BINARY) for _ in range(2))
    for start in range(0, N, 20):
        for learner in (quiet, saved):
            learner.absorb(log[start : start + 20], range(start, start + 20))
        cut(saved)
    assert everything(saved) == everything(quiet)


def resealed(meta: VersionMeta, blob: bytes) -> VersionMeta:
    """Make length and checksum fit, as a clumsy tool would."""
    digest = hashlib.sha256(blob).hexdigest()
    return msgspec.structs.replace(meta, sha256=digest, n_bytes=len(blob))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema": 2}, "schema 2, not 1"),
        ({"n_bytes": 3}, "length"),
        ({"sha256": "0" * 64}, "SHA-256"),
        ({"libraries": {"river": "0.25.0", "python": "3.11"}}, "by river 0.25.0 and this is river"),
        ({"libraries": {}}, "by river unknown"),
        ({"id": "v1-101"}, "the id v1-100, not v1-101"),
        ({"task": Task.ANOMALY}, "task"),
        ({"pipeline_hash": "f" * 16}, "pipeline hash"),
        ({"fingerprint": "f" * 16}, "fingerprint"),
    ],
)
def test_a_version_that_is_not_what_it_says_is_refused(changes: dict[str, Any], says: str) -> None:
    """The message names the difference, both sides, and a way out."""
    meta, blob = cut(learned("logistic", Task.BINARY))
    changed = msgspec.structs.replace(meta, **changes)
    with pytest.raises(CheckpointCorrupt, match=says) as refusal:
        restore(seal(changed, blob), blob, version_id=changed.id)
    assert f"`driftline replay --version {changed.id} --store`" in str(refusal.value)


def test_nothing_is_unpickled_before_checksum_and_libraries_agree(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A state of another River may run other code; a damaged one may run any."""
    meta, blob = cut(learned("logistic", Task.BINARY))
    monkeypatch.setattr(Learner, "load", pytest.fail)
    for changed, data in (
        (meta, blob[:-1] + b"x"),
        (msgspec.structs.replace(meta, libraries={"river": "0.25.0"}), blob),
    ):
        with pytest.raises(CheckpointCorrupt):
            decode(changed, data)


def test_a_state_that_is_no_learner_is_corrupt() -> None:
    """Whatever it raises when it is asked to predict: never another error."""
    meta, _ = cut(learned("logistic", Task.BINARY))
    for content in ({"schema": 1}, {"schema": 1, "learner": {}}, {"schema": 1, "learner": [1]}):
        blob = pickling.dumps(content)
        with pytest.raises(CheckpointCorrupt, match="restores to no learner") as refusal:
            decode(resealed(meta, blob), blob)
        assert refusal.value.reason is Refusal.MISMATCH


def test_a_model_that_predicts_differently_is_found_by_its_fingerprint() -> None:
    """Even when everything else was resealed around it."""
    meta, _ = cut(learned("logistic", Task.BINARY))
    other = learned("logistic", Task.BINARY)
    changed = river_twin(other._model.estimator)
    changed["LogisticRegression"].intercept += 1e-9
    other._model.estimator = changed
    blob = other.dump()
    with pytest.raises(CheckpointCorrupt, match="fingerprint"):
        decode(resealed(meta, blob), blob)


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b'{"schema": "1"}', b'{"a":' * 100_000])
def test_unreadable_metadata_is_corrupt(data: bytes) -> None:
    """Never another error."""
    for read in (decode_meta, peek, lambda stored: restore(stored, b"")):
        with pytest.raises(CheckpointCorrupt, match="unreadable metadata"):
            read(data)


@pytest.mark.parametrize("text", ["", "latest", "v1", "v1-", "v-1-2", "v1-2\n", "v1-1e3"])
def test_what_is_no_version_has_no_position(text: str) -> None:
    """Before anything is replayed."""
    with pytest.raises(UnknownVersion, match="v1-45312"):
        parse_id(text)


def test_the_libraries_are_named() -> None:
    """Those that decide are there, with real releases."""
    found = libraries()
    assert set(checkpoint._MUST_BE_EQUAL) <= set(found)
    assert found["river"].startswith("0.")
