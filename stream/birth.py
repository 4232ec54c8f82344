"""Whether Redis still holds what this application has lived through; a worker must not guess.

Why: a worker whose Redis was emptied would begin again at the start of the topics, decide kept
events a second time, by another model, and publish that. Kafka remembers two things that betray it.
An application that has outputs was born, so there must be a birth record; and what the consumer
group has committed was committed to Redis before, so no lane may stand below it. What Redis lost
within the commit interval (a second) is not seen: hence `appendfsync always`.
"""

from __future__ import annotations

from collections.abc import Iterable

COMMAND = "driftline recover"


class StateLost(Exception):
    """Redis has lost what Kafka says that it held; the message says what, and the command."""

    exit_status = 5


def no_birth_record(app: str, traces: Iterable[str]) -> StateLost:
    """Say that a store without a birth record belongs to an application that has lived."""
    return StateLost(
        f"Redis has lost the state of {app}: there is no birth record, though Kafka has "
        f"{', '.join(traces)}. Restore Redis from its append-only file or a backup, or rebuild it "
        f"from the logs with `{COMMAND}`. Check redis.url first: is it the right Redis?"
    )


def check_position(lane: str, position: int | None, committed: int | None) -> None:
    """Compare a lane's position in Redis with what the group has committed to Kafka.

    Raises
    ------
    StateLost
        When Redis is behind: it was committed to first.
    """
    if committed is not None and committed > (position or 0):
        where = "nowhere" if position is None else f"at {position}"
        raise StateLost(
            f"Redis has lost writes: lane {lane} stands {where} in Redis, and had committed "
            f"{committed} to Kafka. Restore Redis from its append-only file or a backup, or "
            f"rebuild it from the logs with `{COMMAND} --force`"
        )
