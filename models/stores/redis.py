"""The store in Redis: every step that must be atomic is one Lua script.

Keys, all in one hash slot through the `{app}` tag:

- `{app}:born`: the birth record; without it the store has lost what it held
- `{app}:lane:<lane>`: hash; `epoch`, `position`, and the lane's state under `s:<key>`
- `{app}:watermarks`: hash of lane -> event time; idle lanes are absent
- `{app}:pending:<g>` and `{app}:claims:<g>`: hashes of event id -> record, one pair a generation
- `{app}:generations`: set of the generations that exist
- `{app}:versions`: sorted set of version ids in order of cut; `{app}:version:<id>`: hash of meta
  and blob; `{app}:newest`: the id to load

Why hashes a generation: one field costs about 60 bytes over its content, against 120 and more for
a key with an expiry of its own, and a whole generation is unlinked in one command. Why batches go
as one argument: the client packs each argument of a command in Python, at a microsecond and more.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, cast

import redis.asyncio
import redis.exceptions

from models.errors import CheckpointConflict, StoreUnavailable, UnknownVersion
from models.stores.base import Claimed, Claims, Lease, NewPending, generation_end, generation_of

_ACQUIRE = """
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
if string.sub(ARGV[1], 1, 6) ~= 'learn.' then redis.call('HSETNX', KEYS[2], ARGV[1], '-inf') end
return redis.call('HGETALL', KEYS[1])
"""

_FENCE = """
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return false end
"""

# ARGV: epoch, position, lane, watermark or '', then n pairs to set, then fields to delete.
_COMMIT = (
    _FENCE
    + """
redis.call('HSET', KEYS[1], 'position', ARGV[2])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[2], ARGV[3], ARGV[4]) end
local last = 5 + 2 * tonumber(ARGV[5])
for i = 6, last, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
for i = last + 1, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
return 1
"""
)

_REST = _FENCE + "redis.call('HDEL', KEYS[2], ARGV[2]) return 1"

# A batch's strings come as one argument: their number, their lengths, their bytes.
_UNPACK = """
local function unpack_items(packed)
  local items = {}
  local n = struct.unpack('<I4', packed)
  local at = 5 + 4 * n
  for i = 1, n do
    local size = struct.unpack('<I4', packed, 1 + 4 * i)
    items[i] = string.sub(packed, at, at + size - 1)
    at = at + size
  end
  return items
end
"""

# ARGV: epoch, prefix, packed (generation, event id, record) triples. An id may
# stand in another generation if its producer sent it twice with two times: the first decision
# stands. Answers with (place, first record) of those that were there before, which are few.
_PUT = (
    _FENCE
    + _UNPACK
    + """
