"""Features of two entities through real processes, some of which are killed: exact all the same."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stream.kafka_log import open_log
from stream.simulate import Rules, save, simulate
from tests.e2e.cluster import Cluster
from tests.feature_truth import Row, alike, risks_of, windows_of
from tests.waiting import eventually

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
lateness = "{days}d"

[[features.window]]
entity = "CUSTOMER_ID"
value = "TX_AMOUNT"
windows = {windows}
stats = ["count", "mean"]

[[features.risk]]
entity = "TERMINAL_ID"
windows = {risks}
delay = "{delay}d"

[label]
id = "TRANSACTION_ID"
value = "TX_FRAUD"
time = "LABEL_DATETIME"
"""


class Case(NamedTuple):
    """A stream, the features of it in days, and when workers are killed, by scores."""

    days: int
    windows: tuple[int, ...]
    risks: tuple[int, ...]
    delay: int
    partitions: int
    rate: int
    kills: tuple[int, ...]

    def cluster(self, folder: Path, kafka: str, redis_url: str) -> Cluster:
        """Give a cluster that computes these features."""
        config = folder / "features.toml"
        in_days = {name: [f"{n}d" for n in getattr(self, name)] for name in ("windows", "risks")}
        config.write_text(CONFIG.format(days=self.days, delay=self.delay, **in_days))
        partitions = str(self.partitions)
        return Cluster(folder, kafka, redis_url, str(config), KAFKA__PARTITIONS=partitions)


FORTNIGHT = Case(14, (1, 7), (7,), 2, partitions=4, rate=400, kills=(600, 1_200))
HANDBOOK = Case(
    60, (1, 7, 30), (1, 7, 30), 7, partitions=8, rate=5_000, kills=(100_000, 250_000, 400_000)
)


def row_of(payment: dict[str, str]) -> Row:
    time = datetime.fromisoformat(payment["TX_DATETIME"]).replace(tzinfo=UTC).timestamp()
    amount = float(payment["TX_AMOUNT"])
    return Row(payment["TRANSACTION_ID"], time, payment["CUSTOMER_ID"], amount)


def read(cluster: Cluster, topic: str) -> list[list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    with open_log(cluster.settings.kafka) as log:
        for batch in log.read(f"{cluster.app}.{topic}"):
            found[batch[0].partition] += [json.loads(record.value) for record in batch]
    return list(found.values())


def n_records(cluster: Cluster, topic: str) -> int:
    with open_log(cluster.settings.kafka) as log:
        return sum(end - first for first, end in log.ends(f"{cluster.app}.{topic}").values())


def check(cluster: Cluster, case: Case, payments: Path, deadline_s: float) -> None:
    """Feed payments to two workers, kill them in turns, and compute all of it once more."""
    with gzip.open(payments, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    workers = [cluster.start_worker(), cluster.start_worker()]
    feeding = cluster.begin(
        "produce", str(payments), "--label-delay", f"{case.delay}d", "--rate", str(case.rate)
    )
    for n in case.kills:
        eventually(lambda n=n: n_records(cluster, "scores") > n, deadline_s=deadline_s)
        workers.pop(0).kill()
        workers.append(cluster.start_worker())
    assert feeding.wait(timeout=deadline_s) == 0
    cluster.wait_until_settled(deadline_s)
    assert cluster.ledger()["adds_up"]

    learned = {e["event_id"]: e["features"] for part in read(cluster, "examples") for e in part}
    assert len(learned) == len(rows)
    of_customer, of_terminal = cluster.settings.features.specs()
    customers, terminals = windows_of(of_customer, map(row_of, rows)), {}
    for partition in read(cluster, "by-TERMINAL_ID"):
        terminals |= risks_of(of_terminal, 1, partition)
    for event_id, features in learned.items():
        expected = {**customers[event_id], **terminals[event_id]}
        assert alike(expected, {name: features[name] for name in expected}), event_id
    longest = f"TERMINAL_ID.risk.{max(case.risks)}d"
    assert any(f[longest] > 0 for f in terminals.values()), "no label mattered"


def test_features_are_exact_though_workers_are_killed(
    tmp_path: Path, kafka: str, redis_url: str
) -> None:
    """Each example has the features that a plain computation over the logs gives."""
    payments = tmp_path / "payments.csv.gz"
    save(simulate(Rules(days=14, n_customers=150, n_terminals=60, radius=20.0), seed=1), payments)
    with closing(FORTNIGHT.cluster(tmp_path, kafka, redis_url)) as cluster:
        check(cluster, FORTNIGHT, payments, 180.0)


@pytest.mark.skipif("DRIFTLINE_LONG" not in os.environ, reason="minutes: set DRIFTLINE_LONG=1")
def test_the_handbooks_features_of_sixty_days_are_exact(
    tmp_path: Path, kafka: str, redis_url: str, data_file: Callable[[str], Path]
) -> None:
    """The same on 575,755 real-sized payments, eight partitions and three kills."""
    payments = data_file("card_transactions_60d.csv.gz")
    with closing(HANDBOOK.cluster(tmp_path, kafka, redis_url)) as cluster:
        check(cluster, HANDBOOK, payments, 1_800.0)
