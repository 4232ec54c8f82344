"""A Kafka client on a real broker, when something fails as nothing of Kafka does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaConnectionError

from stream.hardening import harden


async def breaks(cluster: Any, topics: Any) -> bool:
    raise RuntimeError("the handler is closed")


async def hangs(cluster: Any, topics: Any) -> bool:
    await asyncio.Event().wait()
    return True


@pytest.mark.parametrize("failure", [breaks, hangs])
def test_the_update_after_one_that_failed_succeeds(kafka: str, failure: Callable[..., Any]) -> None:
    """Whoever waits for an update hears of it; without this it would wait for ever."""

    async def body() -> list[bool]:
        client = AIOKafkaClient(bootstrap_servers=kafka)
        updates = iter([failure, client._metadata_update])

        async def update(*args: Any) -> bool:
            return bool(await next(updates)(*args))

        client._metadata_update = update
        harden(client, deadline_s=0.5)
        await client.bootstrap()
        try:
            async with asyncio.timeout(10.0):
                return [await client.force_metadata_update() for _ in range(2)]
        finally:
            await client.close()

    assert asyncio.run(body()) == [False, True]


def test_a_request_that_cannot_be_written_has_lost_its_connection(kafka: str) -> None:
    """uvloop raises a RuntimeError for a closed transport; aiokafka takes its own errors only."""

    async def body() -> None:
        client = AIOKafkaClient(bootstrap_servers=kafka)
        harden(client)
        await client.bootstrap()
        try:
            connection = await client._get_conn(client.get_random_node())
            connection._writer.write = closed
            with pytest.raises(KafkaConnectionError, match="handler is closed"):
                await client.coordinator_lookup(CoordinationType.GROUP, "nobody")
        finally:
            await client.close()

    def closed(data: bytes) -> None:
        raise RuntimeError("the handler is closed")

    asyncio.run(body())
