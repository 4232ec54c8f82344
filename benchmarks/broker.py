"""The broker of a run: embedded, real (scripts/kafka), or one that runs already."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from stream.embedded import EmbeddedKafka

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "kafka"
NAME = "benchmark"


class Broker:
    """Where the broker is, what it is, and the topics that this run made there."""

    def __init__(self, bootstrap: str, kind: str) -> None:
        self.bootstrap = bootstrap
        self.kind = kind
        self._admin = AdminClient({"bootstrap.servers": bootstrap})

    def create(self, *topics: str, partitions: int = 1) -> None:
        """Create topics that must not exist yet."""
        new = [NewTopic(topic, partitions, 1) for topic in topics]
        for created in self._admin.create_topics(new).values():
            created.result(30)

    def drop(self, prefix: str) -> None:
        """Delete all topics whose names begin so: the broker may be somebody's."""
        names = [n for n in self._admin.list_topics(timeout=10).topics if n.startswith(prefix)]
        if names:
            for deleted in self._admin.delete_topics(names).values():
                with contextlib.suppress(KafkaException):
                    deleted.result(30)


@contextlib.contextmanager
def open_broker(choice: str) -> Iterator[Broker]:
    """Give the broker that `--broker` names, and stop it at the end if we started it."""
    if choice == "embedded":
        with EmbeddedKafka() as kafka:
            yield Broker(kafka.bootstrap, "embedded (Tansu, in memory)")
    elif choice == "real":
        up = _script("up")
        try:
            yield Broker(up.stdout.strip(), "Apache Kafka (scripts/kafka, one broker)")
        finally:
            _script("down")
    else:
        broker = Broker(choice, f"at {choice}")
        _require_answer(broker)
        yield broker


def _script(command: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, str(SCRIPT), command, "--name", NAME]
    return subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True)


def _require_answer(broker: Broker) -> None:
    try:
        broker._admin.list_topics(timeout=10)
    except KafkaException as error:
        reason = error.args[0]
        assert isinstance(reason, KafkaError)
        raise SystemExit(f"no Kafka answers at {broker.bootstrap}: {reason.str()}") from None
