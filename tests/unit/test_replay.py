"""A replay is the same fold, and refuses a log with holes."""

import pytest

from models.types import Example
from stream.learners import load_exported, metadata_file, new_learner
from stream.messages import encode_json
from stream.replay import LogIncomplete, fold
from stream.settings import Settings

SETTINGS = Settings(event={"features": {"a": {}}})


def log_of(n: int) -> list[tuple[int, bytes]]:
    """Write a log of examples."""
    return [
        (
            i,
            encode_json(
                Example(
                    f"e{i}", {"a": float(i % 7)}, i % 3 == 0, 0.5, "v1-0", 0, 0.0, 1.0,
                    "labels/0", i, i,
                )
            ),
        )
        for i in range(n)
    ]  # fmt: skip


def replayed(batches, to_position=None):
    """Fold batches into a fresh learner."""
    learner = new_learner(SETTINGS)
    list(fold(learner, batches, to_position))
    return learner


def test_batches_do_not_matter() -> None:
    """Only the log does."""
    log = log_of(100)

    whole = replayed([log])
    pieces = replayed([log[i : i + 7] for i in range(0, 100, 7)])

    assert whole.fingerprint() == pieces.fingerprint()
    assert whole.metrics() == pieces.metrics()
    assert whole.version_id == "v1-100"


def test_a_replay_stops_at_its_position() -> None:
    """To the record."""
    log = log_of(100)

    assert replayed([log[:30], log[30:]], 37).fingerprint() == replayed([log[:37]]).fingerprint()
    assert replayed([log], 0).position == 0


@pytest.mark.parametrize("lost", [0, 50])
def test_a_hole_is_refused(lost: int) -> None:
    """A state that looks right and is another would be worse than none."""
    log = log_of(100)
    del log[lost]

    with pytest.raises(LogIncomplete, match=rf"no record {lost} \(the next is {lost + 1}\)"):
        replayed([log])


def test_an_exported_version_loads(tmp_path) -> None:
    """With the checks of a checkpoint."""
    from models import checkpoint
    from models.checkpoint import CutReason
    from models.errors import CheckpointCorrupt
    from models.sealing import KeyRing

    learner = replayed([log_of(50)])
    meta, blob = checkpoint.encode(
        learner,
        parent=None,
        libraries=checkpoint.libraries(),
        cut_time=0.0,
        reason=CutReason.STOP,
    )
    file = tmp_path / "model"
    file.write_bytes(blob)
    ours, others = KeyRing.parse("k1:" + 32 * "x"), KeyRing.parse("k1:" + 32 * "y")
    metadata_file(file).write_bytes(checkpoint.seal(meta, blob, ours))

    for keys in (None, ours):
        assert load_exported(file, keys=keys).fingerprint() == learner.fingerprint()
    with pytest.raises(CheckpointCorrupt, match="not what the key 'k1' signed"):
        load_exported(file, keys=others)
    file.write_bytes(blob[:-1] + b"x")
    with pytest.raises(CheckpointCorrupt):
        load_exported(file)


def test_only_proven_metadata_say_what_a_version_was_folded_from() -> None:
    """Else whoever writes to the store decides what a rebuilt version has not learned."""
    from models import checkpoint
    from models.checkpoint import CutReason
    from models.errors import Refusal
    from models.lineage import Segment
    from stream.cli.errors import CommandError
    from stream.cli.replay import _segments
    from stream.vault import Verdict

    learner = replayed([log_of(50)])
    learner.branch(2, 50, None)
    segments = (Segment(lineage=2, base="v1-50", start=50, command="c1"),)
    meta, _ = checkpoint.encode(
        learner,
        parent=None,
        libraries=checkpoint.libraries(),
        cut_time=0.0,
        reason=CutReason.COMMAND,
        segments=segments,
    )
    for reason in Refusal:
        refusal = checkpoint.refusal(meta.id, "is not right", reason)
        verdict = Verdict(meta.id, meta, None, refusal)
        if reason in (Refusal.LIBRARIES, Refusal.FORBIDDEN):
            assert _segments(verdict) == segments
        else:
            with pytest.raises(CommandError, match="v2-50 came by a command"):
                _segments(verdict)
    assert _segments(Verdict(meta.id, meta, None, None)) == segments
    assert _segments(Verdict("v1-50", None, None, refusal)) == ()
