"""A Kafka client's metadata task on a real broker, when an update fails as no update should."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient

from stream.metadata import keep_updating


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
        keep_updating(client, deadline_s=0.5)
        await client.bootstrap()
        try:
            async with asyncio.timeout(10.0):
                return [await client.force_metadata_update() for _ in range(2)]
        finally:
            await client.close()

    assert asyncio.run(body()) == [False, True]
