"""A challenger on real servers: backfilled to the champion's equal, compared, promoted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.waiting import eventually


@pytest.mark.slow
def test_challengers_catch_up_are_compared_and_promoted(
    tmp_path: Path, kafka: str, redis_url: str, data_file: Callable[[str], Path]
) -> None:
    """Beside a champion that goes on; a restart in between changes nothing."""
    elec2 = data_file("elec2.csv.gz")
    cluster = Cluster(
        tmp_path, kafka, redis_url, "elec2", KAFKA__PARTITIONS="2", VERSIONS__INTERVAL="1s",
        CHALLENGERS__SHARE="0.5",
    )  # fmt: skip

    def standing(name: str) -> Any:
        return next(s for s in cluster.run_json("compare") if s["name"] == name)

    def compared(name: str, n: int) -> bool:
        found = standing(name)
        caught_up = found["position"] == found["champion_position"]
        return bool(found["state"] == "compared" and found["examples"] >= n and caught_up)

    try:
        worker = cluster.start_worker()
        options = ("--add-id", "--label-delay-events", "50")
        cluster.run("produce", str(elec2), *options, "--limit", "2000")
        eventually(lambda: worker.value("learned_total") >= 2000, deadline_s=60.0)
        cluster.run_json("challenger", "add", "same")
        tree = ("challenger", "add", "tree", "--pipeline", "hoeffding-tree", "--seed", "9")
        assert cluster.run_json(*tree)["outcome"] == "applied"
        eventually(lambda: compared("tree", 0), deadline_s=60.0, poll_s=0.5)
        assert worker.stop() == 0, worker.log[-2000:]
        worker = cluster.start_worker()
        cluster.run("produce", str(elec2), *options, "--limit", "3000", "--offset-rows", "2000")
        eventually(lambda: compared("tree", 3000), deadline_s=60.0, poll_s=0.5)
        eventually(lambda: compared("same", 3000), deadline_s=60.0, poll_s=0.5)
        eventually(
            lambda: cluster.run_json("versions", "show", "latest")["position"] == 5000,
            deadline_s=30.0, poll_s=0.5,
        )  # fmt: skip
        champion = cluster.run_json("versions", "show", "latest")
        assert standing("same")["fingerprint"] == champion["fingerprint"]
        assert standing("same")["advantage"] == 0.0
        assert "how much lower its loss is" in cluster.run("compare")
        promoted = cluster.run_json("promote", "tree", "--force")
        assert promoted["outcome"] == "applied"
        assert promoted["evidence"]["n"] == promoted["evidence"]["curve"][-1][0] >= 3000
        replayed = cluster.run_json("replay", "--version", "latest")
        assert replayed["equal"] and replayed["version"] == promoted["version"]
        assert replayed["pipeline"].startswith("HoeffdingTree")
        assert [s["name"] for s in cluster.run_json("challenger", "list")] == ["same"]
        assert cluster.ledger()["adds_up"]
    finally:
        cluster.close()
