"""The newest version in Redis is changed: the next worker serves with the one before, and tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.stores.redis import RedisStore
from stream.cli.store import ask_store, examine_version
from stream.kafka_log import open_log
from stream.messages import AuditRecord, decode_audit
from stream.vault import Verdict
from tests.e2e.cluster import Cluster
from tests.waiting import eventually

pytestmark = pytest.mark.slow

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

    async def flip(store: RedisStore) -> None:
        meta, blob = await store.read_version(version_id)
        changed = bytearray(blob)
        changed[len(blob) // 2] ^= 4
        await store.restore_version(version_id, meta, bytes(changed))

    ask_store(cluster.settings, flip)


def versions(cluster: Cluster) -> list[Verdict]:
    """Check all stored versions, newest first."""
    settings = cluster.settings

    async def examine(store: RedisStore) -> list[Verdict]:
        ids = await store.version_ids()
        return [await examine_version(store, settings, each, load=True) for each in ids]

    return ask_store(settings, examine)


def audit(cluster: Cluster) -> list[AuditRecord]:
    """Read the audit topic."""
    with open_log(cluster.settings.kafka) as log:
        batches = log.read(f"{cluster.app}.audit")
        return [decode_audit(message.value or b"") for batch in batches for message in batch]


def test_a_worker_starts_from_the_version_before_a_tampered_one(
    cluster: Cluster, data_file: Callable[[str], Path]
) -> None:
    """Served, counted, told on the audit topic, and cut again where it was: all verify then."""
    n = 1_000
    everything = f"\ndriftline_model_position {float(n)}\n"
    first = cluster.start_worker()
    elec2 = str(data_file("elec2.csv.gz"))
    cluster.run("produce", elec2, "--add-id", "--limit", str(n), "--label-delay-events", "10")
    eventually(lambda: everything in first.get("/metrics")[1], deadline_s=60)
    assert first.stop() == 0, first.log[-3000:]
    tamper(cluster, f"v1-{n}")
    newest, good, *others = versions(cluster)
    assert newest.version_id == f"v1-{n}"
    assert newest.refusal is not None
    assert {(other.key, other.refusal) for other in (good, *others)} == {("2026-11", None)}

    second = cluster.start_worker()
    eventually(lambda: f"{newest.version_id} is not used" in second.log)
    refused = 'driftline_versions_refused_total{reason="wrong_signature"} 1.0'
    assert refused in second.get("/metrics")[1]
    (told,) = eventually(lambda: audit(cluster))
    assert (told.subject, told.outcome) == (newest.version_id, "refused")
    assert told.reason == "wrong_signature"
    assert KEYS.partition(":")[2] not in second.log
    eventually(lambda: everything in second.get("/metrics")[1], deadline_s=30)
    assert second.stop() == 0, second.log[-3000:]

    rebuilt, *_ = versions(cluster)
    assert (rebuilt.version_id, rebuilt.refusal) == (newest.version_id, None)
    assert rebuilt.meta is not None
    assert newest.meta is not None
    assert rebuilt.meta.parent == good.version_id, "it went on from the version before"
    assert rebuilt.meta.fingerprint == newest.meta.fingerprint, "the same fold, the same model"
