"""What aiokafka's clients do not survive by themselves: errors that are none of Kafka's.

One task of a client updates its metadata, and everything that looks for a broker waits for that
task, without a limit: the group's coordinator, commits, the fetcher. aiokafka 0.14 lets it end with
any error that it does not know, and the client waits for ever. One that it does not know is
uvloop's, when a transport is written to that has just been closed: a broker that is killed amid an
answer leaves such a transport behind.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiokafka.errors import KafkaConnectionError

log = logging.getLogger(__name__)

DEADLINE_S = 10.0


def harden(client: Any, deadline_s: float = DEADLINE_S) -> None:
    """Let no such error end a task of an `AIOKafkaClient` that has not been started yet.

    A request that can't be written has lost its connection, which every caller knows how to take.
    An update of the metadata takes `deadline_s` at most, and one that fails is tried again.
    """
    update, send = client._metadata_update, client.send

    async def update_or_fail(cluster: Any, topics: Any) -> bool:
        try:
            async with asyncio.timeout(deadline_s):
                return bool(await update(cluster, topics))
        except Exception as error:
            log.warning("metadata could not be updated, and will be asked for again: %r", error)
            return False

    async def send_or_fail(node: Any, request: Any, **how: Any) -> Any:
        try:
            return await send(node, request, **how)
        except RuntimeError as error:
            raise KafkaConnectionError(f"the connection to node {node} is gone: {error}") from error

    client._metadata_update, client.send = update_or_fail, send_or_fail
