"""Ways to publish a batch and wait for its acknowledgement: CPU time per record.

    python -m benchmarks.outbox [--broker embedded|real|HOST:PORT] [--rounds N] [--partitions N]

Batches of 512 score records, each batch acknowledged before the next is begun, as a lane does.
CPU on the main thread is what the worker's event loop loses; the total has the client's threads
too. What `stream/outbox.py` says of its choice is measured here.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

import confluent_kafka
import uvloop
from aiokafka import AIOKafkaProducer
from rich.console import Console
from rich.table import Table

from benchmarks import report
from benchmarks.broker import open_broker

N_RECORDS = 512
N_WARM_UP = 10
POLL_S = 0.0005
VALUE = (
    b'{"event_id":"%d","score":0.44444444444,"decision":"pass","threshold":0.5,'
    b'"version":"v1-45000","model_position":45012,"event_time":1522540831.0,"entity":"33",'
    b'"partition":0,"offset":1234,"stale":false,"arm":"champion","schema":1}'
)
RECORDS = [(b"%d" % i, VALUE % i) for i in range(N_RECORDS)]

Publish = Callable[[], Awaitable[None]]
Client = Callable[[str, str, int], AbstractAsyncContextManager[Publish]]


class Cost(NamedTuple):
    """Per record, and for a whole batch until it is acknowledged."""

    main_us: float
    total_us: float
    batch_ms: float


@asynccontextmanager
async def aiokafka_send(bootstrap: str, topic: str, n: int) -> AsyncIterator[Publish]:
    """Give each record to `send()`, which makes a future of it."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:

        async def publish() -> None:
            sent = [
                await producer.send(topic, value, key, partition=i % n)
                for i, (key, value) in enumerate(RECORDS)
            ]
            await asyncio.gather(*sent)

        yield publish


@asynccontextmanager
async def aiokafka_batch(bootstrap: str, topic: str, n: int) -> AsyncIterator[Publish]:
    """Build the batch, give it to `send_batch()`: one future."""
    config = {"acks": "all", "max_batch_size": 900_000}
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, **config) as producer:

        async def publish() -> None:
            batches: list[Any] = [producer.create_batch() for _ in range(n)]
            now_ms = int(time.time() * 1000)
            for i, (key, value) in enumerate(RECORDS):
                batches[i % n].append(key=key, value=value, timestamp=now_ms)
            sent = [
                await producer.send_batch(batch, topic, partition=partition)
                for partition, batch in enumerate(batches)
            ]
            await asyncio.gather(*sent)

        yield publish


@asynccontextmanager
async def librdkafka(bootstrap: str, topic: str, n: int) -> AsyncIterator[Publish]:
    """Give each record to `produce()` with a delivery callback; its own threads send."""
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 0,
            "acks": "all",
            "batch.num.messages": 10_000,
        }
    )

    async def publish() -> None:
        n_waiting, failures = N_RECORDS, []

        def delivered(error: Any, message: Any) -> None:
            nonlocal n_waiting
            n_waiting -= 1
            if error is not None:
                failures.append(error)

        for i, (key, value) in enumerate(RECORDS):
            producer.produce(topic, value, key, partition=i % n, on_delivery=delivered)
        while n_waiting:
            producer.poll(0)
            if n_waiting:
                await asyncio.sleep(POLL_S)
        if failures:
            raise RuntimeError(f"not delivered: {failures[0]}")

    yield publish
    producer.flush()


CLIENTS: dict[str, Client] = {
    "aiokafka send()": aiokafka_send,
    "aiokafka create_batch(), send_batch()": aiokafka_batch,
    "confluent-kafka produce() with callbacks": librdkafka,
}


async def measure(client: Client, bootstrap: str, topic: str, partitions: int, n: int) -> Cost:
    """Publish n batches, one after the other."""
    async with client(bootstrap, topic, partitions) as publish:
        for _ in range(N_WARM_UP):
            await publish()
        wall, main, total = time.perf_counter(), time.thread_time(), time.process_time()
        for _ in range(n):
            await publish()
        n_records = n * N_RECORDS
        return Cost(
            1e6 * (time.thread_time() - main) / n_records,
            1e6 * (time.process_time() - total) / n_records,
            1e3 * (time.perf_counter() - wall) / n,
        )


def main() -> None:
    options = parse()
    out = Console(highlight=False)
    progress = Console(stderr=True, highlight=False)
    table = Table(title=f"Publishing {N_RECORDS} records of {len(RECORDS[-1][1])} bytes")
    table.add_column("")
    for name in ("main thread us/record", "all threads us/record", "batch acknowledged ms"):
        table.add_column(name, justify="right")
    with open_broker(options.broker) as broker:
        report.print_machine(out, report.machine(broker.kind))
        topic = f"bench-{secrets.token_hex(3)}.outbox"
        broker.create(topic, partitions=options.partitions)
        try:
            for name, client in CLIENTS.items():
                with progress.status(name):
                    cost = uvloop.run(
                        measure(client, broker.bootstrap, topic, options.partitions, options.rounds)
                    )
                table.add_row(
                    name, f"{cost.main_us:.2f}", f"{cost.total_us:.2f}", f"{cost.batch_ms:.2f}"
                )
        finally:
            broker.drop(topic)
    out.print(table)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.outbox",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--broker", default="embedded", help="embedded (default), real, or host:port"
    )
    parser.add_argument("--rounds", type=int, default=200, help="batches (default 200)")
    parser.add_argument("--partitions", type=int, default=1, help="of the topic (default 1)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
