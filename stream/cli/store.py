"""Reach the store in Redis from a command."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from models.stores.redis import RedisStore
    from stream.settings import Settings
    from stream.vault import Verdict

T = TypeVar("T")


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


async def resolve_version(store: RedisStore, name: str) -> str:
    """Turn a tag, or `latest`, into the id of a version; an id is one already.

    Raises
    ------
    UnknownVersion
        When no version is called that.
    """
    from stream.tags import resolve

    return await resolve(store, name)


async def examine_version(
    store: RedisStore, settings: Settings, version_id: str, *, load: bool = False
) -> Verdict:
    """Read a version and check it; with `load` also that it restores to what it was."""
    from models import checkpoint
    from models.errors import Refusal, UnknownVersion
    from stream.learners import trusted
    from stream.vault import LOST, Verdict, examine

    try:
        data, blob = await store.read_version(version_id)
    except UnknownVersion:
        if version_id not in await store.version_ids():
            raise
        lost = checkpoint.refusal(version_id, LOST, Refusal.MISSING)
        return Verdict(version_id, None, None, lost)
    modules = trusted(settings) if load else None
    return examine(version_id, data, blob, settings.versions.key_ring(), trusted=modules)
