"""Tags on versions, and dropping versions by hand: what both adapters of the store mix in.

Why apart from what lanes do: people tag and prune beside a running worker, so they hold no lease;
each is one atomic step, which can't take away what is the newest or tagged at that moment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from models.errors import UnknownVersion

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


class RedisTags:
    """What `RedisStore` does about tags: a hash `{app}:tags` of tag -> version id."""

    _redis: Any
    _key: Callable[[str], str]
    _keys: Callable[..., list[str]]
    _run: Callable[..., Awaitable[Any]]
    _call: Callable[..., Awaitable[Any]]
    _unknown: Callable[[str], Awaitable[UnknownVersion]]

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


class MemoryTags:
    """What `MemoryStore` does about tags."""

    _versions: dict[str, tuple[bytes, bytes]]
    _newest: str | None
    _tags: dict[str, str]
    read_version: Callable[[str], Awaitable[tuple[bytes, bytes]]]

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
