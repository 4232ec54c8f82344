"""Features of two entities through real processes, two of which are killed: exact all the same."""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stream.kafka_log import open_log
from stream.simulate import Rules, save, simulate
from tests.e2e.cluster import Cluster
from tests.waiting import eventually

DAY_S = 86_400.0
CONFIG = """
[event]
id = "TRANSACTION_ID"
time = "TX_DATETIME"
entity = "CUSTOMER_ID"

[event.features.TX_AMOUNT]

[event.features.TERMINAL_ID]
type = "integer"

# Lanes of killed workers are days of event time behind when they go on: nothing may be too late.
[features]
lateness = "14d"

[[features.window]]
entity = "CUSTOMER_ID"
value = "TX_AMOUNT"
windows = ["1d", "7d"]
stats = ["count", "mean"]

[[features.risk]]
entity = "TERMINAL_ID"
windows = ["7d"]
delay = "2d"

[label]
id = "TRANSACTION_ID"
value = "TX_FRAUD"
time = "LABEL_DATETIME"
"""


@pytest.fixture
def cluster(tmp_path: Path, kafka: str, redis_url: str) -> Iterator[Cluster]:
    config = tmp_path / "features.toml"
    config.write_text(CONFIG)
    cluster = Cluster(tmp_path, kafka, redis_url, str(config), KAFKA__PARTITIONS="4")
    yield cluster
    cluster.close()


def of_customers(rows: list[dict[str, str]]) -> dict[str, dict[str, float]]:
    """Compute the windows of every payment, from those before it in the file."""
    found: dict[str, dict[str, float]] = {}
    past: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        time = datetime.fromisoformat(row["TX_DATETIME"]).replace(tzinfo=UTC).timestamp()
        own = past[row["CUSTOMER_ID"]]
        own.append((time, float(row["TX_AMOUNT"])))
        features = {}
        for days in (1, 7):
            inside = [amount for at, amount in own if time - days * DAY_S < at]
            features[f"CUSTOMER_ID.count.{days}d"] = float(len(inside))
            features[f"CUSTOMER_ID.TX_AMOUNT.mean.{days}d"] = math.fsum(inside) / len(inside)
        found[row["TRANSACTION_ID"]] = features
    return found


def of_terminals(log: list[list[dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """Compute the risk of every payment, from what stands before it in its log."""
    found: dict[str, dict[str, float]] = {}
    for partition in log:
        past: dict[int, list[tuple[float, str]]] = defaultdict(list)
        frauds: set[str] = set()
        for message in partition:
            event_id = message["event_id"]
            if message["kind"] == "label":
                assert message["positive"], "only what matters is told"
                frauds.add(event_id)
            elif event_id not in found:
                time, own = message["event_time"], past[message["values"][1]]
                own.append((time, event_id))
                end = time - 2 * DAY_S
                inside = [who for at, who in own if end - 7 * DAY_S < at <= end]
                rate = sum(who in frauds for who in inside) / len(inside) if inside else 0.0
                found[event_id] = {
                    "TERMINAL_ID.risk_count.7d": float(len(inside)),
                    "TERMINAL_ID.risk.7d": rate,
                }
    return found


def read(cluster: Cluster, topic: str) -> list[list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    with open_log(cluster.settings.kafka) as log:
        for batch in log.read(f"{cluster.app}.{topic}"):
            found[batch[0].partition] += [json.loads(record.value) for record in batch]
    return list(found.values())


def test_features_are_exact_though_workers_are_killed(cluster: Cluster, tmp_path: Path) -> None:
    """Each example has the features that a plain computation over the logs gives."""
    payments = tmp_path / "payments.csv.gz"
    save(simulate(Rules(days=14, n_customers=150, n_terminals=60, radius=20.0), seed=1), payments)
    with gzip.open(payments, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    workers = [cluster.start_worker(), cluster.start_worker()]
    feeding = cluster.begin("produce", str(payments), "--label-delay", "2d", "--rate", "400")
    for worker, n in zip(workers, (600, 1200), strict=True):
        eventually(lambda n=n: sum(map(len, read(cluster, "scores"))) > n, deadline_s=120.0)
        worker.kill()
        cluster.start_worker()
    assert feeding.wait(timeout=180) == 0
    cluster.wait_until_settled()
    assert cluster.ledger()["adds_up"]

    learned = {e["event_id"]: e["features"] for part in read(cluster, "examples") for e in part}
    assert len(learned) == len(rows)
    customers, terminals = of_customers(rows), of_terminals(read(cluster, "by-TERMINAL_ID"))
    for event_id, features in learned.items():
        for name, value in {**customers[event_id], **terminals[event_id]}.items():
            assert features[name] == pytest.approx(value, abs=1e-9), (event_id, name)
    assert any(f["TERMINAL_ID.risk.7d"] > 0 for f in terminals.values()), "no label mattered"
