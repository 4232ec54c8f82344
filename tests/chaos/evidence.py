"""What a run has left behind, read from Kafka and Redis."""

from __future__ import annotations

from typing import Any

from models.lineage import parse_id
from models.stores.redis import RedisStore
from stream.cli.store import ask_store, examine_version
from stream.kafka_log import open_log
from stream.settings import Settings
from stream.topics import ALERTS, DEAD_LETTERS, SCORES
from stream.topology import inputs
from tests.chaos.oracle import Evidence, lanes

OUTPUTS = (SCORES, ALERTS, DEAD_LETTERS)


def positions(settings: Settings) -> tuple[dict[str, int], int]:
    """Give the positions in Redis, and how many labels wait."""

    async def ask(store: RedisStore) -> tuple[dict[str, int], int]:
        return await store.positions(), sum((await store.waiting_counts()).values())

    return ask_store(settings, ask)


def unsettled(settings: Settings) -> dict[str, int]:
    """Give how many records each lane has left to take, and how many labels wait."""
    known, n_waiting = positions(settings)
    left = {"waiting labels": n_waiting} if n_waiting else {}
    with open_log(settings.kafka) as log:
        for kind, topic in lanes(settings).items():
            for p, (_, end) in log.ends(topic.full_name(settings.app)).items():
                behind = end - known.get(f"{kind}.{p}", 0)
                if behind:
                    left[f"{kind}.{p}"] = behind
    return left


def gather(settings: Settings) -> Evidence:
    """Read everything."""
    with open_log(settings.kafka) as log:
        topics: dict[str, Any] = {
            topic.name: sorted(
                (record for batch in log.read(topic.full_name(settings.app)) for record in batch),
                key=lambda record: (record.partition, record.offset),
            )
            for topic in (*inputs(settings), *OUTPUTS)
        }
    known, n_waiting = positions(settings)
    return Evidence(topics, known, n_waiting, _newest_version(settings))


def _newest_version(settings: Settings) -> tuple[int, str] | None:
    async def ask(store: RedisStore) -> tuple[int, str] | None:
        newest = await store.newest_version()
        if newest is None:
            return None
        verdict = await examine_version(store, settings, newest, load=True)
        if verdict.refusal is not None or verdict.meta is None:
            return None
        return parse_id(newest)[1], verdict.meta.fingerprint

    return ask_store(settings, ask)
