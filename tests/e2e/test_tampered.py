"""The newest version in Redis is changed: the next worker serves with the one before, and tells."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis.asyncio

from models.stores.redis import RedisStore
from tests.e2e.cluster import Cluster
from tests.waiting import eventually

KEYS = "2026-11:" + 32 * "x"


@pytest.fixture
def cluster(tmp_path: Path, kafka: str, redis_url: str) -> Iterator[Cluster]:
    cluster = Cluster(
        tmp_path, kafka, redis_url, "elec2",
        KAFKA__PARTITIONS="1", VERSIONS__EVERY_N="400", VERSIONS__KEYS=KEYS,
    )  # fmt: skip
    yield cluster
    cluster.close()


def tamper(cluster: Cluster, version_id: str) -> None:
    """Flip one bit in the middle of a stored state."""

    async def main() -> None:
        settings = cluster.settings
        async with redis.asyncio.Redis.from_url(settings.redis.url) as client:
            store = RedisStore(client, settings.app, ttl=settings.join.ttl)
            meta, blob = await store.read_version(version_id)
            changed = bytearray(blob)
            changed[len(blob) // 2] ^= 4
            await store.restore_version(version_id, meta, bytes(changed))

    asyncio.run(main())


def test_a_worker_starts_from_the_version_before_a_tampered_one(
    cluster: Cluster, data_file: Callable[[str], Path]
) -> None:
    """Served, counted, told on the audit topic, and cut again where it was: all verify then."""
    n = 1_000
    first = cluster.start_worker()
    elec2 = str(data_file("elec2.csv.gz"))
    cluster.run("produce", elec2, "--add-id", "--limit", str(n), "--label-delay-events", "10")

    def learned() -> bool:
        return f"\ndriftline_model_position {float(n)}" in first.get("/metrics")[1]

    eventually(learned, deadline_s=60)
    assert first.stop() == 0, first.log[-3000:]
    tamper(cluster, f"v1-{n}")
    newest, good, *others = cluster.run_json("versions", "verify", exit_code=1)
    assert (newest["id"], newest["refused"]) == (f"v1-{n}", "wrong_signature")
    assert {(other["key"], other["refused"]) for other in (good, *others)} == {("2026-11", None)}

    second = cluster.start_worker()
    eventually(lambda: f"{newest['id']} is not used" in second.log)
    refused = 'driftline_versions_refused_total{reason="wrong_signature"} 1.0'
    assert refused in second.get("/metrics")[1]
    told = cluster.run("tail", "audit", "--from-beginning", "--limit", "1", "--json")
    audit = json.loads(told)
    assert (audit["subject"], audit["outcome"]) == (newest["id"], "refused")
    assert audit["reason"] == "wrong_signature"
    assert KEYS.partition(":")[2] not in told + second.log
    eventually(
        lambda: f"\ndriftline_model_position {float(n)}" in second.get("/metrics")[1],
        deadline_s=30,
    )
    assert second.stop() == 0, second.log[-3000:]

    after = cluster.run_json("versions", "verify")
    assert [v["id"] for v in after][:2] == [newest["id"], good["id"]]
    assert after[0]["parent"] == good["id"], "it went on from the version before"
    assert after[0]["fingerprint"] == newest["fingerprint"], "the same fold gives the same model"
