"""What entity windows cost: throughput of the score handler, and bytes an entity.

    python -m benchmarks.features [--entities N] [--events-each N] [--events N] [--redis URL]

First the same events go through the score handler and its commit, on a real Redis, with three
windows of two statistics and without, in turn, round by round. Then so many entities with so many
events each go through the stage alone; what this process and Redis have grown by is divided by
their number. Exits with 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import sys
import time
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.pending import connect
from models.stores.redis import RedisStore
from models.types import Example
from stream.arms import Arms
from stream.decoding import Event, EventDecoder
from stream.learners import new_learner
from stream.messages import encode_json
from stream.ports import Outcome
from stream.score import ScoreHandler
from stream.scorer import ModelInForce
from stream.settings import Settings
from stream.topology import event_stages
from stream.vault import Vault

RATIO_MIN = 0.6
WORKER_BYTES_MAX = 400
REDIS_BYTES_MAX = 250
BATCH = 1024
ROUNDS = 5
BEGIN_S = 1_700_000_000
DAY_S = 86_400
WINDOW = {
    "entity": "card",
    "value": "amount",
    "windows": ["1d", "7d", "30d"],
    "stats": ["count", "mean"],
}


class Kafka(NamedTuple):
    """A record, as the consumer gives it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def settings(windows: bool) -> Settings:
    return Settings(
        app="bench",
        event={
            "id": "id",
            "time": "t",
            "time_format": "epoch_s",
            "entity": "card",
            "features": {"amount": {}, "age": {}},
        },
        features={"window": [WINDOW]} if windows else {},
    )


def records(n: int, n_cards: int, rng: random.Random) -> list[Kafka]:
    """Make payments of 30 days."""
    made = []
    for i in range(n):
        t = BEGIN_S + i * 30 * DAY_S // n
        card, amount = rng.randrange(n_cards), round(rng.uniform(1, 200), 2)
        body = {"id": f"tx-{i:09d}", "t": t, "card": f"card-{card}", "amount": amount, "age": 30}
        made.append(Kafka(i, 0, None, encode_json(body)))
    return made


def scorer(settings: Settings) -> ModelInForce:
    """Make a model in force that has learned each feature once."""
    learner = new_learner(settings)
    names = [*settings.event.features, *settings.features.names()]
    for i in range(50):
        x: dict[str, Any] = dict.fromkeys(names, i * 7 % 11 / 3)
        example = Example(f"e{i}", x, i % 2 == 0, 0.5, "v1-0", 0, 0.0, 0.0, "labels/0", i, i)
        learner.absorb([example], [i])
    model = ModelInForce(lambda: new_learner(settings), lambda: 0.0, 120.0)
    model.go_live(learner, "v1-50", None)
    return model


def no_arms(settings: Settings, store: RedisStore) -> Arms:
    """Say that no challenger scores."""
    vault = Vault(
        store, keys=None, trusted=(), in_background=asyncio.to_thread, tell=lambda refused: None
    )
    staleness_max = settings.worker.model_staleness_max
    return Arms(
        store, vault, in_background=asyncio.to_thread, now=lambda: 0.0, staleness_max=staleness_max
    )


async def score(client: Any, app: str, windows: bool, log: list[Kafka]) -> float:
    """Give the seconds that the handler and its commits take for the log."""
    configured = settings(windows)
    store = RedisStore(client, app, ttl=configured.join.ttl)
    (stage,) = event_stages(configured)
    handler = ScoreHandler(
        0,
        topic="bench.events",
        decoder=EventDecoder(configured.event),
        scorer=scorer(configured),
        arms=no_arms(configured, store),
        store=store,
        task=configured.model.task,
        threshold=0.5,
        ttl=configured.join.ttl,
        stage=stage if stage.adds else None,
    )
    lease = await store.acquire("score.0")
    await handler.open(lease)
    begun = time.perf_counter()
    for start in range(0, len(log), BATCH):
        batch = log[start : start + BATCH]
        outcome = await handler.absorb(batch, start, 0.0)
        changed = outcome.changes, outcome.watermark, outcome.keyed
        await store.commit(lease, start + len(batch), *changed)
    seconds = time.perf_counter() - begun
    await store.start_over([], 1)
    return seconds


async def throughput(client: Any, n_events: int) -> tuple[float, float]:
    """Give events a second without windows and with them: the best round of each."""
    log = records(n_events, max(1, n_events // 60), random.Random(7))
    best = {False: float("inf"), True: float("inf")}
    for turn in range(ROUNDS):
        for windows in (False, True):
            best[windows] = min(
                best[windows], await score(client, f"b{turn}{windows}", windows, log)
            )
    return n_events / best[False], n_events / best[True]


def resident() -> int:
    """Give the bytes of memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def memory(client: Any, n_entities: int, n_each: int) -> tuple[float, float, float]:
    """Give bytes an entity: in this process, as the stage counts them, and in Redis."""
    configured = settings(windows=True)
    store = RedisStore(client, "memory", ttl=configured.join.ttl)
    (stage,) = event_stages(configured, bounded=False)
    lease = await store.acquire("score.0")
    stage.open(lease)
    gc.collect()
    before = resident(), (await client.info("memory"))["used_memory"]
    n = n_entities * n_each
    for start in range(0, n, 4096):
        events = [
            Event(
                f"tx-{i}",
                BEGIN_S + i * 20.0 * DAY_S / n,
                f"card-{i % n_entities}",
                (float(i % 97), 30.0),
                {},
            )
            for i in range(start, min(start + 4096, n))
        ]
        outcome = Outcome(counts={})
        await stage.pass_through(events, lease, store, outcome)
        await store.commit(lease, start, outcome.changes, None, outcome.keyed)
    del events, outcome
    gc.collect()
    after = resident(), (await client.info("memory"))["used_memory"]
    assert stage.fold is not None and len(stage.fold) == n_entities
    grown = [(b - a) / n_entities for a, b in zip(before, after, strict=True)]
    return grown[0], stage.fold.n_bytes / n_entities, grown[1]


async def run(arguments: argparse.Namespace) -> bool:
    table = Table("measure", "value", "target", box=None)
    async with connect(arguments.redis) as client:
        without, with_windows = await throughput(client, arguments.events)
        ratio = with_windows / without
        table.add_row("events/s without windows", f"{without:,.0f}", "")
        table.add_row("events/s with windows", f"{with_windows:,.0f}", "")
        table.add_row("ratio", f"{ratio:.2f}", f"at least {RATIO_MIN}")
        here, counted, there = await memory(client, arguments.entities, arguments.events_each)
        what = f"{arguments.entities:,} entities, {arguments.events_each} events each"
        table.add_row(
            f"bytes an entity in the worker, {what}", f"{here:.0f}", f"< {WORKER_BYTES_MAX}"
        )
        table.add_row("as the worker counts them", f"{counted:.0f}", "")
        table.add_row("bytes an entity in Redis", f"{there:.0f}", f"< {REDIS_BYTES_MAX}")
    Console().print(table)
    return ratio >= RATIO_MIN and here < WORKER_BYTES_MAX and there < REDIS_BYTES_MAX


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--events-each", type=int, default=4)
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--redis", help="redis://host:port/db; one is started without it")
    sys.exit(not asyncio.run(run(parser.parse_args())))


if __name__ == "__main__":
    main()
