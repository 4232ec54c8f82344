"""Dead letters are mended and published again on real servers: once, and the account adds up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaProducer

from tests.e2e.cluster import Cluster

FIELDS = '[event.features.a]\n[event.features.b]\n{}\n[label]\nid = "id"\nvalue = "label"\n'


@pytest.fixture
def cluster(tmp_path: Path, kafka: str, redis_url: str) -> Iterator[Cluster]:
    config = tmp_path / "driftline.toml"
    config.write_text(FIELDS.format(""))
    cluster = Cluster(
        tmp_path, kafka, redis_url, str(config), KAFKA__PARTITIONS="2", JOIN__EARLY_GRACE="1s"
    )
    yield cluster
    cluster.close()


def test_letters_are_replayed_after_a_fix(cluster: Cluster, kafka: str) -> None:
    """A required field is made optional: its events and their labels get in after all."""
    n = 60
    worker = cluster.start_worker()
    producer = KafkaProducer(bootstrap_servers=kafka)
    for i in range(n):
        event = {"id": f"e{i}", "a": i % 7} | ({} if i % 3 == 0 else {"b": 1.0})
        producer.send(f"{cluster.app}.events", json.dumps(event).encode(), b"k", partition=i % 2)
        label = json.dumps({"id": f"e{i}", "label": i % 2}).encode()
        producer.send(f"{cluster.app}.labels", label, f"l{i}".encode(), partition=i % 2)
    for value in (b"broken", b"{"):
        producer.send(f"{cluster.app}.events", value, b"k", [("trace", b"t")], partition=0)
    producer.flush()
    cluster.wait_until_settled()
    assert worker.stop() == 0, worker.log[-3000:]

    listed = cluster.run_json("dlq", "list", "--topic", "events", "--limit", "5")
    assert listed["reasons"] == {"missing_field": 20, "not_json": 2}
    assert len(listed["letters"]) == 5
    assert cluster.run_json("dlq", "list")["reasons"]["unknown_event"] == 20
    (broken,) = (
        letter
        for letter in cluster.run_json("dlq", "list", "--reason", "not_json")["letters"]
        if letter["value"] == "broken"
    )
    shown = cluster.run_json("dlq", "show", broken["address"])
    assert shown == broken
    assert (shown["headers"], shown["replayed"]) == ([["trace", "t"]], False)
    text = cluster.run("dlq", "show", broken["address"])
    assert "a replay fails again" in text

    config = Path(cluster.preset)
    config.write_text(FIELDS.format("required = false"))
    worker = cluster.start_worker()
    told = cluster.run_json("dlq", "replay", "--topic", "events", "--dry-run")
    assert (told["chosen"], told["published"]) == ({"missing_field": 20, "not_json": 2}, 0)
    cluster.run("dlq", "replay", "--topic", "events", exit_code=1)  # Nobody is there to ask.
    done = cluster.run_json("dlq", "replay", "--topic", "events", "--yes")
    assert done["published"] == 22
    cluster.wait_until_settled()
    done = cluster.run_json("dlq", "replay", "--reason", "unknown_event", "--yes")
    assert done["published"] == 20
    cluster.wait_until_settled()
    again = cluster.run_json("dlq", "replay", "--all", "--yes")
    assert again["published"] == 0
    assert again["left"] == {
        "published again before": 42,
        "replays that failed again: --again publishes them once more": 2,
    }
    assert worker.stop() == 0, worker.log[-3000:]

    ledger = cluster.ledger()
    assert ledger["adds_up"], ledger
    assert ledger["events"]["scored"] == ledger["labels"]["examples"] == n
    assert ledger["events"]["events"] == n + 2 + 22
    failed = [
        letter
        for letter in cluster.run_json("dlq", "list", "--reason", "not_json")["letters"]
        if letter["replay_of"]
    ]
    assert broken["origin"] in [letter["replay_of"][0] for letter in failed]
    assert [letter["headers"][0] for letter in failed] == [["trace", "t"]] * 2


def test_an_address_can_be_replayed_alone(cluster: Cluster, kafka: str) -> None:
    """And what is not there is said so."""
    worker = cluster.start_worker()
    producer = KafkaProducer(bootstrap_servers=kafka)
    for value in (b"one", b"two", b"three"):
        producer.send(f"{cluster.app}.events", value, b"k", partition=1)
    producer.flush()
    cluster.wait_until_settled()
    assert worker.stop() == 0, worker.log[-3000:]

    middle = cluster.run_json("dlq", "list")["letters"][1]
    assert cluster.run_json("dlq", "replay", middle["address"], "--yes")["published"] == 1
    lines = cluster.run("tail", "events", "--from-beginning", "--limit", "4", "--json")
    assert lines.split() == ["one", "two", "three", middle["value"]]
    cluster.run("dlq", "show", "1/99", exit_code=1)
    cluster.run("dlq", "replay", "--yes", exit_code=1)
