"""What waiting events cost: bytes in Redis for each, and microseconds of the lanes that keep them.

    python -m benchmarks.pending [--events N] [--features N] [--batch N] [--redis URL]

Puts N scored events into a real Redis by the way that the score lane takes (queued for silence as
well), has a part of them labelled and swept, lets all expire, and prints `used_memory` each time.
Exits with 1 where an event costs more than the target, or memory does not come back.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import redis.asyncio
from rich.console import Console
from rich.table import Table

from models.stores.base import SWEPT, NewClaim, NewPending
from models.stores.redis import RedisStore
from stream.embedded import EmbeddedRedis
from stream.messages import FeatureFields, Pending, encode_pending

TARGET_BYTES = 400
LEFT_OVER_SHARE_MAX = 0.05
TTL_S = 90 * 86_400.0
NEGATIVE_AFTER_S = 30 * 86_400.0
EVENTS_A_SECOND = 20
BEGIN_S = 1_700_000_000.0
PENDING_CALLS_S = 5.0


def pendings(n_features: int, first: int, n: int, rng: random.Random) -> list[NewPending]:
    """Make a batch of scored events with full-precision features, as a lane would."""
    fields = FeatureFields([f"feature_{i}" for i in range(n_features)]).id
    made = []
    for offset in range(first, first + n):
        event_time = BEGIN_S + offset / EVENTS_A_SECOND
        values = [rng.random() * 100.0 for _ in range(n_features)]
        pending = Pending(
            fields, values, rng.random(), 0.5, "v1-1250000", 1_250_000, f"card-{offset % 50_000}",
            3, False, event_time=event_time, offset=offset,
        )  # fmt: skip
        made.append(NewPending(f"tx-{offset:010d}", event_time, encode_pending(pending)))
    return made


@contextlib.asynccontextmanager
async def connect(url: str | None) -> AsyncIterator[Any]:
    """Give a client of the Redis named, or of one started for this run."""
    with contextlib.ExitStack() as stack:
        url = url or stack.enter_context(EmbeddedRedis()).url
        client = redis.asyncio.Redis.from_url(url)
        try:
            yield client
        finally:
            await client.aclose()


async def measure(client: Any, n: int, n_features: int, batch: int, out: Console) -> bool:
    """Put, label, sweep and expire; print the figures; True if they are within the targets."""
    rng = random.Random(7)
    store = RedisStore(client, "pending-benchmark", ttl=TTL_S)
    score, label = await store.acquire("score.3"), await store.acquire("label.3")
    memory = [await used(client)]
    put_s = 0.0
    for first in range(0, n, batch):
        made = pendings(n_features, first, min(batch, n - first), rng)
        begun = time.perf_counter()
        await store.put_pending(score, made, sweep=True)
        put_s += time.perf_counter() - begun
    memory.append(await used(client))
    claim_s, n_claimed = 0.0, min(n, 20 * batch)
    for first in range(0, n_claimed, batch):
        begun = time.perf_counter()
        await store.claim(label, claims(first, min(batch, n_claimed - first)))
        claim_s += time.perf_counter() - begun
        await store.commit(label, first + batch, {})
    sweep_s, n_swept, last = 0.0, 0, BEGIN_S + n / EVENTS_A_SECOND
    for lane in (score, label):
        await store.commit(lane, n, {}, last + NEGATIVE_AFTER_S)
    more = True
    while more:
        begun = time.perf_counter()
        swept = await store.sweep_silent(score, NEGATIVE_AFTER_S, batch)
        sweep_s += time.perf_counter() - begun
        n_swept, more = n_swept + len(swept.silent), swept.more
        await store.commit(score, n, {SWEPT: b"%d" % swept.next})
    memory.append(await used(client))
    for lane in (score, label):
        await store.commit(lane, n, {}, last + 2 * TTL_S)
    await store.sweep_silent(score, NEGATIVE_AFTER_S, batch)
    n_expired = await store.expire(TTL_S)
    memory.append(await freed(client, memory[0] + (memory[1] - memory[0]) * LEFT_OVER_SHARE_MAX))
    bytes_each = (memory[1] - memory[0]) / n
    table = Table(show_header=False, box=None)
    for name, value in (
        ("events", f"{n:,}"),
        ("numeric features", f"{n_features}"),
        ("used_memory before", f"{memory[0]:,}"),
        ("used_memory with all waiting", f"{memory[1]:,}"),
        ("bytes an event", f"{bytes_each:.1f} (at most {TARGET_BYTES})"),
        ("of a record", f"{len(pendings(n_features, n // 2, 1, rng)[0].record)}"),
        ("used_memory with all labelled or silent", f"{memory[2]:,}"),
        ("bytes an event then", f"{(memory[2] - memory[0]) / n:.1f}"),
        ("generations expired", f"{n_expired}"),
        ("used_memory after", f"{memory[3]:,}"),
        ("put, us an event", f"{1e6 * put_s / n:.2f}"),
        ("claim, us a label", f"{1e6 * claim_s / n_claimed:.2f}"),
        ("sweep, us an event", f"{1e6 * sweep_s / max(n_swept, 1):.2f}"),
    ):
        table.add_row(name, value)
    out.print(table)
    is_free = memory[3] - memory[0] <= (memory[1] - memory[0]) * LEFT_OVER_SHARE_MAX
    return bytes_each < TARGET_BYTES and is_free and n_swept == n - n_claimed


def claims(first: int, n: int) -> list[NewClaim]:
    """Ask for the events of these offsets, one label each."""
    return [NewClaim(f"tx-{i:010d}", i, "False", BEGIN_S) for i in range(first, first + n)]


async def used(client: Any) -> int:
    """How much Redis has allocated."""
    return int((await client.info("memory"))["used_memory"])


async def freed(client: Any, target: float) -> int:
    """How much is allocated once a background thread has freed what was unlinked."""
    deadline = time.monotonic() + PENDING_CALLS_S
    while True:
        left = await used(client)
        if left <= target or time.monotonic() > deadline:
            return left
        await asyncio.sleep(0.05)


def main() -> int:
    """Measure, print, and say whether the targets hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--redis", help="an empty Redis; else one is started")
    options = parser.parse_args()

    async def run() -> bool:
        async with connect(options.redis) as client:
            return await measure(client, options.events, options.features, options.batch, Console())

    return 0 if asyncio.run(run()) else 1


if __name__ == "__main__":
    sys.exit(main())
