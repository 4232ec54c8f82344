"""The topics: one plain table that everything else reads (DESIGN.md section 3)."""

from __future__ import annotations

from dataclasses import dataclass

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of an application; `name` lacks the application's prefix."""

    name: str
    key: str
    value: str
    written_by: str
    read_by: str
    one_partition: bool = False
    retention_ms: int = 7 * DAY_MS

    def full_name(self, app: str) -> str:
        """Name on the broker: `<app>.<name>`."""
        return f"{app}.{self.name}"

    def partitions(self, configured: int) -> int:
        """How many partitions to create, given the configured number."""
        return 1 if self.one_partition else configured

    def config(self) -> dict[str, str]:
        """Settings of the topic on the broker."""
        return {"retention.ms": str(self.retention_ms), "cleanup.policy": "delete"}


def group(app: str) -> str:
    """Name the consumer group of an application's workers."""
    return f"driftline-{app}"


FOREVER = -1

EVENTS = Topic("events", "entity", "the producer's flat JSON", "producers", "score lane")
LABELS = Topic("labels", "anything", "event id and label", "producers", "label lane")
SCORES = Topic("scores", "event id", "score and decision", "score lane", "consumers")
ALERTS = Topic("alerts", "entity", "a score decided as alert", "score lane", "consumers")
SHADOWS = Topic(
    "shadows", "event id", "what a challenger would have said", "score lane", "data science"
)
EXAMPLES = Topic(
    "examples",
    "shard",
    "features, score and label, joined",
    "label lane",
    "learn lane",
    one_partition=True,
    # The model is a fold over this log: what is deleted here can't be replayed.
    retention_ms=FOREVER,
)
DRIFT = Topic(
    "drift", "shard", "drift evidence", "learn lane, score lane", "ops", one_partition=True
)
VERSIONS = Topic("versions", "shard", "a version was cut", "learn lane", "ops", one_partition=True)
DEAD_LETTERS = Topic(
    "dead-letters",
    "the original key",
    "original bytes, origin and reason",
    "all lanes",
    "ops",
    retention_ms=30 * DAY_MS,
)
REPLAYS = Topic(
    "replays",
    "origin of the letter",
    "a dead letter was published again",
    "`driftline dlq`",
    "`driftline dlq`",
    one_partition=True,
    # A letter must not outlive the note that it was published again.
    retention_ms=FOREVER,
)

AUDIT = Topic(
    "audit",
    "shard",
    "who did what, and how it ended",
    "workers",
    "ops",
    one_partition=True,
    # Asked about long after; a few records a week.
    retention_ms=FOREVER,
)
CONTROL = Topic(
    "control",
    "shard",
    "an operator's command",
    "`driftline rollback` and others",
    "learn lane",
    one_partition=True,
    # The learn lane knows by its offset which commands it has had.
    retention_ms=FOREVER,
)
TOPICS = (
    EVENTS,
    LABELS,
    SCORES,
    ALERTS,
    SHADOWS,
    EXAMPLES,
    DRIFT,
    VERSIONS,
    CONTROL,
    AUDIT,
    DEAD_LETTERS,
    REPLAYS,
)
