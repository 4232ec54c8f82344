"""Versions on the shelf: read, put right, tagged and dropped. Both adapters of the store mix it in.

Why apart from what lanes do: people tag and prune beside a running worker, so they hold no lease;
each is one atomic step, which can't take away what is the newest or tagged at that moment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from models.errors import UnknownVersion
from models.stores import scripts

# ARGV: tag, version id.
_TAG = """
if not redis.call('ZSCORE', KEYS[2], ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""

# KEYS: tags, versions, newest. ARGV: prefix of versions' keys, then ids.
_DROP = """
local kept = {[redis.call('GET', KEYS[3]) or ''] = true}
for _, id in ipairs(redis.call('HVALS', KEYS[1])) do kept[id] = true end
local dropped = {}
for i = 2, #ARGV do
  if not kept[ARGV[i]] and redis.call('ZREM', KEYS[2], ARGV[i]) == 1 then
    redis.call('UNLINK', ARGV[1] .. ARGV[i])
    dropped[#dropped + 1] = ARGV[i]
  end
end
return dropped
"""


class RedisShelf:
    """What `RedisStore` does about versions that are there; tags are a hash, tag -> version id."""

    _redis: Any
    _key: Callable[[str], str]
    _keys: Callable[..., list[str]]
    _run: Callable[..., Awaitable[Any]]
    _call: Callable[..., Awaitable[Any]]

    async def restore_version(self, version_id: str, meta: bytes, blob: bytes) -> None:
        """Put a rebuilt version in the place of the stored one; raises `UnknownVersion`."""
        keys = [self._key(f"version:{version_id}"), self._key("versions")]
        if not await self._run(scripts.RESTORE, keys, [version_id, meta, blob]):
            raise await self._unknown(version_id)

    async def newest_version(self) -> str | None:
        """Give the id of the newest version."""
        newest = await self._call(self._redis.get, self._key("newest"))
        return None if newest is None else newest.decode()

    async def version_ids(self) -> list[str]:
        """Give all ids, newest first."""
        ids = await self._call(self._redis.zrevrange, self._key("versions"), 0, -1)
        return [version_id.decode() for version_id in ids]

    async def read_version(self, version_id: str) -> tuple[bytes, bytes]:
        """Give (meta, blob); raises `UnknownVersion`."""
        meta, blob = await self._version_fields(version_id, "meta", "blob")
        return meta, blob

    async def read_meta(self, version_id: str) -> bytes:
        """Give the metadata alone; raises `UnknownVersion`."""
        (meta,) = await self._version_fields(version_id, "meta")
        return meta

    async def _version_fields(self, version_id: str, *fields: str) -> list[bytes]:
        values = await self._call(self._redis.hmget, self._key(f"version:{version_id}"), fields)
        if None in values:
            raise await self._unknown(version_id)
        return cast("list[bytes]", values)

    async def tag_version(self, tag: str, version_id: str) -> None:
        """Let a tag name a version, and no other; raises `UnknownVersion`."""
        if not await self._run(_TAG, self._keys("tags", "versions"), [tag, version_id]):
            raise await self._unknown(version_id)

    async def untag(self, tag: str) -> bool:
        """Take a tag away; False if there was none."""
        return bool(await self._call(self._redis.hdel, self._key("tags"), tag))

    async def tags(self) -> dict[str, str]:
        """Give the version of each tag, by tag."""
        found = await self._call(self._redis.hgetall, self._key("tags"))
        return {tag.decode(): found[tag].decode() for tag in sorted(found)}

    async def drop_versions(self, version_ids: Sequence[str]) -> list[str]:
        """Drop versions, but neither the newest nor a tagged one; give those dropped."""
        keys = self._keys("tags", "versions", "newest")
        dropped = await self._run(_DROP, keys, [self._key("version:"), *version_ids])
        return [version_id.decode() for version_id in dropped]

    async def _unknown(self, version_id: str) -> UnknownVersion:
        known = ", ".join((await self.version_ids())[:10]) or "none yet"
        return UnknownVersion(f"there is no version {version_id!r}; there are: {known}")


class MemoryShelf:
    """What `MemoryStore` does about versions that are there."""

    _versions: dict[str, tuple[bytes, bytes]]
    _newest: str | None
    _tags: dict[str, str]

    async def restore_version(self, version_id: str, meta: bytes, blob: bytes) -> None:
        """Put a rebuilt version in the place of the stored one; raises `UnknownVersion`."""
        await self.read_version(version_id)
        self._versions[version_id] = (meta, blob)

    async def newest_version(self) -> str | None:
        """Give the id of the newest version."""
        return self._newest

    async def version_ids(self) -> list[str]:
        """Give all ids, newest first."""
        return list(reversed(self._versions))

    async def read_version(self, version_id: str) -> tuple[bytes, bytes]:
        """Give (meta, blob); raises `UnknownVersion`."""
        if version_id not in self._versions:
            known = ", ".join((await self.version_ids())[:10]) or "none yet"
            raise UnknownVersion(f"there is no version {version_id!r}; there are: {known}")
        return self._versions[version_id]

    async def read_meta(self, version_id: str) -> bytes:
        """Give the metadata alone; raises `UnknownVersion`."""
        return (await self.read_version(version_id))[0]

    async def tag_version(self, tag: str, version_id: str) -> None:
        """Let a tag name a version, and no other; raises `UnknownVersion`."""
        await self.read_version(version_id)
        self._tags[tag] = version_id

    async def untag(self, tag: str) -> bool:
        """Take a tag away; False if there was none."""
        return self._tags.pop(tag, None) is not None

    async def tags(self) -> dict[str, str]:
        """Give the version of each tag, by tag."""
        return dict(sorted(self._tags.items()))

    async def drop_versions(self, version_ids: Sequence[str]) -> list[str]:
        """Drop versions, but neither the newest nor a tagged one; give those dropped."""
        kept = {self._newest, *self._tags.values()}
        dropped = [each for each in version_ids if each in self._versions and each not in kept]
        for version_id in dropped:
            del self._versions[version_id]
        return dropped