local prefix, items = ARGV[2], unpack_items(ARGV[3])
local generations = redis.call('SMEMBERS', KEYS[2])
local known = {}
for _, g in ipairs(generations) do known[g] = true end
local found = {}
for i = 1, #items, 3 do
  local g, id = items[i], items[i + 1]
  local first = false
  for _, other in ipairs(generations) do
    if other ~= g then
      first = redis.call('HGET', prefix .. other, id)
      if first then break end
    end
  end
  if not first then
    if not known[g] then
      redis.call('SADD', KEYS[2], g)
      known[g] = true
      generations[#generations + 1] = g
    end
    if redis.call('HSETNX', prefix .. g, id, items[i + 2]) == 0 then
      first = redis.call('HGET', prefix .. g, id)
    end
  end
  if first then
    found[#found + 1] = (i - 1) / 3
    found[#found + 1] = first
  end
end
return found
"""
)

# ARGV: epoch, prefix of pending, prefix of claims, packed (event id, claim) pairs.
_CLAIM = (
    _FENCE
    + _UNPACK
    + """
local items = unpack_items(ARGV[4])
local generations = redis.call('SMEMBERS', KEYS[2])
local found = {}
for i = 1, #items, 2 do
  local id, record, claim = items[i], false, false
  for _, g in ipairs(generations) do
    record = redis.call('HGET', ARGV[2] .. g, id)
    if record then
      claim = items[i + 1]
      if redis.call('HSETNX', ARGV[3] .. g, id, claim) == 0 then
        claim = redis.call('HGET', ARGV[3] .. g, id)
      end
      break
    end
  end
  found[#found + 1] = record
  found[#found + 1] = claim
end
return {found, redis.call('HGETALL', KEYS[3])}
"""
)

# ARGV: epoch, position, version id, meta, blob, versions to keep, prefix of a version's key.
_CUT = (
    _FENCE
    + """
redis.call('HSET', KEYS[1], 'position', ARGV[2], 's:version', ARGV[3])
local key = ARGV[7] .. ARGV[3]
if redis.call('EXISTS', key) == 0 then
  redis.call('HSET', key, 'meta', ARGV[4], 'blob', ARGV[5])
  redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[4]), ARGV[3])
end
redis.call('SET', KEYS[3], ARGV[3])
local extra = redis.call('ZRANGE', KEYS[2], 0, -1 - tonumber(ARGV[6]))
for _, id in ipairs(extra) do
  redis.call('UNLINK', ARGV[7] .. id)
  redis.call('ZREM', KEYS[2], id)
end
return 1
"""
)


class RedisStore:
    """Lanes, pending events and versions of one application in one Redis.

    Parameters
    ----------
    client
        An asyncio client that returns bytes; the store does not close it.
    app
        Name of the application: the prefix of every key.
    ttl
        Seconds of event time that a pending event is kept for; sets the generations' length.

    Raises
    ------
    StoreUnavailable
        From every method, if Redis can't be reached or refuses to write.
    """

    def __init__(self, client: redis.asyncio.Redis, app: str, *, ttl: float) -> None:
        self._redis = client
        self._prefix = f"{{{app}}}:"
        self._ttl = ttl
        self._scripts: dict[str, Any] = {}

    async def birth(self) -> bytes | None:
        """Give the birth record."""
        return cast("bytes | None", await self._call(self._redis.get(self._key("born"))))

    async def bear(self, record: bytes) -> bytes:
        """Write the birth record if there is none; give the one in force."""
        await self._call(self._redis.set(self._key("born"), record, nx=True))
        return cast(bytes, await self.birth())

    async def start_over(self, lanes: Iterable[str], epoch: int) -> None:
        """Drop everything but the versions, the birth record first."""
        await self._call(self._redis.delete(self._key("born")))
        for pattern in ("lane:*", "pending:*", "claims:*", "watermarks", "generations", "fields"):
            keys = await self._call(_collect(self._redis.scan_iter(match=self._key(pattern))))
            for start in range(0, len(keys), 1000):
                await self._call(self._redis.unlink(*keys[start : start + 1000]))
        for lane in lanes:
            await self._call(self._redis.hset(self._lane(lane), "epoch", str(epoch)))

    async def acquire(self, lane: str) -> Lease:
        """Take the lane over: raise its epoch, and give its position and state."""
        flat = await self._run(_ACQUIRE, [self._lane(lane), self._key("watermarks")], [lane])
        content = dict(zip(flat[::2], flat[1::2], strict=True))
        position = content.get(b"position")
        state = {k[2:].decode(): v for k, v in content.items() if k.startswith(b"s:")}
        return Lease(
            lane, int(content[b"epoch"]), None if position is None else int(position), state
        )

    async def commit(
        self,
        lease: Lease,
        position: int,
        changes: Mapping[str, bytes | None],
        watermark: float | None = None,
    ) -> None:
        """Write position, changed state (None deletes) and watermark, all or nothing."""
        puts: list[str | bytes] = []
        for key, value in changes.items():
            if value is not None:
                puts += (f"s:{key}", value)
        deletes = [f"s:{key}" for key, value in changes.items() if value is None]
        mark = "" if watermark is None else repr(watermark)
        head = [lease.epoch, position, lease.lane, mark, len(puts) // 2]
        keys = [self._lane(lease.lane), self._key("watermarks")]
        await self._fenced(lease, _COMMIT, keys, [*head, *puts, *deletes])

    async def rest(self, lease: Lease) -> None:
        """Say that the lane is idle: until its next commit it holds no watermark back."""
        keys = [self._lane(lease.lane), self._key("watermarks")]
        await self._fenced(lease, _REST, keys, [lease.epoch, lease.lane])

    async def put_pending(self, lease: Lease, records: Sequence[NewPending]) -> list[bytes | None]:
        """Store records of new ids; give None for each stored, else the record that was first."""
        items: list[bytes] = []
        for new in records:
            generation = b"%d" % generation_of(new.event_time, self._ttl)
            items += (generation, new.event_id.encode(), new.record)
        keys = [self._lane(lease.lane), self._key("generations")]
        arguments = [lease.epoch, self._key("pending:"), _pack(items)]
        there_before = await self._fenced(lease, _PUT, keys, arguments)
        found: list[bytes | None] = [None] * len(records)
        for place, first in zip(there_before[::2], there_before[1::2], strict=True):
            found[place] = first
        return found

    async def claim(self, lease: Lease, claims: Sequence[tuple[str, bytes]]) -> Claims:
        """Claim (event id, claim) for labels; the first claim of an event wins, for good."""
        items: list[bytes] = []
        for event_id, claim in claims:
            items += (event_id.encode(), claim)
        prefixes = self._key("pending:"), self._key("claims:")
        arguments = [lease.epoch, *prefixes, _pack(items)]
        keys = [self._lane(lease.lane), self._key("generations"), self._key("watermarks")]
        flat, marks = await self._fenced(lease, _CLAIM, keys, arguments)
        pairs = zip(flat[::2], flat[1::2], strict=True)
        lanes = zip(marks[::2], marks[1::2], strict=True)
        score_marks = [float(mark) for lane, mark in lanes if lane.startswith(b"score.")]
        return Claims([Claimed(*pair) for pair in pairs], min(score_marks, default=None))

    async def save_fields(self, fields_id: int, names: Sequence[str]) -> None:
        """Keep the feature names behind an id that pending records refer to."""
        await self._call(self._redis.hset(self._key("fields"), str(fields_id), json.dumps(names)))

    async def load_fields(self) -> dict[int, list[str]]:
        """Give all feature names ever saved, by id."""
        saved = await self._call(self._redis.hgetall(self._key("fields")))
        return {int(fields_id): json.loads(names) for fields_id, names in saved.items()}

    async def expire(self, ttl: float) -> int:
        """Drop the generations that every active lane has passed by `ttl`; give how many."""
        marks = await self._call(self._redis.hvals(self._key("watermarks")))
        members = await self._call(self._redis.smembers(self._key("generations")))
        passed = min((float(mark) for mark in marks), default=-math.inf) - ttl
        old = [int(g) for g in members if generation_end(int(g), self._ttl) <= passed]
        if old:
            keys = [self._key(f"{kind}:{g}") for g in old for kind in ("pending", "claims")]
            await self._call(self._redis.srem(self._key("generations"), *old))
            await self._call(self._redis.unlink(*keys))
        return len(old)

    async def waiting_counts(self) -> dict[str, int]:
        """Count the state entries of each label lane: the labels that wait there."""
        counts: dict[str, int] = {}
        for key, lane in await self._lanes("label.*"):
            fields = await self._call(self._redis.hkeys(key))
            counts[lane] = sum(field.startswith(b"s:") for field in fields)
        return counts

    async def positions(self) -> dict[str, int]:
        """Give the committed position of every lane."""
        found: dict[str, int] = {}
        for key, lane in await self._lanes("*"):
            position = await self._call(self._redis.hget(key, "position"))
            if position is not None:
                found[lane] = int(position)
        return found

    async def _lanes(self, pattern: str) -> list[tuple[bytes, str]]:
        prefix = self._lane("")
        # Redis reads braces literally in patterns, but not brackets; app names have neither.
        keys = await self._call(_collect(self._redis.scan_iter(match=prefix + pattern)))
        return sorted((key, key.decode().removeprefix(prefix)) for key in keys)

    async def cut_version(
        self, lease: Lease, position: int, version_id: str, meta: bytes, blob: bytes, keep: int
    ) -> None:
        """Store a version and commit the lane's position with it, all or nothing."""
        keys = [self._lane(lease.lane), *map(self._key, ("versions", "newest", "cuts"))]
        arguments = [lease.epoch, position, version_id, meta, blob, keep, self._key("version:")]
        await self._fenced(lease, _CUT, keys, arguments)

    async def newest_version(self) -> str | None:
        """Give the id of the newest version."""
        newest = await self._call(self._redis.get(self._key("newest")))
        return None if newest is None else newest.decode()

    async def version_ids(self) -> list[str]:
        """Give all ids, newest first."""
        ids = await self._call(self._redis.zrevrange(self._key("versions"), 0, -1))
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
        values = await self._call(self._redis.hmget(self._key(f"version:{version_id}"), fields))
        if None in values:
            known = ", ".join((await self.version_ids())[:10]) or "none yet"
            raise UnknownVersion(f"there is no version {version_id!r}; there are: {known}")
        return cast("list[bytes]", values)

    def _key(self, name: str) -> str:
        return self._prefix + name

    def _lane(self, lane: str) -> str:
        return self._key(f"lane:{lane}")

    async def _fenced(
        self, lease: Lease, script: str, keys: list[str], arguments: Sequence[Any]
    ) -> Any:
        result = await self._run(script, keys, arguments)
        if result is None:
            raise CheckpointConflict(
                f"lane {lease.lane} has a new owner: epoch {lease.epoch} is no longer the newest"
            )
        return result

    async def _run(self, script: str, keys: list[str], arguments: Sequence[Any]) -> Any:
        if script not in self._scripts:
            self._scripts[script] = self._redis.register_script(script)
        return await self._call(self._scripts[script](keys=keys, args=arguments))

    async def _call(self, reply: Any) -> Any:
        try:
            return await reply
        except redis.exceptions.RedisError as error:
            raise StoreUnavailable(f"Redis: {error}") from error


def _pack(items: Sequence[bytes]) -> bytes:
    return struct.pack(f"<I{len(items)}I", len(items), *map(len, items)) + b"".join(items)


async def _collect(keys: AsyncIterator[bytes]) -> list[bytes]:
    return [key async for key in keys]
