"""How a worker ends: with a status that says why, and a stack only for our own bugs."""

from __future__ import annotations

import pytest

from models.errors import CheckpointConflict, CheckpointLost, LearnFailed, StoreRefused
from stream.app import EXIT_FAILED, EXIT_FENCED, EXIT_STATE_LOST, _fail
from stream.birth import StateLost
from stream.lane import RecordsMissing
from stream.outbox import PublishRefused


@pytest.mark.parametrize(
    ("error", "status", "has_stack"),
    [
        (CheckpointConflict("lane score.0 has a new owner"), EXIT_FENCED, False),
        (CheckpointLost("Redis was emptied"), EXIT_STATE_LOST, False),
        (StateLost("Redis has lost writes"), EXIT_STATE_LOST, False),
        (StoreRefused("Redis: unknown command"), EXIT_FAILED, False),
        (PublishRefused("Kafka refuses 3 records"), EXIT_FAILED, False),
        (RecordsMissing("some are missing"), EXIT_FAILED, False),
        (LearnFailed("River raised"), EXIT_FAILED, True),
        (AssertionError("a bug"), EXIT_FAILED, True),
    ],
)
def test_a_failed_lane_ends_the_worker_and_says_why(
    error: Exception, status: int, has_stack: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever is on call reads one line; whoever mends our bug needs the stack."""
    ended: list[int] = []
    try:
        raise error
    except type(error) as raised:
        _fail("score.0", raised, ended.append)
    assert ended == [status]
    assert str(error) in caplog.text
    assert ("Traceback" in caplog.text) is has_stack
