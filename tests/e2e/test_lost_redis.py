"""Redis loses its data: no worker goes on in silence, and all of it comes back from the logs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from stream.embedded import EmbeddedRedis
from stream.kafka_group import committed_offsets, count_members
from stream.kafka_log import open_log
from tests.e2e.cluster import Cluster, Worker, by_lane, pause
from tests.waiting import eventually

pytestmark = pytest.mark.real
EXIT_STATE_LOST = 5


@pytest.fixture
def server() -> Iterator[EmbeddedRedis]:
    """A Redis that may be flushed: nobody else's data is in it."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def cluster(tmp_path: Path, kafka: str, server: EmbeddedRedis) -> Iterator[Cluster]:
    cluster = Cluster(
        tmp_path, kafka, server.url, "elec2", KAFKA__PARTITIONS="4", JOIN__EARLY_GRACE="1h"
    )
    yield cluster
    cluster.close()


def refused(cluster: Cluster) -> str:
    """Start a worker that must not start; give its last words."""
    worker = Worker(cluster, 90 + len(list(cluster.folder.glob("*.log"))))
    try:
        assert worker.process.wait(timeout=60) == EXIT_STATE_LOST, worker.log[-3000:]
    finally:
        worker.process.kill()
    return worker.log


def wait_until_left(cluster: Cluster) -> None:
    """Wait until Kafka has noticed that the workers are gone."""
    eventually(lambda: count_members(cluster.settings) == 0, deadline_s=30.0, poll_s=0.5)


def decisions(cluster: Cluster) -> dict[bytes, bytes]:
    """Read the scores, by event; the first of each."""
    found: dict[bytes, bytes] = {}
    with open_log(cluster.settings.kafka) as log:
        for batch in log.read(f"{cluster.app}.scores"):
            for record in batch:
                found.setdefault(record.key, record.value)
    return found


def produce(cluster: Cluster, file: Path, first: int, end: int, *options: str) -> None:
    window = ("--offset-rows", str(first), "--limit", str(end - first))
    cluster.run("produce", str(file), "--add-id", *window, *options)


def test_all_comes_back_from_the_logs(
    cluster: Cluster, server: EmbeddedRedis, data_file: Callable[[str], Path]
) -> None:
    """Killed in mid-stream, Redis emptied, recovered: nothing missing, nothing twice."""
    file, n = data_file("elec2.csv.gz"), 8_000
    worker = cluster.start_worker()
    produce(cluster, file, 0, 4_000, "--no-labels")
    produce(cluster, file, 0, 2_500, "--labels-only")
    cluster.wait_until_settled()
    produce(cluster, file, 7_900, n, "--labels-only")  # Their events come after the loss.
    eventually(
        lambda: sum(by_lane(worker.get("/metrics")[1], "labels_waiting").values()) == 100,
        deadline_s=30.0,
    )
    produce(cluster, file, 4_000, 7_000, "--no-labels")
    pause(0.3)  # In mid-stream.
    worker.kill()
    published = decisions(cluster)
    assert len(published) >= 4_000

    redis.Redis.from_url(server.url).flushall()
    last_words = refused(cluster)
    assert "Redis has lost the state" in last_words
    assert "driftline recover" in last_words
    wait_until_left(cluster)
    told = cluster.run_json("recover", "--dry-run")
    assert "Redis has lost the state" in refused(cluster), "a dry run mends nothing"
    found = cluster.run_json("recover")
    assert found == told
    assert found["waiting"] == 100
    assert found["pending"] == len(published)
    assert found["learned"] == 2_500
    assert found["gone"] == {}

    worker = cluster.start_worker()
    produce(cluster, file, 7_000, n, "--no-labels")
    produce(cluster, file, 2_500, 7_900, "--labels-only")
    cluster.wait_until_settled()
    assert worker.stop() == 0, worker.log[-3000:]
    ledger = cluster.ledger()
    assert ledger["adds_up"], ledger
    assert ledger["events"]["scored"] == ledger["labels"]["examples"] == n
    after = decisions(cluster)
    assert {key: after[key] for key in published} == published
    replayed = cluster.run_json("replay", "--version", "latest")
    assert replayed["equal"]
    assert replayed["learned"] == n


def test_lost_writes_are_noticed(
    cluster: Cluster, server: EmbeddedRedis, data_file: Callable[[str], Path]
) -> None:
    """A lane that stands below what was committed to Kafka; the rest of Redis is whole."""
    file = data_file("elec2.csv.gz")
    worker = cluster.start_worker()
    produce(cluster, file, 0, 1_000)
    cluster.wait_until_settled()
    assert worker.stop() == 0, worker.log[-3000:]
    wait_until_left(cluster)
    committed = committed_offsets(cluster.settings)["events"]
    assert sum(committed.values()) == 1_000
    partition, position = next((p, n) for p, n in committed.items() if n)

    client = redis.Redis.from_url(server.url)
    client.hset(f"{{{cluster.app}}}:lane:score.{partition}", "position", position - 1)
    last_words = refused(cluster)
    assert re.search(
        rf"score\.{partition} stands at {position - 1} in Redis, .*{position} to Kafka", last_words
    )
    wait_until_left(cluster)
    cluster.run("recover", exit_code=1)
    assert cluster.run_json("recover", "--force")["positions"][f"score.{partition}"] == position
    worker = cluster.start_worker()
    cluster.wait_until_settled()
    assert worker.stop() == 0, worker.log[-3000:]
    assert cluster.ledger()["adds_up"]


def test_a_worker_keeps_the_recovery_out(cluster: Cluster, server: EmbeddedRedis) -> None:
    """What it wrote meanwhile would be lost."""
    cluster.start_worker()
    redis.Redis.from_url(server.url).flushall()

    cluster.run("recover", exit_code=1)

    assert not redis.Redis.from_url(server.url).exists(f"{{{cluster.app}}}:born")
