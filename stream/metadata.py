"""Metadata of the cluster for aiokafka's clients, whatever goes wrong while they ask for it.

One task of a client updates its metadata, and everything that looks for a broker waits for that
task, without a limit: the group's coordinator, commits, the fetcher. aiokafka 0.14 lets it end with
any error that is not one of Kafka's (a transport that closes while it is written to, say), and the
client waits for ever. So an update here takes so long at most, and any failure is one that it is
tried again after.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

log = logging.getLogger(__name__)

DEADLINE_S = 10.0


def keep_updating(client: Any, deadline_s: float = DEADLINE_S) -> None:
    """Let no failure end the metadata task of an `AIOKafkaClient` that has not been started yet."""
    update = client._metadata_update

    async def update_or_fail(cluster: Any, topics: Any) -> bool:
        try:
            async with asyncio.timeout(deadline_s):
                return bool(await update(cluster, topics))
        except Exception as error:
            log.warning("metadata could not be updated, and will be asked for again: %r", error)
            return False

    client._metadata_update = update_or_fail
