"""Reach the store in Redis from a command."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from models.checkpoint import VersionMeta
    from models.stores.redis import RedisStore
    from stream.settings import Settings

T = TypeVar("T")
LATEST = "latest"


def ask_store(settings: Settings, question: Callable[[RedisStore], Awaitable[T]]) -> T:
    """Connect, ask, disconnect; an unreachable Redis is a `StoreUnavailable`."""
    import redis.asyncio

    from models.stores.redis import RedisStore
    from stream.clients import redis_config

    async def ask() -> T:
        client = redis.asyncio.Redis.from_url(**redis_config(settings.redis))
        try:
            return await question(RedisStore(client, settings.app, ttl=settings.join.ttl))
        finally:
            await client.aclose()

    return asyncio.run(ask())


async def resolve_version(store: RedisStore, version_id: str) -> str:
    """Turn `latest` into the id of the newest version.

    Raises
    ------
    UnknownVersion
        When nothing has been cut yet.
    """
    from models.errors import UnknownVersion

    if version_id != LATEST:
        return version_id
    newest = await store.newest_version()
    if newest is None:
        raise UnknownVersion("no version has been cut yet: a worker has to learn something first")
    return newest


async def read_meta(store: RedisStore, version_id: str) -> VersionMeta:
    """Read what is known of a version; `latest` is the newest."""
    from models.checkpoint import decode_meta

    return decode_meta(await store.read_meta(await resolve_version(store, version_id)))
