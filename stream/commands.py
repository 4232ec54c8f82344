"""Give a command to the learn lane, and wait for its outcome on the audit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from stream import topics
from stream.messages import SHARD_KEY, AuditRecord, Command, decode_audit, encode_json
from stream.ports import LogReader
from stream.replays import Writer

POLL_S = 0.05


class Pause(Protocol):
    """Where time comes from, and how it passes."""

    def monotonic(self) -> float:
        """Seconds, from any start."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


def give(
    command: Command,
    *,
    app: str,
    reader: LogReader,
    writer: Writer,
    pause: Pause,
    timeout: float,
) -> AuditRecord | None:
    """Publish a command and wait for its outcome; None if nobody answers in time."""
    audit = topics.AUDIT.full_name(app)
    seen = reader.ends(audit)[0][1]
    writer.publish(topics.CONTROL.full_name(app), SHARD_KEY, encode_json(command), partition=0)
    writer.flush()
    deadline = pause.monotonic() + timeout
    while pause.monotonic() < deadline:
        end = reader.ends(audit)[0][1]
        if end > seen:
            for batch in reader.read(audit, {0: (seen, end)}):
                for record in batch:
                    outcome = decode_audit(record.value or b"")
                    if outcome.id == command.id:
                        return outcome
            seen = end
        pause.sleep(POLL_S)
    return None


def distinct(values: Iterable[bytes]) -> Iterator[AuditRecord]:
    """Read records of the audit, each once: a crash may have published one twice."""
    known: set[str] = set()
    for value in values:
        record = decode_audit(value)
        if record.id not in known:
            known.add(record.id)
            yield record
