"""The whole job on the session's broker and Redis: scored once, learned once, whatever happens."""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from models.pipelines import build
from models.types import Task
from stream.learners import load_exported
from tests.e2e.cluster import Cluster, pause

MakeCluster = Callable[..., Cluster]


@pytest.fixture
def make_cluster(tmp_path: Path, kafka: str, redis_url: str) -> Iterator[MakeCluster]:
    clusters: list[Cluster] = []

    def make(preset: str, **overrides: str) -> Cluster:
        clusters.append(Cluster(tmp_path, kafka, redis_url, preset, **overrides))
        return clusters[-1]

    yield make
    for cluster in clusters:
        cluster.close()


def elec2_rows(path: Path, n: int) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return list(islice(csv.DictReader(file), n))


@pytest.mark.parametrize("pipeline", ["logistic", "hoeffding-adaptive-tree"])
def test_the_last_version_is_the_twin_of_a_plain_river_loop(
    pipeline: str, make_cluster: MakeCluster, data_file: Callable[[str], Path], tmp_path: Path
) -> None:
    """Exported and loaded, it predicts exactly what River predicts from the examples topic."""
    elec2 = data_file("elec2.csv.gz")
    n = 4_000
    cluster = make_cluster("elec2", KAFKA__PARTITIONS="2", MODEL__PIPELINE=pipeline)
    worker = cluster.start_worker()
    cluster.run("produce", str(elec2), "--add-id", "--limit", str(n), "--label-delay-events", "20")
    cluster.wait_until_settled()
    assert worker.stop() == 0, worker.log[-3000:]

    ledger = cluster.ledger()
    assert ledger["adds_up"]
    exported = tmp_path / "model.bin"
    cluster.run("versions", "export", "latest", str(exported))
    learner = load_exported(exported)
    assert learner.n_learned == n

    twin = build(pipeline, Task.BINARY, seed=1)
    lines = cluster.run("tail", "examples", "--from-beginning", "--limit", str(n), "--json")
    for line in lines.splitlines():
        example = json.loads(line)
        twin.learn_one(example["features"], example["label"])
    probes = [
        {
            k: int(v) if k == "day" else float(v)
            for k, v in row.items()
            if k not in ("date", "class")
        }
        for row in elec2_rows(elec2, 45_312)[-1_000:]
    ]
    ours = learner.score_many(probes)
    assert ours == [twin.predict_proba_one(x).get(True, 0.0) for x in probes]
    assert len(set(ours)) > 100, "constant predictions prove nothing"

    replayed = cluster.run_json("replay", "--version", "latest")
    assert replayed["fingerprint"] == learner.fingerprint()


def test_mangled_records_become_dead_letters_and_nothing_stops(
    make_cluster: MakeCluster, kafka: str
) -> None:
    """Each bad record has the right reason; each good one is scored; the worker lives on."""
    cluster = make_cluster("elec2", KAFKA__PARTITIONS="2")
    worker = cluster.start_worker()
    producer = KafkaProducer(bootstrap_servers=kafka)
    rng = random.Random(4)
    expected: dict[str, int] = {}
    n_good = 0
    for i in range(3_300):
        good = {
            "id": f"g{i}", "day": 1, "period": 0.5, "nswprice": rng.random(), "nswdemand": 0.1,
            "vicprice": 0.1, "vicdemand": 0.2, "transfer": 0.3,
        }  # fmt: skip
        if i % 11:
            n_good += 1
            producer.send(f"{cluster.app}.events", json.dumps(good).encode(), partition=i % 2)
            continue
        reason, value = mangle(good, rng)
        expected[reason] = expected.get(reason, 0) + 1
        producer.send(f"{cluster.app}.events", value, key=b"k", partition=i % 2)
    producer.flush()
    cluster.wait_until_settled()
    assert worker.process.poll() is None
    ledger = cluster.ledger()
    assert ledger["adds_up"]
    letters = {k: v for k, v in ledger["events"].items() if k.startswith("dead letter: ")}
    assert letters == {f"dead letter: {reason}": n for reason, n in expected.items()}
    assert ledger["events"]["scored"] == n_good


def mangle(good: dict[str, Any], rng: random.Random) -> tuple[str, bytes | None]:
    """Break a good event in one of the ways that producers find."""
    without_id = {name: value for name, value in good.items() if name != "id"}
    ways: list[tuple[str, bytes | None]] = [
        ("null_value", None),
        ("not_json", json.dumps(good).encode()[: rng.randrange(1, 100)]),
        ("not_json", b"\xff\xfe\x00 binary"),
        ("not_an_object", b"[1, 2, 3]"),
        ("missing_field", json.dumps(without_id).encode()),
        ("wrong_type", json.dumps(good | {"period": "0.5"}).encode()),
        ("wrong_type", json.dumps(good | {"nswprice": None}).encode()),
        ("out_of_range", json.dumps(good | {"period": 1.5}).encode()),
        ("out_of_range", json.dumps(good | {"day": 9}).encode()),
        ("out_of_range", json.dumps(good).replace('"transfer": 0.3', '"transfer": 1e999').encode()),
        ("not_finite", json.dumps(good | {"vicprice": float("nan")}).encode()),
        ("too_large", json.dumps(good | {"note": "x" * 70_000}).encode()),
    ]
    return rng.choice(ways)


def test_a_killed_worker_changes_nothing(
    make_cluster: MakeCluster, data_file: Callable[[str], Path]
) -> None:
    """Two workers, one SIGKILLed in mid-stream and started again: to the unit as undisturbed."""
    elec2 = data_file("elec2.csv.gz")
    n = 20_000
    cluster = make_cluster("elec2", KAFKA__PARTITIONS="8", VERSIONS__EVERY_N="3000")
    first, second = cluster.start_worker(), cluster.start_worker()
    cluster.run("produce", str(elec2), "--add-id", "--limit", str(n), "--label-delay-events", "500")
    pause(1.0)  # In mid-stream.
    first.kill()
    pause(1.0)
    third = cluster.start_worker()
    cluster.wait_until_settled()
    assert second.stop() == 0, second.log[-3000:]
    assert third.stop() == 0, third.log[-3000:]

    ledger = cluster.ledger()
    assert ledger["adds_up"], ledger
    assert ledger["labels"]["examples"] == n
    replayed = cluster.run_json("replay", "--version", "latest")
    assert replayed["learned"] == n
