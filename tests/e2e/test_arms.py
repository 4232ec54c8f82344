"""A challenger with live traffic, on real servers: a share of the entities, and shadows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream.arms import is_in_share, sample_place
from stream.kafka_log import open_log
from stream.messages import Decision, Shadow, decode_decision, decode_shadow
from stream.topics import SCORES, SHADOWS, Topic
from tests.e2e.cluster import Cluster, Worker
from tests.waiting import eventually

SHARE, SAMPLE = 0.3, 0.2


def values(cluster: Cluster, topic: Topic) -> Iterator[bytes]:
    """Read a topic."""
    settings = cluster.settings
    with open_log(settings.kafka) as log:
        for batch in log.read(topic.full_name(settings.app)):
            yield from (record.value or b"" for record in batch)


def decides(worker: Worker) -> bool:
    """Say whether the challenger has decided anything on a worker."""
    return 'driftline_arm_scores_total{arm="tree"}' in worker.get("/metrics")[1]


def from_then_on(
    decisions: list[Decision], shadows: list[Shadow]
) -> dict[int, tuple[int, list[Decision]]]:
    """Give, by partition, where the challenger began to score, and what was decided since."""
    began: dict[int, int] = {}
    ours = [d for d in decisions if d.arm == "tree"]
    for one in (*ours, *shadows):
        began[one.partition] = min(one.offset, began.get(one.partition, one.offset))
    return {
        partition: (
            first,
            [d for d in decisions if d.partition == partition and d.offset >= first],
        )
        for partition, first in began.items()
    }


@pytest.mark.slow
def test_a_challenger_decides_for_its_share_whichever_worker_comes_or_goes(
    tmp_path: Path, kafka: str, redis_url: str, data_file: Callable[[str], Path]
) -> None:
    """Each event is decided once, each sampled one has its shadow, and an entity never moves."""
    elec2 = data_file("elec2.csv.gz")
    cluster = Cluster(
        tmp_path, kafka, redis_url, "elec2", KAFKA__PARTITIONS="4", VERSIONS__INTERVAL="1s",
        CHALLENGERS__SHARE="0.5", EVENT__ENTITY="period",
    )  # fmt: skip
    try:
        workers = [cluster.start_worker(), cluster.start_worker()]
        options = (str(elec2), "--add-id", "--label-delay-events", "50")
        cluster.run("produce", *options, "--limit", "2000")
        eventually(lambda: sum(w.value("learned_total") for w in workers) >= 2000, deadline_s=60.0)
        live = ("--shadow", str(SAMPLE), "--share", str(SHARE))
        tree = ("challenger", "add", "tree", "--pipeline", "hoeffding-tree", *live)
        assert cluster.run_json(*tree)["outcome"] == "applied"
        more = ("--offset-rows", "2000", "--limit", "8000", "--rate", "130")
        producer = cluster.begin("produce", *options, *more)
        eventually(lambda: all(map(decides, workers)), deadline_s=60.0)
        for i in range(2):
            assert workers[i].stop() == 0, workers[i].log[-2000:]
            workers[i] = cluster.start_worker()
        assert producer.poll() is None, "the load ended before the last restart"
        eventually(lambda: producer.poll() == 0, deadline_s=120.0)
        cluster.wait_until_settled()
        (told,) = cluster.run_json("compare")
        assert (told["share"], told["shadow"], told["is_ready"]) == (SHARE, SAMPLE, True)
        assert "decides 30 % of entities" in cluster.run("compare")
        assert cluster.ledger()["adds_up"]
        assert cluster.run_json("clocks", "--arm", "tree")["matured"]["n"] > 500

        raw = list(values(cluster, SCORES))
        decisions = [decode_decision(body) for body in raw]
        assert len(decisions) == len({d.event_id for d in decisions}) == 10_000
        shadows = [decode_shadow(body) for body in values(cluster, SHADOWS)]
        assert {shadow.arm for shadow in shadows} == {"tree"}
        began = from_then_on(decisions, shadows)
        assert sorted(began) == [0, 1, 2, 3]
        sampled: dict[str, list[Shadow]] = defaultdict(list)
        for shadow in shadows:
            sampled[shadow.event_id].append(shadow)
        n_ours = 0
        for _, since in began.values():
            for one in since:
                mine = is_in_share("tree", one.entity or "", SHARE)
                assert one.arm == ("tree" if mine else "champion"), one
                assert one.version.startswith("v2-" if mine else "v1-")
                wanted = not mine and sample_place(one.event_id) < SAMPLE
                assert len(sampled.pop(one.event_id, [])) == wanted, one
                n_ours += mine
        assert not sampled, "shadows of events that are not in the sample"
        assert n_ours > 1000
    finally:
        cluster.close()
