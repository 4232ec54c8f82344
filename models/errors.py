"""What can go wrong in the core, and what the program does about it.

    DriftlineError
    ├── CheckpointError
    │   ├── CheckpointCorrupt    does not verify: use the previous version, alert
    │   ├── CheckpointConflict   another owner wrote: fenced, stop this lane at once
    │   ├── CheckpointLost       the store forgot what it had confirmed: stop, a person decides
    │   ├── StoreUnavailable     pause, retry with backoff; unsaved work stays bounded
    │   └── StoreRefused         not known or not allowed: stop, and say so
    ├── UnknownVersion           refuse the operator's command, say which exist
    ├── InvalidPipeline          refuse to start, or refuse the challenger
    └── LearnFailed              our bug: crash; the learner is half-learned, reload it

`AssertionError` is our bug as well: crash; restart is the recovery path. Bad input is not here: the
shell turns it into dead letters before it reaches the core.
"""

from __future__ import annotations

from enum import StrEnum


class DriftlineError(Exception):
    """Any error that the core raises on purpose."""


class CheckpointError(DriftlineError):
    """A checkpoint could not be written, found or trusted."""


class Refusal(StrEnum):
    """Why a version is not used: the reason in metrics and in the audit."""

    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown_key"
    WRONG_SIGNATURE = "wrong_signature"
    DAMAGED = "damaged"
    MISSING = "missing"
    LIBRARIES = "libraries"
    FORBIDDEN = "forbidden"
    MISMATCH = "mismatch"


class CheckpointCorrupt(CheckpointError):
    """A checkpoint does not verify; the message says what differs and what to do."""

    def __init__(self, message: str, reason: Refusal = Refusal.DAMAGED) -> None:
        super().__init__(message)
        self.reason = reason


class CheckpointConflict(CheckpointError):
    """Another owner has written: this one is fenced and must stop."""


class CheckpointLost(CheckpointError):
    """The store has lost writes that it had confirmed; going on would hide it."""


class StoreUnavailable(CheckpointError):
    """The store did not answer; the write may or may not have happened."""


class StoreRefused(CheckpointError):
    """The store does not know or allow what was asked: rights, release, or our bug."""


class UnknownVersion(DriftlineError):
    """No such version; the message says which exist."""


class InvalidPipeline(DriftlineError):
    """No such pipeline, or not one that can do the task."""


class LearnFailed(DriftlineError):
    """River raised while learning one example; the learner must not be used or saved any more."""
