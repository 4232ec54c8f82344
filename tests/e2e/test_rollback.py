"""A rollback under load: both workers score with the restored version within a second."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stream.kafka_log import open_log
from stream.learners import load_exported
from stream.messages import Decision, decode_decision
from stream.topics import SCORES
from tests.e2e.cluster import Cluster, by_lane
from tests.waiting import eventually

IN_FORCE_S_MAX = 1.0


def decisions(cluster: Cluster) -> list[tuple[float, Decision]]:
    """Read all scores, with the times at which Kafka got them."""
    settings = cluster.settings
    with open_log(settings.kafka) as log:
        return [
            (record.timestamp / 1000.0, decode_decision(record.value or b""))
            for batch in log.read(SCORES.full_name(settings.app))
            for record in batch
        ]


def undo(cluster: Cluster, rollback: Any, folder: Path) -> str:
    """Restore what a rollback gave up, by what its audit says: equal in each prediction."""
    (given_up,) = re.findall(r"`driftline restore (v3-\d+)` undoes that", rollback["detail"])
    told = cluster.run_json("restore", given_up, "--why", "it was right")
    assert (told["what"], told["outcome"], told["version"][:3]) == ("restore", "applied", "v5-")
    found = []
    for version in (given_up, told["version"], rollback["version"]):
        file = folder / version
        cluster.run("versions", "export", version, str(file))
        learner = load_exported(file)
        probes = [dict.fromkeys(cluster.settings.event.features, i / 20) for i in range(20)]
        found.append((learner.fingerprint(), learner.score_many(probes)))
    assert found[0] == found[1] != found[2]
    return str(told["version"])


@pytest.mark.slow
def test_a_rollback_under_load_is_in_force_everywhere_within_a_second(
    tmp_path: Path, kafka: str, redis_url: str, data_file: Callable[[str], Path]
) -> None:
    """No event is lost or scored twice, later versions can be made again, and it is audited."""
    elec2 = data_file("elec2.csv.gz")
    cluster = Cluster(
        tmp_path, kafka, redis_url, "elec2", KAFKA__PARTITIONS="4", VERSIONS__EVERY_N="500"
    )
    try:
        workers = [cluster.start_worker(), cluster.start_worker()]
        options = ("--add-id", "--rate", "250", "--label-delay-events", "50")
        producer = cluster.begin("produce", str(elec2), *options)
        eventually(lambda: sum(w.value("learned_total") for w in workers) > 1_500, deadline_s=120.0)
        told = cluster.run_json("rollback", "v1-500", "--why", "a test")
        applied_at = told["time"]
        assert (told["outcome"], told["why"]) == ("applied", "a test")
        assert told["version"].startswith("v2-")
        eventually(lambda: time.time() > applied_at + 4.0, deadline_s=10.0)
        owners = [set(by_lane(w.get("/metrics")[1], "lane_lag_records")) for w in workers]
        refused = cluster.run_json("rollback", "v1-501", exit_code=1)
        assert (refused["outcome"], refused["reason"]) == ("refused", "unknown_version")
        raised = cluster.run_json("threshold", "set", "0.9")
        eventually(lambda: time.time() > raised["time"] + 3.0, deadline_s=10.0)
        frozen = cluster.run_json("freeze")
        assert producer.poll() is None, "the load ended before the last command"
        producer.terminate()
        producer.wait(timeout=30)
        cluster.run_json("thaw")
        cluster.wait_until_settled()
        rest = ("--replay", "--without", "offsets=600..700", "--without", "events=e1,e2")
        rebuilt = cluster.run_json("rollback", "v1-500", *rest)
        assert rebuilt["version"].startswith("v4-")
        undone = undo(cluster, rebuilt, tmp_path)
        refused = cluster.run_json("restore", "v1-500", exit_code=1)
        assert refused["reason"] == "earlier" and "driftline rollback v1-500" in refused["detail"]

        found = decisions(cluster)
        for lanes in owners:
            mine = {int(lane.partition(".")[2]) for lane in lanes if lane.startswith("score.")}
            assert mine, "a worker scores nothing"
            here = [(at, d) for at, d in found if d.partition in mine]
            restored = min(at for at, d in here if d.version.startswith("v2-"))
            assert restored - applied_at < IN_FORCE_S_MAX
            late = [
                d for at, d in here
                if at > applied_at + IN_FORCE_S_MAX and d.version.startswith("v1-")
            ]  # fmt: skip
            assert late == [], "the old version went on scoring"
            after = [d for at, d in here if raised["time"] + IN_FORCE_S_MAX < at < frozen["time"]]
            assert {d.threshold for d in after} == {0.9}
        ids = [d.event_id for _, d in found]
        assert len(ids) == len(set(ids)), "nothing crashed, so nothing is published again"
        assert cluster.ledger()["adds_up"]
        assert [w.stop() for w in workers] == [0, 0], [w.log[-2000:] for w in workers]
        again = cluster.run_json("replay", "--version", undone)
        assert again["equal"] and again["version"] == undone
        replayed = cluster.run_json("replay", "--version", rebuilt["version"])
        assert replayed["equal"] and replayed["version"] == rebuilt["version"]
        assert 0 < replayed["learned"] <= replayed["position"] - 100
        listed = [(r["what"], r["outcome"]) for r in cluster.run_json("audit")]
        assert listed == [
            ("rollback", "applied"),
            ("rollback", "refused"),
            ("threshold", "applied"),
            ("freeze", "applied"),
            ("thaw", "applied"),
            ("rollback", "applied"),
            ("restore", "applied"),
            ("restore", "refused"),
        ]
    finally:
        cluster.close()
